//! `GET /v1/evaluations`, `GET /v1/evaluations/{run}` and `GET /v1/evaluations/{run}/report.html`: what `bantam eval` found,
//! and how far it is.
//!
//! They show private texts, so a key needs the scope admin. Read next: `rows`, every answer; `changes`, two runs beside
//! each other.

pub(super) mod changes;
pub(super) mod rows;
#[cfg(test)]
mod tests;

use super::Own;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use eval::render;
use eval::runs::{self, Listed, Progress, State as RunState, Turn};
use ledger::{Ledger, Run};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;

pub(super) static LIST: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/evaluations",
    scope: Scope::Admin,
    summary: "The evaluations so far, the newest first",
    request: None,
    response: Some(schema_of::<EvaluationList>),
    route: || get(list),
};

pub(super) static ONE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/evaluations/{run}",
    scope: Scope::Admin,
    summary: "One evaluation: its report, or how far it is",
    request: None,
    response: Some(schema_of::<EvaluationDetail>),
    route: || get(one),
};

pub(super) static REPORT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/evaluations/{run}/report.html",
    scope: Scope::Admin,
    summary: "The report of an evaluation for people, as one file",
    request: None,
    response: None,
    route: || get(report),
};

/// A list of evaluations.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluationList {
    /// Always `list`.
    object: &'static str,
    data: Vec<EvaluationObject>,
}

/// An evaluation in a line.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluationObject {
    /// The name of the run.
    id: String,
    /// Always `evaluation`.
    object: &'static str,
    task: String,
    /// What kind of task it is.
    kind: String,
    /// `running`, `ended`, or `stopped` where it was ended by force.
    state: &'static str,
    /// Milliseconds since 1970.
    created: u64,
    /// Milliseconds since 1970; null before the end.
    ended: Option<u64>,
    /// Rows of its test.
    rows: Option<u64>,
    /// How many evaluations have looked at these rows, this one among them.
    looks: u64,
    candidates: Vec<String>,
    /// `good_enough`, `not_good_enough`, `not_enough_evidence`; null before the end and without a threshold.
    #[schema(value_type = Option<String>)]
    verdict: Value,
    /// The candidate to take.
    recommended: Option<String>,
}

/// An evaluation with what was found, or how far it is.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluationDetail {
    #[serde(flatten)]
    evaluation: EvaluationObject,
    /// The metric of its goal.
    metric: String,
    /// The figure to be reached.
    threshold: Option<f64>,
    /// The table of its test, as the task file names it.
    table: String,
    /// How far each candidate is; empty once it has ended.
    progress: Vec<CandidateProgress>,
    /// What was found (docs/json.md, eval); null before the end.
    #[schema(value_type = Option<Object>)]
    report: Option<Value>,
}

/// How far a candidate is.
#[derive(Debug, Serialize, ToSchema)]
struct CandidateProgress {
    name: String,
    /// `waiting`, `now` or `done`.
    turn: &'static str,
    /// Rows that were judged, each try of one counted.
    done: u64,
    /// So many there are.
    all: Option<u64>,
    /// Rows without an answer.
    failed: u64,
    /// The mean of the scores so far, with its interval as if it ended now.
    figure: Option<FigureObject>,
    rows_per_second: Option<f64>,
    seconds_left: Option<f64>,
}

/// A figure with the interval in which it may really lie.
#[derive(Debug, Serialize, ToSchema)]
struct FigureObject {
    value: f64,
    low: f64,
    high: f64,
}

impl From<Listed> for EvaluationObject {
    fn from(listed: Listed) -> EvaluationObject {
        EvaluationObject {
            id: listed.name,
            object: "evaluation",
            task: listed.task,
            kind: listed.kind,
            state: match listed.state {
                RunState::Running => "running",
                RunState::Ended => "ended",
                RunState::Stopped => "stopped",
            },
            created: listed.created,
            ended: listed.ended,
            rows: listed.rows,
            looks: listed.looks,
            candidates: listed.candidates,
            verdict: serde_json::json!(listed.verdict),
            recommended: listed.recommended,
        }
    }
}

impl From<Progress> for CandidateProgress {
    fn from(progress: Progress) -> CandidateProgress {
        CandidateProgress {
            name: progress.name,
            turn: match progress.turn {
                Turn::Waiting => "waiting",
                Turn::Now => "now",
                Turn::Done => "done",
            },
            done: progress.done,
            all: progress.all,
            failed: progress.failed,
            figure: progress.figure.map(|one| FigureObject { value: one.value, low: one.low, high: one.high }),
            rows_per_second: progress.rows_per_second,
            seconds_left: progress.seconds_left,
        }
    }
}

impl EvaluationDetail {
    fn of(ledger: &Ledger, run: Run) -> Result<EvaluationDetail, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let progress = if run.report.is_some() { Vec::new() } else { runs::progress(ledger, &run, now_ms)? };
        let spec = &run.new.spec;
        Ok(EvaluationDetail {
            evaluation: runs::in_a_line(ledger, &run)?.into(),
            metric: spec["goal"]["metric"].as_str().unwrap_or_default().to_owned(),
            threshold: spec["goal"]["threshold"].as_f64(),
            table: spec["test"].as_str().unwrap_or_default().to_owned(),
            progress: progress.into_iter().map(CandidateProgress::from).collect(),
            report: run.report,
        })
    }
}

/// The run of a name with the ledger that has it.
fn found(ledger: Option<Arc<Ledger>>, name: &str) -> Result<(Arc<Ledger>, Run), Failure> {
    let nothing = || {
        let message = format!("there is no run {name:?}\nhint: `bantam eval TASK.toml` makes the first one");
        Failure { code: Some("evaluation_not_found"), ..Failure::new(FailureKind::NotFound, message) }
    };
    let ledger = ledger.ok_or_else(nothing)?;
    let run = runs::find(&ledger, name)?;
    Ok((ledger, run))
}

async fn list(State(app): State<Arc<App>>) -> Result<Json<EvaluationList>, Reject<Own>> {
    let listed = app.on_evaluations(|evaluations| match evaluations.ledger()? {
        Some(ledger) => Ok(runs::listed(&ledger)?),
        None => Ok(Vec::new()),
    });
    let data = listed.await?.into_iter().map(EvaluationObject::from).collect();
    Ok(Json(EvaluationList { object: "list", data }))
}

async fn one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<EvaluationDetail>, Reject<Own>> {
    let detail = app.on_evaluations(move |evaluations| {
        let (ledger, run) = found(evaluations.ledger()?, &name)?;
        EvaluationDetail::of(&ledger, run)
    });
    Ok(Json(detail.await?))
}

async fn report(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Reject<Own>> {
    let page = app.on_evaluations(move |evaluations| {
        let (_, run) = found(evaluations.ledger()?, &name)?;
        Ok(render::html(&runs::report(&run)?))
    });
    let mut response = page.await?.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let policy = format!("{}; frame-ancestors 'none'; sandbox", render::policy());
    headers.insert(CONTENT_SECURITY_POLICY, policy.parse().expect("a digest is plain text; this is a bug"));
    Ok(response)
}
