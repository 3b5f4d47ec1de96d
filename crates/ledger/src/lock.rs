//! Who works on a job: a lock on a file, between processes as between threads.
//!
//! The operating system lets go of it when the process ends, however it ends, so that no clock has to guess whether
//! an owner is still alive. The file holds nothing.

use crate::LedgerError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock.
    pub(crate) fn acquire(path: &Path) -> Result<Lock, LedgerError> {
        let file = open(path)?;
        file.lock().map_err(LedgerError::file(path))?;
        Ok(Lock { _file: file })
    }

    /// The lock, if nobody has it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Lock>, LedgerError> {
        let file = open(path)?;
        let taken = file.try_lock();
        keep(path, file, taken)
    }

    /// Whether somebody has it. Whoever tries to acquire it in the same moment may be refused.
    pub(crate) fn is_held(path: &Path) -> Result<bool, LedgerError> {
        if !path.exists() {
            return Ok(false);
        }
        let file = open(path)?;
        let shared = file.try_lock_shared();
        keep(path, file, shared).map(|lock| lock.is_none())
    }
}

fn keep(path: &Path, file: File, taken: Result<(), TryLockError>) -> Result<Option<Lock>, LedgerError> {
    match taken {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(LedgerError::file(path)(error)),
    }
}

fn open(path: &Path) -> Result<File, LedgerError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    opened.map_err(LedgerError::file(path))
}
