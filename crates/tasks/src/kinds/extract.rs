//! Extract: an object of some schema out of a text, each of its values with how sure the model is and where it stands.
//!
//! The answer is held to the schema while it is written. A value's confidence is the product of the probabilities of
//! the tokens that made it, but for those that had no alternative; its place is looked for in the text afterwards,
//! because a model that is asked for places invents them.

mod fields;

pub use fields::Field;

use super::{Asking, Kind, KindRow, Prepared, embedded, is_blank, is_marked, object, span_schema};
use crate::asking::{Asker, Written};
use crate::frame::Frame;
use crate::init::{Guess, Sample, quoted};
use crate::leaves;
use crate::reader::{Entry, Section};
use crate::source::Sources;
use crate::task::{DataFiles, Example, read_text};
use crate::{Input, Outcome, Task, TaskError, Template};
use chat::{AnswerFormat, FinishReason, GenerationOptions};
use futures::future::BoxFuture;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "extract",
    about: "an object of a JSON Schema out of a text, each value with its confidence and its place",
    input: crate::input::TEXT,
    keys: &["schema", "fields"],
    read,
    guess,
};

/// Longer files are no schema that a small model could fill in.
const LONGEST_SCHEMA: u64 = 1 << 20;
/// Tokens of an answer where the task says nothing: a small model that goes round in circles ends there, with an error.
const MAX_TOKENS: usize = 1024;
/// A mean probability of a value's tokens under which a value that the text does not have is told in the warnings (LOG.md has
/// how often that is right).
const DOUBTFUL: f64 = 0.9;
/// Characters of a value that a warning shows.
const SHOWN: usize = 60;

/// The settings of a task that extracts.
///
/// Its outcomes have `value`, the object, and `fields`: of each value without parts, by its JSON Pointer,
/// `confidence` (null where the model tells no probabilities) and `span` (null where the text does not have it). A
/// span has `field`, `start` and `end` in bytes, `start_character`, `end_character`, `page` (null where there are
/// none) and `match`: `exact`, `folded` (another case, other blanks) or `normalized` (the same number or date,
/// written otherwise).
#[derive(Debug, Clone, PartialEq)]
pub struct Extract {
    schema: Value,
}

impl Extract {
    /// What a JSON Schema describes; it has to be an object.
    ///
    /// # Errors
    /// What makes it no schema, or no schema of an object.
    pub fn new(schema: Value) -> Result<Extract, TaskError> {
        check_schema(&schema).map_err(TaskError::File)?;
        Ok(Extract { schema })
    }

    /// Fields of an object, each null where a text does not say.
    ///
    /// # Errors
    /// No fields, one without a name, two of the same name, a type that there is not.
    pub fn fields(fields: &[Field]) -> Result<Extract, TaskError> {
        Extract::new(fields::schema_of(fields).map_err(TaskError::File)?)
    }

    /// The schema of what is extracted.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    fn head(&self, instructions: Option<&str>) -> String {
        let mut head = instructions.map(|text| format!("{text}\n\n")).unwrap_or_default();
        head.push_str(
            "Read the text and write a JSON object of what it says. Copy values as they stand in the text.\n",
        );
        let Some(Value::Object(properties)) = self.schema.get("properties") else {
            let _ = write!(head, "The object is of this JSON Schema:\n{}", self.schema);
            return head;
        };
        head.push_str("Fields:\n");
        for (name, property) in properties {
            let described = property.get("description").and_then(Value::as_str);
            let _ = write!(head, "- {name}");
            if let Some(kind) = in_words(property) {
                let _ = write!(head, " ({kind})");
            }
            let _ = match described {
                Some(described) => writeln!(head, ": {described}"),
                None => writeln!(head),
            };
        }
        head.push_str("Where the text does not say, a field is null if it may be.");
        head
    }
}

/// What a field may be, in a word or two; text needs none, and what has parts is told by its schema.
fn in_words(property: &Value) -> Option<String> {
    if let Some(Value::Array(values)) = property.get("enum") {
        let values: Vec<_> = values.iter().map(Value::to_string).collect();
        return Some(format!("one of {}", values.join(", ")));
    }
    if property.get("format").and_then(Value::as_str) == Some("date") {
        return Some("a date as YYYY-MM-DD".to_owned());
    }
    let is = |name: &str| match property.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        _ => false,
    };
    if is("array") || is("object") || property.get("type").is_none() {
        return Some(property.to_string());
    }
    let simple = [("number", "a number"), ("integer", "a whole number"), ("boolean", "true or false")];
    simple.iter().find(|(name, _)| is(name)).map(|(_, words)| (*words).to_owned())
}

