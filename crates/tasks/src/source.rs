//! Where a value stands in a text: as it is, in another case or with other blanks, or as a number or date written
//! otherwise.
//!
//! A place is only told where the whole word stands: `12` is not in `2012`. Months are known by their English names.

use crate::{Input, TaskError, Template, template};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// How much a place in a text is like the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Byte for byte.
    Exact,
    /// The same but for case and blanks.
    Folded,
    /// The same number or date, written otherwise.
    Normalized,
}

impl Likeness {
    const ALL: [(Likeness, &str); 3] =
        [(Likeness::Exact, "exact"), (Likeness::Folded, "folded"), (Likeness::Normalized, "normalized")];

    /// Its name in outcomes.
    pub fn name(self) -> &'static str {
        Likeness::ALL[self as usize].1
    }
}

/// The texts of an input in which values are looked for: the fields of its template.
pub struct Sources<'i> {
    input: &'i Input,
    texts: Vec<(String, String)>,
    /// Values that were found, each with the field and the end of its last place.
    found: HashMap<String, (usize, usize)>,
}

impl<'i> Sources<'i> {
    pub fn new(input: &'i Input, template: &Template) -> Result<Sources<'i>, TaskError> {
        let text = |name: &str| Ok((name.to_owned(), template::field_text(input, name)?));
        let texts = template.fields().into_iter().map(text).collect::<Result<_, TaskError>>()?;
        Ok(Sources { input, texts, found: HashMap::new() })
    }

    /// The place of a value as outcomes tell it, or null. A value that was asked for before is looked for after its
    /// last place first: of two items with one price each has its own, if the text says it twice.
    pub fn span(&mut self, value: &str) -> Value {
        let again = self.found.get(value).and_then(|&(index, end)| {
            let (likeness, range) = find_from(value, &self.texts[index].1, end)?;
            Some((index, likeness, range))
        });
        let first = || {
            Likeness::ALL.iter().find_map(|&(likeness, _)| {
                let place = |(_, text): &(String, String)| find_as(likeness, value, text, 0);
                let (index, range) = self.texts.iter().map(place).enumerate().find(|(_, range)| range.is_some())?;
                Some((index, likeness, range?))
            })
        };
        let Some((index, likeness, range)) = again.or_else(first) else { return Value::Null };
        self.found.insert(value.to_owned(), (index, range.end));
        let (field, text) = &self.texts[index];
        span(self.input, field, text, range, likeness)
    }
}

/// The first place of a value that begins at a byte or after it, the most alike first.
fn find_from(value: &str, text: &str, from: usize) -> Option<(Likeness, Range<usize>)> {
    Likeness::ALL.iter().find_map(|&(likeness, _)| Some((likeness, find_as(likeness, value, text, from)?)))
}

/// A place in a field as outcomes tell it: bytes and characters from 0, the end exclusive, pages from 1.
pub fn span(input: &Input, field: &str, text: &str, range: Range<usize>, likeness: Likeness) -> Value {
    let characters = |range: Range<usize>| text[range].chars().count();
    let start_character = characters(0..range.start);
    let page = if field == crate::input::TEXT { input.page_of(range.start) } else { None };
    json!({
        "field": field,
        "start": range.start,
        "end": range.end,
        "start_character": start_character,
        "end_character": start_character + characters(range.clone()),
        "page": page,
        "match": likeness.name(),
    })
}

/// The first place of words that are said to be quoted, which may begin and end anywhere.
pub fn find_quote(quote: &str, text: &str) -> Option<(Range<usize>, Likeness)> {
    // A sentence that is quoted in part gets a full stop of its own.
    let quote = quote.trim().trim_end_matches(['.', ',', ';', ':', '…']).trim_end();
    if quote.is_empty() {
        return None;
    }
    if let Some(start) = text.find(quote) {
        return Some((start..start + quote.len(), Likeness::Exact));
    }
    let (quote, text) = (Folded::new(quote), Folded::new(text));
    let start = text.text.find(&quote.text)?;
    let last = start + quote.text.len() - 1;
    Some((text.places[start].start..text.places[last].end, Likeness::Folded))
}

fn find_as(likeness: Likeness, value: &str, text: &str, from: usize) -> Option<Range<usize>> {
    if value.trim().is_empty() {
        return None;
    }
    let is_late = |range: &Range<usize>| range.start >= from;
    match likeness {
        Likeness::Exact => words(value, text).find(is_late),
        Likeness::Folded => {
            let (value, text) = (Folded::new(value.trim()), Folded::new(text));
            let place = |range: Range<usize>| text.places[range.start].start..text.places[range.end - 1].end;
            words(&value.text, &text.text).map(place).find(is_late)
        }
        Likeness::Normalized => {
            let dates = dates(value.trim());
            if let Some((_, wanted)) = dates.iter().find(|(range, _)| range.len() == value.trim().len()) {
                let is_it = |(range, found): &(Range<usize>, Vec<Date>)| {
                    is_late(range) && found.iter().any(|date| wanted.contains(date))
                };
                return self::dates(text).into_iter().find(is_it).map(|(range, _)| range);
            }
            let wanted = only_number(value)?;
            let mut all = numbers(text, false).chain(numbers(text, true));
            let found =
                all.find(|(range, readings)| is_late(range) && readings.iter().any(|reading| wanted.contains(reading)));
            found.map(|(range, _)| range)
        }
    }
}

/// The places where a value stands as whole words and whole numbers: `12` is not in `12.50`.
fn words<'t>(value: &'t str, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_mark = |c: Option<char>| c.is_some_and(|c| ".,".contains(c));
    let (first, last) = (value.chars().next(), value.chars().next_back());
    text.match_indices(value).map(|(start, found)| start..start + found.len()).filter(move |range| {
        let mut before = text[..range.start].chars().rev();
        let mut after = text[range.end..].chars();
        let (near_before, near_after) = (before.next(), after.next());
        let goes_on =
            is_word(last) && is_word(near_after) || is_digit(last) && is_mark(near_after) && is_digit(after.next());
        let has_begun = is_word(first) && is_word(near_before)
            || is_digit(first) && is_mark(near_before) && is_digit(before.next());
        !goes_on && !has_begun
    })
}

