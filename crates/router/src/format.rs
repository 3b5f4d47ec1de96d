//! What an answer is held to, and the JSON around it where a protocol holds nothing but JSON objects.
//!
//! ```text
//! choices a, b  ->  {"answer": "a"}  ->  a
//! ```
//!
//! Providers differ in how well they hold an answer to a schema, and some only try to. So every answer is checked when
//! it is whole; one that is not what was asked for is an error.

use chat::{AnswerFormat, ChatError, TokenLogprob};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::ops::Range;

/// The key of the envelope.
const ANSWER: &str = "answer";
/// Where an object keeps schemas that others refer to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// What the text of an answer is held to.
#[derive(Debug)]
pub(crate) enum Held {
    /// Nothing.
    Free,
    /// JSON, of a schema where there is one; inside of the envelope where it is wrapped.
    Json { validator: Option<Box<Validator>>, is_wrapped: bool },
    /// One of these texts, inside of the envelope.
    Choice(Vec<String>),
}

/// A format as a protocol sends it: the schema, if it is more than any object, and what the answer is checked by.
pub(crate) struct Sent {
    pub(crate) schema: Option<Value>,
    pub(crate) held: Held,
}

/// How a format is sent. `objects_only`: the protocol takes schemas of objects alone; others go into an envelope.
///
/// # Errors
/// Formats that are no JSON Schema, schemas that are none, and those that an envelope would break.
pub(crate) fn sent(name: &str, format: Option<&AnswerFormat>, objects_only: bool) -> Result<Sent, ChatError> {
    let decline = |what| Err(ChatError::Unsupported { model: name.to_owned(), what });
    match format {
        None => Ok(Sent { schema: None, held: Held::Free }),
        Some(AnswerFormat::JsonObject) => Ok(Sent {
            schema: None,
            held: Held::Json { validator: Some(validator(name, &json!({"type": "object"}))?), is_wrapped: false },
        }),
        Some(AnswerFormat::JsonSchema(schema)) => {
            let validator = Some(validator(name, schema)?);
            let is_wrapped = objects_only && schema.get("type") != Some(&json!("object"));
            let schema = if is_wrapped { wrapped(name, schema)? } else { schema.clone() };
            Ok(Sent { schema: Some(schema), held: Held::Json { validator, is_wrapped } })
        }
        Some(AnswerFormat::Choices(choices)) => {
            if choices.is_empty() {
                return Err(ChatError::InvalidRequest("expected at least one choice, got none".to_owned()));
            }
            let schema = envelope(json!({"type": "string", "enum": choices}), Map::new());
            Ok(Sent { schema: Some(schema), held: Held::Choice(choices.clone()) })
        }
        Some(AnswerFormat::Regex(_)) => decline("answers held to a regular expression"),
        Some(AnswerFormat::Lark(_) | AnswerFormat::Gbnf(_)) => decline("answers held to a grammar"),
    }
}

fn validator(name: &str, schema: &Value) -> Result<Box<Validator>, ChatError> {
    let validator = jsonschema::validator_for(schema);
    validator
        .map(Box::new)
        .map_err(|error| ChatError::InvalidRequest(format!("{name}: expected a JSON Schema: {error}")))
}

fn envelope(schema: Value, definitions: Map<String, Value>) -> Value {
    let mut object = json!({
        "type": "object", "properties": {ANSWER: schema}, "required": [ANSWER], "additionalProperties": false
    });
    for (key, value) in definitions {
        object[key] = value;
    }
    object
}

/// A schema inside of the envelope, its definitions where references find them.
fn wrapped(name: &str, schema: &Value) -> Result<Value, ChatError> {
    if refers_elsewhere(schema) {
        return Err(ChatError::Unsupported {
            model: name.to_owned(),
            what: "a schema that refers to its own root and is not of an object (type object)",
        });
    }
    let (mut schema, mut definitions) = (schema.clone(), Map::new());
    if let Some(object) = schema.as_object_mut() {
        for key in DEFINITIONS {
            definitions.extend(object.shift_remove(key).map(|value| (key.to_owned(), value)));
        }
    }
    Ok(envelope(schema, definitions))
}

