//! The run of a job: rows come in, so many are under way at once, outcomes go to the recorder, at last the output is
//! written.
//!
//! Everything happens in one loop over [`Happening`]s, which nothing interrupts; what takes long is done by threads
//! of its own. Dropping the run at any point leaves the job as a killed process would: what is recorded counts, the
//! rest is pending.

use super::bounds::fault_of_outcome;
use super::output::{Sink, write_output};
use super::progress::{Progress, Watch};
use super::reader::{Reader, Reading};
use super::recorder::Recorder;
use super::source::{Source, SourceRow};
use super::storage;
use super::thread::{Thread, internal};
use crate::{Input, Outcome, TaskError, Work};
use chat::ChatError;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use ledger::{Claim, Effort, Job, JobId, JobState, Ledger, Record, RowOutcome};
use serde_json::Value;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// While so many outcomes wait for the disk, no new row is begun: a bound on what is held in memory.
const MOST_UNCOMMITTED: u64 = 4096;

/// What a job runs with.
pub struct Batch {
    /// Does a row.
    pub work: Arc<dyn Work>,
    /// Where the rows come from.
    pub source: Arc<dyn Source>,
    /// Where the output goes, once all rows are settled.
    pub sink: Box<dyn Sink>,
    /// Looks on.
    pub watch: Arc<dyn Watch>,
    /// Set by whoever wants the run to end soon; the job can go on later.
    pub interrupt: Arc<AtomicBool>,
    /// How often and when a row is tried again.
    pub retries: Retries,
    /// Rows that failed in earlier runs are tried again.
    pub retry_failed: bool,
}

/// How often and when a row is tried again that found too much going on, or something outside failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often at most.
    pub times: u32,
    /// How long it waits before the first; twice as long before each that follows. The clock ticks twenty times a
    /// second.
    pub first_delay: Duration,
}

impl Default for Retries {
    /// Waits 15.5 seconds in all.
    fn default() -> Retries {
        Retries { times: 5, first_delay: Duration::from_millis(500) }
    }
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every row was tried, and the output is written.
    Done,
    /// Its caller interrupted it; the job is queued.
    Interrupted,
    /// Another process cancelled the job.
    Cancelled,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The job.
    pub job: JobId,
    /// How the run ended.
    pub ending: Ending,
    /// How far the job is.
    pub progress: Progress,
}

/// Works on a job until it is done, or as far as it gets: begins it, or goes on with it.
///
/// # Errors
/// The input changed since the job began, another process works on it, the ledger or the output cannot be written, or a
/// row failed for a reason that the next one would fail for too ([`TaskError::is_fatal`]). What was done until then is
/// recorded.
pub async fn run(ledger: &Arc<Ledger>, job: JobId, batch: Batch) -> Result<Summary, TaskError> {
    let (ledger, source, retry_failed) = (Arc::clone(ledger), Arc::clone(&batch.source), batch.retry_failed);
    let claim = Thread::spawn("batch-begin", move || begin(&ledger, job, source.as_ref(), retry_failed))?.await??;
    run_begun(claim, batch, Ok(Begun::ToBeDone)).await
}

/// The same for a job that its caller has claimed already, so that nobody else took, cancelled or removed it while its
/// model was loaded. Whoever asked for it to be cancelled meanwhile is heard before any row is done.
///
/// # Errors
/// Those of [`run`]; the job has failed for that reason then, changed inputs among them.
pub async fn run_claimed(claim: Claim, batch: Batch) -> Result<Summary, TaskError> {
    let claim = Arc::new(claim);
    let (claimed, source, retry_failed) = (Arc::clone(&claim), Arc::clone(&batch.source), batch.retry_failed);
    let look = move || begin_claimed(&claimed, source.as_ref(), retry_failed);
    let begun = Thread::spawn("batch-begin", look)?.await?;
    run_begun(claim, batch, begun).await
}

/// What is to become of a job that is claimed.
enum Begun {
    ToBeDone,
    Cancelled,
}

