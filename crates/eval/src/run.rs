//! One candidate through the rows of a test: what the ledger has of it is taken from there, the rest is asked and recorded.
//!
//! ```text
//! for each row, in the test's order:  known? take it : ask it        (the first few alone, then many at once)
//!     judge it                        counts of the metric, or of the grade that it is given
//!     record it                       in the ledger, some rows together
//!     enough is known?                stop
//! ```
//!
//! A process that is killed loses what it had asked since it last recorded: half a second of it. Where it ends otherwise, what a
//! provider was asked and is under way is let end (its client bounds how long that takes) and recorded: it is paid for.
//! Read next: `keeper.rs`, which judges and records.

use crate::contender::{Contender, Entrant, Price};
use crate::grader::Grader;
use crate::keeper::Keeper;
use crate::metrics::{Counts, Judged, Metric};
use crate::report::Place;
use crate::statistics::interval::{Interval, Level};
use crate::statistics::sequence::Sequence;
use crate::{EvalError, TestRow, TestSet};
use chat::ChatError;
use futures::StreamExt;
use ledger::{Answer, AnswerKey, Ledger, RunId};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tasks::{Outcome, TaskError};

/// Where answers are graded and the candidate may be ended early, so many are asked, then graded, then the next: fewer would
/// have the candidate wait too often, more would be asked in vain.
const GRADED_TOGETHER: usize = 32;

/// How far a candidate is asked.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// So many rows are asked one at a time, for how long an answer takes.
    pub alone: usize,
    /// Of these, rows whose answer is known are asked again where that answer was not timed alone.
    pub must_time: bool,
    /// What the ledger has is asked again.
    pub is_fresh: bool,
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
    /// An answer came that has to be graded before it is judged: how many have come, of how many.
    fn came(&self, done: usize, all: usize) {
        let _ = (done, all);
    }

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
    /// What is known after every row, where the candidate may be ended early.
    pub bracket: Option<Bracket>,
}

/// A confidence sequence on either side of rows without an answer: they may all have been wrong, or all right.
#[derive(Debug, Clone)]
pub struct Bracket {
    lowest: Sequence,
    /// As long as no row is without an answer it is the same one.
    highest: Option<Sequence>,
    answered: Sequence,
}

impl Bracket {
    pub(crate) fn new(level: Level) -> Bracket {
        let sequence = Sequence::new(level);
        Bracket { lowest: sequence.clone(), highest: None, answered: sequence }
    }

    /// Takes in a row: the mean score of its tries, or that some have none.
    pub(crate) fn push(&mut self, score: Option<f64>) -> Result<(), EvalError> {
        if score.is_none() && self.highest.is_none() {
            self.highest = Some(self.lowest.clone());
        }
        self.lowest.push(score.unwrap_or(0.0))?;
        if let Some(highest) = &mut self.highest {
            highest.push(score.unwrap_or(1.0))?;
        }
        if let Some(score) = score {
            self.answered.push(score)?;
        }
        Ok(())
    }

    /// Where the figure is, whatever the rows without an answer would have been.
    pub fn interval(&self) -> Interval {
        let highest = self.highest.as_ref().unwrap_or(&self.lowest);
        Interval { low: self.lowest.interval().low, high: highest.interval().high }
    }

    /// The figure of the rows that were answered.
    pub fn mean(&self) -> Option<f64> {
        self.answered.mean()
    }

    /// How many more rows will decide about a threshold, about.
    pub fn more_rows(&self, threshold: f64) -> Option<u64> {
        self.answered.more_rows(threshold)
    }
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
    /// Who grades what is counted, where that is grades.
    pub grader: Option<&'a dyn Grader>,
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
pub(crate) struct Question<'a> {
    pub index: usize,
    pub row: &'a TestRow,
    pub attempt: u32,
}

/// What came of a question, and how long the machine worked since the one before came.
pub(crate) struct Came<'a> {
    pub question: Question<'a>,
    pub result: Result<Answer, TaskError>,
    pub is_reused: bool,
}

/// Takes in what came: how it ends, where no more is to be asked.
fn next<'k>(keeper: &mut Keeper<'k, '_>, came: Came<'k>) -> Option<Result<(), EvalError>> {
    if let Err(error) = keeper.take(came) {
        return Some(Err(error));
    }
    if keeper.is_sure() { Some(Ok(())) } else { keeper.go_on().err().map(Err) }
}

