//! Runs for those who look on: all of them, one by its name, and how far one is that has not ended.
//!
//! Read next: `compare.rs` for two of them, `report.rs` for what one found.

use crate::EvalError;
use crate::compare::names;
use crate::metrics::Counts;
use crate::report::{Figure, Report};
use crate::statistics::bootstrap::{Bootstrap, Range};
use crate::statistics::interval::{Interval, Level};
use crate::statistics::sample::Sample;
use crate::verdict::Verdict;
use ledger::{Ledger, RowScore, Run};
use serde::Serialize;

/// How fast a candidate is follows from the answers of so many milliseconds.
const RATE_MS: u64 = 30_000;
/// Answers are recorded twice a second: of less time nothing follows.
const LEAST_RATE_MS: u64 = 1_500;
/// What random draws begin with, so that the same rows have the same interval.
const SEED: u64 = 1;

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody is at it.
    Running,
    /// It has its report.
    Ended,
    /// It was ended by force; the command that began it goes on with it.
    Stopped,
}

/// A run in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The task's name.
    pub task: String,
    /// The task's kind.
    pub kind: String,
    /// When it was created, in milliseconds since 1970.
    pub created: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended: Option<u64>,
    /// What has become of it.
    pub state: State,
    /// Rows of the test; none where an older program recorded the run and it has not ended.
    pub rows: Option<u64>,
    /// How many runs have looked at these rows by now, this one among them.
    pub looks: u64,
    /// The names of its candidates.
    pub candidates: Vec<String>,
    /// The verdict over all; none before the end, and where there is nothing to reach.
    pub verdict: Option<Verdict>,
    /// The candidate to take.
    pub recommended: Option<String>,
}

/// How far a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Its turn has not come.
    Waiting,
    /// It is asked; the last one that was, where a run was stopped.
    Now,
    /// It has had its turn.
    Done,
}

/// How far a candidate of a run is that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// What the task file calls it.
    pub name: String,
    /// Whether it is asked just now.
    pub turn: Turn,
    /// Rows that were judged, each try of one counted.
    pub done: u64,
    /// So many there are; none where an older program recorded the run.
    pub all: Option<u64>,
    /// Rows without an answer.
    pub failed: u64,
    /// The mean of the scores so far, with its interval as if it ended now; none where the metric is no mean of them.
    pub figure: Option<Figure>,
    /// Answers a second.
    pub rows_per_second: Option<f64>,
    /// Until it has all.
    pub seconds_left: Option<f64>,
}

/// All runs, the newest first.
///
/// # Errors
/// The ledger cannot be read.
pub fn listed(ledger: &Ledger) -> Result<Vec<Listed>, EvalError> {
    ledger.runs()?.iter().map(|run| in_a_line(ledger, run)).collect()
}

/// One run in a line.
///
/// # Errors
/// The ledger cannot be read.
pub fn in_a_line(ledger: &Ledger, run: &Run) -> Result<Listed, EvalError> {
    let spec = |key: &str| run.new.spec[key].as_str().unwrap_or_default().to_owned();
    let found = run.report.as_ref().map(|report| &report["verdict"]);
    let verdict = found.and_then(|found| serde_json::from_value(found["verdict"].clone()).ok().flatten());
    let reported = || run.report.as_ref().and_then(|report| report["test"]["rows"].as_u64());
    Ok(Listed {
        name: run.new.name.clone(),
        task: spec("task"),
        kind: spec("kind"),
        created: run.created_ms,
        ended: run.ended_ms,
        state: state(ledger, run)?,
        rows: run.new.spec["rows"].as_u64().or_else(reported),
        looks: ledger.looks_at(&run.new.test_sha256, &[])?,
        candidates: names(run),
        verdict,
        recommended: found.and_then(|found| found["recommended"].as_str()).map(str::to_owned),
    })
}

/// The run of a name.
///
/// # Errors
/// There is none, and which is near; or the ledger cannot be read.
pub fn find(ledger: &Ledger, name: &str) -> Result<Run, EvalError> {
    if let Some(run) = ledger.run(name)? {
        return Ok(run);
    }
    let runs = ledger.runs()?;
    let near = runs.iter().map(|run| run.new.name.as_str()).min_by_key(|known| distance(known, name));
    let near = near.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    Err(EvalError::Run(format!("there is no run {name:?}\nhint: {near}`bantam eval list` shows them")))
}

/// How many letters at the same places differ.
fn distance(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).filter(|(one, other)| one == other).count();
    one.chars().count().max(other.chars().count()) - same
}

