//! Two candidates on the same rows: which is better, and how sure that is.
//!
//! Most rows are as easy or as hard for both, so a comparison row by row sees differences that two intervals side by side
//! do not.

use super::StatisticsError;
use super::bootstrap::{Bootstrap, Figure};
use super::interval::{Estimate, Interval, at_least};
use super::random::Random;
use super::sample::Sample;

/// A difference of two figures that lie within 0 and 1.
const DIFFERENCE: Interval = Interval { low: -1.0, high: 1.0 };
/// Differences nearer than this are equal: sums in another order round otherwise.
const TOLERANCE: f64 = 1e-12;

/// The probability of so uneven a split, or a more uneven one, of the rows that just one candidate has right, if neither
/// is better (McNemar's test, exact: both tails of a binomial with 1/2).
///
/// It errs at most as often as it says at every number of rows. The mid-P form rejects more, but does not keep that
/// promise, and these values go into [`holm`], which builds on it.
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let all = only_first + only_second;
    (2.0 * at_least(only_first.max(only_second), all, 0.5)).min(1.0)
}

/// By how much the figure of the second candidate is over that of the first, with its interval by the paired bootstrap:
/// each draw takes the same rows of both. `pair` is of [`Sample::of_pair`], and the figure lies within 0 and 1.
///
/// None where the figure says nothing of either candidate.
pub fn difference(bootstrap: &Bootstrap, pair: &Sample, figure: Figure<'_>) -> Option<Estimate> {
    let of_both = |sums: &[f64]| over(sums, figure);
    let value = of_both(&pair.sums())?;
    Some(Estimate { value, interval: bootstrap.bounded(pair, &of_both, DIFFERENCE)? })
}

/// The second figure less the first, of the sums of a pair.
fn over(sums: &[f64], figure: Figure<'_>) -> Option<f64> {
    let (first, second) = sums.split_at(sums.len() / 2);
    Some(figure(second)? - figure(first)?)
}

/// The probability of so large a difference of the figures, or a larger one, if the candidates do not differ: the answers
/// of each row (or group) are swapped between the two at random (Noreen, "Computer-intensive methods for testing
/// hypotheses", 1989). It serves every metric; where rows are right or wrong, [`mcnemar`] is exact.
///
/// The difference as it is counts as one of the draws, so no value is 0 (Phipson and Smyth, "Permutation p-values should
/// never be zero", 2010). None where the figure says nothing of either candidate.
pub fn swap_test(pair: &Sample, figure: Figure<'_>, replicates: usize, seed: u64) -> Option<f64> {
    let value = over(&pair.sums(), figure)?.abs();
    let slots = pair.slots() / 2;
    let mut random = Random::new(seed);
    let mut sums = vec![0.0; pair.slots()];
    let mut as_large = 1usize;
    for _ in 0..replicates {
        sums.fill(0.0);
        let mut bits = 0;
        for unit in 0..pair.units() {
            bits = if unit % 64 == 0 { random.bits() } else { bits >> 1 };
            for &(slot, count) in pair.unit(unit) {
                let swapped = if slot < slots { slot + slots } else { slot - slots };
                sums[if bits & 1 == 0 { slot } else { swapped }] += count;
            }
        }
        // A draw of which the figure says nothing speaks for no difference.
        as_large += usize::from(over(&sums, figure).is_none_or(|drawn| drawn.abs() >= value - TOLERANCE));
    }
    Some(as_large as f64 / (replicates + 1) as f64)
}

/// Probabilities of several tests, each made so large that to reject those under 0.05 rejects any true hypothesis at
/// most 5 times of 100 (Holm, "A simple sequentially rejective multiple test procedure", 1979). In the order given.
///
/// # Errors
/// One is not within 0 and 1.
pub fn holm(probabilities: &[f64]) -> Result<Vec<f64>, StatisticsError> {
    if let Some(&wrong) = probabilities.iter().find(|probability| !Interval::UNIT.contains(**probability)) {
        return Err(StatisticsError::Share { what: "a probability", got: wrong });
    }
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&one, &other| probabilities[one].total_cmp(&probabilities[other]));
    let mut adjusted = vec![0.0; probabilities.len()];
    let mut largest: f64 = 0.0;
    for (rank, &test) in order.iter().enumerate() {
        let left = (probabilities.len() - rank) as f64;
        largest = largest.max((left * probabilities[test]).min(1.0));
        adjusted[test] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;
    use crate::statistics::interval::Level;

    fn rate(sums: &[f64]) -> Option<f64> {
        (sums[1] > 0.0).then(|| sums[0] / sums[1])
    }

    /// Rows of which both have so many right, each alone so many, and neither so many.
    fn pair([both, first, second, neither]: [usize; 4]) -> Sample {
        let row = |right: bool| Counts(vec![(0, f64::from(u8::from(right))), (1, 1.0)]);
        let kinds = [(both, true, true), (first, true, false), (second, false, true), (neither, false, false)];
        let rows: Vec<_> = kinds.iter().flat_map(|&(count, a, b)| std::iter::repeat_n((a, b), count)).collect();
        let (a, b): (Vec<_>, Vec<_>) = rows.into_iter().map(|(a, b)| (row(a), row(b))).unzip();
        Sample::of_pair(2, &a, &b, None).unwrap()
    }

    #[test]
    fn candidates_that_agree_on_all_rows_may_still_differ() {
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        let found = difference(&bootstrap, &pair([45, 0, 0, 5]), &rate).unwrap();
        assert_eq!(found.value, 0.0);
        assert!(found.interval.low < -0.04 && found.interval.high > 0.04, "{found:?}");
        assert_eq!(swap_test(&pair([45, 0, 0, 5]), &rate, 99, 1), Some(1.0));
        assert_eq!(mcnemar(0, 0), 1.0);
    }

    #[test]
    fn a_clear_difference_is_found() {
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        let found = difference(&bootstrap, &pair([60, 3, 17, 20]), &rate).unwrap();
        assert!((found.value - 0.14).abs() < 1e-12);
        assert!(found.interval.low > 0.04 && found.interval.high < 0.24, "{found:?}");
    }

    #[test]
    fn the_swap_test_agrees_with_mcnemar() {
        for split in [[50, 10, 10, 30], [50, 5, 15, 30], [60, 2, 16, 20], [10, 1, 6, 3]] {
            let swapped = swap_test(&pair(split), &rate, 20_000, 3).unwrap();
            let exact = mcnemar(split[1] as u64, split[2] as u64);
            let error = 4.0 * (exact * (1.0 - exact) / 20_000.0).sqrt() + 1e-4;
            assert!((swapped - exact).abs() < error, "{split:?} {swapped} {exact}");
        }
    }

    #[test]
    fn figures_that_say_nothing_have_no_difference() {
        let empty = Sample::of_pair(2, &[], &[], None).unwrap();
        assert_eq!(difference(&Bootstrap::new(Level::USUAL, 1), &empty, &rate), None);
        assert_eq!(swap_test(&empty, &rate, 10, 1), None);
    }

    #[test]
    fn holm_wants_probabilities() {
        assert_eq!(holm(&[]).unwrap(), [0.0; 0]);
        let error = holm(&[0.1, 1.5]).unwrap_err().to_string();
        assert_eq!(error, "expected a probability from 0 to 1, got 1.5\nhint: divide percentages by 100");
    }
}