async fn run_begun(claim: Arc<Claim>, batch: Batch, begun: Result<Begun, TaskError>) -> Result<Summary, TaskError> {
    let Job { id: job, done, failed, total, .. } = *claim.job();
    let mut progress = Progress { done, failed, total, ..Progress::default() };
    let ended = match begun {
        Ok(Begun::ToBeDone) => work_and_write(&claim, batch, &mut progress).await,
        Ok(Begun::Cancelled) => Ok(Ending::Cancelled),
        Err(error) => Err(error),
    };
    let (state, reason) = match &ended {
        Ok(Ending::Done) => (JobState::Done, None),
        Ok(Ending::Interrupted) => (JobState::Queued, None),
        Ok(Ending::Cancelled) => (JobState::Cancelled, None),
        Err(error) => (JobState::Failed, Some(error.to_string())),
    };
    let marked = Thread::spawn("batch-end", move || claim.end(state, reason.as_deref()))?.await?;
    // The first error says more than one that follows from it.
    let ending = ended?;
    marked.map_err(storage)?;
    Ok(Summary { job, ending, progress })
}

/// Claims the job, if its inputs are those that it began with. A refused job stays in the state that it is in.
fn begin(ledger: &Arc<Ledger>, job: JobId, source: &dyn Source, retry_failed: bool) -> Result<Arc<Claim>, TaskError> {
    check_input(&ledger.job(job).map_err(storage)?, source)?;
    let claim = ledger.claim(job).map_err(storage)?;
    if retry_failed {
        claim.retry_failed().map_err(storage)?;
    }
    Ok(Arc::new(claim))
}

fn begin_claimed(claim: &Claim, source: &dyn Source, retry_failed: bool) -> Result<Begun, TaskError> {
    if claim.is_cancel_requested().map_err(storage)? {
        return Ok(Begun::Cancelled);
    }
    check_input(claim.job(), source)?;
    if retry_failed {
        claim.retry_failed().map_err(storage)?;
    }
    Ok(Begun::ToBeDone)
}

/// Refuses inputs that are not those that the job began with.
fn check_input(job: &Job, source: &dyn Source) -> Result<(), TaskError> {
    let now = source.sha256()?;
    if now == job.new.input_sha256 {
        return Ok(());
    }
    let text = |sha256: Option<&str>| {
        sha256.map_or("inputs that the ledger stores".to_owned(), |sha256| format!("SHA-256 {sha256}"))
    };
    Err(TaskError::Data(format!(
        "job {} ({}): the input changed since the job began: expected {}, got {}\n\
         hint: put the old input back, or start a new job for this one",
        job.id,
        job.new.title,
        text(job.new.input_sha256.as_deref()),
        text(now.as_deref())
    )))
}

async fn work_and_write(claim: &Arc<Claim>, batch: Batch, progress: &mut Progress) -> Result<Ending, TaskError> {
    let Batch { work, source, sink, watch, interrupt, retries, .. } = batch;
    let means = Means { work, source, watch, interrupt, retries };
    let mut run = Run::start(claim, &means)?;
    let worked = run.work().await;
    let finished = run.finish(progress).await;
    let ending = worked?;
    finished?;
    if ending != Ending::Done {
        return Ok(ending);
    }
    let total = progress.total.ok_or_else(|| internal("a job is done whose rows were not counted"))?;
    let is_written = write(claim, means, sink, total).await?;
    Ok(if is_written { Ending::Done } else { Ending::Interrupted })
}

