//! Jobs: what is to be done, how far it is, and who works on it.

use crate::lock::Lock;
use crate::{Effort, Ledger, LedgerError};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::Value;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of a job, as people type it. A number is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Nobody has begun, or whoever worked on it left it to be gone on with.
    Queued,
    /// Somebody works on it, or was ended while doing so: [`Ledger::is_worked_on`] tells.
    Running,
    /// Every row was tried, and what came of them was written.
    Done,
    /// It stopped for the reason that stands in the job; it can go on once that is mended.
    Failed,
    /// Somebody cancelled it; it goes on only when asked to.
    Cancelled,
}

/// The names of the states in the file and in messages.
const STATES: [(JobState, &str); 5] = [
    (JobState::Queued, "queued"),
    (JobState::Running, "running"),
    (JobState::Done, "done"),
    (JobState::Failed, "failed"),
    (JobState::Cancelled, "cancelled"),
];

/// Who works on a job, or did last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The number of the process.
    pub process: u32,
    /// The machine, or container, that it runs on.
    pub host: String,
}

/// A job to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What kind of job it is, in a word.
    pub kind: String,
    /// What people know it by.
    pub title: String,
    /// Whatever its maker needs to go on with it.
    pub spec: Value,
    /// The same for the same work on the same inputs.
    pub fingerprint: String,
    /// The digest of inputs that stay where they are; none where the ledger stores them.
    pub input_sha256: Option<String>,
}

/// A job, as it stood when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// When something of it changed last.
    pub updated_ms: u64,
    /// What was given when it was created.
    pub new: NewJob,
    /// How far it is.
    pub state: JobState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its rows, where they have been counted.
    pub total: Option<u64>,
    /// Rows with an outcome.
    pub done: u64,
    /// Rows that failed.
    pub failed: u64,
    /// What its rows took, all together.
    pub effort: Effort,
    /// Who works on it, or did last.
    pub owner: Option<Owner>,
    /// Its owner was asked to stop.
    pub is_cancel_requested: bool,
    /// It was done once, whatever became of it since: its results were written.
    pub was_done: bool,
}

/// All columns that [`read_job`] reads, in its order.
const COLUMNS: &str = "id, created_ms, updated_ms, kind, title, spec, fingerprint, input_sha256, state, reason, \
     total, done, failed, prompt_tokens, cached_tokens, completion_tokens, milliseconds, owner_process, owner_host, \
     cancel_requested, was_done";

impl Ledger {
    /// Creates a job that nobody works on.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn create(&self, new: &NewJob) -> Result<Job, LedgerError> {
        self.write(|transaction| self.insert(transaction, new))
    }

    /// Creates a job, unless another of its fingerprint was created since its maker looked for one by
    /// [`Ledger::find`] and found `seen`: that one then. Of two equal commands at once, one creates the job.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn create_since(&self, new: &NewJob, seen: Option<JobId>) -> Result<Job, LedgerError> {
        let at = LedgerError::at(self.path());
        self.write(|transaction| match found_in(transaction, &new.fingerprint).map_err(&at)? {
            Some(job) if Some(job.id) != seen => Ok(job),
            _ => self.insert(transaction, new),
        })
    }

    fn insert(&self, transaction: &Transaction<'_>, new: &NewJob) -> Result<Job, LedgerError> {
        let at = LedgerError::at(self.path());
        let now = now_ms();
        let sql = "INSERT INTO jobs (created_ms, updated_ms, kind, title, spec, fingerprint, input_sha256, state) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 'queued')";
        let spec = new.spec.to_string();
        transaction
            .execute(sql, params![now, now, new.kind, new.title, spec, new.fingerprint, new.input_sha256])
            .map_err(&at)?;
        job_in(transaction, JobId(transaction.last_insert_rowid())).map_err(&at)?.ok_or_else(|| LedgerError::Failed {
            path: self.path().to_path_buf(),
            reason: "a new job is not there".to_owned(),
        })
    }

    /// The job of that number.
    ///
    /// # Errors
    /// There is none, or the ledger cannot be read.
    pub fn job(&self, id: JobId) -> Result<Job, LedgerError> {
        self.read(|connection| job_in(connection, id))?.ok_or(LedgerError::UnknownJob(id))
    }

    /// The newest job of that fingerprint.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn find(&self, fingerprint: &str) -> Result<Option<Job>, LedgerError> {
        self.read(|connection| found_in(connection, fingerprint))
    }

    /// Up to `limit` jobs, the newest first; older than `before`, where that is given.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn jobs(&self, before: Option<JobId>, limit: u32) -> Result<Vec<Job>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id < ? ORDER BY id DESC LIMIT ?");
        let before = before.map_or(i64::MAX, |id| id.0);
        self.read(|connection| connection.prepare_cached(&sql)?.query_map(params![before, limit], read_job)?.collect())
    }

    /// Whether a process works on a job now. A job that is running, but not worked on, was broken off.
    ///
    /// # Errors
    /// Its lock file cannot be read.
    pub fn is_worked_on(&self, id: JobId) -> Result<bool, LedgerError> {
        Lock::is_held(&self.lock_path(id))
    }

    /// Forgets a job and its rows. What they said is overwritten in the file, and goes out of SQLite's log with it.
    ///
    /// # Errors
    /// There is none, somebody works on it, or the ledger cannot be written.
    pub fn remove(&self, id: JobId) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.path());
        let path = self.lock_path(id);
        self.write(|transaction| {
            let job = job_in(transaction, id).map_err(&at)?.ok_or(LedgerError::UnknownJob(id))?;
            let lock = Lock::try_acquire(&path)?.ok_or_else(|| job.owned())?;
            transaction.execute("DELETE FROM jobs WHERE id = ?", [id.0]).map_err(&at)?;
            Ok(lock)
        })?;
        // Where it cannot be removed, an empty file stays that nobody asks for again.
        let _ = std::fs::remove_file(&path);
        self.empty_log()
    }
}

