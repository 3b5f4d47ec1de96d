//! An evaluation from its begin to its report: candidates come one after the other, so that one model is in memory at a
//! time, and what was found of each is kept until all are judged.

use crate::contender::{Contender, Entrant};
use crate::error::EvalError;
use crate::figures::comparison;
use crate::findings::{Judgement, advice};
use crate::metrics::{METRICS, Metric, default_metric, metric};
use crate::report::{self, Comparison, Goal, Report, Test};
use crate::run::{Asking, Policy, Scores, Stop, Watch};
use crate::statistics::interval::{Level, Proportion};
use crate::statistics::paired::holm;
use crate::statistics::power::{more_rows, more_rows_by_width, smallest_difference};
use crate::statistics::{interval::Estimate, interval::Interval};
use crate::verdict::{Verdict, judge, overall};
use crate::{TestRow, TestSet, VERSION};
use ledger::{Ledger, NewRun, Run};
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use tasks::batch::fingerprint;
use tasks::{Classify, Example, Task};

/// Rows that are asked one at a time: where the goal names a latency, and where it does not.
const ALONE_FOR_A_GOAL: usize = 100;
const ALONE: usize = 20;

/// How an evaluation is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The name of the run; one is made where none is given.
    pub name: Option<String>,
    /// Ends a candidate as soon as it is clear on which side of the threshold it lies.
    pub stop_when_sure: bool,
}

/// An evaluation that is under way.
pub struct Evaluation<'l> {
    ledger: &'l Ledger,
    run: Run,
    /// The run was begun before, by this command or another that asks the same.
    pub is_resumed: bool,
    task: Task,
    test: TestSet,
    entrants: Vec<Entrant>,
    metric: Box<dyn Metric>,
    goal: Goal,
    level: Level,
    policy: Policy,
    found: Vec<(report::Candidate, Scores)>,
    doubts: Vec<u64>,
}

