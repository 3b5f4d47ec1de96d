//! What becomes of batches: each is validated, done line by line, and written, by whichever server runs on its folder.
//!
//! ```text
//! validating -> in_progress -> finalizing -> completed        validating -> failed        (cancelling -> cancelled)
//! ```
//!
//! The status stands in the record and what came of lines in the ledger, so that a batch goes on where it was when the
//! process ended, however that ended. Whoever has the lock of a batch works on it; other servers on the same
//! folder look again after a while, as does whoever could not go on because of a disk.

use super::lines::Lines;
use super::output::Outputs;
use super::record::{BatchError, BatchLock, Record, RequestCounts, Status, Tokens};
use super::work::LineWork;
use super::{endpoint_of, now};
use crate::app::App;
use crate::failure::Failure;
use crate::kept::Kept;
use ledger::{Job, JobId, Ledger, LedgerError, NewJob};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tasks::TaskError;
use tasks::batch::{self, Batch, Ending, Progress, Retries, Source, Summary, Watch};
use tokio::task::{Id, JoinSet, spawn_blocking};
use tokio::time::MissedTickBehavior;

/// Batches that are worked on at once; others wait, the oldest is next.
const MOST_AT_ONCE: usize = 4;
/// How often it is looked whether a batch is to be cancelled, is out of time, or the server ends.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// How often it is looked for batches that somebody else has left, or that could not go on. Tests do not wait as long.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 30_000 });
/// For so long it is tried to write what came of a batch that is to end; then it ends as failed.
const SECONDS_TO_END: u64 = 10 * 60;
/// What an upload has left that nobody goes on with is older than this.
const BROKEN_OFF: Duration = Duration::from_secs(24 * 60 * 60);

/// A line that finds no room waits up to half a second, then twice as long each time: about eight minutes in all.
const RETRIES: Retries = Retries { times: 10, first_delay: Duration::from_millis(500) };

/// Works on batches until the server is about to end.
pub(crate) async fn supervise(app: Arc<App>) {
    let Some(kept) = app.kept.clone() else { return };
    let begun = Arc::clone(&kept);
    let tidied = spawn_blocking(move || tidy(&begun)).await;
    if let Ok(Err(reason)) | Err(reason) = tidied.map_err(|error| error.to_string()) {
        tracing::error!("{}: cannot be tidied: {reason}", kept.store.folder().display());
    }
    let mut runners = JoinSet::new();
    // Those that were left since the last round rest until the next one, so that nobody tries without a pause.
    let (mut names, mut resting): (HashMap<Id, String>, HashSet<String>) = Default::default();
    let mut rounds = tokio::time::interval(BETWEEN_ROUNDS);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if app.is_draining() && runners.is_empty() {
            return;
        }
        if !app.is_draining() {
            let known: HashSet<&String> = names.values().chain(&resting).collect();
            for id in next(&kept, &known, runners.len()).await {
                let runner = runners.spawn(run(Arc::clone(&app), Arc::clone(&kept), id.clone()));
                names.insert(runner.id(), id);
            }
        }
        tokio::select! {
            () = kept.changed.notified() => {}
            _ = rounds.tick() => resting.clear(),
            Some(ended) = runners.join_next_with_id() => {
                let task = ended.as_ref().map_or_else(|error| error.id(), |(task, ())| *task);
                let id = names.remove(&task).unwrap_or_default();
                kept.batches.note_progress(&id, None);
                if let Err(error) = ended {
                    tracing::error!(batch = id, "broke off: {error}");
                }
                resting.insert(id);
            }
        }
    }
}

