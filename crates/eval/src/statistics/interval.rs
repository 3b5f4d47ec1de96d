//! Intervals in closed form: of a share of rows, and of a quantile.
//!
//! Of the intervals for a share the one that is shown is mid-P, see [`Proportion::mid_p`]. Read next: `bootstrap.rs` for
//! figures that are no share.

use super::StatisticsError;
use super::bisection::{first_count_where, first_where};
use super::normal;
use statrs::function::beta::beta_reg;

/// From where to where a figure may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// All that a share can be.
    pub const UNIT: Interval = Interval { low: 0.0, high: 1.0 };

    /// From the lower end to the upper one.
    pub fn width(&self) -> f64 {
        self.high - self.low
    }

    /// Whether a number lies in it, its ends included.
    pub fn contains(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure of the rows that there are.
    pub value: f64,
    /// Where the figure of all rows there could be is.
    pub interval: Interval,
}

/// How often an interval is to hold the truth: 0.95 for 19 of 20.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level(f64);

impl Level {
    /// 19 of 20.
    pub const USUAL: Level = Level(0.95);

    /// # Errors
    /// It is not between 0 and 1.
    pub fn new(level: f64) -> Result<Level, StatisticsError> {
        if level > 0.0 && level < 1.0 { Ok(Level(level)) } else { Err(StatisticsError::Level(level)) }
    }

    /// The level at which each of so many intervals is held, so that all of them at once hold the truth as often as
    /// `confidence` says: 1 - error/k (Bonferroni).
    ///
    /// # Errors
    /// As [`Level::new`].
    pub fn family(confidence: f64, count: usize) -> Result<Level, StatisticsError> {
        let whole = Level::new(confidence)?;
        Level::new(1.0 - whole.error() / count.max(1) as f64)
    }

    /// The level as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// How often an interval may miss.
    pub fn error(self) -> f64 {
        1.0 - self.0
    }

    /// How often it may miss on one side.
    pub fn tail(self) -> f64 {
        self.error() / 2.0
    }

    /// How many standard deviations of a normal distribution lie on either side: 1.96 at 0.95.
    pub fn deviations(self) -> f64 {
        -normal::quantile(self.tail())
    }
}

/// How many of how many rows are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    right: u64,
    all: u64,
}

impl Proportion {
    /// # Errors
    /// More are right than there are.
    pub fn new(right: u64, all: u64) -> Result<Proportion, StatisticsError> {
        if right <= all { Ok(Proportion { right, all }) } else { Err(StatisticsError::Right { right, all }) }
    }

    /// The rows that are right.
    pub fn right(self) -> u64 {
        self.right
    }

    /// All rows.
    pub fn all(self) -> u64 {
        self.all
    }

    /// The share that is right; none of no rows.
    pub fn rate(self) -> Option<f64> {
        (self.all > 0).then(|| self.right as f64 / self.all as f64)
    }

    /// The interval that is shown, and that verdicts rest on: Clopper and Pearson's with half the probability of what was
    /// seen (Lancaster, "Significance tests in discrete distributions", 1961).
    ///
    /// It covers the truth as often as it says, on the average; and on either side it misses at most twice as often as
    /// half its error, so a verdict that rests on one end is false at most with the whole error: the half counted is
    /// never less than half of the probability that Clopper and Pearson bound. Wilson's promises no such thing. Its upper
    /// end is under a true rate of 0.99 after one miss in 17 rows, which comes 16 times of 100.
    pub fn mid_p(self, level: Level) -> Interval {
        self.tails_at(level, 0.5)
    }

    /// Clopper and Pearson's interval ("The use of confidence or fiducial limits", 1934): it holds the truth at least as
    /// often as it says at every rate, and is wider for it.
    pub fn clopper_pearson(self, level: Level) -> Interval {
        self.tails_at(level, 1.0)
    }

    /// Wilson's interval ("Probable inference, the law of succession, and statistical inference", 1927), which others
    /// report.
    pub fn wilson(self, level: Level) -> Interval {
        let Some(rate) = self.rate() else { return Interval::UNIT };
        let (all, deviations) = (self.all as f64, level.deviations());
        let square = deviations * deviations;
        let middle = (rate + square / (2.0 * all)) / (1.0 + square / all);
        let spread = (rate * (1.0 - rate) / all + square / (4.0 * all * all)).sqrt();
        let half = deviations / (1.0 + square / all) * spread;
        let low = if self.right == 0 { 0.0 } else { (middle - half).max(0.0) };
        let high = if self.right == self.all { 1.0 } else { (middle + half).min(1.0) };
        Interval { low, high }
    }

