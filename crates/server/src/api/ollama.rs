//! Ollama's API: `/api/...`.
//!
//! Field by field as its reference has it, with one difference on purpose: nothing is cut or ignored in silence. What
//! has no effect here is named in the response's `warnings`, and a prompt that does not fit is refused with both numbers.
//! Read next: `asked`, what both ways of generating share, then `chat`.

mod answer;
mod asked;
mod blobs;
mod chat;
mod copy;
mod create;
mod delete;
mod details;
mod embed;
mod embeddings;
mod generate;
mod named;
mod options;
mod progress;
mod ps;
mod pull;
mod push;
mod show;
mod tags;
mod time;
mod version;

#[cfg(test)]
mod tests;

use super::{Dialect, DialectRow};
use crate::failure::Failure;
use serde_json::{Value, json};

/// The dialect, for signatures.
pub(crate) struct Ollama;

impl Dialect for Ollama {
    fn row() -> &'static DialectRow {
        &DIALECT
    }
}

pub(crate) static DIALECT: DialectRow = DialectRow {
    name: "Ollama",
    prefixes: &["/api/"],
    error,
    endpoints: &[
        &generate::ENDPOINT,
        &chat::ENDPOINT,
        &embed::ENDPOINT,
        &embeddings::ENDPOINT,
        &tags::ENDPOINT,
        &show::ENDPOINT,
        &ps::ENDPOINT,
        &pull::ENDPOINT,
        &push::ENDPOINT,
        &create::ENDPOINT,
        &copy::ENDPOINT,
        &delete::ENDPOINT,
        &blobs::HAS,
        &blobs::PUT,
        &version::ENDPOINT,
    ],
};

/// The error object of its reference.
fn error(failure: &Failure) -> Value {
    json!({"error": failure.message})
}
