//! An evaluation from its begin to its report: candidates come one after the other, so that one model is in memory at a
//! time, and what was found of each is kept until all are judged.

use crate::contender::{Contender, Entrant};
use crate::error::EvalError;
use crate::evidence::Evidence;
use crate::evidence::short;
use crate::figures::{are_alone, comparison, counted};
use crate::findings::{Judgement, advice};
use crate::gate::{Earlier, Gate, Later};
use crate::grader::Grader;
use crate::metrics::{Metric, MetricRow, default_metric, row_of};
use crate::report::{self, Agreement, Comparison, Figure, Goal, Place, Report, Test};
use crate::run::{Asking, Policy, Scores, Stop, Watch, to_ask};
use crate::statistics::interval::{Level, Proportion};
use crate::statistics::paired::holm;
use crate::statistics::power::{lowest_rate_shown, more_rows, more_rows_by_width, smallest_difference};
use crate::statistics::{interval::Estimate, interval::Interval};
use crate::suites::SuiteRow;
use crate::verdict::{Verdict, judge, overall};
use crate::{TestRow, TestSet, VERSION};
use ledger::{Ledger, LedgerError, NewRun, Run, RunHold};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use tasks::batch::fingerprint;
use tasks::{Classify, Example, Task};

/// Rows that are asked one at a time: where the goal names a latency, and where it does not.
const ALONE_FOR_A_GOAL: usize = 100;
const ALONE: usize = 20;

/// Rows of each label that a figure which weighs all labels alike has to rest on, to be good enough for sure: with fewer
/// its interval is too short.
const ROWS_OF_A_LABEL: u64 = 20;

/// How an evaluation is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The name of the run; one is made where none is given.
    pub name: Option<String>,
    /// Ends a candidate as soon as it is clear on which side of the threshold it lies.
    pub stop_when_sure: bool,
    /// How often each row is asked; 0 is once.
    pub tries: u32,
    /// Asks again what was asked before.
    pub is_fresh: bool,
    /// The report that the run is held against.
    pub earlier: Option<Earlier>,
}

/// An evaluation that can be begun: the task can be judged by its goal.
pub struct Plan<'l> {
    ledger: &'l Ledger,
    task: Task,
    test: TestSet,
    entrants: Vec<Entrant>,
    metric: Box<dyn Metric>,
    goal: Goal,
    level: Level,
    policy: Policy,
    options: Options,
    grader: Option<&'l dyn Grader>,
}

/// An evaluation that is under way.
pub struct Evaluation<'l> {
    plan: Plan<'l>,
    run: Run,
    /// The run was begun before, by this command or another that asks the same.
    pub is_resumed: bool,
    _held: RunHold,
    found: Vec<(report::Candidate, Scores)>,
    doubts: Vec<Doubt>,
    agreement: Option<Agreement>,
}

/// A candidate of which the rows do not tell whether it is good enough.
struct Doubt {
    /// Its figure lies on the good side of the threshold.
    is_promising: bool,
    /// So many more rows would decide it.
    rows: u64,
}

/// Looks whether a task can be judged by its goal on these rows.
///
/// # Errors
/// As [`Plan::new`].
pub fn check_goal(task: &Task, test: &TestSet) -> Result<(), EvalError> {
    metric_of(task, test).and_then(|(row, metric)| goal(task, row, &*metric, Level::USUAL)).map(drop)
}

/// The metric that a task is judged by, with its line of the table.
fn metric_of(task: &Task, test: &TestSet) -> Result<(&'static MetricRow, Box<dyn Metric>), EvalError> {
    let examples: Vec<Example> = test.rows.iter().map(|row| row.example.clone()).collect();
    let row = match (test.suite, task.goal.metric.as_deref()) {
        (Some(suite), name) => suite.metric(name)?,
        (None, Some(name)) => row_of(name, task)?,
        (None, None) => default_metric(task),
    };
    Ok((row, (row.make)(task, &examples)?))
}

