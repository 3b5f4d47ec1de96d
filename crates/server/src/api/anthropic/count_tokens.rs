//! `POST /v1/messages/count_tokens`: how many tokens a conversation has, template and tools included.

use super::Anthropic;
use super::conversation::{MessageField, TextBlockField, Warnings, conversation};
use super::messages::request::{ThinkingField, thinking};
use super::tools::{ToolChoiceField, ToolField, tool_choice, tools};
use crate::admit::Context;
use crate::answering::within;
use crate::api::ignored::Ignored;
use crate::api::text_or::TextOr;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::ChatRequest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/messages/count_tokens",
    scope: Scope::Infer,
    summary: "Counts the tokens of a conversation",
    request: Some(schema_of::<CountRequest>),
    response: Some(schema_of::<CountResponse>),
    route: || post(count),
};

/// A conversation to count.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CountRequest)]
#[serde(deny_unknown_fields)]
struct CountRequest {
    model: String,
    messages: Vec<MessageField>,
    system: Option<TextOr<TextBlockField>>,
    tools: Option<Vec<ToolField>>,
    tool_choice: Option<ToolChoiceField>,
    thinking: Option<ThinkingField>,
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default)]
    cache_control: Ignored,
}

/// How many.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CountResponse)]
struct CountResponse {
    input_tokens: usize,
    /// Extension: what of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

async fn count(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Anthropic, CountRequest>,
) -> Result<Json<CountResponse>, Reject<Anthropic>> {
    let mut warnings = Warnings::default();
    warnings.of("cache_control", &request.cache_control);
    let messages = conversation(request.system, request.messages, &mut warnings)?;
    let tools = tools(request.tools.unwrap_or_default(), &mut warnings)?;
    let (tool_choice, one_tool_call) = tool_choice(request.tool_choice)?;
    let (think, thought_tokens) = thinking(request.thinking, None)?;
    let asked =
        ChatRequest { messages, tools, tool_choice, one_tool_call, think, thought_tokens, ..ChatRequest::default() };
    let model = within(&context, app.model(&request.model, None)).await??;
    let input_tokens = within(&context, model.count_tokens(&asked)).await??;
    Ok(Json(CountResponse { input_tokens, warnings: warnings.0 }))
}
