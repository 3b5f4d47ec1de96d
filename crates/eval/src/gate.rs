//! A run held against the report of an earlier one, so that a change of model, prompt or program that makes a candidate worse
//! is caught where it is made.
//!
//! ```text
//! earlier report (a file) -> candidates of the same name -> the same rows? paired : two intervals
//!                         -> latency and cost, where the goal names them -> worse, better, the same, unknown
//! ```
//!
//! What is worse by no more than chance is not worse, and what cannot be compared is said and never passed in silence. It
//! needs no ledger: what pairing needs stands in the report (`evidence.rs`).

mod chance;

use crate::evidence::{by_row, meaning};
use crate::metrics::Metric;
use crate::report::{self, Candidate, Figure, Goal, Report};
use crate::run::Scores;
use crate::statistics::paired::holm;
use crate::{Entrant, EvalError, TestSet};
use chance::{Pairs, Sides, apart};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tasks::Task;

/// More bytes than the report of any test has.
const LARGEST_FILE: u64 = 256 << 20;

/// The report of an earlier run, which a new one is held against.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The file, as messages name it.
    pub file: String,
    /// What it says.
    pub report: Report,
}

/// How a candidate stands to what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// Not otherwise than by chance.
    Same,
    /// Better by more than chance.
    Better,
    /// It cannot be said.
    Unknown,
    /// Worse by more than chance.
    Worse,
}

impl Course {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Course::Same => "no worse",
            Course::Better => "better",
            Course::Unknown => "unknown",
            Course::Worse => "worse",
        }
    }
}

/// By what two runs were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// On the rows that both have.
    Paired,
    /// By the intervals of both figures, which sees less.
    Intervals,
}

/// A run beside an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The file of the earlier report.
    pub file: String,
    /// The earlier run.
    pub run: String,
    /// When it was created, in milliseconds since 1970, UTC.
    pub created_ms: u64,
    /// The worst of all candidates.
    pub course: Course,
    /// That in a sentence.
    pub text: String,
    /// Candidates that both runs have.
    pub changes: Vec<Change>,
    /// What differs between the runs beyond their candidates' answers.
    pub warnings: Vec<String>,
}

/// A candidate beside what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub candidate: String,
    /// The worst of figure, latency and cost.
    pub course: Course,
    /// By what the figures were compared.
    pub method: Method,
    /// Rows that they are of: the common ones, or those answered now.
    pub rows: u64,
    /// The figure that it had.
    pub before: Option<f64>,
    /// The figure that it has.
    pub after: Option<f64>,
    /// The second less the first, with its interval.
    pub difference: Option<Figure>,
    /// How probable such a difference is where there is none, all candidates taken together (Holm); none without pairs.
    pub p: Option<f64>,
    /// What it rests on, a sentence each.
    pub reasons: Vec<String>,
}

