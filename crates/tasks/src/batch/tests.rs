//! What a run promises, one promise a test; that it survives everything at once is in `simulation.rs`.

use super::scenes::*;
use super::*;
use crate::Input;
use ledger::{Cancellation, JobState};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn all_well() -> Arc<ScriptedWork> {
    Arc::new(ScriptedWork::new(|number, _| Ok(answer(number))))
}

/// One row comes to an error, all others to an answer.
fn except(bad: u64, error: fn() -> TaskError) -> Arc<ScriptedWork> {
    Arc::new(ScriptedWork::new(move |number, _| if number == bad { Err(error()) } else { Ok(answer(number)) }))
}

fn bad_output() -> TaskError {
    TaskError::Output("no JSON came".to_owned())
}

#[test]
fn rows_are_done_side_by_side_and_written_in_order() {
    let scene = scene();
    let work = all_well();
    let summary = scene.run(scene.batch(&work, source(300))).unwrap();
    assert_eq!(summary.ending, Ending::Done);
    let progress = summary.progress;
    assert_eq!((progress.done, progress.failed, progress.total, progress.settled_now), (300, 0, Some(300), 300));
    assert_eq!((progress.prompt_tokens, progress.cached_tokens, progress.completion_tokens), (3000, 900, 600));
    let expected: Vec<Lasting> =
        (1..=300).map(|number| (number, format!("line {number}"), Ok(answer(number)))).collect();
    assert_eq!(lasting(scene.output()), expected);
    assert_eq!(work.most_under_way.load(Ordering::SeqCst), 4);
    let job = scene.ledger.job(scene.job).unwrap();
    assert_eq!((job.state, job.total, job.done), (JobState::Done, Some(300), 300));
    assert_eq!(scene.notes.progress.lock().unwrap().last().unwrap().done, 300);
    assert!(!scene.ledger.is_worked_on(scene.job).unwrap());
}

#[test]
fn a_job_without_rows_is_done_and_has_an_output() {
    let scene = scene();
    let summary = scene.run(scene.batch(&all_well(), source(0))).unwrap();
    assert_eq!((summary.ending, summary.progress.total), (Ending::Done, Some(0)));
    assert_eq!(scene.output(), []);
}

#[test]
fn a_row_that_fails_fails_alone_and_is_tried_again_when_asked() {
    let scene = scene();
    let summary = scene.run(scene.batch(&except(3, bad_output), source(5))).unwrap();
    assert_eq!((summary.ending, summary.progress.done, summary.progress.failed), (Ending::Done, 4, 1));
    assert_eq!(scene.output()[2].result, Err("no JSON came".to_owned()));
    assert_eq!(*scene.notes.said.lock().unwrap(), ["3 (line 3) failed: no JSON came"]);

    let work = all_well();
    scene.run(scene.batch(&work, source(5))).unwrap();
    assert_eq!(work.asked(), [0_u64; 0], "a failed row is settled");
    let summary = scene.run(Batch { retry_failed: true, ..scene.batch(&work, source(5)) }).unwrap();
    assert_eq!((work.asked(), summary.progress.done, summary.progress.failed), (vec![3], 5, 0));
    assert_eq!((scene.output()[2].result.clone(), scene.output()[2].attempts), (Ok(answer(3)), 2));
}

#[test]
fn a_row_that_cannot_be_read_fails_without_being_asked() {
    let scene = scene();
    let mut source = source(3);
    source.rows[1].input = Err(TaskError::Data("line 2: expected 3 columns, got 2".to_owned()));
    let work = all_well();
    scene.run(scene.batch(&work, source)).unwrap();
    assert_eq!(work.asked(), [1, 3]);
    let row = &scene.output()[1];
    assert_eq!((row.attempts, row.result.clone()), (0, Err("line 2: expected 3 columns, got 2".to_owned())));
}

