//! Rows: one input each, what came of it, and what that took.

use crate::job::{json, wrong};
use crate::{JobId, Ledger, LedgerError};
use rusqlite::{Connection, Transaction, params};
use serde_json::Value;

/// So many rows are read at a time where all are wanted.
const PAGE: u32 = 256;

/// What came of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOutcome {
    /// It was done.
    Done {
        /// What came of it.
        outcome: Value,
        /// What whoever reads it should know.
        warnings: Vec<String>,
    },
    /// It could not be done.
    Failed {
        /// Why not.
        reason: String,
    },
}

/// What a row took, all attempts together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// How often it was tried; 0 in the sum of a job, where it says nothing.
    pub attempts: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Those of them that were not computed.
    pub cached_tokens: u64,
    /// Tokens generated, or computed of given answers.
    pub completion_tokens: u64,
    /// Time from when it was taken up to its outcome.
    pub milliseconds: u64,
}

/// What came of a row, to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place among the inputs, from 1.
    pub number: u64,
    /// What its source calls it.
    pub name: String,
    /// What came of it.
    pub outcome: RowOutcome,
    /// What that took.
    pub effort: Effort,
}

/// A row, as it stood when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its place among the inputs, from 1.
    pub number: u64,
    /// What its source calls it.
    pub name: String,
    /// What came of it; none while it is to be done.
    pub outcome: Option<RowOutcome>,
    /// What it took so far.
    pub effort: Effort,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All that the ledger has.
    All,
    /// Those to be done that the ledger has: those that are to be tried again.
    Pending,
    /// Those with an outcome.
    Done,
    /// Those that could not be done.
    Failed,
}

impl Selection {
    /// The condition, in the words of the index of rows that are not done.
    fn condition(self) -> &'static str {
        match self {
            Selection::All => "true",
            Selection::Pending => "state <> 'done' AND state = 'pending'",
            Selection::Done => "state = 'done'",
            Selection::Failed => "state <> 'done' AND state = 'failed'",
        }
    }
}

impl Ledger {
    /// Up to `limit` rows in order, from a number on.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn rows(&self, job: JobId, selection: Selection, from: u64, limit: u32) -> Result<Vec<Row>, LedgerError> {
        let sql = format!(
            "SELECT number, name, state, reason, warnings, outcome, attempts, prompt_tokens, cached_tokens, \
             completion_tokens, milliseconds FROM job_rows WHERE job = ? AND number >= ? AND {} \
             ORDER BY number LIMIT ?",
            selection.condition()
        );
        self.read(|connection| {
            connection.prepare_cached(&sql)?.query_map(params![job.0, from, limit], read_row)?.collect()
        })
    }

    /// Shows each row in order, without holding them all. The ledger can be written meanwhile.
    ///
    /// # Errors
    /// The ledger cannot be read, or `visit` says so.
    pub fn each_row<E: From<LedgerError>>(
        &self,
        job: JobId,
        selection: Selection,
        mut visit: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from = 0;
        loop {
            let page = self.rows(job, selection, from, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.number + 1;
            page.into_iter().try_for_each(&mut visit)?;
        }
    }

    /// The numbers of up to `limit` rows that are done or failed, in order, from a number on.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn settled(&self, job: JobId, from: u64, limit: u32) -> Result<Vec<u64>, LedgerError> {
        let sql =
            "SELECT number FROM job_rows WHERE job = ? AND number >= ? AND state <> 'pending' ORDER BY number LIMIT ?";
        self.read(|connection| {
            connection.prepare_cached(sql)?.query_map(params![job.0, from, limit], |row| row.get(0))?.collect()
        })
    }
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let state: String = row.get(2)?;
    let outcome = match state.as_str() {
        "pending" => None,
        "done" => {
            let warnings: Option<String> = row.get(4)?;
            let warnings = warnings.map_or(Ok(Vec::new()), |text| {
                serde_json::from_str(&text).map_err(|error| wrong(4, error.to_string()))
            })?;
            let outcome: String = row.get(5)?;
            Some(RowOutcome::Done { outcome: json(5, &outcome)?, warnings })
        }
        "failed" => Some(RowOutcome::Failed { reason: row.get(3)? }),
        other => return Err(wrong(2, format!("no state is called {other:?}"))),
    };
    let effort = Effort {
        attempts: row.get(6)?,
        prompt_tokens: row.get(7)?,
        cached_tokens: row.get(8)?,
        completion_tokens: row.get(9)?,
        milliseconds: row.get(10)?,
    };
    Ok(Row { number: row.get(0)?, name: row.get(1)?, outcome, effort })
}

/// What a group of records adds to the sums of their job.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    done: u64,
    failed: u64,
    effort: Effort,
}

impl Totals {
    pub(crate) fn add(&mut self, record: &Record) {
        match record.outcome {
            RowOutcome::Done { .. } => self.done += 1,
            RowOutcome::Failed { .. } => self.failed += 1,
        }
        self.effort.prompt_tokens += record.effort.prompt_tokens;
        self.effort.cached_tokens += record.effort.cached_tokens;
        self.effort.completion_tokens += record.effort.completion_tokens;
        self.effort.milliseconds += record.effort.milliseconds;
    }
}

pub(crate) fn add_totals(connection: &Connection, job: JobId, totals: &Totals, now_ms: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE jobs SET done = done + ?, failed = failed + ?, prompt_tokens = prompt_tokens + ?, \
         cached_tokens = cached_tokens + ?, completion_tokens = completion_tokens + ?, \
         milliseconds = milliseconds + ?, updated_ms = ? WHERE id = ?";
    let effort = &totals.effort;
    let (prompt, cached, completion) = (effort.prompt_tokens, effort.cached_tokens, effort.completion_tokens);
    let parameters =
        params![totals.done, totals.failed, prompt, cached, completion, effort.milliseconds, now_ms, job.0];
    connection.prepare_cached(sql)?.execute(parameters).map(|_| ())
}

/// Records a row, if it has no outcome yet, and says whether it had none.
pub(crate) fn record_row(transaction: &Transaction<'_>, job: JobId, record: &Record) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO job_rows (job, number, name, state, reason, warnings, outcome, attempts, prompt_tokens, \
         cached_tokens, completion_tokens, milliseconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (job, number) DO UPDATE SET name = excluded.name, state = excluded.state, \
         reason = excluded.reason, warnings = excluded.warnings, outcome = excluded.outcome, \
         attempts = attempts + excluded.attempts, \
         prompt_tokens = prompt_tokens + excluded.prompt_tokens, \
         cached_tokens = cached_tokens + excluded.cached_tokens, \
         completion_tokens = completion_tokens + excluded.completion_tokens, \
         milliseconds = milliseconds + excluded.milliseconds WHERE state = 'pending'";
    let (state, reason, warnings, outcome) = match &record.outcome {
        RowOutcome::Done { outcome, warnings } => {
            let warnings = (!warnings.is_empty()).then(|| Value::from(warnings.clone()).to_string());
            ("done", None, warnings, Some(outcome.to_string()))
        }
        RowOutcome::Failed { reason } => ("failed", Some(reason), None, None),
    };
    let effort = &record.effort;
    let written = transaction.prepare_cached(sql)?.execute(params![
        job.0,
        record.number,
        record.name,
        state,
        reason,
        warnings,
        outcome,
        effort.attempts,
        effort.prompt_tokens,
        effort.cached_tokens,
        effort.completion_tokens,
        effort.milliseconds
    ])?;
    Ok(written == 1)
}
