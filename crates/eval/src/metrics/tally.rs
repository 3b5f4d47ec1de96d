//! How many of some things were right: of those that were given, and of those that were expected.
//!
//! The things are the rows of a class, or values of fields. Source of the three figures: van Rijsbergen, Information
//! Retrieval, 1979, chapter 7; F1 is the harmonic mean of precision and recall.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts of things of one sort. They are sums over rows, so they may be of a weighted sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Given, and rightly so.
    pub right: f64,
    /// Given.
    pub given: f64,
    /// Expected.
    pub expected: f64,
}

impl Tally {
    /// Slots that one takes among those of a metric.
    pub const SLOTS: usize = 3;

    /// Of two lists of things: one that stands in both is right as often as it stands in either.
    pub fn matched<T: Eq + Hash>(expected: impl Iterator<Item = T>, given: impl Iterator<Item = T>) -> Tally {
        let (mut tally, mut open) = (Tally::default(), HashMap::<T, usize>::new());
        for thing in expected {
            tally.expected += 1.0;
            *open.entry(thing).or_default() += 1;
        }
        for thing in given {
            tally.given += 1.0;
            if let Some(count) = open.get_mut(&thing).filter(|count| **count > 0) {
                *count -= 1;
                tally.right += 1.0;
            }
        }
        tally
    }

    /// The tally in slots, which are as many as [`Tally::SLOTS`].
    pub fn of(slots: &[f64]) -> Tally {
        let [right, given, expected] = *slots else { return Tally::default() };
        Tally { right, given, expected }
    }

    /// What is in its slots.
    pub fn slots(self) -> [f64; Tally::SLOTS] {
        [self.right, self.given, self.expected]
    }

    /// The share of what was given that was right; none where nothing was given.
    pub fn precision(self) -> Option<f64> {
        (self.given > 0.0).then(|| self.right / self.given)
    }

    /// The share of what was expected that was given; none where nothing was expected.
    pub fn recall(self) -> Option<f64> {
        (self.expected > 0.0).then(|| self.right / self.expected)
    }

    /// 2 right / (given + expected); none where nothing was given or expected.
    pub fn f1(self) -> Option<f64> {
        let both = self.given + self.expected;
        (both > 0.0).then(|| 2.0 * self.right / both)
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.right += other.right;
        self.given += other.given;
        self.expected += other.expected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_is_the_harmonic_mean_of_precision_and_recall() {
        let tally = Tally { right: 3.0, given: 4.0, expected: 6.0 };
        let (precision, recall) = (tally.precision().unwrap(), tally.recall().unwrap());
        assert_eq!((precision, recall), (0.75, 0.5));
        assert!((tally.f1().unwrap() - 2.0 * precision * recall / (precision + recall)).abs() < 1e-15);
    }

    #[test]
    fn what_was_never_given_or_expected_has_no_figure() {
        let never_given = Tally { expected: 2.0, ..Tally::default() };
        assert_eq!((never_given.precision(), never_given.recall(), never_given.f1()), (None, Some(0.0), Some(0.0)));
        assert_eq!(Tally::default().f1(), None);
    }

    #[test]
    fn a_thing_is_right_as_often_as_it_stands_in_both() {
        let tally = Tally::matched("bbcd".chars(), "bbbcx".chars());
        assert_eq!(tally, Tally { right: 3.0, given: 5.0, expected: 4.0 });
        assert_eq!(Tally::matched("".chars(), "".chars()), Tally::default());
    }

    #[test]
    fn slots_hold_a_tally() {
        let mut tally = Tally::of(&[1.0, 2.0, 3.0]);
        tally += Tally::of(&tally.slots());
        assert_eq!(tally.slots(), [2.0, 4.0, 6.0]);
    }
}
