//! What a text has that could be the value of a field, and what is noticed of each: its shape, the words around it, its place.
//!
//! Candidates are dates, amounts and whole numbers within a line, lines, what follows a label in its line (`Total: 9.00`), and
//! blocks of two to five lines, joined by a blank. It knows no field and no example.

use regex::Regex;
use std::sync::LazyLock;

/// Lines that are read of a text, the first of it.
const MOST_LINES: usize = 1_000;
/// Lines that a block has at most.
const LONGEST_BLOCK: usize = 5;
/// Places from the top, the bottom, and among candidates of one shape that are told apart.
const PLACES: usize = 12;

/// Shapes within a line, by their names; where a line has several of one shape each is a candidate.
static SHAPES: LazyLock<[(&str, Regex); 3]> = LazyLock::new(|| {
    let date = r"(?ix) \b (?: \d{4}[-/.]\d{1,2}[-/.]\d{1,2} | \d{1,2}[-/.\ ]\d{1,2}[-/.\ ]\d{2,4}
        | \d{1,2}[-/.\ ]*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-/.,\ ]*\d{2,4}
        | (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\ +\d{1,2},?\ +\d{4} ) \b";
    let amount = r"[-+]?\d{1,3}(?:[,\ ]\d{3})*[.,]\d{2}\b|[-+]?\d+[.,]\d{2}\b";
    let compiled = |pattern: &str| Regex::new(pattern).expect("the pattern is an expression, else this is a bug");
    [("date", compiled(date)), ("amount", compiled(amount)), ("number", compiled(r"\b\d+\b"))]
});

/// A part of a text that could be a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As it stands there; lines of a block with blanks between them.
    pub text: String,
    /// What is noticed, each as a word.
    pub traits: Vec<String>,
}

/// All of a text, from its top to its bottom.
pub fn candidates(text: &str) -> Vec<Candidate> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MOST_LINES).collect();
    let mut found: Vec<(&str, Candidate)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let around = Around { lines: &lines, first: index, last: index };
        for (shape, pattern) in SHAPES.iter() {
            for part in pattern.find_iter(line) {
                found.push((shape, around.within(shape, part.range())));
            }
        }
        if let Some((label, rest)) = line.split_once([':', '#']).filter(|(_, rest)| !rest.trim().is_empty()) {
            let start = line.len() - rest.trim_start().len();
            debug_assert!(label.len() < start);
            found.push(("rest", around.within("rest", start..line.len())));
        }
        for length in 1..=LONGEST_BLOCK.min(lines.len() - index) {
            let around = Around { last: index + length - 1, ..around };
            found.push(("block", around.block()));
        }
    }
    add_ranks(&mut found);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Whether it is the first of its shape, the second, the last; and the largest number.
fn add_ranks(found: &mut [(&str, Candidate)]) {
    for shape in ["date", "amount", "number"] {
        let of_shape: Vec<usize> = (0..found.len()).filter(|&index| found[index].0 == shape).collect();
        let largest = of_shape.iter().filter_map(|&index| as_number(&found[index].1.text)).fold(f64::MIN, f64::max);
        for (from_top, &index) in of_shape.iter().enumerate() {
            let candidate = &mut found[index].1;
            candidate.traits.push(format!("{shape} top {}", from_top.min(PLACES)));
            candidate.traits.push(format!("{shape} bottom {}", (of_shape.len() - 1 - from_top).min(PLACES)));
            if as_number(&candidate.text) == Some(largest) {
                candidate.traits.push(format!("{shape} largest"));
            }
        }
    }
}

/// A number as people write it, with commas or blanks between thousands.
pub fn as_number(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|character| !matches!(character, ',' | ' ')).collect();
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

/// One or more lines of a text, and what stands beside them.
#[derive(Clone, Copy)]
struct Around<'l> {
    lines: &'l [&'l str],
    first: usize,
    last: usize,
}

