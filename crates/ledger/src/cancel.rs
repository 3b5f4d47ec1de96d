//! Cancelling a job, from whatever process: at once where nobody works on it, else by asking whoever does.

use crate::job::{job_in, now_ms, set_state};
use crate::lock::Lock;
use crate::{JobId, JobState, Ledger, LedgerError, Owner};
use rusqlite::params;

/// What came of cancelling a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// Nobody worked on it; it is cancelled.
    Cancelled,
    /// Its owner was asked to stop, and will within about a second.
    Requested(Owner),
}

impl Ledger {
    /// Cancels a job. What was recorded stays, and the job can go on when asked to.
    ///
    /// # Errors
    /// There is no such job, it is done, or the ledger cannot be written.
    pub fn cancel(&self, id: JobId) -> Result<Cancellation, LedgerError> {
        let at = LedgerError::at(self.path());
        // Claims are made in a transaction too, so that none begins between the look at the lock and the request.
        self.write(|transaction| {
            let job = job_in(transaction, id).map_err(&at)?.ok_or(LedgerError::UnknownJob(id))?;
            let lock = Lock::try_acquire(&self.lock_path(id))?;
            if lock.is_some() {
                if job.state == JobState::Done {
                    let reason = "nothing is left to cancel\nhint: `bantam jobs remove` forgets it";
                    return Err(LedgerError::State { job: id, state: job.state, reason });
                }
                set_state(transaction, id, JobState::Cancelled, None).map_err(&at)?;
                return Ok(Cancellation::Cancelled);
            }
            let sql = "UPDATE jobs SET cancel_requested = 1, updated_ms = ? WHERE id = ?";
            transaction.execute(sql, params![now_ms(), id.0]).map_err(&at)?;
            let owner = job.owner.unwrap_or_else(|| Owner { process: 0, host: "an unknown host".to_owned() });
            Ok(Cancellation::Requested(owner))
        })
    }
}