/// A text in lower case whose runs of blanks are one, with the place in the original of each byte.
struct Folded {
    text: String,
    places: Vec<Range<usize>>,
}

impl Folded {
    fn new(original: &str) -> Folded {
        let mut folded = Folded { text: String::with_capacity(original.len()), places: Vec::new() };
        for (at, character) in original.char_indices() {
            let place = at..at + character.len_utf8();
            if !character.is_whitespace() {
                folded.text.extend(character.to_lowercase());
            } else if folded.text.ends_with(' ') {
                if let Some(last) = folded.places.last_mut() {
                    last.end = place.end;
                }
            } else {
                folded.text.push(' ');
            }
            folded.places.resize(folded.text.len(), place);
        }
        folded
    }
}

/// Numbers of a text with what each may mean: `1.234` is a thousand or one and a bit. Those with blanks between
/// thousands are one number where `is_spaced`, else several.
fn numbers(text: &str, is_spaced: bool) -> impl Iterator<Item = (Range<usize>, Vec<String>)> {
    static NUMBERS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        let plain = pattern(r"-?\d+(?:[.,'’]\d+)*");
        [plain, pattern(r"-?\b\d{1,3}(?:[ \u{a0}\u{202f}]\d{3}\b)+(?:[.,]\d+)?")]
    });
    NUMBERS[usize::from(is_spaced)].find_iter(text).map(move |found| {
        let mut range = found.range();
        // A dash between words or numbers is no sign: `A-12`, `3-4`.
        if found.as_str().starts_with('-') && text[..range.start].ends_with(char::is_alphanumeric) {
            range.start += 1;
        }
        let readings = readings(&text[range.clone()]);
        (range, readings)
    })
}

