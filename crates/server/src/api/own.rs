//! What no other API has: tasks, evaluations, how likely continuations are, tokens, the relevance of documents; whether the server
//! lives, what it counts, what its endpoints are.
//!
//! Read next: one of the endpoints.

mod evaluations;
mod health;
mod query;
mod rerank;
mod score;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
mod tokens;

use super::{Dialect, DialectRow};

/// The dialect, for signatures.
pub(crate) struct Own;

impl Dialect for Own {
    fn row() -> &'static DialectRow {
        &DIALECT
    }
}

pub(crate) static DIALECT: DialectRow = DialectRow {
    name: "Bantam",
    prefixes: &[
        "/health",
        "/ready",
        "/metrics",
        "/tokenize",
        "/tokenizer_info",
        "/detokenize",
        "/v1/score",
        "/v1/rerank",
        "/v1/tasks",
        "/v1/evaluations",
        "/openapi.json",
    ],
    error: super::openai::error,
    endpoints: &[
        &score::ENDPOINT,
        &rerank::ENDPOINT,
        &tasks::LIST,
        &tasks::ONE,
        &tasks::ASK,
        &tasks::labels::SHEET,
        &tasks::labels::WRITE,
        &evaluations::LIST,
        &evaluations::ONE,
        &evaluations::REPORT,
        &evaluations::rows::ROWS,
        &evaluations::changes::CHANGES,
        &tokens::TOKENIZE,
        &tokens::DETOKENIZE,
        &tokens::INFO,
        &health::HEALTH,
        &health::READY,
        &health::METRICS,
        &health::OPENAPI,
    ],
};
