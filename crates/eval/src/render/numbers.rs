//! Numbers as people read them: a share, an amount of money, a time, a count. Everything that a report shows is written
//! here, so that a figure looks the same in a table, in a plot and in Markdown.
//!
//! What is unknown is [`UNKNOWN`]; no number, not even one that is none, makes these functions fail.

use crate::report::Figure;
use serde::Serialize;
use time::OffsetDateTime;

/// What stands for a number that nobody knows.
pub(super) const UNKNOWN: &str = "–";
/// The minus sign, which is as wide as a plus.
const MINUS: char = '−';

/// What the figures of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Parts of one, shown as percent.
    Share,
    /// Numbers of any size, like a perplexity.
    Plain,
}

impl Unit {
    /// The unit of a metric with such figures: a share is never below 0 or above 1. What is no number tells nothing.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Unit {
        let mut known = figures.into_iter().filter(|figure| figure.is_finite());
        if known.all(|figure| (0.0..=1.0).contains(&figure)) { Unit::Share } else { Unit::Plain }
    }

    /// The ends beyond which no figure lies.
    pub(super) fn bounds(self) -> (f64, f64) {
        match self {
            Unit::Share => (0.0, 1.0),
            Unit::Plain => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// A figure: `91.5 %`, or `12.3`.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Share => share(value),
            Unit::Plain => significant(value, 3),
        }
    }

    /// A figure that somebody chose, without noughts at its end: `90 %`.
    pub(super) fn show_short(self, value: f64) -> String {
        match self {
            Unit::Share => short_share(value),
            Unit::Plain => short(&significant(value, 3)),
        }
    }

    /// Where a figure may lie: `90.5–92.4 %`.
    pub(super) fn show_interval(self, figure: &Figure) -> String {
        let (low, high) = (self.show(figure.low), self.show(figure.high));
        match low.strip_suffix(" %") {
            Some(number) if high.ends_with(" %") => format!("{number}–{high}"),
            _ => format!("{low}–{high}"),
        }
    }

    /// How far one figure is from another, with its sign: `+2.1 points`.
    pub(super) fn show_difference(self, difference: f64) -> String {
        let sign = if difference > 0.0 { "+" } else { "" };
        format!("{sign}{}", self.show_distance(difference))
    }

    /// How far figures are from each other: `2.1 points`.
    pub(super) fn show_distance(self, distance: f64) -> String {
        match self {
            Unit::Share => format!("{} points", decimals(distance * 100.0, 1)),
            Unit::Plain => significant(distance, 3),
        }
    }

    /// Where a difference may lie: `+0.4 to +3.8 points`.
    pub(super) fn show_difference_interval(self, difference: &Figure) -> String {
        let (low, high) = (self.show_difference(difference.low), self.show_difference(difference.high));
        format!("{} to {high}", low.trim_end_matches(" points"))
    }
}

/// A share with one decimal; with more where it would else look like none or all and is not.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    let places = if (percent > 99.9 && percent < 100.0) || (percent > 0.0 && percent < 0.1) { 2 } else { 1 };
    format!("{} %", decimals(percent, places))
}

/// A share that somebody chose: `90 %`, `98.75 %`.
pub(super) fn short_share(share: f64) -> String {
    let percent = decimals(share * 100.0, 2);
    let percent = if percent.contains('.') { percent.trim_end_matches('0').trim_end_matches('.') } else { &percent };
    format!("{percent} %")
}

/// US dollars: two digits of less than a dollar, cents above, and no cents from a thousand on.
pub(super) fn dollars(dollars: f64) -> String {
    let amount = match dollars.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-6 => return "< $0.000001".to_owned(),
        size if size < 0.995 => significant(size, 2),
        size if size < 999.5 => decimals(size, 2),
        size => decimals(size, 0),
    };
    if amount == UNKNOWN { amount } else { format!("{}${amount}", if dollars < 0.0 { "−" } else { "" }) }
}

