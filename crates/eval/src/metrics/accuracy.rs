//! Accuracy: the share of texts whose label is right.
//!
//! With several labels a text is right where it has just those that are expected (subset accuracy).

use super::classes::Classes;
use super::mean::share;
use super::{Metric, MetricError, MetricRow};
use serde_json::Value;
use tasks::{Example, Task};

/// Its line of the table.
pub(crate) static ROW: MetricRow = MetricRow {
    name: "accuracy",
    about: "share of texts whose label is right; with several labels, of those that have just the right ones",
    kinds: &["classify"],
    main_of: &["classify"],
    make,
};

fn make(task: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    let field = if Classes::of(task)?.several() { "labels" } else { "label" };
    Ok(share(move |row| Some(row.outcome.get(field).is_some_and(|given| is_same(row.expected, given)))))
}

fn is_same(expected: &Value, given: &Value) -> bool {
    match (expected, given) {
        (Value::Array(expected), Value::Array(given)) => {
            expected.iter().all(|label| given.contains(label)) && given.iter().all(|label| expected.contains(label))
        }
        _ => expected == given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_the_same_in_any_order() {
        let same = |expected: Value, given: Value| is_same(&expected, &given);
        assert!(same(json!("a"), json!("a")) && same(json!(null), json!(null)) && same(json!([]), json!([])));
        assert!(same(json!(["a", "b"]), json!(["b", "a", "b"])));
        assert!(!same(json!("a"), json!(null)) && !same(json!([]), json!(["fault"])) && !same(json!(["a"]), json!([])));
    }
}