/// Whether a reference leads to another place than the definitions, which an envelope would move.
fn refers_elsewhere(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => object.iter().any(|(key, value)| {
            let is_elsewhere = |to: &str| {
                to.starts_with('#') && !DEFINITIONS.iter().any(|known| to.starts_with(&format!("#/{known}/")))
            };
            (key == "$ref" && value.as_str().is_some_and(is_elsewhere)) || refers_elsewhere(value)
        }),
        Value::Array(items) => items.iter().any(refers_elsewhere),
        _ => false,
    }
}

/// Whether a schema is of the subset that some providers can hold to without fail: all objects are closed, and all of
/// their properties required.
pub(crate) fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let properties = object.get("properties").and_then(Value::as_object);
            let required = object.get("required").and_then(Value::as_array);
            let is_required = |key: &String| required.is_some_and(|keys| keys.iter().any(|one| one == key.as_str()));
            let is_object = properties.is_some() || object.get("type") == Some(&json!("object"));
            let is_closed = object.get("additionalProperties") == Some(&Value::Bool(false))
                && properties.is_some_and(|properties| properties.keys().all(is_required));
            (!is_object || is_closed) && object.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        _ => true,
    }
}

impl Held {
    /// Whether text can be shown before all of it is there.
    pub(crate) fn flows(&self) -> bool {
        matches!(self, Held::Free | Held::Json { is_wrapped: false, .. })
    }

    /// The answer in a whole text, where it is not the text itself.
    ///
    /// # Errors
    /// What came is not what was asked for; the beginning of it is shown.
    pub(crate) fn check(&self, name: &str, text: &str) -> Result<Option<String>, ChatError> {
        let beginning: String = text.chars().take(80).collect();
        let bad = |expected: &str, why: String| {
            Err(ChatError::BadOutput(format!("{name}: expected {expected}, got {beginning:?}{why}")))
        };
        if matches!(self, Held::Free) {
            return Ok(None);
        }
        let value = match serde_json::from_str::<Value>(text) {
            Ok(value) => value,
            Err(error) => return bad("JSON", format!(": {error}")),
        };
        match self {
            Held::Free => Ok(None),
            Held::Choice(choices) => match value.get(ANSWER).and_then(Value::as_str) {
                Some(answer) if choices.iter().any(|choice| choice == answer) => Ok(Some(answer.to_owned())),
                _ => bad("one of the choices", String::new()),
            },
            Held::Json { validator, is_wrapped } => {
                let Some(inner) = (if *is_wrapped { value.get(ANSWER) } else { Some(&value) }) else {
                    return bad("an answer in its envelope", String::new());
                };
                if let Some(Err(error)) = validator.as_ref().map(|validator| validator.validate(inner)) {
                    let at = error.instance_path().to_string();
                    return bad("JSON of the schema", format!(": at {at:?}: {error}"));
                }
                Ok(is_wrapped.then(|| inner.to_string()))
            }
        }
    }
}

