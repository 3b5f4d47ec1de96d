//! The table of dialects, and what an endpoint is.
//!
//! ```text
//! a dialect = a folder, one line in DIALECTS     an endpoint = a file in it, one line in the dialect's table
//! ```
//!
//! Read next: `openai` and one of its endpoints.

pub(crate) mod anthropic;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod own;

mod format;
mod ignored;
mod keep_alive;
mod others;
mod text_or;
mod top_logprobs;

use crate::app::App;
use crate::failure::Failure;
use crate::openapi::SchemaOf;
use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// What a key must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Nothing: the endpoint says nothing about models.
    Open,
    /// Asking models.
    Infer,
    /// Changing what there is.
    Admin,
}

impl Scope {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Open => "open",
            Scope::Infer => "infer",
            Scope::Admin => "admin",
        }
    }
}

/// Tools that one request may bring: each stands in the prompt, and each is compared with all others.
pub(crate) const MOST_TOOLS: usize = 1024;

/// Refuses more tools than a request may bring.
pub(crate) fn check_tool_count(count: usize) -> Result<(), Failure> {
    match count {
        0..=MOST_TOOLS => Ok(()),
        _ => Err(Failure::field("tools", format!("tools: expected at most {MOST_TOOLS}, got {count}"))),
    }
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) scope: Scope,
    /// One sentence for the documentation.
    pub(crate) summary: &'static str,
    /// The body that it reads, where it reads JSON.
    pub(crate) request: Option<SchemaOf>,
    /// The body that it answers with, where that is JSON.
    pub(crate) response: Option<SchemaOf>,
    pub(crate) route: fn() -> MethodRouter<Arc<App>>,
}

/// A way of speaking.
pub(crate) struct DialectRow {
    pub(crate) name: &'static str,
    /// Where paths begin that are meant for it, existing or not.
    pub(crate) prefixes: &'static [&'static str],
    /// Its error body.
    pub(crate) error: fn(&Failure) -> Value,
    pub(crate) endpoints: &'static [&'static Endpoint],
}

/// The type that stands for a dialect in signatures, so that a handler's errors take its shape.
pub(crate) trait Dialect: Send + Sync + 'static {
    fn row() -> &'static DialectRow;
}

/// All dialects. The first is spoken where a path belongs to none.
pub(crate) static DIALECTS: &[&DialectRow] =
    &[&openai::DIALECT, &ollama::DIALECT, &anthropic::DIALECT, &own::DIALECT, &crate::pages::DIALECT];

/// The dialect that whoever asks for a path speaks.
pub(crate) fn dialect_of(path: &str) -> &'static DialectRow {
    let longest = |row: &&DialectRow| {
        row.prefixes.iter().filter(|prefix| path.starts_with(**prefix)).map(|prefix| prefix.len()).max()
    };
    DIALECTS.iter().copied().max_by_key(|row| longest(row).map_or(0, |len| len + 1)).unwrap_or(DIALECTS[0])
}

/// A failure in the shape of a dialect.
pub(crate) struct Reject<D> {
    failure: Failure,
    dialect: PhantomData<D>,
}

impl<D, E: Into<Failure>> From<E> for Reject<D> {
    fn from(error: E) -> Reject<D> {
        Reject { failure: error.into(), dialect: PhantomData }
    }
}

impl<D: Dialect> IntoResponse for Reject<D> {
    fn into_response(self) -> Response {
        refuse(D::row(), &self.failure)
    }
}

/// A response that says why not.
pub(crate) fn refuse(dialect: &DialectRow, failure: &Failure) -> Response {
    let status = failure.kind.status();
    let mut response = (status, Json((dialect.error)(failure))).into_response();
    if let Some(after) = failure.retry_after {
        put_retry_after(&mut response, after);
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.extensions_mut().insert(Refused(failure.message.clone()));
    response
}

/// Tells a client when to try again.
pub(crate) fn put_retry_after(response: &mut Response, after: Duration) {
    // Whole seconds (RFC 9110, section 10.2.3), never zero: that would be a request to hurry.
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
}

/// Left in a response for the log.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) String);
