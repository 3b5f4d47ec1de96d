//! Evaluations for those who look on: how far a run is, and its rows page by page, each with what was asked.
//!
//! Read next: `run.rs`, who writes them.

use crate::job::json;
use crate::lock::Lock;
use crate::run::{ANSWER_COLUMNS, ROW_COLUMNS, read_run_row};
use crate::{Ledger, LedgerError, Run, RunId, RunRow};
use rusqlite::params;
use serde_json::Value;

/// A row of a run as far as its score.
#[derive(Debug, Clone, PartialEq)]
pub struct RowScore {
    /// The candidate's place, from 0.
    pub position: u32,
    /// The row of the test, from 1.
    pub number: u64,
    /// Its score under the run's metric.
    pub score: Option<f64>,
    /// It has no answer.
    pub is_failed: bool,
    /// When its answer was recorded, in milliseconds since 1970; an answer that was known before has its old time.
    pub recorded_ms: Option<u64>,
}

/// Which rows of a run are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Which {
    /// All.
    #[default]
    All,
    /// Those that were not wholly right, or have no answer.
    Wrong,
    /// Those without an answer.
    Failed,
}

/// A part of the rows of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowPage {
    /// Only of the candidate at this place.
    pub position: Option<u32>,
    /// Only these.
    pub which: Which,
    /// So many are passed over.
    pub offset: u64,
    /// At most so many come.
    pub limit: u64,
}

/// A row of a run with what it asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedRow {
    /// The row.
    pub row: RunRow,
    /// The fields of its input; none where an older program recorded the run.
    pub fields: Option<Value>,
}

