//! Whole documents: the share of texts of which every value was rightly extracted, and no other.

use super::mean::share;
use super::{Metric, MetricError, MetricRow, leaves};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "document_exact",
    about: "share of texts of which all values were rightly extracted, and no others",
    kinds: &["extract"],
    main_of: &[],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    leaves::check(task)?;
    Ok(share(|row| {
        let tally = leaves::tally(row);
        Some(row.outcome.contains_key("value") && tally.right == tally.expected && tally.right == tally.given)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counts, Judged};
    use serde_json::{Value, json};
    use tasks::{Extract, Field, Input};

    #[test]
    fn one_value_too_few_or_too_many_is_wrong() {
        let task = Task::new("t", Extract::fields(&[Field::text("a"), Field::text("b")]).unwrap());
        let metric = make(&task, &[]).unwrap();
        let check = |expected: Value, outcome: Value, right: f64| {
            let input = Input::text("");
            let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
            assert_eq!(metric.count(&row), Some(Counts(vec![(0, right), (1, 1.0)])), "{expected} {outcome}");
        };
        check(json!({"a": "5", "b": null}), json!({"value": {"b": "", "a": 5}}), 1.0);
        check(json!({"a": "x", "b": null}), json!({"value": {"a": "x", "b": "y"}}), 0.0);
        check(json!({"a": "x", "b": "y"}), json!({"value": {"a": "x"}}), 0.0);
        check(json!({"a": "x", "b": "y"}), json!({"value": {"a": "x", "b": "z"}}), 0.0);
        check(json!({"a": null, "b": null}), json!({"value": {"a": null}}), 1.0);
        check(json!({"a": null, "b": null}), json!({}), 0.0);
    }
}
