//! What is known of a batch, in one file each, so that it survives the end of the process.
//!
//! ```text
//! FOLDER/batches/batch_xxxx/batch.json   the record: numbers and names, no text of requests
//! FOLDER/batches/batch_xxxx/lock         locked by whoever works on it, empty
//! FOLDER/batches/batch_xxxx/job/         the ledger of its lines, as long as it is worked on
//! ```
//!
//! A ledger of its own for each batch, so that the text in it is gone with its folder. Everything here blocks. Read
//! next: `run`, which takes a batch from one status to the next.

use crate::failure::{Failure, FailureKind};
use crate::files::{ids_in, is_id, make_folder, may_see, read_record, write_record};
use crate::keys::Key;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use utoipa::ToSchema;

/// What the names of batches begin with.
pub(super) const PREFIX: &str = "batch_";
/// Batches that are not at their end; more are refused.
const MOST_UNFINISHED: usize = 100;
/// Batches at their end that are remembered; older ones are forgotten, their files stay.
const MOST_FINISHED: usize = 1000;

/// How far a batch is, in the reference's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api::openai) enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

impl Status {
    /// Its name on the wire.
    pub(in crate::api::openai) fn name(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens to the batch any more.
    pub(super) fn is_end(self) -> bool {
        matches!(self, Status::Failed | Status::Completed | Status::Expired | Status::Cancelled)
    }
}

/// How many lines a batch has, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct RequestCounts {
    pub(super) total: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// What the lines of a batch took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
}

/// What is wrong with a batch or one of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct BatchError {
    /// A word for programs.
    pub(super) code: String,
    pub(super) message: String,
    /// The field of the line that is wrong.
    pub(super) param: Option<String>,
    /// The line of the file, from 1.
    pub(super) line: Option<u64>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api::openai) struct Record {
    pub(in crate::api::openai) id: String,
    pub(in crate::api::openai) status: Status,
    /// The path that its lines go to.
    pub(super) endpoint: String,
    pub(super) input_file: String,
    pub(super) window: String,
    pub(super) metadata: Option<BTreeMap<String, String>>,
    /// The id of the key that it came with.
    pub(super) owner: Option<String>,
    /// Where what came of it goes. The ids are given with the batch, so that a second attempt to write replaces the
    /// first.
    pub(super) reserved_output: String,
    pub(super) reserved_error: String,
    /// Those of the two that were written.
    pub(super) output_file: Option<String>,
    pub(super) error_file: Option<String>,
    /// When it came into each status, in seconds since 1970.
    pub(super) entered: BTreeMap<Status, u64>,
    /// When it ends as expired, if it is not done by then.
    pub(super) expires: u64,
    pub(super) counts: RequestCounts,
    pub(super) tokens: Tokens,
    pub(super) errors: Vec<BatchError>,
}

impl Record {
    /// From now on it is in this status.
    pub(super) fn enter(&mut self, status: Status, now: u64) {
        self.status = status;
        self.entered.insert(status, now);
    }

    /// When it was made.
    pub(super) fn created(&self) -> u64 {
        self.entered.get(&Status::Validating).copied().unwrap_or_default()
    }
}

/// Held by whoever works on a batch; the system frees it when the process ends, however it ends.
pub(super) struct BatchLock {
    _file: File,
}

/// The batches of a folder.
pub(crate) struct BatchStore {
    folder: PathBuf,
    /// Held while a record changes, so that no change is lost.
    changing: Mutex<()>,
    /// How far batches are that this process works on: their records learn it at the end.
    live: Mutex<HashMap<String, RequestCounts>>,
}

impl BatchStore {
    pub(crate) fn of(files: &Path) -> BatchStore {
        BatchStore { folder: files.join("batches"), changing: Mutex::default(), live: Mutex::default() }
    }

