//! Schema validity: the share of texts whose extracted object is of the task's schema, right or not.

use super::mean::share;
use super::{Metric, MetricError, MetricRow, leaves};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "schema_valid",
    about: "share of texts whose extracted object is of the schema",
    kinds: &["extract"],
    main_of: &[],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    let validator = jsonschema::validator_for(leaves::check(task)?.schema())
        .map_err(|error| MetricError::Unfit(format!("the schema of the task cannot be checked: {error}")))?;
    Ok(share(move |row| Some(row.outcome.get("value").is_some_and(|value| validator.is_valid(value)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counts, Judged};
    use serde_json::{Value, json};
    use tasks::{Extract, Input};

    #[test]
    fn an_object_of_the_schema_is_valid_though_it_is_wrong() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
        let metric = make(&Task::new("t", Extract::new(schema).unwrap()), &[]).unwrap();
        let check = |outcome: Value, valid: f64| {
            let (input, expected) = (Input::text(""), json!({"a": 1}));
            let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
            assert_eq!(metric.count(&row), Some(Counts(vec![(0, valid), (1, 1.0)])), "{outcome}");
        };
        check(json!({"value": {"a": 2}}), 1.0);
        check(json!({"value": {"a": "1"}}), 0.0);
        check(json!({}), 0.0);
    }
}
