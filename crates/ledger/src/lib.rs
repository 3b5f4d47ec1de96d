//! What was done, row by row, in one SQLite file that survives whatever ends the process.
//!
//! One process works on a job ([`Claim`]), any number look on ([`Ledger`]). It knows no task, no model and no wire
//! format: a row is a number, JSON and a reason. Read next: `migrations/0001_jobs.sql` for the tables, `claim.rs` for
//! who may write.
#![forbid(unsafe_code)]

mod cancel;
mod claim;
mod error;
mod job;
mod ledger;
mod lock;
mod migrations;
mod row;
mod run;
mod run_view;

pub use cancel::Cancellation;
pub use claim::Claim;
pub use error::LedgerError;
pub use job::{Job, JobId, JobState, NewJob, Owner};
pub use ledger::Ledger;
pub use row::{Effort, Record, Row, RowOutcome, Selection};
pub use run::{Answer, AnswerKey, NewRun, RowGrade, Run, RunHold, RunId, RunRow};
pub use run_view::{AskedRow, RowPage, RowScore, Which};

#[cfg(test)]
mod tests;
