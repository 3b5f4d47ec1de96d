//! The interval of any metric, by drawing the units of the test set again and again.
//!
//! A figure that has bounds (a share, a mean of scores, an F1) and one that has none (a perplexity, a mean latency) are
//! treated apart, because of what a small test set does not show. If 20 of 20 rows are right, every resample of them
//! is all right, and both the percentile interval and BCa shrink to the point 1. So for a figure with bounds:
//!
//! - every row gets a random weight of the exponential distribution (Rubin, "The Bayesian bootstrap", 1981);
//! - one row that nobody saw is added, in half of the draws as bad as a row can be, in the other half as good;
//! - the interval lies between the quantiles of the figures so drawn.
//!
//! With the worst row alone at the lower end, the best alone at the upper one, this is Gaffke's bound for means ("Three
//! test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable", 2005; examined by
//! Learned-Miller and Thomas, arXiv 1905.06208): no distribution is known at which it fails, and for rows that are right
//! or wrong it is Clopper and Pearson's interval. With half of the draws each it is, for such rows, the mid-P interval
//! of `interval.rs`: the weights of the right rows are a beta variable, and the probability of a count is half in one
//! tail and half in the other. So a share has one interval whichever way it is computed, groups extend it to rows that
//! are not independent, and what was all right still has a width.
//!
//! A figure without bounds has BCa (Efron, "Better bootstrap confidence intervals", 1987), taken as far out as Student's t
//! is from the normal, because a resample of few rows varies less than they do (Hesterberg, "What teachers should know
//! about the bootstrap", arXiv 1411.5279, section 4). If all its rows are equal, so are the ends: nothing is known about
//! rows that nobody saw.

use super::bisection::first_where;
use super::interval::{Estimate, Interval, Level, Proportion};
use super::normal;
use super::random::Random;
use super::sample::Sample;
use statrs::function::beta::beta_reg;

/// A figure of sums, as of `Metric::figure`. Sums in the same ratio have the same figure.
pub type Figure<'f> = &'f dyn Fn(&[f64]) -> Option<f64>;

/// What a figure can be, which decides about its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// The share of rows that are right: slot 0 counts them, slot 1 all.
    Share,
    /// Any number within these.
    Within(Interval),
    /// Any number.
    Unbounded,
}

/// So many draws at the usual level.
const REPLICATES: usize = 2000;
/// So many draws lie beyond either end.
const REPLICATES_OF_TAIL: f64 = 50.0;
/// If the figure says nothing of more than this share of the draws, the interval would be of something else.
const MOST_UNDEFINED: f64 = 0.5;

/// Nothing of a normal distribution lies so many deviations out.
const FARTHEST: f64 = 40.0;

/// How intervals are drawn: the same seed gives the same interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How often the interval is to hold the truth.
    pub level: Level,
    /// How many samples are drawn.
    pub replicates: usize,
    /// What the draws depend on.
    pub seed: u64,
}

impl Bootstrap {
    /// As many draws as the level needs: 2,000 at 0.95, and more where the ends lie further out.
    pub fn new(level: Level, seed: u64) -> Bootstrap {
        let for_tail = (REPLICATES_OF_TAIL / level.tail()).ceil() as usize;
        Bootstrap { level, replicates: for_tail.max(REPLICATES), seed }
    }

    /// A figure with the interval that is shown and that verdicts rest on: exact for a share of rows that are no groups,
    /// drawn otherwise. None where the figure says nothing of the sample or of most draws.
    pub fn estimate(&self, sample: &Sample, figure: Figure<'_>, range: Range) -> Option<Estimate> {
        let sums = sample.sums();
        let value = figure(&sums)?;
        let interval = match (range, sums.as_slice()) {
            (Range::Share, &[right, all]) if !sample.is_grouped() => {
                Proportion::new(right.round() as u64, all.round() as u64).ok()?.mid_p(self.level)
            }
            (Range::Share, _) => self.bounded(sample, figure, Interval::UNIT)?,
            (Range::Within(bounds), _) => self.bounded(sample, figure, bounds)?,
            (Range::Unbounded, _) => self.unbounded(sample, figure)?,
        };
        Some(Estimate { value, interval })
    }

    /// The interval of a figure that lies within bounds. None where there are no units, or where the figure says nothing
    /// of the sample or of most draws.
    pub fn bounded(&self, sample: &Sample, figure: Figure<'_>, bounds: Interval) -> Option<Interval> {
        let units = sample.units();
        figure(&sample.sums())?;
        let mut random = Random::new(self.seed);
        let mut drawn = Vec::with_capacity(self.replicates);
        let mut sums = vec![0.0; sample.slots()];
        for replicate in 0..self.replicates {
            sums.fill(0.0);
            let mut weights = 0.0;
            for unit in 0..units {
                let weight = random.exponential();
                weights += weight;
                for &(slot, count) in sample.unit(unit) {
                    sums[slot] += weight * count;
                }
            }
            let unseen = random.exponential();
            let scale = units as f64 / weights;
            sums.iter_mut().for_each(|sum| *sum *= scale);
            let end = if replicate % 2 == 0 { bounds.low } else { bounds.high };
            drawn.extend(figure(&sums).map(|figure| (weights * figure + unseen * end) / (weights + unseen)));
        }
        let rising = self.rising(drawn)?;
        let tail = self.level.tail();
        Some(Interval { low: quantile(&rising, tail), high: quantile(&rising, 1.0 - tail) })
    }

