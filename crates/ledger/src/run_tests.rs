//! Runs and answers in a file of their own.

use super::*;
use serde_json::json;

fn ledger() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
    (folder, ledger)
}

fn new(name: &str) -> NewRun {
    NewRun {
        name: name.to_owned(),
        fingerprint: "f".to_owned(),
        test_sha256: "t".to_owned(),
        spec: json!({"task": "triage"}),
    }
}

fn answer(label: &str) -> Answer {
    Answer {
        outcome: json!({"label": label}),
        warnings: vec!["split".to_owned()],
        prompt: Some("Which?".to_owned()),
        prompt_tokens: 7,
        cached_tokens: 3,
        completion_tokens: 1,
        seconds: 0.25,
        busy_seconds: 0.125,
        is_alone: true,
        dollars: Some(0.001),
    }
}

fn row(position: u32, number: u64, answer: Option<Answer>) -> RunRow {
    let key = AnswerKey { candidate: format!("c{position}"), input: format!("i{number}"), attempt: 0 };
    let (score, reason) = match &answer {
        Some(_) => (Some(1.0), None),
        None => (None, Some("too long".to_owned())),
    };
    RunRow { position, number, key, score, reason, expected: json!("a"), answer, grade: None }
}

#[test]
fn rows_come_back_as_they_were_recorded_and_in_order() {
    let (_folder, ledger) = ledger();
    let run = ledger.create_run(&new("monday")).unwrap();
    let rows = [row(1, 1, Some(answer("a"))), row(0, 2, None), row(0, 1, Some(answer("b")))];
    ledger.record_rows(run.id, &rows).unwrap();
    let [second, failed, first] = rows;
    assert_eq!(ledger.run_rows(run.id).unwrap(), [first, failed, second]);
}

#[test]
fn an_answer_is_found_by_every_run_and_a_failure_by_none() {
    let (_folder, ledger) = ledger();
    let run = ledger.create_run(&new("monday")).unwrap();
    ledger.record_rows(run.id, &[row(0, 1, Some(answer("a"))), row(0, 2, None)]).unwrap();
    let known = ledger.answers("c0").unwrap();
    assert_eq!(known, [(row(0, 1, None).key, answer("a"))]);
    assert_eq!(ledger.answers("c1").unwrap(), []);
    // What is recorded again takes the place of what was: a row that failed may have its answer now.
    ledger.record_rows(run.id, &[row(0, 2, Some(answer("b")))]).unwrap();
    assert_eq!(ledger.answers("c0").unwrap().len(), 2);
    assert_eq!(ledger.run_rows(run.id).unwrap()[1], row(0, 2, Some(answer("b"))));
}

#[test]
fn a_grade_is_found_by_its_key_as_long_as_a_run_has_it() {
    let (_folder, ledger) = ledger();
    let run = ledger.create_run(&new("monday")).unwrap();
    let grade = RowGrade { key: "g".to_owned(), grade: json!({"score": 0.5}) };
    let graded = RunRow { grade: Some(grade), ..row(0, 1, Some(answer("a"))) };
    ledger.record_rows(run.id, std::slice::from_ref(&graded)).unwrap();
    assert_eq!(ledger.run_rows(run.id).unwrap(), [graded]);
    let grade = |key: &str, only_of| ledger.grade(key, only_of).unwrap();
    assert_eq!((grade("g", None), grade("h", None)), (Some(json!({"score": 0.5})), None));
    let other = ledger.create_run(&new("tuesday")).unwrap();
    assert_eq!((grade("g", Some(run.id)), grade("g", Some(other.id))), (Some(json!({"score": 0.5})), None));
    // A row that is recorded once more without its grade keeps it.
    ledger.record_rows(run.id, &[row(0, 1, None)]).unwrap();
    assert_eq!(grade("g", None), Some(json!({"score": 0.5})));
    ledger.remove_run(&run).unwrap();
    assert_eq!(grade("g", None), None);
}

#[test]
fn a_run_that_has_not_ended_is_gone_on_with_and_one_that_has_is_not() {
    let (_folder, ledger) = ledger();
    assert_eq!(ledger.unfinished_run("f").unwrap(), None);
    let run = ledger.create_run(&new("monday")).unwrap();
    assert_eq!(ledger.unfinished_run("f").unwrap(), Some(run.clone()));
    assert_eq!(ledger.unfinished_run("g").unwrap(), None);
    ledger.end_run(run.id, &json!({"verdict": "good enough"})).unwrap();
    assert_eq!(ledger.unfinished_run("f").unwrap(), None);
    let ended = ledger.run("monday").unwrap().unwrap();
    assert!(ended.ended_ms.is_some_and(|ended_ms| ended_ms >= ended.created_ms));
    assert_eq!(ended.report, Some(json!({"verdict": "good enough"})));
}

#[test]
fn names_are_given_once_and_looks_at_a_test_are_counted() {
    let (_folder, ledger) = ledger();
    ledger.create_run(&new("monday")).unwrap();
    let error = ledger.create_run(&new("monday")).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is a run \"monday\" already\nhint: give this one another name; `bantam eval list` shows them"
    );
    ledger.create_run(&new("tuesday")).unwrap();
    let names: Vec<_> = ledger.runs().unwrap().into_iter().map(|run| run.new.name).collect();
    assert_eq!(names, ["tuesday", "monday"]);
    let looks = |test: &str, inputs: &[&str]| ledger.looks_at(test, inputs).unwrap();
    assert_eq!((looks("t", &["none"]), looks("u", &["none"])), (2, 0));
    // Another test that has half of its rows, or more, in common with what a run has seen.
    let run = ledger.run("monday").unwrap().unwrap();
    let rows = [row(0, 1, None), row(0, 2, None), row(1, 1, None)];
    ledger.record_rows(run.id, &rows).unwrap();
    let (one, two) = (rows[0].key.input.as_str(), rows[1].key.input.as_str());
    assert_eq!((looks("u", &[one, two, "x", "y"]), looks("u", &[one, "x", "y"])), (1, 0));
    assert_eq!(looks("t", &[one, two]), 2, "nobody is counted twice");
}

#[test]
fn a_run_that_is_removed_takes_the_answers_along_that_no_other_has() {
    let (folder, ledger) = ledger();
    let (monday, tuesday) = (ledger.create_run(&new("monday")).unwrap(), ledger.create_run(&new("tuesday")).unwrap());
    let mut secret = answer("only on monday");
    secret.prompt = Some("a private text".to_owned());
    ledger.record_rows(monday.id, &[row(0, 1, Some(answer("a"))), row(1, 1, Some(secret))]).unwrap();
    ledger.record_rows(tuesday.id, &[row(0, 1, Some(answer("a")))]).unwrap();
    let held = ledger.hold_run(&monday).unwrap();
    let error = ledger.remove_run(&monday).unwrap_err().to_string();
    assert!(error.starts_with("run \"monday\" is being added to by another process\nhint: "), "{error}");
    drop(held);
    ledger.remove_run(&monday).unwrap();
    assert_eq!((ledger.answers("c0").unwrap().len(), ledger.answers("c1").unwrap().len()), (1, 0));
    assert_eq!(ledger.run("monday").unwrap(), None);
    let file = std::fs::read(folder.path().join("ledger.sqlite")).unwrap();
    assert!(!file.windows(14).any(|bytes| bytes == b"a private text"), "what was removed is overwritten");
}
