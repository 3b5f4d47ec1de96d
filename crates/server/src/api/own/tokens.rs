//! `POST /tokenize` and `POST /detokenize`: text to token ids and back, in the shape that vLLM has for both.
//!
//! A model need not be in memory for it.

use super::Own;
use crate::admit::Context;
use crate::answering::within;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::{Failure, FailureKind};
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::routing::{get, post};
use chat::ModelDetails;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static TOKENIZE: Endpoint = Endpoint {
    method: Method::POST,
    path: "/tokenize",
    scope: Scope::Infer,
    summary: "Token ids of a text",
    request: Some(schema_of::<TokenizeFields>),
    response: Some(schema_of::<Tokens>),
    route: || post(tokenize),
};

pub(super) static DETOKENIZE: Endpoint = Endpoint {
    method: Method::POST,
    path: "/detokenize",
    scope: Scope::Infer,
    summary: "The text of token ids",
    request: Some(schema_of::<DetokenizeFields>),
    response: Some(schema_of::<Text>),
    route: || post(detokenize),
};

pub(super) static INFO: Endpoint = Endpoint {
    method: Method::GET,
    path: "/tokenizer_info",
    scope: Scope::Infer,
    summary: "The special tokens and the chat template of a model (`?model=`)",
    request: None,
    response: Some(schema_of::<Info>),
    route: || get(info),
};

/// A text to turn into token ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenizeFields {
    /// The model whose tokenizer is used; may be left out where one is in memory.
    model: Option<String>,
    /// The text. What looks like a special token in it is plain text.
    prompt: String,
    /// Only false, as where absent: no token that marks the beginning is put before the text.
    add_special_tokens: Option<bool>,
    /// Whether to answer with the text of each token too.
    return_token_strs: Option<bool>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    count: usize,
    /// Positions that the model was trained for.
    max_model_len: usize,
    tokens: Vec<u32>,
    /// The text of each token; part of a character shows as U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_strs: Option<Vec<String>>,
}

/// Token ids to turn into a text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DetokenizeFields {
    /// The model whose tokenizer is used; may be left out where one is in memory.
    model: Option<String>,
    tokens: Vec<u32>,
}

/// The text of token ids.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DetokenizedText)]
struct Text {
    prompt: String,
}

/// Which model to tell of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InfoFields {
    model: Option<String>,
}

/// What a client that renders and tokenizes by itself must know.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenizerInfo)]
struct Info {
    model: String,
    /// The token that begins every text, where the model has one.
    bos_token: Option<String>,
    /// The token that ends every text, where the model has one.
    eos_token: Option<String>,
    /// Jinja; none where the model has none.
    chat_template: Option<String>,
}

/// The model of a request, or the one that is in memory.
fn model_of(app: &App, model: Option<String>) -> Result<String, Failure> {
    if let Some(model) = model {
        return Ok(model);
    }
    match app.host.running().as_slice() {
        [only] => Ok(only.summary.name.clone()),
        all => {
            let count = all.len();
            let message = format!("model: expected a name, got none, and {count} models are in memory instead of one");
            Err(Failure::field("model", message))
        }
    }
}

/// A special token of a file's metadata, by the keys of both kinds of file.
fn special_token(details: &ModelDetails, keys: [&str; 2]) -> Option<u32> {
    let id = keys.iter().find_map(|key| details.metadata.get(*key)?.as_u64())?;
    u32::try_from(id).ok()
}

async fn info(
    State(app): State<Arc<App>>,
    context: Context,
    query: Result<Query<InfoFields>, QueryRejection>,
) -> Result<Json<Info>, Reject<Own>> {
    let Query(fields) = query.map_err(|error| Failure::new(FailureKind::Invalid, error.body_text()))?;
    let model = model_of(&app, fields.model)?;
    let told = app.on_host(move |host| {
        Box::pin(async move {
            let details = host.show(&model).await?;
            let bos = special_token(&details, ["tokenizer.ggml.bos_token_id", "bos_token_id"]);
            let eos = special_token(&details, ["tokenizer.ggml.eos_token_id", "eos_token_id"]);
            let ids: Vec<u32> = bos.into_iter().chain(eos).collect();
            let mut texts = host.token_texts(&model, &ids).await?.into_iter();
            let bos_token = bos.and_then(|_| texts.next());
            let eos_token = eos.and_then(|_| texts.next());
            let chat_template = Some(details.template).filter(|template| !template.is_empty());
            Ok(Info { model, bos_token, eos_token, chat_template })
        })
    });
    Ok(Json(within(&context, told).await??))
}

async fn tokenize(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<Own, TokenizeFields>,
) -> Result<Json<Tokens>, Reject<Own>> {
    if fields.add_special_tokens == Some(true) {
        let message = "add_special_tokens: expected false; the ids of the text alone are answered";
        return Err(Failure::field("add_special_tokens", message).into());
    }
    let with_texts = fields.return_token_strs.unwrap_or(false);
    let name = model_of(&app, fields.model)?;
    let answered = app.on_host(move |host| {
        Box::pin(async move {
            let tokens = host.tokenize(&name, &fields.prompt).await?;
            let token_strs = if with_texts { Some(host.token_texts(&name, &tokens).await?) } else { None };
            let max_model_len = host.show(&name).await?.maximum_context;
            Ok(Tokens { count: tokens.len(), max_model_len, tokens, token_strs })
        })
    });
    Ok(Json(within(&context, answered).await??))
}

async fn detokenize(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<Own, DetokenizeFields>,
) -> Result<Json<Text>, Reject<Own>> {
    let DetokenizeFields { model, tokens } = fields;
    let model = model_of(&app, model)?;
    let text = app.on_host(move |host| Box::pin(async move { host.detokenize(&model, &tokens).await }));
    Ok(Json(Text { prompt: within(&context, text).await?? }))
}
