//! The kinds of tasks: one file and one line of the table each.
//!
//! A kind is the settings of its own table in a task file. Made ready for a model, it becomes an [`Asking`], which
//! does one input after another. Everything that all inputs of a task have in common comes first in its prompts
//! (`frame.rs`), so that a model reads it once.

mod answer;
mod classify;
mod complete;
mod extract;
mod generate;
mod summarize;

pub use answer::Answer;
pub use classify::{Classify, Label};
pub use complete::{Complete, CompletionEnd, cursor};
pub use extract::{Extract, Field};
pub use generate::Generate;
pub use summarize::Summarize;

use crate::asking::Asker;
use crate::init::{Guess, Sample};
use crate::labels::UNLABELLED;
use crate::reader::Section;
use crate::seeded::hex_digest;
use crate::task::{DataFiles, Example};
use crate::{Input, Outcome, Task, TaskError};
use chat::ChooseResponse;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// Reads a kind's own table of a task file.
type Read = fn(Section<'_>, &DataFiles) -> Result<Arc<dyn Kind>, TaskError>;

/// A kind of task, as task files name it.
#[derive(Debug)]
pub struct KindRow {
    /// The value of `kind`, and the name of the table with its settings.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The field that an input's text is in where the task has no template.
    pub input: &'static str,
    /// The keys of its table.
    pub(crate) keys: &'static [&'static str],
    pub(crate) read: Read,
    /// What it makes of a table that a task begins with.
    pub(crate) guess: fn(&Sample<'_>) -> Result<Guess, TaskError>,
}

/// Every kind.
pub static KINDS: [&KindRow; 6] =
    [&classify::ROW, &extract::ROW, &summarize::ROW, &answer::ROW, &complete::ROW, &generate::ROW];

/// The schema of an object that has all these fields and no others.
fn object(fields: &Value) -> Value {
    let names: Vec<&String> = fields.as_object().into_iter().flat_map(Map::keys).collect();
    json!({"type": "object", "properties": fields, "required": names, "additionalProperties": false})
}

/// A schema as a part of another one: what it refers to stands in itself, so that it needs an id of its own (JSON
/// Schema 2020-12, core, section 8.2.1).
fn embedded(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let text = schema.to_string();
    if let Value::Object(keywords) = &mut schema
        && text.contains("\"$ref\"")
        && !keywords.contains_key("$id")
    {
        keywords.insert("$id".to_owned(), Value::from(format!("urn:bantam:schema:{}", hex_digest(&text))));
    }
    schema
}

/// The schema of a place in an input ([`crate::source::span`]), null where there is none.
fn span_schema() -> Value {
    let count = json!({"type": "integer"});
    let mut span = object(&json!({
        "field": {"type": "string"},
        "start": count,
        "end": count,
        "start_character": count,
        "end_character": count,
        "page": {"type": ["integer", "null"]},
        "match": {"enum": ["exact", "folded", "normalized"]},
    }));
    span["type"] = json!(["object", "null"]);
    span
}

/// Whether a cell holds nothing.
fn is_blank(cell: &Value) -> bool {
    cell.is_null() || cell.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Whether a cell holds the mark of rows that nobody has answered yet.
fn is_marked(cell: &Value) -> bool {
    cell.as_str().is_some_and(|text| text.trim() == UNLABELLED)
}

/// The settings of a task of some kind.
pub trait Kind: Any + Debug + Send + Sync {
    /// Its line of the table.
    fn row(&self) -> &'static KindRow;

    /// All settings that outcomes depend on, for the fingerprint.
    fn settings(&self) -> Value;

    /// Fields that are read of an input beside those of the task's template.
    fn fields(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Fields that are read of those inputs that have them.
    fn optional_fields(&self) -> Vec<&str> {
        Vec::new()
    }

    /// How many examples are shown to the model.
    fn shots(&self) -> usize {
        0
    }

    /// The JSON Schema of an outcome's fields, which stand in it in their order.
    fn outcome_schema(&self) -> Value;

    /// The right outcome, as a cell of a table has it; the text of the error says what was expected.
    fn expected(&self, cell: Value) -> Result<Value, String> {
        Ok(cell)
    }

    /// Whether a cell says that nobody has answered yet (`labels.rs`): an empty one does, unless nothing may be right.
    fn is_unlabelled(&self, cell: &Value) -> bool {
        is_blank(cell)
    }

    /// The same with a model. Examples are those that may be shown to it.
    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        examples: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>>;
}

/// What a kind makes of itself and a model.
pub struct Prepared {
    /// Does the inputs.
    pub asking: Box<dyn Asking>,
    /// What the caller should know, once for all inputs.
    pub warnings: Vec<String>,
    /// The examples that the model is shown, for the fingerprint.
    pub shown: Value,
}

/// A kind with its model.
pub trait Asking: Send + Sync {
    /// Does one input.
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>>;

    /// How likely a text is in the place of an answer, and the bytes that were scored.
    fn likelihood<'a>(
        &'a self,
        input: &'a Input,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(ChooseResponse, usize), TaskError>> {
        let _ = (input, text);
        let reason = "how likely a text is can be asked of tasks of kind `generate` and `complete`";
        Box::pin(std::future::ready(Err(TaskError::File(reason.to_owned()))))
    }

    /// The prompt that an input makes, or the first where it takes several.
    fn preview(&self, input: &Input) -> Result<String, TaskError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Work;
    use crate::testing::Scripted;
    use chat::AnswerFormat;
    use futures::executor::block_on;

    fn check(task: &Task, model: Scripted, input: Value) {
        let schema = task.outcome_schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let input = Input { fields: input.as_object().unwrap().clone(), pages: Vec::new() };
        let ready = block_on(task.ready(Arc::new(model), &[])).unwrap();
        let outcome = Value::Object(block_on(ready.ask(&input)).unwrap().fields);
        let errors: Vec<_> = validator.iter_errors(&outcome).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{outcome} {schema}");
        assert!(!validator.is_valid(&json!({"other": 1})), "{schema}");
    }

    fn classify() -> Classify {
        let label = |name: &str| Label { name: name.to_owned(), description: None };
        Classify::new(vec![label("bug"), label("question")]).unwrap()
    }

    #[test]
    fn outcomes_are_of_the_schema_that_tells_them() {
        let text = json!({"text": "It costs 5."});
        let choosing = || Scripted::choosing(|_, options| vec![0.5; options.len()]);
        check(&Task::new("t", classify()), Scripted::saying("bug"), text.clone());
        let mut none = classify();
        (none.none_of_these, none.all_scores) = (Some("neither".to_owned()), true);
        check(&Task::new("t", none), choosing(), text.clone());
        let mut several = classify();
        several.several = true;
        check(&Task::new("t", several), choosing(), text.clone());
        let price = || Scripted::saying("{\"price\": 5}");
        let schema = json!({
            "type": "object", "properties": {"price": {"$ref": "#/$defs/price"}}, "$defs": {"price": {"type": "integer"}},
        });
        check(&Task::new("t", Extract::new(schema.clone()).unwrap()), price(), text.clone());
        check(&Task::new("t", Summarize::default()), Scripted::saying("It has a price."), text.clone());
        check(&Task::new("t", Answer::freely()), Scripted::saying("5"), json!({"question": "How much?"}));
        let answer = Scripted::saying("{\"quote\": \"costs 5\", \"answer\": \"5\"}");
        check(&Task::new("t", Answer::from_document("It costs 5.")), answer, json!({"question": "How much?"}));
        check(&Task::new("t", Complete::default()), Scripted::saying("1\n"), json!({"prefix": "a = "}));
        check(&Task::new("t", Generate::default()), Scripted::saying("Hello"), text.clone());
        let held = Generate { format: Some(AnswerFormat::JsonSchema(schema)) };
        check(&Task::new("t", held), price(), text.clone());
        let choices = Generate { format: Some(AnswerFormat::Choices(vec!["yes".to_owned()])) };
        check(&Task::new("t", choices), Scripted::saying("yes"), text);
    }

    #[test]
    fn the_suffix_of_a_completion_is_read_where_there_is_one() {
        assert_eq!(Task::new("t", Complete::default()).optional_fields(), ["suffix"]);
        let named = Complete { suffix: Some("after".to_owned()), ..Complete::default() };
        let task = Task::new("t", named);
        assert_eq!((task.fields(), task.optional_fields()), (vec!["prefix", "after"], vec![]));
    }

    #[test]
    fn examples_are_read_where_they_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.csv"), "text,label\nIt broke,bug\nHow?,question\n").unwrap();
        let file = |shots: usize| {
            let text = format!(
                "kind = \"classify\"\n[data]\ntrain = \"train.csv\"\nexpected = \"label\"\n[classify]\n\
                 labels = [\"bug\", \"question\"]\nshots = {shots}\n"
            );
            Task::parse(&text, &folder.path().join("triage.toml")).unwrap()
        };
        let examples = file(2).shown_examples().unwrap();
        assert_eq!(examples.iter().map(|one| one.expected.clone()).collect::<Vec<_>>(), ["bug", "question"]);
        assert_eq!(file(0).shown_examples().unwrap(), []);
        std::fs::write(folder.path().join("train.csv"), "text,label\nIt broke,fault\n").unwrap();
        let error = file(1).shown_examples().unwrap_err().to_string();
        assert!(
            error.ends_with("train.csv, row 1: column \"label\": \"fault\" is not one of the labels: bug, question"),
            "{error}"
        );
    }
}
