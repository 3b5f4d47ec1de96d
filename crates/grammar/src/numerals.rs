//! How long the numerals of JSON may be: `number` by itself lets `9E160057` through, which no double holds, and an `integer`
//! may have digits without end.
//!
//! ```text
//! -?  whole               . fraction       e [+-]? exponent
//!     at most 2^63 - 1      20 digits               2 digits
//! ```
//!
//! So every numeral is a finite double, and a whole one is read by programs of 64 bits. The text is followed byte by byte
//! beside the automaton, which knows no such bounds: only where a numeral may be too long are tokens looked at one by one.
//! What a schema itself asks for is not known here; `matcher` lets it through. Read next: `matcher`.

use llguidance::toktrie::{SimpleVob, TokTrie};

/// Largest whole part, of either sign.
const LARGEST_WHOLE: u64 = i64::MAX.unsigned_abs();

/// Most digits of a fraction: the 17 that tell a double from its neighbours (IEEE 754-2019, 5.12.2), and a few zeros before.
const FRACTION_DIGITS: usize = 20;

/// Most digits of an exponent.
const EXPONENT_DIGITS: usize = 2;

/// Where in a text of JSON one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Not in JSON: in the fixed words around objects.
    Outside,
    /// Between texts and numerals.
    Between,
    Text,
    /// After a backslash in a text.
    Escape,
    /// In the digits before a point; so much, or anything larger than [`LARGEST_WHOLE`].
    Whole(u64),
    /// After so many digits of a fraction.
    Fraction(usize),
    /// After so many digits of an exponent.
    Exponent(usize),
}

/// Follows the numerals of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numerals {
    part: Part,
    /// Where one is around all objects.
    around: Part,
    /// Objects that are open.
    depth: usize,
}

impl Numerals {
    /// A text that is JSON.
    pub(crate) fn of_json() -> Numerals {
        Numerals { part: Part::Between, around: Part::Between, depth: 0 }
    }

    /// A text with JSON objects among fixed words. What stands in an object of the fixed words is JSON, too.
    pub(crate) fn of_objects() -> Numerals {
        Numerals { part: Part::Outside, around: Part::Outside, depth: 0 }
    }

    /// Goes on by all of these bytes. Whether each numeral kept its bounds.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> bool {
        let mut keeps = true;
        for &byte in bytes {
            keeps &= self.read_byte(byte);
        }
        keeps
    }

    fn read_byte(&mut self, byte: u8) -> bool {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        self.part = match (self.part, byte) {
            (Part::Text, b'"') => Part::Between,
            (Part::Text, b'\\') => Part::Escape,
            (Part::Text | Part::Escape, _) => Part::Text,
            (Part::Outside, _) if byte != b'{' => Part::Outside,
            (Part::Whole(_), b'.') => Part::Fraction(0),
            (Part::Whole(_) | Part::Fraction(_), b'e' | b'E') => Part::Exponent(0),
            (Part::Exponent(0), b'+' | b'-') => Part::Exponent(0),
            (part, _) => match (part, digit) {
                (Part::Whole(whole), Some(digit)) => Part::Whole(whole.saturating_mul(10).saturating_add(digit)),
                (Part::Fraction(digits), Some(_)) => Part::Fraction(digits + 1),
                (Part::Exponent(digits), Some(_)) => Part::Exponent(digits + 1),
                (_, Some(digit)) => Part::Whole(digit),
                (_, None) => self.between(byte),
            },
        };
        match self.part {
            Part::Whole(whole) => whole <= LARGEST_WHOLE,
            Part::Fraction(digits) => digits <= FRACTION_DIGITS,
            Part::Exponent(digits) => digits <= EXPONENT_DIGITS,
            _ => true,
        }
    }

    /// Where a byte leads to that is in no text and no numeral.
    fn between(&mut self, byte: u8) -> Part {
        match byte {
            b'"' => Part::Text,
            b'{' => {
                self.depth += 1;
                Part::Between
            }
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 { self.around } else { Part::Between }
            }
            _ => Part::Between,
        }
    }

    /// Whether so many digits more may be too many.
    fn is_near(self, digits: usize) -> bool {
        match self.part {
            Part::Whole(whole) => {
                let shift = u32::try_from(digits).ok().and_then(|digits| 10_u64.checked_pow(digits));
                shift
                    .and_then(|shift| whole.saturating_add(1).checked_mul(shift))
                    .is_none_or(|whole| whole > LARGEST_WHOLE)
            }
            Part::Fraction(before) => before + digits > FRACTION_DIGITS,
            Part::Exponent(_) => true,
            _ => false,
        }
    }
}

