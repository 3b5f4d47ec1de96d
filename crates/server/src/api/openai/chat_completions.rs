//! `POST /v1/chat/completions`.
//!
//! Read next: `request` for the fields, `messages` for what a conversation may hold, `response` for both ways of answering.

mod messages;
mod request;
mod response;
#[cfg(test)]
mod tests;

use super::OpenAi;
use crate::admit::Context;
use crate::answering::{Answering, Whole, within};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chat::ChatModel;
use futures::future::try_join_all;
use request::{Asked, ChatCompletionRequest};
use response::{ChatCompletion, Chunks, Head};
use std::sync::Arc;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/chat/completions",
    scope: Scope::Infer,
    summary: "Answers a conversation",
    request: Some(schema_of::<ChatCompletionRequest>),
    response: Some(schema_of::<ChatCompletion>),
    route: || post(answer),
};

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<OpenAi, ChatCompletionRequest>,
) -> Result<Response, Reject<OpenAi>> {
    let asked = Asked::of(request)?;
    let model = within(&context, app.model(&asked.model, asked.keep_alive)).await??;
    let answers = begin(&app, &context, &model, &asked).await?;
    let head = Head::new(&model.info().name, asked.warnings);
    if asked.stream {
        return Ok(stream::events(answers, Chunks::new(head, asked.choices, asked.include_usage, asked.logprobs)));
    }
    let answers: Vec<Whole> = try_join_all(answers.into_iter().map(Answering::whole)).await?;
    Ok(Json(ChatCompletion::of(head, answers, asked.logprobs)).into_response())
}

/// Asks for every choice at once: they share the prompt, which is read once.
async fn begin(
    app: &Arc<App>,
    context: &Context,
    model: &Arc<dyn ChatModel>,
    asked: &Asked,
) -> Result<Vec<Answering>, Failure> {
    let one = |choice| Answering::chat(app, context, model, asked.choice(choice));
    try_join_all((0..asked.choices).map(one)).await
}