fn check_schema(schema: &Value) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return Err(
            "expected a JSON Schema, which is an object\nhint: `{\"type\": \"object\", \"properties\": ..}`".to_owned()
        );
    };
    let is_object = match keywords.get("type") {
        None => true,
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        Some(_) => true,
    };
    if !is_object {
        let hint = "hint: make it the schema of an object that has what you want as a field";
        return Err(format!("expected the schema of an object, got \"type\": {}\n{hint}", keywords["type"]));
    }
    jsonschema::meta::validate(schema).map_err(|error| {
        let at = error.instance_path().to_string();
        let place = if at.is_empty() { "its top".to_owned() } else { at };
        format!("it is no JSON Schema: at {place}: {error}\nhint: see json-schema.org for what may stand there")
    })
}

fn read(mut section: Section<'_>, _: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let schema = match (section.take("schema"), section.take("fields")) {
        (Some(_), Some(entry)) => {
            return Err(entry.wrong("expected `schema` or `fields`, got both\nhint: leave one of them out"));
        }
        (None, Some(entry)) => fields::read(entry)?,
        (Some(entry), None) => read_schema(entry, section.place().folder())?,
        (None, None) => {
            let hint = "hint: add `fields = [\"one\", \"other\"]` to [extract], or `schema = \"file.json\"`";
            return Err(section.wrong(format_args!("nothing is said of what to extract\n{hint}")));
        }
    };
    Ok(Arc::new(Extract { schema }))
}

/// Fields are those of the objects that are right, where a column has such; else the other columns.
fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let expected = sample.object_column();
    let except: Vec<_> = expected.iter().map(String::as_str).collect();
    let text = sample.named(&[crate::input::TEXT]).or_else(|| sample.longest(&except));
    let Some(text) = text else {
        return Err(TaskError::Data("no column looks like a text\nhint: call it `text`".to_owned()));
    };
    let mut types: Map<String, Value> = Map::new();
    match &expected {
        Some(column) => {
            for (name, value) in
                sample.objects(column).into_iter().flatten().filter(|(name, _)| !name.trim().is_empty())
            {
                let kind = fields::type_of(types.get(&name).and_then(Value::as_str), &value);
                types.insert(name, Value::from(kind));
            }
        }
        None => types.extend(sample.columns().into_iter().filter(|name| *name != text).map(|name| (name, Value::Null))),
    }
    if types.is_empty() {
        types.insert("name".to_owned(), Value::Null);
    }
    let types: Vec<_> = types
        .iter()
        .map(|(name, kind)| {
            format!("{} = {}", quoted(name), quoted(kind.as_str().filter(|kind| !kind.is_empty()).unwrap_or("text")))
        })
        .collect();
    let settings = format!(
        "[extract]\n# What to find, each null where a text does not say: a type (text, number, integer, \
         boolean, date), or words\n# that describe it. What has parts needs a JSON Schema instead: schema = \
         \"schema.json\".\nfields = {{ {} }}\n",
        types.join(", ")
    );
    Ok(Guess { input: vec![text], expected, is_label: false, settings })
}

pub(super) fn read_schema(entry: Entry<'_>, folder: &Path) -> Result<Value, TaskError> {
    let whole = entry.wrong("");
    let told = |why: String| match &whole {
        TaskError::File(place) => TaskError::File(format!("{place}{why}")),
        other => other.clone(),
    };
    if !entry.is_text() {
        let schema = entry.free_section()?;
        let fields = schema.entries().map(|entry| Ok((entry.key.clone(), entry.json()?)));
        let schema = Value::Object(fields.collect::<Result<Map<_, _>, TaskError>>()?);
        check_schema(&schema).map_err(told)?;
        return Ok(schema);
    }
    let path = folder.join(entry.text()?);
    let text = read_text(&path, LONGEST_SCHEMA).map_err(|error| told(error.to_string()))?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        told(format!("{}:{line}:{column}: {error}\nhint: a schema is JSON", path.display()))
    })?;
    check_schema(&schema).map_err(|why| told(format!("{}: {why}", path.display())))?;
    Ok(schema)
}

