//! `GET /v1/tasks`, `GET /v1/tasks/{name}` and `POST /v1/tasks/{name}`: the tasks that the server was started with.
//!
//! A body is one input, an object of the fields that the task reads, or several of them in `inputs`. Read next:
//! `input` for what a body may be, `outcome` for what comes back, `schema` for how OpenAPI tells both; `labels` for answers that
//! people write into the task's test table.

mod input;
pub(super) mod labels;
mod outcome;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use super::Own;
use crate::admit::Context;
use crate::answering;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, TryStreamExt, stream};
use input::Asked;
use outcome::{OneOutcome, SeveralOutcomes};
use schema::{TaskList, TaskObject};
use serde_json::{Map, Value};
use std::sync::Arc;
use tasks::Work;

pub(super) static LIST: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/tasks",
    scope: Scope::Infer,
    summary: "The tasks that can be asked",
    request: None,
    response: Some(schema_of::<TaskList>),
    route: || get(list),
};

/// The path of one task, as the router has it.
pub(crate) const PATH: &str = "/v1/tasks/{name}";

pub(super) static ONE: Endpoint = Endpoint {
    method: Method::GET,
    path: PATH,
    scope: Scope::Infer,
    summary: "One task: what it reads, and what comes of it",
    request: None,
    response: Some(schema_of::<TaskObject>),
    route: || get(one),
};

pub(super) static ASK: Endpoint = Endpoint {
    method: Method::POST,
    path: PATH,
    scope: Scope::Infer,
    summary: "Does a task on one input, or on several",
    request: None,
    response: Some(schema_of::<SeveralOutcomes>),
    route: || post(answer),
};

async fn list(State(app): State<Arc<App>>) -> Json<TaskList> {
    Json(TaskList { object: "list", data: app.tasks.iter().map(TaskObject::of).collect() })
}

async fn one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<TaskObject>, Reject<Own>> {
    Ok(Json(TaskObject::of(app.tasks.find(&name)?)))
}

async fn answer(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    context: Context,
    JsonBody(fields, ..): JsonBody<Own, Map<String, Value>>,
) -> Result<Response, Reject<Own>> {
    let served = app.tasks.find(&name)?;
    let asked = Asked::of(&served.task, fields)?;
    // Held until all outcomes have come: what is ready only borrows it.
    let (model, ready) = served.ready(&app, &context).await?;
    let model_name = model.info().name.as_str();
    let head = outcome::Head::new(&name, model_name);
    let ask = |input| {
        let (app, context, ready) = (&app, &context, &ready);
        async move { answering::outcome(app, context, model_name, ready.as_ref(), &input).await }
    };
    match asked {
        Asked::One(input) => {
            let outcome = ask(input).await??;
            Ok(Json(OneOutcome::of(head, ready.warnings(), outcome)).into_response())
        }
        Asked::Several(inputs) => {
            let outcomes = stream::iter(inputs).map(ask).buffered(ready.concurrency());
            let outcomes: Vec<_> = outcomes.try_collect::<Vec<Result<_, Failure>>>().await?;
            Ok(Json(SeveralOutcomes::of(head, ready.warnings(), outcomes)).into_response())
        }
    }
}
