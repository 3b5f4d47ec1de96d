//! `GET /api/version`: this program's own.

use crate::api::{Endpoint, Scope};
use axum::Json;
use axum::http::Method;
use axum::routing::get;
use serde_json::json;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/api/version",
    scope: Scope::Open,
    summary: "The version of the server",
    request: None,
    response: None,
    route: || get(async || Json(json!({"version": env!("CARGO_PKG_VERSION")}))),
};