impl<'l> Plan<'l> {
    /// Looks whether the task can be judged. Nothing is asked and nothing recorded.
    ///
    /// # Errors
    /// A metric that does not exist or fit, a goal that cannot be judged by.
    pub fn new(
        ledger: &'l Ledger,
        task: Task,
        test: TestSet,
        entrants: Vec<Entrant>,
        options: Options,
    ) -> Result<Plan<'l>, EvalError> {
        let options = Options { tries: options.tries.max(1), ..options };
        let (row, metric) = metric_of(&task, &test)?;
        let level = Level::family(task.goal.confidence, entrants.len())?;
        let goal = goal(&task, row, &*metric, level)?;
        let stop = match (options.stop_when_sure, goal.threshold) {
            (false, _) => None,
            (true, Some(threshold)) => Some(stop(&task, row.name, &*metric, threshold, level)?),
            (true, None) => {
                return Err(EvalError::Goal(
                    "--stop-when-sure: the task names no threshold to be sure of\nhint: add `threshold = ..` to [goal]"
                        .to_owned(),
                ));
            }
        };
        let alone = if goal.latency_ms_p95.is_some() { ALONE_FOR_A_GOAL } else { ALONE };
        let policy = Policy { alone, must_time: goal.latency_ms_p95.is_some(), is_fresh: options.is_fresh, stop };
        Ok(Plan { ledger, task, test, entrants, metric, goal, level, policy, options, grader: None })
    }

    /// Has answers graded by this one. A goal whose metric counts grades needs it.
    pub fn graded_by(self, grader: &'l dyn Grader) -> Plan<'l> {
        let goal = Goal { grader: Some(short(&grader.fingerprint())), ..self.goal };
        Plan { grader: Some(grader), goal, ..self }
    }

    /// How often each row is asked.
    pub fn tries(&self) -> u32 {
        self.options.tries
    }

    /// The rows that candidates are judged by.
    pub fn rows(&self) -> &[TestRow] {
        &self.test.rows
    }

    /// The rows that a candidate will really be asked, once for each try: those that the ledger has no answer to.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn to_ask(&self, position: usize) -> Result<Vec<&TestRow>, EvalError> {
        let Some(entrant) = self.entrants.get(position) else { return Ok(Vec::new()) };
        to_ask(self.ledger, &self.test, entrant, self.options.tries, self.policy)
    }

    /// Creates the run, or goes on with the one that was begun.
    ///
    /// # Errors
    /// An earlier report that the run cannot be held against, a name that is taken, another process that is at it, a ledger that cannot be written.
    pub fn begin(self) -> Result<Evaluation<'l>, EvalError> {
        self.options.earlier.iter().try_for_each(|earlier| earlier.check(&self.goal, &self.entrants))?;
        let (run, is_resumed) = begin_run(&self)?;
        let held = self.ledger.hold_run(&run)?;
        let asked = |row: &TestRow| Value::from(self.task.read_fields(&row.example.input.fields));
        let inputs = self.test.rows.iter().map(|row| (row.digest.as_str(), asked(row)));
        self.ledger.record_inputs(&self.test.sha256, inputs)?;
        Ok(Evaluation {
            plan: self,
            run,
            is_resumed,
            _held: held,
            found: Vec::new(),
            doubts: Vec::new(),
            agreement: None,
        })
    }
}