impl<'l> Evaluation<'l> {
    /// Looks whether the task can be judged, and creates its run or finds the one that was begun.
    ///
    /// # Errors
    /// A metric that does not exist or fit, a goal that cannot be judged by, a name that is taken.
    pub fn begin(
        ledger: &'l Ledger,
        task: Task,
        test: TestSet,
        entrants: Vec<Entrant>,
        options: Options,
    ) -> Result<Evaluation<'l>, EvalError> {
        let examples: Vec<Example> = test.rows.iter().map(|row| row.example.clone()).collect();
        let name = task.goal.metric.clone().unwrap_or_else(|| default_metric(&task).name.to_owned());
        let metric = metric(&name, &task, &examples)?;
        let error = (1.0 - task.goal.confidence) / entrants.len().max(1) as f64;
        let level = Level::new(1.0 - error)?;
        let goal = goal(&task, &name, &*metric, level)?;
        let stop = match (options.stop_when_sure, goal.threshold) {
            (false, _) => None,
            (true, Some(threshold)) => Some(stop(&task, &name, &*metric, threshold, level)?),
            (true, None) => {
                return Err(EvalError::Goal(
                    "--stop-when-sure: the task names no threshold to be sure of\nhint: add `threshold = ..` to [goal]"
                        .to_owned(),
                ));
            }
        };
        let alone = if goal.latency_ms_p95.is_some() { ALONE_FOR_A_GOAL } else { ALONE };
        let (run, is_resumed) = begin_run(ledger, &task, &test, &entrants, &goal, &options)?;
        let policy = Policy { alone, must_time: goal.latency_ms_p95.is_some(), stop };
        let (found, doubts) = (Vec::new(), Vec::new());
        Ok(Evaluation { ledger, run, is_resumed, task, test, entrants, metric, goal, level, policy, found, doubts })
    }

    /// The name of the run.
    pub fn name(&self) -> &str {
        &self.run.new.name
    }

    /// Those that are judged, in their order.
    pub fn entrants(&self) -> &[Entrant] {
        &self.entrants
    }

    /// The rows that they are judged by.
    pub fn test(&self) -> &TestSet {
        &self.test
    }

    /// The candidates that were judged so far.
    pub fn found(&self) -> impl Iterator<Item = &report::Candidate> {
        self.found.iter().map(|(candidate, _)| candidate)
    }

    /// The rows that a candidate has not answered yet, in whatever run.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn unanswered(&self, position: usize) -> Result<Vec<&TestRow>, EvalError> {
        let Some(entrant) = self.entrants.get(position) else { return Ok(Vec::new()) };
        let known: HashSet<String> =
            self.ledger.answers(&entrant.fingerprint)?.into_iter().map(|(key, _)| key.input).collect();
        Ok(self.test.rows.iter().filter(|row| !known.contains(&row.digest)).collect())
    }

    /// Judges the next candidate, in the order of [`Evaluation::entrants`].
    ///
    /// # Errors
    /// What all its rows would run into, a ledger that cannot be written, or somebody who stopped it.
    pub async fn judge(
        &mut self,
        contender: &Contender,
        watch: &dyn Watch,
        interrupt: &AtomicBool,
    ) -> Result<&report::Candidate, EvalError> {
        let position = self.found.len();
        let entrant = &self.entrants[position];
        let asking = Asking {
            entrant,
            position: position as u32,
            contender,
            test: &self.test,
            metric: &*self.metric,
            ledger: self.ledger,
            run: self.run.id,
            policy: self.policy,
            watch,
            interrupt,
        };
        let scores = asking.run().await?;
        let judgement = Judgement {
            entrant,
            contender,
            test: &self.test,
            metric: &*self.metric,
            metric_name: &self.goal.metric,
            level: self.level,
            scores: &scores,
        };
        let (mut candidate, bounds) = judgement.found()?;
        (candidate.verdict, candidate.reasons) = judge(&self.goal, &candidate, bounds);
        if candidate.verdict == Some(Verdict::NotEnoughEvidence) {
            self.doubts.extend(self.rows_to_decide(&scores, &candidate)?);
        }
        self.found.push((candidate, scores));
        Ok(&self.found[position].0)
    }

    /// How many more rows would decide a candidate's verdict, if they were like those that came.
    fn rows_to_decide(&self, scores: &Scores, candidate: &report::Candidate) -> Result<Option<u64>, EvalError> {
        let (Some(threshold), Some(figure)) = (self.goal.threshold, candidate.figure) else { return Ok(None) };
        if let Some(sequence) = &scores.sequence {
            return Ok(sequence.more_rows(threshold));
        }
        let counted = crate::figures::counted(scores, &self.test);
        if self.metric.is_proportion() && self.test.groups.is_none() {
            let right = (figure.value * counted.len() as f64).round() as u64;
            return Ok(more_rows(Proportion::new(right, counted.len() as u64)?, threshold, self.level));
        }
        let interval = Interval { low: figure.low, high: figure.high };
        let seen = Estimate { value: figure.value, interval };
        Ok(more_rows_by_width(seen, counted.len() as u64, threshold, self.level))
    }

    /// The report, once all were judged. It is recorded with the run.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn finish(mut self) -> Result<Report, EvalError> {
        let more = self.doubts.iter().copied().filter(|rows| *rows > 0).min();
        let candidates: Vec<_> = self.found.iter().map(|(candidate, _)| candidate.clone()).collect();
        for (place, entrant) in self.entrants.iter().enumerate().take(candidates.len()) {
            let candidate = &mut self.found[place].0;
            if matches!(candidate.verdict, Some(Verdict::NotGoodEnough)) {
                candidate.advice = advice(&entrant.task, candidate, &candidates);
            }
        }
        let candidates: Vec<_> = self.found.iter().map(|(candidate, _)| candidate.clone()).collect();
        let verdict = overall(&self.goal, &candidates, more);
        let comparisons = self.comparisons(verdict.recommended.as_deref())?;
        let looks = self.ledger.looks_at(&self.test.sha256)?;
        let report = Report {
            version: report::VERSION,
            run: self.run.new.name.clone(),
            created_ms: self.run.created_ms,
            task: self.task.name.clone(),
            kind: self.task.kind().to_owned(),
            verdict,
            smallest_difference: self.smallest_difference(&comparisons),
            goal: self.goal,
            test: Test {
                table: self.test.table.display().to_string(),
                sha256: self.test.sha256.clone(),
                rows: self.test.rows.len() as u64,
                groups: self.test.groups,
                looks,
            },
            candidates,
            comparisons,
            notes: notes(&self.task, self.policy, &*self.metric),
            warnings: self.test.warnings.clone(),
        };
        self.ledger.end_run(self.run.id, &json!(report))?;
        Ok(report)
    }

    /// Each candidate beside the recommended one, or beside the one of the best figure.
    fn comparisons(&self, recommended: Option<&str>) -> Result<Vec<Comparison>, EvalError> {
        let value = |candidate: &report::Candidate| {
            let figure = candidate.figure.map_or(f64::NEG_INFINITY, |figure| figure.value);
            if self.goal.is_better_higher { figure } else { -figure }
        };
        let best = self.found.iter().position(|(candidate, _)| Some(candidate.name.as_str()) == recommended);
        let by_figure = || {
            let places = 0..self.found.len();
            places.max_by(|&one, &other| value(&self.found[one].0).total_cmp(&value(&self.found[other].0)))
        };
        let Some(best) = best.or_else(by_figure) else { return Ok(Vec::new()) };
        let (with, its) = &self.found[best];
        let mut comparisons = Vec::new();
        for (place, (candidate, scores)) in self.found.iter().enumerate() {
            if place != best {
                let names = [candidate.name.as_str(), with.name.as_str()];
                comparisons.extend(comparison(&*self.metric, names, [scores, its], &self.test)?);
            }
        }
        let corrected = holm(&comparisons.iter().map(|comparison| comparison.p).collect::<Vec<_>>())?;
        comparisons.iter_mut().zip(corrected).for_each(|(comparison, p)| comparison.p = p);
        Ok(comparisons)
    }

    /// What difference between two candidates these rows would show, by how often those that were compared differed.
    fn smallest_difference(&self, comparisons: &[Comparison]) -> Option<f64> {
        let discordant = comparisons.iter().filter_map(|one| {
            let differ = one.only_this? + one.only_other?;
            (one.rows > 0).then(|| differ as f64 / one.rows as f64)
        });
        let most = discordant.max_by(f64::total_cmp)?;
        smallest_difference(self.test.rows.len() as u64, most, Level::USUAL)
    }
}

