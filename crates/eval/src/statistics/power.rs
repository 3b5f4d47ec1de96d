//! What a test set of this size can show, and how many rows would show it.
//!
//! All of it is planned so that what is true is shown 4 times of 5.

use super::bisection::{first_count_found, first_count_where, first_where};
use super::interval::{Estimate, Level, Proportion, at_least};
use super::normal;

/// How often what is true is to be shown (Cohen, "Statistical power analysis for the behavioral sciences", 1988).
pub const POWER: f64 = 0.8;

/// Nobody labels more rows than this for a verdict.
pub(super) const MOST_ROWS: u64 = 1_000_000;

/// How many rows show that one candidate has a share `difference` more of them right than another, where just one of the
/// two is right on a share `discordant` of the rows (Connor, "Sample size for testing differences in proportions for the
/// paired-sample design", 1987). None where a difference is not over 0 or not within what is discordant.
#[cfg(test)]
fn rows_for_difference(difference: f64, discordant: f64, level: Level) -> Option<u64> {
    let rows = paired_rows(difference, discordant, level);
    let is_possible = difference > 0.0 && difference <= discordant && discordant <= 1.0;
    (is_possible && rows <= MOST_ROWS as f64).then(|| rows.ceil() as u64)
}

/// The smallest difference between two candidates that so many rows show, where just one of the two is right on a share
/// `discordant` of the rows. None where they show none: not even if one candidate had all those rows right.
pub fn smallest_difference(rows: u64, discordant: f64, level: Level) -> Option<f64> {
    let is_shown = |difference: f64| paired_rows(difference, discordant, level) <= rows as f64;
    (discordant > 0.0 && discordant <= 1.0 && is_shown(discordant)).then(|| first_where(0.0, discordant, is_shown))
}

fn paired_rows(difference: f64, discordant: f64, level: Level) -> f64 {
    let spread = (discordant - difference * difference).max(0.0).sqrt();
    ((level.deviations() * discordant.sqrt() + normal::quantile(POWER) * spread) / difference).powi(2)
}

/// The lowest true rate at which so many rows show that a threshold is cleared. None where not even all rows right do.
/// Exact, for the interval of [`Proportion::mid_p`].
pub fn lowest_rate_shown(rows: u64, threshold: f64, level: Level) -> Option<f64> {
    let needed = fewest_right(rows, threshold, level)?;
    Some(first_where(threshold, 1.0, |rate| at_least(needed, rows, rate) >= POWER))
}

/// The fewest right of so many rows whose interval clears a threshold: its lower end is not under it.
fn fewest_right(rows: u64, threshold: f64, level: Level) -> Option<u64> {
    first_count_where(0, rows, |right| {
        let (as_much, more) = (at_least(right, rows, threshold), at_least(right + 1, rows, threshold));
        right > 0 && f64::midpoint(as_much, more) <= level.tail()
    })
}

/// How many more rows decide whether a threshold is cleared, if those to come are right as often as those that came. 0
/// where it is decided; none where the rate is the threshold, where there are no rows, or where a million do not do.
pub fn more_rows(seen: Proportion, threshold: f64, level: Level) -> Option<u64> {
    let rate = seen.rate()?;
    // That a rate is under a threshold is that its complement is over the complement.
    let (right, rate, threshold) = if rate > threshold {
        (seen.right(), rate, threshold)
    } else if rate < threshold {
        (seen.all() - seen.right(), 1.0 - rate, 1.0 - threshold)
    } else {
        return None;
    };
    first_count_found(MOST_ROWS, |more| {
        let needed = fewest_right(seen.all() + more, threshold, level);
        needed.is_some_and(|needed| at_least(needed.saturating_sub(right), more, rate) >= POWER)
    })
}

