//! The metrics: one file and one line of the table each.
//!
//! A metric is additive: of each row it counts something into numbered slots, and its figure is a function of the sums
//! over the rows. So a figure can be had of any sample of rows with nothing but sums, which is what intervals by
//! bootstrap, comparisons of two candidates and stopping early need. Read next: `crate::statistics`.

use serde_json::{Map, Value};
use tasks::Input;

/// A row with what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'r> {
    /// What was asked.
    pub input: &'r Input,
    /// What is right, as the task's kind reads it (`tasks::Example`).
    pub expected: &'r Value,
    /// The fields of the outcome.
    pub outcome: &'r Map<String, Value>,
}

/// What one row adds to the slots of a metric. Slots that are not named get nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts(pub Vec<(u32, f64)>);

/// One metric, made for one task.
pub trait Metric: Send + Sync {
    /// How many slots it counts into.
    fn slots(&self) -> usize;

    /// What a row adds; none where the metric does not apply to it, and it is then left out of the figure.
    fn count(&self, row: &Judged<'_>) -> Option<Counts>;

    /// The figure of these sums; none where they say nothing (no row, a class that never came).
    fn figure(&self, sums: &[f64]) -> Option<f64>;

    /// Whether each row is either right or wrong, and the figure is the share of those that are right: slot 0 counts
    /// the right ones and slot 1 all. Such a figure has Wilson's interval.
    fn is_proportion(&self) -> bool {
        false
    }

    /// Whether a larger figure is a better one.
    fn is_better_higher(&self) -> bool {
        true
    }
}
