//! Judges what came of a candidate, has graded what must be, and records it.

use crate::EvalError;
use crate::grader::{self, Grade, Graded, Grader};
use crate::metrics::{Counts, Judged};
use crate::report::Place;
use crate::run::{Asking, Bracket, Came, Question, Scored, Scores, alone, count};
use chat::ChatError;
use ledger::{Answer, RowGrade, RunRow};
use serde_json::Map;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tasks::TaskError;

/// So many rows are recorded together, or those of [`RECORD_EVERY`], whichever comes first: a commit waits for the disk.
const RECORD_ROWS: usize = 64;
const RECORD_EVERY: Duration = Duration::from_millis(500);

/// So many rows of a provider without an answer, one after the other, end a run: the next would have none either.
const FAILURES_IN_A_ROW: usize = 10;

/// Judges what comes, and keeps it.
pub struct Keeper<'k, 'a> {
    asking: &'k Asking<'a>,
    scores: Scores,
    all: usize,
    /// So many questions come first, however sure their answers make one.
    at_least: usize,
    /// Rows without an answer since the last that had one.
    failed: usize,
    /// What came and is to be graded before it is judged, in the test's order.
    held: Vec<Held<'k>>,
    unrecorded: Vec<RunRow>,
    recorded: Instant,
}

/// What came of a question, with no error in it that ends all.
struct Held<'k> {
    question: Question<'k>,
    result: Result<Answer, String>,
    is_reused: bool,
}

impl<'k, 'a> Keeper<'k, 'a> {
    pub fn new(asking: &'k Asking<'a>, all: usize, at_least: usize) -> Keeper<'k, 'a> {
        let bracket = asking.policy.stop.map(|stop| Bracket::new(stop.level));
        Keeper {
            asking,
            scores: Scores { bracket, ..Scores::default() },
            all,
            at_least,
            failed: 0,
            held: Vec::new(),
            unrecorded: Vec::new(),
            recorded: Instant::now(),
        }
    }

    /// Takes in what came: judges it, or holds it until it is graded.
    pub fn take(&mut self, came: Came<'k>) -> Result<(), EvalError> {
        let Came { question, result, is_reused } = came;
        self.failed = if result.is_ok() { 0 } else { self.failed + 1 };
        let result = match result {
            Err(error) if self.ends_all(&error) => {
                self.record()?;
                return Err(error.into());
            }
            result => result.map_err(|error| error.to_string()),
        };
        let came = Held { question, result, is_reused };
        if self.asking.grader.is_none() {
            let answer = came.result.as_ref().ok();
            let counts = answer.and_then(|answer| count(self.asking.metric, question.row, &answer.outcome));
            return self.judge(came, counts, None);
        }
        // It is paid for, so it is kept whatever becomes of its grade.
        let row = self.row(&came, None, None);
        self.keep(row)?;
        self.held.push(came);
        self.asking.watch.came(self.scores.rows.len() + self.held.len(), self.all);
        Ok(())
    }

    /// Whether an error would meet every other row too. A provider may be silent once and answer the next request.
    fn ends_all(&self, error: &TaskError) -> bool {
        let may_pass = matches!(error, TaskError::Model(ChatError::Unavailable(_)));
        let is_remote = self.asking.entrant.place == Place::Remote;
        error.is_fatal() && !(may_pass && is_remote && self.failed < FAILURES_IN_A_ROW)
    }

    /// Has graded what is held, and judges it.
    pub async fn grade(&mut self) -> Result<(), EvalError> {
        let Some(grader) = self.asking.grader else { return Ok(()) };
        let mut held = std::mem::take(&mut self.held).into_iter();
        loop {
            let batch: Vec<Held<'_>> = held.by_ref().take(grader.at_once().max(1)).collect();
            if batch.is_empty() {
                return self.record();
            }
            let graded = self.graded(grader, &batch).await;
            let graded = graded.inspect_err(|_| drop(self.record()))?;
            for (mut came, graded) in batch.into_iter().zip(graded) {
                let (counts, grade) = match graded {
                    Some((key, Ok(grade))) => (self.asking.metric.count_grade(grade.score), Some(grade.recorded(key))),
                    Some((_, Err(reason))) => {
                        came.result = Err(format!("its answer could not be graded: {reason}"));
                        (None, None)
                    }
                    None => (None, None),
                };
                self.judge(came, counts, grade)?;
            }
            self.go_on()?;
        }
    }

