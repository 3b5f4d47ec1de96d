//! What the ledger can give back as it was given: bounds on outcomes, checked before they are recorded.

use crate::Outcome;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// JSON that lies deeper in itself is not read back: below the depth that readers of JSON refuse (128), with room for
/// what outcomes are wrapped in.
const DEEPEST: usize = 100;

/// More than any model can do in a row; sums over two billion rows of it are exact.
const MOST_TOKENS: usize = 1 << 32;

/// The most bytes of fields or warnings as JSON. The ledger takes 256 MiB in a row: room for both and for what else it
/// says.
const MOST_BYTES: usize = 80 << 20;

/// Why an outcome cannot be recorded; none if it can.
pub(super) fn fault_of_outcome(outcome: &Outcome) -> Option<String> {
    let most = outcome.prompt_tokens.max(outcome.cached_tokens).max(outcome.completion_tokens);
    if most > MOST_TOKENS {
        return Some(format!("expected an outcome of at most {MOST_TOKENS} tokens, got {most}"));
    }
    fault_of_fields(&outcome.fields).or_else(|| fault_of_size(&outcome.warnings, MOST_BYTES))
}

/// Why fields cannot be recorded; none if they can.
fn fault_of_fields(fields: &Map<String, Value>) -> Option<String> {
    let is_too_deep = fields.values().any(|value| !fits(value, DEEPEST));
    if is_too_deep {
        return Some(format!("expected JSON at most {DEEPEST} levels deep, got deeper"));
    }
    fault_of_size(fields, MOST_BYTES)
}

fn fault_of_size(value: &impl Serialize, most: usize) -> Option<String> {
    let is_too_large = serde_json::to_writer(Room(most), value).is_err();
    is_too_large.then(|| format!("expected JSON of at most {most} bytes, got more"))
}

/// Takes so many bytes and keeps none of them.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Looks no deeper than it allows, so that it needs no more stack for hostile JSON than for honest.
fn fits(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(items), Some(rest)) => items.iter().all(|item| fits(item, rest)),
        (Value::Object(fields), Some(rest)) => fields.values().all(|item| fits(item, rest)),
        (Value::Array(_) | Value::Object(_), None) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Outcome {
        let value = (0..levels).fold(Value::Null, |value, _| Value::from(vec![value]));
        Outcome { fields: Map::from_iter([("a".to_owned(), value)]), ..Outcome::default() }
    }

    #[test]
    fn what_passes_can_be_read_back_and_what_is_deeper_is_named() {
        assert_eq!(fault_of_outcome(&nested(DEEPEST)), None);
        let text = serde_json::json!({"fields": nested(DEEPEST).fields}).to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        let expected = "expected JSON at most 100 levels deep, got deeper";
        assert_eq!(fault_of_outcome(&nested(DEEPEST + 1)).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_larger_than_the_ledger_takes_is_named() {
        let fields = serde_json::json!({"a": "b"});
        assert_eq!(fault_of_size(&fields, 9), None);
        assert_eq!(fault_of_size(&fields, 8).as_deref(), Some("expected JSON of at most 8 bytes, got more"));
    }

    #[test]
    fn tokens_that_nobody_can_have_computed_are_named() {
        let outcome = Outcome { cached_tokens: usize::MAX, ..Outcome::default() };
        let expected = format!("expected an outcome of at most 4294967296 tokens, got {}", usize::MAX);
        assert_eq!(fault_of_outcome(&outcome), Some(expected));
    }
}