/// A time: `4.0 µs`, `0.35 ms`, `3.4 ms`, `85 ms`, `1.2 s`, `2.5 min`.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms.abs() {
        size if !size.is_finite() => decimals(ms, 0),
        0.0 => "0 ms".to_owned(),
        size if size < 0.0995 => format!("{} µs", significant(ms * 1000.0, 2)),
        size if size < 9.95 => format!("{} ms", significant(ms, 2)),
        size if size < 999.5 => format!("{} ms", decimals(ms, 0)),
        size if size < 99_950.0 => format!("{} s", decimals(ms / 1000.0, 1)),
        _ => format!("{} min", decimals(ms / 60_000.0, 1)),
    }
}

/// The same without noughts after the point: `1 s`, `$2`.
pub(super) fn short(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// How probable something is where there is nothing behind it.
pub(super) fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { significant(p.min(1.0), 2) }
}

/// A number with so many digits that say something, and the others of its whole part: `0.0123`, `12.3`, `1,234`.
pub(super) fn significant(value: f64, digits: u32) -> String {
    if value == 0.0 || !value.is_finite() {
        return decimals(value, 0);
    }
    // Rounded first: 9.96 with two digits is 10, which has its digits elsewhere.
    let places = |value: f64| (digits as i32 - 1 - value.abs().log10().floor() as i32).clamp(0, 20);
    let scale = 10_f64.powi(places(value));
    let rounded = (value * scale).round() / scale;
    let places = if rounded == 0.0 { 0 } else { places(rounded) };
    decimals(rounded, places as usize)
}

