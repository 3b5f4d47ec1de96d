//! `GET /v1/evaluations/{run}/rows`: every row of an evaluation with what it asked, what was right and what came.

use super::{Own, found};
use crate::api::own::query::Parameters;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::get;
use eval::compare::names;
use eval::confidence;
use ledger::{AskedRow, RowPage, Which};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows of a page where nobody says, and at most.
const ROWS_USUAL: u64 = 50;
const ROWS_MOST: u64 = 500;

pub(in crate::api::own) static ROWS: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/evaluations/{run}/rows",
    scope: Scope::Admin,
    summary: "The rows of an evaluation, page by page (?candidate=0&only=wrong&offset=0&limit=50)",
    request: None,
    response: Some(schema_of::<RowList>),
    route: || get(rows),
};

/// Which rows are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// The place of a candidate, from 0.
    candidate: Option<u32>,
    only: Option<Only>,
    offset: u64,
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    Wrong,
    Failed,
}

/// A page of rows.
#[derive(Debug, Serialize, ToSchema)]
struct RowList {
    /// Always `list`.
    object: &'static str,
    /// The candidates by their places.
    candidates: Vec<String>,
    /// So many there are of these.
    total: u64,
    /// Where the page begins.
    offset: u64,
    /// By row, then by candidate.
    data: Vec<RowObject>,
}

/// A row under one candidate.
#[derive(Debug, Serialize, ToSchema)]
struct RowObject {
    /// The row of the test, from 1.
    row: u64,
    candidate: String,
    /// The number of the try, from 0.
    attempt: u32,
    /// The fields that were read; null where an older program recorded the run.
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// What is right.
    #[schema(value_type = Object)]
    expected: Value,
    /// What came; null where nothing did.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Value>,
    /// Why nothing came.
    error: Option<String>,
    score: Option<f64>,
    /// How sure the candidate was.
    confidence: Option<f64>,
    /// What the candidate was given; null for what needs no words.
    prompt: Option<String>,
    warnings: Vec<String>,
    /// From when it was asked to its end.
    seconds: Option<f64>,
}

impl RowObject {
    fn of(AskedRow { row, fields }: AskedRow, candidates: &[String]) -> RowObject {
        let candidate = usize::try_from(row.position).ok().and_then(|place| candidates.get(place));
        let answer = row.answer;
        RowObject {
            row: row.number,
            candidate: candidate.cloned().unwrap_or_default(),
            attempt: row.key.attempt,
            input: fields,
            expected: row.expected,
            confidence: answer.as_ref().and_then(|answer| confidence(&answer.outcome)),
            error: row.reason,
            score: row.score,
            seconds: answer.as_ref().map(|answer| answer.seconds),
            prompt: answer.as_ref().and_then(|answer| answer.prompt.clone()),
            warnings: answer.as_ref().map(|answer| answer.warnings.clone()).unwrap_or_default(),
            outcome: answer.map(|answer| answer.outcome),
        }
    }
}

async fn rows(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Parameters(wanted, ..): Parameters<Own, Wanted>,
) -> Result<Json<RowList>, Reject<Own>> {
    let limit = wanted.limit.unwrap_or(ROWS_USUAL);
    if !(1..=ROWS_MOST).contains(&limit) {
        return Err(Failure::field("limit", format!("limit: expected 1 to {ROWS_MOST}, got {limit}")).into());
    }
    let which = match wanted.only {
        None => Which::All,
        Some(Only::Wrong) => Which::Wrong,
        Some(Only::Failed) => Which::Failed,
    };
    // SQLite counts in 63 bits.
    let offset = wanted.offset.min(i64::MAX.unsigned_abs());
    let page = RowPage { position: wanted.candidate, which, offset, limit };
    let list = app.on_evaluations(move |evaluations| {
        let (ledger, run) = found(evaluations.ledger()?, &name)?;
        let candidates = names(&run);
        let (rows, total) = ledger.run_page(&run, &page)?;
        let data = rows.into_iter().map(|row| RowObject::of(row, &candidates)).collect();
        Ok(RowList { object: "list", candidates, total, offset, data })
    });
    Ok(Json(list.await?))
}