#[test]
fn a_panic_in_the_work_is_the_failure_of_its_row() {
    let scene = scene();
    let work = Arc::new(ScriptedWork::new(|number, _| {
        assert_ne!(number, 2, "a fault");
        Ok(answer(number))
    }));
    scene.run(scene.batch(&work, source(3))).unwrap();
    assert_eq!(scene.output()[1].result, Err("internal error: the work on a row panicked".to_owned()));
    assert_eq!(scene.output()[2].result, Ok(answer(3)));
}

#[test]
fn an_outcome_that_could_not_be_read_back_fails_its_row() {
    let scene = scene();
    let work = Arc::new(ScriptedWork::new(|number, _| {
        let mut outcome = answer(number);
        if number == 2 {
            let deep = (0..126).fold(json!(1), |value, _| json!([value]));
            outcome.fields.insert("deep".to_owned(), deep);
        }
        Ok(outcome)
    }));
    scene.run(scene.batch(&work, source(3))).unwrap();
    assert_eq!(scene.output()[1].result, Err("expected JSON at most 100 levels deep, got deeper".to_owned()));
    assert_eq!(scene.output()[2].result, Ok(answer(3)));
}

#[test]
fn a_fatal_error_stops_the_job_and_leaves_the_rest_to_be_done() {
    let scene = scene();
    let fatal = || TaskError::Storage("model.gguf: cannot be read".to_owned());
    let error = scene.run(scene.batch(&except(50, fatal), source(200))).unwrap_err();
    assert_eq!(error.to_string(), "model.gguf: cannot be read");
    let job = scene.ledger.job(scene.job).unwrap();
    assert_eq!((job.state, job.reason.as_deref()), (JobState::Failed, Some("model.gguf: cannot be read")));
    assert!(job.done >= 40 && job.done < 60, "{} rows were done before and are kept", job.done);
    assert_eq!(scene.output(), []);

    let work = all_well();
    scene.run(scene.batch(&work, source(200))).unwrap();
    assert_eq!(work.asked().len() as u64, 200 - job.done);
    assert_eq!(scene.output().len(), 200);
    assert_eq!(scene.ledger.job(scene.job).unwrap().reason, None);
}

#[test]
fn a_row_that_comes_at_a_bad_time_is_tried_again_after_a_while() {
    let scene = scene();
    let work = Arc::new(ScriptedWork::new(|number, before| match (number, before) {
        (2, 0) => Err(overloaded()),
        (2, 1) => Err(unavailable()),
        _ => Ok(answer(number)),
    }));
    scene.run(scene.batch(&work, source(3))).unwrap();
    let row = &scene.output()[1];
    assert_eq!((row.attempts, row.result.clone()), (3, Ok(answer(2))));
    let said = ["2 (line 2) waits 1ms: too many at once", "2 (line 2) waits 2ms: no route to the host"];
    assert_eq!(*scene.notes.said.lock().unwrap(), said);
}

#[test]
fn what_stays_overloaded_fails_its_row_and_what_stays_unavailable_stops_the_job() {
    let first = scene();
    let work = except(2, overloaded);
    let summary = first.run(first.batch(&work, source(5))).unwrap();
    assert_eq!((summary.progress.failed, work.asked.lock().unwrap()[&2]), (1, 3));

    let second = scene();
    let work = except(2, unavailable);
    let error = second.run(second.batch(&work, source(5))).unwrap_err();
    assert_eq!((error.to_string().as_str(), work.asked.lock().unwrap()[&2]), ("no route to the host", 3));
    assert_eq!(second.ledger.job(second.job).unwrap().failed, 0, "the row is to be done again");
}

#[test]
fn a_changed_input_is_refused_before_anything_is_asked() {
    let scene = scene();
    let work = all_well();
    let changed = ListSource { sha256: Some("bb".repeat(32)), ..source(3) };
    let error = scene.run(scene.batch(&work, changed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "job {} (square numbers.csv): the input changed since the job began: expected SHA-256 {}, got SHA-256 {}\n\
             hint: put the old input back, or start a new job for this one",
            scene.job,
            "aa".repeat(32),
            "bb".repeat(32)
        )
    );
    assert_eq!(work.asked(), [0_u64; 0]);
    assert_eq!(scene.ledger.job(scene.job).unwrap().state, JobState::Queued);
}

