//! The thread that reads the source: what is settled is passed over, the rest is handed out in order.
//!
//! Reading a row may take long (a document is parsed), so that it is not done between the answers of a model.

use super::source::{Rows, Source, SourceRow};
use super::storage;
use super::thread::Thread;
use crate::TaskError;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use ledger::{JobId, Ledger};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

/// So many numbers of settled rows are looked up at a time.
const PAGE: u32 = 4096;

/// What comes from a source.
#[derive(Debug)]
pub(super) enum Reading {
    /// A row to be done.
    Row(u64, SourceRow),
    /// There are no more rows; so many there were, those that are settled included.
    End(u64),
    /// The source cannot be read on.
    Failed(TaskError),
}

/// Rows to be done, a few read ahead.
#[derive(Debug)]
pub(super) struct Reader {
    // Before the thread, which ends once nobody receives.
    rows: mpsc::Receiver<Reading>,
    _thread: Thread<()>,
}

impl Reader {
    pub(super) fn start(
        source: Arc<dyn Source>,
        ledger: Arc<Ledger>,
        job: JobId,
        ahead: usize,
    ) -> Result<Reader, TaskError> {
        let (mut sender, rows) = mpsc::channel(ahead);
        let thread = Thread::spawn("batch-reader", move || {
            let mut give = |reading| futures::executor::block_on(sender.send(reading)).is_ok();
            match read(source.as_ref(), Settled::new(ledger, job), &mut give) {
                Ok(Some(total)) => give(Reading::End(total)),
                Ok(None) => false,
                Err(error) => give(Reading::Failed(error)),
            };
        })?;
        Ok(Reader { rows, _thread: thread })
    }

    /// The next row, or why there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Reading> {
        let broken = || Reading::Failed(super::thread::internal("the reader of a batch job panicked"));
        self.rows.poll_next_unpin(context).map(|reading| reading.unwrap_or_else(broken))
    }
}

/// Hands out all rows that are not settled, and says how many rows there are; none if nobody takes them any more.
fn read(
    source: &dyn Source,
    mut settled: Settled,
    give: &mut impl FnMut(Reading) -> bool,
) -> Result<Option<u64>, TaskError> {
    let mut rows: Rows = source.rows()?;
    let mut number = 1;
    loop {
        let passed = settled.run_from(number)?;
        if passed > 0 {
            let past = usize::try_from(passed - 1).ok().and_then(|past| rows.nth(past)).transpose()?;
            if past.is_none() {
                return Err(shorter(settled.job, number + passed - 1));
            }
            number += passed;
            continue;
        }
        match rows.next().transpose()? {
            None if settled.is_over(number)? => return Ok(Some(number - 1)),
            None => return Err(shorter(settled.job, number)),
            Some(row) => {
                if !give(Reading::Row(number, row)) {
                    return Ok(None);
                }
                number += 1;
            }
        }
    }
}

fn shorter(job: JobId, number: u64) -> TaskError {
    TaskError::Data(format!(
        "job {job}: the input ends before row {number}, but the ledger has that row or a later one\n\
         hint: the input changed since the job began; put the old one back, or start a new job"
    ))
}

/// The numbers of the rows that were settled before this run, page by page.
struct Settled {
    ledger: Arc<Ledger>,
    job: JobId,
    page: VecDeque<u64>,
    is_last_page: bool,
}

impl Settled {
    fn new(ledger: Arc<Ledger>, job: JobId) -> Settled {
        Settled { ledger, job, page: VecDeque::new(), is_last_page: false }
    }

    /// How many rows from `number` on are settled, without a gap, as far as the page reaches.
    fn run_from(&mut self, number: u64) -> Result<u64, TaskError> {
        self.look_up(number)?;
        let mut length = 0;
        while self.page.front() == Some(&(number + length)) {
            self.page.pop_front();
            length += 1;
        }
        Ok(length)
    }

    /// Whether no row from `number` on was settled.
    fn is_over(&mut self, number: u64) -> Result<bool, TaskError> {
        self.look_up(number)?;
        Ok(self.page.is_empty())
    }

    /// Rows of this run are settled behind `number`, so that the pages hold none of them.
    fn look_up(&mut self, number: u64) -> Result<(), TaskError> {
        if self.page.is_empty() && !self.is_last_page {
            self.page = self.ledger.settled(self.job, number, PAGE).map_err(storage)?.into();
            self.is_last_page = self.page.len() < PAGE as usize;
        }
        Ok(())
    }
}
