//! How well two judges agree, such as a judge model and the people whose labels the data have.

use super::StatisticsError;
use super::bootstrap::Bootstrap;
use super::interval::{Estimate, Interval};
use super::sample::Sample;
use crate::metrics::Counts;

/// How far apart two labels are that are not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// As far as any two: labels without an order.
    Equal,
    /// By the steps between them, on a scale.
    Linear,
    /// By the square of the steps, so that far misses count most.
    Quadratic,
}

impl Weights {
    fn between(self, one: usize, other: usize) -> f64 {
        let steps = one.abs_diff(other) as f64;
        match self {
            Weights::Equal => steps.min(1.0),
            Weights::Linear => steps,
            Weights::Quadratic => steps * steps,
        }
    }
}

/// Kappa can lie here: -1 is to agree never, 0 as often as by chance, 1 always.
const KAPPA: Interval = Interval { low: -1.0, high: 1.0 };

/// Cohen's kappa ("A coefficient of agreement for nominal scales", 1960; weighted: "Weighted kappa", 1968) of pairs of
/// labels, each under `labels`, with its interval by the bootstrap. None where both judges gave all rows one label, the
/// same: chance agrees as well then.
///
/// # Errors
/// A label that there is not.
pub fn kappa(
    pairs: &[(usize, usize)],
    labels: usize,
    weights: Weights,
    bootstrap: &Bootstrap,
) -> Result<Option<Estimate>, StatisticsError> {
    if let Some(&(one, other)) = pairs.iter().find(|&&(one, other)| one.max(other) >= labels) {
        return Err(StatisticsError::Label { label: one.max(other), labels });
    }
    let slot = |one: usize, other: usize| u32::try_from(one * labels + other).unwrap_or(u32::MAX);
    let rows: Vec<_> = pairs.iter().map(|&(one, other)| Counts(vec![(slot(one, other), 1.0)])).collect();
    let sample = Sample::of_rows(labels * labels, &rows)?;
    let figure = |table: &[f64]| of_table(table, labels, weights);
    let Some(value) = figure(&sample.sums()) else { return Ok(None) };
    Ok(bootstrap.bounded(&sample, &figure, KAPPA).map(|interval| Estimate { value, interval }))
}

/// Kappa of a table, the labels of the one judge down, those of the other across: one less the disagreement seen, in
/// parts of what is expected of judges that do not look at the same rows.
fn of_table(table: &[f64], labels: usize, weights: Weights) -> Option<f64> {
    let down: Vec<f64> = (0..labels).map(|one| table[one * labels..(one + 1) * labels].iter().sum()).collect();
    let across: Vec<f64> = (0..labels).map(|other| table.iter().skip(other).step_by(labels).sum()).collect();
    let all: f64 = down.iter().sum();
    let (mut seen, mut expected) = (0.0, 0.0);
    for one in 0..labels {
        for other in 0..labels {
            let weight = weights.between(one, other);
            seen += weight * table[one * labels + other];
            expected += weight * down[one] * across[other];
        }
    }
    (expected > 0.0).then(|| 1.0 - seen * all / expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::interval::Level;

    #[test]
    fn judges_that_always_agree_may_still_differ() {
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        let pairs: Vec<_> = (0..40).map(|row| (row % 2, row % 2)).collect();
        let found = kappa(&pairs, 2, Weights::Equal, &bootstrap).unwrap().unwrap();
        assert_eq!(found.value, 1.0);
        assert!(found.interval.low > 0.7 && found.interval.low < 0.95 && found.interval.high <= 1.0, "{found:?}");
    }

    #[test]
    fn one_label_alone_says_nothing() {
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        assert_eq!(kappa(&[(1, 1); 9], 3, Weights::Linear, &bootstrap).unwrap(), None);
        assert_eq!(kappa(&[], 3, Weights::Linear, &bootstrap).unwrap(), None);
    }

    #[test]
    fn weights_count_how_far_a_miss_is() {
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        let pairs = [(0, 1), (1, 2), (2, 2), (3, 3), (4, 4), (0, 0), (1, 1), (4, 3)];
        let of = |weights| kappa(&pairs, 5, weights, &bootstrap).unwrap().unwrap().value;
        assert!(of(Weights::Equal) < of(Weights::Linear) && of(Weights::Linear) < of(Weights::Quadratic));
    }

    #[test]
    fn a_label_that_is_not_there_is_told() {
        let error = kappa(&[(0, 3)], 3, Weights::Equal, &Bootstrap::new(Level::USUAL, 1)).unwrap_err().to_string();
        assert_eq!(error, "expected labels under 3, got label 3\nhint: count the labels of both judges");
    }
}
