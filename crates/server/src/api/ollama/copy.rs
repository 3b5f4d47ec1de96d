//! `POST /api/copy`: a second name for a model.

use super::Ollama;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::openapi::schema_of;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::post;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/copy",
    scope: Scope::Admin,
    summary: "Gives a model a second name",
    request: Some(schema_of::<CopyRequest>),
    response: None,
    route: || post(copy),
};

/// Which model, and its second name.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CopyRequest)]
#[serde(deny_unknown_fields)]
struct CopyRequest {
    source: String,
    destination: String,
}

async fn copy(
    State(app): State<Arc<App>>,
    JsonBody(request, ..): JsonBody<Ollama, CopyRequest>,
) -> Result<StatusCode, Reject<Ollama>> {
    let CopyRequest { source, destination } = request;
    app.on_host(move |host| Box::pin(async move { host.copy(&source, &destination).await })).await?;
    Ok(StatusCode::OK)
}