/// How many more rows decide whether a threshold is cleared, for a figure that is no share of rows: its interval gets
/// shorter with the square root of the rows, and those to come are like those that came. 0, and none, as above.
pub fn more_rows_by_width(seen: Estimate, rows: u64, threshold: f64, level: Level) -> Option<u64> {
    let distance = (seen.value - threshold).abs();
    let end = if seen.value > threshold { seen.interval.low } else { seen.interval.high };
    let deviation = (seen.value - end).abs() * (rows as f64).sqrt() / level.deviations();
    if rows == 0 || distance == 0.0 {
        return None;
    }
    first_count_found(MOST_ROWS, |more| {
        let all = (rows + more) as f64;
        let half = level.deviations() * deviation / all.sqrt();
        // Only the rows to come are uncertain.
        let wander = normal::quantile(POWER) * deviation * (more as f64).sqrt() / all;
        half + wander <= distance
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::interval::Interval;

    /// The numbers of rows of the formula, reckoned apart from this code.
    #[test]
    fn rows_for_differences_are_the_published_ones() {
        let cases = [(0.05, 0.2, 626), (0.05, 0.1, 312), (0.1, 0.2, 155), (0.02, 0.1, 1960)];
        for (difference, discordant, rows) in cases {
            assert_eq!(rows_for_difference(difference, discordant, Level::USUAL), Some(rows));
            let smallest = smallest_difference(rows, discordant, Level::USUAL).unwrap();
            assert!(smallest <= difference && smallest > difference * 0.99, "{smallest}");
        }
        assert_eq!(rows_for_difference(0.2, 0.1, Level::USUAL), None);
        assert_eq!(rows_for_difference(0.0, 0.1, Level::USUAL), None);
        assert_eq!(smallest_difference(20, 0.05, Level::USUAL), None);
    }

    #[test]
    fn all_right_clears_a_threshold_from_some_number_of_rows_on() {
        for (threshold, rows) in [(0.9, 29), (0.95, 59), (0.99, 299)] {
            let clears = |rows| Proportion::new(rows, rows).unwrap().mid_p(Level::USUAL).low >= threshold;
            assert!(clears(rows) && !clears(rows - 1));
            assert!(lowest_rate_shown(rows, threshold, Level::USUAL).is_some());
            assert_eq!(lowest_rate_shown(rows - 1, threshold, Level::USUAL), None);
            let seen = Proportion::new(10, 10).unwrap();
            assert_eq!(more_rows(seen, threshold, Level::USUAL), Some(rows - 10));
        }
    }

    #[test]
    fn the_lowest_rate_is_shown_as_often_as_planned() {
        let rate = lowest_rate_shown(200, 0.9, Level::USUAL).unwrap();
        let clears = |right| Proportion::new(right, 200).unwrap().mid_p(Level::USUAL).low >= 0.9;
        let power: f64 = (0..=200)
            .filter(|&right| clears(right))
            .map(|right| at_least(right, 200, rate) - at_least(right + 1, 200, rate))
            .sum();
        assert!((power - POWER).abs() < 1e-6, "{rate} {power}");
    }

    #[test]
    fn more_rows_are_needed_the_nearer_the_threshold_is() {
        let seen = Proportion::new(90, 100).unwrap();
        let needed = |threshold| more_rows(seen, threshold, Level::USUAL);
        assert_eq!(needed(0.8), Some(0));
        assert_eq!(needed(0.99), Some(0));
        assert_eq!(needed(0.9), None);
        let (near, far) = (needed(0.88).unwrap(), needed(0.85).unwrap());
        assert!(near > 3 * far && far > 50, "{near} {far}");
        assert!(needed(0.93).unwrap() > 50);
        assert_eq!(more_rows(Proportion::new(0, 0).unwrap(), 0.5, Level::USUAL), None);
    }

    /// Both ways of counting rows agree where both apply.
    #[test]
    fn rows_by_width_are_nearly_those_of_a_share() {
        for (right, threshold) in [(90, 0.85), (80, 0.75), (60, 0.68), (85, 0.9)] {
            let seen = Proportion::new(right, 100).unwrap();
            let estimate = Estimate { value: seen.rate().unwrap(), interval: seen.mid_p(Level::USUAL) };
            let by_share = more_rows(seen, threshold, Level::USUAL).unwrap() as f64;
            let by_width = more_rows_by_width(estimate, 100, threshold, Level::USUAL).unwrap() as f64;
            assert!((0.6..1.8).contains(&(by_width / by_share)), "{right} {threshold}: {by_share} {by_width}");
        }
        let flat = Estimate { value: 0.5, interval: Interval { low: 0.4, high: 0.6 } };
        assert_eq!(more_rows_by_width(flat, 10, 0.5, Level::USUAL), None);
        assert_eq!(more_rows_by_width(flat, 10, 0.3, Level::USUAL), Some(0));
    }
}
