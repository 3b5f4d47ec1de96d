//! Precision, recall and F1 of extracted values, all fields of all texts together.
//!
//! What makes two values the same: `values.rs`. A value that is rightly null counts nowhere: leaving out what a text
//! does not say is no achievement, and inventing it lowers the precision.

use super::{Counts, Judged, Metric, MetricError, MetricRow, Tally, leaves};
use tasks::{Example, Task};

/// Lines of the table.
pub(super) static F1: MetricRow = MetricRow {
    name: "field_f1",
    about: "F1 of the extracted values, all fields together",
    kinds: &["extract"],
    main_of: &["extract"],
    make: |task, _: &[Example]| make(task, Tally::f1),
};
pub(super) static PRECISION: MetricRow = MetricRow {
    name: "field_precision",
    about: "share of the extracted values that are right",
    kinds: &["extract"],
    main_of: &[],
    make: |task, _: &[Example]| make(task, Tally::precision),
};
pub(super) static RECALL: MetricRow = MetricRow {
    name: "field_recall",
    about: "share of the values to extract that were rightly extracted",
    kinds: &["extract"],
    main_of: &[],
    make: |task, _: &[Example]| make(task, Tally::recall),
};

fn make(task: &Task, figure: fn(Tally) -> Option<f64>) -> Result<Box<dyn Metric>, MetricError> {
    leaves::check(task)?;
    Ok(Box::new(OfFields { figure }))
}

struct OfFields {
    figure: fn(Tally) -> Option<f64>,
}

impl Metric for OfFields {
    fn slots(&self) -> usize {
        Tally::SLOTS
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        Some(Counts((0..).zip(leaves::tally(row).slots()).collect()))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        (self.figure)(Tally::of(sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Extract, Field, Input};

    #[test]
    fn figures_are_of_all_values_together() {
        let task = Task::new("t", Extract::fields(&[Field::text("a"), Field::text("b")]).unwrap());
        let rows = [
            (json!({"a": "x", "b": "y"}), json!({"value": {"a": "X", "b": "z"}})),
            (json!({"a": "x", "b": null}), json!({"value": {"a": "x", "b": "made up"}})),
            (json!({"a": "x", "b": null}), json!({"value": {"a": null, "b": null}})),
        ];
        let input = Input::text("");
        let figure = |row: &MetricRow| {
            let metric = (row.make)(&task, &[]).unwrap();
            let mut sums = vec![0.0; metric.slots()];
            for (expected, outcome) in &rows {
                let row = Judged { input: &input, expected, outcome: outcome.as_object().unwrap() };
                metric.count(&row).unwrap().0.iter().for_each(|&(slot, count)| sums[slot as usize] += count);
            }
            metric.figure(&sums)
        };
        assert_eq!([figure(&PRECISION), figure(&RECALL), figure(&F1)], [Some(0.5), Some(0.5), Some(0.5)]);
    }
}