/// The tokens that made an answer inside of its envelope, those at its ends cut to it. None where the tokens are not
/// the text, or the text writes the answer in another way than we do.
pub(crate) fn tokens_of(answer: &str, text: &str, tokens: &[TokenLogprob]) -> Vec<TokenLogprob> {
    let is_whole = tokens.iter().flat_map(|token| &token.bytes).eq(text.as_bytes());
    let quoted = Value::from(answer).to_string();
    let Some(start) =
        text.rfind(&quoted).map(|quote| quote + 1).filter(|_| is_whole && quoted.len() == answer.len() + 2)
    else {
        return Vec::new();
    };
    let place = start..start + answer.len();
    let (mut found, mut at) = (Vec::new(), 0);
    for token in tokens {
        let own = at..at + token.bytes.len();
        at = own.end;
        let inside: Range<usize> = own.start.max(place.start)..own.end.min(place.end);
        if inside.start < inside.end {
            let bytes = text.as_bytes()[inside].to_vec();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.push(TokenLogprob { text, bytes, ..token.clone() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(format: AnswerFormat) -> Sent {
        sent("p/m", Some(&format), true).unwrap()
    }

    #[test]
    fn choices_go_out_as_an_enum_and_come_back_as_themselves() {
        let sent = held(AnswerFormat::Choices(vec!["a".into(), "say \"b\"".into()]));
        let schema = sent.schema.unwrap();
        assert_eq!(schema["properties"]["answer"]["enum"], json!(["a", "say \"b\""]));
        assert!(is_strict(&schema) && !sent.held.flows());
        assert_eq!(sent.held.check("p/m", r#"{"answer": "say \"b\""}"#).unwrap(), Some("say \"b\"".to_owned()));
        let error = sent.held.check("p/m", r#"{"answer": "c"}"#).unwrap_err();
        assert_eq!(error.to_string(), r#"p/m: expected one of the choices, got "{\"answer\": \"c\"}""#);
        let error = sent.held.check("p/m", "a").unwrap_err().to_string();
        assert!(error.starts_with("p/m: expected JSON, got \"a\": expected value"), "{error}");
    }

    #[test]
    fn schemas_of_no_object_are_wrapped_with_their_definitions_in_reach() {
        let schema = json!({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}});
        let sent = held(AnswerFormat::JsonSchema(schema));
        assert_eq!(sent.schema.unwrap()["$defs"], json!({"n": {"type": "number"}}));
        assert_eq!(sent.held.check("p/m", r#"{"answer":[1, 2]}"#).unwrap(), Some("[1,2]".to_owned()));
        let error = sent.held.check("p/m", r#"{"answer":["x"]}"#).unwrap_err().to_string();
        assert!(error.contains("expected JSON of the schema") && error.contains("at \"/0\""), "{error}");
        let around = json!({"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}]});
        let Err(error) = super::sent("p/m", Some(&AnswerFormat::JsonSchema(around)), true) else { panic!() };
        assert!(error.to_string().contains("refers to its own root"), "{error}");
    }

    #[test]
    fn what_cannot_be_held_to_is_refused() {
        for (format, what) in [
            (AnswerFormat::Regex("a".into()), "p/m does not support answers held to a regular expression"),
            (AnswerFormat::Gbnf("root ::= \"a\"".into()), "p/m does not support answers held to a grammar"),
            (AnswerFormat::Lark("start: \"a\"".into()), "p/m does not support answers held to a grammar"),
            (AnswerFormat::Choices(Vec::new()), "expected at least one choice, got none"),
        ] {
            let Err(error) = sent("p/m", Some(&format), false) else { panic!("{what}") };
            assert_eq!(error.to_string(), what);
        }
        let Err(error) = sent("p/m", Some(&AnswerFormat::JsonSchema(json!({"type": 7}))), false) else { panic!() };
        assert!(error.to_string().starts_with("p/m: expected a JSON Schema: "), "{error}");
    }

    #[test]
    fn only_closed_objects_are_strict() {
        assert!(!is_strict(&json!({"type": "object", "properties": {"a": {}}, "required": ["a"]})));
        assert!(!is_strict(&json!({"type": "object", "additionalProperties": false, "properties": {"a": {}}})));
        assert!(is_strict(&json!({"type": "string"})));
    }

    #[test]
    fn the_tokens_of_an_answer_are_cut_to_it() {
        let token = |text: &str, logprob| TokenLogprob {
            id: 0,
            text: text.to_owned(),
            bytes: text.as_bytes().to_vec(),
            logprob,
            top: Vec::new(),
        };
        let tokens = [token("{\"answer\":", -9.0), token("\"bl", -1.0), token("ue\"", -2.0), token("}", -9.0)];
        let text = "{\"answer\":\"blue\"}";
        let found: Vec<_> =
            tokens_of("blue", text, &tokens).into_iter().map(|token| (token.text, token.logprob)).collect();
        assert_eq!(found, [("bl".to_owned(), -1.0), ("ue".to_owned(), -2.0)]);
        assert!(tokens_of("blue", text, &tokens[1..]).is_empty(), "they are not the text");
    }
}
