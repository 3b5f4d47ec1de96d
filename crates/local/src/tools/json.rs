//! JSON as it streams in: says after each character whether a value goes on, has ended or is broken, keeps nothing of it.
//!
//! The grammar is that of RFC 8259, character by character, so that the text of a call's arguments can go out as it comes
//! and is known to be JSON up to there. This file knows no field. Read next: `call_object`, the user.

/// Objects and arrays within each other that are still read; a parser of the result has a bound of its own, at 128.
const DEEPEST: usize = 100;

/// Where a value stands after a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// More must or may follow.
    More,
    /// The value ends with this character.
    Ended,
    /// The value, a number, had ended before this character.
    EndedBefore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value must begin.
    Value,
    /// After `[`.
    ItemOrEnd,
    /// After `{`.
    KeyOrEnd,
    /// After a comma in an object.
    Key,
    /// After a key.
    Colon,
    /// After a value in a container.
    CommaOrEnd,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    /// So many digits of `\u` are to come.
    Hex {
        is_key: bool,
        left: u8,
    },
    Number(Number),
    /// What is left of `true`, `false`, `null`.
    Word(&'static str),
}

/// How far a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// Reads one value.
#[derive(Debug, Clone)]
pub(crate) struct JsonScanner {
    open: Vec<Container>,
    state: State,
}

impl JsonScanner {
    pub(crate) fn new() -> JsonScanner {
        JsonScanner { open: Vec::new(), state: State::Value }
    }

    /// Takes the next character. Nothing may be given after an end.
    ///
    /// # Errors
    /// What was expected in its place.
    pub(crate) fn push(&mut self, next: char) -> Result<Scanned, String> {
        match self.state {
            State::Text { is_key } => match next {
                '"' if is_key => self.go(State::Colon),
                '"' => return Ok(self.value_ended()),
                '\\' => self.go(State::Escape { is_key }),
                '\0'..='\u{1f}' => return Err(expected("a control character in a text to be escaped", next)),
                _ => {}
            },
            State::Escape { is_key } => match next {
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => self.go(State::Text { is_key }),
                'u' => self.go(State::Hex { is_key, left: 4 }),
                _ => return Err(expected("a letter of an escape (\"\\/bfnrtu)", next)),
            },
            State::Hex { is_key, left } if next.is_ascii_hexdigit() => {
                self.go(if left == 1 { State::Text { is_key } } else { State::Hex { is_key, left: left - 1 } });
            }
            State::Hex { .. } => return Err(expected("a hexadecimal digit", next)),
            State::Word(rest) => match rest.strip_prefix(next) {
                Some("") => return Ok(self.value_ended()),
                Some(rest) => self.go(State::Word(rest)),
                None => return Err(expected(&format!("{rest:?}"), next)),
            },
            State::Number(number) => return self.number(number, next),
            _ if matches!(next, ' ' | '\t' | '\n' | '\r') => {}
            State::Value => return self.begin(next),
            State::ItemOrEnd | State::KeyOrEnd if matches!(next, ']' | '}') => return self.close(next),
            State::ItemOrEnd => return self.begin(next),
            State::KeyOrEnd | State::Key if next == '"' => self.go(State::Text { is_key: true }),
            State::KeyOrEnd | State::Key => return Err(expected("a key in quotation marks", next)),
            State::Colon if next == ':' => self.go(State::Value),
            State::Colon => return Err(expected("a colon", next)),
            State::CommaOrEnd => return self.comma_or_end(next),
        }
        Ok(Scanned::More)
    }

    fn go(&mut self, state: State) {
        self.state = state;
    }

    fn value_ended(&mut self) -> Scanned {
        self.state = State::CommaOrEnd;
        if self.open.is_empty() { Scanned::Ended } else { Scanned::More }
    }

    fn begin(&mut self, next: char) -> Result<Scanned, String> {
        self.state = match next {
            '{' | '[' if self.open.len() == DEEPEST => {
                return Err(format!("more than {DEEPEST} objects and arrays within each other"));
            }
            '{' => {
                self.open.push(Container::Object);
                State::KeyOrEnd
            }
            '[' => {
                self.open.push(Container::Array);
                State::ItemOrEnd
            }
            '"' => State::Text { is_key: false },
            '-' => State::Number(Number::Minus),
            '0' => State::Number(Number::Zero),
            '1'..='9' => State::Number(Number::Whole),
            't' => State::Word("rue"),
            'f' => State::Word("alse"),
            'n' => State::Word("ull"),
            _ => return Err(expected("a JSON value", next)),
        };
        Ok(Scanned::More)
    }

