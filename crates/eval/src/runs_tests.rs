//! Runs as those see them who look on.

use super::*;
use crate::statistics::interval::Proportion;
use ledger::{Answer, AnswerKey, NewRun, RunRow};
use serde_json::{Value, json};

struct Scene {
    _folder: tempfile::TempDir,
    ledger: Ledger,
    run: Run,
}

/// A run of three candidates on so many rows.
fn scene(rows: u64, tries: u64) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
    let spec = json!({
        "task": "triage", "kind": "classify", "rows": rows, "tries": tries, "is_mean": true, "has_groups": false,
        "goal": {"metric": "accuracy", "level": 0.95},
        "candidates": [{"name": "one"}, {"name": "two"}, {"name": "three"}],
    });
    let new = |name: &str| NewRun {
        name: name.to_owned(),
        fingerprint: "f".to_owned(),
        test_sha256: "t".to_owned(),
        spec: spec.clone(),
    };
    let run = ledger.create_run(&new("triage-1")).unwrap();
    Scene { _folder: folder, ledger, run }
}

impl Scene {
    fn record(&self, position: u32, scores: &[(u64, u32, Option<f64>)]) {
        let row = |&(number, attempt, score): &(u64, u32, Option<f64>)| RunRow {
            position,
            number,
            key: AnswerKey { candidate: position.to_string(), input: number.to_string(), attempt },
            score,
            reason: score.is_none().then(|| "too long".to_owned()),
            expected: json!("a"),
            answer: score.map(|_| Answer {
                outcome: json!({"label": "a"}),
                warnings: Vec::new(),
                prompt: None,
                prompt_tokens: 0,
                cached_tokens: 0,
                completion_tokens: 0,
                seconds: 0.1,
                busy_seconds: 0.1,
                is_alone: true,
                dollars: None,
            }),
            grade: None,
        };
        self.ledger.record_rows(self.run.id, &scores.iter().map(row).collect::<Vec<_>>()).unwrap();
    }

    /// So many milliseconds after the first answer was recorded.
    fn progress(&self, later_ms: u64) -> Vec<Progress> {
        let first = self.ledger.run_scores(self.run.id).unwrap().iter().filter_map(|row| row.recorded_ms).min();
        progress(&self.ledger, &self.run, first.unwrap_or_default() + later_ms).unwrap()
    }
}

#[test]
fn a_run_is_running_stopped_or_ended() {
    let scene = scene(4, 1);
    let state = || in_a_line(&scene.ledger, &find(&scene.ledger, "triage-1").unwrap()).unwrap().state;
    assert_eq!(state(), State::Stopped);
    let held = scene.ledger.hold_run(&scene.run).unwrap();
    assert_eq!(state(), State::Running);
    drop(held);
    let found = json!({"verdict": {"verdict": "good_enough", "recommended": "two"}});
    scene.ledger.end_run(scene.run.id, &found).unwrap();
    let line = &listed(&scene.ledger).unwrap()[0];
    assert_eq!((line.state, line.verdict), (State::Ended, Some(Verdict::GoodEnough)));
    assert_eq!((line.recommended.as_deref(), line.rows, line.looks), (Some("two"), Some(4), 1));
    assert_eq!(line.candidates, ["one", "two", "three"]);
}

#[test]
fn a_candidate_is_told_with_its_turn_its_rate_and_its_interval() {
    let scene = scene(10, 1);
    let _held = scene.ledger.hold_run(&scene.run).unwrap();
    let all: Vec<_> = (1..=10).map(|number| (number, 0, Some(1.0))).collect();
    scene.record(0, &all);
    scene.record(1, &[(1, 0, Some(1.0)), (2, 0, Some(0.0)), (3, 0, Some(1.0)), (4, 0, None)]);
    let [one, two, three] = scene.progress(2000).try_into().unwrap();
    assert_eq!((one.turn, one.done, one.all, one.rows_per_second), (Turn::Done, 10, Some(10), None));
    assert_eq!((two.turn, two.done, two.failed), (Turn::Now, 4, 1));
    assert_eq!((three.turn, three.done, three.figure), (Turn::Waiting, 0, None));
    let expected = Proportion::new(2, 3).unwrap().mid_p(Level::USUAL);
    let figure = two.figure.unwrap();
    assert_eq!((figure.value, figure.low, figure.high), (2.0 / 3.0, expected.low, expected.high));
    // Three answers in some two seconds, and six rows are left.
    let (rate, left) = (two.rows_per_second.unwrap(), two.seconds_left.unwrap());
    assert!((1.0..3.0).contains(&rate) && (left - 6.0 / rate).abs() < 1e-9, "{rate} {left}");
    assert_eq!(scene.progress(500)[1].rows_per_second, None, "too early to tell");
    assert_eq!(scene.progress(60_000)[1].rows_per_second, None, "nothing came of late");
}

#[test]
fn a_candidate_that_ended_early_had_its_turn_and_a_stopped_run_has_no_rate() {
    let scene = scene(10, 1);
    scene.record(0, &[(1, 0, Some(1.0))]);
    scene.record(1, &[(1, 0, Some(1.0))]);
    let found = scene.progress(2000);
    assert_eq!((found[0].turn, found[1].turn), (Turn::Done, Turn::Now));
    assert_eq!(found[1].rows_per_second, None);
}

#[test]
fn the_tries_of_a_row_are_no_evidence_one_by_one() {
    let width = |scene: &Scene| {
        let figure = scene.progress(0)[0].figure.unwrap();
        figure.high - figure.low
    };
    let (once, often) = (scene(8, 1), scene(8, 4));
    let score = |number: u64| Some(if number.is_multiple_of(2) { 1.0 } else { 0.0 });
    once.record(0, &(1..=8).map(|number| (number, 0, score(number))).collect::<Vec<_>>());
    let tries = (1..=8).flat_map(|number| (0..4).map(move |attempt| (number, attempt, score(number))));
    often.record(0, &tries.collect::<Vec<_>>());
    assert_eq!(often.progress(0)[0].all, Some(32));
    assert!((width(&once) - width(&often)).abs() < 0.05, "{} {}", width(&once), width(&often));
}

#[test]
fn what_is_not_there_is_told() {
    let scene = scene(1, 1);
    let error = find(&scene.ledger, "triage-2").unwrap_err().to_string();
    assert_eq!(error, "there is no run \"triage-2\"\nhint: did you mean \"triage-1\"? `bantam eval list` shows them");
    let error = report(&scene.run).unwrap_err().to_string();
    assert_eq!(error, "run triage-1 has not ended\nhint: the command that began it goes on with it");
    let odd = Run { report: Some(json!({"version": Value::Null})), ..scene.run.clone() };
    assert!(report(&odd).unwrap_err().to_string().starts_with("the report of run triage-1 cannot be read: "));
}
