//! The values of an object that have no parts, and how many of them were rightly extracted.
//!
//! A value is known by its JSON Pointer (RFC 6901), so the third item of a list is compared with the third. One that
//! says nothing (null, a blank text) is no value: it is neither expected nor given.

use super::values::{is_nothing, is_same};
use super::{Judged, MetricError, Tally};
use serde_json::Value;
use std::collections::BTreeMap;
use tasks::{Extract, Task};

/// How well each field did.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    tallies: BTreeMap<String, Tally>,
}

/// How well a field did.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldFigures {
    /// Its JSON Pointer, with `*` for the place in a list: `/items/*/price`.
    pub field: String,
    /// Values that were expected, that were given, and those of the given that were right.
    pub tally: Tally,
}

impl Fields {
    /// Takes a row in.
    pub fn add(&mut self, row: &Judged<'_>) {
        for leaf in compared(row) {
            *self.tallies.entry(leaf.field).or_default() += leaf.tally;
        }
    }

    /// Those of all fields that were expected or given, in the order of their names.
    pub fn figures(&self) -> Vec<FieldFigures> {
        let figures = |(field, &tally): (&String, &Tally)| FieldFigures { field: field.clone(), tally };
        self.tallies.iter().map(figures).collect()
    }
}

/// Of all values of a row together: expected, given, and right.
pub fn tally(row: &Judged<'_>) -> Tally {
    let mut all = Tally::default();
    compared(row).into_iter().for_each(|leaf| all += leaf.tally);
    all
}

/// A task must be one that extracts.
pub fn check(task: &Task) -> Result<&Extract, MetricError> {
    let kind = task.kind();
    let wrong = || MetricError::Unfit(format!("expected a task of kind `extract`, got one of kind `{kind}`"));
    task.settings::<Extract>().ok_or_else(wrong)
}

struct Leaf<'r> {
    field: String,
    value: &'r Value,
}

struct Compared {
    field: String,
    tally: Tally,
}

/// Each value that is expected or given, compared.
fn compared(row: &Judged<'_>) -> Vec<Compared> {
    let expected = leaves(row.expected);
    let given = row.outcome.get("value").map(leaves).unwrap_or_default();
    let is_right =
        |pointer: &String, value: &Value| expected.get(pointer).is_some_and(|leaf| is_same(leaf.value, value));
    let of_given = given.iter().map(|(pointer, leaf)| {
        let right = f64::from(u8::from(is_right(pointer, leaf.value)));
        Compared { field: leaf.field.clone(), tally: Tally { right, given: 1.0, expected: 0.0 } }
    });
    let of_expected = expected.values().map(|leaf| {
        let tally = Tally { expected: 1.0, ..Tally::default() };
        Compared { field: leaf.field.clone(), tally }
    });
    of_given.chain(of_expected).collect()
}

/// The values without parts that say something, by pointer.
fn leaves(value: &Value) -> BTreeMap<String, Leaf<'_>> {
    let (mut leaves, mut open) = (BTreeMap::new(), vec![(String::new(), String::new(), value)]);
    while let Some((pointer, field, value)) = open.pop() {
        match value {
            Value::Object(parts) => open.extend(parts.iter().map(|(name, part)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                (format!("{pointer}/{name}"), format!("{field}/{name}"), part)
            })),
            Value::Array(parts) => {
                let item = |(index, part)| (format!("{pointer}/{index}"), format!("{field}/*"), part);
                open.extend(parts.iter().enumerate().map(item));
            }
            value if is_nothing(value) => {}
            value => drop(leaves.insert(pointer, Leaf { field, value })),
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Input, Summarize};

    #[test]
    fn values_are_compared_where_they_stand() {
        let expected =
            json!({"total": "9.00", "date": "2018-03-04", "note": null, "items": [{"a/b": "x"}, {"a/b": "y"}]});
        let given = json!({"value": {"total": 9, "date": "2018-03-05", "note": "new", "items": [{"a/b": "X."}]}});
        let input = Input::text("");
        let row = Judged { input: &input, expected: &expected, outcome: given.as_object().unwrap() };
        assert_eq!(tally(&row), Tally { right: 2.0, given: 4.0, expected: 4.0 });
        let mut fields = Fields::default();
        fields.add(&row);
        let told: Vec<_> =
            fields.figures().into_iter().map(|one| (one.field, one.tally.slots().map(|count| count as u32))).collect();
        let expected =
            [("/date", [0, 1, 1]), ("/items/*/a~1b", [1, 1, 2]), ("/note", [0, 1, 0]), ("/total", [1, 1, 1])];
        assert_eq!(told, expected.map(|(field, tally)| (field.to_owned(), tally)));
    }

    #[test]
    fn an_answer_that_could_not_be_read_gives_nothing() {
        let (input, expected, outcome) = (Input::text(""), json!({"a": 1, "b": " ", "c": []}), json!({}));
        let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
        assert_eq!(tally(&row), Tally { right: 0.0, given: 0.0, expected: 1.0 });
    }

    #[test]
    fn other_tasks_have_no_fields() {
        let task = Task::new("t", Summarize::default());
        let text = check(&task).unwrap_err().to_string();
        assert_eq!(text, "expected a task of kind `extract`, got one of kind `summarize`");
    }
}
