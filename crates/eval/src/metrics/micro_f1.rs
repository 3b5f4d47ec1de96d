//! Micro F1: the F1 of the classes' counts added up, so that every text weighs the same.
//!
//! With one label a text, and one that the task has, it equals accuracy; with several it does not.

use super::classes::Classes;
use super::{Metric, MetricError, MetricRow, Tally};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "micro_f1",
    about: "F1 of all labels that were given, together: every text weighs the same",
    kinds: &["classify"],
    main_of: &[],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    Classes::metric(task, |tallies| {
        let mut all = Tally::default();
        tallies.for_each(|tally| all += tally);
        all.f1()
    })
}