    /// The interval of a figure that has no bounds. None where there are no units, or where the figure says nothing of the
    /// sample or of most draws.
    pub fn unbounded(&self, sample: &Sample, figure: Figure<'_>) -> Option<Interval> {
        let units = sample.units();
        let whole = sample.sums();
        let value = figure(&whole)?;
        let mut random = Random::new(self.seed);
        let mut drawn = Vec::with_capacity(self.replicates);
        let mut sums = vec![0.0; sample.slots()];
        for _ in 0..self.replicates {
            sums.fill(0.0);
            for _ in 0..units {
                for &(slot, count) in sample.unit(random.below(units)) {
                    sums[slot] += count;
                }
            }
            drawn.extend(figure(&sums));
        }
        let rising = self.rising(drawn)?;
        let bias = bias(&rising, value);
        let acceleration = acceleration(sample, &whole, figure);
        let end = |tail: f64| {
            let sum = bias + normal::quantile(tail);
            quantile(&rising, normal::below(bias + sum / (1.0 - acceleration * sum)))
        };
        let tail = expanded(self.level.tail(), units);
        Some(Interval { low: end(tail), high: end(1.0 - tail) })
    }

    /// The figures that were drawn, in rising order; none where most draws had none.
    fn rising(&self, mut drawn: Vec<f64>) -> Option<Vec<f64>> {
        let undefined = self.replicates.saturating_sub(drawn.len());
        if drawn.is_empty() || undefined as f64 > MOST_UNDEFINED * self.replicates as f64 {
            return None;
        }
        drawn.sort_by(f64::total_cmp);
        Some(drawn)
    }
}

/// The tail of a normal distribution as far out as Student's t for so many units, and wider by what the variance of a
/// resample lacks.
fn expanded(tail: f64, units: usize) -> f64 {
    let freedom = units.saturating_sub(1).max(1) as f64;
    // The tail of Student's t is half of an incomplete beta function (DLMF 8.17, Abramowitz and Stegun 26.7.1).
    let beyond = |distance: f64| 0.5 * beta_reg(freedom / 2.0, 0.5, freedom / (freedom + distance * distance));
    let distance = first_where(0.0, FARTHEST, |distance| beyond(distance) <= tail);
    normal::below(-distance * ((freedom + 1.0) / freedom).sqrt())
}

/// Efron's bias: the normal quantile of the share of draws under the figure, where equal ones count half.
fn bias(rising: &[f64], value: f64) -> f64 {
    let tolerance = 1e-12 * value.abs().max(1e-300);
    let under = rising.partition_point(|&drawn| drawn < value - tolerance);
    let not_over = rising.partition_point(|&drawn| drawn <= value + tolerance);
    let count = rising.len() as f64;
    let share = f64::midpoint(under as f64, not_over as f64) / count;
    normal::quantile(share.clamp(0.5 / count, 1.0 - 0.5 / count))
}