/// The tokens of a vocabulary that can make a numeral too long.
pub(crate) struct NumeralTokens {
    /// Those that do so wherever they come, shortest first.
    alone: Vec<u32>,
    /// All with a digit, shortest first.
    digits: Vec<u32>,
    /// Most digits in a row that a token has.
    longest: usize,
}

impl NumeralTokens {
    pub(crate) fn of(trie: &TokTrie) -> NumeralTokens {
        let mut digits: Vec<u32> =
            (0..trie.vocab_size() as u32).filter(|&id| trie.token(id).iter().any(u8::is_ascii_digit)).collect();
        digits.sort_by_key(|&id| trie.token(id).len());
        let run = |id: &u32| trie.token(*id).split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0);
        let longest = digits.iter().map(run).max().unwrap_or(0);
        // Where a numeral is far from its bounds, no digits before a token count.
        let is_too_long_from = |id: u32, part| !Numerals { part, ..Numerals::of_json() }.read(trie.token(id));
        let starts = [Part::Between, Part::Text, Part::Whole(0)];
        let alone =
            digits.iter().copied().filter(|&id| starts.iter().any(|&part| is_too_long_from(id, part))).collect();
        NumeralTokens { alone, digits, longest }
    }

    /// Those of a mask after which a numeral would be too long, shortest first.
    pub(crate) fn too_long(&self, numerals: Numerals, mask: &SimpleVob, trie: &TokTrie) -> Vec<u32> {
        let candidates = if numerals.is_near(self.longest) { &self.digits } else { &self.alone };
        let is_too_long = |id: &u32| mask.is_allowed(*id) && !numerals.clone().read(trie.token(*id));
        candidates.iter().copied().filter(is_too_long).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accepts, vocabulary, write};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Whether the numerals of a text of JSON keep their bounds, told after the fact and by an expression.
    fn are_short(text: &str) -> bool {
        let texts = regex::Regex::new(r#""(?:[^"\\]|\\.)*"?"#).unwrap();
        let numeral = regex::Regex::new(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?").unwrap();
        let is_short = regex::Regex::new(r"^[0-9]{1,400}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{0,2})?$").unwrap();
        let bare = texts.replace_all(text, "\"\"");
        numeral.find_iter(&bare).all(|found| {
            let whole = found.as_str().split(['.', 'e', 'E']).next().unwrap();
            is_short.is_match(found.as_str()) && whole.parse::<i64>().is_ok()
        })
    }

    fn digits() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{1,3}", "[0-9]{17,23}", Just("9223372036854775807".to_owned()), "922337203685477580[0-9]"]
    }

    /// Something between two commas.
    fn piece() -> impl Strategy<Value = String> {
        let numeral = (digits(), prop::option::of(digits()), prop::option::of("[eE][+-]?[0-9]{1,3}")).prop_map(
            |(whole, fraction, exponent)| {
                let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
                format!("{whole}{fraction}{}", exponent.unwrap_or_default())
            },
        );
        let text = prop_oneof![digits(), Just(r#"\""#.to_owned()), Just(r"\\".to_owned()), Just("e1000".to_owned())];
        let text = prop::collection::vec(text, 0..3).prop_map(|parts| format!("\"{}\"", parts.concat()));
        prop_oneof![numeral, text, Just("true".to_owned()), Just("{\"e1\": -5E-12}".to_owned())]
    }

    proptest! {
        #[test]
        fn numerals_are_followed_as_an_expression_finds_them(pieces in prop::collection::vec(piece(), 1..6), cut in 1_usize..9) {
            let text = format!("[{}]", pieces.join(", "));
            let mut numerals = Numerals::of_json();
            // In whatever tokens.
            let keeps: Vec<bool> = text.as_bytes().chunks(cut).map(|token| numerals.read(token)).collect();
            let keeps = !keeps.contains(&false);
            prop_assert_eq!(keeps, are_short(&text), "{}", text);
            prop_assert_eq!(numerals.part, Part::Between);
            // As one of several objects among words, whatever those are.
            let mut numerals = Numerals::of_objects();
            let among = format!("call 1e1000 \"{{\"a\": {text}}} 12345678901234567890 \"{{}}");
            prop_assert_eq!(numerals.read(among.as_bytes()), are_short(&text), "{}", among);
            prop_assert_eq!(numerals.part, Part::Outside);
        }

        #[test]
        fn tokens_are_too_long_where_their_bytes_are(
            start in prop_oneof![Just(String::new()), digits(), digits().prop_map(|digits| format!("1.{digits}")),
                Just("2e".to_owned()), Just("2e1".to_owned()), Just("\"".to_owned())],
            tokens in prop::collection::vec("[0-9e.,\" ]{1,4}|[0-9]{18,23}|[0-9]?e[0-9]{2,4}", 1..20),
        ) {
            let mut words: Vec<Vec<u8>> = tokens.into_iter().map(String::into_bytes).collect();
            words.sort();
            words.dedup();
            let trie = TokTrie::from(&llguidance::toktrie::TokRxInfo::new(words.len() as u32, u32::MAX), &words);
            let mut numerals = Numerals::of_json();
            numerals.read(start.as_bytes());
            let mut mask = trie.alloc_token_set();
            (0..words.len() as u32).filter(|id| id % 5 != 3).for_each(|id| mask.allow_token(id));
            let mut found = NumeralTokens::of(&trie).too_long(numerals, &mask, &trie);
            found.sort_unstable();
            let naive = |id: &u32| mask.is_allowed(*id) && !numerals.clone().read(&words[*id as usize]);
            prop_assert_eq!(found, (0..words.len() as u32).filter(naive).collect::<Vec<_>>(), "{}", start);
        }
    }

    fn takes(schema: &Value, text: &str) -> bool {
        accepts(&vocabulary().json_schema(schema).unwrap(), text)
    }

    #[test]
    fn numerals_without_bounds_of_their_own_end() {
        let (number, integer) = (json!({"type": "number"}), json!({"type": "integer"}));
        for text in ["9223372036854775807", "-9223372036854775807", "0", "-12"] {
            assert!(takes(&integer, text) && takes(&number, text), "{text}");
        }
        for text in ["9223372036854775808", "10000000000000000000", "-99999999999999999999"] {
            assert!(!takes(&integer, text) && !takes(&number, text), "{text}");
        }
        for (text, expected) in [
            ("0.12345678901234567890", true),
            ("0.123456789012345678901", false),
            ("1E99", true),
            ("1.5e-07", true),
            ("9E160057", false),
            ("1e100", false),
        ] {
            assert_eq!(takes(&number, text), expected, "{text}");
        }
        // Digits of texts are no numerals, wherever they stand.
        let any = json!({"type": "object"});
        assert!(takes(&any, r#"{"9E160057\"1e999": "12345678901234567890123", "b": [1e99]}"#));
        assert!(!takes(&any, r#"{"a": {"b": [1, 1e100]}}"#));
    }

    #[test]
    fn a_schema_that_asks_for_a_longer_numeral_has_it() {
        let (large, small) = (format!("1{}", "0".repeat(300)), format!("0.{}1", "0".repeat(299)));
        for (schema, text) in [
            (json!({"const": 1e300}), large.as_str()),
            (json!({"const": 1e-300}), &small),
            (json!({"enum": [1e300, "x"]}), &large),
            (json!({"type": "number", "minimum": 9e18, "maximum": 9.2e18}), "9100000000000000000"),
            (json!({"type": "integer", "multipleOf": 7, "maximum": 9e15}), "8999999999999995"),
        ] {
            assert!(takes(&schema, text), "{schema}");
        }
        // Past the bound a digit may come that ends it, and none that does not.
        let above = json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1});
        let zeros = format!("0.{}", "0".repeat(20));
        assert!(takes(&above, &format!("{zeros}1")) && !takes(&above, &format!("{zeros}01")));
        assert!(!takes(&above, &format!("{zeros}11")));
    }

    #[test]
    fn what_is_written_is_read_by_programs_of_64_bits() {
        let schemas = [
            json!({"type": "number"}),
            json!({"type": "array", "items": {"type": ["number", "string"]}, "minItems": 3}),
            json!({"type": "object"}),
            json!({"type": "number", "exclusiveMinimum": -3.5}),
            json!({"type": "number", "multipleOf": 0.25}),
            json!({"type": "integer", "multipleOf": 990}),
            json!({"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.11}),
        ];
        let mut finished = 0;
        for schema in &schemas {
            let grammar = vocabulary().json_schema(schema).unwrap();
            for text in (0..40).filter_map(|seed| write(&grammar, seed, 60)) {
                finished += 1;
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{schema}: {text}");
                let longest = text.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max();
                let is_text = text.contains('"');
                assert!(is_text || longest.is_some_and(|digits| digits <= 21), "{schema}: {text}");
            }
        }
        assert!(finished > 100, "{finished}");
    }

    #[test]
    fn a_numeral_that_is_too_long_is_an_error() {
        let mut matcher = vocabulary().json_schema(&json!({"type": "integer"})).unwrap().matcher();
        matcher.accept_text("9223372036854775807").unwrap();
        assert!(matcher.allowed().unwrap().tokens().is_empty() && matcher.may_end().unwrap());
        let error = matcher.accept(u32::from(b'1')).unwrap_err().to_string();
        assert_eq!(error, "the grammar gave up: a numeral is longer than may be read");
        // One that keeps its bounds may go on.
        assert!(matcher.may_end().unwrap());
    }
}
