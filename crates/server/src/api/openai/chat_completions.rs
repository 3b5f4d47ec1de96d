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
use crate::api::format::{prepare, prepare_tools};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::openapi::schema_of;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::future::try_join_all;
use request::{Asked, ChatCompletionRequest, each_choice};
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
    let unheld = prepare(&context, model.as_ref(), asked.format.as_ref()).await?;
    let Asked { choices, stream, include_usage, logprobs, mut warnings, request, .. } = asked;
    warnings.extend(unheld);
    let of_tool = |index: usize| format!("tools[{index}].function.parameters");
    warnings.extend(prepare_tools(&context, model.as_ref(), &request, of_tool).await?);
    // All are asked for at once: they share the prompt, which is computed once.
    let asked = each_choice(request, choices).map(|request| Answering::chat(&app, &context, &model, request));
    let answers = try_join_all(asked).await?;
    let head = Head::new(&model.info().name, warnings);
    if stream {
        return Ok(stream::events(answers, Chunks::new(head, choices, include_usage, logprobs)));
    }
    let answers: Vec<Whole> = try_join_all(answers.into_iter().map(Answering::whole)).await?;
    Ok(Json(ChatCompletion::of(head, answers, logprobs)).into_response())
}
