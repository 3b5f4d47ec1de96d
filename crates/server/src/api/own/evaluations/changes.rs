//! `GET /v1/evaluations/{run}/changes/{later}`: two evaluations beside each other, what got better and what got worse.

use super::{Own, found};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::get;
use eval::compare::{Change, RowChange, compare};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows of each kind that are told one by one; all are counted.
const ROWS_MOST: usize = 200;

pub(in crate::api::own) static CHANGES: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/evaluations/{run}/changes/{later}",
    scope: Scope::Admin,
    summary: "Two evaluations row by row: what got better, what got worse",
    request: None,
    response: Some(schema_of::<ChangeList>),
    route: || get(changes),
};

/// What changed from one evaluation to another.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeList {
    /// Always `list`.
    object: &'static str,
    /// The earlier run.
    before: String,
    /// The later run.
    after: String,
    /// Candidates of the same name; where there is none in both, the first of each.
    data: Vec<ChangeObject>,
}

/// What changed of a candidate.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeObject {
    /// The candidate of the earlier run.
    before: String,
    /// The candidate of the later one.
    after: String,
    /// Rows that both have a score of.
    rows: u64,
    /// The mean of their scores in the earlier run.
    mean_before: f64,
    /// The mean in the later one.
    mean_after: f64,
    /// Rows that got better.
    better: usize,
    /// Rows that got worse.
    worse: usize,
    /// Rows whose answer changed and whose score did not.
    changed: u64,
    /// Rows that only the earlier run has a score of.
    only_before: u64,
    /// Rows that only the later run has a score of.
    only_after: u64,
    /// How probable so uneven a split of better and worse rows is where neither run is better.
    p: f64,
    /// The first 200 rows that got better.
    better_rows: Vec<RowChangeObject>,
    /// The first 200 rows that got worse.
    worse_rows: Vec<RowChangeObject>,
}

/// A row whose score changed.
#[derive(Debug, Serialize, ToSchema)]
struct RowChangeObject {
    /// Its place in the later run's table, from 1.
    row: u64,
    /// The fields that were read; null where an older program recorded the run.
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// Its score before.
    before: f64,
    /// Its score after.
    after: f64,
    /// What came before.
    #[schema(value_type = Object)]
    outcome_before: Value,
    /// What came after.
    #[schema(value_type = Object)]
    outcome_after: Value,
}

impl ChangeObject {
    fn of(change: Change, inputs: &HashMap<u64, Value>) -> ChangeObject {
        let told =
            |rows: &[RowChange]| rows.iter().take(ROWS_MOST).map(|row| RowChangeObject::of(row, inputs)).collect();
        ChangeObject {
            better_rows: told(&change.better),
            worse_rows: told(&change.worse),
            before: change.before,
            after: change.after,
            rows: change.rows,
            mean_before: change.mean_before,
            mean_after: change.mean_after,
            better: change.better.len(),
            worse: change.worse.len(),
            changed: change.changed,
            only_before: change.only_before,
            only_after: change.only_after,
            p: change.p,
        }
    }
}

impl RowChangeObject {
    fn of(row: &RowChange, inputs: &HashMap<u64, Value>) -> RowChangeObject {
        RowChangeObject {
            row: row.number,
            input: inputs.get(&row.number).cloned(),
            before: row.before,
            after: row.after,
            outcome_before: row.outcome_before.clone(),
            outcome_after: row.outcome_after.clone(),
        }
    }
}

async fn changes(
    State(app): State<Arc<App>>,
    Path((before, after)): Path<(String, String)>,
) -> Result<Json<ChangeList>, Reject<Own>> {
    let list = app.on_evaluations(move |evaluations| {
        let (ledger, earlier) = found(evaluations.ledger()?, &before)?;
        let (_, later) = found(Some(Arc::clone(&ledger)), &after)?;
        let inputs = ledger.run_inputs(&later)?.into_iter().collect();
        let changes = compare(&ledger, &earlier, &later)?;
        let data = changes.into_iter().map(|change| ChangeObject::of(change, &inputs)).collect();
        Ok(ChangeList { object: "list", before, after, data })
    });
    Ok(Json(list.await?))
}