/// Batches that are to be worked on and that this process does not know, the oldest first, as many as there is room
/// for. Those that have only to end wait for no room.
async fn next(kept: &Arc<Kept>, known: &HashSet<&String>, running: usize) -> Vec<String> {
    let read = Arc::clone(kept);
    // What is wrong with the folder stands in the log already.
    let records = spawn_blocking(move || read.batches.list()).await.map(Result::unwrap_or_default).unwrap_or_default();
    let mut room = MOST_AT_ONCE.saturating_sub(running);
    let mut is_next = |record: &Record| {
        if record.status.is_end() || known.contains(&record.id) {
            return false;
        }
        let is_taken = room > 0 || reason_to_end(record).is_some();
        room = room.saturating_sub(1);
        is_taken
    };
    records.into_iter().rev().filter(|record| is_next(record)).map(|record| record.id).collect()
}

/// Removes what the end of a process has left behind.
fn tidy(kept: &Kept) -> Result<(), String> {
    kept.store.tidy(BROKEN_OFF).map_err(|error| error.to_string())?;
    for record in kept.batches.list().map_err(|failure| failure.message)? {
        if record.status.is_end() {
            kept.batches.remove_job(&record.id).map_err(|failure| failure.message)?;
        }
    }
    Ok(())
}

/// Why a batch does not go on.
enum Halt {
    /// Another server works on it.
    Elsewhere,
    /// Its file is not what it was when it was validated, or is gone: nothing mends that.
    Unreadable(String),
    /// Something failed that may be mended: a disk, a folder.
    Broken(String),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Broken(failure.message)
    }
}

impl From<TaskError> for Halt {
    fn from(error: TaskError) -> Halt {
        match error {
            TaskError::Data(reason) => Halt::Unreadable(reason),
            error => Halt::Broken(error.to_string()),
        }
    }
}

impl From<LedgerError> for Halt {
    fn from(error: LedgerError) -> Halt {
        match error {
            LedgerError::Owned { .. } => Halt::Elsewhere,
            error => Halt::Broken(error.to_string()),
        }
    }
}

async fn run(app: Arc<App>, kept: Arc<Kept>, id: String) {
    let (is_unreadable, reason) = match advance(&app, &kept, &id).await {
        Ok(status) => return tracing::info!(batch = id, status = status.name(), "batch"),
        Err(Halt::Elsewhere) => return tracing::debug!(batch = id, "another server works on it"),
        Err(Halt::Unreadable(reason)) => (true, reason),
        Err(Halt::Broken(reason)) => (false, reason),
    };
    tracing::error!(batch = id, "{reason}");
    // Where the record cannot be written either, the log says it all.
    let _ = blocking(&kept, move |kept| note_halt(kept, &id, is_unreadable)).await;
}

/// Writes into the record that the batch did not go on, and ends it where there is nothing to wait for. Reasons name
/// paths and disks, which concern whoever runs the server: they stand in its log.
fn note_halt(kept: &Arc<Kept>, id: &str, is_unreadable: bool) -> Result<(), Halt> {
    // Another server that took it up meanwhile knows better.
    let _lock = kept.batches.try_lock(id)?.ok_or(Halt::Elsewhere)?;
    let (code, message) = match is_unreadable {
        true => (
            "file_unreadable",
            "the file of the batch cannot be read any more, or is not what it was when it was validated\n\
             hint: upload it again and make a new batch of it; the server's log says more",
        ),
        false => (
            "storage_failed",
            "the server could not read or write what it keeps of the batch\n\
             hint: it is tried again; the server's log says why",
        ),
    };
    let told = BatchError { code: code.to_owned(), message: message.to_owned(), param: None, line: None };
    let note = move |record: &mut Record| {
        if record.status.is_end() {
            return Ok(());
        }
        record.errors = vec![told];
        if is_unreadable || ending_since(record).is_some_and(|since| now() >= since + SECONDS_TO_END) {
            record.enter(Status::Failed, now());
        }
        Ok(())
    };
    let record = kept.batches.change(id, note)?;
    if record.status.is_end() {
        kept.batches.remove_job(id)?;
    }
    Ok(())
}

/// Runs what blocks apart from the threads that serve connections.
async fn blocking<T: Send + 'static>(
    kept: &Arc<Kept>,
    work: impl FnOnce(&Arc<Kept>) -> Result<T, Halt> + Send + 'static,
) -> Result<T, Halt> {
    let kept = Arc::clone(kept);
    let outcome = spawn_blocking(move || work(&kept)).await;
    outcome.unwrap_or_else(|error| Err(Halt::Broken(format!("internal error: {error}"))))
}