impl Asking<'_> {
    /// Asks, judges and records.
    ///
    /// # Errors
    /// An error that all rows would have, a ledger that cannot be written, or somebody who stopped it.
    pub async fn run(&self) -> Result<Scores, EvalError> {
        let known = known(self.ledger, self.entrant, self.policy, Some(self.run))?;
        let tries = self.contender.tries.len() as u32;
        let questions: Vec<Question<'_>> = questions(self.test, tries).collect();
        let alone = alone_of(self.policy, tries).min(questions.len());
        let mut keeper = Keeper::new(self, questions.len(), if self.policy.must_time { alone } else { 0 });
        for (part, at_once) in [(&questions[..alone], 1), (&questions[alone..], self.concurrency())] {
            for part in part.chunks(self.asked_together(part.len())) {
                self.ask(part, at_once, &known, &mut keeper).await?;
                keeper.grade().await?;
                if keeper.is_sure() {
                    return keeper.end();
                }
            }
        }
        keeper.end()
    }

    /// Asks, so many at once, until all came or enough is known.
    async fn ask<'q>(
        &self,
        questions: &[Question<'q>],
        at_once: usize,
        known: &HashMap<AnswerKey, Answer>,
        keeper: &mut Keeper<'q, '_>,
    ) -> Result<(), EvalError> {
        let mut last = Instant::now();
        let mut end: Option<Result<(), EvalError>> = None;
        let is_ending = AtomicBool::new(false);
        let open = questions.iter().take_while(|_| !is_ending.load(Ordering::Relaxed));
        let asked = futures::stream::iter(open).map(|&question| self.answer(question, known, at_once == 1));
        let mut came = std::pin::pin!(asked.buffered(at_once));
        while let Some(mut came) = came.next().await {
            if let Ok(answer) = &mut came.result
                && !came.is_reused
            {
                answer.busy_seconds = last.elapsed().as_secs_f64();
            }
            last = Instant::now();
            if end.is_some() {
                keeper.put_by(came)?;
                continue;
            }
            end = next(keeper, came);
            is_ending.store(end.is_some(), Ordering::Relaxed);
            // A provider is paid for what is under way, so that is let end and kept; this machine stops at once.
            if end.is_some() && self.entrant.place != Place::Remote {
                break;
            }
        }
        keeper.record()?;
        end.unwrap_or(Ok(()))
    }

    /// How many questions of so many are asked before what came is graded.
    fn asked_together(&self, questions: usize) -> usize {
        let is_graded_early = self.grader.is_some() && self.policy.stop.is_some();
        if is_graded_early { GRADED_TOGETHER } else { questions.max(1) }
    }

    fn concurrency(&self) -> usize {
        self.contender.tries.first().map_or(1, |work| work.concurrency()).max(1)
    }

    async fn answer<'q>(&self, question: Question<'q>, known: &HashMap<AnswerKey, Answer>, is_alone: bool) -> Came<'q> {
        let known = known.get(&question.key(self.entrant));
        if let Some(answer) = known.filter(|answer| is_reusable(answer, self.policy, is_alone)) {
            return Came { question, result: Ok(answer.clone()), is_reused: true };
        }
        let input = &question.row.example.input;
        let began = Instant::now();
        let result = self.contender.tries[question.attempt as usize].ask(input).await;
        let seconds = began.elapsed().as_secs_f64();
        let result = match result {
            // It answered, and what it said is no answer: that is its fault, and every metric counts it as wrong.
            Err(TaskError::Output(reason) | TaskError::Model(ChatError::BadOutput(reason))) => {
                Ok(Outcome { warnings: vec![reason], ..Outcome::default() })
            }
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

impl Question<'_> {
    pub(crate) fn key(self, entrant: &Entrant) -> AnswerKey {
        AnswerKey { candidate: entrant.fingerprint.clone(), input: self.row.digest.clone(), attempt: self.attempt }
    }
}

/// All questions to a candidate, the tries of one row beside each other.
fn questions(test: &TestSet, tries: u32) -> impl Iterator<Item = Question<'_>> {
    let rows = test.rows.iter().enumerate();
    rows.flat_map(move |(index, row)| (0..tries).map(move |attempt| Question { index, row, attempt }))
}

/// How many of them are asked one at a time.
fn alone_of(policy: Policy, tries: u32) -> usize {
    policy.alone.saturating_mul(tries as usize)
}

/// The answers that the ledger has of a candidate; where it is asked afresh, those that this run had asked for before it was
/// interrupted.
fn known(
    ledger: &Ledger,
    entrant: &Entrant,
    policy: Policy,
    run: Option<RunId>,
) -> Result<HashMap<AnswerKey, Answer>, EvalError> {
    if !policy.is_fresh {
        return Ok(ledger.answers(&entrant.fingerprint)?.into_iter().collect());
    }
    let Some(run) = run else { return Ok(HashMap::new()) };
    let rows = ledger.run_rows(run)?.into_iter().filter(|row| row.key.candidate == entrant.fingerprint);
    Ok(rows.filter_map(|row| Some((row.key, row.answer?))).collect())
}

/// Whether an answer need not be asked for again.
fn is_reusable(answer: &Answer, policy: Policy, is_alone: bool) -> bool {
    answer.is_alone || !is_alone || !policy.must_time
}

/// The rows that a candidate will really be asked, once for each try.
///
/// # Errors
/// The ledger cannot be read.
pub fn to_ask<'t>(
    ledger: &Ledger,
    test: &'t TestSet,
    entrant: &Entrant,
    tries: u32,
    policy: Policy,
) -> Result<Vec<&'t TestRow>, EvalError> {
    let known = known(ledger, entrant, policy, None)?;
    let alone = alone_of(policy, tries);
    let asked = questions(test, tries).enumerate().filter(|(place, question)| {
        known.get(&question.key(entrant)).is_none_or(|answer| !is_reusable(answer, policy, *place < alone))
    });
    Ok(asked.map(|(_, question)| question.row).collect())
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
