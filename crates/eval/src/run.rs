//! One candidate through the rows of a test: what the ledger has of it is taken from there, the rest is asked and recorded.
//!
//! ```text
//! for each row, in the test's order:  known? take it : ask it        (the first few alone, then many at once)
//!     judge it                        counts of the metric
//!     record it                       in the ledger, some rows together
//!     enough is known?                stop
//! ```
//!
//! A process that is killed loses what it had asked since it last recorded: half a second of it.

use crate::contender::{Contender, Entrant, Price};
use crate::metrics::{Counts, Judged, Metric};
use crate::statistics::interval::Level;
use crate::statistics::sequence::Sequence;
use crate::{EvalError, TestRow, TestSet};
use futures::StreamExt;
use ledger::{Answer, AnswerKey, Ledger, RunId, RunRow};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tasks::{Outcome, TaskError};

/// So many rows are recorded together, or those of [`RECORD_EVERY`], whichever comes first: a commit waits for the disk.
const RECORD_ROWS: usize = 64;
const RECORD_EVERY: Duration = Duration::from_millis(500);

/// How far a candidate is asked.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// So many rows are asked one at a time, for how long an answer takes.
    pub alone: usize,
    /// Of these, rows whose answer is known are asked again where that answer was not timed alone.
    pub must_time: bool,
    /// To be ended as soon as it is clear on which side of the threshold the figure lies.
    pub stop: Option<Stop>,
}

/// When enough is known.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// The figure to be reached.
    pub threshold: f64,
    /// How sure the verdict is.
    pub level: Level,
}

/// Somebody who watches.
pub trait Watch: Send + Sync {
    /// A row was judged: how many are, of how many, whether it was known before, and its score.
    fn judged(&self, done: usize, all: usize, is_reused: bool, score: Option<f64>);
}

/// A row as it was judged.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Its place among the rows of the test set.
    pub index: usize,
    /// The number of the try.
    pub attempt: u32,
    /// What it adds to the metric; none where the metric does not apply, or there is no answer.
    pub counts: Option<Counts>,
    /// Its score alone, where the metric has one.
    pub score: Option<f64>,
    /// What came, or why nothing did.
    pub result: Result<Answer, String>,
    /// The answer was known before.
    pub is_reused: bool,
}

/// All that came of one candidate.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// Its rows, in the test's order, tries of one row beside each other.
    pub rows: Vec<Scored>,
    /// It was ended before the last row.
    pub stopped_early: bool,
    /// The sequence by which it was ended, or not yet, where one was kept.
    pub sequence: Option<Sequence>,
}

/// What a candidate is asked with.
pub struct Asking<'a> {
    /// Who it is.
    pub entrant: &'a Entrant,
    /// Its place among the candidates.
    pub position: u32,
    /// What answers.
    pub contender: &'a Contender,
    /// The rows.
    pub test: &'a TestSet,
    /// What is counted.
    pub metric: &'a dyn Metric,
    /// Where it is recorded.
    pub ledger: &'a Ledger,
    /// The run.
    pub run: RunId,
    /// How far.
    pub policy: Policy,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Set by whoever wants it to stop.
    pub interrupt: &'a AtomicBool,
}

/// A question: a row, and the number of the try.
#[derive(Clone, Copy)]
struct Question<'a> {
    index: usize,
    row: &'a TestRow,
    attempt: u32,
}

/// What came of a question, and how long the machine worked since the one before came.
struct Came<'a> {
    question: Question<'a>,
    result: Result<Answer, TaskError>,
    is_reused: bool,
}

impl Asking<'_> {
    /// Asks, judges and records.
    ///
    /// # Errors
    /// An error that all rows would have, a ledger that cannot be written, or somebody who stopped it.
    pub async fn run(&self) -> Result<Scores, EvalError> {
        let known: HashMap<AnswerKey, Answer> = self.ledger.answers(&self.entrant.fingerprint)?.into_iter().collect();
        let tries = self.contender.tries.len() as u32;
        let questions = self.test.rows.iter().enumerate();
        let questions: Vec<Question<'_>> = questions
            .flat_map(|(index, row)| (0..tries).map(move |attempt| Question { index, row, attempt }))
            .collect();
        let alone = self.policy.alone.saturating_mul(tries as usize).min(questions.len());
        let mut keeper = Keeper::new(self, questions.len());
        for (part, at_once) in [(&questions[..alone], 1), (&questions[alone..], self.concurrency())] {
            let mut last = Instant::now();
            let asked = futures::stream::iter(part).map(|&question| self.answer(question, &known, at_once == 1));
            let mut came = std::pin::pin!(asked.buffered(at_once));
            while let Some(mut came) = came.next().await {
                if let Ok(answer) = &mut came.result
                    && !came.is_reused
                {
                    answer.busy_seconds = last.elapsed().as_secs_f64();
                }
                last = Instant::now();
                keeper.take(came)?;
                if keeper.is_sure() {
                    return keeper.end();
                }
                if self.interrupt.load(Ordering::Acquire) {
                    keeper.record()?;
                    return Err(EvalError::Stopped);
                }
            }
        }
        keeper.end()
    }

    fn concurrency(&self) -> usize {
        self.contender.tries.first().map_or(1, |work| work.concurrency()).max(1)
    }

    fn key(&self, question: Question<'_>) -> AnswerKey {
        let Question { row, attempt, .. } = question;
        AnswerKey { candidate: self.entrant.fingerprint.clone(), input: row.digest.clone(), attempt }
    }

    async fn answer<'q>(&self, question: Question<'q>, known: &HashMap<AnswerKey, Answer>, is_alone: bool) -> Came<'q> {
        let is_timed = |answer: &&Answer| answer.is_alone || !is_alone || !self.policy.must_time;
        if let Some(answer) = known.get(&self.key(question)).filter(is_timed) {
            return Came { question, result: Ok(answer.clone()), is_reused: true };
        }
        let input = &question.row.example.input;
        let began = Instant::now();
        let result = self.contender.tries[question.attempt as usize].ask(input).await;
        let seconds = began.elapsed().as_secs_f64();
        let result = match result {
            // It answered, and what it said is no answer: that is its fault, and every metric counts it as wrong.
            Err(TaskError::Output(reason)) => Ok(Outcome { warnings: vec![reason], ..Outcome::default() }),
            result => result,
        };
        let result = result.map(|outcome| self.recorded(outcome, input, seconds, is_alone));
        Came { question, result, is_reused: false }
    }

    fn recorded(&self, outcome: Outcome, input: &tasks::Input, seconds: f64, is_alone: bool) -> Answer {
        let dollars = match &self.contender.price {
            Price::Provider(price) => price(&outcome),
            Price::Machine(_) | Price::Unknown => None,
        };
        Answer {
            dollars,
            prompt: (self.contender.preview)(input),
            prompt_tokens: outcome.prompt_tokens as u64,
            cached_tokens: outcome.cached_tokens as u64,
            completion_tokens: outcome.completion_tokens as u64,
            seconds,
            busy_seconds: seconds,
            is_alone,
            warnings: outcome.warnings,
            outcome: Value::Object(outcome.fields),
        }
    }
}

