//! One call of a tool, written as a JSON object: `{"name": .., "arguments": {..}}`, as it streams in.
//!
//! The fields may come in either order; the arguments may be an object or, as some models have it, a text that holds one.
//! A field that means nothing here is an error, not passed over: what it was to say would be lost. This file does not
//! know which tools there are nor what stands around the object. Read next: `parser`, the user.

use super::json::{JsonScanner, Scanned, Unescape, Unescaped, expected};

/// The longest name of a tool or field, in bytes.
const LONGEST_NAME: usize = 256;
/// The longest arguments that are kept until the name is known, in bytes.
const LONGEST_EARLY: usize = 1 << 20;

/// What a character of a call led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObjectPart {
    /// The name of the tool; comes once, before the arguments.
    Name(String),
    /// The next character of the arguments' object.
    Argument(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Arguments,
    /// `type` or `id`: what kind of call it is, which is always the same, and its name, which is given here.
    Aside,
}

#[derive(Debug, Clone)]
enum State {
    Open,
    /// A key must come; right after `{` the end may.
    Key {
        is_first: bool,
    },
    InKey(Unescape, String),
    Colon(Field),
    Value(Field),
    InName(Unescape, String),
    InAside(JsonScanner),
    InArguments(JsonScanner),
    /// The arguments' object within a text.
    InWrapped {
        unescape: Unescape,
        scanner: JsonScanner,
        /// Whether its `{` has come.
        has_begun: bool,
        has_ended: bool,
    },
    CommaOrEnd,
}

/// Reads one call.
#[derive(Debug, Clone)]
pub(super) struct CallObject {
    state: State,
    name: Option<String>,
    has_arguments: bool,
    has_begun_arguments: bool,
    /// Whether the field of the arguments was named.
    promises_arguments: bool,
    /// Arguments that came before the name.
    early: String,
}

impl CallObject {
    pub(super) fn new() -> CallObject {
        CallObject {
            state: State::Open,
            name: None,
            has_arguments: false,
            has_begun_arguments: false,
            promises_arguments: false,
            early: String::new(),
        }
    }

    /// Whether it can be nothing else than a call: it has a name, and its arguments have begun.
    pub(super) fn is_certain(&self) -> bool {
        self.name.is_some() && self.has_begun_arguments
    }

    /// Whether it is meant as a call of one of these: it names one and the field of its arguments.
    pub(super) fn is_meant_for(&self, names: &[String]) -> bool {
        self.promises_arguments && self.name.as_ref().is_some_and(|name| names.contains(name))
    }

    /// The name as far as it has come.
    pub(super) fn name_so_far(&self) -> Option<&str> {
        match &self.state {
            State::InName(_, name) => Some(name),
            _ => self.name.as_deref(),
        }
    }

    /// Takes the next character, and gives what it led to. True when it ends the object.
    ///
    /// # Errors
    /// Why this is no call.
    pub(super) fn push(&mut self, next: char, give: &mut dyn FnMut(ObjectPart)) -> Result<bool, String> {
        let is_space = matches!(next, ' ' | '\t' | '\n' | '\r');
        match &mut self.state {
            State::InKey(unescape, key) => match unescape.push(next)? {
                Unescaped::End => self.state = State::Colon(self.field()?),
                Unescaped::Char(letter) => grow(key, letter, "a field")?,
                Unescaped::Nothing => {}
            },
            State::InName(unescape, name) => match unescape.push(next)? {
                Unescaped::End => {
                    let name = std::mem::take(name);
                    self.named(name, give);
                }
                Unescaped::Char(letter) => grow(name, letter, "the name of a tool")?,
                Unescaped::Nothing => {}
            },
            State::InAside(scanner) => match scanner.push(next)? {
                Scanned::More => {}
                Scanned::Ended => self.state = State::CommaOrEnd,
                Scanned::EndedBefore => {
                    self.state = State::CommaOrEnd;
                    return self.push(next, give);
                }
            },
            State::InArguments(scanner) => {
                let has_ended = scanner.push(next)? == Scanned::Ended;
                self.argument(next, give)?;
                if has_ended {
                    self.state = State::CommaOrEnd;
                }
            }
            State::InWrapped { .. } => self.wrapped(next, give)?,
            _ if is_space => {}
            State::Open if next == '{' => self.state = State::Key { is_first: true },
            State::Open => return Err(expected("the { of a call", next)),
            State::Key { .. } if next == '"' => self.state = State::InKey(Unescape::default(), String::new()),
            State::Key { is_first: true } if next == '}' => return self.end(),
            State::Key { .. } => return Err(expected("a key in quotation marks", next)),
            State::Colon(field) if next == ':' => self.state = State::Value(*field),
            State::Colon(_) => return Err(expected("a colon", next)),
            State::Value(field) => {
                let field = *field;
                self.begin_value(field, next, give)?;
            }
            State::CommaOrEnd => match next {
                ',' => self.state = State::Key { is_first: false },
                '}' => return self.end(),
                _ => return Err(expected("a comma or }", next)),
            },
        }
        Ok(false)
    }

