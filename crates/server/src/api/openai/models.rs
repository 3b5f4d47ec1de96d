//! `GET /v1/models` and `GET /v1/models/{id}`: what there is to ask.

use super::OpenAi;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::get;
use chat::ModelSummary;
use serde::Serialize;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

pub(super) static LIST: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/models",
    scope: Scope::Infer,
    summary: "The models that can be asked",
    request: None,
    response: Some(schema_of::<ModelList>),
    route: || get(list),
};

pub(super) static ONE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/models/{*id}",
    scope: Scope::Infer,
    summary: "One model",
    request: None,
    response: Some(schema_of::<ModelObject>),
    route: || get(one),
};

/// A list of models.
#[derive(Debug, Serialize, ToSchema)]
struct ModelList {
    /// Always `list`.
    object: &'static str,
    data: Vec<ModelObject>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelObject {
    /// The name to ask for it by.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// When it came into the store, in seconds since 1970.
    created: u64,
    /// Always `bantam`.
    owned_by: &'static str,
    /// Whether it is in memory now.
    loaded: bool,
}

impl From<ModelSummary> for ModelObject {
    fn from(summary: ModelSummary) -> ModelObject {
        let created = summary.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        ModelObject {
            id: summary.name,
            object: "model",
            created: created.map_or(0, |since| since.as_secs()),
            owned_by: "bantam",
            loaded: summary.loaded,
        }
    }
}

async fn list(State(app): State<Arc<App>>) -> Result<Json<ModelList>, Reject<OpenAi>> {
    let models = app.on_host(|host| Box::pin(async move { host.list().await })).await?;
    Ok(Json(ModelList { object: "list", data: models.into_iter().map(ModelObject::from).collect() }))
}

async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<ModelObject>, Reject<OpenAi>> {
    let details = app.on_host(move |host| Box::pin(async move { host.show(&id).await })).await;
    let details = details.map_err(App::or_list)?;
    Ok(Json(ModelObject::from(details.summary)))
}