impl Kind for Extract {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        json!({ "schema": self.schema })
    }

    fn outcome_schema(&self) -> Value {
        let about = object(&json!({"confidence": {"type": ["number", "null"]}, "span": span_schema()}));
        object(&json!({
            "value": embedded(&self.schema),
            "fields": {"type": "object", "additionalProperties": about},
        }))
    }

    /// An object, or the JSON of one in a cell.
    fn expected(&self, cell: Value) -> Result<Value, String> {
        let value = match cell {
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|error| format!("expected a JSON object, got {text:?}: {error}"))?
            }
            value => value,
        };
        let validator = jsonschema::validator_for(&self.schema).map_err(|error| error.to_string())?;
        match validator.validate(&value) {
            Ok(()) => Ok(value),
            Err(error) => Err(format!("it is not of the schema: at {:?}: {error}", error.instance_path().to_string())),
        }
    }

    /// No object is written as the mark.
    fn is_unlabelled(&self, cell: &Value) -> bool {
        is_blank(cell) || is_marked(cell)
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        _: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            let format = AnswerFormat::JsonSchema(self.schema.clone());
            let warnings = asker.prepare(&format).await?;
            let validator = jsonschema::validator_for(&self.schema)
                .map_err(|error| TaskError::File(format!("the schema cannot be checked: {error}")))?;
            let frame = Frame::new(self.head(task.instructions.as_deref()), "Text", "JSON");
            let schema = self.schema.clone();
            let asking = Extracting { schema, validator, asker, frame, input: task.input.clone(), format };
            Ok(Prepared { asking: Box::new(asking), warnings, shown: Value::Null })
        })
    }
}

struct Extracting {
    schema: Value,
    validator: Validator,
    asker: Asker,
    frame: Frame,
    input: Template,
    format: AnswerFormat,
}

impl Extracting {
    fn read_answer(&self, written: &Written) -> Result<Value, TaskError> {
        let beginning: String = written.text.chars().take(80).collect();
        if written.reason == FinishReason::Length {
            return Err(TaskError::Output(format!(
                "the answer is incomplete, it ended after {} tokens: {beginning:?}\nhint: raise max_tokens in \
                 [options], or extract less at once",
                written.usage.completion_tokens
            )));
        }
        let value: Value = serde_json::from_str(&written.text)
            .map_err(|error| TaskError::Output(format!("expected JSON, got {beginning:?}: {error}")))?;
        if let Err(error) = self.validator.validate(&value) {
            let at = error.instance_path().to_string();
            return Err(TaskError::Output(format!("the answer is not of the schema: at {at:?}: {error}")));
        }
        Ok(value)
    }

    fn field(written: &Written, value: &Value, place: &std::ops::Range<usize>, sources: &mut Sources<'_>) -> Value {
        let confidence = written.confidence_at(place);
        let span = match value {
            Value::String(text) => sources.span(text),
            Value::Number(number) => sources.span(&number.to_string()),
            _ => Value::Null,
        };
        json!({ "confidence": confidence, "span": span })
    }
}

/// What is to be said of a value that the text does not have, if the model was not sure of it.
fn doubt(pointer: &str, value: &Value, mean_probability: Option<f64>) -> Option<String> {
    mean_probability.filter(|mean| *mean < DOUBTFUL)?;
    let is_said = value.is_string() || value.is_number();
    let value = value.to_string();
    let shown: String = value.chars().take(SHOWN).collect();
    let goes_on = if shown.len() < value.len() { "…" } else { "" };
    is_said.then(|| {
        format!("{pointer:?} may be made up: the text does not have {shown}{goes_on}, and the model is not sure of it")
    })
}

impl Asking for Extracting {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let text = self.input.fill(input)?;
            let mut sources = Sources::new(input, &self.input)?;
            let options = GenerationOptions { top_logprobs: Some(0), ..self.asker.options(MAX_TOKENS) };
            let written = self.asker.write(&self.frame, &text, Some(&self.format), options).await?;
            let value = self.read_answer(&written)?;
            let mut outcome = Outcome::default();
            written.count(&mut outcome);
            outcome.warnings = fields::at_the_bound(&self.schema, &value);
            let mut fields = Map::new();
            for (pointer, place) in leaves::leaves(&written.text) {
                if let Some(leaf) = value.pointer(&pointer) {
                    let field = Self::field(&written, leaf, &place, &mut sources);
                    if field["span"].is_null() && !fields::is_of_a_list(&self.schema, &pointer) {
                        outcome.warnings.extend(doubt(&pointer, leaf, written.mean_probability(&place)));
                    }
                    fields.insert(pointer, field);
                }
            }
            outcome.fields.insert("value".to_owned(), value);
            outcome.fields.insert("fields".to_owned(), Value::Object(fields));
            Ok(outcome)
        })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        Ok(self.frame.shown(&self.input.fill(input)?, self.asker.has_template()))
    }
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