    fn end(&self) -> Result<bool, String> {
        match (&self.name, self.has_arguments) {
            (None, _) => Err("the call has no \"name\"".to_owned()),
            (Some(name), false) => Err(format!("the call of {name} has no \"arguments\"")),
            (Some(_), true) => Ok(true),
        }
    }

    /// The field that was just read; each comes once.
    fn field(&mut self) -> Result<Field, String> {
        let State::InKey(_, key) = &self.state else { return Err("a field without a key".to_owned()) };
        let field = match key.as_str() {
            "name" => Field::Name,
            "arguments" | "parameters" => Field::Arguments,
            "type" | "id" => Field::Aside,
            _ => return Err(format!("expected the fields \"name\" and \"arguments\", got {key:?}")),
        };
        self.promises_arguments |= field == Field::Arguments;
        let is_again = match field {
            Field::Name => self.name.is_some(),
            Field::Arguments => self.has_arguments,
            Field::Aside => false,
        };
        if is_again { Err(format!("the field {key:?} comes twice")) } else { Ok(field) }
    }

    fn begin_value(&mut self, field: Field, next: char, give: &mut dyn FnMut(ObjectPart)) -> Result<(), String> {
        match (field, next) {
            (Field::Name, '"') => self.state = State::InName(Unescape::default(), String::new()),
            (Field::Name, _) => return Err(expected("the name of a tool in quotation marks", next)),
            (Field::Arguments, '{') => {
                (self.has_arguments, self.has_begun_arguments) = (true, true);
                let mut scanner = JsonScanner::new();
                scanner.push(next)?;
                self.state = State::InArguments(scanner);
                self.argument(next, give)?;
            }
            (Field::Arguments, '"') => {
                self.has_arguments = true;
                self.state = State::InWrapped {
                    unescape: Unescape::default(),
                    scanner: JsonScanner::new(),
                    has_begun: false,
                    has_ended: false,
                };
            }
            (Field::Arguments, _) => return Err(expected("the arguments to be an object", next)),
            (Field::Aside, _) => {
                let mut scanner = JsonScanner::new();
                scanner.push(next)?;
                self.state = State::InAside(scanner);
            }
        }
        Ok(())
    }

    fn wrapped(&mut self, next: char, give: &mut dyn FnMut(ObjectPart)) -> Result<(), String> {
        let State::InWrapped { unescape, scanner, has_begun, has_ended } = &mut self.state else { return Ok(()) };
        let letter = match unescape.push(next)? {
            Unescaped::Nothing => return Ok(()),
            Unescaped::End if *has_ended => {
                self.state = State::CommaOrEnd;
                return Ok(());
            }
            Unescaped::End => return Err("the arguments are a text that holds no whole object".to_owned()),
            Unescaped::Char(letter) => letter,
        };
        let is_space = matches!(letter, ' ' | '\t' | '\n' | '\r');
        match (*has_begun, *has_ended) {
            (false, _) | (_, true) if is_space => return Ok(()),
            (false, _) if letter != '{' => return Err(expected("the arguments to be an object", letter)),
            (_, true) => return Err(expected("nothing after the arguments' object", letter)),
            _ => {}
        }
        *has_begun = true;
        *has_ended = scanner.push(letter)? == Scanned::Ended;
        self.has_begun_arguments = true;
        self.argument(letter, give)
    }