    /// Keeps a new batch, if there may be one more.
    pub(super) fn add(&self, record: &Record) -> Result<(), Failure> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.list()?;
        let (finished, unfinished): (Vec<_>, Vec<_>) = all.iter().partition(|record| record.status.is_end());
        if unfinished.len() >= MOST_UNFINISHED {
            let message = format!(
                "{} batches are not done yet, at most {MOST_UNFINISHED} may be\nhint: try again later, or cancel one",
                unfinished.len()
            );
            return Err(Failure::new(FailureKind::Limited, message));
        }
        for old in finished.iter().skip(MOST_FINISHED - 1) {
            tracing::info!(
                batch = old.id,
                "forgotten: of batches at their end the newest {MOST_FINISHED} are remembered"
            );
            std::fs::remove_dir_all(self.batch_folder(&old.id)).map_err(|error| self.broken("written", &error))?;
        }
        let kept =
            make_folder(&self.batch_folder(&record.id)).and_then(|()| write_record(&self.path(&record.id), record));
        kept.map_err(|error| self.broken("written", &error))
    }

    /// The batch of an id that somebody sent, as far as it is now.
    pub(super) fn get(&self, id: &str, asker: Option<&Key>) -> Result<Record, Failure> {
        let found = if is_id(PREFIX, id) { self.read(id)? } else { None };
        found.filter(|record| may_see(record.owner.as_deref(), asker)).ok_or_else(|| {
            let shown: String = id.chars().take(32).collect();
            let message = format!("there is no batch {shown:?}\nhint: GET /v1/batches lists those that there are");
            Failure { field: Some("batch_id".to_owned()), ..Failure::new(FailureKind::NotFound, message) }
        })
    }

    /// All batches, the newest first.
    pub(super) fn list(&self) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        for id in ids_in(&self.folder, PREFIX, "").map_err(|error| self.broken("read", &error))? {
            match self.read(&id) {
                Ok(record) => records.extend(record),
                // One that is damaged keeps nobody from the others; the log has its name.
                Err(failure) => tracing::error!(batch = id, "passed over: {}", failure.message),
            }
        }
        records.sort_by(|one, other| (other.created(), &other.id).cmp(&(one.created(), &one.id)));
        Ok(records)
    }

    /// A batch that is not at its end and reads this file.
    pub(in crate::api::openai) fn unfinished_on(&self, file: &str) -> Result<Option<Record>, Failure> {
        Ok(self.list()?.into_iter().find(|record| record.input_file == file && !record.status.is_end()))
    }

    /// Changes a record, and returns it as it is then.
    pub(super) fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record) -> Result<(), Failure>,
    ) -> Result<Record, Failure> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = self.get(id, None)?;
        let before = record.clone();
        change(&mut record)?;
        if record != before {
            write_record(&self.path(id), &record).map_err(|error| self.broken("written", &error))?;
        }
        Ok(record)
    }

    /// How far a batch is that this process works on; none: it no longer does.
    pub(super) fn note_progress(&self, id: &str, counts: Option<RequestCounts>) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match counts {
            Some(counts) => drop(live.insert(id.to_owned(), counts)),
            None => drop(live.remove(id)),
        }
    }

    /// The lock of a batch; none while another server has it.
    pub(super) fn try_lock(&self, id: &str) -> Result<Option<BatchLock>, Failure> {
        let broken = |error: io::Error| self.broken("locked", &error);
        let path = self.batch_folder(id).join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(BatchLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }

    /// Where the ledger of a batch is.
    pub(super) fn job_folder(&self, id: &str) -> PathBuf {
        self.batch_folder(id).join("job")
    }

    /// Removes the ledger of a batch, and with it the text of its lines.
    pub(super) fn remove_job(&self, id: &str) -> Result<(), Failure> {
        match std::fs::remove_dir_all(self.job_folder(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.broken("removed", &error)),
            _ => Ok(()),
        }
    }

    fn read(&self, id: &str) -> Result<Option<Record>, Failure> {
        let record = read_record::<Record>(&self.path(id)).map_err(|error| self.broken("read", &error))?;
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(record.map(|record| match live.get(id).filter(|_| !record.status.is_end()) {
            Some(counts) => Record { counts: *counts, ..record },
            None => record,
        }))
    }

    fn batch_folder(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.batch_folder(id).join("batch.json")
    }

    fn broken(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        tracing::error!("{}: cannot be {what}: {error}", self.folder.display());
        let message = format!("the folder of batches cannot be {what}\nhint: the server's log says why");
        Failure::new(FailureKind::Unavailable, message)
    }
}
