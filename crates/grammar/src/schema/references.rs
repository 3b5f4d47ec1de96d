//! What a `$ref` may name: a place in the same document, by pointer, anchor or id. Nothing is fetched.

use crate::GrammarError;
use crate::schema::below;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::HashMap;

/// Most schemas that are pointed at.
const MOST_TARGETS: usize = 5_000;

/// Keywords whose values are no schemas.
const DATA: &[&str] = &["const", "enum", "default", "examples", "example"];

/// Deepest value that is looked into for ids.
const DEEPEST: usize = 256;

/// The references of a document, numbered in the order in which they were met.
pub(super) struct References<'a> {
    root: &'a Value,
    /// Pointers by id, and by `#` and anchor.
    named: HashMap<String, String>,
    /// Pointers, as URI fragments.
    targets: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl<'a> References<'a> {
    pub(super) fn of(root: &'a Value) -> Result<References<'a>, GrammarError> {
        let mut named = HashMap::new();
        note_names(root, "#", 0, &mut named)?;
        Ok(References { root, named, targets: Vec::new(), numbers: HashMap::new() })
    }

    /// The name under which the definitions have what a reference points at. `at` is where the reference stands.
    pub(super) fn name(&mut self, reference: &Value, at: &str) -> Result<usize, GrammarError> {
        let Some(text) = reference.as_str() else {
            return Err(GrammarError::schema(at, format!("expected a text, got {reference}")));
        };
        if (text.is_empty() || text.starts_with('#')) && self.is_below_an_id(at) {
            let reason = "a reference to its own document, in a part that has an id of its own, is not followed";
            return Err(GrammarError::schema(at, reason));
        }
        let (document, fragment) = text.split_once('#').unwrap_or((text, ""));
        let base = match document {
            "" => Some("#"),
            id => self.named.get(id).map(String::as_str),
        };
        let Some(base) = base else {
            let reason = format!("{text:?} is in no part of this document, and nothing is fetched");
            return Err(GrammarError::schema(at, reason));
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let pointer = match fragment.as_ref() {
            "" => Some(base.to_owned()),
            pointer if pointer.starts_with('/') => Some(format!("{base}{pointer}")),
            anchor => self.named.get(&format!("#{anchor}")).cloned(),
        };
        let pointer = pointer.filter(|pointer| self.target(pointer).is_ok());
        let missing = || GrammarError::schema(at, format!("{text:?} names nothing in this document"));
        let pointer = pointer.ok_or_else(missing)?;
        if let Some(number) = self.numbers.get(&pointer) {
            return Ok(*number);
        }
        let number = self.targets.len();
        if number >= MOST_TARGETS {
            return Err(GrammarError::schema(at, format!("there are more than {MOST_TARGETS} references")));
        }
        self.targets.push(pointer.clone());
        self.numbers.insert(pointer, number);
        Ok(number)
    }

    /// The target of this number, if there is one.
    pub(super) fn next(&self, number: usize) -> Option<(usize, String)> {
        self.targets.get(number).map(|target| (number, target.clone()))
    }

    /// Whether a part around a place, other than the whole, has an id: references in it begin there.
    fn is_below_an_id(&self, at: &str) -> bool {
        let has_id = |value: &Value| ["$id", "id"].iter().any(|key| value.get(key).is_some_and(Value::is_string));
        let mut ends = at.match_indices('/').map(|(end, _)| &at[1..end]).skip(1);
        ends.any(|pointer| self.root.pointer(pointer).is_some_and(has_id))
    }

    /// What a pointer points at.
    pub(super) fn target(&self, pointer: &str) -> Result<&'a Value, GrammarError> {
        let found = pointer.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| GrammarError::schema(pointer, "there is nothing here"))
    }
}

/// The name of the definition that a prepared schema points at, where it says nothing else.
pub(super) fn is_only_reference(schema: &Value) -> Option<&str> {
    let keywords = schema.as_object().filter(|keywords| keywords.len() == 1)?;
    keywords.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Notes ids and anchors of a value and what is in it.
fn note_names(value: &Value, at: &str, depth: usize, named: &mut HashMap<String, String>) -> Result<(), GrammarError> {
    if depth > DEEPEST {
        return Err(GrammarError::schema(at, format!("the document is nested more than {DEEPEST} deep")));
    }
    match value {
        Value::Object(members) => {
            for key in ["$id", "id"] {
                if let Some(id) = members.get(key).and_then(Value::as_str).filter(|id| !id.is_empty()) {
                    named.entry(id.trim_end_matches('#').to_owned()).or_insert_with(|| at.to_owned());
                }
            }
            if let Some(anchor) = members.get("$anchor").and_then(Value::as_str) {
                named.entry(format!("#{anchor}")).or_insert_with(|| at.to_owned());
            }
            let schemas = members.iter().filter(|(name, _)| !DATA.contains(&name.as_str()));
            schemas.into_iter().try_for_each(|(name, member)| note_names(member, &below(at, name), depth + 1, named))
        }
        Value::Array(items) => {
            let each = |(index, item)| note_names(item, &format!("{at}/{index}"), depth + 1, named);
            items.iter().enumerate().try_for_each(each)
        }
        _ => Ok(()),
    }
}
