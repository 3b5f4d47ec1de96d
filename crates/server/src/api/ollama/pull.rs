//! `POST /api/pull`: fetches a model into the store.
//!
//! Read next: `progress`.

use super::Ollama;
use super::named::named;
use super::progress::{ProgressLine, Work, work};
use crate::admit::Context;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::post;
use chat::{HostFuture, ModelHost, PullProgress};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/pull",
    scope: Scope::Admin,
    summary: "Fetches a model into the store",
    request: Some(schema_of::<PullRequest>),
    response: Some(schema_of::<ProgressLine>),
    route: || post(pull),
};

/// Which model to fetch.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PullRequest)]
#[serde(deny_unknown_fields)]
struct PullRequest {
    model: Option<String>,
    /// The older name of `model`.
    name: Option<String>,
    /// Only false: models come over TLS.
    insecure: Option<bool>,
    /// Only empty.
    username: Option<String>,
    /// Only empty.
    password: Option<String>,
    /// A line for each piece, unless false.
    stream: Option<bool>,
}

async fn pull(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, PullRequest>,
) -> Result<Response, Reject<Ollama>> {
    if request.insecure == Some(true) {
        return Err(Failure::field("insecure", "insecure: expected false; models come over TLS alone").into());
    }
    for (field, value) in [("username", request.username), ("password", request.password)] {
        if value.is_some_and(|value| !value.is_empty()) {
            return Err(Failure::field(field, format!("{field}: expected none; registries are read without")).into());
        }
    }
    let name = named(request.model, request.name)?;
    let stream = request.stream.unwrap_or(true);
    let pull = Pull { name };
    Ok(work(&app, context, stream, pull).await?)
}

struct Pull {
    name: String,
}

impl Work for Pull {
    fn begin<'a>(&'a self, host: &'a dyn ModelHost, progress: &'a dyn PullProgress) -> HostFuture<'a, ()> {
        Box::pin(async move { host.pull(&self.name, progress).await.map(|_| ()) })
    }
}
