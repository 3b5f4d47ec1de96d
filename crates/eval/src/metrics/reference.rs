//! Our figures beside those of other implementations; `tools/reference/eval_metrics.py` says which.

use super::{Classes, Confusion, Judged, Metric, metric};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use tasks::{Answer, Classify, Complete, Input, Label, Summarize, Task};

/// The others add up in another order.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Figures {
    texts: Vec<TextCase>,
    chrf_of_all: f64,
    one_label: Vec<OneLabel>,
    several_labels: Vec<SeveralLabels>,
}

#[derive(Deserialize)]
struct TextCase {
    right: Vec<String>,
    given: String,
    #[serde(flatten)]
    scores: HashMap<String, f64>,
}

#[derive(Deserialize)]
struct OneLabel {
    labels: Vec<String>,
    expected: Vec<String>,
    given: Vec<String>,
    best_first: Vec<Vec<String>>,
    /// Precision, recall and F1 of each label, 0 where there is none.
    each: [Vec<f64>; 3],
    confusion: Vec<Vec<u64>>,
    #[serde(flatten)]
    figures: HashMap<String, f64>,
}

#[derive(Deserialize)]
struct SeveralLabels {
    labels: Vec<String>,
    expected: Vec<Vec<String>>,
    given: Vec<Vec<String>>,
    #[serde(flatten)]
    figures: HashMap<String, f64>,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("fixtures/figures.json")).unwrap()
}

type Row = (Value, Map<String, Value>);

fn row(expected: Value, outcome: Value) -> Row {
    (expected, outcome.as_object().unwrap().clone())
}

fn sums(rows: &[Row], slots: usize, count: impl Fn(&Judged<'_>) -> super::Counts) -> Vec<f64> {
    let (input, mut sums) = (Input::text(""), vec![0.0; slots]);
    for (expected, outcome) in rows {
        let counts = count(&Judged { input: &input, expected, outcome });
        counts.0.into_iter().for_each(|(slot, count)| sums[slot as usize] += count);
    }
    sums
}

fn figure(metric: &dyn Metric, rows: &[Row]) -> f64 {
    metric.figure(&sums(rows, metric.slots(), |row| metric.count(row).unwrap())).unwrap_or_default()
}

fn check(name: &str, task: &Task, rows: &[Row], expected: f64) {
    let figure = figure(&*metric(name, task, &[]).unwrap(), rows);
    assert!((figure - expected).abs() < TOLERANCE, "{name}: expected {expected}, got {figure}: {rows:?}");
}

/// With all scores of one label each, or with several labels.
fn classify(labels: &[String], several: bool) -> Task {
    let label = |name: &String| Label { name: name.clone(), description: None };
    let mut classify = Classify::new(labels.iter().map(label).collect()).unwrap();
    (classify.several, classify.all_scores) = (several, !several);
    Task::new("t", classify)
}

#[test]
fn texts_score_as_they_do_elsewhere() {
    let task_of = |name: &str| match name {
        "edit_similarity" => (Task::new("t", Complete::default()), "completion"),
        "exact_match" | "token_f1" => (Task::new("t", Answer::freely()), "answer"),
        _ => (Task::new("t", Summarize::default()), "summary"),
    };
    let mut names = Vec::new();
    for case in figures().texts {
        names = case.scores.keys().cloned().collect();
        for (name, &score) in &case.scores {
            let (task, field) = task_of(name);
            check(name, &task, &[row(json!(case.right), json!({ field: case.given }))], score);
        }
    }
    names.sort();
    assert_eq!(names, ["chrf", "edit_similarity", "exact_match", "rouge_1", "rouge_2", "rouge_l", "token_f1"]);
}

#[test]
fn chrf_of_many_texts_is_of_their_counts_together() {
    let figures = figures();
    let rows: Vec<_> =
        figures.texts.iter().map(|case| row(json!(case.right), json!({"summary": case.given}))).collect();
    check("chrf", &Task::new("t", Summarize::default()), &rows, figures.chrf_of_all);
}

#[test]
fn labels_count_as_they_do_elsewhere() {
    for case in figures().one_label {
        let task = classify(&case.labels, false);
        let outcome = |(given, best): (&String, &Vec<String>)| {
            let scores: Value = best.iter().map(|label| json!({"label": label})).collect();
            json!({"label": given, "scores": scores})
        };
        let outcomes = case.given.iter().zip(&case.best_first).map(outcome);
        let rows: Vec<_> = case.expected.iter().zip(outcomes).map(|(right, came)| row(json!(right), came)).collect();
        assert_eq!(case.figures.len(), 6);
        for (name, &expected) in &case.figures {
            check(name, &task, &rows, expected);
        }
        let classes = Classes::of(&task).unwrap();
        for (index, class) in
            classes.figures(&sums(&rows, classes.slots(), |row| classes.count(row))).iter().enumerate()
        {
            let figures = [class.tally.precision(), class.tally.recall(), class.tally.f1()];
            for (figure, expected) in figures.iter().zip(&case.each) {
                assert!((figure.unwrap_or_default() - expected[index]).abs() < TOLERANCE, "{class:?}");
            }
        }
        let mut confusion = Confusion::new(&task).unwrap();
        let input = Input::text("");
        rows.iter().for_each(|(expected, outcome)| confusion.add(&Judged { input: &input, expected, outcome }));
        let ours: Vec<Vec<u64>> = (0..case.labels.len() as u32)
            .map(|right| (0..case.labels.len() as u32).map(|given| confusion.rows(right, Some(given))).collect())
            .collect();
        assert_eq!(ours, case.confusion);
    }
}

#[test]
fn several_labels_count_as_they_do_elsewhere() {
    for case in figures().several_labels {
        let task = classify(&case.labels, true);
        let pairs = case.expected.iter().zip(&case.given);
        let rows: Vec<_> = pairs.map(|(right, given)| row(json!(right), json!({"labels": given}))).collect();
        assert_eq!(case.figures.len(), 3);
        for (name, &expected) in &case.figures {
            check(name, &task, &rows, expected);
        }
    }
}
