//! OpenAI's API: `/v1/...`.
//!
//! Field by field as its reference has it; a field that means nothing here is refused by name. Read next:
//! `chat_completions`.

pub(crate) mod batches;
mod chat_completions;
mod completions;
mod embeddings;
mod fields;
pub(crate) mod files;
mod format;
pub(super) mod inputs;
mod models;
mod one_or_many;
mod page;
mod responses;
mod tools;
pub(super) mod usage;

use super::{Dialect, DialectRow};
use crate::failure::{Failure, FailureKind};
use serde_json::{Value, json};

/// The dialect, for signatures.
pub(crate) struct OpenAi;

impl Dialect for OpenAi {
    fn row() -> &'static DialectRow {
        &DIALECT
    }
}

pub(crate) static DIALECT: DialectRow = DialectRow {
    name: "OpenAI",
    prefixes: &["/v1/"],
    error,
    endpoints: &[
        &chat_completions::ENDPOINT,
        &completions::ENDPOINT,
        &responses::ENDPOINT,
        &embeddings::ENDPOINT,
        &models::LIST,
        &models::ONE,
        &files::UPLOAD,
        &files::LIST,
        &files::ONE,
        &files::DELETE,
        &files::CONTENT,
        &batches::CREATE,
        &batches::LIST,
        &batches::ONE,
        &batches::CANCEL,
    ],
};

/// The error object of its reference.
pub(crate) fn error(failure: &Failure) -> Value {
    let kind = match failure.kind {
        FailureKind::Invalid
        | FailureKind::TooLarge
        | FailureKind::Method
        | FailureKind::NotFound
        | FailureKind::Conflict => "invalid_request_error",
        FailureKind::Unauthorized => "authentication_error",
        FailureKind::Forbidden => "permission_error",
        FailureKind::Limited => "rate_limit_error",
        FailureKind::Timeout => "timeout_error",
        FailureKind::BadOutput => "model_error",
        FailureKind::Internal | FailureKind::Unavailable => "server_error",
    };
    json!({"error": {"message": failure.message, "type": kind, "param": failure.field, "code": failure.code}})
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
