//! The output: written from the ledger, in order, once every row is settled.

use super::source::{Rows, Source};
use super::storage;
use crate::{Input, Outcome, TaskError};
use ledger::{JobId, Ledger, Row, RowOutcome, Selection};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

/// One row of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRow {
    /// Its place among the inputs, from 1.
    pub number: u64,
    /// What its source calls it.
    pub name: String,
    /// The input, where [`Sink::wants_inputs`] and it can be read.
    pub input: Option<Input>,
    /// What came of it, or why nothing did.
    pub result: Result<Outcome, String>,
    /// How often it was tried.
    pub attempts: u64,
    /// Time from when it was taken up to its outcome, all attempts together.
    pub milliseconds: u64,
}

/// Where the output of a job goes. It takes all rows anew each time a job is written, and is dropped without
/// [`Sink::finish`] where that was broken off.
pub trait Sink: Send {
    /// Whether it writes the inputs too; the source is read once more then.
    fn wants_inputs(&self) -> bool {
        false
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, row: OutputRow) -> Result<(), TaskError>;

    /// Makes what was written the result, in one step: until then nobody sees any of it.
    ///
    /// # Errors
    /// It cannot be written; an earlier result is still there then.
    fn finish(&mut self) -> Result<(), TaskError>;
}

/// Writes all rows of a job, and says whether it did: it was told to stop otherwise.
pub(super) fn write_output(
    ledger: &Ledger,
    job: JobId,
    total: u64,
    source: &dyn Source,
    sink: &mut dyn Sink,
    stops: &[&AtomicBool],
) -> Result<bool, TaskError> {
    let is_stopped = || stops.iter().any(|stop| stop.load(Ordering::Acquire));
    let mut inputs = if sink.wants_inputs() { Some(source.rows()?) } else { None };
    let mut written = 0;
    let visited = ledger.each_row(job, Selection::All, |row| {
        if is_stopped() {
            return Err(Halt::Stopped);
        }
        written += 1;
        let input = inputs.as_mut().map_or(Ok(None), |rows| next_input(rows, job, written))?;
        Ok(sink.write(output_row(job, written, row, input)?)?)
    });
    match visited {
        Ok(()) if written != total => Err(missing(job, written + 1)),
        Ok(()) if is_stopped() => Ok(false),
        Ok(()) => sink.finish().map(|()| true),
        Err(Halt::Stopped) => Ok(false),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Why not all rows were visited.
enum Halt {
    Stopped,
    Failed(TaskError),
}

impl From<TaskError> for Halt {
    fn from(error: TaskError) -> Halt {
        Halt::Failed(error)
    }
}

impl From<ledger::LedgerError> for Halt {
    fn from(error: ledger::LedgerError) -> Halt {
        Halt::Failed(storage(error))
    }
}

fn next_input(rows: &mut Rows, job: JobId, number: u64) -> Result<Option<Input>, TaskError> {
    let row = rows.next().transpose()?;
    // A row that cannot be read failed for that reason, which stands in its outcome.
    row.map(|row| row.input.ok()).ok_or_else(|| {
        TaskError::Data(format!(
            "job {job}: the input ends before row {number}, which was done\n\
             hint: the input changed since the job began; put the old one back, or start a new job"
        ))
    })
}

fn output_row(job: JobId, number: u64, row: Row, input: Option<Input>) -> Result<OutputRow, TaskError> {
    if row.number != number {
        return Err(missing(job, number));
    }
    let count = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
    let result = match row.outcome {
        None => return Err(missing(job, number)),
        Some(RowOutcome::Failed { reason }) => Err(reason),
        Some(RowOutcome::Done { outcome: Value::Object(fields), warnings }) => Ok(Outcome {
            fields,
            warnings,
            prompt_tokens: count(row.effort.prompt_tokens),
            cached_tokens: count(row.effort.cached_tokens),
            completion_tokens: count(row.effort.completion_tokens),
        }),
        Some(RowOutcome::Done { outcome, .. }) => {
            let text = format!("job {job}: row {number}: expected an object in the ledger, got {outcome}");
            return Err(TaskError::Storage(text));
        }
    };
    let (attempts, milliseconds) = (row.effort.attempts, row.effort.milliseconds);
    Ok(OutputRow { number, name: row.name, input, result, attempts, milliseconds })
}

fn missing(job: JobId, number: u64) -> TaskError {
    TaskError::Storage(format!(
        "job {job}: expected an outcome of row {number} in the ledger, got none\n\
         hint: somebody changed the ledger while the job ran; go on with the job, and the row is done again"
    ))
}
