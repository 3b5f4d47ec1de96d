//! What holds of every metric, whatever came.

use super::{Judged, METRICS, Metric, MetricRow};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tasks::{Answer, Classify, Complete, Extract, Field, Generate, Input, KINDS, Label, Summarize, Task};

const LABELS: [&str; 3] = ["a", "b", "c"];

fn tasks() -> Vec<Task> {
    let classify = |several: bool| {
        let labels = LABELS.map(|name| Label { name: name.to_owned(), description: None });
        let mut classify = Classify::new(labels.to_vec()).unwrap();
        (classify.several, classify.all_scores) = (several, !several);
        classify.none_of_these = (!several).then(|| "neither".to_owned());
        classify
    };
    let fields = LABELS.map(Field::text);
    vec![
        Task::new("one", classify(false)),
        Task::new("several", classify(true)),
        Task::new("extract", Extract::fields(&fields).unwrap()),
        Task::new("summarize", Summarize::default()),
        Task::new("answer", Answer::freely()),
        Task::new("complete", Complete::default()),
        Task::new("generate", Generate::default()),
    ]
}

/// A row of a task: what is right, and what came, made of a few numbers. Some answers could not be read.
fn row(task: &Task, seed: [usize; 6]) -> (Value, Map<String, Value>) {
    let words = ["", "The cat", "the cat sat.", "Ärger 日本", "a a b", "9.00", "2018-03-04", "{\"a\": 1}"];
    let label = |number: usize| LABELS.get(number % 4).map_or(Value::Null, |&label| Value::from(label));
    let labels = |number: usize| (0..3).filter(|bit| number >> bit & 1 == 1).map(label).collect::<Value>();
    let word = |number: usize| Value::from(words[number % words.len()]);
    let object = |from: usize| json!({"a": word(from), "b": [word(from / 8), word(from / 64)], "c": null});
    let (right, came) = match task.name.as_str() {
        "one" => {
            let scores: Value = (0..4).map(|index| json!({"label": label(seed[2] + index)})).collect();
            (label(seed[0]), json!({"label": label(seed[1]), "scores": scores}))
        }
        "several" => (labels(seed[0]), json!({"labels": labels(seed[1])})),
        "extract" => (object(seed[0]), json!({"value": object(seed[1])})),
        "summarize" => (json!([word(seed[0]), word(seed[2])]), json!({"summary": word(seed[1])})),
        "answer" => (json!([word(seed[0]), word(seed[2])]), json!({"answer": word(seed[1])})),
        "complete" => (word(seed[0]), json!({"completion": word(seed[1])})),
        _ if seed[4].is_multiple_of(4) => (word(seed[0]), json!({"value": object(seed[1])})),
        _ => (word(seed[0]), json!({"text": word(seed[1])})),
    };
    let came = if seed[5].is_multiple_of(8) { Map::new() } else { came.as_object().unwrap().clone() };
    (right, came)
}

/// A row whose answer is just what is right; of several right texts the longest, for an empty one is none.
fn rightly_answered(task: &Task, right: Value) -> (Value, Map<String, Value>) {
    let field = match task.name.as_str() {
        "one" => "label",
        "several" => "labels",
        "extract" => "value",
        "summarize" => "summary",
        "complete" => "completion",
        "answer" => "answer",
        _ => "text",
    };
    let longest = right
        .as_array()
        .filter(|_| field != "labels")
        .and_then(|texts| texts.iter().max_by_key(|text| text.as_str().map_or(0, str::len)));
    let came = json!({ field: longest.unwrap_or(&right), "scores": [{ "label": right }] });
    (right.clone(), came.as_object().unwrap().clone())
}

/// Metrics that count no answer: of grades, and of how likely texts are.
const OF_NO_ANSWER: [&str; 4] = ["judge", "pass_at_1", "command", "byte_perplexity"];

fn sums(metric: &dyn Metric, rows: &[(Value, Map<String, Value>)]) -> Vec<f64> {
    let input = Input::text("");
    let mut sums = vec![0.0; metric.slots()];
    for (expected, outcome) in rows {
        let counts = metric.count(&Judged { input: &input, expected, outcome });
        counts.into_iter().flat_map(|counts| counts.0).for_each(|(slot, count)| sums[slot as usize] += count);
    }
    sums
}

#[test]
fn every_kind_is_among_the_tasks() {
    let tasks = tasks();
    assert!(KINDS.iter().all(|kind| tasks.iter().any(|task| task.kind() == kind.name)));
}

proptest! {
    #[test]
    fn parts_sum_to_the_whole_and_figures_are_shares(
        seeds in prop::collection::vec(prop::array::uniform6(0_usize..512), 1..12),
        cut in 0_usize..12,
    ) {
        for task in tasks() {
            let rows: Vec<_> = seeds.iter().map(|&seed| row(&task, seed)).collect();
            let (first, second) = rows.split_at(cut.min(rows.len()));
            let counts = |row: &&&MetricRow| row.kinds.contains(&task.kind()) && !OF_NO_ANSWER.contains(&row.name);
            for metric_row in METRICS.iter().filter(counts) {
                let Ok(metric) = (metric_row.make)(&task, &[]) else {
                    prop_assert_eq!(&task.name, "several", "{}", metric_row.name);
                    continue;
                };
                let whole = sums(&*metric, &rows);
                let parts = sums(&*metric, first).into_iter().zip(sums(&*metric, second));
                for (sum, (one, other)) in whole.iter().zip(parts) {
                    prop_assert!((sum - one - other).abs() < 1e-9, "{} of {}", metric_row.name, task.name);
                }
                let figure = metric.figure(&whole);
                prop_assert!(figure.is_none_or(|figure| (0.0..=1.0).contains(&figure)), "{} {figure:?}", metric_row.name);
                prop_assert_eq!(metric.figure(&vec![0.0; metric.slots()]), None, "{}", metric_row.name);
                if metric.is_proportion() {
                    prop_assert!(whole[0].fract() == 0.0 && whole[0] <= whole[1], "{}", metric_row.name);
                    prop_assert_eq!(figure, Some(whole[0] / whole[1]));
                }
            }
        }
    }

    #[test]
    fn what_is_right_has_the_whole_figure(seeds in prop::collection::vec(prop::array::uniform6(0_usize..512), 1..12)) {
        for task in tasks() {
            let rows: Vec<_> = seeds.iter().map(|&seed| row(&task, seed).0).map(|right| rightly_answered(&task, right)).collect();
            for metric_row in METRICS.iter().filter(|row| row.kinds.contains(&task.kind())) {
                // Valid is something else than right, and texts without words have nothing in common to ROUGE.
                if ["schema", "valid", "rouge", "byte"].iter().any(|other| metric_row.name.starts_with(other)) {
                    continue;
                }
                let Ok(metric) = (metric_row.make)(&task, &[]) else { continue };
                let figure = metric.figure(&sums(&*metric, &rows));
                let is_whole = figure.is_none_or(|figure| (figure - 1.0).abs() < 1e-12);
                prop_assert!(is_whole, "{} of {}: {figure:?} {rows:?}", metric_row.name, task.name);
            }
        }
    }
}