    fn comma_or_end(&mut self, next: char) -> Result<Scanned, String> {
        match (next, self.open.last()) {
            (',', Some(Container::Object)) => self.state = State::Key,
            (',', Some(Container::Array)) => self.state = State::Value,
            _ => return self.close(next),
        }
        Ok(Scanned::More)
    }

    fn close(&mut self, next: char) -> Result<Scanned, String> {
        match (next, self.open.last()) {
            ('}', Some(Container::Object)) | (']', Some(Container::Array)) => {
                self.open.pop();
                Ok(self.value_ended())
            }
            (_, Some(Container::Object)) => Err(expected("a comma or }", next)),
            (_, _) => Err(expected("a comma or ]", next)),
        }
    }

    fn number(&mut self, number: Number, next: char) -> Result<Scanned, String> {
        use Number::*;
        let state = match (number, next) {
            (Minus, '0') => Zero,
            (Minus, '1'..='9') => Whole,
            (Whole, '0'..='9') => Whole,
            (Zero | Whole, '.') => Point,
            (Point | Fraction, '0'..='9') => Fraction,
            (Zero | Whole | Fraction, 'e' | 'E') => Exponent,
            (Exponent, '+' | '-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, '0'..='9') => ExponentDigits,
            (Zero | Whole | Fraction | ExponentDigits, _) => {
                return match self.value_ended() {
                    Scanned::More => self.push(next),
                    _ => Ok(Scanned::EndedBefore),
                };
            }
            (Minus | Point | Exponent | ExponentSign, _) => return Err(expected("a digit", next)),
        };
        self.state = State::Number(state);
        Ok(Scanned::More)
    }
}

/// What a piece of a JSON text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unescaped {
    /// More of an escape must follow.
    Nothing,
    Char(char),
    /// The closing quotation mark.
    End,
}

/// Reads a JSON text (a string) after its opening quotation mark, and takes the escapes out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unescape {
    state: Escaping,
}

#[derive(Debug, Clone, Copy, Default)]
enum Escaping {
    #[default]
    Plain,
    Backslash,
    /// `\u` with so many digits read; the first half of a pair, if one came before.
    Hex {
        digits: u8,
        value: u32,
        high: Option<u32>,
    },
    /// After the first half of a pair: another `\u` must come.
    Low {
        high: u32,
        after_backslash: bool,
    },
}

impl Unescape {
    /// Takes the next character; nothing may be given after the end.
    ///
    /// # Errors
    /// What was expected in its place.
    pub(crate) fn push(&mut self, next: char) -> Result<Unescaped, String> {
        let (state, meaning) = match self.state {
            Escaping::Plain => match next {
                '"' => (Escaping::Plain, Unescaped::End),
                '\\' => (Escaping::Backslash, Unescaped::Nothing),
                '\0'..='\u{1f}' => return Err(expected("a control character in a text to be escaped", next)),
                _ => (Escaping::Plain, Unescaped::Char(next)),
            },
            Escaping::Backslash => match next {
                '"' | '\\' | '/' => (Escaping::Plain, Unescaped::Char(next)),
                'b' => (Escaping::Plain, Unescaped::Char('\u{8}')),
                'f' => (Escaping::Plain, Unescaped::Char('\u{c}')),
                'n' => (Escaping::Plain, Unescaped::Char('\n')),
                'r' => (Escaping::Plain, Unescaped::Char('\r')),
                't' => (Escaping::Plain, Unescaped::Char('\t')),
                'u' => (Escaping::Hex { digits: 0, value: 0, high: None }, Unescaped::Nothing),
                _ => return Err(expected("a letter of an escape (\"\\/bfnrtu)", next)),
            },
            Escaping::Hex { digits, value, high } => {
                let digit = next.to_digit(16).ok_or_else(|| expected("a hexadecimal digit", next))?;
                let value = value * 16 + digit;
                match digits {
                    3 => unit(value, high)?,
                    _ => (Escaping::Hex { digits: digits + 1, value, high }, Unescaped::Nothing),
                }
            }
            Escaping::Low { high, after_backslash } => match (after_backslash, next) {
                (false, '\\') => (Escaping::Low { high, after_backslash: true }, Unescaped::Nothing),
                (true, 'u') => (Escaping::Hex { digits: 0, value: 0, high: Some(high) }, Unescaped::Nothing),
                _ => return Err(expected("the second half of a surrogate pair", next)),
            },
        };
        self.state = state;
        Ok(meaning)
    }
}

