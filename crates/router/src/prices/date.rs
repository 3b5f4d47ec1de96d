//! A day: prices hold from one on.

use serde::{Deserialize, Serialize};
use std::fmt;

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
        Date::of_calendar(time::OffsetDateTime::now_utc().date())
    }

    fn of_calendar(day: time::Date) -> Date {
        Date(format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day()))
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
        let day = |year: i32, ordinal: u16| Date::of_calendar(time::Date::from_ordinal_date(year, ordinal).unwrap());
        for (year, ordinal, text) in [(1970, 1, "1970-01-01"), (2000, 60, "2000-02-29"), (2026, 331, "2026-11-27")] {
            assert_eq!(day(year, ordinal).to_string(), text);
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
