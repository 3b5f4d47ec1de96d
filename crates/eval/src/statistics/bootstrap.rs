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
//! A figure without bounds has BCa (Efron, "Better bootstrap confidence intervals", 1987). If all its rows are equal,
//! so are the ends: nothing is known about rows that nobody saw.

use super::interval::{Interval, Level};
use super::random::Random;
use super::sample::Sample;
use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::SQRT_2;

/// A figure of sums, as of `Metric::figure`. Sums in the same ratio have the same figure.
pub type Figure<'f> = &'f dyn Fn(&[f64]) -> Option<f64>;

/// So many draws at the usual level.
const REPLICATES: usize = 2000;
/// So many draws lie beyond either end.
const REPLICATES_OF_TAIL: f64 = 50.0;
/// If the figure says nothing of more than this share of the draws, the interval would be of something else.
const MOST_UNDEFINED: f64 = 0.5;

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
            let sum = bias + normal_quantile(tail);
            quantile(&rising, normal(bias + sum / (1.0 - acceleration * sum)))
        };
        let tail = self.level.tail();
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

/// Efron's bias: the normal quantile of the share of draws under the figure, where equal ones count half.
fn bias(rising: &[f64], value: f64) -> f64 {
    let tolerance = 1e-12 * value.abs().max(1e-300);
    let under = rising.partition_point(|&drawn| drawn < value - tolerance);
    let not_over = rising.partition_point(|&drawn| drawn <= value + tolerance);
    let count = rising.len() as f64;
    let share = f64::midpoint(under as f64, not_over as f64) / count;
    normal_quantile(share.clamp(0.5 / count, 1.0 - 0.5 / count))
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

/// The share of a standard normal distribution under a number.
pub(super) fn normal(number: f64) -> f64 {
    0.5 * erfc(-number / SQRT_2)
}

/// The number under which a share of a standard normal distribution lies.
pub(super) fn normal_quantile(share: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * share)
}
