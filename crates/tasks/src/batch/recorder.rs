//! The thread that records: outcomes go to the ledger in groups, so that their rate is not that of the disk.
//!
//! It also wakes the run now and then, and looks whether another process asked for the job to be cancelled: the one
//! clock of a batch job, so that `tasks` needs no runtime.

use super::storage;
use super::thread::{Thread, internal};
use crate::TaskError;
use futures::channel::mpsc as wakes;
use ledger::{Claim, Record};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A group is committed once it has so many rows.
const GROUP_ROWS: usize = 50;
/// A smaller group is committed once its first row has waited so long.
const GROUP_WAIT: Duration = Duration::from_millis(500);
/// Rows beyond these wait for the next group: a bound on one transaction, whatever came while the disk was slow.
const LARGEST_GROUP: usize = 2048;
/// How often the run is woken.
const TICK: Duration = Duration::from_millis(50);
/// How often the ledger is asked whether the job is to be cancelled.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What the recorder is told.
enum Command {
    Record(Box<Record>),
    /// The job has so many rows.
    Total(u64),
}

/// What run and recorder know of each other.
#[derive(Debug, Default)]
struct Shared {
    committed: AtomicU64,
    is_cancel_requested: AtomicBool,
}

/// Records what it is given, in the order of arrival.
#[derive(Debug)]
pub(super) struct Recorder {
    // Before the thread, which commits what it was given and ends once nobody can give it more.
    commands: Option<Sender<Command>>,
    wakes: wakes::Receiver<()>,
    shared: Arc<Shared>,
    given: u64,
    thread: Thread<Result<(), TaskError>>,
}

impl Recorder {
    pub(super) fn start(claim: Arc<Claim>) -> Result<Recorder, TaskError> {
        let (commands, received) = channel();
        let (waker, wakes) = wakes::channel(0);
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            Thread::spawn("batch-recorder", move || Recording::new(claim, waker, shared).run(&received))?
        };
        Ok(Recorder { commands: Some(commands), wakes, shared, given: 0, thread })
    }

    /// Gives it an outcome to record. If it has ended, [`Recorder::poll`] says why.
    pub(super) fn record(&mut self, record: Record) {
        self.given += 1;
        self.give(Command::Record(Box::new(record)));
    }

    pub(super) fn set_total(&mut self, total: u64) {
        self.give(Command::Total(total));
    }

    /// Outcomes that are not on the disk yet.
    pub(super) fn uncommitted(&self) -> u64 {
        self.given.saturating_sub(self.shared.committed.load(Ordering::Acquire))
    }

    /// Whether another process asked for the job to be cancelled.
    pub(super) fn is_cancel_requested(&self) -> bool {
        self.shared.is_cancel_requested.load(Ordering::Acquire)
    }

    /// Ready with a wake, some time after the last one, or with the error that ended the recorder.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        if let Poll::Ready(ended) = Pin::new(&mut self.thread).poll(context) {
            // It ends by itself only where something failed.
            return Poll::Ready(ended.and_then(|ended| ended).and(Err(internal("the recorder ended too early"))));
        }
        let wake = ready!(futures::Stream::poll_next(Pin::new(&mut self.wakes), context));
        // Without a waker the thread is about to end: its end wakes the run.
        if wake.is_some() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Waits until all that was given is on the disk.
    pub(super) async fn finish(mut self) -> Result<(), TaskError> {
        self.commands = None;
        (&mut self.thread).await?
    }

    fn give(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // Fails only where the thread has ended, whose error comes by `poll` and `finish`.
            let _ = commands.send(command);
        }
    }
}

/// The thread's side.
struct Recording {
    claim: Arc<Claim>,
    waker: wakes::Sender<()>,
    shared: Arc<Shared>,
    group: Vec<Record>,
    group_began: Instant,
    looked: Instant,
    woke: Instant,
}

impl Recording {
    fn new(claim: Arc<Claim>, waker: wakes::Sender<()>, shared: Arc<Shared>) -> Recording {
        let now = Instant::now();
        Recording { claim, waker, shared, group: Vec::new(), group_began: now, looked: now, woke: now }
    }

    fn run(mut self, commands: &Receiver<Command>) -> Result<(), TaskError> {
        loop {
            match commands.recv_timeout(TICK.saturating_sub(self.woke.elapsed())) {
                Ok(command) => self.take(command)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
            // What came while the last group was written goes into this one.
            while self.group.len() < LARGEST_GROUP
                && let Ok(command) = commands.try_recv()
            {
                self.take(command)?;
            }
            let is_due = !self.group.is_empty() && self.group_began.elapsed() >= GROUP_WAIT;
            if self.group.len() >= GROUP_ROWS || is_due {
                self.commit()?;
            }
            self.wake_and_look()?;
        }
    }

    fn take(&mut self, command: Command) -> Result<(), TaskError> {
        match command {
            Command::Record(record) => {
                if self.group.is_empty() {
                    self.group_began = Instant::now();
                }
                self.group.push(*record);
                Ok(())
            }
            Command::Total(total) => self.claim.set_total(total).map_err(storage),
        }
    }

    fn commit(&mut self) -> Result<(), TaskError> {
        if !self.group.is_empty() {
            self.claim.record(&self.group).map_err(storage)?;
            self.shared.committed.fetch_add(self.group.len() as u64, Ordering::Release);
            self.group.clear();
        }
        Ok(())
    }

    fn wake_and_look(&mut self) -> Result<(), TaskError> {
        if self.looked.elapsed() >= BETWEEN_LOOKS {
            self.looked = Instant::now();
            let is_requested = self.claim.is_cancel_requested().map_err(storage)?;
            self.shared.is_cancel_requested.store(is_requested, Ordering::Release);
        }
        if self.woke.elapsed() >= TICK {
            self.woke = Instant::now();
            // A wake that was not taken yet is enough.
            let _ = self.waker.try_send(());
        }
        Ok(())
    }
}