fn goal(task: &Task, name: &str, metric: &dyn Metric, level: Level) -> Result<Goal, EvalError> {
    let goal = &task.goal;
    let row = METRICS.iter().find(|row| row.name == name);
    if let Some(threshold) = goal.threshold
        && metric.is_better_higher()
        && !(threshold > 0.0 && threshold <= 1.0)
    {
        return Err(EvalError::Goal(format!(
            "`threshold` of [goal]: expected a number above 0, at most 1, as {name} has, got {threshold}\nhint: {}",
            if threshold > 1.0 {
                format!("write {} percent as {}", threshold, threshold / 100.0)
            } else {
                "anything clears 0".to_owned()
            }
        )));
    }
    Ok(Goal {
        metric: name.to_owned(),
        about: row.map_or(String::new(), |row| row.about.to_owned()),
        threshold: goal.threshold,
        is_better_higher: metric.is_better_higher(),
        confidence: goal.confidence,
        level: level.value(),
        latency_ms_p95: goal.latency_ms_p95,
        cost_per_1000: goal.cost_per_1000,
    })
}

fn stop(task: &Task, name: &str, metric: &dyn Metric, threshold: f64, level: Level) -> Result<Stop, EvalError> {
    if task.goal.group.is_some() {
        let text = "--stop-when-sure: rows that share a group are no evidence one by one\n\
                    hint: leave it out, or leave `group` out of [goal] where rows stand for themselves";
        return Err(EvalError::Goal(text.to_owned()));
    }
    if !metric.is_mean() {
        let text = format!(
            "--stop-when-sure: {name} is no mean over rows, so no row says how it will end\n\
             hint: leave it out, or take a metric that is one: `metric = \"{}\"`",
            default_metric(task).name
        );
        return Err(EvalError::Goal(text));
    }
    Ok(Stop { threshold, level })
}

