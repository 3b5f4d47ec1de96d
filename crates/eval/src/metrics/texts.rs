//! What is right and what came, as texts.
//!
//! An example may have several right answers, a list of texts: then the best of them counts. Null, an empty list and an
//! empty text say that there is no answer, as a question that its text does not answer has; null is also what a model
//! says that found none.

use super::{Judged, MetricError};
use serde_json::Value;
use std::borrow::Cow;
use tasks::{Example, Task};

/// The fields of outcomes that hold the text, by the kinds' names; `value` is the JSON of a generated text.
const FIELDS: [&str; 5] = ["answer", "summary", "completion", "text", "value"];

/// The text that came, empty where there is no answer; none where the answer could not be read.
pub fn given<'r>(row: &Judged<'r>) -> Option<Cow<'r, str>> {
    FIELDS.iter().find_map(|field| row.outcome.get(*field)).map(as_text)
}

/// The texts that are right by what an example says, at least one.
pub fn right(expected: &Value) -> Vec<Cow<'_, str>> {
    match expected {
        Value::Array(texts) if texts.is_empty() => vec![Cow::Borrowed("")],
        Value::Array(texts) => texts.iter().map(as_text).collect(),
        text => vec![as_text(text)],
    }
}

/// The best score of what came against any text that is right; 0 where the answer could not be read.
pub fn best(row: &Judged<'_>, score: impl Fn(&str, &str) -> f64) -> f64 {
    let Some(given) = given(row) else { return 0.0 };
    right(row.expected).iter().map(|right| score(right, &given)).fold(0.0, f64::max)
}

/// Whether what came is right by any text that is; not where the answer could not be read.
pub fn any(row: &Judged<'_>, is_right: impl Fn(&str, &str) -> bool) -> bool {
    given(row).is_some_and(|given| right(row.expected).iter().any(|right| is_right(right, &given)))
}

/// Looks whether all that is right is texts.
pub fn check(name: &str, task: &Task, examples: &[Example]) -> Result<(), MetricError> {
    let is_text = |value: &Value| !matches!(value, Value::Array(_) | Value::Object(_));
    for (number, example) in (1..).zip(examples) {
        let is_right = match &example.expected {
            Value::Array(values) => values.iter().all(is_text),
            value => is_text(value),
        };
        if !is_right {
            let beginning: String = example.expected.to_string().chars().take(80).collect();
            return Err(MetricError::Data(format!(
                "metric `{name}` compares texts: expected a text or a list of texts as what is right in example {number} \
                 of {}, got {beginning}\nhint: objects are compared by tasks of kind `extract`",
                task.name
            )));
        }
    }
    Ok(())
}

/// Whether what is right is that there is no answer.
pub fn has_no_answer(expected: &Value) -> bool {
    right(expected).iter().all(|text| text.trim().is_empty())
}

/// Looks whether there is a text to compare with in every row: where there is none, nothing can be in common, and what was
/// rightly left unanswered would be wrong, or would not count.
pub fn check_answered(name: &str, task: &Task, examples: &[Example]) -> Result<(), MetricError> {
    let unanswered = examples.iter().filter(|example| has_no_answer(&example.expected)).count();
    if unanswered == 0 {
        return Ok(());
    }
    Err(MetricError::Data(format!(
        "metric `{name}` counts what two texts have in common, and {unanswered} of {} right answers of {} are empty\n\
         hint: `token_f1` and `exact_match` count a question that is rightly left unanswered",
        examples.len(),
        task.name
    )))
}

fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Input, Summarize};

    #[test]
    fn what_compares_texts_is_refused_where_a_right_answer_is_none() {
        let example = |expected: Value| Example { input: Input::text(""), expected };
        let task = Task::new("handbook", tasks::Answer::from_field("text"));
        let mut examples = vec![example(json!("at six")), example(json!(["42", ""]))];
        for name in ["chrf", "rouge_1", "rouge_2", "rouge_l"] {
            assert!(crate::metrics::metric(name, &task, &examples).is_ok(), "{name}");
        }
        examples.extend([json!(null), json!(" "), json!([])].map(example));
        for name in ["chrf", "rouge_1", "rouge_2", "rouge_l"] {
            let error = crate::metrics::metric(name, &task, &examples).err().unwrap().to_string();
            let expected = format!(
                "metric `{name}` counts what two texts have in common, and 3 of 5 right answers of handbook are empty\n\
                 hint: `token_f1` and `exact_match` count a question that is rightly left unanswered"
            );
            assert_eq!(error, expected);
        }
        for name in ["token_f1", "exact_match", "contains"] {
            assert!(crate::metrics::metric(name, &task, &examples).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_right_and_what_came_are_texts() {
        let input = Input::text("");
        let check = |expected: Value, outcome: Value, texts: &[&str], came: Option<&str>| {
            let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
            assert_eq!(
                (right(&expected), given(&row).as_deref()),
                (texts.iter().map(|&text| text.into()).collect(), came)
            );
        };
        check(json!("a"), json!({"answer": "b", "quote": "b c"}), &["a"], Some("b"));
        check(json!(["a", 5]), json!({"answer": null}), &["a", "5"], Some(""));
        check(json!([]), json!({"summary": "s", "parts": 1}), &[""], Some("s"));
        check(json!(null), json!({"value": {"a": [1]}}), &[""], Some("{\"a\":[1]}"));
        check(json!(true), json!({}), &["true"], None);
    }

    #[test]
    fn the_best_of_several_right_texts_counts() {
        let (input, expected, outcome) = (Input::text(""), json!(["aa", "a"]), json!({"text": "a"}));
        let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
        assert_eq!(best(&row, |right, given| given.len() as f64 / right.len() as f64), 1.0);
        assert!(any(&row, |right, given| right == given) && !any(&row, |_, _| false));
    }

    #[test]
    fn objects_are_no_texts() {
        let example = |expected: Value| Example { input: Input::text(""), expected };
        let task = Task::new("notes", Summarize::default());
        let fine = ["a".into(), json!(["a", null]), json!(5), json!(null)].map(example);
        assert_eq!(check("chrf", &task, &fine), Ok(()));
        let error = check("chrf", &task, &[example(json!("a")), example(json!({"a": 1}))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metric `chrf` compares texts: expected a text or a list of texts as what is right in example 2 of notes, \
             got {\"a\":1}\nhint: objects are compared by tasks of kind `extract`"
        );
    }
}
