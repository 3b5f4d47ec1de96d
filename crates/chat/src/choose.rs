//! Asking which of several texts answers best: the model reads the question once and is scored on the texts, it writes nothing.

use crate::{ChatRequest, Prompt};

/// What comes before a choice.
#[expect(clippy::large_enum_variant, reason = "one a request, made and taken apart at once")]
#[derive(Debug, Clone, PartialEq)]
pub enum ChoiceContext {
    /// A conversation; a text chosen is the whole next message, end of turn included. Of the request only messages, thinking
    /// and template variables count; a thought is not waited for.
    Chat(ChatRequest),
    /// Plain text, which an option goes on from. An option has no end of its own here: where one may be the beginning of
    /// another, the caller ends each, say with a line break.
    Plain(Prompt),
}

/// What a score of an option is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OptionScoring {
    /// The product, over the nodes of the trie of all options' tokens, of the probability of the option's branch among the
    /// branches of that node alone. The probabilities of all options sum to 1, and a node with one branch costs nothing.
    #[default]
    Tree,
    /// The probability of the whole text under the model, end of turn included.
    Likelihood,
}

/// A request for which of several texts a model would answer with.
#[derive(Debug, Clone, PartialEq)]
pub struct ChooseRequest {
    /// What comes before.
    pub context: ChoiceContext,
    /// The texts, at least one; none empty, none twice, and each fits behind what comes before. Special tokens in them are
    /// plain text.
    pub options: Vec<String>,
    /// What is computed of each.
    pub scoring: OptionScoring,
    /// Score every option; else only as many as it takes to be sure of the best.
    pub all: bool,
}

/// One option with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionScore {
    /// Which one, as an index into the request's options.
    pub option: usize,
    /// Natural logarithm of its probability, as [`OptionScoring`] defines it.
    pub logprob: f64,
}

/// The answer to a [`ChooseRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChooseResponse {
    /// Options by falling score, equals in the order of the request: all of them, or the best and those that were scored on
    /// the way to it.
    pub scores: Vec<OptionScore>,
    /// Tokens of what comes before, template included.
    pub prompt_tokens: usize,
    /// Those of them that were not computed, because an earlier request began with the same.
    pub cached_tokens: usize,
    /// Tokens of options that were read, some of them perhaps from the prefix cache.
    pub option_tokens: usize,
}
