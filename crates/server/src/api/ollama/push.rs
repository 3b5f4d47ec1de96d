//! `POST /api/push`: refused. Models are not sent anywhere from here.

use crate::api::{Endpoint, Scope};
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/push",
    scope: Scope::Admin,
    summary: "Always refused: models are not sent anywhere from here",
    request: None,
    response: None,
    route: || post(push),
};

async fn push() -> (StatusCode, Json<Value>) {
    let message = "models are not sent to registries from here\nhint: publish the model's file where you keep models";
    (StatusCode::NOT_IMPLEMENTED, Json(json!({"error": message})))
}
