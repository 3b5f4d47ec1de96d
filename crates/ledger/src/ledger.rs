//! The file: how it is opened, and how it is read and written.
//!
//! One connection writes and another reads, so that whoever looks on waits for no disk. A commit is on the disk when
//! it returns (`synchronous=FULL`): what was paid for is not lost to a power cut either. Read next: `claim.rs`, the
//! writer.

use crate::error::{BUSY_SECONDS, LARGEST_VALUE};
use crate::lock::Lock;
use crate::{JobId, LedgerError, RunId, migrations};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An open ledger. Any number may be open on one file, in this process and in others.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    locks: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl Ledger {
    /// Opens a ledger, and makes it and its folder where they are missing. Beside the file lie SQLite's own
    /// (`-wal`, `-shm`) and a folder of lock files (`.locks`).
    ///
    /// # Errors
    /// The file is no ledger, newer than this program, damaged, locked, or cannot be written.
    pub fn open(path: &Path) -> Result<Ledger, LedgerError> {
        let mut locks = path.as_os_str().to_owned();
        locks.push(".locks");
        let locks = PathBuf::from(locks);
        std::fs::create_dir_all(&locks).map_err(LedgerError::file(&locks))?;
        // SQLite does not wait while two that open a new file both turn its log on.
        let _opening = Lock::acquire(&locks.join("open.lock"))?;
        create_for_owner(path)?;
        let mut writer = connect(path)?;
        let at = LedgerError::at(path);
        writer.pragma_update(None, "journal_mode", "WAL").map_err(&at)?;
        writer.pragma_update(None, "synchronous", "FULL").map_err(&at)?;
        // What a removed job said is overwritten, not only let go.
        writer.pragma_update(None, "secure_delete", true).map_err(&at)?;
        migrations::migrate(&mut writer, path)?;
        let reader = connect(path)?;
        reader.pragma_update(None, "query_only", true).map_err(&at)?;
        Ok(Ledger { path: path.to_path_buf(), locks, writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock file of a job. Numbers of jobs are never given twice, nor are these names.
    pub(crate) fn lock_path(&self, job: JobId) -> PathBuf {
        self.locks.join(format!("{job}.lock"))
    }

    /// The lock file of a run.
    pub(crate) fn run_lock_path(&self, run: RunId) -> PathBuf {
        self.locks.join(format!("run-{}.lock", run.0))
    }

    /// Reads.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        read(&guard(&self.reader)).map_err(LedgerError::at(&self.path))
    }

    /// Moves what stands in SQLite's log into the file, and empties the log. Where another process reads meanwhile for
    /// longer than a writer waits, whoever closes the ledger last does it.
    pub(crate) fn empty_log(&self) -> Result<(), LedgerError> {
        let emptied = guard(&self.writer).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(LedgerError::at(&self.path))
    }

    /// Writes all or nothing. No other connection writes meanwhile, in whatever process.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut connection = guard(&self.writer);
        let at = LedgerError::at(&self.path);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&at)?;
        let written = write(&transaction)?;
        transaction.commit().map_err(&at)?;
        Ok(written)
    }
}

/// A panic in the midst of a transaction rolled it back: the connection behind the lock is as good as before.
fn guard(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a new file that its owner alone can read: it holds what was said of private texts. SQLite gives the files
/// beside it the same rights.
#[cfg(unix)]
fn create_for_owner(path: &Path) -> Result<(), LedgerError> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if !path.exists() => Err(LedgerError::file(path)(error)),
        // One that is there keeps the rights that it was given.
        _ => Ok(()),
    }
}

/// Rights are those of the folder.
#[cfg(not(unix))]
fn create_for_owner(_: &Path) -> Result<(), LedgerError> {
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let at = LedgerError::at(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&at)?;
    connection.busy_timeout(Duration::from_secs(BUSY_SECONDS)).map_err(&at)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST_VALUE).map_err(&at)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(&at)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&at)?;
    Ok(connection)
}

#[cfg(test)]
impl Ledger {
    /// A test waits no ten seconds.
    pub(crate) fn set_busy_timeout(&self, timeout: Duration) {
        guard(&self.writer).busy_timeout(timeout).unwrap();
    }
}
