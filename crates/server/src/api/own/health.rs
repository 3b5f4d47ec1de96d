//! What those who run the server ask: `/health`, `/ready`, `/metrics`, `/openapi.json`.

use crate::api::{Endpoint, Scope};
use crate::app::App;
use crate::openapi::{document, shown_tasks};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) static HEALTH: Endpoint = Endpoint {
    method: Method::GET,
    path: "/health",
    scope: Scope::Open,
    summary: "Whether the server lives",
    request: None,
    response: None,
    route: || get(health),
};

pub(super) static READY: Endpoint = Endpoint {
    method: Method::GET,
    path: "/ready",
    scope: Scope::Open,
    summary: "Whether a model has answered and requests are taken",
    request: None,
    response: None,
    route: || get(ready),
};

pub(super) static METRICS: Endpoint = Endpoint {
    method: Method::GET,
    path: "/metrics",
    scope: Scope::Infer,
    summary: "Counters and histograms for Prometheus",
    request: None,
    response: None,
    route: || get(metrics),
};

pub(super) static OPENAPI: Endpoint = Endpoint {
    method: Method::GET,
    path: "/openapi.json",
    scope: Scope::Open,
    summary: "This description",
    request: None,
    response: None,
    route: || get(openapi),
};

/// Everybody may read it; the tasks in it are shown to those who may ask them.
async fn openapi(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    Json(document(shown_tasks(&app, &headers)))
}

async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    if app.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "ending"})))
    } else if app.has_answered() {
        (StatusCode::OK, Json(json!({"status": "ready"})))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "no model has answered yet"})))
    }
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], app.metrics.page(&app.host.running()))
}
