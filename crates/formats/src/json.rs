//! JSON texts beside the weights, read within limits.
//!
//! A number takes two bytes of text and thirty of memory, so the count of values is bounded as well as the size of the
//! text; a key that stands twice is refused, where the library would keep the last in silence. (It bounds the depth
//! itself.) What the texts mean is the affair of `model` and `tokenizer`.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{Bytes, FormatError, Mapping};

/// The largest text that is read as JSON; the largest known configuration of a tokenizer has 1.2 MB.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// The most values in a text; a configuration that lists 6,400 special tokens has some 50,000.
const VALUES_MAX: usize = 1 << 18;

/// Reads a file as one JSON value, an object at its top.
pub(crate) fn read_object(path: &Path) -> Result<Value, FormatError> {
    let bytes = Bytes::from_mapping(Mapping::open(path)?);
    parse_object(&bytes, &path.display().to_string())
}

/// Reads a file as one JSON value, a list at its top.
pub(crate) fn read_list(path: &Path) -> Result<Vec<Value>, FormatError> {
    let bytes = Bytes::from_mapping(Mapping::open(path)?);
    let file = path.display().to_string();
    match parse(&bytes, &file)? {
        Value::Array(list) => Ok(list),
        _ => Err(FormatError::damaged(&file, "JSON", "a list", "another value")),
    }
}

pub(crate) fn parse_object(text: &[u8], file: &str) -> Result<Value, FormatError> {
    let value = parse(text, file)?;
    if value.is_object() { Ok(value) } else { Err(FormatError::damaged(file, "JSON", "an object", "another value")) }
}

fn parse(text: &[u8], file: &str) -> Result<Value, FormatError> {
    if text.len() > TEXT_BYTES_MAX {
        let got = format!("{} bytes", text.len());
        return Err(FormatError::damaged(file, "size", format!("at most {TEXT_BYTES_MAX} bytes of JSON"), got));
    }
    let left = Cell::new(VALUES_MAX);
    parse_with(text, Bounded { left: &left }).map_err(|error| invalid(file, &error))
}

/// Reads a whole text with a seed: nothing but white space may follow.
pub(crate) fn parse_with<'a, S: DeserializeSeed<'a>>(text: &'a [u8], seed: S) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

pub(crate) fn invalid(file: &str, error: &serde_json::Error) -> FormatError {
    let got: String = error.to_string().chars().take(300).flat_map(char::escape_debug).collect();
    FormatError::damaged(file, "JSON", "a sound text", got)
}

/// Reads one value and all below it, counting each.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("more than {VALUES_MAX} values")));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} a second time")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_library_reads() {
        let text = r#"{"a": [1, -2, 3.5, true, null, "é\n"], "b": {"c": {}}, "rope_theta": 1e6}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse_object(text.as_bytes(), "config.json").unwrap(), expected);
    }

    #[test]
    fn refuses_what_the_library_would_let_through() {
        let check = |text: &str, expected: &str| {
            let error = parse_object(text.as_bytes(), "config.json").unwrap_err().to_string();
            assert!(error.starts_with("config.json: ") && error.contains(expected), "{error}");
        };
        check(r#"{"a": 1, "a": 2}"#, "the key \\\"a\\\" a second time");
        check("[1]", "expected an object, got another value");
        check(&format!("[{}0]", "0,".repeat(VALUES_MAX)), "more than 262144 values");
        check(&format!("{{\"a\": {}", "[".repeat(100_000)), "recursion limit exceeded");
        check(&" ".repeat(TEXT_BYTES_MAX + 1), "at most 16777216 bytes");
        check(r#"{"a": NaN}"#, "expected value");
    }
}
