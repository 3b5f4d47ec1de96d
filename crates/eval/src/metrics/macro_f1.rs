//! Macro F1: the mean over the classes of their F1, so that a rare one weighs as much as a frequent one.
//!
//! Classes that neither came in the rows nor were given are left out, as scikit-learn's `f1_score` does where it is not
//! told the labels. One that was given though it never came has 0.

use super::classes::{Classes, mean_of};
use super::{Metric, MetricError, MetricRow, Tally};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "macro_f1",
    about: "mean of the F1 of each label: rare ones weigh as much as frequent ones",
    kinds: &["classify"],
    main_of: &[],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    Classes::metric(task, |tallies| mean_of(tallies.filter_map(Tally::f1)))
}
