//! `DELETE /api/delete`: removes a model.

use super::Ollama;
use super::named::named;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::openapi::schema_of;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::DELETE,
    path: "/api/delete",
    scope: Scope::Admin,
    summary: "Removes a model",
    request: Some(schema_of::<DeleteRequest>),
    response: None,
    route: || routing::delete(delete),
};

/// Which model to remove.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeleteRequest)]
#[serde(deny_unknown_fields)]
struct DeleteRequest {
    model: Option<String>,
    /// The older name of `model`.
    name: Option<String>,
}

async fn delete(
    State(app): State<Arc<App>>,
    JsonBody(request, ..): JsonBody<Ollama, DeleteRequest>,
) -> Result<StatusCode, Reject<Ollama>> {
    let name = named(request.model, request.name)?;
    app.on_host(move |host| Box::pin(async move { host.delete(&name).await })).await?;
    Ok(StatusCode::OK)
}