    fn named(&mut self, name: String, give: &mut dyn FnMut(ObjectPart)) {
        self.name = Some(name.clone());
        self.state = State::CommaOrEnd;
        give(ObjectPart::Name(name));
        std::mem::take(&mut self.early).chars().for_each(|letter| give(ObjectPart::Argument(letter)));
    }

    fn argument(&mut self, letter: char, give: &mut dyn FnMut(ObjectPart)) -> Result<(), String> {
        if self.name.is_some() {
            give(ObjectPart::Argument(letter));
        } else if self.early.len() < LONGEST_EARLY {
            self.early.push(letter);
        } else {
            return Err(format!("more than {LONGEST_EARLY} bytes of arguments before a name"));
        }
        Ok(())
    }
}

fn grow(name: &mut String, letter: char, what: &str) -> Result<(), String> {
    name.push(letter);
    if name.len() > LONGEST_NAME { Err(format!("{what} has more than {LONGEST_NAME} bytes")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and arguments of a call, if it is whole, and what was said before an error.
    fn read(text: &str) -> Result<(String, String), String> {
        let (mut object, mut name, mut arguments) = (CallObject::new(), String::new(), String::new());
        for next in text.chars() {
            let has_ended = object.push(next, &mut |part| match part {
                ObjectPart::Name(all) => name = all,
                ObjectPart::Argument(letter) => arguments.push(letter),
            })?;
            if has_ended {
                return Ok((name, arguments));
            }
        }
        Err("open".to_owned())
    }

    #[test]
    fn a_call_is_read_in_every_form_that_models_write() {
        let expected = Ok(("f".to_owned(), "{\"a\": [1, \"}\"]}".to_owned()));
        for text in [
            r#"{"name": "f", "arguments": {"a": [1, "}"]}}"#,
            r#"{"type": "function", "name": "f", "parameters": {"a": [1, "}"]}}"#,
            r#"{"arguments": {"a": [1, "}"]}, "name": "f"}"#,
            r#"{ "name" : "f" , "id": 12, "arguments": {"a": [1, "}"]} }"#,
            r#"{"name": "\u0066", "arguments": " {\"a\": [1, \"}\"]}\n"}"#,
            r#"{"arguments": "{\"a\": [1, \"}\"]}", "name": "f"}"#,
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_call_is_told() {
        for (text, told) in [
            ("[", "expected the { of a call, got '['"),
            ("{}", "the call has no \"name\""),
            (r#"{"name": "f"}"#, "the call of f has no \"arguments\""),
            (r#"{"name": 1"#, "expected the name of a tool in quotation marks, got '1'"),
            (r#"{"name": "f", "arguments": ["#, "expected the arguments to be an object, got '['"),
            (r#"{"name": "f", "arguments": null"#, "expected the arguments to be an object, got 'n'"),
            (r#"{"name": "f", "arguments": "x"#, "expected the arguments to be an object, got 'x'"),
            (r#"{"name": "f", "arguments": "{""#, "the arguments are a text that holds no whole object"),
            (r#"{"name": "f", "arguments": "{}x"#, "expected nothing after the arguments' object, got 'x'"),
            (r#"{"name": "f", "name""#, "the field \"name\" comes twice"),
            (r#"{"function""#, "expected the fields \"name\" and \"arguments\", got \"function\""),
            (r#"{"name": "f", "arguments": {'a'"#, "expected a key in quotation marks, got '\\''"),
            (r#"{"name": "f", "arguments": {}]"#, "expected a comma or }, got ']'"),
        ] {
            assert_eq!(read(text), Err(told.to_owned()), "{text}");
        }
        assert!(read(&format!("{{\"name\": \"{}", "a".repeat(300))).unwrap_err().contains("more than 256 bytes"));
    }
}