/// A number with so many places after its point, and commas between thousands.
pub(super) fn decimals(value: f64, places: usize) -> String {
    if value.is_nan() {
        return UNKNOWN.to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".to_owned() } else { format!("{MINUS}∞") };
    }
    let text = format!("{:.places$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_negative = value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    format!("{}{}{rest}", if is_negative { MINUS.to_string() } else { String::new() }, thousands(whole))
}

/// A count with commas between thousands.
pub(super) fn count(count: u64) -> String {
    thousands(&count.to_string())
}

/// An amount of energy, given in kilowatt-hours: `0.0027 Wh`, `1.4 Wh`, `2.3 kWh`.
pub(super) fn energy(kilowatt_hours: f64) -> String {
    match kilowatt_hours.abs() * 1000.0 {
        size if size > 0.0 && size < 0.001 => "< 0.001 Wh".to_owned(),
        size if size < 999.5 => format!("{} Wh", significant(kilowatt_hours * 1000.0, 2)),
        _ => format!("{} kWh", significant(kilowatt_hours, 2)),
    }
}

/// The size of a model: `135 million`, `1.54 billion`.
pub(super) fn weights(parameters: u64) -> String {
    match parameters as f64 {
        size if size < 999_500.0 => count(parameters),
        size if size < 999.5e6 => format!("{} million", significant(size / 1e6, 3)),
        size => format!("{} billion", significant(size / 1e9, 3)),
    }
}

fn thousands(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A moment, given in milliseconds since 1970: `27 November 2026, 16:19 UTC`.
pub(super) fn moment(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    // Later than the year 9999 is nothing that was measured.
    let Ok(moment) = OffsetDateTime::from_unix_timestamp(seconds) else { return UNKNOWN.to_owned() };
    let (day, month, year) = (moment.day(), moment.month(), moment.year());
    format!("{day} {month} {year}, {:02}:{:02} UTC", moment.hour(), moment.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_percent() {
        for (value, text) in [
            (0.915, "91.5 %"),
            (0.9, "90.0 %"),
            (1.0, "100.0 %"),
            (0.9997, "99.97 %"),
            (0.0002, "0.02 %"),
            (0.0, "0.0 %"),
            (f64::NAN, "– %"),
        ] {
            assert_eq!(share(value), text);
        }
        assert_eq!([0.9, 0.9875, 0.99, 1.0, 0.0].map(short_share), ["90 %", "98.75 %", "99 %", "100 %", "0 %"]);
    }

    #[test]
    fn money_has_the_digits_that_say_something() {
        for (value, text) in [
            (0.0, "$0"),
            (0.0000001, "< $0.000001"),
            (0.00034, "$0.00034"),
            (0.0123, "$0.012"),
            (0.996, "$1.00"),
            (1.5, "$1.50"),
            (12.345, "$12.35"),
            (1234.5, "$1,234"),
            (f64::NAN, UNKNOWN),
        ] {
            assert_eq!(dollars(value), text);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (value, text) in [
            (0.0, "0 ms"),
            (0.0004, "0.40 µs"),
            (0.0847, "85 µs"),
            (0.347, "0.35 ms"),
            (3.4, "3.4 ms"),
            (9.96, "10 ms"),
            (84.6, "85 ms"),
            (999.7, "1.0 s"),
            (1234.0, "1.2 s"),
            (150_000.0, "2.5 min"),
            (f64::INFINITY, "∞"),
        ] {
            assert_eq!(milliseconds(value), text);
        }
        assert_eq!(
            ["1.0 s", "$2.00", "0.50 ms", "1,000", "100 ms"].map(short),
            ["1 s", "$2", "0.5 ms", "1,000", "100 ms"]
        );
    }

    #[test]
    fn intervals_and_differences_name_their_unit_once() {
        let figure = Figure { value: 0.915, low: 0.905, high: 0.924 };
        assert_eq!(Unit::Share.show_interval(&figure), "90.5–92.4 %");
        assert_eq!(Unit::Plain.show_interval(&Figure { value: 12.0, low: 9.96, high: 1234.0 }), "9.96–1,234");
        assert_eq!(Unit::Share.show_interval(&Figure { high: f64::INFINITY, ..figure }), "90.5–∞ %");
        let difference = Figure { value: 0.021, low: -0.004, high: 0.038 };
        assert_eq!(Unit::Share.show_difference(difference.value), "+2.1 points");
        assert_eq!(Unit::Share.show_difference_interval(&difference), "−0.4 to +3.8 points");
        assert_eq!(Unit::Plain.show_difference(-1.25), "−1.25");
    }

    #[test]
    fn a_share_is_told_by_its_bounds() {
        assert_eq!(Unit::of([0.0, 1.0, f64::NAN]), Unit::Share);
        assert_eq!(Unit::of([0.5, 1.01]), Unit::Plain);
        assert_eq!(Unit::of([-0.1]), Unit::Plain);
    }

    #[test]
    fn moments_are_days_of_the_calendar() {
        for (ms, text) in [
            (0, "1 January 1970, 00:00 UTC"),
            (951_782_400_000, "29 February 2000, 00:00 UTC"),
            (951_868_800_000, "1 March 2000, 00:00 UTC"),
            (1_795_796_395_000, "27 November 2026, 16:19 UTC"),
            (4_107_542_399_999, "28 February 2100, 23:59 UTC"),
            (4_107_542_400_000, "1 March 2100, 00:00 UTC"),
        ] {
            assert_eq!(moment(ms), text);
        }
    }

    #[test]
    fn energy_has_the_unit_that_fits() {
        let amounts = [0.0, 1e-10, 0.000_002_7, 0.0014, 2.34].map(energy);
        assert_eq!(amounts, ["0 Wh", "< 0.001 Wh", "0.0027 Wh", "1.4 Wh", "2.3 kWh"]);
    }

    #[test]
    fn models_have_millions_and_billions() {
        let sizes = [1200, 134_515_008, 999_700_000, 1_543_714_304].map(weights);
        assert_eq!(sizes, ["1,200", "135 million", "1.00 billion", "1.54 billion"]);
    }

    #[test]
    fn small_probabilities_are_no_nought() {
        assert_eq!([0.0, 0.00099, 0.0341, 1.5].map(probability), ["< 0.001", "< 0.001", "0.034", "1.0"]);
    }

    proptest! {
        #[test]
        fn significant_digits_are_those_of_the_number(value in -1e9_f64..1e9, digits in 1_u32..6) {
            let shown: f64 = significant(value, digits).replace(',', "").replace(MINUS, "-").parse().unwrap();
            let allowed = value.abs() * 10_f64.powi(1 - digits as i32) + 1e-9;
            prop_assert!((shown - value).abs() <= allowed, "{value} is shown as {shown}");
        }

        #[test]
        fn no_number_is_too_odd(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            for text in [share(value), dollars(value), milliseconds(value), significant(value, 3), probability(value), energy(value)] {
                prop_assert!(!text.is_empty() && !text.contains("NaN") && !text.contains("inf"), "{value}: {text}");
            }
        }
    }
}