/// Efron's acceleration: a sixth of the skewness of what the figure loses without each unit.
fn acceleration(sample: &Sample, whole: &[f64], figure: Figure<'_>) -> f64 {
    let mut sums = whole.to_vec();
    let mut without = Vec::with_capacity(sample.units());
    for unit in 0..sample.units() {
        for &(slot, count) in sample.unit(unit) {
            sums[slot] -= count;
        }
        without.extend(figure(&sums));
        for &(slot, _) in sample.unit(unit) {
            sums[slot] = whole[slot];
        }
    }
    let mean = without.iter().sum::<f64>() / without.len().max(1) as f64;
    let (squares, cubes) = without.iter().fold((0.0, 0.0), |(squares, cubes), &figure| {
        let loss = mean - figure;
        (squares + loss * loss, cubes + loss * loss * loss)
    });
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

/// A quantile of values in rising order, between the two nearest in proportion.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (rising.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(rising.len() - 1);
    rising[below] + (place - below as f64) * (rising[above] - rising[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;

    fn mean(sums: &[f64]) -> Option<f64> {
        (sums[1] > 0.0).then(|| sums[0] / sums[1])
    }

    fn rows(values: impl IntoIterator<Item = f64>) -> Sample {
        let rows: Vec<_> = values.into_iter().map(|value| Counts(vec![(0, value), (1, 1.0)])).collect();
        Sample::of_rows(2, &rows).unwrap()
    }

    /// Of rows that are right or wrong the drawn interval is the exact one, but for chance.
    #[test]
    fn a_share_has_one_interval_whichever_way() {
        let bootstrap = Bootstrap { replicates: 100_000, ..Bootstrap::new(Level::USUAL, 7) };
        for (right, all) in [(20, 20), (0, 20), (19, 20), (30, 50), (97, 100)] {
            let drawn =
                bootstrap.bounded(&rows((0..all).map(|row| f64::from(u8::from(row < right)))), &mean, Interval::UNIT);
            let (drawn, exact) = (drawn.unwrap(), Proportion::new(right, all).unwrap().mid_p(Level::USUAL));
            assert!((drawn.low - exact.low).abs() < 0.004, "{right} of {all}: {drawn:?} {exact:?}");
            assert!((drawn.high - exact.high).abs() < 0.004, "{right} of {all}: {drawn:?} {exact:?}");
        }
    }

    #[test]
    fn equal_rows_still_have_a_width() {
        let bootstrap = Bootstrap::new(Level::USUAL, 7);
        let interval = bootstrap.bounded(&rows([0.7; 30]), &mean, Interval::UNIT).unwrap();
        assert!(interval.low < 0.65 && interval.low > 0.55 && interval.high > 0.71, "{interval:?}");
        let flat = bootstrap.unbounded(&rows([0.7; 30]), &mean).unwrap();
        assert!((flat.low - 0.7).abs() < 1e-9 && (flat.high - 0.7).abs() < 1e-9, "{flat:?}");
    }

    #[test]
    fn a_seed_gives_one_interval() {
        let sample = rows((0..50).map(|row| f64::from(row % 7) / 7.0));
        let of = |seed| Bootstrap::new(Level::USUAL, seed).bounded(&sample, &mean, Interval::UNIT);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let of = |seed| Bootstrap::new(Level::USUAL, seed).unbounded(&sample, &mean);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    /// To copy every row four times tells nothing new, if the copies are known to belong together.
    #[test]
    fn copies_in_a_group_change_nothing() {
        let bootstrap = Bootstrap::new(Level::USUAL, 3);
        let values: Vec<f64> = (0..40).map(|row| f64::from(row % 5) / 4.0).collect();
        let copies: Vec<_> = (0..160).map(|row| Counts(vec![(0, values[row / 4]), (1, 1.0)])).collect();
        let groups: Vec<_> = (0..160).map(|row| row / 4).collect();
        let grouped = Sample::of_groups(2, &copies, &groups).unwrap();
        let (one, other) = (rows(values), grouped);
        let bounded = |sample| bootstrap.bounded(sample, &mean, Interval::UNIT).unwrap();
        assert!((bounded(&one).low - bounded(&other).low).abs() < 1e-12);
        let unbounded = |sample| bootstrap.unbounded(sample, &mean).unwrap();
        assert!((unbounded(&one).high - unbounded(&other).high).abs() < 1e-12);
    }

    #[test]
    fn figures_that_say_nothing_have_no_interval() {
        let bootstrap = Bootstrap::new(Level::USUAL, 3);
        assert_eq!(bootstrap.bounded(&rows([]), &mean, Interval::UNIT), None);
        assert_eq!(bootstrap.unbounded(&rows([]), &mean), None);
        // Four rows of a hundred have what the figure is of, and few resamples have just as many.
        let rare = |sums: &[f64]| (sums[0] == 4.0).then_some(1.0);
        let sample = rows((0..100).map(|row| f64::from(u8::from(row < 4))));
        assert!(rare(&sample.sums()).is_some());
        assert_eq!(bootstrap.unbounded(&sample, &rare), None);
    }

    #[test]
    fn the_range_decides_about_the_interval() {
        let bootstrap = Bootstrap::new(Level::USUAL, 3);
        let right = rows((0..50).map(|row| f64::from(u8::from(row < 45))));
        let exact = Proportion::new(45, 50).unwrap().mid_p(Level::USUAL);
        let of = |sample, range| bootstrap.estimate(sample, &mean, range).unwrap();
        assert_eq!(of(&right, Range::Share), Estimate { value: 0.9, interval: exact });
        let drawn = bootstrap.bounded(&right, &mean, Interval::UNIT).unwrap();
        assert_eq!(of(&right, Range::Within(Interval::UNIT)).interval, drawn);
        assert_eq!(of(&right, Range::Unbounded).interval, bootstrap.unbounded(&right, &mean).unwrap());
        let counts: Vec<_> = (0..50).map(|row| Counts(vec![(0, f64::from(u8::from(row < 45))), (1, 1.0)])).collect();
        let pairs: Vec<_> = (0..50).map(|row| row / 2).collect();
        let grouped = Sample::of_groups(2, &counts, &pairs).unwrap();
        assert!(of(&grouped, Range::Share).interval.width() > 1.2 * exact.width());
    }

    #[test]
    fn the_tail_is_that_of_students_t() {
        // 2.093 deviations for 19 degrees of freedom, times the root of 20/19.
        assert!((expanded(0.025, 20) - normal::below(-2.093_024 * (20f64 / 19.0).sqrt())).abs() < 1e-6);
        assert!((expanded(0.025, 1_000_000) - 0.025).abs() < 1e-6);
    }

    #[test]
    fn more_is_drawn_where_ends_lie_further_out() {
        assert_eq!(Bootstrap::new(Level::USUAL, 1).replicates, 2000);
        assert!(Bootstrap::new(Level::family(0.95, 10).unwrap(), 1).replicates >= 20_000);
    }
}
