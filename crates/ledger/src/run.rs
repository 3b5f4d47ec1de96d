//! Evaluations: runs, the answers of their candidates, and the score of every row.
//!
//! Answers are kept apart from runs, by what they answer: a run that asks what was asked before finds them. Read next:
//! `migrations/0003_runs.sql`; `run_view.rs` for those who look on.

use crate::job::{json, now_ms};
use crate::lock::Lock;
use crate::{Ledger, LedgerError};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

/// The number of a run. A number is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

/// What an answer is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    /// The digest of all that the candidate's answers depend on.
    pub candidate: String,
    /// The digest of the input.
    pub input: String,
    /// The number of the try, from 0.
    pub attempt: u32,
}

/// An answer with what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The fields of the outcome.
    pub outcome: Value,
    /// What whoever reads it should know.
    pub warnings: Vec<String>,
    /// What the candidate was given; none for what needs no words.
    pub prompt: Option<String>,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Those of them that were not computed.
    pub cached_tokens: u64,
    /// Tokens generated, or computed of given answers.
    pub completion_tokens: u64,
    /// From when it was asked to its end.
    pub seconds: f64,
    /// Of this machine's time: with many under way at once, its share.
    pub busy_seconds: f64,
    /// Nothing else was under way meanwhile.
    pub is_alone: bool,
    /// US dollars that a provider takes for it; none for this machine.
    pub dollars: Option<f64>,
}

/// A run to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// What people call it.
    pub name: String,
    /// The same for the same candidates on the same rows.
    pub fingerprint: String,
    /// The digest of the test's rows.
    pub test_sha256: String,
    /// Task, candidates and goal, as its maker reads them.
    pub spec: Value,
}

/// A run, as it stood when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What was given when it was created.
    pub new: NewRun,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ended; none while it runs, or where it was ended by force.
    pub ended_ms: Option<u64>,
    /// Figures and verdict, once it ended.
    pub report: Option<Value>,
}

/// One row of a run under one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The candidate's place, from 0.
    pub position: u32,
    /// The row of the test, from 1.
    pub number: u64,
    /// What its answer is known by.
    pub key: AnswerKey,
    /// Its score under the run's metric.
    pub score: Option<f64>,
    /// Why it has no answer.
    pub reason: Option<String>,
    /// What is right.
    pub expected: Value,
    /// The answer. To be recorded it is given where it is new; one that the ledger has already stays as it is.
    pub answer: Option<Answer>,
    /// What a grader said of the answer; none where the metric counts answers themselves.
    pub grade: Option<RowGrade>,
}

/// What a grader said of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGrade {
    /// The digest of the grader, the row and the answer.
    pub key: String,
    /// The score, and what else it said.
    pub grade: Value,
}

/// Held by whoever adds to a run, until it is dropped or the process ends.
#[derive(Debug)]
pub struct RunHold {
    _lock: Lock,
}

const RUN_COLUMNS: &str = "id, name, fingerprint, test_sha256, spec, created_ms, ended_ms, report";
pub(crate) const ROW_COLUMNS: &str =
    "row.candidate, row.input, row.try, position, number, score, reason, row.expected, graded, grade";
pub(crate) const ANSWER_COLUMNS: &str = "outcome, warnings, prompt, prompt_tokens, cached_tokens, completion_tokens, seconds, \
     busy_seconds, is_alone, dollars";

impl Ledger {
    /// Creates a run.
    ///
    /// # Errors
    /// There is one of this name, or the ledger cannot be written.
    pub fn create_run(&self, new: &NewRun) -> Result<Run, LedgerError> {
        let at = LedgerError::at(self.path());
        let created_ms = now_ms();
        self.write(|transaction| {
            let taken: Option<i64> = transaction
                .query_row("SELECT id FROM runs WHERE name = ?1", [&new.name], |row| row.get(0))
                .optional()
                .map_err(&at)?;
            if taken.is_some() {
                return Err(LedgerError::Taken { name: new.name.clone() });
            }
            let sql = "INSERT INTO runs (name, created_ms, fingerprint, test_sha256, spec) VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![new.name, created_ms, new.fingerprint, new.test_sha256, new.spec.to_string()];
            transaction.execute(sql, values).map_err(&at)?;
            let id = RunId(transaction.last_insert_rowid());
            Ok(Run { id, new: new.clone(), created_ms, ended_ms: None, report: None })
        })
    }

    /// Takes a run, so that no other process asks for the same answers beside this one.
    ///
    /// # Errors
    /// Another process has it.
    pub fn hold_run(&self, run: &Run) -> Result<RunHold, LedgerError> {
        match Lock::try_acquire(&self.run_lock_path(run.id))? {
            Some(lock) => Ok(RunHold { _lock: lock }),
            None => Err(LedgerError::RunHeld { name: run.new.name.clone() }),
        }
    }

