//! An interval that holds after every row, so that a run may stop as soon as enough is known.
//!
//! An interval of a fixed number of rows that is looked at after each row misses the truth sooner or later. A confidence
//! sequence holds it at all times at once: the chance that it ever misses is at most its error (Waudby-Smith and Ramdas,
//! "Estimating means of bounded random variables by betting", arXiv 2010.09686).
//!
//! Somebody bets that the mean of values from 0 to 1 is over `m`. With each value `x` the capital grows by the factor
//!
//! ```text
//! 1 + stake (x - m)      0 <= stake <= 1/m
//! ```
//!
//! whose expectation is at most 1 if the mean is `m` or less: the game is fair, or worse. So the capital of a crowd with
//! many stakes, however spread, passes 2/error with a probability of at most error/2 (Ville, "Étude critique de la
//! notion de collectif", 1939), and when it does the mean is over `m`. The upper end is the lower one of `1 - x`.
//!
//! The best stake at a share `q` of ones is (q - m)/(m (1 - m)). The crowd is spread evenly over the arc sine of the root
//! of `q` between `m` and 1, where differences of `q` are equally hard to see. In simulations of thresholds from 0.5 to
//! 0.95, of rows right or wrong and of scores, that stopped sooner on the average than the beta-binomial mixture by
//! Jeffreys' prior over all of 0 to 1 (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970)
//! and, but for truths just over the threshold, than the hedged stakes of the paper above. Against 0.9 it stops after 7
//! rows in the middle if the truth is 0.5, after 44 if it is 0.99, after 95 if it is 0.97.

use super::StatisticsError;
use super::bisection::first_count_where;
use super::interval::{Interval, Level};
use super::power::MOST_ROWS;
use std::f64::consts::FRAC_PI_2;

/// Means are told apart to a thousandth, so a threshold of up to three decimals is one of them.
const STEPS: usize = 1000;
/// How many stakes there are against each mean.
const STAKES: usize = 32;
/// Capital that can never matter again: it would be denormal soon, which is slow.
const LOST: f64 = 1e-290;

/// The confidence sequence of the mean of values from 0 to 1, which come in random order and do not depend on each
/// other: of rows that share a group, push the mean of the group.
#[derive(Debug, Clone)]
pub struct Sequence {
    level: Level,
    rows: u64,
    sum: f64,
    /// The stakes against each mean, in steps.
    stakes: Vec<[f64; STAKES]>,
    /// That the mean is over, of the values.
    over: Bound,
    /// The same of what the values lack to 1.
    under: Bound,
}

/// The lower end of a sequence.
#[derive(Debug, Clone)]
struct Bound {
    /// What each stake against each mean, in steps, has become.
    capital: Vec<[f64; STAKES]>,
    /// The mean is over this step.
    reached: usize,
}

impl Sequence {
    /// Nothing is known: the interval is all from 0 to 1.
    pub fn new(level: Level) -> Sequence {
        let stakes = (0..STEPS).map(|step| stakes(step.max(1) as f64 / STEPS as f64)).collect();
        let bound = Bound { capital: vec![[1.0; STAKES]; STEPS], reached: 0 };
        Sequence { level, rows: 0, sum: 0.0, stakes, over: bound.clone(), under: bound }
    }

    /// Takes in the value of one more row.
    ///
    /// # Errors
    /// It is not within 0 and 1. Nothing changes then.
    pub fn push(&mut self, value: f64) -> Result<(), StatisticsError> {
        if !Interval::UNIT.contains(value) {
            return Err(StatisticsError::Share { what: "a value", got: value });
        }
        self.rows += 1;
        self.sum += value;
        let needed = needed(self.level);
        // Neither end passes the other.
        self.over.push(value, &self.stakes, needed, STEPS - self.under.reached);
        self.under.push(1.0 - value, &self.stakes, needed, STEPS - self.over.reached);
        Ok(())
    }

