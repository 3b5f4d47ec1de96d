//! `GET` and `POST /v1/tasks/{name}/labels`: the rows of a task's test table that have no right answer yet, and answers that
//! people write into it.
//!
//! No answer of a model is shown beside a row: whoever sees one agrees with it too often. They change a file of whoever runs
//! the server, so a key needs the scope admin. Read next: `tasks/src/labels.rs`.

#[cfg(test)]
mod tests;

use super::Own;
use crate::api::own::query::Parameters;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tasks::{Classify, Extract, OpenRow, Task};
use utoipa::ToSchema;

/// Rows of a page where nobody says, and at most.
const ROWS_USUAL: usize = 20;
const ROWS_MOST: usize = 500;

const PATH: &str = "/v1/tasks/{name}/labels";

pub(in crate::api::own) static SHEET: Endpoint = Endpoint {
    method: Method::GET,
    path: PATH,
    scope: Scope::Admin,
    summary: "The test rows of a task that have no right answer yet, and what one may be (?after=0&limit=20)",
    request: None,
    response: Some(schema_of::<LabelSheet>),
    route: || get(sheet),
};

pub(in crate::api::own) static WRITE: Endpoint = Endpoint {
    method: Method::POST,
    path: PATH,
    scope: Scope::Admin,
    summary: "Writes the right answer of a row into the test table",
    request: Some(schema_of::<LabelRequest>),
    response: Some(schema_of::<LabelWritten>),
    route: || post(write),
};

/// Which rows are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// Those behind this row.
    after: u64,
    limit: Option<usize>,
}

/// What has to be labelled.
#[derive(Debug, Serialize, ToSchema)]
struct LabelSheet {
    /// Always `labels`.
    object: &'static str,
    task: String,
    kind: &'static str,
    instructions: Option<String>,
    /// The table that answers are written into.
    table: String,
    /// Its rows.
    rows: u64,
    /// Those without an answer.
    unlabelled: usize,
    /// The labels that an answer may be, where the task has labels.
    labels: Option<Vec<LabelObject>>,
    /// Whether an answer is a list of labels.
    several: bool,
    /// What none of the labels is called, where none may be right.
    none: Option<String>,
    /// The JSON Schema of an answer, where it is an object.
    #[schema(value_type = Option<Object>)]
    schema: Option<Value>,
    /// Whether an empty text may be right: that there is no answer.
    may_be_empty: bool,
    data: Vec<LabelRow>,
    /// Whether there is more behind the last of these.
    has_more: bool,
}

/// A label.
#[derive(Debug, Serialize, ToSchema)]
struct LabelObject {
    name: String,
    /// What it means.
    description: Option<String>,
}

/// A row without an answer.
#[derive(Debug, Serialize, ToSchema)]
struct LabelRow {
    /// Its place in the table, from 1.
    row: u64,
    /// Says that the row is this one; it is sent back with the answer.
    version: String,
    /// The fields that the task reads.
    #[schema(value_type = Object)]
    input: Value,
}

/// An answer to a row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LabelRequest {
    /// Its place in the table, from 1.
    row: u64,
    /// What the row came with, or its last answer.
    version: String,
    /// The label, a list of labels, null for none of them; an object; a text.
    #[schema(value_type = Object)]
    answer: Value,
}

/// An answer that stands in the table.
#[derive(Debug, Serialize, ToSchema)]
struct LabelWritten {
    /// Always `label`.
    object: &'static str,
    task: String,
    row: u64,
    /// What the row is known by from now on, to put the answer right.
    version: String,
    /// Rows that are still without an answer.
    unlabelled: usize,
}

impl From<OpenRow> for LabelRow {
    fn from(row: OpenRow) -> LabelRow {
        LabelRow { row: row.number, version: row.version, input: Value::Object(row.fields) }
    }
}

impl LabelSheet {
    fn of(task: &Task, after: u64, limit: usize) -> Result<LabelSheet, Failure> {
        let labels = task.labels()?;
        let classify = task.settings::<Classify>();
        let object =
            |label: &tasks::Label| LabelObject { name: label.name.clone(), description: label.description.clone() };
        let unlabelled = labels.unlabelled.len();
        let mut data: Vec<LabelRow> =
            labels.unlabelled.into_iter().filter(|row| row.number > after).map(LabelRow::from).collect();
        let has_more = data.len() > limit;
        data.truncate(limit);
        Ok(LabelSheet {
            object: "labels",
            task: task.name.clone(),
            kind: task.kind(),
            instructions: task.instructions.clone(),
            table: labels.table.display().to_string(),
            rows: labels.rows,
            unlabelled,
            labels: classify.map(|classify| classify.labels().iter().map(object).collect()),
            several: classify.is_some_and(|classify| classify.several),
            none: classify.and_then(|classify| classify.none_of_these.clone()),
            schema: task.settings::<Extract>().map(|extract| extract.schema().clone()),
            may_be_empty: task.may_be_nothing(),
            data,
            has_more,
        })
    }
}

async fn sheet(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Parameters(wanted, ..): Parameters<Own, Wanted>,
) -> Result<Json<LabelSheet>, Reject<Own>> {
    let limit = wanted.limit.unwrap_or(ROWS_USUAL);
    if limit > ROWS_MOST {
        return Err(Failure::field("limit", format!("limit: expected at most {ROWS_MOST}, got {limit}")).into());
    }
    let task = app.tasks.find(&name)?.task.clone();
    let sheet = app.on_evaluations(move |_| LabelSheet::of(&task, wanted.after, limit));
    Ok(Json(sheet.await?))
}

async fn write(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    JsonBody(asked, ..): JsonBody<Own, LabelRequest>,
) -> Result<Json<LabelWritten>, Reject<Own>> {
    let task = app.tasks.find(&name)?.task.clone();
    let written = app.on_evaluations(move |evaluations| {
        let _alone = evaluations.labelling();
        let LabelRequest { row, version, answer } = asked;
        let version = task.label(row, &version, &answer)?;
        let unlabelled = task.labels()?.unlabelled.len();
        Ok(LabelWritten { object: "label", task: task.name, row, version, unlabelled })
    });
    Ok(Json(written.await?))
}
