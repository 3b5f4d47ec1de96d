//! Batch jobs: many inputs through one [`crate::Work`], each recorded in the ledger as it is done.
//!
//! ```text
//! Source -> reader (passes over what is settled) -> run (many rows at once; tries again) -> recorder (in groups)
//!                                                                                              |
//!                                       Sink <- output (in order, once all are settled) <- the ledger
//! ```
//!
//! Reader, recorder and output are threads of their own, so that neither a disk nor a document holds up the answers.
//! A row is done when its transaction is on the disk. Whatever ends the process, the next run does the rows that are
//! not, and writes the whole output from the ledger, so that the result is that of a run that nobody disturbed. A job
//! that was ended between the output and its last mark writes the same output again.
//!
//! It knows no file format and no terminal: rows come from a [`Source`] and go to a [`Sink`]. Read next:
//! `batch/run.rs`.

mod bounds;
mod fingerprint;
mod output;
mod progress;
mod reader;
mod recorder;
mod run;
mod source;
mod thread;

pub use fingerprint::{file_sha256, fingerprint};
pub use output::{OutputRow, Sink};
pub use progress::{Progress, Watch};
pub use run::{Batch, Ending, Retries, Summary, run, run_claimed};
pub use source::{Rows, Source, SourceRow};

use crate::TaskError;
use ledger::LedgerError;

/// The ledger's texts are complete; a task has one word for all of them.
fn storage(error: LedgerError) -> TaskError {
    TaskError::Storage(error.to_string())
}
#[cfg(test)]
mod scenes;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