    /// Where the mean is. That it is elsewhere, at any time of all there will have been, is as rare as the level says.
    pub fn interval(&self) -> Interval {
        let mean = |step: usize| step as f64 / STEPS as f64;
        Interval { low: mean(self.over.reached), high: mean(STEPS - self.under.reached) }
    }

    /// The mean of the values so far; none of no rows.
    pub fn mean(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum / self.rows as f64)
    }

    /// How many values came.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many more rows will decide whether the mean clears a threshold, about, if it stays what it is. Values that are
    /// neither 0 nor 1 take fewer. 0 where it is decided; none where the mean is the threshold, where there are no rows,
    /// or where a million do not do.
    pub fn more_rows(&self, threshold: f64) -> Option<u64> {
        let mean = self.mean()?;
        let interval = self.interval();
        if threshold <= interval.low || threshold >= interval.high {
            return Some(0);
        }
        let (mean, threshold) = if mean > threshold { (mean, threshold) } else { (1.0 - mean, 1.0 - threshold) };
        if mean == threshold {
            return None;
        }
        let (stakes, needed) = (stakes(threshold), needed(self.level).ln());
        first_count_where(0, MOST_ROWS, |more| {
            let all = (self.rows + more) as f64;
            let logs = stakes.map(|stake| {
                let (win, loss) = ((stake * (1.0 - threshold)).ln_1p(), (-stake * threshold).ln_1p());
                all * (mean * win + (1.0 - mean) * loss)
            });
            let largest = logs.iter().fold(f64::NEG_INFINITY, |largest, &log| largest.max(log));
            largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln() >= needed
        })
    }
}

impl Bound {
    /// Pays out the bets that the mean is over each step from the one that is next to `end`, and sees how far that goes.
    fn push(&mut self, value: f64, stakes: &[[f64; STAKES]], needed: f64, end: usize) {
        let from = self.reached + 1;
        let mut is_next = true;
        for (step, (capital, stakes)) in (from..).zip(self.capital[from..end].iter_mut().zip(&stakes[from..end])) {
            let surplus = value - step as f64 / STEPS as f64;
            let mut sum = 0.0;
            for (capital, stake) in capital.iter_mut().zip(stakes) {
                let paid = *capital * (1.0 + stake * surplus);
                *capital = if paid < LOST { 0.0 } else { paid };
                sum += *capital;
            }
            // One step at a time: that the mean is over a step then rests on the bets against that step itself.
            is_next &= sum >= needed;
            self.reached = if is_next { step } else { self.reached };
        }
    }
}

/// What the stakes that began with 1 each have to become together: one end misses as often as half the error.
pub(super) fn needed(level: Level) -> f64 {
    STAKES as f64 / level.tail()
}

