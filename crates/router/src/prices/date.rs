//! A day: prices hold from one on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A day as `2026-11-27`; days are ordered as their texts are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(String);

impl Date {
    /// A day of that text.
    ///
    /// # Errors
    /// It is none.
    pub fn of(text: &str) -> Result<Date, String> {
        let parts: Vec<&str> = text.split('-').collect();
        let number = |part: &str, digits: usize, last: u32| {
            let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number && part.parse().is_ok_and(|number: u32| (1..=last).contains(&number))
        };
        match parts[..] {
            [year, month, day] if number(year, 4, 9999) && number(month, 2, 12) && number(day, 2, 31) => {
                Ok(Date(text.to_owned()))
            }
            _ => Err(format!("expected a day as 2026-11-27, got {text:?}")),
        }
    }

    /// Today, in UTC.
    pub fn today() -> Date {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Date::of_day(i64::try_from(seconds / 86_400).unwrap_or(0))
    }

    /// The day so many days after 1970-01-01. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms",
    /// `civil_from_days`: years begin in March there, so that the leap day is their last.
    fn of_day(day: i64) -> Date {
        let shifted = day + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        Date(format!("{year:04}-{month:02}-{day:02}"))
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        Date::of(&text)
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_named_as_the_calendar_has_them() {
        for (day, text) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_784, "2026-11-27"), (-1, "1969-12-31")] {
            assert_eq!(Date::of_day(day).to_string(), text);
        }
        assert!(Date::today() > Date::of("2025-12-31").unwrap());
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for odd in ["2026-13-01", "2026-1-01", "2026-01-32", "0000-01-01", "2026-01-01T00", "+026-01-01"] {
            assert_eq!(Date::of(odd).unwrap_err(), format!("expected a day as 2026-11-27, got {odd:?}"));
        }
    }
}
