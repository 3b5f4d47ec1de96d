//! One at a time, or many of one kind: a lock on a file, between processes as between threads.
//!
//! The operating system lets go of it when the process ends, however it ends. The file stays; it holds nothing.

use crate::HubError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock; `on_wait` is called once if another holds it now.
    pub(crate) fn acquire(path: &Path, on_wait: impl FnOnce()) -> Result<Lock, HubError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait();
                file.lock().map_err(HubError::io("lock", path))?;
            }
            Err(TryLockError::Error(error)) => return Err(HubError::io("lock", path)(error)),
        }
        Ok(Lock { _file: file })
    }

    /// Waits for a share of the lock; any number may have one, but not while somebody has it alone.
    pub(crate) fn share(path: &Path) -> Result<Lock, HubError> {
        let file = open(path)?;
        file.lock_shared().map_err(HubError::io("lock", path))?;
        Ok(Lock { _file: file })
    }

    /// The whole lock, if nobody has it or a share of it now.
    pub(crate) fn try_alone(path: &Path) -> Result<Option<Lock>, HubError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(HubError::io("lock", path)(error)),
        }
    }
}

fn open(path: &Path) -> Result<File, HubError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
    }
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    opened.map_err(HubError::io("open", path))
}
