//! `POST /v1/messages`: answers a conversation.
//!
//! Read next: `request` for the fields, `response` for both ways of answering.

pub(super) mod request;
mod response;

use super::Anthropic;
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
use request::{Asked, MessagesRequest};
use response::{Events, Head, MessageObject};
use std::sync::Arc;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/messages",
    scope: Scope::Infer,
    summary: "Answers a conversation",
    request: Some(schema_of::<MessagesRequest>),
    response: Some(schema_of::<MessageObject>),
    route: || post(answer),
};

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Anthropic, MessagesRequest>,
) -> Result<Response, Reject<Anthropic>> {
    let mut asked = Asked::of(request)?;
    let model = within(&context, app.model(&asked.model, None)).await??;
    asked.warnings.extend(prepare(&context, model.as_ref(), asked.format.as_ref()).await?);
    let of_tool = |index: usize| format!("tools[{index}].input_schema");
    asked.warnings.extend(prepare_tools(&context, model.as_ref(), &asked.request, of_tool).await?);
    let stop_sequences = asked.request.options.stop.clone();
    let answering = Answering::chat(&app, &context, &model, asked.request).await?;
    let head = Head::new(asked.model, stop_sequences, asked.warnings);
    if asked.stream {
        return Ok(stream::events(vec![answering], Events::new(head)));
    }
    Ok(Json(MessageObject::of(head, answering.whole().await?)?).into_response())
}