#[test]
fn an_input_that_lost_rows_is_refused() {
    let scene = scene();
    scene.run(scene.batch(&all_well(), source(5))).unwrap();
    let error = scene.run(scene.batch(&all_well(), source(3))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "job {}: the input ends before row 5, but the ledger has that row or a later one\n\
             hint: the input changed since the job began; put the old one back, or start a new job",
            scene.job
        )
    );
    assert_eq!(scene.output().len(), 5, "the output that was written stays");
}

#[test]
fn a_job_that_is_worked_on_is_refused_to_a_second() {
    let scene = scene();
    let _claim = scene.ledger.claim(scene.job).unwrap();
    let work = all_well();
    let error = scene.run(scene.batch(&work, source(3))).unwrap_err().to_string();
    let expected = format!("is being worked on by process {} on ", std::process::id());
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains(&format!("`bantam jobs cancel {}`", scene.job)), "{error}");
    assert_eq!(work.asked(), [0_u64; 0]);
}

#[test]
fn an_interrupted_job_is_queued_and_goes_on_where_it_was() {
    let scene = scene();
    let interrupt = Arc::clone(&scene.interrupt);
    let work = Arc::new(ScriptedWork::new(move |number, _| {
        interrupt.store(number >= 20, Ordering::SeqCst);
        Ok(answer(number))
    }));
    let summary = scene.run(scene.batch(&work, source(100))).unwrap();
    assert_eq!(summary.ending, Ending::Interrupted);
    let job = scene.ledger.job(scene.job).unwrap();
    assert_eq!((job.state, job.done), (JobState::Queued, summary.progress.done));
    assert!(job.done >= 16 && job.done < 30, "{}", job.done);

    scene.interrupt.store(false, Ordering::SeqCst);
    let work = all_well();
    scene.run(scene.batch(&work, source(100))).unwrap();
    assert_eq!(work.asked().len() as u64, 100 - job.done);
    assert_eq!(scene.output().len(), 100);
}

#[test]
fn another_process_cancels_a_job_by_the_ledger() {
    let scene = scene();
    let other = ledger::Ledger::open(&scene.path).unwrap();
    let job = scene.job;
    let work = Arc::new(ScriptedWork::new(move |number, before| {
        if number == 1 {
            assert!(matches!(other.cancel(job), Ok(Cancellation::Requested(_))));
        }
        // All others find no room until the request is seen.
        if before < 1000 { Err(overloaded()) } else { Ok(answer(number)) }
    }));
    let retries = Retries { times: 1000, first_delay: Duration::from_millis(100) };
    let summary = scene.run(Batch { retries, ..scene.batch(&work, source(100)) }).unwrap();
    assert_eq!(summary.ending, Ending::Cancelled);
    assert_eq!(scene.ledger.job(job).unwrap().state, JobState::Cancelled);
    assert_eq!(scene.run(scene.batch(&all_well(), source(100))).unwrap().ending, Ending::Done);
}

#[test]
fn an_output_that_cannot_be_written_is_written_by_the_next_run() {
    let scene = scene();
    let mut sink = scene.sink();
    sink.refuses = Some(2);
    let batch = Batch { sink: Box::new(sink), ..scene.batch(&all_well(), source(3)) };
    assert_eq!(scene.run(batch).unwrap_err().to_string(), "out.jsonl: the disk is full");
    assert_eq!(scene.output(), []);
    assert_eq!(scene.ledger.job(scene.job).unwrap().state, JobState::Failed);
    let work = all_well();
    scene.run(scene.batch(&work, source(3))).unwrap();
    assert_eq!((work.asked().len(), scene.output().len()), (0, 3));
}

