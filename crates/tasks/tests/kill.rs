//! A batch job whose process is killed, for good and without a word, at ten seeded moments.
//!
//! The process is this test binary once more: it runs the one test that works through the job of a folder.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use futures::future::BoxFuture;
use ledger::{Job, JobState, Ledger, LedgerError, NewJob};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tasks::batch::{Batch, OutputRow, Retries, Rows, Sink, Source, SourceRow, file_sha256, fingerprint, run};
use tasks::{Input, Outcome, TaskError, Work};

const ROWS: u64 = 2000;
const KILLS: u64 = 10;
/// Of the rows that a process asks before it is killed: together less than there are.
const MOST_ASKED: u64 = 180;
/// Names the folder of the job to a process.
const FOLDER: &str = "BANTAM_TEST_KILL_FOLDER";

/// Squares numbers, slowly, and notes down each before it begins.
struct Squares {
    asked: File,
}

impl Work for Squares {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let number: u64 = input.fields["text"].as_str().unwrap().parse().unwrap();
            (&self.asked).write_all(format!("{number}\n").as_bytes()).unwrap();
            std::thread::sleep(Duration::from_micros(300));
            if number.is_multiple_of(11) {
                return Err(TaskError::Output(format!("{number} is a multiple of eleven")));
            }
            let fields = Map::from_iter([("square".to_owned(), json!(number * number))]);
            Ok(Outcome { fields, prompt_tokens: 3, ..Outcome::default() })
        })
    }

    fn concurrency(&self) -> usize {
        8
    }
}

/// The lines of a file.
struct Lines(PathBuf);

impl Source for Lines {
    fn rows(&self) -> Result<Rows, TaskError> {
        let text = std::fs::read_to_string(&self.0).map_err(|error| TaskError::Data(error.to_string()))?;
        let rows: Vec<_> = text
            .lines()
            .map(|line| SourceRow { name: line.to_owned(), input: Ok(Input::text(line)), warnings: Vec::new() })
            .collect();
        Ok(Box::new(rows.into_iter().map(Ok)))
    }

    fn sha256(&self) -> Result<Option<String>, TaskError> {
        file_sha256(&self.0).map(Some)
    }
}

/// A file that is there at once or not at all.
struct WholeFile {
    path: PathBuf,
    text: String,
}

impl Sink for WholeFile {
    fn write(&mut self, row: OutputRow) -> Result<(), TaskError> {
        let result = row.result.map_or_else(|reason| reason, |outcome| Value::Object(outcome.fields).to_string());
        self.text.push_str(&format!("{} {} {result}\n", row.number, row.name));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TaskError> {
        let partial = self.path.with_extension("partial");
        let written = std::fs::write(&partial, &self.text).and_then(|()| std::fs::rename(&partial, &self.path));
        written.map_err(|error| TaskError::Storage(error.to_string()))
    }
}

fn open(folder: &Path) -> (Arc<Ledger>, Job) {
    let ledger = Arc::new(Ledger::open(&folder.join("ledger.db")).unwrap());
    let job = ledger.find(&fingerprint(&["squares"])).unwrap().unwrap_or_else(|| {
        let new = NewJob {
            kind: "batch".to_owned(),
            title: "square numbers.txt".to_owned(),
            spec: json!({}),
            fingerprint: fingerprint(&["squares"]),
            input_sha256: Some(file_sha256(&folder.join("numbers.txt")).unwrap()),
        };
        ledger.create(&new).unwrap()
    });
    (ledger, job)
}

fn make_input(folder: &Path) {
    let text: String = (1..=ROWS).map(|number| format!("{number}\n")).collect();
    std::fs::write(folder.join("numbers.txt"), text).unwrap();
}

fn expected() -> String {
    let line = |number: u64| match number.is_multiple_of(11) {
        true => format!("{number} {number} {number} is a multiple of eleven\n"),
        false => format!("{number} {number} {{\"square\":{}}}\n", number * number),
    };
    (1..=ROWS).map(line).collect()
}

/// Runs alone, undisturbed, in a folder of its own; started by the other test, on the job of that one's folder.
#[test]
fn a_process_works_through_its_job() {
    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(FOLDER).map_or_else(|| own.path().to_owned(), PathBuf::from);
    if folder == own.path() {
        make_input(&folder);
    }
    let (ledger, job) = open(&folder);
    let asked = OpenOptions::new().create(true).append(true).open(folder.join("asked.txt")).unwrap();
    let batch = Batch {
        work: Arc::new(Squares { asked }),
        source: Arc::new(Lines(folder.join("numbers.txt"))),
        sink: Box::new(WholeFile { path: folder.join("squares.txt"), text: String::new() }),
        watch: Arc::new(()),
        interrupt: Arc::new(AtomicBool::new(false)),
        retries: Retries::default(),
        retry_failed: false,
    };
    futures::executor::block_on(run(&ledger, job.id, batch)).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("squares.txt")).unwrap(), expected());
}

