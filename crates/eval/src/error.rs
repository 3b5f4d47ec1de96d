//! Why there is no verdict: one variant for each thing that a caller may do about it.

use crate::metrics::MetricError;
use crate::statistics::StatisticsError;
use ledger::LedgerError;
use tasks::TaskError;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The test table, or its absence.
    #[error("{0}")]
    Test(String),
    /// There is no such run, or it has not what was asked for.
    #[error("{0}")]
    Run(String),
    /// The goal cannot be judged by.
    #[error("{0}")]
    Goal(String),
    /// The report of an earlier run that this one is held against.
    #[error("{0}")]
    Earlier(String),
    /// Test cases in the format of another tool.
    #[error("{0}")]
    Interchange(String),
    /// The metric does not exist or does not fit.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The task, its data or a model.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Whoever grades answers cannot grade any.
    #[error("{0}")]
    Grader(String),
    /// What was found cannot be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A number that no statistics can be made of; the program is wrong, not its user.
    #[error("internal error: {0}")]
    Statistics(#[from] StatisticsError),
    /// Somebody stopped it; the same command goes on with it.
    #[error("stopped; the same command goes on where it was")]
    Stopped,
}