impl Evaluation<'_> {
    /// The name of the run.
    pub fn name(&self) -> &str {
        &self.run.new.name
    }

    /// The rows that candidates are judged by.
    pub fn test(&self) -> &TestSet {
        &self.plan.test
    }

    /// Looks how far whoever grades agrees with people, where the rows tell what people say.
    ///
    /// # Errors
    /// As [`Grader::agreement`].
    pub async fn look_at_grader(&mut self) -> Result<Option<&Agreement>, EvalError> {
        if let Some(grader) = self.plan.grader {
            self.agreement = grader.agreement(&self.plan.test).await?;
        }
        Ok(self.agreement.as_ref())
    }

    /// Judges the next candidate, in the order of the entrants.
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
        let entrant = &self.plan.entrants[position];
        let asking = Asking {
            entrant,
            position: position as u32,
            contender,
            test: &self.plan.test,
            metric: &*self.plan.metric,
            grader: self.plan.grader,
            ledger: self.plan.ledger,
            run: self.run.id,
            policy: self.plan.policy,
            watch,
            interrupt,
        };
        let scores = asking.run().await?;
        let judgement = Judgement {
            entrant,
            contender,
            test: &self.plan.test,
            metric: &*self.plan.metric,
            metric_name: &self.plan.goal.metric,
            level: self.plan.level,
            scores: &scores,
        };
        let (mut candidate, bounds) = judgement.found()?;
        (candidate.verdict, candidate.reasons) = judge(&self.plan.goal, &candidate, bounds);
        if let Some(reason) = self.rare_label(&candidate) {
            candidate.verdict = Some(Verdict::NotEnoughEvidence);
            candidate.reasons.push(reason);
        }
        if candidate.verdict == Some(Verdict::NotEnoughEvidence) {
            self.doubts.extend(self.doubt(&scores, &candidate)?);
        }
        self.found.push((candidate, scores));
        Ok(&self.found[position].0)
    }

    /// Why a candidate that looks good enough may not be: a figure that weighs every label alike rests on few rows where a
    /// label has few, and its interval does not tell.
    fn rare_label(&self, candidate: &report::Candidate) -> Option<String> {
        let Plan { metric, goal, .. } = &self.plan;
        if candidate.verdict != Some(Verdict::GoodEnough) || metric.is_mean() || goal.threshold.is_none() {
            return None;
        }
        let classes = candidate.classes.iter().filter(|class| class.rows > 0);
        let rarest = classes.min_by_key(|class| class.rows).filter(|class| class.rows < ROWS_OF_A_LABEL)?;
        let label = rarest.label.as_deref().unwrap_or("none of these");
        let (rows, metric) = (rarest.rows, &goal.metric);
        Some(format!(
            "{label} has {rows} rows, and {metric} weighs it like every other label: {ROWS_OF_A_LABEL} of each are needed to \
             be sure"
        ))
    }

    /// Puts the next candidate down as one that could not be judged, so that the others are.
    pub fn give_up(&mut self, reason: &str) {
        let entrant = &self.plan.entrants[self.found.len()];
        let mut candidate = report::Candidate::without_answers(&entrant.name, &entrant.answerer, entrant.place);
        candidate.verdict = Some(Verdict::NotEnoughEvidence);
        candidate.reasons.push(format!("it could not be judged: {reason}"));
        self.found.push((candidate, Scores::default()));
    }

    /// How many more rows would decide a candidate's verdict, if they were like those that came; none where its figure is
    /// on one side, and something else is in doubt.
    fn doubt(&self, scores: &Scores, candidate: &report::Candidate) -> Result<Option<Doubt>, EvalError> {
        let Plan { goal, metric, test, level, .. } = &self.plan;
        let (Some(threshold), Some(figure)) = (goal.threshold, candidate.figure) else { return Ok(None) };
        let is_promising = (figure.value >= threshold) == goal.is_better_higher;
        let counted = counted(scores, test);
        let rows = if let Some(bracket) = &scores.bracket {
            bracket.more_rows(threshold)
        } else if metric.is_proportion() && are_alone(scores, test) {
            let right = (figure.value * counted.len() as f64).round() as u64;
            more_rows(Proportion::new(right, counted.len() as u64)?, threshold, *level)
        } else {
            let interval = Interval { low: figure.low, high: figure.high };
            let seen = Estimate { value: figure.value, interval };
            let units =
                if are_alone(scores, test) { counted.len() as u64 } else { test.groups.unwrap_or(candidate.answered) };
            more_rows_by_width(seen, units, threshold, *level)
        };
        Ok(rows.filter(|rows| *rows > 0).map(|rows| Doubt { is_promising, rows }))
    }

    /// The report, once all were judged. It is recorded with the run.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn finish(mut self) -> Result<Report, EvalError> {
        // Rows decide something where they may show that a candidate is good enough; else where they rule the last one out.
        let promising = self.doubts.iter().filter(|doubt| doubt.is_promising).map(|doubt| doubt.rows).min();
        let more = promising.or_else(|| self.doubts.iter().map(|doubt| doubt.rows).max());
        let candidates: Vec<_> = self.found.iter().map(|(candidate, _)| candidate.clone()).collect();
        for (place, entrant) in self.plan.entrants.iter().enumerate().take(candidates.len()) {
            let candidate = &mut self.found[place].0;
            if matches!(candidate.verdict, Some(Verdict::NotGoodEnough)) {
                candidate.advice = advice(&entrant.task, candidate, &candidates);
            }
        }
        let candidates: Vec<_> = self.found.iter().map(|(candidate, _)| candidate.clone()).collect();
        let verdict = overall(&self.plan.goal, &candidates, more);
        let comparisons = self.comparisons(verdict.recommended.as_deref())?;
        let inputs: Vec<&str> = self.plan.test.rows.iter().map(|row| row.digest.as_str()).collect();
        let looks = self.plan.ledger.looks_at(&self.plan.test.sha256, &inputs)?;
        let mut notes = notes(&self.plan, &candidates);
        notes.extend(self.agreement.as_ref().map(agreement_note));
        let metric = (self.plan.goal.metric.as_str(), &*self.plan.metric);
        let by_name = self.found.iter().map(|(candidate, scores)| (candidate.name.as_str(), scores));
        let evidence = Evidence::of(&self.plan.task, metric, &self.plan.test, by_name);
        let gate = self.gate()?;
        let report = Report {
            version: report::VERSION,
            run: self.run.new.name.clone(),
            created_ms: self.run.created_ms,
            task: self.plan.task.name.clone(),
            kind: self.plan.task.kind().to_owned(),
            protocol: self.plan.test.suite.map(SuiteRow::protocol),
            verdict,
            smallest_difference: self.smallest_difference(&comparisons),
            goal: self.plan.goal,
            test: Test {
                table: self.plan.test.table.display().to_string(),
                sha256: self.plan.test.sha256.clone(),
                rows: self.plan.test.rows.len() as u64,
                groups: self.plan.test.groups,
                looks,
            },
            candidates,
            comparisons,
            agreement: self.agreement,
            notes,
            warnings: self.plan.test.warnings.clone(),
            gate,
            evidence,
        };
        self.plan.ledger.end_run(self.run.id, &json!(report))?;
        Ok(report)
    }

    /// How the run stands to the earlier one.
    fn gate(&self) -> Result<Option<Gate>, EvalError> {
        let Plan { task, metric, goal, test, options, .. } = &self.plan;
        let later = Later { task, metric: (&goal.metric, &**metric), goal, test, found: &self.found };
        options.earlier.as_ref().map(|earlier| later.against(earlier)).transpose()
    }

    /// Each candidate beside the recommended one, or beside the one of the best figure.
    fn comparisons(&self, recommended: Option<&str>) -> Result<Vec<Comparison>, EvalError> {
        let value = |candidate: &report::Candidate| {
            let better = |figure: Figure| if self.plan.goal.is_better_higher { figure.value } else { -figure.value };
            candidate.figure.map_or(f64::NEG_INFINITY, better)
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
                comparisons.extend(comparison(&*self.plan.metric, names, [scores, its], &self.plan.test)?);
            }
        }
        // The one that all are compared with was chosen by the same rows, as if every pair had been compared.
        let pairs = self.found.len() * self.found.len().saturating_sub(1) / 2;
        let mut probabilities: Vec<f64> = comparisons.iter().map(|comparison| comparison.p).collect();
        probabilities.resize(pairs.max(probabilities.len()), 1.0);
        let corrected = holm(&probabilities)?;
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
        smallest_difference(self.plan.test.rows.len() as u64, most, Level::USUAL)
    }
}

