//! Which alternatives exclude one another, as far as can be proved: then exactly one of them is the same as any of them.
//!
//! ```text
//! kinds     one allows no kind of value (text, number, object ..) that the other does
//! values    both allow a few values, none in common
//! objects   a property that both require has schemas that exclude one another; or one requires what the other forbids
//! ```
//!
//! Works on prepared schemas, whose references are all to definitions. What is not proved is left as it is.

use super::references::is_only_reference;
use serde_json::{Map, Value};

/// Most alternatives that are compared with one another.
const MOST_BRANCHES: usize = 100;

/// Most values that are compared one by one.
const MOST_VALUES: usize = 200;

/// How deep properties are looked into, and references followed.
const DEEPEST: usize = 4;
const MOST_HOPS: usize = 8;

/// Kinds of values, a bit each.
type Kinds = u8;

const NULL: Kinds = 1;
const BOOLEAN: Kinds = 2;
const NUMBER: Kinds = 4;
const TEXT: Kinds = 8;
const LIST: Kinds = 16;
const OBJECT: Kinds = 32;
const ALL: Kinds = 63;

/// Writes `oneOf` as `anyOf` wherever its branches exclude one another, in a schema and all that is in it.
pub(super) fn tell_apart(value: &mut Value, definitions: &Map<String, Value>) {
    match value {
        Value::Object(members) => {
            for (_, member) in members.iter_mut().filter(|(key, _)| !matches!(key.as_str(), "const" | "enum")) {
                tell_apart(member, definitions);
            }
            // A property may have that name; its value is no list.
            let is_proved = members.get("oneOf").and_then(Value::as_array).is_some_and(|branches| {
                branches.len() <= MOST_BRANCHES && all_exclude_one_another(branches, definitions)
            });
            if is_proved && !members.contains_key("anyOf") {
                let renamed = std::mem::take(members).into_iter();
                let rename = |(key, value)| (if key == "oneOf" { "anyOf".to_owned() } else { key }, value);
                *members = renamed.map(rename).collect();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tell_apart(item, definitions)),
        _ => {}
    }
}

fn all_exclude_one_another(branches: &[Value], definitions: &Map<String, Value>) -> bool {
    let later = |index: usize| &branches[index + 1..];
    branches.iter().enumerate().all(|(index, one)| later(index).iter().all(|other| exclude(one, other, definitions, 0)))
}

/// Whether no value is valid against both.
fn exclude(one: &Value, other: &Value, definitions: &Map<String, Value>, depth: usize) -> bool {
    let (one, other) = (target(one, definitions), target(other, definitions));
    if kinds(one, definitions) & kinds(other, definitions) == 0 {
        return true;
    }
    if let (Some(first), Some(second)) = (values(one), values(other)) {
        return first.iter().all(|value| !second.iter().any(|same| is_same(value, same)));
    }
    let are_objects = kinds(one, definitions) == OBJECT && kinds(other, definitions) == OBJECT;
    are_objects && depth < DEEPEST && objects_exclude(one, other, definitions, depth)
}

fn objects_exclude(one: &Value, other: &Value, definitions: &Map<String, Value>, depth: usize) -> bool {
    let told = |required: &str| match (property(one, required), property(other, required)) {
        (Some(first), Some(second)) if requires(one, required) && requires(other, required) => {
            exclude(first, second, definitions, depth + 1)
        }
        _ => {
            (requires(one, required) && forbids(other, required))
                || (requires(other, required) && forbids(one, required))
        }
    };
    required(one).chain(required(other)).any(told)
}

/// What a schema points at, where it says nothing else.
fn target<'a>(mut schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    for _ in 0..MOST_HOPS {
        match is_only_reference(schema).and_then(|name| definitions.get(name)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// The kinds of values that a schema may allow.
fn kinds(schema: &Value, definitions: &Map<String, Value>) -> Kinds {
    let Some(keywords) = schema.as_object() else { return if schema == &Value::Bool(false) { 0 } else { ALL } };
    let mut kinds = match keywords.get("type") {
        Some(Value::String(name)) => kind_named(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).fold(0, |all, name| all | kind_named(name)),
        _ => ALL,
    };
    if let Some(values) = values(schema) {
        kinds &= values.iter().fold(0, |all, value| all | kind_of(value));
    }
    if let Some(Value::Array(branches)) = keywords.get("anyOf") {
        let of_branch = |branch: &Value| match target(branch, definitions).get("anyOf") {
            // No further: it may come back to itself.
            Some(_) => ALL,
            None => kinds_of_plain(target(branch, definitions)),
        };
        kinds &= branches.iter().fold(0, |all, branch| all | of_branch(branch));
    }
    kinds
}

fn kinds_of_plain(schema: &Value) -> Kinds {
    kinds(schema, &Map::new())
}

fn kind_named(name: &str) -> Kinds {
    match name {
        "null" => NULL,
        "boolean" => BOOLEAN,
        "number" | "integer" => NUMBER,
        "string" => TEXT,
        "array" => LIST,
        "object" => OBJECT,
        _ => ALL,
    }
}

fn kind_of(value: &Value) -> Kinds {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(_) => NUMBER,
        Value::String(_) => TEXT,
        Value::Array(_) => LIST,
        Value::Object(_) => OBJECT,
    }
}

/// The few values that a schema allows, where it names them.
fn values(schema: &Value) -> Option<&[Value]> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(std::slice::from_ref(only)),
        (None, Some(Value::Array(values))) if values.len() <= MOST_VALUES => Some(values),
        _ => None,
    }
}

