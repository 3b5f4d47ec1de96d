//! What the tests of batch jobs play with: a scripted work, a list as a source, a sink that remembers.

use super::*;
use crate::{Input, Outcome, Work};
use chat::ChatError;
use futures::future::BoxFuture;
use ledger::{JobId, Ledger, NewJob};
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What a row comes to, by its number and how often it was asked before.
type Script = Box<dyn Fn(u64, usize) -> Result<Outcome, TaskError> + Send + Sync>;

/// A work that answers by a script.
pub(super) struct ScriptedWork {
    script: Script,
    pub concurrency: usize,
    /// So many times a row is polled before it answers, by its number.
    pub polls: fn(u64) -> usize,
    /// How often each row was asked.
    pub asked: Mutex<BTreeMap<u64, usize>>,
    under_way: AtomicUsize,
    pub most_under_way: AtomicUsize,
}

impl ScriptedWork {
    pub fn new(script: impl Fn(u64, usize) -> Result<Outcome, TaskError> + Send + Sync + 'static) -> ScriptedWork {
        ScriptedWork {
            script: Box::new(script),
            concurrency: 4,
            polls: |number| (number % 5) as usize,
            asked: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }
    }

    pub fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().keys().copied().collect()
    }
}

impl Work for ScriptedWork {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        let number = input.fields["number"].as_u64().unwrap();
        Box::pin(async move {
            let count = {
                let mut asked = self.asked.lock().unwrap();
                let count = asked.entry(number).or_default();
                *count += 1;
                *count - 1
            };
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            let _left = Left(&self.under_way);
            self.most_under_way.fetch_max(now, Ordering::SeqCst);
            for _ in 0..(self.polls)(number) {
                yield_once().await;
            }
            (self.script)(number, count)
        })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

struct Left<'a>(&'a AtomicUsize);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn yield_once() {
    let mut is_second = false;
    std::future::poll_fn(|context| {
        if is_second {
            return std::task::Poll::Ready(());
        }
        is_second = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// What a row comes to where all goes well.
pub(super) fn answer(number: u64) -> Outcome {
    Outcome {
        fields: Map::from_iter([("square".to_owned(), json!(number * number))]),
        warnings: if number.is_multiple_of(7) { vec![format!("{number} is odd in a way")] } else { Vec::new() },
        prompt_tokens: 10,
        cached_tokens: 3,
        completion_tokens: 2,
    }
}

pub(super) fn overloaded() -> TaskError {
    TaskError::Model(ChatError::Overloaded("too many at once".to_owned()))
}

pub(super) fn unavailable() -> TaskError {
    TaskError::Model(ChatError::Unavailable("no route to the host".to_owned()))
}

/// Rows of a list.
#[derive(Clone)]
pub(super) struct ListSource {
    pub rows: Vec<SourceRow>,
    pub sha256: Option<String>,
}

pub(super) fn source(count: u64) -> ListSource {
    let row = |number: u64| {
        let fields = Map::from_iter([("number".to_owned(), Value::from(number))]);
        SourceRow {
            name: format!("line {number}"),
            input: Ok(Input { fields, pages: Vec::new() }),
            warnings: Vec::new(),
        }
    };
    ListSource { rows: (1..=count).map(row).collect(), sha256: Some("aa".repeat(32)) }
}

impl Source for ListSource {
    fn rows(&self) -> Result<Rows, TaskError> {
        Ok(Box::new(self.rows.clone().into_iter().map(Ok)))
    }

    fn sha256(&self) -> Result<Option<String>, TaskError> {
        Ok(self.sha256.clone())
    }
}

/// Remembers what was finished.
pub(super) struct MemorySink {
    rows: Vec<OutputRow>,
    pub wants_inputs: bool,
    /// The row that cannot be written.
    pub refuses: Option<u64>,
    finished: Arc<Mutex<Vec<OutputRow>>>,
}

impl Sink for MemorySink {
    fn wants_inputs(&self) -> bool {
        self.wants_inputs
    }

    fn write(&mut self, row: OutputRow) -> Result<(), TaskError> {
        if self.refuses == Some(row.number) {
            return Err(TaskError::Storage("out.jsonl: the disk is full".to_owned()));
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TaskError> {
        *self.finished.lock().unwrap() = std::mem::take(&mut self.rows);
        Ok(())
    }
}

/// Writes down what it is told.
#[derive(Default)]
pub(super) struct Notes {
    pub progress: Mutex<Vec<Progress>>,
    pub said: Mutex<Vec<String>>,
}

impl Watch for Notes {
    fn progress(&self, progress: &Progress) {
        self.progress.lock().unwrap().push(*progress);
    }

    fn row_failed(&self, number: u64, name: &str, reason: &str) {
        self.said.lock().unwrap().push(format!("{number} ({name}) failed: {reason}"));
    }

    fn row_waits(&self, number: u64, name: &str, reason: &str, delay: Duration) {
        self.said.lock().unwrap().push(format!("{number} ({name}) waits {delay:?}: {reason}"));
    }
}

/// A ledger with one job.
pub(super) struct Scene {
    _folder: TempDir,
    pub path: PathBuf,
    pub ledger: Arc<Ledger>,
    pub job: JobId,
    pub interrupt: Arc<AtomicBool>,
    pub notes: Arc<Notes>,
    finished: Arc<Mutex<Vec<OutputRow>>>,
}

pub(super) fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Arc::new(Ledger::open(&path).unwrap());
    let new = NewJob {
        kind: "batch".to_owned(),
        title: "square numbers.csv".to_owned(),
        spec: json!({}),
        fingerprint: fingerprint(&["square"]),
        input_sha256: Some("aa".repeat(32)),
    };
    let job = ledger.create(&new).unwrap().id;
    let (interrupt, notes, finished) = Default::default();
    Scene { _folder: folder, path, ledger, job, interrupt, notes, finished }
}

impl Scene {
    pub fn sink(&self) -> MemorySink {
        MemorySink { rows: Vec::new(), wants_inputs: false, refuses: None, finished: Arc::clone(&self.finished) }
    }

    pub fn batch(&self, work: &Arc<ScriptedWork>, source: ListSource) -> Batch {
        Batch {
            work: Arc::clone(work) as Arc<dyn Work>,
            source: Arc::new(source),
            sink: Box::new(self.sink()),
            watch: Arc::clone(&self.notes) as Arc<dyn Watch>,
            interrupt: Arc::clone(&self.interrupt),
            retries: Retries { times: 2, first_delay: Duration::from_millis(1) },
            retry_failed: false,
        }
    }

    pub fn run(&self, batch: Batch) -> Result<Summary, TaskError> {
        futures::executor::block_on(run(&self.ledger, self.job, batch))
    }

    /// What the last output was.
    pub fn output(&self) -> Vec<OutputRow> {
        self.finished.lock().unwrap().clone()
    }

    /// Makes the ledger fail from outside.
    pub fn sql(&self, sql: &str) {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

/// What stays the same from run to run.
pub(super) type Lasting = (u64, String, Result<Outcome, String>);

pub(super) fn lasting(rows: Vec<OutputRow>) -> Vec<Lasting> {
    rows.into_iter().map(|row| (row.number, row.name, row.result)).collect()
}
