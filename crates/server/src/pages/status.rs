//! `/status`, and `/status.json`, which it asks every second.

use super::{Pages, page};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::get;
use chat::{Activity, RunningModel};
use minijinja::context;
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) static PAGE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/status",
    scope: Scope::Open,
    summary: "The state of the server",
    request: None,
    response: None,
    route: || get(async || page("status.html", context! {})),
};

pub(super) static DATA: Endpoint = Endpoint {
    method: Method::GET,
    path: "/status.json",
    scope: Scope::Infer,
    summary: "The state of the server, for its page",
    request: None,
    response: None,
    route: || get(data),
};

/// The state of the server.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    /// Since its start, exact enough to compute speeds with.
    seconds: f64,
    /// Requests under way, those that wait for a model included.
    under_way: usize,
    most_requests: usize,
    is_ending: bool,
    models: Vec<ModelStatus>,
}

/// The state of a model.
#[derive(Serialize)]
struct ModelStatus {
    name: String,
    family: String,
    quantization: String,
    context: usize,
    memory_bytes: u64,
    /// Until it is unloaded; none: never.
    seconds_left: Option<u64>,
    activity: Activity,
}

impl From<RunningModel> for ModelStatus {
    fn from(running: RunningModel) -> ModelStatus {
        let info = running.model.info();
        let left = |at: SystemTime| at.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs());
        ModelStatus {
            name: running.summary.name,
            family: info.family.clone(),
            quantization: info.quantization.clone(),
            context: info.context,
            memory_bytes: running.memory_bytes,
            seconds_left: running.expires.map(left),
            activity: running.model.activity(),
        }
    }
}

async fn data(State(app): State<Arc<App>>) -> Result<Json<Status>, Reject<Pages>> {
    let models = app.host.running().into_iter().map(ModelStatus::from).collect();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        seconds: app.age().as_secs_f64(),
        // Without the one that asks.
        under_way: app.under_way().saturating_sub(1),
        most_requests: app.options.max_requests,
        is_ending: app.is_draining(),
        models,
    }))
}

#[cfg(test)]
mod tests {
    use crate::testing::Running;

    #[tokio::test]
    async fn the_state_has_the_models_in_memory() {
        let server = Running::start().await;
        let state = server.get("/status.json").await.json();
        assert_eq!(state["under_way"], 0, "{state}");
        assert_eq!(state["models"][0]["name"], "small");
        assert_eq!(state["models"][0]["context"], 1024);
        assert!(state["models"][0]["activity"]["running"].is_u64() && state["seconds"].is_f64(), "{state}");
    }
}
