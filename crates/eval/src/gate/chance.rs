//! Two figures of one candidate, and whether more than chance lies between them.
//!
//! Paired on the rows that both runs have where that can be done, else by the intervals of both. Read next:
//! `crate::statistics::paired`.

use super::{Course, Method};
use crate::EvalError;
use crate::metrics::{Counts, Metric};
use crate::report::{Figure, Goal};
use crate::statistics::bootstrap::Bootstrap;
use crate::statistics::interval::Level;
use crate::statistics::paired::{difference, mcnemar, swap_test};
use crate::statistics::power::smallest_difference;
use crate::statistics::sample::Sample;

/// What all random draws begin with, so that the same rows have the same intervals.
const SEED: u64 = 0x0067_6174_6500;
/// Draws of a test by swaps.
const SWAPS: usize = 10_000;

/// The rows that both runs have.
#[derive(Default)]
pub struct Pairs {
    before: Vec<Counts>,
    after: Vec<Counts>,
    groups: Vec<usize>,
    /// Rows that counted before and do not now.
    lost: Vec<(Counts, usize)>,
}

/// Both figures with what lies between them.
#[derive(Debug)]
pub struct Sides {
    pub method: Method,
    pub rows: u64,
    pub before: Option<f64>,
    pub after: Option<f64>,
    pub difference: Option<Figure>,
    /// None without pairs.
    pub p: Option<f64>,
    /// Rows that had an answer and have none now.
    lost: usize,
    /// The same, were all of those wrong now; none where there are none, or nobody can tell.
    at_worst: Option<Box<Sides>>,
    /// What difference so many rows show 4 times of 5; none where that cannot be told.
    shown: Option<f64>,
    is_early: bool,
}

impl Pairs {
    pub fn push(&mut self, before: &Counts, after: Option<Counts>, group: usize) {
        match after {
            Some(after) => {
                self.before.push(before.clone());
                self.after.push(after);
                self.groups.push(group);
            }
            None => self.lost.push((before.clone(), group)),
        }
    }

    /// What lies between the two; none where the figure says nothing of one of them.
    pub fn sides(mut self, metric: &dyn Metric, is_grouped: bool) -> Result<Option<Sides>, EvalError> {
        let Some(mut sides) = self.compared(metric, is_grouped)? else { return Ok(None) };
        sides.lost = self.lost.len();
        if sides.lost > 0 && metric.is_mean() {
            for (before, group) in std::mem::take(&mut self.lost) {
                // Slot 1 counts the tries, and slot 0 what is right of them.
                let tries = before.0.iter().copied().filter(|(slot, _)| *slot == 1).collect();
                self.push(&before, Some(Counts(tries)), group);
            }
            sides.at_worst = self.compared(metric, is_grouped)?.map(Box::new);
        }
        Ok(Some(sides))
    }

    fn compared(&self, metric: &dyn Metric, is_grouped: bool) -> Result<Option<Sides>, EvalError> {
        let groups = is_grouped.then_some(self.groups.as_slice());
        let pair = Sample::of_pair(metric.slots(), &self.before, &self.after, groups)?;
        let figure = |sums: &[f64]| metric.figure(sums);
        let bootstrap = Bootstrap::new(Level::USUAL, SEED);
        let Some(estimate) = difference(&bootstrap, &pair, &figure) else { return Ok(None) };
        let (before, after) = {
            let sums = pair.sums();
            let (before, after) = sums.split_at(metric.slots());
            (metric.figure(before), metric.figure(after))
        };
        let is_exact = metric.is_proportion() && !is_grouped && self.are_single();
        let (rows, worse, better) = (self.before.len() as u64, self.only(true), self.only(false));
        let p = if is_exact { Some(mcnemar(worse, better)) } else { swap_test(&pair, &figure, SWAPS, SEED) };
        let discordant = (worse + better) as f64 / rows as f64;
        Ok(Some(Sides {
            method: Method::Paired,
            rows,
            before,
            after,
            difference: Some(Figure {
                value: estimate.value,
                low: estimate.interval.low,
                high: estimate.interval.high,
            }),
            p: Some(p.unwrap_or(1.0)),
            lost: 0,
            at_worst: None,
            shown: if is_exact { smallest_difference(rows, discordant, Level::USUAL) } else { None },
            is_early: false,
        }))
    }

    /// Whether every row was asked once.
    fn are_single(&self) -> bool {
        let is_single = |counts: &Counts| counts.0.iter().any(|&(slot, count)| slot == 1 && count == 1.0);
        self.before.iter().chain(&self.after).all(is_single)
    }

    /// Rows that only one side has right.
    fn only(&self, is_before: bool) -> u64 {
        let is_right = |counts: &Counts| counts.0.iter().any(|&(slot, count)| slot == 0 && count > 0.5);
        let differ =
            |(before, after): &(&Counts, &Counts)| is_right(before) != is_right(after) && is_right(before) == is_before;
        self.before.iter().zip(&self.after).filter(differ).count() as u64
    }
}