#[test]
fn a_job_whose_output_is_written_but_that_is_not_marked_goes_on_to_the_same_output() {
    let scene = scene();
    scene.sql(
        "CREATE TRIGGER last_mark BEFORE UPDATE OF state ON jobs WHEN NEW.state = 'done' \
         BEGIN SELECT RAISE(ABORT, 'the power went'); END",
    );
    let error = scene.run(scene.batch(&all_well(), source(9))).unwrap_err();
    assert!(error.to_string().ends_with("ledger.db: the power went"), "{error}");
    let first = scene.output();
    assert_eq!((first.len(), scene.ledger.job(scene.job).unwrap().state), (9, JobState::Running));
    scene.sql("DROP TRIGGER last_mark");
    let work = all_well();
    scene.run(scene.batch(&work, source(9))).unwrap();
    assert_eq!((work.asked().len(), scene.output()), (0, first));
    assert_eq!(scene.ledger.job(scene.job).unwrap().state, JobState::Done);
}

#[test]
fn a_ledger_that_fails_stops_the_job_with_its_text() {
    let scene = scene();
    scene.sql(
        "CREATE TRIGGER lost BEFORE INSERT ON job_rows WHEN NEW.number = 70 \
         BEGIN SELECT RAISE(ABORT, 'the disk went'); END",
    );
    let error = scene.run(scene.batch(&all_well(), source(100_000))).unwrap_err();
    assert!(error.to_string().ends_with("ledger.db: the disk went"), "{error}");
    let job = scene.ledger.job(scene.job).unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert!(job.done < 70, "{}", job.done);
}

#[test]
fn a_sink_that_wants_inputs_gets_them_beside_their_outcomes() {
    let scene = scene();
    let mut source = source(3);
    source.rows[1].input = Err(TaskError::Data("no row".to_owned()));
    let mut sink = scene.sink();
    sink.wants_inputs = true;
    scene.run(Batch { sink: Box::new(sink), ..scene.batch(&all_well(), source.clone()) }).unwrap();
    let inputs: Vec<Option<Input>> = scene.output().into_iter().map(|row| row.input).collect();
    let expected: Vec<Option<Input>> = source.rows.into_iter().map(|row| row.input.ok()).collect();
    assert_eq!(inputs, expected);
}

#[test]
fn a_row_that_vanished_from_the_ledger_is_told_before_an_output_is_written() {
    let scene = scene();
    let path = scene.path.clone();
    // Once row 9 is asked, row 4 was recorded by an earlier run, and is taken away.
    scene.run(scene.batch(&except(9, unavailable), source(9))).unwrap_err();
    let work = Arc::new(ScriptedWork::new(move |number, _| {
        rusqlite::Connection::open(&path).unwrap().execute_batch("DELETE FROM job_rows WHERE number = 4").unwrap();
        Ok(answer(number))
    }));
    let error = scene.run(scene.batch(&work, source(9))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "job {}: expected an outcome of row 4 in the ledger, got none\n\
             hint: somebody changed the ledger while the job ran; go on with the job, and the row is done again",
            scene.job
        )
    );
    scene.run(scene.batch(&all_well(), source(9))).unwrap();
    assert_eq!(scene.output().len(), 9);
}

#[test]
fn a_cancellation_between_claim_and_run_is_heard_before_any_row() {
    let scene = scene();
    let work = all_well();
    let claim = scene.ledger.claim(scene.job).unwrap();
    scene.ledger.cancel(scene.job).unwrap();
    let summary = futures::executor::block_on(run_claimed(claim, scene.batch(&work, source(3)))).unwrap();
    assert_eq!(summary.ending, Ending::Cancelled);
    assert_eq!(work.asked(), [0_u64; 0]);
    assert_eq!(scene.ledger.job(scene.job).unwrap().state, JobState::Cancelled);
    // What is claimed and not cancelled is done.
    let claim = scene.ledger.claim(scene.job).unwrap();
    let summary = futures::executor::block_on(run_claimed(claim, scene.batch(&work, source(3)))).unwrap();
    assert_eq!((summary.ending, summary.progress.done), (Ending::Done, 3));
}