fn begin_run(
    ledger: &Ledger,
    task: &Task,
    test: &TestSet,
    entrants: &[Entrant],
    goal: &Goal,
    options: &Options,
) -> Result<(Run, bool), EvalError> {
    let stop = if options.stop_when_sure { "stop when sure" } else { "" };
    let goal_text = json!(goal).to_string();
    let mut parts = vec![VERSION, &test.sha256, &goal_text, stop];
    for entrant in entrants {
        parts.extend([entrant.name.as_str(), &entrant.fingerprint]);
    }
    let fingerprint = fingerprint(&parts);
    let begun = ledger.unfinished_run(&fingerprint)?;
    if let Some(run) = begun
        && options.name.as_ref().is_none_or(|name| *name == run.new.name)
    {
        return Ok((run, true));
    }
    let name = match &options.name {
        Some(name) => name.clone(),
        None => free_name(ledger, &task.name)?,
    };
    let candidates: Vec<_> = entrants
        .iter()
        .map(|entrant| json!({"name": entrant.name, "answerer": entrant.answerer, "fingerprint": entrant.fingerprint}))
        .collect();
    let spec = json!({
        "task": task.name, "kind": task.kind(), "test": test.table.display().to_string(),
        "goal": goal, "candidates": candidates,
    });
    let new = NewRun { name, fingerprint, test_sha256: test.sha256.clone(), spec };
    Ok((ledger.create_run(&new)?, false))
}

/// The task's name with the first number that is free.
fn free_name(ledger: &Ledger, task: &str) -> Result<String, EvalError> {
    let mut number = 1u64;
    loop {
        let name = format!("{task}-{number}");
        if ledger.run(&name)?.is_none() {
            return Ok(name);
        }
        number += 1;
    }
}

/// How figures were had, in plain words.
fn notes(task: &Task, policy: Policy, metric: &dyn Metric) -> Vec<String> {
    let machine = task.machine;
    let mut notes = vec![
        "An interval says where the figure may really lie; a verdict rests on nothing but the interval that is shown. \
         With several candidates each interval is wider, so that all verdicts together are as sure as the goal says."
            .to_owned(),
        format!(
            "Times are of {} rows that were asked one at a time; rows per second and costs are of as many at once as is \
             fastest. This machine is reckoned at {} W, ${} a kilowatt-hour and ${} an hour ([machine] of the task file).",
            policy.alone, machine.watts, machine.price_per_kwh, machine.price_per_hour
        ),
        "Rows without an answer are counted and named. They are left out of the figure, but a candidate is good enough \
         only if it would be were they all wrong."
            .to_owned(),
        "Differences between candidates are of the same rows; their probabilities are corrected for how many are compared \
         (Holm)."
            .to_owned(),
    ];
    if task.settings::<Classify>().is_some() && !metric.is_mean() {
        notes.push(
            "Figures that weigh every label alike have intervals that are too short where a label has fewer than about 20 \
             rows."
                .to_owned(),
        );
    }
    if policy.stop.is_some() {
        notes.push(
            "Candidates were ended as soon as enough was known. Their intervals are confidence sequences, which hold however \
             often they are looked at; their other figures are of the rows that were asked."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