impl Ledger {
    /// Records what the rows of a test ask, by the digests of their inputs; what is known already stays.
    ///
    /// # Errors
    /// The ledger cannot be written; then none is.
    pub fn record_inputs<'i>(
        &self,
        test_sha256: &str,
        inputs: impl IntoIterator<Item = (&'i str, Value)>,
    ) -> Result<(), LedgerError> {
        let at = LedgerError::at(self.path());
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO test_inputs (test_sha256, input, fields) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare_cached(sql).map_err(&at)?;
            for (input, fields) in inputs {
                statement.execute(params![test_sha256, input, fields.to_string()]).map_err(&at)?;
            }
            Ok(())
        })
    }

    /// What the rows of a run ask, by their numbers; nothing where an older program recorded it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn run_inputs(&self, run: &Run) -> Result<Vec<(u64, Value)>, LedgerError> {
        let sql = "SELECT DISTINCT number, fields FROM run_rows AS row JOIN test_inputs AS asked \
                   ON asked.input = row.input AND asked.test_sha256 = ?2 WHERE run = ?1 ORDER BY number";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map(params![run.id.0, run.new.test_sha256], |row| {
                Ok((row.get(0)?, json(1, &row.get::<_, String>(1)?)?))
            })?;
            found.collect()
        })
    }

    /// Whether somebody adds to a run just now.
    ///
    /// # Errors
    /// Its lock cannot be looked at.
    pub fn is_run_held(&self, run: RunId) -> Result<bool, LedgerError> {
        Lock::is_held(&self.run_lock_path(run))
    }

    /// The scores of all rows of a run so far, by candidate, then by number.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn run_scores(&self, run: RunId) -> Result<Vec<RowScore>, LedgerError> {
        let sql = "SELECT position, number, score, reason IS NOT NULL, recorded_ms FROM run_rows AS row \
                   LEFT JOIN answers USING (candidate, input, try) WHERE run = ?1 ORDER BY position, number, row.try";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map([run.0], |row| {
                Ok(RowScore {
                    position: row.get(0)?,
                    number: row.get(1)?,
                    score: row.get(2)?,
                    is_failed: row.get(3)?,
                    recorded_ms: row.get(4)?,
                })
            })?;
            found.collect()
        })
    }

    /// A part of the rows of a run, by number, then by candidate, and how many there are of these.
    ///
    /// # Errors
    /// As [`Ledger::run_scores`].
    pub fn run_page(&self, run: &Run, page: &RowPage) -> Result<(Vec<AskedRow>, u64), LedgerError> {
        let which = match page.which {
            Which::All => "TRUE",
            Which::Wrong => "(reason IS NOT NULL OR score < 1)",
            Which::Failed => "reason IS NOT NULL",
        };
        let wanted = format!("FROM run_rows AS row WHERE run = ?1 AND (?2 IS NULL OR position = ?2) AND {which}");
        let rows = format!(
            "SELECT {ANSWER_COLUMNS}, {ROW_COLUMNS}, asked.fields FROM (SELECT * {wanted} \
             ORDER BY number, position, try LIMIT ?3 OFFSET ?4) AS row LEFT JOIN answers USING (candidate, input, try) \
             LEFT JOIN test_inputs AS asked ON asked.input = row.input AND asked.test_sha256 = ?5 \
             ORDER BY number, position, row.try"
        );
        self.read(|connection| {
            let count = format!("SELECT count(*) {wanted}");
            let all = connection.query_row(&count, params![run.id.0, page.position], |row| row.get(0))?;
            let values = params![run.id.0, page.position, page.limit, page.offset, run.new.test_sha256];
            let mut statement = connection.prepare(&rows)?;
            let found = statement.query_map(values, |row| {
                let fields: Option<String> = row.get(20)?;
                Ok(AskedRow { row: read_run_row(row)?, fields: fields.map(|text| json(20, &text)).transpose()? })
            })?;
            Ok((found.collect::<rusqlite::Result<_>>()?, all))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, AnswerKey, NewRun};
    use serde_json::json;

    fn row(position: u32, number: u64, score: Option<f64>) -> RunRow {
        let answer = Answer {
            outcome: json!({"label": "a"}),
            warnings: Vec::new(),
            prompt: Some(format!("prompt {number}")),
            prompt_tokens: 1,
            cached_tokens: 0,
            completion_tokens: 1,
            seconds: 0.5,
            busy_seconds: 0.25,
            is_alone: false,
            dollars: None,
        };
        let key = AnswerKey { candidate: format!("c{position}"), input: format!("i{number}"), attempt: 0 };
        let reason = score.is_none().then(|| "too long".to_owned());
        let answer = score.map(|_| answer);
        RunRow { position, number, key, score, reason, expected: json!("a"), answer, grade: None }
    }

    /// Three rows under two candidates: right, half right and failed; all right.
    fn scene() -> (tempfile::TempDir, Ledger, Run) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
        let new = NewRun {
            name: "monday".to_owned(),
            fingerprint: "f".to_owned(),
            test_sha256: "t".to_owned(),
            spec: json!({}),
        };
        let run = ledger.create_run(&new).unwrap();
        let inputs = ["i1", "i2", "i3"].map(|input| (input, json!({"text": format!("text of {input}")})));
        ledger.record_inputs("t", inputs).unwrap();
        let rows = [
            row(0, 1, Some(1.0)),
            row(0, 2, Some(0.5)),
            row(0, 3, None),
            row(1, 1, Some(1.0)),
            row(1, 2, Some(1.0)),
            row(1, 3, Some(1.0)),
        ];
        ledger.record_rows(run.id, &rows).unwrap();
        (folder, ledger, run)
    }

    fn found(ledger: &Ledger, run: &Run, page: RowPage) -> (Vec<(u64, u32)>, u64) {
        let (rows, all) = ledger.run_page(run, &page).unwrap();
        (rows.iter().map(|asked| (asked.row.number, asked.row.position)).collect(), all)
    }

    #[test]
    fn rows_come_page_by_page_with_what_they_ask() {
        let (_folder, ledger, run) = scene();
        let page = RowPage { limit: 4, ..RowPage::default() };
        assert_eq!(found(&ledger, &run, page), (vec![(1, 0), (1, 1), (2, 0), (2, 1)], 6));
        assert_eq!(found(&ledger, &run, RowPage { offset: 4, ..page }), (vec![(3, 0), (3, 1)], 6));
        assert_eq!(found(&ledger, &run, RowPage { which: Which::Wrong, ..page }), (vec![(2, 0), (3, 0)], 2));
        assert_eq!(found(&ledger, &run, RowPage { which: Which::Failed, ..page }), (vec![(3, 0)], 1));
        let of_second = RowPage { position: Some(1), ..page };
        assert_eq!(found(&ledger, &run, of_second), (vec![(1, 1), (2, 1), (3, 1)], 3));
        let (rows, _) = ledger.run_page(&run, &of_second).unwrap();
        assert_eq!(rows[2].fields, Some(json!({"text": "text of i3"})));
        assert_eq!(rows[2].row, row(1, 3, Some(1.0)));
        let inputs = ledger.run_inputs(&run).unwrap();
        assert_eq!(inputs.len(), 3, "one for each row, however many candidates");
        assert_eq!(inputs[2], (3, json!({"text": "text of i3"})));
    }

    #[test]
    fn scores_and_whether_anybody_is_at_it_are_told() {
        let (_folder, ledger, run) = scene();
        let scores = ledger.run_scores(run.id).unwrap();
        let told: Vec<_> = scores.iter().map(|row| (row.position, row.number, row.score, row.is_failed)).collect();
        assert_eq!(told[1..3], [(0, 2, Some(0.5), false), (0, 3, None, true)]);
        assert!(scores[0].recorded_ms.is_some() && scores[2].recorded_ms.is_none(), "{scores:?}");
        assert!(!ledger.is_run_held(run.id).unwrap());
        let held = ledger.hold_run(&run).unwrap();
        assert!(ledger.is_run_held(run.id).unwrap());
        drop(held);
        assert!(!ledger.is_run_held(run.id).unwrap());
    }

    #[test]
    fn what_was_asked_goes_with_the_last_run_that_asked_it() {
        let (folder, ledger, run) = scene();
        let second = ledger.create_run(&NewRun { name: "tuesday".to_owned(), ..run.new.clone() }).unwrap();
        ledger.remove_run(&run).unwrap();
        ledger.record_rows(second.id, &[row(0, 1, Some(1.0))]).unwrap();
        let page = RowPage { limit: 9, ..RowPage::default() };
        let (rows, _) = ledger.run_page(&second, &page).unwrap();
        assert_eq!(rows[0].fields, Some(json!({"text": "text of i1"})));
        ledger.remove_run(&second).unwrap();
        let file = std::fs::read(folder.path().join("ledger.sqlite")).unwrap();
        assert!(!file.windows(10).any(|bytes| bytes == b"text of i1"), "what was removed is overwritten");
    }
}