/// Writes the output on a thread of its own, and says whether it was written rather than interrupted.
async fn write(claim: &Arc<Claim>, means: Means, mut sink: Box<dyn Sink>, total: u64) -> Result<bool, TaskError> {
    let dropped = Arc::new(AtomicBool::new(false));
    let (stop, claimed) = (Arc::clone(&dropped), Arc::clone(claim));
    let mut thread = Thread::spawn("batch-output", move || {
        if sink.wants_inputs() {
            check_input(claimed.job(), means.source.as_ref())?;
        }
        let stops = [means.interrupt.as_ref(), stop.as_ref()];
        write_output(claimed.ledger(), claimed.job().id, total, means.source.as_ref(), sink.as_mut(), &stops)
    })?;
    // Dropped before the thread, which whoever drops this waits for.
    let _stop = SetOnDrop(dropped);
    (&mut thread).await?
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A row that was taken up.
struct TakenRow {
    number: u64,
    name: String,
    input: Input,
    /// What is to be said of the input, with its outcome.
    warnings: Vec<String>,
    attempts: u32,
    began: Instant,
}

/// What the run waits for.
enum Happening {
    /// Some time has passed.
    Tick,
    /// The recorder failed.
    Broken(TaskError),
    /// There is a row to be done, or none any more.
    Read(Reading),
    /// A row has an outcome, or not.
    Answered(TakenRow, Result<Outcome, TaskError>),
}

/// What rows are done with: a [`Batch`] without its sink, which waits for the end. It is shared by all that is under
/// way, so that a run may go from thread to thread.
struct Means {
    work: Arc<dyn Work>,
    source: Arc<dyn Source>,
    watch: Arc<dyn Watch>,
    interrupt: Arc<AtomicBool>,
    retries: Retries,
}

struct Run<'a> {
    means: &'a Means,
    // Before the threads: what is under way is given up first.
    under_way: FuturesUnordered<BoxFuture<'static, (TakenRow, Result<Outcome, TaskError>)>>,
    /// Rows to be tried again, and when.
    waiting: Vec<(Instant, TakenRow)>,
    reader: Option<Reader>,
    recorder: Recorder,
    concurrency: usize,
    progress: Progress,
    shown: Progress,
    began: Instant,
}