impl Earlier {
    /// Reads a report that was written as JSON.
    ///
    /// # Errors
    /// The file cannot be read, or is no such report.
    pub fn read(path: &Path) -> Result<Earlier, EvalError> {
        let file = path.display().to_string();
        let wrong = |reason: String| {
            EvalError::Earlier(format!("{file}: {reason}\nhint: `bantam eval TASK.toml --report main.json` writes one"))
        };
        let bytes = std::fs::metadata(path).map_err(|error| wrong(format!("cannot be read: {error}")))?.len();
        if bytes > LARGEST_FILE {
            return Err(wrong(format!("expected a report, at most {LARGEST_FILE} bytes, got {bytes}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let report: Report =
            serde_json::from_str(&text).map_err(|error| wrong(format!("expected a report as JSON, got {error}")))?;
        if report.version != report::VERSION {
            let (expected, got) = (report::VERSION, report.version);
            return Err(wrong(format!("expected a report of version {expected}, got one of {got}")));
        }
        Ok(Earlier { file, report })
    }

    /// Looks whether a run can be held against it, before anything is asked.
    ///
    /// # Errors
    /// It was judged by another metric, has no candidate that is judged now, or recommends one that is not.
    pub fn check(&self, goal: &Goal, entrants: &[Entrant]) -> Result<(), EvalError> {
        let Earlier { file, report } = self;
        let anew = format!("or write a new {file} with --report");
        if report.goal.metric != goal.metric {
            let (before, after) = (&report.goal.metric, &goal.metric);
            return Err(EvalError::Earlier(format!(
                "{file} has figures of {before}, and this task is judged by {after}\n\
                 hint: only figures of one metric can be compared: `metric = \"{before}\"` in [goal], {anew}"
            )));
        }
        if report.goal.grader != goal.grader {
            return Err(EvalError::Earlier(format!(
                "{file} has figures of another grader: its judge, its tests or its command were not those of this task\n\
                 hint: only grades of one grader can be compared: take the earlier one, {anew}"
            )));
        }
        let is_judged = |name: &str| entrants.iter().any(|entrant| entrant.name == name);
        let names: Vec<&str> = report.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        if !names.iter().any(|name| is_judged(name)) {
            let names = names.join(", ");
            return Err(EvalError::Earlier(format!(
                "{file}: expected a candidate that is judged now, got {names}\n\
                 hint: candidates are compared by their names: judge the same ones, {anew}"
            )));
        }
        match &report.verdict.recommended {
            Some(name) if !is_judged(name) => Err(EvalError::Earlier(format!(
                "{file} recommends {name}, which is not judged now\nhint: judge it too, {anew}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The new run, as far as the gate looks at it.
pub struct Later<'a> {
    /// The task.
    pub task: &'a Task,
    /// The metric, with its name.
    pub metric: (&'a str, &'a dyn Metric),
    /// What is to be reached.
    pub goal: &'a Goal,
    /// The rows.
    pub test: &'a TestSet,
    /// What was found of every candidate.
    pub found: &'a [(Candidate, Scores)],
}

impl Later<'_> {
    /// Holds the run against an earlier report.
    ///
    /// # Errors
    /// Evidence that was changed by hand.
    pub fn against(&self, earlier: &Earlier) -> Result<Gate, EvalError> {
        let common = self.found.iter().filter_map(|(after, scores)| {
            let before = earlier.report.candidates.iter().find(|before| before.name == after.name)?;
            Some((before, after, scores))
        });
        let mut all = common
            .map(|(before, after, scores)| Ok((before, after, self.sides(earlier, before, after, scores)?)))
            .collect::<Result<Vec<_>, EvalError>>()?;
        let paired: Vec<f64> = all.iter().filter_map(|(.., sides)| sides.p).collect();
        let mut corrected = holm(&paired)?.into_iter();
        let mut changes = Vec::new();
        for (before, after, sides) in &mut all {
            sides.p = sides.p.and_then(|_| corrected.next());
            changes.push(self.change(before, after, sides));
        }
        // What nobody asks again may have got worse: a candidate that went is not passed in silence.
        let gone = self.gone(earlier);
        let without = if gone.is_empty() { Course::Same } else { Course::Unknown };
        let course = changes.iter().map(|change| change.course).max().unwrap_or(Course::Unknown).max(without);
        Ok(Gate {
            file: earlier.file.clone(),
            run: earlier.report.run.clone(),
            created_ms: earlier.report.created_ms,
            course,
            text: summary(&earlier.file, course, &changes, &gone),
            changes,
            warnings: self.warnings(earlier),
        })
    }

    /// Both figures: of the common rows where each has all that pairing needs.
    fn sides(
        &self,
        earlier: &Earlier,
        before: &Candidate,
        after: &Candidate,
        scores: &Scores,
    ) -> Result<Sides, EvalError> {
        let (evidence, (_, metric)) = (&earlier.report.evidence, self.metric);
        // Rows that were chosen to come to an end early are a sample of their own: only intervals made for that hold.
        let is_early = before.stopped_early || after.stopped_early;
        if !is_early && evidence.meaning == meaning(self.task, self.metric) {
            let was = evidence.counts_of(&before.name, metric.slots())?;
            let mut pairs = Pairs::default();
            let counts = by_row(scores, self.test.rows.len());
            for (row, after) in self.test.rows.iter().zip(counts) {
                if let Some(before) = was.get(row.mark().as_str()) {
                    pairs.push(before, after, row.group);
                }
            }
            if let Some(sides) = pairs.sides(metric, self.test.groups.is_some())? {
                return Ok(sides);
            }
        }
        Ok(apart(before.figure, after.figure, is_early, after.answered))
    }

    fn change(&self, before: &Candidate, after: &Candidate, sides: &Sides) -> Change {
        let mut findings = vec![sides.finding(self.goal)];
        findings.extend(self.goal.latency_ms_p95.map(|_| latency(before, after)));
        findings.extend(self.goal.cost_per_1000.map(|_| cost(before, after)));
        if after.answered == 0 {
            findings.push((Course::Unknown, "it has no answer now".to_owned()));
        }
        Change {
            candidate: after.name.clone(),
            course: findings.iter().map(|(course, _)| *course).max().unwrap_or(Course::Unknown),
            method: sides.method,
            rows: sides.rows,
            before: sides.before,
            after: sides.after,
            difference: sides.difference,
            p: sides.p,
            reasons: findings.into_iter().map(|(_, reason)| reason).collect(),
        }
    }

    /// Candidates of the earlier run that are not judged now.
    fn gone<'e>(&self, earlier: &'e Earlier) -> Vec<&'e str> {
        let is_gone = |before: &&Candidate| self.found.iter().all(|(now, _)| now.name != before.name);
        earlier.report.candidates.iter().filter(is_gone).map(|candidate| candidate.name.as_str()).collect()
    }

    fn warnings(&self, earlier: &Earlier) -> Vec<String> {
        let Earlier { file, report } = earlier;
        let mut warnings = Vec::new();
        let (rows, now) = (report.test.rows, self.test.rows.len());
        if report.test.sha256 != self.test.sha256 {
            let known: std::collections::HashSet<&str> = report.evidence.rows.split(' ').collect();
            let common = self.test.rows.iter().filter(|row| known.contains(row.mark().as_str())).count();
            warnings.push(format!(
                "the test has changed: {common} of its {now} rows are among the {rows} of {file}, with the same right answer"
            ));
        }
        let gone = self.gone(earlier);
        if !gone.is_empty() {
            warnings.push(format!("of the candidates of {file} these were not judged now: {}", gone.join(", ")));
        }
        let new = self.found.iter().filter(|(now, _)| report.candidates.iter().all(|before| before.name != now.name));
        let new: Vec<&str> = new.map(|(candidate, _)| candidate.name.as_str()).collect();
        if !new.is_empty() {
            warnings.push(format!("{file} does not know these candidates: {}", new.join(", ")));
        }
        warnings
    }
}

fn summary(file: &str, course: Course, changes: &[Change], gone: &[&str]) -> String {
    let of = |course: Course| {
        let names = changes.iter().filter(|change| change.course == course).map(|change| change.candidate.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match course {
        Course::Worse => format!("Worse than in {file} by more than chance: {}.", of(Course::Worse)),
        Course::Unknown => {
            let unknown = of(Course::Unknown);
            let names: Vec<&str> =
                [unknown.as_str()].into_iter().filter(|name| !name.is_empty()).chain(gone.iter().copied()).collect();
            format!("Whether it is worse than in {file} cannot be said of {}.", names.join(", "))
        }
        Course::Better => format!("Not worse than in {file}, and better by more than chance: {}.", of(Course::Better)),
        Course::Same => format!("Not worse than in {file} by more than chance."),
    }
}

fn latency(before: &Candidate, after: &Candidate) -> (Course, String) {
    let (Some(before), Some(after)) = (before.latency, after.latency) else {
        return (Course::Unknown, "its latency is not known of both runs".to_owned());
    };
    let shown = format!("95 of 100 answers took {:.1} ms or less and take {:.1} ms", before.p95, after.p95);
    match (before.p95_high, after.p95_high) {
        (Some(high), _) if after.p95_low > high => (Course::Worse, format!("{shown}: slower by more than chance")),
        (_, Some(high)) if high < before.p95_low => (Course::Better, format!("{shown}: quicker by more than chance")),
        (Some(_), _) => (Course::Same, format!("{shown}: no more than chance makes of it")),
        (None, _) => {
            let rows = before.rows;
            (Course::Unknown, format!("{shown}: {rows} rows asked alone before are too few to tell"))
        }
    }
}

fn cost(before: &Candidate, after: &Candidate) -> (Course, String) {
    let (Some(was), Some(is)) = (before.cost_per_1000, after.cost_per_1000) else {
        return (Course::Unknown, "its cost is not known of both runs".to_owned());
    };
    let shown = format!("1,000 inputs cost ${was:.5} and cost ${is:.5}");
    match (before.cost_high, after.cost_low, after.cost_high, before.cost_low) {
        (Some(high), Some(low), ..) if low > high => (Course::Worse, format!("{shown}: dearer by more than chance")),
        (.., Some(high), Some(low)) if high < low => (Course::Better, format!("{shown}: cheaper by more than chance")),
        (Some(_), Some(_), ..) => (Course::Same, format!("{shown}: no more than chance makes of it")),
        _ => (Course::Unknown, format!("{shown}: so few rows do not tell")),
    }
}
