//! The body of a request to a task, checked against the fields that the task reads.
//!
//! A field that is missing or unknown is an error of the whole request: nothing was asked of the model yet, and the
//! next request would be as wrong.

use crate::failure::{Failure, nearest_hint};
use crate::served::INPUTS;
use serde_json::{Map, Value};
use tasks::{Input, Task};

/// Most inputs a request.
pub(super) const MOST_INPUTS: usize = 1024;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// One input.
    One(Input),
    /// Several; outcomes come in their order.
    Several(Vec<Input>),
}

impl Asked {
    /// Checks every field.
    pub(super) fn of(task: &Task, mut body: Map<String, Value>) -> Result<Asked, Failure> {
        let Some(inputs) = body.remove(INPUTS) else { return Ok(Asked::One(input(task, "", body)?)) };
        if let Some(other) = body.keys().next() {
            let message =
                format!("{other}: expected no field beside `{INPUTS}`\nhint: put fields into each of its inputs");
            return Err(Failure::field(other.clone(), message));
        }
        let Value::Array(inputs) = inputs else {
            let message = format!("{INPUTS}: expected a list of inputs, got {}", in_words(&inputs));
            return Err(Failure::field(INPUTS, message));
        };
        if !(1..=MOST_INPUTS).contains(&inputs.len()) {
            let message = format!("{INPUTS}: expected 1 to {MOST_INPUTS}, got {}", inputs.len());
            return Err(Failure::field(INPUTS, message));
        }
        let one = |(index, one): (usize, Value)| {
            let at = format!("{INPUTS}[{index}]");
            match one {
                Value::Object(fields) => input(task, &format!("{at}."), fields),
                other => {
                    let message = format!("{at}: expected an object, got {}", in_words(&other));
                    Err(Failure::field(at, message))
                }
            }
        };
        Ok(Asked::Several(inputs.into_iter().enumerate().map(one).collect::<Result<_, _>>()?))
    }
}

/// One input. `at` is what its fields begin with in messages.
fn input(task: &Task, at: &str, fields: Map<String, Value>) -> Result<Input, Failure> {
    let (needed, optional) = (task.fields(), task.optional_fields());
    let known = || needed.iter().chain(&optional).copied();
    if let Some(unknown) = fields.keys().find(|field| !known().any(|one| one == field.as_str())) {
        let names: Vec<String> = known().map(|name| format!("`{name}`")).collect();
        let expected = if names.is_empty() { "no fields".to_owned() } else { names.join(", ") };
        let hint = nearest_hint(unknown, known()).unwrap_or_default();
        let message = format!("{at}{unknown}: unknown field `{unknown}`, expected {expected}{hint}");
        return Err(Failure::field(format!("{at}{unknown}"), message));
    }
    match needed.iter().find(|field| !fields.contains_key(**field)) {
        Some(missing) => {
            let path = format!("{at}{missing}");
            Err(Failure::field(path.clone(), format!("{path}: missing field `{missing}`, which the task reads")))
        }
        None => Ok(Input { fields, pages: Vec::new() }),
    }
}

fn in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