    /// The run of a name.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn run(&self, name: &str) -> Result<Option<Run>, LedgerError> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE name = ?1");
        self.read(|connection| connection.query_row(&sql, [name], read_run).optional())
    }

    /// All runs, the newest first.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn runs(&self) -> Result<Vec<Run>, LedgerError> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs ORDER BY id DESC");
        self.read(|connection| connection.prepare(&sql)?.query_map([], read_run)?.collect())
    }

    /// The newest run of these candidates on these rows that has not ended.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn unfinished_run(&self, fingerprint: &str) -> Result<Option<Run>, LedgerError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE fingerprint = ?1 AND ended_ms IS NULL ORDER BY id DESC LIMIT 1"
        );
        self.read(|connection| connection.query_row(&sql, [fingerprint], read_run).optional())
    }

    /// How many runs have looked at a test, ended or not: at the very same one, or at half of its `inputs` or more. A test
    /// that got a row more, or is a part of another, is learned by heart all the same.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn looks_at(&self, test_sha256: &str, inputs: &[&str]) -> Result<u64, LedgerError> {
        // All candidates of a run have the same rows, so the first tells.
        let sql = "SELECT count(*) FROM runs WHERE test_sha256 = ?1 OR id IN \
             (SELECT run FROM run_rows WHERE position = 0 AND try = 0 AND input IN (SELECT value FROM json_each(?2)) \
             GROUP BY run HAVING 2 * count(*) >= json_array_length(?2))";
        let inputs = Value::from(inputs.to_vec()).to_string();
        self.read(|connection| connection.query_row(sql, params![test_sha256, inputs], |row| row.get(0)))
    }

    /// The answers that are known of a candidate.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn answers(&self, candidate: &str) -> Result<Vec<(AnswerKey, Answer)>, LedgerError> {
        let sql = format!("SELECT {ANSWER_COLUMNS}, candidate, input, try FROM answers WHERE candidate = ?1");
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let found = statement.query_map([candidate], |row| Ok((read_key(row, 10)?, read_answer(row, 0)?)))?;
            found.collect()
        })
    }

    /// The grade of a key, whichever run had it given, or this one alone.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn grade(&self, key: &str, only_of: Option<RunId>) -> Result<Option<Value>, LedgerError> {
        let sql =
            "SELECT grade FROM run_rows WHERE graded = ?1 AND grade IS NOT NULL AND (?2 IS NULL OR run = ?2) LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| json(0, &row.get::<_, String>(0)?);
        let values = params![key, only_of.map(|run| run.0)];
        self.read(|connection| connection.query_row(sql, values, read).optional())
    }

    /// Records rows of a run with their answers; what was recorded of the same rows before is replaced.
    ///
    /// # Errors
    /// The ledger cannot be written; then none is.
    pub fn record_rows(&self, run: RunId, rows: &[RunRow]) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.path());
        self.write(|transaction| rows.iter().try_for_each(|row| write_row(transaction, run, row)).map_err(&at))
    }

    /// Writes the report of a run that ended.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn end_run(&self, run: RunId, report: &Value) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.path());
        self.write(|transaction| {
            let sql = "UPDATE runs SET ended_ms = ?2, report = ?3 WHERE id = ?1";
            transaction.execute(sql, params![run.0, now_ms(), report.to_string()]).map(drop).map_err(&at)
        })
    }

    /// Removes a run with its rows, and the answers that no other run has.
    ///
    /// # Errors
    /// Another process adds to it, or the ledger cannot be written.
    pub fn remove_run(&self, run: &Run) -> Result<(), LedgerError> {
        let _held = self.hold_run(run)?;
        let at = LedgerError::at(self.path());
        let removed = self.write(|transaction| {
            transaction.execute("DELETE FROM runs WHERE id = ?1", [run.id.0]).map_err(&at)?;
            let orphans = "DELETE FROM answers WHERE NOT EXISTS (SELECT 1 FROM run_rows AS row WHERE \
                 row.candidate = answers.candidate AND row.input = answers.input AND row.try = answers.try)";
            transaction.execute(orphans, []).map_err(&at)?;
            let unasked = "DELETE FROM test_inputs WHERE test_sha256 NOT IN (SELECT test_sha256 FROM runs)";
            transaction.execute(unasked, []).map(drop).map_err(&at)
        });
        removed.and_then(|()| self.empty_log())
    }

    /// The rows of a run, by candidate, then by number.
    ///
    /// # Errors
    /// As [`Ledger::run`].
    pub fn run_rows(&self, run: RunId) -> Result<Vec<RunRow>, LedgerError> {
        let sql = format!(
            "SELECT {ANSWER_COLUMNS}, {ROW_COLUMNS} FROM run_rows AS row LEFT JOIN answers USING (candidate, input, try) \
             WHERE run = ?1 ORDER BY position, number, row.try"
        );
        self.read(|connection| connection.prepare(&sql)?.query_map([run.0], read_run_row)?.collect())
    }
}