/// What four digits of `\u` mean, after the first half of a surrogate pair or alone (RFC 8259, section 7).
fn unit(value: u32, high: Option<u32>) -> Result<(Escaping, Unescaped), String> {
    let value = match (high, value) {
        (None, 0xD800..=0xDBFF) => {
            return Ok((Escaping::Low { high: value, after_backslash: false }, Unescaped::Nothing));
        }
        (Some(high), 0xDC00..=0xDFFF) => 0x10000 + ((high - 0xD800) << 10) + (value - 0xDC00),
        (Some(_), _) => return Err(format!("expected the second half of a surrogate pair, got \\u{value:04x}")),
        (None, _) => value,
    };
    let meant = char::from_u32(value).ok_or_else(|| format!("expected a character, got \\u{value:04x}"))?;
    Ok((Escaping::Plain, Unescaped::Char(meant)))
}

/// An error's text.
pub(crate) fn expected(what: &str, got: char) -> String {
    format!("expected {what}, got {got:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// How many characters the value at the start of a text has.
    fn scan(text: &str) -> Result<Option<usize>, String> {
        let mut scanner = JsonScanner::new();
        for (index, next) in text.chars().enumerate() {
            match scanner.push(next)? {
                Scanned::More => {}
                Scanned::Ended => return Ok(Some(index + 1)),
                Scanned::EndedBefore => return Ok(Some(index)),
            }
        }
        Ok(None)
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for (text, len) in
            [("{} ", 2), ("{\"a\": [1, {\"b\": null}]}}", 23), ("-0.5e+3,", 7), ("\"a\\\"b\" ", 6), (" true", 5)]
        {
            assert_eq!(scan(text), Ok(Some(len)), "{text}");
        }
        for open in ["", "{", "[1", "\"a", "{\"a\":", "12", "tru", "\"\\u00"] {
            assert_eq!(scan(open), Ok(None), "{open}");
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        for (text, told) in [
            ("{a", "expected a key in quotation marks, got 'a'"),
            ("{'", "expected a key in quotation marks, got '\\''"),
            ("{\"a\": True", "expected a JSON value, got 'T'"),
            ("[1,]", "expected a JSON value, got ']'"),
            ("{\"a\" 1", "expected a colon, got '1'"),
            ("{\"a\": 01", "expected a comma or }, got '1'"),
            ("[1}", "expected a comma or ], got '}'"),
            ("\"a\nb", "expected a control character in a text to be escaped, got '\\n'"),
            ("\"\\x", "expected a letter of an escape (\"\\/bfnrtu), got 'x'"),
            ("-a", "expected a digit, got 'a'"),
        ] {
            assert_eq!(scan(text), Err(told.to_owned()), "{text}");
        }
        assert!(scan(&"[".repeat(DEEPEST)).is_ok());
        assert!(scan(&"[".repeat(DEEPEST + 1)).unwrap_err().contains("within each other"));
    }

    /// Text of JSON's letters, often nearly JSON.
    fn nearly_json() -> impl Strategy<Value = String> {
        let words = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\n\"",
            "\"\\ud83d\\ude00\"",
            "1",
            "-2.5",
            "0",
            "1e5",
            "e",
            ".",
            "true",
            "null",
            "false",
            " ",
            "\n",
            "\"語\"",
            "\"",
        ];
        proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..12).prop_map(|words| words.concat())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser(text in nearly_json()) {
            // What ends a number at the end of a text is its end.
            let scanned = scan(&format!("{text} "));
            let parsed = serde_json::from_str::<Value>(&text);
            // Valid by the grammar, but no number that fits a type.
            prop_assume!(!parsed.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range")));
            match scanned {
                Ok(Some(end)) => {
                    let value: String = text.chars().take(end).collect();
                    prop_assert!(serde_json::from_str::<Value>(&value).is_ok(), "{value}");
                    if text.chars().skip(end).all(char::is_whitespace) {
                        prop_assert!(parsed.is_ok());
                    }
                }
                _ => prop_assert!(parsed.is_err(), "{text}"),
            }
        }

        #[test]
        fn takes_what_is_json(value in any_value(), is_pretty in any::<bool>()) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(scan(&format!("{text} ")), Ok(Some(text.chars().count())));
        }

        #[test]
        fn escapes_come_out_as_a_parser_has_them(words in proptest::collection::vec(
            proptest::sample::select(vec!["a", "\\n", "\\\"", "\\u0041", "\\ud83d\\ude00", "語", "\\ud83d", "\\ude00", "\\/", "\\q"]), 0..8))
        {
            let text = format!("{}\"", words.concat());
            let mut unescape = Unescape::default();
            let mut got = Some(String::new());
            for next in text.chars() {
                match (unescape.push(next), &mut got) {
                    (Ok(Unescaped::Char(meant)), Some(got)) => got.push(meant),
                    (Ok(Unescaped::Nothing), _) => {}
                    (Ok(Unescaped::End), _) => break,
                    _ => { got = None; break; }
                }
            }
            prop_assert_eq!(got, serde_json::from_str::<String>(&format!("\"{text}")).ok());
        }
    }
}