/// The report of a run that ended.
///
/// # Errors
/// It has not ended, or another version wrote what cannot be read any more.
pub fn report(run: &Run) -> Result<Report, EvalError> {
    let name = &run.new.name;
    let Some(report) = run.report.clone() else {
        let text = format!("run {name} has not ended\nhint: the command that began it goes on with it");
        return Err(EvalError::Run(text));
    };
    let unreadable = |error| EvalError::Run(format!("the report of run {name} cannot be read: {error}"));
    serde_json::from_value(report).map_err(unreadable)
}

/// What has become of a run.
///
/// # Errors
/// Its lock cannot be looked at.
pub fn state(ledger: &Ledger, run: &Run) -> Result<State, EvalError> {
    if run.ended_ms.is_some() {
        return Ok(State::Ended);
    }
    Ok(if ledger.is_run_held(run.id)? { State::Running } else { State::Stopped })
}

/// How far each candidate of a run is. `now_ms`: milliseconds since 1970, for how fast it is.
///
/// # Errors
/// The ledger cannot be read.
pub fn progress(ledger: &Ledger, run: &Run, now_ms: u64) -> Result<Vec<Progress>, EvalError> {
    let spec = &run.new.spec;
    let rows = ledger.run_scores(run.id)?;
    let all = spec["rows"].as_u64().map(|rows| rows * spec["tries"].as_u64().unwrap_or(1));
    let current = rows.last().map_or(0, |row| row.position);
    let is_running = state(ledger, run)? == State::Running;
    let mut found = Vec::new();
    for (position, name) in (0..).zip(names(run)) {
        let rows: Vec<&RowScore> = rows.iter().filter(|row| row.position == position).collect();
        let done = rows.len() as u64;
        let turn = match position.cmp(&current) {
            _ if all == Some(done) => Turn::Done,
            std::cmp::Ordering::Less => Turn::Done,
            std::cmp::Ordering::Equal => Turn::Now,
            std::cmp::Ordering::Greater => Turn::Waiting,
        };
        let rows_per_second = if is_running && turn == Turn::Now { rate(&rows, now_ms) } else { None };
        let left = all.map(|all| all.saturating_sub(done) as f64);
        found.push(Progress {
            name,
            turn,
            done,
            all,
            failed: rows.iter().filter(|row| row.is_failed).count() as u64,
            figure: if spec["is_mean"] == true { mean(run, &rows)? } else { None },
            rows_per_second,
            seconds_left: left.zip(rows_per_second).map(|(left, rate)| left / rate),
        });
    }
    Ok(found)
}

/// Answers a second of late; none where too little is known.
fn rate(rows: &[&RowScore], now_ms: u64) -> Option<f64> {
    let times = rows.iter().filter_map(|row| row.recorded_ms);
    let late: Vec<u64> = times.filter(|time| *time + RATE_MS >= now_ms && *time <= now_ms).collect();
    let spent = now_ms - late.iter().min()?;
    (spent >= LEAST_RATE_MS).then(|| late.len() as f64 * 1e3 / spent as f64)
}

/// The mean of scores with its interval. Rows that share a group have none, as nobody has written down which do.
fn mean(run: &Run, rows: &[&RowScore]) -> Result<Option<Figure>, EvalError> {
    let scored: Vec<(u64, f64)> = rows.iter().filter_map(|row| Some((row.number, row.score?))).collect();
    if scored.is_empty() || run.new.spec["has_groups"] == true {
        return Ok(None);
    }
    let level = run.new.spec["goal"]["level"].as_f64().map_or(Ok(Level::USUAL), Level::new)?;
    let counts: Vec<Counts> = scored.iter().map(|(_, score)| Counts(vec![(0, *score), (1, 1.0)])).collect();
    let is_alone = scored.windows(2).all(|pair| pair[0].0 != pair[1].0);
    let is_share = is_alone && scored.iter().all(|(_, score)| [0.0, 1.0].contains(score));
    let sample = if is_alone {
        Sample::of_rows(2, &counts)?
    } else {
        // The tries of a row are no evidence one by one.
        let groups: Vec<usize> = scored
            .iter()
            .scan((0, scored[0].0), |(group, last), (number, _)| {
                *group += usize::from(number != last);
                *last = *number;
                Some(*group)
            })
            .collect();
        Sample::of_groups(2, &counts, &groups)?
    };
    let range = if is_share { Range::Share } else { Range::Within(Interval::UNIT) };
    let figure = |sums: &[f64]| (sums[1] > 0.0).then(|| sums[0] / sums[1]);
    let estimate = Bootstrap::new(level, SEED).estimate(&sample, &figure, range);
    Ok(estimate.map(|found| Figure { value: found.value, low: found.interval.low, high: found.interval.high }))
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