/// The stakes of those who bet that the mean is over this one.
pub(super) fn stakes(mean: f64) -> [f64; STAKES] {
    let angle = mean.sqrt().asin();
    std::array::from_fn(|index| {
        let part = (index as f64 + 0.5) / STAKES as f64;
        let share = (angle + part * (FRAC_PI_2 - angle)).sin().powi(2);
        (share - mean) / (mean * (1.0 - mean))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    fn fed(values: impl IntoIterator<Item = f64>) -> Sequence {
        let mut sequence = Sequence::new(Level::USUAL);
        values.into_iter().for_each(|value| sequence.push(value).unwrap());
        sequence
    }

    /// Of all rows anew, at every mean on its own, by the shares that are bet on.
    fn naive(ones: f64, zeros: f64, mean: f64) -> f64 {
        let angle = mean.sqrt().asin();
        let capital = (0..STAKES).map(|index| {
            let share = (angle + (index as f64 + 0.5) / STAKES as f64 * (FRAC_PI_2 - angle)).sin().powi(2);
            (ones * (share / mean).ln() + zeros * ((1.0 - share) / (1.0 - mean)).ln()).exp()
        });
        capital.sum::<f64>() / STAKES as f64
    }

    #[test]
    fn the_ends_are_those_of_bets_reckoned_anew() {
        for (seed, rate) in [(1, 0.5), (2, 0.8), (3, 0.95), (4, 1.0), (5, 0.1)] {
            let mut random = Random::new(seed);
            let mut sequence = Sequence::new(Level::USUAL);
            let (mut ones, mut zeros, mut low, mut high) = (0.0, 0.0, 0, STEPS);
            for _ in 0..200 {
                let value = f64::from(u8::from(random.unit() < rate));
                sequence.push(value).unwrap();
                (ones, zeros) = (ones + value, zeros + 1.0 - value);
                let mean = |step: usize| step as f64 / STEPS as f64;
                while low + 1 < STEPS && naive(ones, zeros, mean(low + 1)) >= 40.0 {
                    low += 1;
                }
                while high > 1 && naive(zeros, ones, 1.0 - mean(high - 1)) >= 40.0 {
                    high -= 1;
                }
                assert_eq!(sequence.interval(), Interval { low: mean(low), high: mean(high) });
            }
        }
    }

    #[test]
    fn the_interval_never_grows_and_holds_the_mean() {
        let mut random = Random::new(9);
        let mut sequence = Sequence::new(Level::USUAL);
        let mut before = sequence.interval();
        assert_eq!(before, Interval::UNIT);
        for _ in 0..3000 {
            sequence.push(random.unit().sqrt()).unwrap();
            let interval = sequence.interval();
            assert!(interval.low >= before.low && interval.high <= before.high);
            before = interval;
        }
        assert!(before.contains(2.0 / 3.0) && before.width() < 0.05, "{before:?}");
        assert_eq!(sequence.rows(), 3000);
    }

    #[test]
    fn clear_cases_end_after_tens_of_rows() {
        let first = |value: fn(usize) -> f64, is_decided: fn(Interval) -> bool| {
            let mut sequence = Sequence::new(Level::USUAL);
            (1..500).find(|&row| {
                sequence.push(value(row)).unwrap();
                is_decided(sequence.interval())
            })
        };
        let all_right = first(|_| 1.0, |interval| interval.low >= 0.9).unwrap();
        assert!((40..50).contains(&all_right), "{all_right}");
        let half_right = first(|row| (row % 2) as f64, |interval| interval.high <= 0.9).unwrap();
        assert!(half_right < 15, "{half_right}");
        let scores = first(|row| 0.6 + 0.2 * (row % 2) as f64, |interval| interval.high <= 0.9).unwrap();
        assert!(scores < 25, "{scores}");
    }

    #[test]
    fn rows_to_come_are_about_those_that_will_be_needed() {
        for (step, threshold) in [(5, 0.9), (20, 0.9), (10, 0.8)] {
            let value = |row: u64| f64::from(u8::from(row % step != step / 2));
            let mut sequence = fed((0..2 * step).map(value));
            let said = sequence.more_rows(threshold).unwrap();
            let mut taken = 0;
            while !(sequence.interval().low >= threshold || sequence.interval().high <= threshold) {
                sequence.push(value(sequence.rows())).unwrap();
                taken += 1;
            }
            assert!(said.abs_diff(taken) <= 3 + taken / 5, "{step}: {said} {taken}");
            assert_eq!(sequence.more_rows(threshold), Some(0));
        }
        assert_eq!(fed([]).more_rows(0.5), None);
        assert_eq!(fed([0.0, 1.0]).more_rows(0.5), None);
    }

    #[test]
    fn what_is_no_share_is_told() {
        let mut sequence = fed([0.5]);
        let error = sequence.push(2.0).unwrap_err().to_string();
        assert_eq!(error, "expected a value from 0 to 1, got 2\nhint: divide percentages by 100");
        assert!(sequence.push(f64::NAN).is_err());
        assert_eq!((sequence.rows(), sequence.mean()), (1, Some(0.5)));
    }
}
