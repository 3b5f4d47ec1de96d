//! An axis of a plot: which numbers stand at it, and how far along it a value lies.
//!
//! Numbers are round ones, three to seven of them, and the axis goes from the first to the last, so that it covers what
//! is shown. Where values are more than [`WIDE`] times as large as others its steps are factors, not differences.

/// The ratio of the largest value and the smallest from which on an axis has factors for steps.
const WIDE: f64 = 20.0;
/// Fewer numbers tell too little, more are a crowd.
const MOST_TICKS: usize = 7;
/// The part of an axis of factors that nought has for itself, since no factor leads to it.
const NOUGHT_SHARE: f64 = 0.12;
/// A value that is off a round number by less is on it: what remains of 0.1 + 0.2.
const SLACK: f64 = 1e-9;

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    ticks: Vec<f64>,
    has_factors: bool,
    /// Before the factors begin, nought has a place.
    has_nought: bool,
}

impl Axis {
    /// The axis on which steps are always differences; none without a value. What is no number is passed over, and
    /// what lies beyond the bounds moves to them.
    pub(super) fn linear(values: &[f64], bounds: (f64, f64)) -> Option<Axis> {
        let (low, high) = ends(values)?;
        let (low, high) = (low.clamp(bounds.0, bounds.1), high.clamp(bounds.0, bounds.1));
        let half = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
        let is_one_value = high - low <= half * SLACK;
        let (low, high) = if is_one_value { (low - half, high + half) } else { (low, high) };
        Some(Axis { ticks: even_ticks(low.max(bounds.0), high.min(bounds.1)), has_factors: false, has_nought: false })
    }

    /// The axis for values that are not below nought: its steps are factors where they are far apart.
    pub(super) fn fitting(values: &[f64]) -> Option<Axis> {
        let positive: Vec<f64> = values.iter().copied().filter(|&value| value > 0.0).collect();
        match ends(&positive) {
            Some((low, high)) if high / low > WIDE => {
                Some(Axis { ticks: factor_ticks(low, high), has_factors: true, has_nought: values.contains(&0.0) })
            }
            Some(_) => Axis::linear(&[values, &[0.0]].concat(), (0.0, f64::INFINITY)),
            None => Axis::linear(values, (0.0, f64::INFINITY)),
        }
    }

    /// From 0 to 1.
    pub(super) fn shares() -> Axis {
        Axis { ticks: even_ticks(0.0, 1.0), has_factors: false, has_nought: false }
    }

    /// The numbers at the axis, rising.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let nought = self.has_nought.then_some(0.0);
        nought.into_iter().chain(self.ticks.iter().copied()).collect()
    }

    /// How far along the axis a value lies, from 0 to 1. What lies beyond an end is at that end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (Some(&first), Some(&last)) = (self.ticks.first(), self.ticks.last()) else { return 0.0 };
        let value = value.clamp(first.min(0.0), last);
        if !self.has_factors {
            return ((value - first) / (last - first)).clamp(0.0, 1.0);
        }
        let start = if self.has_nought { NOUGHT_SHARE } else { 0.0 };
        if value <= 0.0 {
            return 0.0;
        }
        let along = ((value / first).ln() / (last / first).ln()).clamp(0.0, 1.0);
        start + along * (1.0 - start)
    }
}

/// The least and the greatest of those that are numbers; what is too large or too small to be drawn is none.
fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let is_drawable = |value: &f64| *value == 0.0 || (1e-150..1e150).contains(&value.abs());
    values.iter().copied().filter(is_drawable).fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// Multiples of the least of 1, 2 and 5 times a power of ten that needs no more than [`MOST_TICKS`] of them.
fn even_ticks(low: f64, high: f64) -> Vec<f64> {
    let power = ((high - low) / MOST_TICKS as f64).log10().floor() as i32;
    let steps = (power..).flat_map(|power| [1.0, 2.0, 5.0].map(|mantissa| (mantissa, power)));
    for (mantissa, power) in steps {
        // 7 / 10 is nearer to 0.7 than 7 * 0.1 is.
        let multiple = |at: f64| match power {
            0.. => at * mantissa * 10_f64.powi(power),
            _ => at * mantissa / 10_f64.powi(-power),
        };
        let (first, last) = ((low / multiple(1.0) + SLACK).floor(), (high / multiple(1.0) - SLACK).ceil());
        if last - first < MOST_TICKS as f64 {
            return (0..=(last - first) as u32).map(|at| multiple(first + f64::from(at))).collect();
        }
    }
    Vec::new()
}

