//! Anthropic's API: `/v1/messages`.
//!
//! Field by field as its reference has it; a field that means nothing here is refused by name, or named in the response's
//! `warnings` where clients cannot help sending it. Read next: `conversation`, then `messages`.

mod conversation;
mod count_tokens;
mod messages;
mod tools;

#[cfg(test)]
mod tests;

use super::{Dialect, DialectRow};
use crate::failure::{Failure, FailureKind};
use serde_json::{Value, json};

/// The dialect, for signatures.
pub(crate) struct Anthropic;

impl Dialect for Anthropic {
    fn row() -> &'static DialectRow {
        &DIALECT
    }
}

pub(crate) static DIALECT: DialectRow = DialectRow {
    name: "Anthropic",
    prefixes: &["/v1/messages"],
    error,
    endpoints: &[&messages::ENDPOINT, &count_tokens::ENDPOINT],
};

/// The error object of its reference.
fn error(failure: &Failure) -> Value {
    let kind = match failure.kind {
        FailureKind::Invalid | FailureKind::Method | FailureKind::Conflict => "invalid_request_error",
        FailureKind::Unauthorized => "authentication_error",
        FailureKind::Forbidden => "permission_error",
        FailureKind::NotFound => "not_found_error",
        FailureKind::TooLarge => "request_too_large",
        FailureKind::Limited => "rate_limit_error",
        FailureKind::Timeout => "timeout_error",
        FailureKind::Unavailable => "overloaded_error",
        FailureKind::BadOutput | FailureKind::Internal => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": failure.message}})
}