/// Numbers are compared by value: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(first), Some(second)) => first == second,
        // What is in them may be written in two ways; to take two for the same proves nothing wrong.
        _ => one == other || (one.is_array() && other.is_array()) || (one.is_object() && other.is_object()),
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn requires(schema: &Value, name: &str) -> bool {
    required(schema).any(|required| required == name)
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// Whether an object that is valid cannot have this property.
fn forbids(schema: &Value, name: &str) -> bool {
    match property(schema, name) {
        Some(own) => own == &Value::Bool(false),
        None => {
            schema.get("additionalProperties") == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_proved_is_told_apart() {
        let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties});
        let closed = |name: &str| json!({"type": "object", "required": [name], "properties": {name: {}}, "additionalProperties": false});
        for (one, other, expected) in [
            (json!({"type": "string"}), json!({"type": ["null", "array"]}), true),
            (json!({"type": "integer"}), json!({"type": "number"}), false),
            (json!({"type": "string"}), json!({}), false),
            (json!({"type": "string"}), json!({"const": 1}), true),
            (json!({"enum": ["a", 1]}), json!({"enum": ["b", 2.0]}), true),
            (json!({"enum": [1]}), json!({"const": 1.0}), false),
            (json!({"const": {"a": 1}}), json!({"const": {"a": 1.0}}), false),
            (json!({"anyOf": [{"type": "null"}, {"const": 5}]}), json!({"type": "string"}), true),
            (json!({"anyOf": [{"type": "null"}, {}]}), json!({"type": "string"}), false),
            (object(&["k"], json!({"k": {"const": 1}})), object(&["k"], json!({"k": {"const": 2}})), true),
            (object(&["k"], json!({"k": {"const": 1}})), object(&[], json!({"k": {"const": 2}})), false),
            (object(&["a"], json!({})), object(&["b"], json!({})), false),
            (closed("a"), closed("b"), true),
            (closed("a"), object(&["a"], json!({})), false),
            // Without a type a value that is no object is valid against both.
            (
                json!({"required": ["k"], "properties": {"k": {"const": 1}}}),
                object(&["k"], json!({"k": {"const": 2}})),
                false,
            ),
            (json!(false), json!({}), true),
        ] {
            let none = Map::new();
            assert_eq!(exclude(&one, &other, &none, 0), expected, "{one} {other}");
            assert_eq!(exclude(&other, &one, &none, 0), expected, "{other} {one}");
        }
    }
}
