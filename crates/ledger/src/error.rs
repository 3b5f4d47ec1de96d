//! What can go wrong with the ledger, by what a caller may do about it.

use crate::{JobId, JobState, Owner};
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file was written by a newer version of this program.
    #[error(
        "{}: written by a newer bantam: expected a ledger of version {known} or below, got {version}\n\
         hint: update bantam, or keep this ledger for the newer one and name another file",
        path.display()
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its version.
        version: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The file is a database, but no ledger.
    #[error("{}: expected a ledger, got a database of another program\nhint: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database, or damaged.
    #[error(
        "{}: damaged, or no ledger: {reason}\n\
         hint: move the file away, or restore it from a backup; jobs in it cannot go on without it",
        path.display()
    )]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No room.
    #[error(
        "{}: the disk is full\n\
         hint: make room and go on with the job: what was recorded is kept",
        path.display()
    )]
    Full {
        /// The ledger.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error(
        "{}: cannot be written: {reason}\n\
         hint: the file and its folder must be writable: SQLite keeps its log beside it",
        path.display()
    )]
    NotWritable {
        /// The ledger.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Another process writes, and did not end in time.
    #[error(
        "{}: locked by another process for more than {seconds} s\n\
         hint: try again; if it stays so, find the process that has the file open",
        path.display()
    )]
    Busy {
        /// The ledger.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// One value is larger than a ledger takes.
    #[error(
        "{}: a value of more than {limit} bytes cannot be recorded\n\
         hint: make the inputs or answers smaller",
        path.display()
    )]
    TooLarge {
        /// The ledger.
        path: PathBuf,
        /// The most bytes of a value.
        limit: i32,
    },
    /// Anything else that SQLite or the system says.
    #[error("{}: {reason}", path.display())]
    Failed {
        /// The ledger, or a file beside it.
        path: PathBuf,
        /// What is said.
        reason: String,
    },
    /// Another process adds to the run now.
    #[error(
        "run {name:?} is being added to by another process\n\
         hint: wait for it to end; a run whose process has ended is free at once"
    )]
    RunHeld {
        /// The run.
        name: String,
    },
    /// There is a run of that name already.
    #[error("there is a run {name:?} already\nhint: give this one another name; `bantam eval list` shows them")]
    Taken {
        /// The name.
        name: String,
    },
    /// No job has that number.
    #[error("no job {0}\nhint: `bantam jobs` lists them")]
    UnknownJob(JobId),
    /// Another process works on the job now.
    #[error(
        "job {job} ({title}) is being worked on by {owner}\n\
         hint: wait for it, or stop it with `bantam jobs cancel {job}` and then go on; \
         a job whose process has ended is free at once"
    )]
    Owned {
        /// The job.
        job: JobId,
        /// Its title.
        title: String,
        /// Who has it.
        owner: Owner,
    },
    /// The job was given to another claim, or removed, while this one worked on it.
    #[error(
        "job {0} was taken over or removed while it was being worked on; nothing of it was recorded since\n\
         hint: `bantam jobs show {0}` shows where it stands"
    )]
    Lost(JobId),
    /// A row has its outcome already.
    #[error("job {job}: row {number} has an outcome already, which is never replaced; this is a bug")]
    Recorded {
        /// The job.
        job: JobId,
        /// The row.
        number: u64,
    },
    /// The job's state does not allow this.
    #[error("job {job} is {state}: {reason}")]
    State {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
        /// What is not possible, and what to do instead.
        reason: &'static str,
    },
}

/// The most bytes of one text in the ledger: a bound on what a damaged file makes us read, beyond any honest outcome.
pub(crate) const LARGEST_VALUE: i32 = 256 << 20;

/// How long a writer waits for another.
pub(crate) const BUSY_SECONDS: u64 = 10;

impl LedgerError {
    /// Says which of these an error of SQLite is.
    pub(crate) fn at(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
        move |error| {
            let path = path.to_path_buf();
            let reason = error.to_string();
            match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    LedgerError::Busy { path, seconds: BUSY_SECONDS }
                }
                Some(ErrorCode::DiskFull) => LedgerError::Full { path },
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                    LedgerError::NotWritable { path, reason }
                }
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => LedgerError::Damaged { path, reason },
                Some(ErrorCode::TooBig) => LedgerError::TooLarge { path, limit: LARGEST_VALUE },
                Some(_) => LedgerError::Failed { path, reason },
                None if is_wrong_value(&error) => LedgerError::Damaged { path, reason },
                None => LedgerError::Failed { path, reason },
            }
        }
    }

    /// Says what kind of failure an error of a file is.
    pub(crate) fn file(path: &Path) -> impl Fn(std::io::Error) -> LedgerError {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
        move |error| {
            let (path, reason) = (path.to_path_buf(), error.to_string());
            match error.kind() {
                StorageFull => LedgerError::Full { path },
                PermissionDenied | ReadOnlyFilesystem => LedgerError::NotWritable { path, reason },
                _ => LedgerError::Failed { path, reason },
            }
        }
    }
}

/// A column holds what this program never writes there.
fn is_wrong_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..))
}
