//! `POST /api/embeddings`: one text as a vector, in the older form.
//!
//! Read next: `embed`.

use super::Ollama;
use super::embed::vectors;
use super::options::none_has_effect;
use crate::admit::Context;
use crate::api::keep_alive::keep_alive;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::{EmbedRequest, Prompt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/embeddings",
    scope: Scope::Infer,
    summary: "One text as a vector; the older form of /api/embed",
    request: Some(schema_of::<EmbeddingsRequest>),
    response: Some(schema_of::<EmbeddingsResponse>),
    route: || post(embeddings),
};

/// A text to turn into a vector.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EmbeddingsRequest)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest {
    model: String,
    /// The text; empty: the model is only loaded.
    prompt: Option<String>,
    /// How long the model stays in memory: seconds, or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    options: Option<Map<String, Value>>,
}

/// A vector of length 1.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EmbeddingsResponse)]
struct EmbeddingsResponse {
    embedding: Vec<f32>,
    /// Extension: what of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

async fn embeddings(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, EmbeddingsRequest>,
) -> Result<Json<EmbeddingsResponse>, Reject<Ollama>> {
    let warnings = none_has_effect("options", request.options.as_ref())?;
    let prompt = request.prompt.filter(|prompt| !prompt.is_empty());
    let inputs = prompt.into_iter().map(Prompt::Text).collect();
    let asked = EmbedRequest { inputs, truncate: false, dimensions: None };
    let keep_alive = keep_alive(request.keep_alive.as_ref())?;
    let (response, _) = vectors(&app, &context, &request.model, keep_alive, asked).await?;
    Ok(Json(EmbeddingsResponse { embedding: response.vectors.into_iter().next().unwrap_or_default(), warnings }))
}
