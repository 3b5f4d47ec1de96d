//! Top k: the share of texts whose label is among the k that scored best.

use super::classes::Classes;
use super::mean::share;
use super::{Judged, Metric, MetricError, MetricRow};
use serde_json::Value;
use tasks::{Classify, Example, Task};

/// Lines of the table.
pub(super) static TOP_3: MetricRow = MetricRow {
    name: "top_3",
    about: "share of texts whose label is among the three that scored best",
    kinds: &["classify"],
    main_of: &[],
    make: |task, _: &[Example]| make("top_3", 3, task),
};
pub(super) static TOP_5: MetricRow = MetricRow {
    name: "top_5",
    about: "share of texts whose label is among the five that scored best",
    kinds: &["classify"],
    main_of: &[],
    make: |task, _: &[Example]| make("top_5", 5, task),
};

fn make(name: &str, k: usize, task: &Task) -> Result<Box<dyn Metric>, MetricError> {
    let several = Classes::of(task)?.several();
    let has_scores = task.settings::<Classify>().is_some_and(|classify| classify.all_scores);
    match (several, has_scores) {
        (true, _) => {
            let fits = format!("metric `{name}` does not fit a task with several labels a text");
            Err(MetricError::Unfit(format!("{fits}\nhint: its metrics are accuracy, macro_f1, micro_f1")))
        }
        (false, false) => {
            let needs = format!("metric `{name}` needs the scores of all labels, the task asks for the best alone");
            Err(MetricError::Unfit(format!("{needs}\nhint: add `all_scores = true` to [classify]")))
        }
        (false, true) => Ok(share(move |row| is_among_best(row, k))),
    }
}

/// Whether the right label is among the first `k` scores, which stand best first. An answer without scores, of a
/// candidate that tells none, is left out; one that could not be read is wrong.
fn is_among_best(row: &Judged<'_>, k: usize) -> Option<bool> {
    if row.outcome.is_empty() {
        return Some(false);
    }
    let scores = row.outcome.get("scores").and_then(Value::as_array)?;
    Some(scores.iter().take(k).any(|score| score.get("label") == Some(row.expected)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Input, Label};

    fn task(several: bool, all_scores: bool) -> Task {
        let mut classify = Classify::new(vec![Label { name: "bug".to_owned(), description: None }]).unwrap();
        (classify.several, classify.all_scores) = (several, all_scores);
        Task::new("t", classify)
    }

    fn check(expected: Value, outcome: Value, right: Option<bool>) {
        let input = Input::text("");
        let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
        assert_eq!(is_among_best(&row, 2), right, "{expected} {outcome}");
    }

    #[test]
    fn the_right_label_is_looked_for_among_the_best() {
        let scores = json!({"label": "a", "scores": [{"label": "a"}, {"label": null}, {"label": "b"}]});
        check(json!("a"), scores.clone(), Some(true));
        check(json!(null), scores.clone(), Some(true));
        check(json!("b"), scores, Some(false));
        check(json!("a"), json!({"label": "a", "probability": 0.5}), None);
        check(json!("a"), json!({}), Some(false));
    }

    #[test]
    fn a_task_has_to_ask_for_all_scores() {
        let refused = |task: Task| make("top_3", 3, &task).err().unwrap().to_string();
        assert_eq!(
            refused(task(false, false)),
            "metric `top_3` needs the scores of all labels, the task asks for the best alone\nhint: add \
             `all_scores = true` to [classify]"
        );
        assert_eq!(
            refused(task(true, false)),
            "metric `top_3` does not fit a task with several labels a text\nhint: its metrics are accuracy, \
             macro_f1, micro_f1"
        );
        assert!(make("top_3", 3, &task(false, true)).is_ok());
    }
}
