//! Dates as people write them, in figures or with the English name of the month.

use super::Habit;
use regex::{Captures, Regex};
use std::sync::LazyLock;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Whole texts in lower case that are dates. `one` and `other` are day and month in an order that is to be found out.
static WRITINGS: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    let name = "(?<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|\
                oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)[.]?";
    let day = "(?<day>[0-9]{1,2})(?:st|nd|rd|th|[.])?";
    let year = "(?<year>[0-9]{4}|'?[0-9]{2})";
    [
        "^(?<year>[0-9]{4})(?:-|/|[.] ?)(?<month>[0-9]{1,2})(?:-|/|[.] ?)(?<day>[0-9]{1,2})$".to_owned(),
        "^(?<year>(?:19|20)[0-9]{2})(?<month>[0-9]{2})(?<day>[0-9]{2})$".to_owned(),
        format!("^(?<one>[0-9]{{1,2}})(?:-|/| |[.] ?)(?<other>[0-9]{{1,2}})(?:-|/| |[.] ?){year}$"),
        format!("^{day}[-/ ]?(?:of )?{name}[-/ ]?,? ?{year}$"),
        format!("^{name}[-/ ]?{day}(?:[-/ ]|, ?){year}$"),
    ]
    .map(|writing| Regex::new(&writing).expect("a pattern of this file is sound; this is a bug"))
});

/// Year, month and day of a text in lower case that is a date and nothing else; none too where no month has the number
/// or no day has. Both orders of day and month are tried where the one of the habit makes no date.
pub fn date(text: &str, habit: Habit) -> Option<(u32, u32, u32)> {
    let captures = WRITINGS.iter().find_map(|writing| writing.captures(text))?;
    let year = year(captures.name("year")?.as_str())?;
    let (day, month) = match (number(&captures, "one"), number(&captures, "other")) {
        (Some(one), Some(other)) if one > 12 || (other <= 12 && habit == Habit::DayFirstPoint) => (one, other),
        (Some(one), Some(other)) => (other, one),
        _ => (number(&captures, "day")?, number(&captures, "month").or_else(|| named_month(&captures))?),
    };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day))
}

fn number(captures: &Captures<'_>, group: &str) -> Option<u32> {
    captures.name(group)?.as_str().parse().ok()
}

fn named_month(captures: &Captures<'_>) -> Option<u32> {
    let name = captures.name("name")?.as_str();
    (1..).zip(MONTHS).find(|(_, month)| name.starts_with(month)).map(|(number, _)| number)
}

/// Two digits are of 1969 to 2068, as POSIX reads them (`strptime`, `%y`).
fn year(digits: &str) -> Option<u32> {
    let short: u32 = digits.trim_start_matches('\'').parse().ok()?;
    Some(match short {
        0..69 => 2000 + short,
        69..100 => 1900 + short,
        long => long,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(u32, u32, u32)>) {
        assert_eq!(date(text, Habit::DayFirstPoint), expected, "{text}");
    }

    #[test]
    fn many_writings_are_one_date() {
        let writings = [
            "2018-03-04",
            "2018/3/4",
            "2018.03.04",
            "20180304",
            "04/03/2018",
            "4.3.2018",
            "4. 3. 2018",
            "04-03-18",
            "04 03 2018",
            "4 mar 2018",
            "4th of march, 2018",
            "4. march 2018",
            "04-mar-18",
            "04mar2018",
            "04/mar/2018",
            "march 4, 2018",
            "mar. 4th 2018",
            "mar-04-2018",
            "4 mar '18",
        ];
        for writing in writings {
            check(writing, Some((2018, 3, 4)));
        }
    }

    #[test]
    fn a_number_above_twelve_is_a_day() {
        check("25/12/2018", Some((2018, 12, 25)));
        check("12/25/2018", Some((2018, 12, 25)));
        assert_eq!(date("25/12/2018", Habit::MonthFirstComma), Some((2018, 12, 25)));
        assert_eq!(date("03/04/2018", Habit::MonthFirstComma), Some((2018, 3, 4)));
    }

    #[test]
    fn years_of_two_digits_are_near() {
        check("1 sept 68", Some((2068, 9, 1)));
        check("1 sept 69", Some((1969, 9, 1)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "2018-13-01",
            "20181301",
            "25032018",
            "32/01/2018",
            "0/1/2018",
            "13/13/2018",
            "march 2018",
            "4 maybe 2018",
            "1-2-3",
            "",
        ] {
            check(text, None);
        }
        check("on 4 mar 2018", None);
        check("4 mar 2018 10:30", None);
    }
}
