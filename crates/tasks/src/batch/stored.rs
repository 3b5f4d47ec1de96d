//! Inputs that stand nowhere else (standard input, the body of a request): the ledger stores them before the job
//! begins.

use super::bounds::fault_of_fields;
use super::source::{Rows, Source, SourceRow};
use super::storage;
use crate::{Input, TaskError};
use ledger::{Claim, InputRow, JobId, JobState, Ledger, Selection};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// So many inputs are stored in one transaction, and read at a time.
const PAGE: u32 = 256;

/// Stores the inputs of a job that has none yet, and says how many there are. The job can run by [`StoredInputs`]
/// then; one whose inputs were not stored to the end cannot.
///
/// # Errors
/// The rows end with an error, the job has rows already or is worked on, or the ledger cannot be written.
pub fn store_inputs(ledger: &Arc<Ledger>, job: JobId, rows: Rows) -> Result<u64, TaskError> {
    let claim = ledger.claim(job).map_err(storage)?;
    let stored = store_all(&claim, rows);
    let end = match &stored {
        Ok(_) => claim.end(JobState::Queued, None),
        Err(error) => claim.end(JobState::Failed, Some(&error.to_string())),
    };
    // The first error says more.
    stored.and_then(|total| end.map(|()| total).map_err(storage))
}

fn store_all(claim: &Claim, rows: Rows) -> Result<u64, TaskError> {
    let id = claim.job().id;
    let is_begun = !claim.ledger().rows(id, Selection::All, 0, 1).map_err(storage)?.is_empty();
    if is_begun || claim.job().total.is_some() {
        let text = format!("job {id} has inputs already\nhint: start a new job for others");
        return Err(TaskError::Data(text));
    }
    let mut total = 0;
    let mut page = Vec::new();
    for row in rows {
        let row = row?;
        total += 1;
        page.push(InputRow { number: total, name: row.name, input: to_json(row.input, row.warnings) });
        if page.len() >= PAGE as usize {
            claim.store_inputs(&page).map_err(storage)?;
            page.clear();
        }
    }
    claim.store_inputs(&page).map_err(storage)?;
    claim.set_total(total).map_err(storage)?;
    Ok(total)
}

/// The inputs of a job that the ledger stores.
#[derive(Debug, Clone)]
pub struct StoredInputs {
    ledger: Arc<Ledger>,
    job: JobId,
    total: u64,
}

impl StoredInputs {
    /// The stored inputs of a job.
    ///
    /// # Errors
    /// There is no such job, or its inputs were not stored to the end.
    pub fn open(ledger: &Arc<Ledger>, job: JobId) -> Result<StoredInputs, TaskError> {
        let total = ledger.job(job).map_err(storage)?.total.ok_or_else(|| {
            TaskError::Data(format!(
                "job {job}: its inputs were not stored to the end, because reading them was broken off\n\
                 hint: remove the job with `bantam jobs remove {job}`, and start it again"
            ))
        })?;
        Ok(StoredInputs { ledger: Arc::clone(ledger), job, total })
    }
}

impl Source for StoredInputs {
    fn rows(&self) -> Result<Rows, TaskError> {
        Ok(Box::new(StoredRows { inputs: self.clone(), next: 1, page: VecDeque::new() }))
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }
}

struct StoredRows {
    inputs: StoredInputs,
    /// The number of the next row.
    next: u64,
    page: VecDeque<InputRow>,
}

impl Iterator for StoredRows {
    type Item = Result<SourceRow, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.inputs.total {
            return None;
        }
        if self.page.is_empty() {
            match self.inputs.ledger.inputs(self.inputs.job, self.next, PAGE) {
                Ok(page) => self.page = page.into(),
                Err(error) => return Some(Err(storage(error))),
            }
        }
        let row = self.page.pop_front().filter(|row| row.number == self.next);
        self.next += 1;
        Some(row.map(|row| of_json(row.name, row.input)).ok_or_else(|| {
            let (job, number) = (self.inputs.job, self.next - 1);
            TaskError::Storage(format!("job {job}: expected the input of row {number} in the ledger, got none"))
        }))
    }

    fn nth(&mut self, count: usize) -> Option<Self::Item> {
        let passed = count.min(self.page.len());
        self.page.drain(..passed);
        self.next = self.next.saturating_add(count as u64);
        self.next()
    }
}

/// A row that could not be read is stored as its reason, so that it fails when its turn comes as it would from a file.
fn to_json(input: Result<Input, TaskError>, warnings: Vec<String>) -> Value {
    let fault = input.as_ref().ok().and_then(|input| fault_of_fields(&input.fields));
    let mut stored = match fault.map_or(input, |fault| Err(TaskError::Input(fault))) {
        Ok(input) if input.pages.is_empty() => json!({"fields": input.fields}),
        Ok(input) => json!({"fields": input.fields, "pages": input.pages}),
        Err(error) => json!({"unreadable": error.to_string()}),
    };
    if !warnings.is_empty() {
        stored["warnings"] = Value::from(warnings);
    }
    stored
}

fn of_json(name: String, mut stored: Value) -> SourceRow {
    let warnings =
        stored.get_mut("warnings").map_or(Ok(Vec::new()), |warnings| serde_json::from_value(warnings.take()));
    match warnings {
        Ok(warnings) => SourceRow { name, input: input_of(stored), warnings },
        Err(_) => SourceRow { name, input: input_of(Value::Null), warnings: Vec::new() },
    }
}

fn input_of(stored: Value) -> Result<Input, TaskError> {
    let wrong = || TaskError::Data("expected an input in the ledger, got something else".to_owned());
    let Value::Object(mut stored) = stored else { return Err(wrong()) };
    if let Some(Value::String(reason)) = stored.remove("unreadable") {
        return Err(TaskError::Data(reason));
    }
    let fields: Map<String, Value> = match stored.remove("fields") {
        Some(Value::Object(fields)) => fields,
        _ => return Err(wrong()),
    };
    let pages = stored.remove("pages").map_or(Ok(Vec::new()), serde_json::from_value);
    Ok(Input { fields, pages: pages.map_err(|_| wrong())? })
}
