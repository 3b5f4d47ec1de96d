//! Asking how likely a text is, token by token, or which of several texts is the likeliest to follow another.

use crate::Prompt;
use serde::Serialize;

/// A request for log-probabilities of a given text.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRequest {
    /// The text or ids.
    pub input: Prompt,
}

/// One token of a scored text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredToken {
    /// Token id.
    pub id: u32,
    /// Its text; part of a character shows as U+FFFD.
    pub text: String,
    /// Natural logarithm of its probability given the tokens before it; `None` for the first.
    pub logprob: Option<f32>,
}

/// The answer to a [`ScoreRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoreResponse {
    /// The tokens in order.
    pub tokens: Vec<ScoredToken>,
}

/// A request for the log-probabilities of several continuations of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct RankRequest {
    /// What comes before each of them.
    pub prompt: Prompt,
    /// Text that may follow; special tokens in it are plain text. At least one, none empty.
    pub continuations: Vec<String>,
}

/// The answer to a [`RankRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankResponse {
    /// Of each continuation, in the order of the request, its tokens.
    pub continuations: Vec<Vec<ScoredToken>>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
}