/// Starts the process, with its notes emptied.
fn start(folder: &Path) -> Child {
    std::fs::write(folder.join("asked.txt"), "").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_works_through_its_job"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn asked(folder: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(folder.join("asked.txt")).unwrap();
    // The last line may be half written.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "the process does not get on");
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn settled(ledger: &Ledger, job: &Job) -> BTreeSet<u64> {
    ledger.settled(job.id, 0, 10_000).unwrap().into_iter().collect()
}

/// Numbers that look random (xorshift), the same each time.
fn next(state: &mut u64, bound: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % bound
}

fn kill(mut process: Child) {
    process.kill().unwrap();
    assert!(!process.wait().unwrap().success(), "it ended before it was killed");
}

#[test]
fn a_job_killed_ten_times_comes_to_the_result_of_one_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make_input(folder);
    let (ledger, job) = open(folder);
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for round in 0..KILLS {
        let before = settled(&ledger, &job);
        let process = start(folder);
        let count = 1 + next(&mut state, MOST_ASKED) as usize;
        wait_until(|| asked(folder).len() >= count);
        if round == KILLS / 2 {
            let Err(LedgerError::Owned { owner, .. }) = ledger.claim(job.id) else { panic!("a process works on it") };
            assert_eq!(owner.process, process.id());
        }
        kill(process);
        assert!(!ledger.is_worked_on(job.id).unwrap(), "a job whose process is gone is free");
        assert_eq!(ledger.job(job.id).unwrap().state, JobState::Running);
        let again: Vec<u64> = asked(folder).into_iter().filter(|number| before.contains(number)).collect();
        assert_eq!(again, [0_u64; 0], "round {round}: rows that were recorded were done again");
        assert!(settled(&ledger, &job).is_superset(&before), "round {round}: recorded rows were lost");
    }
    let before = settled(&ledger, &job);
    assert!(before.len() > 100, "only {} rows were recorded before the last run", before.len());
    assert!(!folder.join("squares.txt").exists());
    assert!(start(folder).wait().unwrap().success());
    assert_eq!(asked(folder).len() as u64, ROWS - before.len() as u64);
    assert_eq!(std::fs::read_to_string(folder.join("squares.txt")).unwrap(), expected());
    let job = ledger.job(job.id).unwrap();
    let failed = ROWS / 11;
    assert_eq!((job.state, job.done, job.failed), (JobState::Done, ROWS - failed, failed));
    assert_eq!(job.effort.prompt_tokens, 3 * (ROWS - failed), "each row counts once");
}

#[test]
fn a_job_killed_about_its_end_comes_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make_input(folder);
    let (ledger, job) = open(folder);
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..8 {
        let left = ROWS as usize - settled(&ledger, &job).len();
        let mut process = start(folder);
        // All is asked; what follows is the last group, the output and the mark.
        wait_until(|| {
            asked(folder).len() >= left && ledger.is_worked_on(job.id).unwrap() || process.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_micros(next(&mut state, 12_000)));
        process.kill().unwrap();
        process.wait().unwrap();
        if let Ok(text) = std::fs::read_to_string(folder.join("squares.txt")) {
            assert_eq!(text, expected(), "an output that is there is whole");
        }
    }
    assert!(start(folder).wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(folder.join("squares.txt")).unwrap(), expected());
    let job = ledger.job(job.id).unwrap();
    assert_eq!((job.state, job.done + job.failed), (JobState::Done, ROWS));
}