impl Job {
    /// The error that says who works on it.
    pub(crate) fn owned(&self) -> LedgerError {
        let unknown = || Owner { process: 0, host: "an unknown host".to_owned() };
        let owner = self.owner.clone().unwrap_or_else(unknown);
        LedgerError::Owned { job: self.id, title: self.new.title.clone(), owner }
    }
}

/// The job of that number, where there is one.
pub(crate) fn job_in(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id.0], read_job).optional()
}

/// The newest job of that fingerprint, where there is one.
fn found_in(connection: &Connection, fingerprint: &str) -> rusqlite::Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE fingerprint = ? ORDER BY id DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([fingerprint], read_job).optional()
}

/// Sets the state of a job that nobody else writes.
pub(crate) fn set_state(
    transaction: &Transaction<'_>,
    id: JobId,
    state: JobState,
    reason: Option<&str>,
) -> rusqlite::Result<usize> {
    let sql = "UPDATE jobs SET state = ?, reason = ?, cancel_requested = 0, updated_ms = ?, was_done = was_done OR ? \
         WHERE id = ?";
    transaction.execute(sql, params![state.name(), reason, now_ms(), state == JobState::Done, id.0])
}

/// Milliseconds since 1970; a clock that is set before that reads 0.
pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A column of JSON.
pub(crate) fn json(column: usize, text: &str) -> rusqlite::Result<Value> {
    serde_json::from_str(text).map_err(|error| wrong(column, error.to_string()))
}

/// The error of a column that holds what this program never writes there.
pub(crate) fn wrong(column: usize, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

fn read_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    let spec: String = row.get(5)?;
    let state: String = row.get(8)?;
    let process: Option<u32> = row.get(17)?;
    let host: Option<String> = row.get(18)?;
    Ok(Job {
        id: JobId(row.get(0)?),
        created_ms: row.get(1)?,
        updated_ms: row.get(2)?,
        new: NewJob {
            kind: row.get(3)?,
            title: row.get(4)?,
            spec: json(5, &spec)?,
            fingerprint: row.get(6)?,
            input_sha256: row.get(7)?,
        },
        state: JobState::of(&state).ok_or_else(|| wrong(8, format!("no state is called {state:?}")))?,
        reason: row.get(9)?,
        total: row.get(10)?,
        done: row.get(11)?,
        failed: row.get(12)?,
        effort: Effort {
            attempts: 0,
            prompt_tokens: row.get(13)?,
            cached_tokens: row.get(14)?,
            completion_tokens: row.get(15)?,
            milliseconds: row.get(16)?,
        },
        owner: process.zip(host).map(|(process, host)| Owner { process, host }),
        is_cancel_requested: row.get(19)?,
        was_done: row.get(20)?,
    })
}

impl JobState {
    /// Its name in messages and in the file.
    pub fn name(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    fn of(name: &str) -> Option<JobState> {
        STATES.iter().find(|(_, other)| *other == name).map(|(state, _)| *state)
    }
}

impl JobId {
    /// What a person typed as the number of a job.
    ///
    /// # Errors
    /// It is no number.
    pub fn parse(text: &str) -> Result<JobId, String> {
        let number = text.parse().ok().filter(|&number| number > 0).map(JobId);
        number.ok_or_else(|| format!("expected the number of a job, got {text:?}\nhint: `bantam jobs` lists them"))
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {}", self.process, self.host)
    }
}
