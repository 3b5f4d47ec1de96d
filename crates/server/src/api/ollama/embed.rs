//! `POST /api/embed`: texts as vectors.

use super::Ollama;
use super::options::none_has_effect;
use crate::admit::Context;
use crate::answering::{at_once, within};
use crate::api::keep_alive::keep_alive;
use crate::api::text_or::TextOr;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::{EmbedResponse, KeepAlive, Prompt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/embed",
    scope: Scope::Infer,
    summary: "Texts as vectors",
    request: Some(schema_of::<EmbedRequest>),
    response: Some(schema_of::<EmbeddedResponse>),
    route: || post(embed),
};

/// Texts to turn into vectors.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EmbedRequest)]
#[serde(deny_unknown_fields)]
struct EmbedRequest {
    model: String,
    /// A text or several; none, or an empty one: the model is only loaded.
    input: Option<TextOr<String>>,
    /// Whether a text that is too long is cut, which `warnings` tells; else it is refused.
    truncate: Option<bool>,
    /// Keep so many of the first components.
    dimensions: Option<usize>,
    /// How long the model stays in memory: seconds, or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    options: Option<Map<String, Value>>,
}

/// A vector of length 1 for each text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EmbedResponse)]
struct EmbeddedResponse {
    model: String,
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds from the request to the answer.
    total_duration: u64,
    /// Nanoseconds until the model was in memory.
    load_duration: u64,
    prompt_eval_count: usize,
    /// Extension: what of the request had no effect, and which texts were cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

async fn embed(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, EmbedRequest>,
) -> Result<Json<EmbeddedResponse>, Reject<Ollama>> {
    let mut warnings = none_has_effect("options", request.options.as_ref())?;
    if request.dimensions == Some(0) {
        return Err(Failure::field("dimensions", "dimensions: expected 1 or more, got 0").into());
    }
    let inputs = match request.input {
        None => Vec::new(),
        Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
        Some(input) => input.into_texts(),
    };
    let asked = chat::EmbedRequest {
        inputs: inputs.into_iter().map(Prompt::Text).collect(),
        truncate: request.truncate.unwrap_or(false),
        dimensions: request.dimensions,
    };
    let keep_alive = keep_alive(request.keep_alive.as_ref())?;
    let (response, load) = vectors(&app, &context, &request.model, keep_alive, asked).await?;
    warnings.extend(response.truncated.iter().map(|index| format!("input[{index}] was cut: it is too long")));
    Ok(Json(EmbeddedResponse {
        model: request.model,
        embeddings: response.vectors,
        total_duration: u64::try_from(context.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        load_duration: u64::try_from(load.as_nanos()).unwrap_or(u64::MAX),
        prompt_eval_count: response.prompt_tokens,
        warnings,
    }))
}

/// The vectors of texts, and how long the model took to be in memory.
pub(super) async fn vectors(
    app: &Arc<App>,
    context: &Context,
    name: &str,
    keep_alive: Option<KeepAlive>,
    request: chat::EmbedRequest,
) -> Result<(EmbedResponse, Duration), Failure> {
    let began = Instant::now();
    let model = within(context, app.model(name, keep_alive)).await??;
    let load = began.elapsed();
    if request.inputs.is_empty() {
        return Ok((EmbedResponse::default(), load));
    }
    let response = at_once(app, context, &model, model.embed(request), |response| response.prompt_tokens).await?;
    Ok((response, load))
}