/// The readings of a value that is a number and at most a currency beside it.
fn only_number(value: &str) -> Option<Vec<String>> {
    [true, false].into_iter().find_map(|is_spaced| {
        let mut found = numbers(value, is_spaced);
        let (range, readings) = found.next()?;
        let beside = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        let is_alone = found.next().is_none() && beside(&value[..range.start]) + beside(&value[range.end..]) <= 3;
        is_alone.then_some(readings)
    })
}

/// What the digits of a number may mean, without leading and trailing zeros.
fn readings(number: &str) -> Vec<String> {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let digits: String = digits.chars().filter(|c| c.is_ascii_digit() || ",.".contains(*c)).collect();
    let marks: Vec<(usize, char)> = digits.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
    let canonical = |decimal: Option<usize>| {
        let (whole, fraction) = decimal.map_or((&*digits, ""), |at| (&digits[..at], &digits[at + 1..]));
        let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        format!(
            "{sign}{}{}{fraction}",
            if whole.is_empty() { "0" } else { whole },
            if fraction.is_empty() { "" } else { "." }
        )
    };
    match *marks {
        [] => vec![canonical(None)],
        [(at, _)] if digits.len() - at == 4 => vec![canonical(Some(at)), canonical(None)],
        [(at, _)] => vec![canonical(Some(at))],
        [.., (_, before), (at, last)] if before != last => vec![canonical(Some(at))],
        _ => vec![canonical(None)],
    }
}

