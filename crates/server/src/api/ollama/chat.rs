//! `POST /api/chat`: an answer to a conversation.
//!
//! Read next: `messages` for what a conversation may hold, `asked` for the way to the answer.

pub(super) mod messages;

use super::Ollama;
use super::answer::{Answer, Shape};
use super::asked::{Asked, Asking, Shared, answer};
use crate::admit::Context;
use crate::api::check_tool_count;
use crate::api::keep_alive::keep_alive;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::post;
use chat::{ChatRequest, Tool};
use messages::{MessageField, messages};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/chat",
    scope: Scope::Infer,
    summary: "Answers a conversation; without messages, loads or unloads a model",
    request: Some(schema_of::<ConversationRequest>),
    response: Some(schema_of::<Answer>),
    route: || post(chat),
};

/// A conversation to answer.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChatRequest)]
#[serde(deny_unknown_fields)]
struct ConversationRequest {
    model: String,
    /// The conversation, oldest first. None: the model is only loaded, or with a `keep_alive` of 0 unloaded.
    messages: Option<Vec<MessageField>>,
    /// Tools that may be called.
    tools: Option<Vec<ToolField>>,
    /// A line for each piece, unless false.
    stream: Option<bool>,
    /// `json`, or a JSON Schema: what the answer is held to.
    #[schema(value_type = Option<Value>)]
    format: Option<Value>,
    /// How long the model stays in memory: seconds, or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    /// How to generate.
    options: Option<Map<String, Value>>,
    /// Whether a thinking model should think.
    #[schema(value_type = Option<Value>)]
    think: Option<Value>,
    truncate: Option<bool>,
    shift: Option<bool>,
    /// Whether to report log-probabilities.
    logprobs: Option<bool>,
    /// With so many of the likeliest tokens at each place.
    top_logprobs: Option<usize>,
}

/// A tool that may be called.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Tool)]
#[serde(deny_unknown_fields)]
struct ToolField {
    /// `function`, also where it is left out.
    #[serde(rename = "type")]
    _type: Option<ToolKind>,
    function: FunctionField,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = ToolKind)]
#[serde(rename_all = "lowercase")]
enum ToolKind {
    Function,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = Function)]
#[serde(deny_unknown_fields)]
struct FunctionField {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// A JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
}

async fn chat(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, ConversationRequest>,
) -> Result<Response, Reject<Ollama>> {
    Ok(answer(&app, &context, Shape::Message, asked(request)?).await?)
}

fn asked(request: ConversationRequest) -> Result<Asked, Failure> {
    let shared = Shared {
        format: request.format.as_ref(),
        options: request.options.as_ref(),
        think: request.think.as_ref(),
        truncate: request.truncate,
        shift: request.shift,
        logprobs: request.logprobs,
        top_logprobs: request.top_logprobs,
    };
    let (mut chosen, think) = shared.check()?;
    let format = shared.format()?;
    let messages = messages(request.messages.unwrap_or_default())?;
    let tools = tools(request.tools.unwrap_or_default())?;
    let asking = match messages.is_empty() {
        true => {
            chosen.warnings = shared.without_effect(&[("tools", !tools.is_empty())]);
            Asking::Nothing
        }
        false => Asking::Chat(ChatRequest {
            messages,
            tools,
            think,
            format,
            options: chosen.options,
            ..ChatRequest::default()
        }),
    };
    Ok(Asked {
        model: request.model,
        keep_alive: keep_alive(request.keep_alive.as_ref())?,
        stream: request.stream.unwrap_or(true),
        num_ctx: chosen.num_ctx,
        warnings: chosen.warnings,
        asking,
    })
}

fn tools(fields: Vec<ToolField>) -> Result<Vec<Tool>, Failure> {
    check_tool_count(fields.len())?;
    let mut tools: Vec<Tool> = Vec::with_capacity(fields.len());
    for (index, ToolField { function, .. }) in fields.into_iter().enumerate() {
        if function.name.is_empty() || tools.iter().any(|tool| tool.name == function.name) {
            let path = format!("tools[{index}].function.name");
            let message = format!("{path}: expected a name of its own, got {:?}", function.name);
            return Err(Failure::field(path, message));
        }
        let name = function.name.clone();
        tools.push(Tool { name, definition: json!({"type": "function", "function": function}), strict: false });
    }
    Ok(tools)
}
