//! Asking how likely a text is, token by token.

use serde::Serialize;

/// What to score.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreInput {
    /// Text, tokenized with the model's beginning-of-sequence token where it has one; special tokens are plain text.
    Text(String),
    /// Token ids, taken as they are.
    Ids(Vec<u32>),
}

/// A request for log-probabilities of a given text.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRequest {
    /// The text or ids.
    pub input: ScoreInput,
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