/// Judges what comes, and keeps it.
struct Keeper<'k, 'a> {
    asking: &'k Asking<'a>,
    scores: Scores,
    all: usize,
    unrecorded: Vec<RunRow>,
    recorded: Instant,
}

impl<'k, 'a> Keeper<'k, 'a> {
    fn new(asking: &'k Asking<'a>, all: usize) -> Keeper<'k, 'a> {
        let sequence = asking.policy.stop.map(|stop| Sequence::new(stop.level));
        let scores = Scores { sequence, ..Scores::default() };
        Keeper { asking, scores, all, unrecorded: Vec::new(), recorded: Instant::now() }
    }

    fn take(&mut self, came: Came<'_>) -> Result<(), EvalError> {
        let Came { question, result, is_reused } = came;
        let result = match result {
            Err(error) if error.is_fatal() => {
                self.record()?;
                return Err(error.into());
            }
            result => result.map_err(|error| error.to_string()),
        };
        let counts = result.as_ref().ok().and_then(|answer| count(self.asking.metric, question.row, &answer.outcome));
        let score = counts.as_ref().and_then(|counts| alone(self.asking.metric, counts));
        if let (Some(sequence), Some(score)) = (&mut self.scores.sequence, score) {
            sequence.push(score)?;
        }
        let (reason, answer) = (result.as_ref().err().cloned(), result.as_ref().ok().cloned());
        self.unrecorded.push(RunRow {
            position: self.asking.position,
            number: question.row.number,
            key: self.asking.key(question),
            score,
            reason,
            answer,
        });
        let Question { index, attempt, .. } = question;
        self.scores.rows.push(Scored { index, attempt, counts, score, result, is_reused });
        if self.unrecorded.len() >= RECORD_ROWS || self.recorded.elapsed() >= RECORD_EVERY {
            self.record()?;
        }
        self.asking.watch.judged(self.scores.rows.len(), self.all, is_reused, score);
        Ok(())
    }

    /// Whether the figure lies on one side of the threshold, whatever rows are to come. Rows that failed keep it open:
    /// nobody knows what they would have been.
    fn is_sure(&mut self) -> bool {
        let (Some(stop), Some(sequence)) = (self.asking.policy.stop, &self.scores.sequence) else { return false };
        let interval = sequence.interval();
        let is_apart = interval.low >= stop.threshold || interval.high < stop.threshold;
        let sure = is_apart && self.scores.rows.iter().all(|row| row.result.is_ok());
        self.scores.stopped_early = sure && self.scores.rows.len() < self.all;
        self.scores.stopped_early
    }

    fn record(&mut self) -> Result<(), EvalError> {
        self.asking.ledger.record_rows(self.asking.run, &self.unrecorded)?;
        self.unrecorded.clear();
        self.recorded = Instant::now();
        Ok(())
    }

    fn end(mut self) -> Result<Scores, EvalError> {
        self.record()?;
        Ok(self.scores)
    }
}

/// What a row with this outcome adds to a metric.
pub fn count(metric: &dyn Metric, row: &TestRow, outcome: &Value) -> Option<Counts> {
    let nothing = Map::new();
    let outcome = outcome.as_object().unwrap_or(&nothing);
    metric.count(&Judged { input: &row.example.input, expected: &row.example.expected, outcome })
}

/// The figure of one row alone.
pub fn alone(metric: &dyn Metric, counts: &Counts) -> Option<f64> {
    let mut sums = vec![0.0; metric.slots()];
    for &(slot, count) in &counts.0 {
        *sums.get_mut(slot as usize)? += count;
    }
    metric.figure(&sums)
}