/// Year, month and day.
type Date = (u32, u32, u32);

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Dates of a text with what each may mean: `03/04/2025` is in March or in April.
fn dates(text: &str) -> Vec<(Range<usize>, Vec<Date>)> {
    const MONTH: &str = "(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|\
                         sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)[.]?";
    static PATTERNS: LazyLock<[(Regex, [usize; 3], bool); 4]> = LazyLock::new(|| {
        [
            (pattern(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b"), [1, 2, 3], false),
            (pattern(r"\b(\d{1,2})[-/.] ?(\d{1,2})[-/.] ?(\d{4}|\d{2})\b"), [3, 2, 1], true),
            (
                pattern(&format!(r"(?i)\b(\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?{MONTH},?\s+(\d{{4}})\b")),
                [3, 2, 1],
                false,
            ),
            (pattern(&format!(r"(?i)\b{MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b")), [3, 1, 2], false),
        ]
    });
    let mut found = Vec::new();
    for (pattern, [year, month, day], may_be_swapped) in &*PATTERNS {
        for capture in pattern.captures_iter(text) {
            let number = |group: usize| {
                let text = capture.get(group).map_or("", |found| found.as_str());
                let is_month = |month: &&str| text.to_lowercase().starts_with(*month);
                text.parse().ok().or_else(|| Some(MONTHS.iter().position(is_month)? as u32 + 1))
            };
            let (Some(year), Some(month), Some(day)) = (number(*year), number(*month), number(*day)) else { continue };
            let year = if year < 100 { 2000 + year } else { year };
            let mut readings = vec![(year, month, day), (year, day, month)];
            readings.truncate(if *may_be_swapped { 2 } else { 1 });
            readings.retain(|&(_, month, day)| (1..=12).contains(&month) && (1..=31).contains(&day));
            if let (Some(whole), false) = (capture.get(0), readings.is_empty()) {
                found.push((whole.range(), readings));
            }
        }
    }
    found.sort_by_key(|(range, _)| range.start);
    found
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("a pattern of this file is sound; this is a bug")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::rank;

    fn check(value: &str, text: &str, expected: Option<(&str, Likeness)>) {
        let found = find_from(value, text, 0).map(|(likeness, range)| (&text[range], likeness));
        assert_eq!(found, expected, "{value:?} in {text:?}");
    }

    #[test]
    fn values_are_found_as_they_are_or_nearly_so() {
        use Likeness::{Exact, Folded, Normalized};
        check("Café Nord", "At Café Nord, today", Some(("Café Nord", Exact)));
        check("12", "2012, no 12", Some(("12", Exact)));
        check("12", "2012", None);
        check("12", "12.50 and 1,12", None);
        check("12", "It is 12.", Some(("12", Exact)));
        check("cafe NORD GmbH", "by Cafe\n  Nord gmbh.", Some(("Cafe\n  Nord gmbh", Folded)));
        check("İ", "a İ b", Some(("İ", Exact)));
        check("1234.5", "Total: 1.234,50 EUR", Some(("1.234,50", Normalized)));
        check("1234.5", "Total: 1,234.50", Some(("1,234.50", Normalized)));
        check("1200", "Total: 1 200,00 kr", Some(("1 200,00", Normalized)));
        check("240", "2 240.00, 1 1 000", Some(("240.00", Normalized)));
        check("1 200", "paid 1,200.00", Some(("1,200.00", Normalized)));
        check("EUR 1,200.00", "1200 paid", Some(("1200", Normalized)));
        check("-3", "it was -3.00 then", Some(("-3.00", Normalized)));
        check("3", "rows 2-3.0", Some(("3.0", Normalized)));
        check("Room 12 on floor 3", "floor 3.0", None);
        check("2025-03-04", "on 4.3.2025", Some(("4.3.2025", Normalized)));
        check("2025-03-04", "on March 4th, 2025", Some(("March 4th, 2025", Normalized)));
        check("2025-03-04", "on 4 Mar. 2025", Some(("4 Mar. 2025", Normalized)));
        check("2025-03-04", "on 03/04/25", Some(("03/04/25", Normalized)));
        check("2025-03-04", "on 5.3.2025", None);
        check("2025-05-04", "4 maybe 2025, 4 May 2025", Some(("4 May 2025", Normalized)));
        check("Oslo, 2025-03-04", "on 4.3.2025", None);
        check("", "text", None);
        check(" ", "a  b", None);
    }

    #[test]
    fn any_value_in_any_text_has_a_place_in_it_or_none() {
        let piece = |n: u64| {
            ["1", "-2", "a", "İ", "ß ", "  ", ".", ",", "/", " mar ", "25", "'", "\u{a0}", "字"][n as usize % 14]
        };
        let text =
            |seed: u64, length: u64| -> String { (0..length).map(|n| piece(rank(seed, &n.to_string()))).collect() };
        let mut found = 0;
        for seed in 0..2000 {
            let (value, text) = (text(seed, 1 + seed % 5), text(seed + 10_000, 40));
            for (likeness, _) in Likeness::ALL {
                found += usize::from(find_as(likeness, &value, &text, 0).is_some_and(|range| !text[range].is_empty()));
            }
            let quoted = find_quote(&value, &text).map(|(range, _)| &text[range]);
            assert!(quoted.is_none_or(|quoted| !quoted.is_empty()));
        }
        assert!(found > 100, "{found}");
    }

    #[test]
    fn a_value_said_twice_has_two_places_and_one_said_once_has_one() {
        let input = Input::text("tea 2.40, juice 2.40, bun 3");
        let mut sources = Sources::new(&input, &Template::field("text")).unwrap();
        let mut start = |value: &str| sources.span(value)["start"].as_u64();
        assert_eq!([start("2.4"), start("2.4"), start("2.4")], [Some(4), Some(16), Some(4)]);
        assert_eq!([start("bun"), start("bun")], [Some(22), Some(22)]);
    }

    #[test]
    fn a_span_counts_bytes_characters_and_pages() {
        let input = Input { pages: vec![0, 5], ..Input::text("äöü Ä12") };
        let mut sources = Sources::new(&input, &Template::field("text")).unwrap();
        let expected = json!({
            "field": "text", "start": 7, "end": 11, "start_character": 4, "end_character": 7, "page": 2,
            "match": "exact",
        });
        assert_eq!(sources.span("Ä12"), expected);
        assert_eq!(sources.span("nowhere"), Value::Null);
    }
}