fn goal(task: &Task, row: &MetricRow, metric: &dyn Metric, level: Level) -> Result<Goal, EvalError> {
    let (goal, name) = (&task.goal, row.name);
    if let Some(threshold) = goal.threshold.filter(|threshold| !metric.is_share() && *threshold <= 1.0) {
        return Err(EvalError::Goal(format!(
            "`threshold` of [goal]: expected a number above 1, as {name} has, got {threshold}\nhint: 1 is a model that knew \
             every text; less is better"
        )));
    }
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
        about: row.about.to_owned(),
        grader: None,
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

fn begin_run(plan: &Plan<'_>) -> Result<(Run, bool), EvalError> {
    let Plan { ledger, task, test, entrants, goal, options, .. } = plan;
    let how = json!([goal, options.stop_when_sure, options.tries, options.is_fresh]).to_string();
    let grader = plan.grader.as_ref().map(|grader| grader.fingerprint()).unwrap_or_default();
    let mut parts = vec![VERSION, &test.sha256, &how, &grader];
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
    let candidates: Vec<_> = entrants
        .iter()
        .map(|entrant| json!({"name": entrant.name, "answerer": entrant.answerer, "fingerprint": entrant.fingerprint}))
        .collect();
    let spec = json!({
        "task": task.name, "kind": task.kind(), "test": test.table.display().to_string(),
        "goal": goal, "candidates": candidates, "rows": test.rows.len(), "tries": options.tries,
        "is_mean": plan.metric.is_mean(), "has_groups": test.groups.is_some(),
    });
    let new = |name: String| NewRun {
        name,
        fingerprint: fingerprint.clone(),
        test_sha256: test.sha256.clone(),
        spec: spec.clone(),
    };
    if let Some(name) = &options.name {
        return Ok((ledger.create_run(&new(name.clone()))?, false));
    }
    loop {
        match ledger.create_run(&new(free_name(ledger, &task.name)?)) {
            // Another process was given it in between.
            Err(LedgerError::Taken { .. }) => {}
            run => return Ok((run?, false)),
        }
    }
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

/// How far the judge can be trusted, in plain words.
fn agreement_note(found: &Agreement) -> String {
    let share = |share: f64| format!("{:.0} %", 100.0 * share);
    let Agreement { rows, ungraded, same, within_one, kappa, milder_by } = found;
    let weighted = kappa.map_or(String::new(), |kappa| {
        format!(
            "; weighted kappa {:.2} ({:.2} to {:.2}), where 0 is chance and 1 is always the same",
            kappa.value, kappa.low, kappa.high
        )
    });
    let kind = if *milder_by >= 0.0 { "milder" } else { "stricter" };
    let missing = if *ungraded > 0 { format!("; {ungraded} it did not grade") } else { String::new() };
    format!(
        "The judge and people graded the same {rows} answers: the same points for {} ({} to {}), at most one apart for \
         {}{weighted}. In the mean it is {:.2} points {kind}{missing}.",
        share(same.value),
        share(same.low),
        share(same.high),
        share(*within_one),
        milder_by.abs()
    )
}

/// How figures were had, in plain words.
fn notes(plan: &Plan<'_>, candidates: &[report::Candidate]) -> Vec<String> {
    let Plan { task, metric, policy, .. } = plan;
    let machine = task.machine;
    let timed =
        candidates.iter().filter_map(|candidate| candidate.latency).map(|latency| latency.rows).max().unwrap_or(0);
    let mut notes = vec![
        "An interval says where the figure may really lie; a verdict rests on nothing but the interval that is shown. \
         With several candidates each interval is wider, so that all verdicts together are as sure as the goal says."
            .to_owned(),
        format!(
            "Times are of {timed} rows that were asked one at a time; rows per second and costs are of as many at once as is \
             fastest. This machine is reckoned at {} W, ${} a kilowatt-hour and ${} an hour ([machine] of the task file).",
            machine.watts, machine.price_per_kwh, machine.price_per_hour
        ),
        "Rows without an answer are counted and named. They are left out of the figure, but a candidate is good enough \
         only if it would be were they all wrong, and not good enough only if it would not be were they all right."
            .to_owned(),
        "Differences between candidates are of the same rows; their probabilities are corrected for how many pairs there \
         are (Holm)."
            .to_owned(),
    ];
    let rows = plan.test.rows.len() as u64;
    let is_share = metric.is_proportion() && plan.test.groups.is_none() && policy.stop.is_none();
    let shown = plan.goal.threshold.filter(|_| is_share).and_then(|most| lowest_rate_shown(rows, most, plan.level));
    if let Some(rate) = shown {
        notes.push(format!(
            "{rows} rows show 4 times of 5 that a candidate is good enough if it is really right on {:.1} % or more.",
            100.0 * rate
        ));
    }
    if let Some(suite) = plan.test.suite {
        notes.push(format!("Asked and scored: {}. Source: {}.", suite.protocol, suite.source));
        notes.extend(suite.notes.iter().map(|note| (*note).to_owned()));
    }
    let is_classify = task.settings::<Classify>().is_some() && plan.test.suite.is_none();
    if is_classify && candidates.iter().any(|candidate| candidate.place == Place::Remote) {
        notes.push(
            "A model of this machine scores every label; one elsewhere is asked to write one, as scores are not to be had \
             there."
                .to_owned(),
        );
    }
    if is_classify && !metric.is_mean() {
        notes.push(format!(
            "Figures that weigh every label alike have intervals that are too short where a label has few rows: with fewer \
             than {ROWS_OF_A_LABEL} of a label no candidate is said to be good enough."
        ));
    }
    if policy.stop.is_some() {
        notes.push(
            "Candidates were ended as soon as enough was known. Their intervals are confidence sequences, which hold however \
             often they are looked at. Their other figures, and comparisons with them, are of the rows that were asked, and \
             less sure than they look."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
