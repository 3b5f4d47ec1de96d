//! Exact match: the share of answers that are just what is right.
//!
//! An answer to a question counts by its words (`squad.rs`): nobody asked for a full stop. Code and generated text are
//! read by programs, so there only blanks at the ends are let go; where a task generates JSON, the value counts and not
//! how it is written.

use super::mean::share;
use super::{Judged, Metric, MetricError, MetricRow, squad, texts};
use serde_json::Value;
use tasks::{Answer, Example, Task};

/// Its line of the table.
pub(crate) static ROW: MetricRow = MetricRow {
    name: "exact_match",
    about: "share of answers that are just what is right; of a question's answer the words count, without articles",
    kinds: &["answer", "complete", "generate"],
    main_of: &["complete", "generate"],
    make,
};

/// The field of outcomes that holds generated JSON.
const VALUE: &str = "value";

fn make(task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    if task.outcome_fields().iter().any(|field| field == VALUE) {
        return Ok(share(|row| Some(row.outcome.get(VALUE).is_some_and(|given| is_same_json(row.expected, given)))));
    }
    texts::check(ROW.name, task, examples)?;
    Ok(match task.settings::<Answer>() {
        Some(_) => share(|row| Some(is_same_answer(row))),
        None => share(|row| Some(texts::any(row, |right, given| right.trim() == given.trim()))),
    })
}

fn is_same_answer(row: &Judged<'_>) -> bool {
    texts::given(row).is_some_and(|given| squad::right(row.expected).contains(&squad::normalized(&given)))
}

/// The value that is right may stand in a text, as a cell of a table holds it.
fn is_same_json(right: &Value, given: &Value) -> bool {
    let read = right.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    right == given || read.as_ref() == Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;
    use serde_json::json;
    use std::path::Path;
    use tasks::{Complete, Generate, Input};

    fn check(task: &Task, expected: Value, outcome: Value, right: bool) {
        let input = Input::text("");
        let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
        let counted = Counts(vec![(0, f64::from(u8::from(right))), (1, 1.0)]);
        assert_eq!(make(task, &[]).unwrap().count(&row), Some(counted), "{expected} {outcome}");
    }

    #[test]
    fn of_an_answer_the_words_count() {
        let task = Task::new("t", Answer::freely());
        check(&task, json!(["Denver", "the Broncos"]), json!({"answer": "Broncos."}), true);
        check(&task, json!("Denver"), json!({"answer": null, "found": false}), false);
        for nothing in [json!(null), json!(""), json!([]), json!(["the", "."])] {
            check(&task, nothing.clone(), json!({"answer": null}), true);
            check(&task, nothing.clone(), json!({"answer": "Denver"}), false);
            check(&task, nothing, json!({}), false);
        }
    }

    #[test]
    fn of_code_all_counts_but_blanks_at_the_ends() {
        let task = Task::new("t", Complete::default());
        check(&task, json!("return a\n"), json!({"completion": "  return a", "ended": "line"}), true);
        check(&task, json!("return a"), json!({"completion": "return A"}), false);
        check(&task, json!("return a"), json!({}), false);
    }

    #[test]
    fn of_json_the_value_counts() {
        let file = "kind = \"generate\"\n[generate]\njson = true\n";
        let task = Task::parse(file, Path::new("t.toml")).unwrap();
        check(&task, json!("{\"a\": 1, \"b\": [2]}"), json!({"value": {"b": [2], "a": 1}}), true);
        check(&task, json!({"a": 1}), json!({"value": {"a": 1}}), true);
        check(&task, json!("{\"a\": 1}"), json!({"value": {"a": 2}}), false);
        check(&task, json!({"a": 1}), json!({}), false);
        let free = Task::new("t", Generate::default());
        check(&free, json!("ABC-1"), json!({"text": "ABC-1\n"}), true);
        check(&free, json!("ABC-1"), json!({"text": "ABC 1"}), false);
    }
}