/// Two figures that have no rows in common, by their intervals. Those of two samples that were drawn once make one of their
/// difference by the distances of their ends (Zou and Donner, "Construction of confidence limits about effect measures",
/// 2008, formula 4). Those of runs that ended early hold at every moment, and so does what lies between their far ends.
pub fn apart(before: Option<Figure>, after: Option<Figure>, is_early: bool, rows: u64) -> Sides {
    let difference = before.zip(after).map(|(before, after)| {
        let value = after.value - before.value;
        if is_early {
            return Figure { value, low: after.low - before.high, high: after.high - before.low };
        }
        let down = (after.value - after.low).hypot(before.high - before.value);
        let up = (after.high - after.value).hypot(before.value - before.low);
        Figure { value, low: value - down, high: value + up }
    });
    Sides {
        method: Method::Intervals,
        rows,
        before: before.map(|figure| figure.value),
        after: after.map(|figure| figure.value),
        difference,
        p: None,
        lost: 0,
        at_worst: None,
        shown: None,
        is_early,
    }
}

impl Sides {
    /// What is said of the figure, and in a sentence.
    pub fn finding(&self, goal: &Goal) -> (Course, String) {
        let Some(difference) = self.difference else {
            return (Course::Unknown, format!("{} is not known of both runs", goal.metric));
        };
        let text = self.shown_as(goal, difference);
        match self.course(goal) {
            Course::Worse => (Course::Worse, format!("{text}: worse by more than chance")),
            course if self.is_in_doubt(goal) => {
                let lost = self.lost;
                let course = course.max(Course::Unknown);
                (course, format!("{text}, but {lost} rows have no answer now: with them it may be worse"))
            }
            Course::Better => (Course::Better, format!("{text}: better by more than chance")),
            _ => {
                let shown = self.shown.map_or(String::new(), |least| {
                    format!("; these rows show a difference of {least:.3} 4 times of 5")
                });
                (Course::Same, format!("{text}: no more than chance makes of it{shown}"))
            }
        }
    }

    fn shown_as(&self, goal: &Goal, difference: Figure) -> String {
        let figure = |figure: Option<f64>| figure.map_or("unknown".to_owned(), |figure| format!("{figure:.3}"));
        let how = match self.method {
            Method::Paired => format!("on the {} rows that both runs answered", self.rows),
            Method::Intervals if self.is_early => "by the intervals of both, as one ended early".to_owned(),
            Method::Intervals => "by the intervals of both, as they have no rows in common".to_owned(),
        };
        let p = self.p.map_or(String::new(), |p| match p {
            p if p < 0.001 => ", p < 0.001".to_owned(),
            p => format!(", p = {p:.3}"),
        });
        format!(
            "{} was {} and is {} {how}, a difference of {:+.3} ({:+.3} to {:+.3}{p})",
            goal.metric,
            figure(self.before),
            figure(self.after),
            difference.value,
            difference.low,
            difference.high
        )
    }

    fn course(&self, goal: &Goal) -> Course {
        let Some(Figure { value, low, high }) = self.difference else { return Course::Unknown };
        let is_chance = match self.p {
            Some(p) => p >= 1.0 - goal.confidence,
            None => low <= 0.0 && 0.0 <= high,
        };
        match (is_chance, (value > 0.0) == goal.is_better_higher) {
            (true, _) => Course::Same,
            (false, true) => Course::Better,
            (false, false) => Course::Worse,
        }
    }

    /// Whether rows that have no answer now may hide that it is worse.
    fn is_in_doubt(&self, goal: &Goal) -> bool {
        self.lost > 0 && self.at_worst.as_ref().is_none_or(|worst| worst.course(goal) == Course::Worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: Goal = Goal {
        metric: String::new(),
        about: String::new(),
        grader: None,
        threshold: None,
        is_better_higher: true,
        confidence: 0.95,
        level: 0.95,
        latency_ms_p95: None,
        cost_per_1000: None,
    };

    fn figure(value: f64, low: f64, high: f64) -> Option<Figure> {
        Some(Figure { value, low, high })
    }

    #[test]
    fn intervals_of_two_samples_make_one_of_their_difference() {
        // 56 of 70 and 48 of 80 with Wilson's intervals: Newcombe, "Interval estimation for the difference between
        // independent proportions", 1998, table II, method 10, contrast (a).
        let sides = apart(figure(0.6, 0.4904, 0.7003), figure(0.8, 0.6917, 0.8769), false, 70);
        let difference = sides.difference.unwrap();
        assert!((difference.low - 0.0524).abs() < 1e-3 && (difference.high - 0.3339).abs() < 1e-3, "{difference:?}");
        assert_eq!(sides.course(&GOAL), Course::Better);
        let early = apart(figure(0.6, 0.4904, 0.7003), figure(0.8, 0.6917, 0.8769), true, 70);
        assert_eq!(early.course(&GOAL), Course::Same, "intervals that overlap, of runs that chose their end");
        assert_eq!(apart(None, figure(0.8, 0.7, 0.9), false, 9).finding(&GOAL).0, Course::Unknown);
    }

    #[test]
    fn less_is_better_where_the_goal_says_so() {
        let sides = apart(figure(0.1, 0.05, 0.15), figure(0.5, 0.4, 0.6), false, 9);
        assert_eq!(sides.course(&GOAL), Course::Better);
        assert_eq!(sides.course(&Goal { is_better_higher: false, ..GOAL }), Course::Worse);
    }
}