/// A batch that is worked on.
struct Working {
    record: Record,
    lines: Lines,
    ledger: Arc<Ledger>,
    job: JobId,
    /// Whoever still reads or writes something of the batch holds it.
    _lock: BatchLock,
}

/// A batch that was looked at.
enum Opened {
    Working(Arc<Working>),
    /// Nothing happens to it any more.
    Ended(Status),
}

/// Takes a batch as far as it gets, and returns its status then.
async fn advance(app: &Arc<App>, kept: &Arc<Kept>, id: &str) -> Result<Status, Halt> {
    let (name, max_line_bytes) = (id.to_owned(), app.options.max_body_bytes);
    let opened = blocking(kept, move |kept| open(kept, &name, max_line_bytes)).await?;
    let working = match opened {
        Opened::Working(working) => working,
        Opened::Ended(status) => return Ok(status),
    };
    if reason_to_end(&working.record).is_none() {
        let summary = work(app, kept, &working).await?;
        if summary.ending == Ending::Done {
            return blocking(kept, move |kept| end(kept, &working, Status::Completed)).await;
        }
    }
    blocking(kept, move |kept| {
        let record = kept.batches.get(&working.record.id, None)?;
        let Some(status) = reason_to_end(&record) else { return Ok(record.status) };
        let outputs = Outputs::of(kept, &record);
        // Whoever has the claim writes.
        let _claim = working.ledger.claim(working.job)?;
        outputs.write_partial(&working.ledger, working.job, &working.lines, status)?;
        end(kept, &working, status)
    })
    .await
}

/// How a batch ends whose lines are not all done. Where they are, it only has to be written, however late it is.
fn reason_to_end(record: &Record) -> Option<Status> {
    match record.status {
        Status::Cancelling => Some(Status::Cancelled),
        Status::Finalizing => None,
        _ if now() >= record.expires => Some(Status::Expired),
        _ => None,
    }
}

/// Since when a batch is to end, in seconds since 1970; none where it is not.
fn ending_since(record: &Record) -> Option<u64> {
    let cancelled = record.entered.get(&Status::Cancelling).copied().unwrap_or(u64::MAX);
    Some(cancelled.min(record.expires)).filter(|since| now() >= *since)
}

/// Takes the lock of a batch, validates it where that was not done yet, and opens its ledger.
fn open(kept: &Arc<Kept>, id: &str, max_line_bytes: usize) -> Result<Opened, Halt> {
    let lock = kept.batches.try_lock(id)?.ok_or(Halt::Elsewhere)?;
    // Whoever had the lock before may have ended it.
    let record = kept.batches.get(id, None)?;
    if record.status.is_end() {
        return Ok(Opened::Ended(record.status));
    }
    let path = kept.store.path(&record.input_file);
    let mut lines = Lines { path, endpoint: record.endpoint.clone(), max_line_bytes };
    let ledger = Arc::new(Ledger::open(&kept.batches.job_folder(id).join("ledger.sqlite"))?);
    let job = match ledger.find(id)? {
        Some(job) => job,
        None => match lines.check() {
            Ok(total) => ledger.create(&new_job(&record, &lines, total)?).map_err(Halt::from)?,
            Err(errors) => {
                let failed = |record: &mut Record| {
                    record.errors = errors;
                    record.enter(Status::Failed, now());
                    Ok(())
                };
                kept.batches.change(id, failed)?;
                drop(ledger);
                kept.batches.remove_job(id)?;
                return Ok(Opened::Ended(Status::Failed));
            }
        },
    };
    // The lines are read again with the bound that they were validated with, whatever this server's is.
    let bound = job.new.spec[BOUND].as_u64().and_then(|bound| usize::try_from(bound).ok());
    lines.max_line_bytes = bound.unwrap_or(max_line_bytes);
    let record = kept.batches.change(id, |record| validated(record, &job))?;
    Ok(Opened::Working(Arc::new(Working { record, lines, job: job.id, ledger, _lock: lock })))
}

