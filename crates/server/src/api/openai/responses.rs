//! `POST /v1/responses`, stateless: nothing is kept, so a conversation is sent whole.
//!
//! Read next: `request` for the fields, `input` for what a conversation may hold, `output` for what an answer becomes,
//! `events` for the stream.

mod events;
mod input;
mod output;
mod request;
mod response;
#[cfg(test)]
mod tests;

use super::OpenAi;
use crate::admit::Context;
use crate::answering::{Answering, within};
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
use events::Events;
use output::Output;
use request::{Asked, ResponseFields};
use response::ResponseObject;
use std::sync::Arc;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/responses",
    scope: Scope::Infer,
    summary: "Answers a conversation of items",
    request: Some(schema_of::<ResponseFields>),
    response: Some(schema_of::<ResponseObject>),
    route: || post(answer),
};

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<OpenAi, ResponseFields>,
) -> Result<Response, Reject<OpenAi>> {
    let Asked { model, keep_alive, stream, format, request, mut response } = Asked::of(request)?;
    let model = within(&context, app.model(&model, keep_alive)).await??;
    response.warn(prepare(&context, model.as_ref(), format.as_ref()).await?);
    let of_tool = |index: usize| format!("tools[{index}].parameters");
    response.warn(prepare_tools(&context, model.as_ref(), &request, of_tool).await?);
    let mut response = response.of_model(&model.info().name);
    let logprobs = request.options.top_logprobs.is_some();
    let mut answer = Answering::chat(&app, &context, &model, request).await?;
    let mut output = Output::new(logprobs);
    if stream {
        return Ok(stream::events(vec![answer], Events::new(response, output)));
    }
    while let Some(event) = answer.next().await {
        output.take(event?, &mut |_| ());
    }
    response.end(&output);
    Ok(Json(response).into_response())
}
