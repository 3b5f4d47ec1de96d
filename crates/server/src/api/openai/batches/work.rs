//! A line of a batch, done by the endpoint that it names, as if it had come over a connection.

use super::lines::BODY;
use super::output::{LineResponse, fields_of};
use crate::admit::admit_line;
use crate::api::Endpoint;
use crate::api::openai::OpenAi;
use crate::app::App;
use axum::http::StatusCode;
use chat::ChatError;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;
use tasks::{Input, Outcome, TaskError, Work};

/// Lines of a batch under way at once: enough to fill batches of a small model, few enough that others have their turn.
const CONCURRENCY: usize = 8;

/// Sends lines to an endpoint.
pub(super) struct LineWork {
    pub(super) app: Arc<App>,
    pub(super) endpoint: &'static Endpoint,
}

impl Work for LineWork {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let body = input.fields.get(BODY).unwrap_or(&Value::Null).to_string();
            let (request_id, response) = admit_line::<OpenAi>(&self.app, self.endpoint, body).await;
            let status = response.status();
            let bytes = response.into_body().collect().await;
            let bytes = bytes.map_err(|error| TaskError::Output(format!("the answer broke off: {error}")))?.to_bytes();
            let body = serde_json::from_slice(&bytes)
                .map_err(|error| TaskError::Output(format!("the endpoint answered with what is no JSON: {error}")))?;
            let response = LineResponse { status_code: status.as_u16(), request_id, body };
            let as_reason = || serde_json::to_string(&response).expect("our own types are always JSON; this is a bug");
            match status {
                StatusCode::OK => Ok(outcome(response)),
                // There may be time or room for it in a while. What keeps all models from answering keeps no other batch from
                // its turn: the line is tried again, and fails alone.
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Err(TaskError::Model(ChatError::Overloaded(as_reason())))
                }
                _ => Err(TaskError::Output(as_reason())),
            }
        })
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

/// What came of a line, with the counts of tokens where its endpoint puts them.
fn outcome(response: LineResponse) -> Outcome {
    let usage = &response.body["usage"];
    let count = |places: [&str; 2]| {
        let found = places.iter().find_map(|place| usage.pointer(place)?.as_u64());
        usize::try_from(found.unwrap_or_default()).unwrap_or(usize::MAX)
    };
    Outcome {
        prompt_tokens: count(["/prompt_tokens", "/input_tokens"]),
        cached_tokens: count(["/prompt_tokens_details/cached_tokens", "/input_tokens_details/cached_tokens"]),
        completion_tokens: count(["/completion_tokens", "/output_tokens"]),
        warnings: Vec::new(),
        fields: fields_of(response),
    }
}
