//! `POST /v1/rerank`: documents by how well they answer a query, in the shape that Cohere and Jina have in common.
//!
//! A cross-encoder judges each document together with the query; other embedding models by the cosine of both vectors.

use super::Own;
use crate::admit::Context;
use crate::answering::{at_once, within};
use crate::api::keep_alive::keep_alive;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use crate::shapes::by_shape;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::{ChatModel, EmbedRequest, Prompt, RelevanceRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Most documents a request.
const MOST_DOCUMENTS: usize = 1024;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/rerank",
    scope: Scope::Infer,
    summary: "Documents by how well they answer a query",
    request: Some(schema_of::<RerankFields>),
    response: Some(schema_of::<Ranking>),
    route: || post(answer),
};

/// A query and documents.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RerankFields {
    /// The model to ask.
    model: String,
    query: String,
    documents: Vec<DocumentField>,
    /// Answer with the best so many alone.
    top_n: Option<usize>,
    /// Whether results hold the documents' texts.
    return_documents: Option<bool>,
    /// Not supported: `truncate` cuts where the model itself ends.
    max_tokens_per_doc: Option<usize>,
    /// Extension: cut texts that are too long, and say so in `warnings`; else they are refused.
    truncate: Option<bool>,
    /// Extension: how long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
}

/// A document.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
enum DocumentField {
    Text(String),
    Object(DocumentObject),
}

by_shape!(
    DocumentField,
    "a text or an object with a text",
    text => DocumentField::Text,
    object => DocumentField::Object
);

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DocumentObject {
    text: String,
}

/// Documents, the best first.
#[derive(Debug, Serialize, ToSchema)]
struct Ranking {
    /// The id of the request.
    id: String,
    model: String,
    results: Vec<RankedDocument>,
    usage: RerankUsage,
    /// Which texts were cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RankedDocument {
    /// Its place in the request.
    index: usize,
    /// Larger is better.
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<DocumentObject>,
}

/// Counts of tokens.
#[derive(Debug, Serialize, ToSchema)]
struct RerankUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// How relevant each document is.
struct Judged {
    scores: Vec<f32>,
    prompt_tokens: usize,
    warnings: Vec<String>,
}

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<Own, RerankFields>,
) -> Result<Json<Ranking>, Reject<Own>> {
    check(&fields)?;
    let text = |document| match document {
        DocumentField::Text(text) | DocumentField::Object(DocumentObject { text }) => text,
    };
    let documents: Vec<String> = fields.documents.into_iter().map(text).collect();
    let keep_alive = keep_alive(fields.keep_alive.as_ref())?;
    let model = within(&context, app.model(&fields.model, keep_alive)).await??;
    let truncate = fields.truncate.unwrap_or(false);
    let judged = judge(&app, &context, &model, fields.query, documents.clone(), truncate).await?;
    let returned = |index: usize| fields.return_documents.unwrap_or(false).then(|| documents[index].clone());
    let mut results: Vec<RankedDocument> = judged
        .scores
        .into_iter()
        .enumerate()
        .map(|(index, relevance_score)| RankedDocument {
            index,
            relevance_score,
            document: returned(index).map(|text| DocumentObject { text }),
        })
        .collect();
    // Stable: documents of one score stay in their order.
    results.sort_by(|a, b| b.relevance_score.total_cmp(&a.relevance_score));
    results.truncate(fields.top_n.unwrap_or(usize::MAX));
    let prompt_tokens = judged.prompt_tokens;
    Ok(Json(Ranking {
        id: context.id.to_string(),
        model: model.info().name.clone(),
        results,
        usage: RerankUsage { prompt_tokens, total_tokens: prompt_tokens },
        warnings: judged.warnings,
    }))
}

fn check(fields: &RerankFields) -> Result<(), Failure> {
    let count = fields.documents.len();
    if !(1..=MOST_DOCUMENTS).contains(&count) {
        let message = format!("documents: expected 1 to {MOST_DOCUMENTS}, got {count}");
        return Err(Failure::field("documents", message));
    }
    if fields.top_n == Some(0) {
        return Err(Failure::field("top_n", "top_n: expected 1 or more, got 0"));
    }
    if fields.max_tokens_per_doc.is_some() {
        let message = "max_tokens_per_doc: not supported\nhint: `truncate` cuts documents where the model itself ends";
        return Err(Failure::field("max_tokens_per_doc", message));
    }
    Ok(())
}

async fn judge(
    app: &Arc<App>,
    context: &Context,
    model: &Arc<dyn ChatModel>,
    query: String,
    documents: Vec<String>,
    truncate: bool,
) -> Result<Judged, Failure> {
    let cut = |at: usize| format!("documents[{at}] was cut to what the model reads");
    if model.info().capabilities.relevance {
        let request = RelevanceRequest { query, documents, truncate };
        let answer = at_once(app, context, model, model.relevance(request), |one| one.prompt_tokens).await?;
        let warnings = answer.truncated.into_iter().map(cut).collect();
        return Ok(Judged { scores: answer.scores, prompt_tokens: answer.prompt_tokens, warnings });
    }
    // The query is the first of the texts.
    let inputs = std::iter::once(query).chain(documents).map(Prompt::Text).collect();
    let request = EmbedRequest { inputs, truncate, dimensions: None };
    let answer = at_once(app, context, model, model.embed(request), |one| one.prompt_tokens).await?;
    let cut_text = |at: usize| at.checked_sub(1).map_or("query was cut to what the model reads".to_owned(), cut);
    let warnings = answer.truncated.into_iter().map(cut_text).collect();
    let mut vectors = answer.vectors.into_iter();
    let query = vectors.next().unwrap_or_default();
    // Vectors have the length 1, so their product is the cosine of the angle between them.
    let cosine = |document: Vec<f32>| query.iter().zip(&document).map(|(a, b)| a * b).sum();
    Ok(Judged { scores: vectors.map(cosine).collect(), prompt_tokens: answer.prompt_tokens, warnings })
}