impl<'a> Run<'a> {
    fn start(claim: &Arc<Claim>, means: &'a Means) -> Result<Run<'a>, TaskError> {
        let ledger = Arc::clone(claim.ledger());
        let job = ledger.job(claim.job().id).map_err(storage)?;
        let concurrency = means.work.concurrency().max(1);
        let total = job.total.or_else(|| means.source.total());
        let progress = Progress { done: job.done, failed: job.failed, total, ..Progress::default() };
        means.watch.progress(&progress);
        Ok(Run {
            means,
            under_way: FuturesUnordered::new(),
            waiting: Vec::new(),
            reader: Some(Reader::start(Arc::clone(&means.source), ledger, job.id, concurrency)?),
            recorder: Recorder::start(Arc::clone(claim))?,
            concurrency,
            progress,
            shown: progress,
            began: Instant::now(),
        })
    }

    /// Until every row is settled, or something ends it.
    async fn work(&mut self) -> Result<Ending, TaskError> {
        while self.reader.is_some() || !self.under_way.is_empty() || !self.waiting.is_empty() {
            if self.means.interrupt.load(Ordering::Acquire) {
                return Ok(Ending::Interrupted);
            }
            if self.recorder.is_cancel_requested() {
                return Ok(Ending::Cancelled);
            }
            match poll_fn(|context| self.poll_happening(context)).await {
                Happening::Tick => self.tick(),
                Happening::Broken(error) | Happening::Read(Reading::Failed(error)) => return Err(error),
                Happening::Read(Reading::Row(number, row)) => self.take_up(number, row)?,
                Happening::Read(Reading::End(total)) => {
                    self.reader = None;
                    self.progress.total = Some(total);
                    self.recorder.set_total(total);
                }
                Happening::Answered(row, result) => self.settle(row, result)?,
            }
        }
        Ok(Ending::Done)
    }

    /// Rows are taken up before answers are settled, so that the model has always as much to do as it wants.
    fn poll_happening(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        if let Poll::Ready(woken) = self.recorder.poll(context) {
            return Poll::Ready(woken.map_or_else(Happening::Broken, |()| Happening::Tick));
        }
        let has_room = self.under_way.len() + self.waiting.len() < self.concurrency
            && self.recorder.uncommitted() < MOST_UNCOMMITTED;
        if let Some(reader) = self.reader.as_mut().filter(|_| has_room)
            && let Poll::Ready(reading) = reader.poll_next(context)
        {
            return Poll::Ready(Happening::Read(reading));
        }
        match self.under_way.poll_next_unpin(context) {
            Poll::Ready(Some((row, result))) => Poll::Ready(Happening::Answered(row, result)),
            // None are under way: a row that is read or a tick comes next.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for (_, row) in self.waiting.extract_if(.., |(due, _)| *due <= now) {
            self.under_way.push(attempt(Arc::clone(&self.means.work), row).boxed());
        }
        if self.progress != self.shown {
            self.shown = self.progress;
            self.progress.elapsed = self.began.elapsed();
            self.shown.elapsed = self.progress.elapsed;
            self.means.watch.progress(&self.progress);
        }
    }

    fn take_up(&mut self, number: u64, row: SourceRow) -> Result<(), TaskError> {
        let SourceRow { name, input, warnings } = row;
        let taken = |input| TakenRow { number, name, input, warnings, attempts: 0, began: Instant::now() };
        match input {
            Ok(input) => {
                self.under_way.push(attempt(Arc::clone(&self.means.work), taken(input)).boxed());
                Ok(())
            }
            Err(error) => self.settle(taken(Input::default()), Err(error)),
        }
    }

    fn settle(&mut self, row: TakenRow, result: Result<Outcome, TaskError>) -> Result<(), TaskError> {
        let Retries { times, first_delay } = self.means.retries;
        let effort = Effort {
            attempts: u64::from(row.attempts),
            milliseconds: u64::try_from(row.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Effort::default()
        };
        match result {
            Ok(outcome) => self.record_done(row, outcome, effort),
            Err(error) if is_transient(&error) && (1..=times).contains(&row.attempts) => {
                let delay = first_delay.saturating_mul(1_u32.checked_shl(row.attempts - 1).unwrap_or(u32::MAX));
                self.means.watch.row_waits(row.number, &row.name, &error.to_string(), delay);
                self.waiting.push((Instant::now() + delay, row));
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                self.means.watch.row_failed(row.number, &row.name, &reason);
                self.progress.failed += 1;
                self.progress.settled_now += 1;
                let outcome = RowOutcome::Failed { reason };
                self.recorder.record(Record { number: row.number, name: row.name, outcome, effort });
            }
        }
        Ok(())
    }

    fn record_done(&mut self, mut row: TakenRow, outcome: Outcome, effort: Effort) {
        let effort = Effort {
            prompt_tokens: outcome.prompt_tokens as u64,
            cached_tokens: outcome.cached_tokens as u64,
            completion_tokens: outcome.completion_tokens as u64,
            ..effort
        };
        self.progress.done += 1;
        self.progress.settled_now += 1;
        self.progress.prompt_tokens += effort.prompt_tokens;
        self.progress.cached_tokens += effort.cached_tokens;
        self.progress.completion_tokens += effort.completion_tokens;
        row.warnings.extend(outcome.warnings);
        let outcome = RowOutcome::Done { outcome: Value::Object(outcome.fields), warnings: row.warnings };
        self.recorder.record(Record { number: row.number, name: row.name, outcome, effort });
    }

    /// Gives up what is under way, and waits until what was done is on the disk.
    async fn finish(self, progress: &mut Progress) -> Result<(), TaskError> {
        let Run { means, under_way, reader, recorder, began, progress: mut last, .. } = self;
        drop((under_way, reader));
        let finished = recorder.finish().await;
        last.elapsed = began.elapsed();
        means.watch.progress(&last);
        *progress = last;
        finished
    }
}

/// Tries a row once. A panic in the work is that row's failure alone.
async fn attempt(work: Arc<dyn Work>, mut row: TakenRow) -> (TakenRow, Result<Outcome, TaskError>) {
    row.attempts += 1;
    let asked = AssertUnwindSafe(async { work.ask(&row.input).await }).catch_unwind().await;
    let result = asked.unwrap_or_else(|_| Err(internal("the work on a row panicked")));
    let checked = result.and_then(|outcome| match fault_of_outcome(&outcome) {
        None => Ok(outcome),
        Some(fault) => Err(TaskError::Output(fault)),
    });
    (row, checked)
}

/// Whether the same may succeed in a while.
fn is_transient(error: &TaskError) -> bool {
    matches!(error, TaskError::Model(ChatError::Overloaded(_) | ChatError::Unavailable(_)))
}
