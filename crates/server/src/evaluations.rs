//! The evaluations that the ledger keeps, and who may write into the tables of tasks.
//!
//! The ledger is another program's too: `bantam eval` writes it while this one looks on. It is opened when somebody first
//! looks, and not made where it is not there. Everything here blocks. Read next: `api::own::evaluations`,
//! `api::own::tasks::labels`.

use crate::failure::{Failure, FailureKind};
use ledger::{Ledger, LedgerError};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The evaluations of a ledger.
pub(crate) struct Evaluations {
    path: Option<PathBuf>,
    opened: Mutex<Option<Arc<Ledger>>>,
    /// Held by whoever writes into a table, so that of two answers that come at once none is lost.
    labelling: Mutex<()>,
}

impl Evaluations {
    pub(crate) fn of(path: Option<PathBuf>) -> Evaluations {
        Evaluations { path, opened: Mutex::default(), labelling: Mutex::default() }
    }

    /// The ledger; none where it is not there yet.
    pub(crate) fn ledger(&self) -> Result<Option<Arc<Ledger>>, Failure> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path.as_ref().filter(|path| opened.is_some() || path.exists()) else { return Ok(None) };
        if opened.is_none() {
            *opened = Some(Arc::new(Ledger::open(path)?));
        }
        Ok(opened.clone())
    }

    /// Waits until nobody else writes into a table.
    pub(crate) fn labelling(&self) -> MutexGuard<'_, ()> {
        self.labelling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Failure {
        Failure::new(FailureKind::Unavailable, error.to_string())
    }
}