/// Round numbers whose steps are factors: of the ladders from fine to coarse the first that needs no more than
/// [`MOST_TICKS`] rungs.
fn factor_ticks(low: f64, high: f64) -> Vec<f64> {
    let fine = [(&[1.0, 2.0, 5.0][..], 1), (&[1.0, 3.0], 1)];
    let ladders = fine.into_iter().chain((1..).map(|decades| (&[1.0][..], decades)));
    for (mantissas, decades) in ladders {
        let first = (low.log10() / f64::from(decades)).floor() as i32;
        let rungs = (first..).flat_map(|at| {
            let decade = at * decades;
            mantissas.iter().map(move |&mantissa: &f64| match decade {
                0.. => mantissa * 10_f64.powi(decade),
                _ => mantissa / 10_f64.powi(-decade),
            })
        });
        let mut ticks = Vec::new();
        for rung in rungs {
            if rung <= low * (1.0 + SLACK) {
                ticks.clear();
            }
            ticks.push(rung);
            if rung >= high * (1.0 - SLACK) || ticks.len() > MOST_TICKS {
                break;
            }
        }
        if ticks.len() <= MOST_TICKS {
            return ticks;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round() {
        let ticks = |values: &[f64]| Axis::linear(values, (0.0, 1.0)).unwrap().ticks();
        assert_eq!(ticks(&[0.61, 0.924]), [0.6, 0.7, 0.8, 0.9, 1.0]);
        assert_eq!(ticks(&[0.0, 1.0]), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(&[1.0]), [0.95, 0.96, 0.97, 0.98, 0.99, 1.0]);
        assert_eq!(Axis::fitting(&[3.0, 11.0]).unwrap().ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert_eq!(Axis::fitting(&[4.0, 90.0]).unwrap().ticks(), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(Axis::fitting(&[0.04, 0.9]).unwrap().ticks(), [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]);
        assert_eq!(Axis::fitting(&[0.004, 0.9]).unwrap().ticks(), [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]);
        assert_eq!(Axis::fitting(&[0.0004, 0.9]).unwrap().ticks(), [0.0001, 0.001, 0.01, 0.1, 1.0]);
    }

    #[test]
    fn nought_has_a_place_beside_factors() {
        let axis = Axis::fitting(&[0.0, 1.0, 100.0]).unwrap();
        assert_eq!(axis.ticks(), [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!((axis.place(0.0), axis.place(1.0), axis.place(100.0)), (0.0, NOUGHT_SHARE, 1.0));
    }

    #[test]
    fn without_numbers_there_is_no_axis() {
        assert_eq!(Axis::linear(&[], (0.0, 1.0)), None);
        assert_eq!(Axis::fitting(&[f64::NAN, f64::INFINITY]), None);
        assert!(Axis::fitting(&[0.0]).is_some());
    }

    fn check(axis: &Axis, values: &[f64]) -> Result<(), TestCaseError> {
        let ticks = &axis.ticks;
        prop_assert!((3..=MOST_TICKS).contains(&ticks.len()), "{ticks:?} of {values:?}");
        prop_assert!(ticks.is_sorted_by(|left, right| left < right), "{ticks:?}");
        let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
        for &value in values.iter().filter(|&&value| !axis.has_nought || value > 0.0) {
            let slack = 1e-6 * value.abs();
            prop_assert!(first <= value + slack && value <= last + slack, "{ticks:?} misses {value}");
        }
        let places: Vec<f64> = axis.ticks().iter().map(|&tick| axis.place(tick)).collect();
        prop_assert!(places.is_sorted_by(|left, right| left < right), "{places:?}");
        prop_assert!(places.iter().all(|place| (0.0..=1.0).contains(place)), "{places:?}");
        Ok(())
    }

    proptest! {
        #[test]
        fn three_to_seven_ticks_cover_shares(values in prop::collection::vec(0.0..=1.0_f64, 1..8)) {
            check(&Axis::linear(&values, (0.0, 1.0)).unwrap(), &values)?;
        }

        #[test]
        fn any_values_have_an_axis_or_none(bits in prop::collection::vec(any::<u64>(), 0..8)) {
            let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            for axis in [Axis::linear(&values, (f64::NEG_INFINITY, f64::INFINITY)), Axis::fitting(&values)] {
                prop_assert!(axis.is_none_or(|axis| (3..=MOST_TICKS).contains(&axis.ticks.len())));
            }
        }

        #[test]
        fn three_to_seven_ticks_cover_any_range(exponents in prop::collection::vec(-9.0..9.0_f64, 1..8), sign in any::<bool>()) {
            let values: Vec<f64> = exponents.iter().map(|exponent| 10_f64.powf(*exponent)).collect();
            check(&Axis::fitting(&values).unwrap(), &values)?;
            let signed: Vec<f64> = values.iter().map(|value| if sign { -value } else { *value }).collect();
            check(&Axis::linear(&signed, (f64::NEG_INFINITY, f64::INFINITY)).unwrap(), &signed)?;
        }
    }
}
