//! `/v1/batches`: the requests of a file, done when there is time, whatever ends the process meanwhile.
//!
//! Read next: `record` for what is known of a batch, `lines` for what its file may hold, `run` for what becomes of it,
//! `work` for how a line is done, `output` for what comes of it.

mod lines;
mod object;
mod output;
mod record;
mod run;
#[cfg(test)]
mod tests;
mod work;

pub(crate) use record::BatchStore;
pub(crate) use run::supervise;

use super::files::BATCH;
use super::page::Page;
use super::{OpenAi, now};
use crate::admit::{Context, random_text};
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::{Failure, nearest_hint};
use crate::files::{FileStore, may_see};
use crate::kept::Kept;
use crate::keys::Key;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::{get, post};
use object::{BatchList, BatchObject};
use record::{PREFIX, Record, RequestCounts, Status, Tokens};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// The endpoints that lines may go to.
static ENDPOINTS: [&Endpoint; 4] = [
    &super::chat_completions::ENDPOINT,
    &super::completions::ENDPOINT,
    &super::embeddings::ENDPOINT,
    &super::responses::ENDPOINT,
];

/// The one window that the reference has, and its seconds.
const WINDOW: &str = "24h";
const WINDOW_SECONDS: u64 = 24 * 60 * 60;

/// What a batch may be marked with (the reference's bounds).
const MOST_METADATA: usize = 16;
const LONGEST_METADATA_NAME: usize = 64;
const LONGEST_METADATA_VALUE: usize = 512;

const PATH: &str = "/v1/batches";

pub(super) static CREATE: Endpoint = Endpoint {
    method: Method::POST,
    path: PATH,
    scope: Scope::Infer,
    summary: "Does the requests of a file, one on each line",
    request: Some(schema_of::<BatchFields>),
    response: Some(schema_of::<BatchObject>),
    route: || post(create),
};

pub(super) static LIST: Endpoint = Endpoint {
    method: Method::GET,
    path: PATH,
    scope: Scope::Infer,
    summary: "The batches, the newest first",
    request: None,
    response: Some(schema_of::<BatchList>),
    route: || get(list),
};

pub(super) static ONE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/batches/{batch_id}",
    scope: Scope::Infer,
    summary: "One batch, and how far it is",
    request: None,
    response: Some(schema_of::<BatchObject>),
    route: || get(one),
};

pub(super) static CANCEL: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/batches/{batch_id}/cancel",
    scope: Scope::Infer,
    summary: "Ends a batch; what was done until then is written",
    request: None,
    response: Some(schema_of::<BatchObject>),
    route: || post(cancel),
};

/// A batch to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchFields {
    /// A file of requests that was uploaded for the purpose `batch`.
    input_file_id: String,
    /// The endpoint of all of them: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses`.
    endpoint: String,
    /// Always `24h`: a batch that is not done by then ends as expired.
    completion_window: String,
    /// What the batch is marked with.
    metadata: Option<BTreeMap<String, String>>,
}

/// The endpoint of a path, where lines may go to it.
fn endpoint_of(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().copied().find(|endpoint| endpoint.path == path)
}

async fn create(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<OpenAi, BatchFields>,
) -> Result<Json<BatchObject>, Reject<OpenAi>> {
    check(&fields)?;
    let record = app.on_files(move |kept| add(kept, fields, context.key.as_deref())).await?;
    app.kept()?.changed.notify_one();
    Ok(Json(BatchObject::of(record)))
}

fn check(fields: &BatchFields) -> Result<(), Failure> {
    let BatchFields { endpoint, completion_window, metadata, .. } = fields;
    if endpoint_of(endpoint).is_none() {
        let paths = || ENDPOINTS.iter().map(|endpoint| endpoint.path);
        let shown: String = endpoint.chars().take(64).collect();
        let expected = paths().collect::<Vec<_>>().join(", ");
        let hint = nearest_hint(&shown, paths()).unwrap_or_default();
        return Err(Failure::field("endpoint", format!("endpoint: expected one of {expected}, got {shown:?}{hint}")));
    }
    if completion_window != WINDOW {
        let shown: String = completion_window.chars().take(64).collect();
        let message = format!("completion_window: expected `{WINDOW}`, got {shown:?}");
        return Err(Failure::field("completion_window", message));
    }
    let is_too_long =
        |(name, value): (&String, &String)| name.len() > LONGEST_METADATA_NAME || value.len() > LONGEST_METADATA_VALUE;
    if metadata.as_ref().is_some_and(|pairs| pairs.len() > MOST_METADATA || pairs.iter().any(is_too_long)) {
        let message = format!(
            "metadata: expected at most {MOST_METADATA} pairs, of {LONGEST_METADATA_NAME} and {LONGEST_METADATA_VALUE} \
             bytes at most"
        );
        return Err(Failure::field("metadata", message));
    }
    Ok(())
}

fn add(kept: &Kept, fields: BatchFields, key: Option<&Key>) -> Result<Record, Failure> {
    let of_field = |failure: Failure| Failure { field: Some("input_file_id".to_owned()), ..failure };
    let file = kept.store.get(&fields.input_file_id, key).map_err(of_field)?;
    if file.purpose != BATCH {
        let message = format!("input_file_id: expected a file of the purpose `{BATCH}`, got one of `{}`", file.purpose);
        return Err(Failure::field("input_file_id", message));
    }
    let now = now();
    let record = Record {
        id: format!("{PREFIX}{}", random_text(24)),
        status: Status::Validating,
        endpoint: fields.endpoint,
        input_file: file.id,
        window: fields.completion_window,
        metadata: fields.metadata,
        owner: key.map(|key| key.id.clone()),
        reserved_output: FileStore::new_id(),
        reserved_error: FileStore::new_id(),
        output_file: None,
        error_file: None,
        entered: BTreeMap::from([(Status::Validating, now)]),
        expires: now + WINDOW_SECONDS,
        counts: RequestCounts::default(),
        tokens: Tokens::default(),
        errors: Vec::new(),
    };
    kept.batches.add(&record)?;
    Ok(record)
}

async fn list(
    State(app): State<Arc<App>>,
    context: Context,
    page: Page<OpenAi>,
) -> Result<Json<BatchList>, Reject<OpenAi>> {
    page.refuse_purpose()?;
    let mut records = app.on_files(|kept| kept.batches.list()).await?;
    records.retain(|record| may_see(record.owner.as_deref(), context.key.as_deref()));
    let (records, page) = page.of(records, |record| &record.id)?;
    Ok(Json(BatchList::of(page, records)))
}

async fn one(
    State(app): State<Arc<App>>,
    context: Context,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, Reject<OpenAi>> {
    let record = app.on_files(move |kept| kept.batches.get(&id, context.key.as_deref())).await?;
    Ok(Json(BatchObject::of(record)))
}

async fn cancel(
    State(app): State<Arc<App>>,
    context: Context,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, Reject<OpenAi>> {
    let cancelled = app.on_files(move |kept| {
        let id = kept.batches.get(&id, context.key.as_deref())?.id;
        kept.batches.change(&id, |record| match record.status {
            Status::Validating | Status::InProgress => {
                record.enter(Status::Cancelling, now());
                Ok(())
            }
            // Asking again changes nothing.
            Status::Cancelling | Status::Cancelled => Ok(()),
            status => {
                let message = format!("the batch {} is {}, nothing is left to cancel", record.id, status.name());
                Err(Failure::field("batch_id", message))
            }
        })
    });
    let record = cancelled.await?;
    // One that waits for its turn has only to end, which needs none.
    app.kept()?.changed.notify_one();
    Ok(Json(BatchObject::of(record)))
}
