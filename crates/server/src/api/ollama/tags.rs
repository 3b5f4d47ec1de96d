//! `GET /api/tags`: the models in the store.

use super::Ollama;
use super::details::{DetailsObject, digest, modified_at};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::get;
use chat::ModelSummary;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/api/tags",
    scope: Scope::Infer,
    summary: "The models in the store",
    request: None,
    response: Some(schema_of::<TagsResponse>),
    route: || get(tags),
};

/// The models in the store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TagsResponse)]
struct TagsResponse {
    models: Vec<ModelObject>,
}

/// A model in the store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredModel)]
struct ModelObject {
    name: String,
    /// The same.
    model: String,
    modified_at: String,
    /// Bytes on disk.
    size: u64,
    /// SHA-256 of the file, empty where it has none.
    digest: String,
    details: DetailsObject,
}

impl From<ModelSummary> for ModelObject {
    fn from(summary: ModelSummary) -> ModelObject {
        ModelObject {
            modified_at: modified_at(&summary),
            size: summary.bytes,
            digest: digest(&summary),
            details: DetailsObject::of(&summary, ""),
            name: summary.name.clone(),
            model: summary.name,
        }
    }
}

async fn tags(State(app): State<Arc<App>>) -> Result<Json<TagsResponse>, Reject<Ollama>> {
    let models = app.on_host(|host| Box::pin(async move { host.list().await })).await?;
    Ok(Json(TagsResponse { models: models.into_iter().map(ModelObject::from).collect() }))
}