fn write_row(connection: &Connection, run: RunId, row: &RunRow) -> rusqlite::Result<()> {
    let AnswerKey { candidate, input, attempt } = &row.key;
    if let Some(answer) = &row.answer {
        let warnings = (!answer.warnings.is_empty()).then(|| Value::from(answer.warnings.clone()).to_string());
        let sql = "INSERT OR REPLACE INTO answers (candidate, input, try, recorded_ms, prompt_tokens, cached_tokens, \
             completion_tokens, seconds, busy_seconds, is_alone, dollars, warnings, prompt, outcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        connection.prepare_cached(sql)?.execute(params![
            candidate,
            input,
            attempt,
            now_ms(),
            answer.prompt_tokens,
            answer.cached_tokens,
            answer.completion_tokens,
            answer.seconds,
            answer.busy_seconds,
            answer.is_alone,
            answer.dollars,
            warnings,
            answer.prompt,
            answer.outcome.to_string(),
        ])?;
    }
    // A grade stays until another one is given: it may be known by what was graded.
    let sql = "INSERT INTO run_rows (run, position, number, try, candidate, input, score, reason, expected, graded, grade) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (run, position, number, try) DO UPDATE SET \
         candidate = excluded.candidate, input = excluded.input, score = excluded.score, reason = excluded.reason, \
         expected = excluded.expected, graded = coalesce(excluded.graded, graded), grade = coalesce(excluded.grade, grade)";
    let values = params![
        run.0,
        row.position,
        row.number,
        attempt,
        candidate,
        input,
        row.score,
        row.reason,
        row.expected.to_string(),
        row.grade.as_ref().map(|grade| &grade.key),
        row.grade.as_ref().map(|grade| grade.grade.to_string()),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn read_run(row: &rusqlite::Row<'_>) -> rusqlite::Result<Run> {
    let report: Option<String> = row.get(7)?;
    Ok(Run {
        id: RunId(row.get(0)?),
        new: NewRun {
            name: row.get(1)?,
            fingerprint: row.get(2)?,
            test_sha256: row.get(3)?,
            spec: json(4, &row.get::<_, String>(4)?)?,
        },
        created_ms: row.get(5)?,
        ended_ms: row.get(6)?,
        report: report.map(|text| json(7, &text)).transpose()?,
    })
}

/// A row by [`ANSWER_COLUMNS`] and [`ROW_COLUMNS`].
pub(crate) fn read_run_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
    let is_answered = row.get_ref(0)? != rusqlite::types::ValueRef::Null;
    Ok(RunRow {
        position: row.get(13)?,
        number: row.get(14)?,
        key: read_key(row, 10)?,
        score: row.get(15)?,
        reason: row.get(16)?,
        expected: json(17, &row.get::<_, String>(17)?)?,
        answer: if is_answered { Some(read_answer(row, 0)?) } else { None },
        grade: read_grade(row, 18)?,
    })
}

fn read_key(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<AnswerKey> {
    Ok(AnswerKey { candidate: row.get(first)?, input: row.get(first + 1)?, attempt: row.get(first + 2)? })
}

fn read_grade(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Option<RowGrade>> {
    let (key, grade) = (row.get::<_, Option<String>>(first)?, row.get::<_, Option<String>>(first + 1)?);
    let (Some(key), Some(grade)) = (key, grade) else { return Ok(None) };
    Ok(Some(RowGrade { key, grade: json(first + 1, &grade)? }))
}

fn read_answer(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Answer> {
    let warnings: Option<String> = row.get(first + 1)?;
    let warnings = warnings.map(|text| json(first + 1, &text)).transpose()?;
    let texts = warnings.iter().filter_map(Value::as_array).flatten();
    Ok(Answer {
        outcome: json(first, &row.get::<_, String>(first)?)?,
        warnings: texts.filter_map(Value::as_str).map(str::to_owned).collect(),
        prompt: row.get(first + 2)?,
        prompt_tokens: row.get(first + 3)?,
        cached_tokens: row.get(first + 4)?,
        completion_tokens: row.get(first + 5)?,
        seconds: row.get(first + 6)?,
        busy_seconds: row.get(first + 7)?,
        is_alone: row.get(first + 8)?,
        dollars: row.get(first + 9)?,
    })
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
