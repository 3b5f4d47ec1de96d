//! Where a condition that holds from some number on begins to hold.

/// More halvings than a double has bits change nothing.
const HALVINGS: usize = 60;

/// The least number between two at which a condition holds, if it holds from there on; `high` where it never does.
pub(super) fn first_where(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The least whole number between two at which a condition holds, if it holds from there on; none where it never does.
pub(super) fn first_count_where(mut low: u64, high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let mut first = None;
    let mut above = high;
    while low <= above {
        let middle = low.midpoint(above);
        if holds(middle) {
            first = Some(middle);
            if middle == low {
                break;
            }
            above = middle - 1;
        } else {
            low = middle + 1;
        }
    }
    first
}

/// The least whole number up to a limit at which a condition holds that need not hold from there on: every number up to
/// a hundred is tried, then steps of a fiftieth.
pub(super) fn first_count_found(limit: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut before, mut count) = (None, 0);
    while !holds(count) {
        if count >= limit {
            return None;
        }
        before = Some(count);
        count = (count + (count / 50).max(1)).min(limit);
    }
    first_count_where(before.map_or(0, |before| before + 1), count, holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_found() {
        assert!((first_where(0.0, 2.0, |x| x * x >= 2.0) - 2f64.sqrt()).abs() < 1e-15);
        assert_eq!(first_where(0.0, 2.0, |_| false), 2.0);
    }

    #[test]
    fn the_first_count_is_found() {
        for first in 0..20 {
            assert_eq!(first_count_where(0, 19, |count| count >= first), Some(first).filter(|&first| first < 20));
        }
        assert_eq!(first_count_where(5, 4, |_| true), None);
    }

    #[test]
    fn a_count_is_found_before_a_gap() {
        assert_eq!(first_count_found(1000, |count| count == 3 || count >= 40), Some(3));
        assert_eq!(first_count_found(1000, |count| count >= 777), Some(777));
        assert_eq!(first_count_found(1000, |count| count >= 1000), Some(1000));
        assert_eq!(first_count_found(1000, |count| count > 1000), None);
    }
}
