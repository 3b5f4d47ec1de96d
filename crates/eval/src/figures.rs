//! From rows that were judged to figures with intervals.

use crate::metrics::{Counts, Metric};
use crate::report::{Comparison, Figure, Latency};
use crate::run::{Scored, Scores};
use crate::statistics::bootstrap::{Bootstrap, Range};
use crate::statistics::interval::{Estimate, Interval, Level, quantile};
use crate::statistics::paired::{difference, mcnemar, swap_test};
use crate::statistics::sample::Sample;
use crate::{EvalError, TestSet};

/// What all random draws begin with, so that the same rows have the same intervals.
const SEED: u64 = 0x0062_616e_7461_6d00;
/// Draws of a test by swaps.
const SWAPS: usize = 10_000;

/// The figure of rows with its interval; none where no row counts.
///
/// `counts` are those of the rows that count, each with its group; `are_alone` says that every row stands for itself.
///
/// # Errors
/// Counts that a metric must not give.
pub fn figure(
    metric: &dyn Metric,
    counts: &[(usize, &Counts)],
    are_alone: bool,
    level: Level,
) -> Result<Option<Figure>, EvalError> {
    let sample = sample(metric, counts, are_alone)?;
    let range = match (metric.is_proportion(), metric.is_share()) {
        (true, _) => Range::Share,
        (false, true) => Range::Within(Interval::UNIT),
        (false, false) => Range::Unbounded,
    };
    let estimate = Bootstrap::new(level, SEED).estimate(&sample, &|sums| metric.figure(sums), range);
    Ok(estimate.map(|Estimate { value, interval }| Figure { value, low: interval.low, high: interval.high }))
}

fn sample(metric: &dyn Metric, counts: &[(usize, &Counts)], are_alone: bool) -> Result<Sample, EvalError> {
    let rows: Vec<Counts> = counts.iter().map(|(_, counts)| (*counts).clone()).collect();
    let groups: Vec<usize> = counts.iter().map(|(group, _)| *group).collect();
    Ok(if are_alone {
        Sample::of_rows(metric.slots(), &rows)?
    } else {
        Sample::of_groups(metric.slots(), &rows, &groups)?
    })
}

/// The rows that count, each with its group.
pub fn counted<'s>(scores: &'s Scores, test: &TestSet) -> Vec<(usize, &'s Counts)> {
    let counted = scores.rows.iter().filter_map(|row| Some((test.rows[row.index].group, row.counts.as_ref()?)));
    counted.collect()
}

/// Whether every row stands for itself: no groups, and one try of each.
pub fn are_alone(scores: &Scores, test: &TestSet) -> bool {
    test.groups.is_none() && scores.rows.iter().all(|row| row.attempt == 0)
}

/// How long answers take, of those that were asked alone, and of each row the first: its other tries find the prompt read.
pub fn latency(rows: &[Scored], level: Level) -> Option<Latency> {
    let first = rows.iter().filter(|row| row.attempt == 0);
    let answers = first.filter_map(|row| row.result.as_ref().ok()).filter(|answer| answer.is_alone);
    let mut rising: Vec<f64> = answers.map(|answer| answer.seconds * 1e3).collect();
    rising.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let rank = ((rising.len() as f64 * share).ceil() as usize).clamp(1, rising.len().max(1));
        rising.get(rank - 1).copied()
    };
    let p95 = quantile(&rising, 0.95, level);
    Some(Latency {
        rows: rising.len() as u64,
        p50: at(0.5)?,
        p95: at(0.95)?,
        p95_low: p95.low.max(0.0),
        p95_high: p95.high.is_finite().then_some(p95.high),
        p99: at(0.99)?,
    })
}

/// Two candidates on the rows that both answered; none where there is none.
///
/// # Errors
/// As [`figure`].
pub fn comparison(
    metric: &dyn Metric,
    names: [&str; 2],
    scores: [&Scores; 2],
    test: &TestSet,
) -> Result<Option<Comparison>, EvalError> {
    let (mut mine, mut others, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    let [first, second] = scores;
    // Both have their rows in the order of the test, tries beside each other; one may have ended before the other.
    let mut rest = second.rows.iter().peekable();
    for row in &first.rows {
        let place = (row.index, row.attempt);
        while rest.next_if(|other| (other.index, other.attempt) < place).is_some() {}
        let Some(other) = rest.next_if(|other| (other.index, other.attempt) == place) else { continue };
        if let (Some(counts), Some(other)) = (&row.counts, &other.counts) {
            mine.push(counts.clone());
            others.push(other.clone());
            groups.push(test.rows[row.index].group);
        }
    }
    if mine.is_empty() {
        return Ok(None);
    }
    let are_alone = are_alone(first, test) && are_alone(second, test);
    // The difference is the first's figure less the second's: the pair is taken the other way round.
    let pair = Sample::of_pair(metric.slots(), &others, &mine, (!are_alone).then_some(groups.as_slice()))?;
    let figure = |sums: &[f64]| metric.figure(sums);
    let Some(estimate) = difference(&Bootstrap::new(Level::USUAL, SEED), &pair, &figure) else { return Ok(None) };
    let is_exact = metric.is_proportion() && are_alone;
    let only = |one: &[Counts], other: &[Counts]| {
        let is_right = |counts: &Counts| counts.0.iter().any(|&(slot, count)| slot == 0 && count > 0.5);
        one.iter().zip(other).filter(|(one, other)| is_right(one) && !is_right(other)).count() as u64
    };
    let (only_this, only_other) = (only(&mine, &others), only(&others, &mine));
    let p = if is_exact { Some(mcnemar(only_this, only_other)) } else { swap_test(&pair, &figure, SWAPS, SEED) };
    Ok(Some(Comparison {
        candidate: names[0].to_owned(),
        with: names[1].to_owned(),
        rows: mine.len() as u64,
        difference: Figure { value: estimate.value, low: estimate.interval.low, high: estimate.interval.high },
        p: p.unwrap_or(1.0),
        only_this: is_exact.then_some(only_this),
        only_other: is_exact.then_some(only_other),
    }))
}
