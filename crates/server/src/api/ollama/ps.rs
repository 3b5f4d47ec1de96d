//! `GET /api/ps`: the models in memory.

use super::details::{DetailsObject, digest};
use super::time::rfc3339;
use crate::api::{Endpoint, Scope};
use crate::app::App;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::get;
use chat::RunningModel;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// When a model is unloaded that stays for ever: the last second that all clients can read.
const NEVER: &str = "9999-12-31T23:59:59.000000Z";

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/api/ps",
    scope: Scope::Infer,
    summary: "The models in memory",
    request: None,
    response: Some(schema_of::<ProcessResponse>),
    route: || get(ps),
};

/// The models in memory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProcessResponse)]
struct ProcessResponse {
    models: Vec<RunningObject>,
}

/// A model in memory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunningModel)]
struct RunningObject {
    name: String,
    /// The same.
    model: String,
    /// Bytes of memory.
    size: u64,
    digest: String,
    details: DetailsObject,
    /// When it is unloaded unless it is asked again; the end of the year 9999: never.
    expires_at: String,
    /// Bytes of a graphics card's memory.
    size_vram: u64,
    /// Positions that one request may use.
    context_length: usize,
}

impl From<RunningModel> for RunningObject {
    fn from(running: RunningModel) -> RunningObject {
        let summary = running.summary;
        RunningObject {
            size: running.memory_bytes,
            digest: digest(&summary),
            details: DetailsObject::of(&summary, ""),
            expires_at: running.expires.map_or_else(|| NEVER.to_owned(), rfc3339),
            size_vram: 0,
            context_length: running.model.info().context,
            name: summary.name.clone(),
            model: summary.name,
        }
    }
}

async fn ps(State(app): State<Arc<App>>) -> Json<ProcessResponse> {
    Json(ProcessResponse { models: app.host.running().into_iter().map(RunningObject::from).collect() })
}
