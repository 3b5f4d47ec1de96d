//! A claim: the right to work on a job, which one process has at a time, and what its owner may write.
//!
//! The lock file says who has it, and the system frees that when the process ends. The token in the job's row says so
//! again in each transaction: an owner whose lock file somebody removed writes nothing more once another has claimed
//! the job.

use crate::job::{job_in, now_ms, set_state};
use crate::lock::Lock;
use crate::row::{Totals, add_totals, record_row};
use crate::{Job, JobId, JobState, Ledger, LedgerError, Record};
use rusqlite::{OptionalExtension, Transaction, params};
use std::sync::Arc;
use std::time::Duration;

/// Whoever asks whether a job is worked on has its lock for an instant; a claim that meets that tries again.
const TRIES: usize = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Held while its owner works on a job; free again when dropped, or when the process ends.
#[derive(Debug)]
pub struct Claim {
    ledger: Arc<Ledger>,
    job: Job,
    token: String,
    _lock: Lock,
}

impl Ledger {
    /// Claims a job, in whatever state it is: it is running from here on, and no longer asked to stop.
    ///
    /// # Errors
    /// There is no such job, another process has it, or the ledger cannot be written.
    pub fn claim(self: &Arc<Self>, id: JobId) -> Result<Claim, LedgerError> {
        for _ in 1..TRIES {
            match self.try_claim(id) {
                Err(LedgerError::Owned { .. }) => std::thread::sleep(BETWEEN_TRIES),
                other => return other,
            }
        }
        self.try_claim(id)
    }

    fn try_claim(self: &Arc<Self>, id: JobId) -> Result<Claim, LedgerError> {
        let at = LedgerError::at(self.path());
        let token = new_token(self)?;
        self.write(|transaction| {
            let job = job_in(transaction, id).map_err(&at)?.ok_or(LedgerError::UnknownJob(id))?;
            let lock = Lock::try_acquire(&self.lock_path(id))?.ok_or_else(|| job.owned())?;
            set_state(transaction, id, JobState::Running, None).map_err(&at)?;
            let sql = "UPDATE jobs SET owner_token = ?, owner_process = ?, owner_host = ? WHERE id = ?";
            transaction.execute(sql, params![token, std::process::id(), host_name(), id.0]).map_err(&at)?;
            let job = job_in(transaction, id).map_err(&at)?.ok_or(LedgerError::UnknownJob(id))?;
            Ok(Claim { ledger: Arc::clone(self), job, token, _lock: lock })
        })
    }
}

impl Claim {
    /// The job, as it stood when it was claimed.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The ledger that the job is in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Records what came of rows, all or none of them: they are on the disk when this returns.
    ///
    /// # Errors
    /// A row has an outcome already, the claim was lost, or the ledger cannot be written. Nothing was recorded then.
    pub fn record(&self, records: &[Record]) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.ledger.path());
        self.write(|transaction| {
            let mut totals = Totals::default();
            for record in records {
                if !record_row(transaction, self.job.id, record).map_err(&at)? {
                    return Err(LedgerError::Recorded { job: self.job.id, number: record.number });
                }
                totals.add(record);
            }
            add_totals(transaction, self.job.id, &totals, now_ms()).map_err(&at)
        })
    }

    /// Says how many rows the job has.
    ///
    /// # Errors
    /// The claim was lost, or the ledger cannot be written.
    pub fn set_total(&self, total: u64) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.ledger.path());
        self.write(|transaction| {
            let sql = "UPDATE jobs SET total = ?, updated_ms = ? WHERE id = ?";
            transaction.execute(sql, params![total, now_ms(), self.job.id.0]).map(|_| ()).map_err(&at)
        })
    }

    /// Makes rows that failed into rows to be done, and says how many. What they took so far stays counted.
    ///
    /// # Errors
    /// The claim was lost, or the ledger cannot be written.
    pub fn retry_failed(&self) -> Result<u64, LedgerError> {
        let at = LedgerError::at(self.ledger.path());
        self.write(|transaction| {
            let sql = "UPDATE job_rows SET state = 'pending', reason = NULL \
                 WHERE job = ? AND state <> 'done' AND state = 'failed'";
            let reset = transaction.execute(sql, [self.job.id.0]).map_err(&at)?;
            let sql = "UPDATE jobs SET failed = 0, updated_ms = ? WHERE id = ?";
            transaction.execute(sql, params![now_ms(), self.job.id.0]).map_err(&at)?;
            Ok(reset as u64)
        })
    }

    /// Whether somebody asked for the job to be cancelled since it was claimed.
    ///
    /// # Errors
    /// The claim was lost, or the ledger cannot be read.
    pub fn is_cancel_requested(&self) -> Result<bool, LedgerError> {
        let sql = "SELECT cancel_requested FROM jobs WHERE id = ? AND owner_token = ?";
        let requested = self.ledger.read(|connection| {
            connection.prepare_cached(sql)?.query_row(params![self.job.id.0, self.token], |row| row.get(0)).optional()
        })?;
        requested.ok_or(LedgerError::Lost(self.job.id))
    }

    /// Says how the work ended; the claim is given back when it is dropped.
    ///
    /// # Errors
    /// The claim was lost, or the ledger cannot be written.
    pub fn end(&self, state: JobState, reason: Option<&str>) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.ledger.path());
        self.write(|transaction| set_state(transaction, self.job.id, state, reason).map(|_| ()).map_err(&at))
    }

    /// Writes, if the claim still stands.
    fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let at = LedgerError::at(self.ledger.path());
        self.ledger.write(|transaction| {
            let sql = "SELECT 1 FROM jobs WHERE id = ? AND owner_token = ?";
            let mut statement = transaction.prepare_cached(sql).map_err(&at)?;
            if !statement.exists(params![self.job.id.0, self.token]).map_err(&at)? {
                return Err(LedgerError::Lost(self.job.id));
            }
            write(transaction)
        })
    }
}

/// 128 random bits: no two claims have the same.
fn new_token(ledger: &Ledger) -> Result<String, LedgerError> {
    let mut bytes = [0_u8; 16];
    let failed =
        |error| LedgerError::Failed { path: ledger.path().to_path_buf(), reason: format!("no randomness: {error}") };
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "this machine".to_owned())
}