    /// The grades of what came, each with its key: those that the ledger has, and those that are given now; none for rows
    /// without an answer.
    async fn graded(
        &self,
        grader: &dyn Grader,
        batch: &[Held<'_>],
    ) -> Result<Vec<Option<(String, Graded)>>, EvalError> {
        let (who, nothing) = (grader.fingerprint(), Map::new());
        let mut grades: Vec<Option<(String, Graded)>> = Vec::new();
        let (mut asked, mut places) = (Vec::new(), Vec::new());
        for held in batch {
            let Ok(answer) = &held.result else {
                grades.push(None);
                continue;
            };
            let example = &held.question.row.example;
            let outcome = answer.outcome.as_object().unwrap_or(&nothing);
            let judged = Judged { input: &example.input, expected: &example.expected, outcome };
            let key = grader::key(&who, &judged);
            // What is asked afresh was not graded before this run.
            let only_of = self.asking.policy.is_fresh.then_some(self.asking.run);
            let known = self.asking.ledger.grade(&key, only_of)?.and_then(Grade::of_recorded);
            let grade = known.filter(|grade| grader.is_final(grade));
            if grade.is_none() {
                places.push(grades.len());
                asked.push(judged);
            }
            grades.push(Some((key, grade.ok_or_else(|| "the grader said nothing of it".to_owned()))));
        }
        if !asked.is_empty() {
            for (place, graded) in places.into_iter().zip(grader.grade(&asked).await?) {
                if let Some((_, grade)) = &mut grades[place] {
                    *grade = graded;
                }
            }
        }
        Ok(grades)
    }

    /// Judges a row by its counts.
    fn judge(&mut self, came: Held<'_>, counts: Option<Counts>, grade: Option<RowGrade>) -> Result<(), EvalError> {
        let score = counts.as_ref().and_then(|counts| alone(self.asking.metric, counts));
        let mut row = self.row(&came, score, grade);
        if self.asking.grader.is_some() {
            // Its answer was recorded when it came.
            row.answer = None;
        }
        let Held { question: Question { index, attempt, .. }, result, is_reused } = came;
        self.scores.rows.push(Scored { index, attempt, counts, score, result, is_reused });
        self.row_is_whole()?;
        self.keep(row)?;
        self.asking.watch.judged(self.scores.rows.len(), self.all, is_reused, score);
        Ok(())
    }

    /// A row as it is recorded. What the ledger has stays as it is.
    fn row(&self, came: &Held<'_>, score: Option<f64>, grade: Option<RowGrade>) -> RunRow {
        let Held { question, result, is_reused } = came;
        RunRow {
            position: self.asking.position,
            number: question.row.number,
            key: question.key(self.asking.entrant),
            score,
            reason: result.as_ref().err().cloned(),
            expected: question.row.example.expected.clone(),
            answer: result.as_ref().ok().filter(|_| !is_reused).cloned(),
            grade,
        }
    }

    /// Takes a row into the bracket once its last try came.
    fn row_is_whole(&mut self) -> Result<(), EvalError> {
        let tries = self.asking.contender.tries.len();
        let (Some(bracket), rows) = (&mut self.scores.bracket, &self.scores.rows) else { return Ok(()) };
        if !rows.len().is_multiple_of(tries) {
            return Ok(());
        }
        let row = &rows[rows.len() - tries..];
        if row.iter().any(|one| one.result.is_err()) {
            return bracket.push(None);
        }
        // A row that the metric does not apply to says nothing.
        let scores: Vec<f64> = row.iter().filter_map(|one| one.score).collect();
        if scores.len() < tries { Ok(()) } else { bracket.push(Some(scores.iter().sum::<f64>() / tries as f64)) }
    }

    /// Whether the figure lies on one side of the threshold, whatever rows are to come.
    pub fn is_sure(&mut self) -> bool {
        let (Some(stop), Some(bracket)) = (self.asking.policy.stop, &self.scores.bracket) else { return false };
        let interval = bracket.interval();
        let is_apart = interval.low >= stop.threshold || interval.high < stop.threshold;
        let done = self.scores.rows.len();
        let is_whole = done.is_multiple_of(self.asking.contender.tries.len());
        self.scores.stopped_early = is_apart && is_whole && done >= self.at_least && done < self.all;
        self.scores.stopped_early
    }

    /// Looks whether somebody stopped it.
    pub fn go_on(&mut self) -> Result<(), EvalError> {
        if self.asking.interrupt.load(Ordering::Acquire) {
            self.record()?;
            return Err(EvalError::Stopped);
        }
        Ok(())
    }

    fn keep(&mut self, row: RunRow) -> Result<(), EvalError> {
        self.unrecorded.push(row);
        let is_due = self.unrecorded.len() >= RECORD_ROWS || self.recorded.elapsed() >= RECORD_EVERY;
        if is_due { self.record() } else { Ok(()) }
    }

    /// Keeps an answer that came when no more was to be asked, so that it is never paid for again. It is no part of the
    /// figures: when they were complete it was not there.
    pub fn put_by(&mut self, came: Came<'k>) -> Result<(), EvalError> {
        let Came { question, result: Ok(answer), is_reused: false } = came else { return Ok(()) };
        let counts = count(self.asking.metric, question.row, &answer.outcome).filter(|_| self.asking.grader.is_none());
        let score = counts.as_ref().and_then(|counts| alone(self.asking.metric, counts));
        let row = self.row(&Held { question, result: Ok(answer), is_reused: false }, score, None);
        self.keep(row)
    }

    /// Brings what was kept to the disk.
    pub fn record(&mut self) -> Result<(), EvalError> {
        self.asking.ledger.record_rows(self.asking.run, &self.unrecorded)?;
        self.unrecorded.clear();
        self.recorded = Instant::now();
        Ok(())
    }

    /// All that came, recorded.
    pub fn end(mut self) -> Result<Scores, EvalError> {
        self.record()?;
        Ok(self.scores)
    }
}
