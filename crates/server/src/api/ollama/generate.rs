//! `POST /api/generate`: an answer to one prompt, or text to go on from (`raw`), or to fill in (`suffix`).
//!
//! Read next: `asked`.

use super::Ollama;
use super::answer::{Answer, Shape};
use super::asked::{Asked, Asking, Shared, answer};
use crate::admit::Context;
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
use chat::{ChatRequest, CompletionRequest, Message, Prompt, Role};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/generate",
    scope: Scope::Infer,
    summary: "Answers a prompt; without one, loads or unloads a model",
    request: Some(schema_of::<GenerateRequest>),
    response: Some(schema_of::<Answer>),
    route: || post(generate),
};

/// A prompt to answer.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = GenerateRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateRequest {
    model: String,
    /// Empty: the model is only loaded, or with a `keep_alive` of 0 unloaded.
    prompt: Option<String>,
    /// What is to follow the answer, for models that fill in.
    suffix: Option<String>,
    /// Instructions, in place of the model's own.
    system: Option<String>,
    /// Only empty: prompts are formatted by the model's own template.
    template: Option<String>,
    /// Only empty: a conversation goes on with `chat`.
    context: Option<Vec<u32>>,
    /// A line for each piece, unless false.
    stream: Option<bool>,
    /// Whether the prompt is read as it is, without a template.
    raw: Option<bool>,
    /// `json`, or a JSON Schema: what the answer is held to.
    #[schema(value_type = Option<Value>)]
    format: Option<Value>,
    /// How long the model stays in memory: seconds, or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    /// Only empty: models here read text alone.
    images: Option<Vec<Value>>,
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

async fn generate(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, GenerateRequest>,
) -> Result<Response, Reject<Ollama>> {
    Ok(answer(&app, &context, Shape::Response, asked(request)?).await?)
}

fn asked(request: GenerateRequest) -> Result<Asked, Failure> {
    refuse_sent(&request)?;
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
    let [prompt, suffix, system] = [request.prompt, request.suffix, request.system].map(Option::unwrap_or_default);
    let raw = request.raw.unwrap_or(false);
    let is_plain = raw || !suffix.is_empty();
    if is_plain {
        let why = if raw { "raw is true" } else { "a suffix is given" };
        let refuse = |field: &str| Err(Failure::field(field, format!("{field}: expected none where {why}")));
        if !system.is_empty() {
            return refuse("system");
        }
        if think == Some(true) {
            return refuse("think");
        }
    }
    let asking = if prompt.is_empty() && suffix.is_empty() {
        chosen.warnings = shared.without_effect(&[("raw", raw), ("system", !system.is_empty())]);
        Asking::Nothing
    } else if is_plain {
        let suffix = Some(suffix).filter(|suffix| !suffix.is_empty());
        Asking::Completion(CompletionRequest {
            suffix,
            format,
            ..CompletionRequest::new(Prompt::Text(prompt), chosen.options)
        })
    } else {
        let system = (!system.is_empty()).then(|| Message::new(Role::System, system));
        let messages = system.into_iter().chain([Message::new(Role::User, prompt)]).collect();
        Asking::Prompt(ChatRequest { messages, think, format, options: chosen.options, ..ChatRequest::default() })
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

/// Refuses fields that mean something elsewhere, and that clients send empty.
fn refuse_sent(request: &GenerateRequest) -> Result<(), Failure> {
    let sent = [
        (
            "template",
            request.template.as_ref().is_some_and(|template| !template.is_empty()),
            "prompts are formatted by the model's own template\nhint: a model with another one is made by /api/create; \
             raw takes a prompt as it is",
        ),
        (
            "context",
            request.context.as_ref().is_some_and(|context| !context.is_empty()),
            "token ids of an earlier answer are not taken\nhint: /api/chat takes the messages of a conversation",
        ),
        ("images", request.images.as_ref().is_some_and(|images| !images.is_empty()), "models here read text alone"),
    ];
    match sent.iter().find(|(_, sent, _)| *sent) {
        Some((field, _, why)) => Err(Failure::field(*field, format!("{field}: expected none; {why}"))),
        None => Ok(()),
    }
}