    /// The rates at which seeing as much or more, and as little or less, has the probability of a tail; what was seen
    /// itself counts by `weight`.
    fn tails_at(self, level: Level, weight: f64) -> Interval {
        let wrong = Proportion { right: self.all - self.right, all: self.all };
        let tail = level.tail();
        Interval { low: self.low_at(tail, weight), high: 1.0 - wrong.low_at(tail, weight) }
    }

    fn low_at(self, tail: f64, weight: f64) -> f64 {
        if self.right == 0 {
            return 0.0;
        }
        first_where(0.0, 1.0, |rate| {
            let as_much = at_least(self.right, self.all, rate);
            let more = at_least(self.right + 1, self.all, rate);
            weight * as_much + (1.0 - weight) * more > tail
        })
    }
}

/// The probability that of `all` rows, each right at a rate, at least so many are right: a regularised incomplete beta
/// function (DLMF 8.17.5).
pub(super) fn at_least(right: u64, all: u64, rate: f64) -> f64 {
    match right {
        0 => 1.0,
        _ if right > all => 0.0,
        _ => beta_reg(right as f64, (all - right) as f64 + 1.0, rate.clamp(0.0, 1.0)),
    }
}

/// An interval of a quantile, of values in rising order: no distribution is assumed. `share` is 0.95 for p95. An end
/// that so few values cannot tell is infinite; latencies can be cut at 0.
///
/// A quantile lies above the i-th value when fewer than i values lie below it, which is binomial (David and Nagaraja,
/// "Order statistics", section 7.1).
pub fn quantile(rising: &[f64], share: f64, level: Level) -> Interval {
    let all = rising.len() as u64;
    // The probability that at most `count` values lie under the quantile.
    let at_most = |count: u64| 1.0 - at_least(count + 1, all, share);
    let value = |rank: u64| usize::try_from(rank).ok().and_then(|rank| rising.get(rank)).copied();
    let low = first_count_where(0, all, |count| at_most(count) > level.tail());
    let high = first_count_where(0, all, |count| at_least(count + 1, all, share) <= level.tail());
    Interval {
        low: low.and_then(|rank| rank.checked_sub(1)).and_then(value).unwrap_or(f64::NEG_INFINITY),
        high: high.and_then(value).unwrap_or(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lies_between_0_and_1() {
        assert_eq!(Level::new(0.9).unwrap().value(), 0.9);
        for wrong in [0.0, 1.0, 95.0, f64::NAN] {
            let error = Level::new(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("expected a level over 0 and under 1, got {wrong}\nhint: 0.95 is usual"));
        }
        assert!((Level::USUAL.deviations() - 1.959_963_984_540_054).abs() < 1e-12);
    }

    #[test]
    fn a_family_of_intervals_shares_one_error() {
        let error = |count: usize| Level::family(0.95, count).unwrap().error();
        assert!([0, 1].into_iter().all(|count| (error(count) - 0.05).abs() < 1e-12));
        assert!((error(5) - 0.01).abs() < 1e-12);
        assert!(Level::family(95.0, 2).is_err());
    }

    #[test]
    fn no_more_are_right_than_there_are() {
        let error = Proportion::new(3, 2).unwrap_err().to_string();
        assert_eq!(error, "expected at most 2 rows right of 2, got 3\nhint: count each row once");
    }

    #[test]
    fn no_rows_tell_nothing() {
        let none = Proportion::new(0, 0).unwrap();
        assert_eq!(none.rate(), None);
        for interval in [none.mid_p(Level::USUAL), none.wilson(Level::USUAL), none.clopper_pearson(Level::USUAL)] {
            assert_eq!(interval, Interval::UNIT);
        }
    }

    /// The half counted makes it shorter than Clopper and Pearson's at every count; right and wrong are alike.
    #[test]
    fn mid_p_lies_within_clopper_pearson() {
        for all in [1, 7, 40] {
            for right in 0..=all {
                let seen = Proportion::new(right, all).unwrap();
                let (inner, outer) = (seen.mid_p(Level::USUAL), seen.clopper_pearson(Level::USUAL));
                assert!(outer.low <= inner.low && inner.high <= outer.high && inner.width() < outer.width());
                assert!(inner.contains(seen.rate().unwrap()) && inner.width() > 0.0);
                let mirrored = Proportion::new(all - right, all).unwrap().mid_p(Level::USUAL);
                assert!((mirrored.low + inner.high - 1.0).abs() < 1e-12);
            }
        }
    }
}
