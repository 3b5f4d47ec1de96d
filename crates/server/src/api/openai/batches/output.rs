//! What came of the lines of a batch, as lines of two files: those that were answered, and those that were not.
//!
//! ```text
//! {"id": .., "custom_id": "1", "response": {"status_code": 200, "request_id": .., "body": {..}}, "error": null}
//! {"id": .., "custom_id": "2", "response": {"status_code": 400, ..}, "error": null}
//! {"id": .., "custom_id": "3", "response": null, "error": {"code": "batch_expired", "message": ..}}
//! ```
//!
//! In the ledger a line that failed has its response, as JSON, for a reason; a reason that is none is a text.

use super::lines::Lines;
use super::record::{Record, Status};
use crate::admit::random_text;
use crate::api::openai::files::BATCH_OUTPUT;
use crate::api::openai::now;
use crate::failure::Failure;
use crate::files::{FileStore, Incoming, StoredFile};
use crate::kept::Kept;
use ledger::{JobId, Ledger, RowOutcome, Selection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tasks::TaskError;
use tasks::batch::{OutputRow, Sink, Source};

/// Rows that are read at a time.
const PAGE: u64 = 256;

/// The response of an endpoint to a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineResponse {
    pub(super) status_code: u16,
    pub(super) request_id: String,
    pub(super) body: Value,
}

/// Why a line has no response.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct LineError {
    code: &'static str,
    message: String,
}

/// A line of an output.
#[derive(Debug, Serialize)]
struct OutputLine<'a> {
    id: String,
    custom_id: &'a str,
    response: Option<Value>,
    error: Option<LineError>,
}

/// One of the two files, begun with its first line.
struct OutputFile {
    id: String,
    name: String,
    owner: Option<String>,
    incoming: Option<Incoming>,
}

impl OutputFile {
    fn put(&mut self, store: &FileStore, line: &OutputLine<'_>) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line).expect("our own types are always JSON; this is a bug");
        text.push(b'\n');
        if self.incoming.is_none() {
            self.incoming = Some(store.begin()?);
        }
        self.incoming.as_mut().map_or(Ok(()), |incoming| store.write(incoming, &text))
    }

    /// Keeps it, if there is anything in it; returns its id then.
    fn keep(&mut self, store: &FileStore) -> Result<Option<String>, Failure> {
        let Some(incoming) = self.incoming.take() else { return Ok(None) };
        let (id, name, owner) = (self.id.clone(), self.name.clone(), self.owner.clone());
        let file = StoredFile { id, name, purpose: BATCH_OUTPUT.to_owned(), bytes: 0, created: now(), owner };
        Ok(Some(store.keep(incoming, file)?.id))
    }
}

/// Writes both files, and into the record of the batch which of them there are.
pub(super) struct Outputs {
    kept: Arc<Kept>,
    batch: String,
    answered: OutputFile,
    failed: OutputFile,
    has_begun: bool,
}

impl Outputs {
    pub(super) fn of(kept: &Arc<Kept>, record: &Record) -> Outputs {
        let file = |id: &String, what: &str| OutputFile {
            id: id.clone(),
            name: format!("{}_{what}.jsonl", record.id),
            owner: record.owner.clone(),
            incoming: None,
        };
        Outputs {
            kept: Arc::clone(kept),
            batch: record.id.clone(),
            answered: file(&record.reserved_output, "output"),
            failed: file(&record.reserved_error, "error"),
            has_begun: false,
        }
    }

    fn put(&mut self, custom_id: &str, result: Result<Value, &str>) -> Result<(), Failure> {
        let id = format!("batch_req_{}", random_text(24));
        let (file, response, error) = match result {
            Ok(response) => (&mut self.answered, Some(response), None),
            Err(reason) => match serde_json::from_str::<LineResponse>(reason) {
                Ok(response) => (&mut self.failed, Some(json!(response)), None),
                Err(_) => {
                    (&mut self.failed, None, Some(LineError { code: "request_failed", message: reason.to_owned() }))
                }
            },
        };
        file.put(&self.kept.store, &OutputLine { id, custom_id, response, error })
    }

    /// A line that was not done, because the batch came to its end before.
    fn put_undone(&mut self, custom_id: &str, end: Status) -> Result<(), Failure> {
        let error = match end {
            Status::Expired => LineError {
                code: "batch_expired",
                message: "the line was not done before the batch's time was over\nhint: send it again".to_owned(),
            },
            _ => LineError {
                code: "batch_cancelled",
                message: "the line was not done before the batch was cancelled".to_owned(),
            },
        };
        let id = format!("batch_req_{}", random_text(24));
        self.failed.put(&self.kept.store, &OutputLine { id, custom_id, response: None, error: Some(error) })
    }

    fn end(&mut self) -> Result<(), Failure> {
        let (answered, failed) = (self.answered.keep(&self.kept.store)?, self.failed.keep(&self.kept.store)?);
        let change = |record: &mut Record| {
            (record.output_file, record.error_file) = (answered, failed);
            Ok(())
        };
        self.kept.batches.change(&self.batch, change).map(|_| ())
    }

    /// Writes what came of a batch that did not come to the end of its lines.
    pub(super) fn write_partial(
        mut self,
        ledger: &Ledger,
        job: JobId,
        lines: &Lines,
        end: Status,
    ) -> Result<(), TaskError> {
        let mut settled = Vec::new().into_iter().peekable();
        for (number, row) in (1..).zip(lines.rows()?) {
            let custom_id = row?.name;
            if (number - 1) % PAGE == 0 {
                let page = ledger.rows(job, Selection::All, number, PAGE as u32);
                let page = page.map_err(|error| TaskError::Storage(error.to_string()))?;
                settled = page.into_iter().peekable();
            }
            let row = settled.next_if(|row| row.number == number);
            let put = match row.and_then(|row| row.outcome) {
                Some(RowOutcome::Done { outcome, .. }) => self.put(&custom_id, Ok(outcome)),
                Some(RowOutcome::Failed { reason }) => self.put(&custom_id, Err(&reason)),
                None => self.put_undone(&custom_id, end),
            };
            put.map_err(storage)?;
        }
        self.end().map_err(storage)
    }
}

impl Sink for Outputs {
    fn write(&mut self, row: OutputRow) -> Result<(), TaskError> {
        if !self.has_begun {
            self.has_begun = true;
            let finalizing = |record: &mut Record| {
                if record.status == Status::InProgress {
                    record.enter(Status::Finalizing, now());
                }
                Ok(())
            };
            self.kept.batches.change(&self.batch, finalizing).map_err(storage)?;
        }
        let put = match row.result {
            Ok(outcome) => self.put(&row.name, Ok(Value::Object(outcome.fields))),
            Err(reason) => self.put(&row.name, Err(&reason)),
        };
        put.map_err(storage)
    }

    fn finish(&mut self) -> Result<(), TaskError> {
        self.end().map_err(storage)
    }
}

fn storage(failure: Failure) -> TaskError {
    TaskError::Storage(failure.message)
}

/// The fields of a response that are kept of a line that was answered.
pub(super) fn fields_of(response: LineResponse) -> Map<String, Value> {
    match json!(response) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
