//! Tests of the table of baselines: what each asks for before it learns.

use super::testing::{classify, example};
use super::*;
use futures::executor::block_on;
use serde_json::json;
use tasks::{Answer, DataFiles, Summarize};

fn refused(row: &BaselineRow, task: &Task, examples: &[Example]) -> String {
    let lesson = Lesson { task, examples, embedder: None, threads: 1 };
    block_on(row.learn(&lesson)).err().map(|error| error.to_string()).unwrap_or_default()
}

fn row(name: &str) -> &'static BaselineRow {
    BASELINES.iter().find(|row| row.name == name).unwrap()
}

#[test]
fn without_examples_nothing_is_learned() {
    let mut task = classify(&["a", "b"], |_| {});
    let expected = "the baseline `linear` learns from train, and the task names none\n\
                    hint: add `train = \"…\"` to [data]";
    assert_eq!(refused(row("linear"), &task, &[]), expected);
    task.data = DataFiles { train: Some("train.csv".into()), ..DataFiles::default() };
    let expected = "the baseline `linear` learns from train, and that table has no rows\nhint: name one with examples";
    assert_eq!(refused(row("linear"), &task, &[]), expected);
}

#[test]
fn a_task_of_another_kind_is_refused_with_what_would_do() {
    let examples = [example("text", json!("a"))];
    let expected = "the baseline `linear` is for classify, the task is of the kind summarize\n\
                    hint: leave it out, or take lead";
    assert_eq!(refused(row("linear"), &Task::new("test", Summarize::default()), &examples), expected);
}

#[test]
fn a_task_of_its_kind_that_a_rule_cannot_answer_is_refused_with_what_the_rule_does() {
    let expected = "the baseline `silent` says of every question that the text does not hold the answer, which does not fit \
                    this task\nhint: leave it out";
    assert_eq!(refused(row("silent"), &Task::new("quiz", Answer::freely()), &[]), expected);
    let examples = [example("text", json!("a"))];
    let error = refused(row("linear"), &Task::new("quiz", Answer::freely()), &examples);
    assert!(error.ends_with("\nhint: leave it out; there is none for it"), "{error}");
}

#[test]
fn names_are_told_apart_and_kinds_are_known() {
    let mut names: Vec<_> = BASELINES.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), BASELINES.len());
    let is_known = |kind: &&str| tasks::KINDS.iter().any(|known| known.name == *kind);
    assert!(BASELINES.iter().all(|row| !row.kinds.is_empty() && row.kinds.iter().all(is_known)));
}