impl Around<'_> {
    fn within(&self, shape: &str, range: std::ops::Range<usize>) -> Candidate {
        let line = self.lines[self.first];
        let before = &line[..range.start];
        let text = &line[range.clone()];
        let mut traits = vec![shape.to_owned(), format!("{shape} {}", outline(text))];
        // A value's label stands before it, or in the lines above where its own has no words.
        let above = self.lines[..self.first].iter().rev().take(3);
        let nearest = std::iter::once(before).chain(above.copied()).enumerate();
        let labelled = nearest.map(|(up, label)| (up, words(label))).find(|(_, words)| !words.is_empty());
        if let Some((up, words)) = labelled {
            traits.push(format!("{shape} label {}", words.join(" ")));
            traits.extend(words.iter().map(|word| format!("{shape} {up} up {word}")));
        }
        if self.first > 0 {
            traits.extend(words(self.lines[self.first - 1]).iter().map(|word| format!("{shape} below {word}")));
        }
        traits.extend(words(&line[range.end..]).iter().map(|word| format!("{shape} before {word}")));
        if range == (0..line.len()) {
            traits.push(format!("{shape} alone"));
        }
        self.add_places(shape, &mut traits);
        Candidate { text: text.to_owned(), traits }
    }

    fn block(&self) -> Candidate {
        let lines = &self.lines[self.first..=self.last];
        let shape = format!("block {}", lines.len());
        let (first, last) = (self.lines[self.first], self.lines[self.last]);
        let mut traits = vec![shape.clone()];
        for (name, line) in [("first", first), ("last", last)] {
            traits.push(format!("{name} {}", outline(line)));
            traits.push(format!("{name} ends {:?}", line.chars().next_back()));
            traits.extend(words(line).iter().map(|word| format!("{name} {word}")));
        }
        let text = lines.join(" ");
        traits.extend(words(&text).iter().map(|word| format!("block has {word}")));
        let beside = [("above", self.first.checked_sub(1)), ("under", self.last.checked_add(1))];
        for (name, index) in beside {
            let Some(line) = index.and_then(|index| self.lines.get(index)) else {
                traits.push(format!("{name} nothing"));
                continue;
            };
            traits.push(format!("{name} {}", outline(line)));
            traits.extend(words(line).iter().map(|word| format!("{name} {word}")));
        }
        self.add_places(&shape, &mut traits);
        Candidate { text, traits }
    }

    fn add_places(&self, shape: &str, traits: &mut Vec<String>) {
        traits.push(format!("{shape} line {}", self.first.min(PLACES)));
        let from_bottom = self.lines.len() - 1 - self.last;
        traits.push(format!("{shape} line from bottom {}", from_bottom.min(PLACES)));
    }
}

/// What a text looks like: runs of letters, digits and blanks as one sign each, other signs as they are; the beginning.
fn outline(text: &str) -> String {
    let mut outline = String::new();
    for character in text.chars() {
        let sign = match character {
            letter if letter.is_alphabetic() => 'a',
            digit if digit.is_numeric() => '0',
            blank if blank.is_whitespace() => ' ',
            other => other,
        };
        if !outline.ends_with(sign) {
            outline.push(sign);
        }
        if outline.len() > PLACES {
            break;
        }
    }
    outline
}

/// Words in lower case, those with digits left out.
fn words(text: &str) -> Vec<String> {
    let parts = text.split(|character: char| !character.is_alphanumeric());
    let is_word = |part: &&str| !part.is_empty() && !part.contains(char::is_numeric);
    parts.filter(is_word).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, shape: &str) -> Vec<String> {
        let of_shape = candidates(text).into_iter().filter(|one| one.traits[0] == shape);
        of_shape.map(|candidate| candidate.text).collect()
    }

    #[test]
    fn dates_amounts_and_numbers_are_found_within_lines() {
        let text = "Bill 12/03/2018 8:13\nMarch 4, 2020\n3 Jan 19\n2024-02-29\nTotal: RM 1,234.50\nQty 17";
        assert_eq!(texts(text, "date"), ["12/03/2018", "March 4, 2020", "3 Jan 19", "2024-02-29"]);
        assert_eq!(texts(text, "amount"), ["1,234.50"]);
        assert!(texts(text, "number").contains(&"17".to_owned()));
        assert!(texts(text, "rest").contains(&"RM 1,234.50".to_owned()));
        assert_eq!(texts("a\n\n b ", "block 2"), ["a b"]);
    }

    #[test]
    fn a_value_has_its_label_its_place_and_its_rank() {
        let found = candidates("Shop\nTOTAL\n9.00\nCash 10.00");
        let of = |text: &str| &found.iter().find(|one| one.text == text && one.traits[0] == "amount").unwrap().traits;
        for expected in ["amount label total", "amount 1 up total", "amount alone", "amount top 0", "amount line 2"] {
            assert!(of("9.00").iter().any(|one| one == expected), "{expected}: {:?}", of("9.00"));
        }
        for expected in ["amount label cash", "amount largest", "amount bottom 0", "amount line from bottom 0"] {
            assert!(of("10.00").iter().any(|one| one == expected), "{expected}: {:?}", of("10.00"));
        }
    }

    #[test]
    fn odd_texts_have_few_candidates_or_none() {
        for text in ["", "\n \n", ":", "#:", "ä:ö", "1:"] {
            assert!(candidates(text).len() < 5, "{text:?}");
        }
        assert!(candidates(&"x\n".repeat(5_000)).len() <= MOST_LINES * LONGEST_BLOCK);
        assert_eq!((as_number("1,234.50"), as_number("x"), as_number("")), (Some(1234.5), None, None));
    }
}
