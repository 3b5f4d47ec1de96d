//! Balanced accuracy: the mean over the classes of the share of their texts that were found.
//!
//! A model that says the most frequent label of everything has 1 / classes, however frequent it is. Classes without a
//! text in the rows are left out, as scikit-learn's `balanced_accuracy_score` does.

use super::classes::{Classes, mean_of};
use super::{Metric, MetricError, MetricRow, Tally};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "balanced_accuracy",
    about: "mean over the labels of the share of their texts that were found",
    kinds: &["classify"],
    main_of: &[],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    if Classes::of(task)?.several() {
        let fits = "metric `balanced_accuracy` does not fit a task with several labels a text";
        return Err(MetricError::Unfit(format!("{fits}\nhint: `macro_f1` weighs all labels alike too")));
    }
    Classes::metric(task, |tallies| mean_of(tallies.filter_map(Tally::recall)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasks::{Classify, Label};

    #[test]
    fn a_text_with_several_labels_is_of_no_class_alone() {
        let mut classify = Classify::new(vec![Label { name: "bug".to_owned(), description: None }]).unwrap();
        classify.several = true;
        let error = make(&Task::new("t", classify), &[]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "metric `balanced_accuracy` does not fit a task with several labels a text\nhint: `macro_f1` weighs all \
             labels alike too"
        );
    }
}