/// The field of a job that holds the bound on its lines.
const BOUND: &str = "max_line_bytes";

fn new_job(record: &Record, lines: &Lines, total: u64) -> Result<NewJob, Halt> {
    Ok(NewJob {
        kind: "batch".to_owned(),
        title: record.id.clone(),
        spec: json!({"endpoint": record.endpoint, "lines": total, BOUND: lines.max_line_bytes}),
        fingerprint: record.id.clone(),
        input_sha256: lines.sha256()?,
    })
}

/// The batch is known to be sound; what was wrong with the disk the last time is forgotten.
fn validated(record: &mut Record, job: &Job) -> Result<(), Failure> {
    record.errors.clear();
    record.counts.total = job.new.spec["lines"].as_u64().unwrap_or_default();
    if record.status == Status::Validating {
        record.enter(Status::InProgress, now());
    }
    Ok(())
}

/// Tells how far a batch is.
struct Told {
    kept: Arc<Kept>,
    batch: String,
    total: u64,
}

impl Watch for Told {
    fn progress(&self, progress: &Progress) {
        let counts = RequestCounts { total: self.total, completed: progress.done, failed: progress.failed };
        self.kept.batches.note_progress(&self.batch, Some(counts));
    }
}

/// Does lines until all are done, or something ends that.
async fn work(app: &Arc<App>, kept: &Arc<Kept>, working: &Arc<Working>) -> Result<Summary, Halt> {
    let record = &working.record;
    let Some(endpoint) = endpoint_of(&record.endpoint) else {
        return Err(Halt::Broken(format!("there is no endpoint {} any more", record.endpoint)));
    };
    let interrupt = Arc::new(AtomicBool::new(false));
    let batch = Batch {
        work: Arc::new(LineWork { app: Arc::clone(app), endpoint }),
        source: Arc::new(working.lines.clone()) as Arc<dyn Source>,
        sink: Box::new(Outputs::of(kept, record)),
        watch: Arc::new(Told { kept: Arc::clone(kept), batch: record.id.clone(), total: record.counts.total }),
        interrupt: Arc::clone(&interrupt),
        retries: RETRIES,
        retry_failed: false,
    };
    let mut run = std::pin::pin!(batch::run(&working.ledger, working.job, batch));
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    loop {
        tokio::select! {
            summary = &mut run => return summary.map_err(|error| refused(working, error)),
            _ = looks.tick() => {
                let id = record.id.clone();
                let now = blocking(kept, move |kept| Ok(kept.batches.get(&id, None)?)).await?;
                if app.is_draining() || reason_to_end(&now).is_some() {
                    interrupt.store(true, Ordering::Release);
                }
            }
        }
    }
}

/// A run that could not begin because another process has the claim says so in words; whether that is so can be asked.
fn refused(working: &Working, error: TaskError) -> Halt {
    match working.ledger.is_worked_on(working.job) {
        Ok(true) => Halt::Elsewhere,
        _ => error.into(),
    }
}

/// Writes the end of a batch into its record, and removes the text of its lines from the ledger.
fn end(kept: &Arc<Kept>, working: &Working, status: Status) -> Result<Status, Halt> {
    let job = working.ledger.job(working.job)?;
    let ended = |record: &mut Record| {
        record.counts = RequestCounts { completed: job.done, failed: job.failed, ..record.counts };
        let effort = &job.effort;
        record.tokens =
            Tokens { input: effort.prompt_tokens, cached: effort.cached_tokens, output: effort.completion_tokens };
        record.enter(status, now());
        Ok(())
    };
    let record = kept.batches.change(&working.record.id, ended)?;
    kept.batches.note_progress(&record.id, None);
    kept.batches.remove_job(&record.id)?;
    Ok(record.status)
}
