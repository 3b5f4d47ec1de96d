//! `POST /v1/embeddings`: texts as vectors.

use super::OpenAi;
use super::inputs::Inputs;
use crate::admit::Context;
use crate::answering::{at_once, within};
use crate::api::ignored::{Ignored, warnings};
use crate::api::keep_alive::keep_alive;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chat::EmbedRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Most texts a request (the reference's bound).
const MOST_TEXTS: usize = 2048;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/embeddings",
    scope: Scope::Infer,
    summary: "Texts as vectors",
    request: Some(schema_of::<EmbeddingsFields>),
    response: Some(schema_of::<Embeddings>),
    route: || post(answer),
};

/// Texts to turn into vectors.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmbeddingsFields {
    /// The model to ask.
    model: String,
    /// A text, token ids, or a list of either.
    input: Inputs,
    /// How vectors are written; numbers where absent.
    encoding_format: Option<EncodingFormat>,
    /// Keep so many of the first components, for models that are made for it.
    dimensions: Option<usize>,
    /// Extension: cut texts that are too long, and say so in `warnings`; else they are refused.
    truncate: Option<bool>,
    /// Extension: how long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    user: Ignored,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// The same as little-endian 32-bit floats, in base64.
    Base64,
}

/// Vectors, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
struct Embeddings {
    /// Always `list`.
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingsUsage,
    /// What of the request had no effect, and which texts were cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Embedding {
    /// Always `embedding`.
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

impl EncodingFormat {
    fn write(self, vector: Vec<f32>) -> Vector {
        match self {
            EncodingFormat::Float => Vector::Numbers(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// Counts of tokens.
#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingsUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<OpenAi, EmbeddingsFields>,
) -> Result<Json<Embeddings>, Reject<OpenAi>> {
    if fields.dimensions == Some(0) {
        return Err(Failure::field("dimensions", "dimensions: expected 1 or more, got 0").into());
    }
    let request = EmbedRequest {
        inputs: fields.input.prompts("input", MOST_TEXTS)?,
        truncate: fields.truncate.unwrap_or(false),
        dimensions: fields.dimensions,
    };
    let keep_alive = keep_alive(fields.keep_alive.as_ref())?;
    let model = within(&context, app.model(&fields.model, keep_alive)).await??;
    let embedded = at_once(&app, &context, &model, model.embed(request), |one| one.prompt_tokens).await?;
    let mut warnings = warnings(&[("user", &fields.user)]);
    warnings.extend(embedded.truncated.iter().map(|at| format!("input[{at}] was cut to what the model reads")));
    let format = fields.encoding_format.unwrap_or_default();
    let vectors = embedded.vectors.into_iter().enumerate();
    let prompt_tokens = embedded.prompt_tokens;
    Ok(Json(Embeddings {
        object: "list",
        data: vectors
            .map(|(index, vector)| Embedding { object: "embedding", index, embedding: format.write(vector) })
            .collect(),
        model: model.info().name.clone(),
        usage: EmbeddingsUsage { prompt_tokens, total_tokens: prompt_tokens },
        warnings,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, Running};
    use chat::Prompt;
    use serde_json::json;

    const PATH: &str = "/v1/embeddings";

    #[tokio::test]
    async fn texts_become_vectors() {
        let server = Running::start().await;
        let body = json!({"model": "small", "input": ["aaa", "eo"], "user": "me"});
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        assert_eq!(answer["data"][0], json!({"object": "embedding", "index": 0, "embedding": [1.0, 0.0, 0.0, 0.0]}));
        assert_eq!(answer["data"][1]["index"], 1);
        assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
        assert_eq!(answer["warnings"], json!(["user has no effect here"]));
    }

    #[tokio::test]
    async fn base64_holds_little_endian_floats() {
        let server = Running::start().await;
        let body = json!({"model": "small", "input": [97, 101], "encoding_format": "base64", "dimensions": 2});
        let answer = server.post(PATH, body).await.json();
        let bytes = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let half = 0.5f32.sqrt().to_le_bytes();
        assert_eq!(bytes, [half, half].concat());
        let [Asked::Embed(request)] = &server.model.asked()[..] else { panic!() };
        assert_eq!(request.inputs, [Prompt::Ids(vec![97, 101])]);
        assert_eq!(request.dimensions, Some(2));
        assert!(!request.truncate);
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_refused_by_name() {
        let server = Running::start().await;
        for (field, value, start) in [
            ("dimensions", json!(0), "dimensions: expected 1 or more, got 0"),
            ("encoding_format", json!("int8"), "encoding_format: unknown variant `int8`"),
            ("input", json!([]), "input: expected at least one, got an empty list"),
            ("input", json!(null), "input: invalid type: null, expected a text, token ids, or a list of either"),
        ] {
            let mut body = json!({"model": "small", "input": "x"});
            body[field] = value;
            let answer = server.post(PATH, body).await;
            assert_eq!(answer.status, 400, "{}", answer.text);
            let error = &answer.json()["error"];
            assert_eq!(error["param"], field);
            assert!(error["message"].as_str().unwrap().starts_with(start), "{error}");
        }
    }
}
