//! When two values of a field are the same: the same date, the same amount, or the same words, however written.
//!
//! A value is read under two habits: the day before the month and a point before the decimals, or the month first and
//! a comma. Two values are the same if they are under one of the habits. So where a writing alone does not tell,
//! `03/04/2025` is both 2025-04-03 and 2025-03-04, and `1.234` both 1234 and 1.234: the text that it was copied from
//! does not say either. But `03/04/2025` is not `04/03/2025`, for no habit makes them one. What is neither date nor
//! amount is compared as words: without case, and without the blanks and marks around it.
//!
//! A currency beside an amount is not compared. Read next: `values/date.rs`, `values/amount.rs`.

mod amount;
mod date;

use serde_json::Value;
use unicode_normalization_alignments::UnicodeNormalization;

/// How dates and amounts are written where the writing leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// 31/12/2025, and 1,234.5.
    DayFirstPoint,
    /// 12/31/2025, and 1.234,5.
    MonthFirstComma,
}

/// Marks around words that say nothing.
const MARKS: &[char] = &['.', ',', ';', ':', '!', '?', '"', '\'', '(', ')', '[', ']', '“', '”', '‘', '’', '«', '»'];

/// What a value says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// Year, month, day.
    Date(u32, u32, u32),
    /// Digits without marks but a point, as few as say it.
    Amount(String),
    Words(String),
}

/// Whether two values without parts are the same.
pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Number(one), Value::Number(other)) if one == other => true,
        _ => [Habit::DayFirstPoint, Habit::MonthFirstComma].into_iter().any(|habit| {
            let (one, other) = (meaning(one, habit), meaning(other, habit));
            one.is_some() && one == other
        }),
    }
}

/// Whether a value says nothing: null, a blank text, a list or an object without values.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(_) | Value::Object(_) => true,
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn meaning(value: &Value, habit: Habit) -> Option<Meaning> {
    match value {
        Value::String(text) => Some(meaning_of_text(text, habit)),
        // A number of JSON has a point in every country; an exponent stays words that only the same number has.
        Value::Number(number) => Some(meaning_of_text(&number.to_string(), Habit::DayFirstPoint)),
        Value::Bool(flag) => Some(Meaning::Words(flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn meaning_of_text(text: &str, habit: Habit) -> Meaning {
    let composed: String = text.nfkc().map(|(character, _)| character).collect();
    let lower = composed.to_lowercase();
    let words = lower.split_whitespace().collect::<Vec<_>>().join(" ");
    let bare = words.trim_matches(|c: char| c.is_whitespace() || MARKS.contains(&c));
    if let Some((year, month, day)) = date::date(bare, habit) {
        return Meaning::Date(year, month, day);
    }
    if let Some(amount) = amount::amount(&words, habit) {
        return Meaning::Amount(amount);
    }
    // Of nothing but marks the marks are what it says.
    Meaning::Words(if bare.is_empty() { words } else { bare.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(one: Value, other: Value, same: bool) {
        assert_eq!(is_same(&one, &other), same, "{one} {other}");
        assert_eq!(is_same(&other, &one), same, "{other} {one}");
    }

    #[test]
    fn words_are_the_same_but_for_case_blanks_and_marks_around() {
        check(json!("Café  Nord,"), json!("café nord"), true);
        check(json!("“Nord”"), json!("NORD"), true);
        check(json!("Cafe\u{301}"), json!("Café"), true);
        check(json!("ﬁne ２"), json!("fine 2"), true);
        check(json!("C#"), json!("C"), false);
        check(json!("..."), json!("…"), true);
        check(json!("..."), json!("!"), false);
        check(json!("Nord"), json!("Nord GmbH"), false);
        check(json!(true), json!("True"), true);
        check(json!(true), json!(false), false);
        check(json!(null), json!("null"), false);
        check(json!(null), json!(null), false);
    }

    #[test]
    fn a_writing_that_leaves_it_open_is_the_same_under_one_habit() {
        check(json!("03/04/2025"), json!("2025-04-03"), true);
        check(json!("03/04/2025"), json!("2025-03-04"), true);
        check(json!("03/04/2025"), json!("4 March 2025"), true);
        check(json!("03/04/2025"), json!("04/03/2025"), false);
        check(json!("31/12/2025"), json!("12/31/2025"), true);
        check(json!("(31/12/2025)"), json!("20251231"), true);
        check(json!("1.234"), json!(1234), true);
        check(json!("1.234"), json!(1.234), true);
        check(json!("1.234"), json!("1,234"), false);
        check(json!("1,234.50"), json!("1.234,5"), true);
    }

    proptest! {
        #[test]
        fn every_text_is_the_same_as_itself(one in "[0-9]{0,3}[-/.,' ()$€a−0-9]{0,8}[0-9]{0,4}", other in "[-0-9., ]{0,8}") {
            prop_assert!(is_same(&json!(one), &json!(one)), "{one}");
            prop_assert_eq!(is_same(&json!(one), &json!(other)), is_same(&json!(other), &json!(one)));
        }
    }

    #[test]
    fn amounts_are_the_same_with_any_currency() {
        check(json!("RM 9.00"), json!(9), true);
        check(json!("$1,234.50"), json!("1234.5 USD"), true);
        check(json!("(5.00)"), json!(-5), true);
        check(json!(9.0), json!("9.00"), true);
        check(json!("0012"), json!("12"), false);
        check(json!("5%"), json!("5"), false);
        check(json!("9.00"), json!("9.01"), false);
        check(json!(1e300), json!(1e300), true);
        check(json!(1e300), json!("1"), false);
    }
}
