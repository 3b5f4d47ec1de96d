//! The values of fields by where they stand: expressions find what could be a value, and what stands around those that were
//! right in train says which it is.
//!
//! Every candidate of a text (`nearest/candidates.rs`) is a row of what is noticed of it, and a field is a class that one
//! candidate has: the one whose text is the field's value, but for blanks and case, or whose number is. A hyperplane for each
//! field is learned (`separators.rs`), and a text's value is the candidate that lies farthest on its side.
//!
//! It fills in fields of the object's top level that are texts or numbers, as they stand in the text: a date is not written
//! another way. Others, and those whose value stood in no text of train, are null or left out. How sure it is and where the
//! value stands it does not say.

mod candidates;

use super::separators::{Problem, Separators};
use super::sparse::Rows;
use super::{BaselineError, BaselineRow, Learn, Lesson};
use candidates::{Candidate, as_number, candidates};
use futures::future::BoxFuture;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};
use tasks::{Example, Extract, Input, Outcome, TaskError, Template, Work};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "nearest",
    about: "fields by expressions, and by the labels and places that they had in train",
    kinds: &["extract"],
    learn: Learn::Alone(learn),
};

struct Nearest {
    input: Template,
    fields: Vec<Field>,
    columns: FxHashMap<String, u32>,
    separators: Separators,
}

/// A field of the object's top level.
struct Field {
    name: String,
    sort: Sort,
    /// Whether its value was found in any text of train.
    is_learned: bool,
    may_be_null: bool,
    is_required: bool,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Text,
    Number,
    Integer,
    /// It has parts, or is one of a list.
    Other,
}

fn learn(lesson: &Lesson<'_>) -> Result<Box<dyn Work>, BaselineError> {
    let schema = lesson.task.settings::<Extract>().map(Extract::schema).unwrap_or(&Value::Null);
    let mut fields = fields_of(schema);
    let (mut columns, mut rows, mut targets) = (FxHashMap::default(), Rows::default(), Vec::new());
    for (example, text) in lesson.examples.iter().zip(lesson.texts()?) {
        for candidate in candidates(&text) {
            targets.push(matching(&fields, example, &candidate.text));
            let mut row = Vec::new();
            for noticed in &candidate.traits {
                let next = columns.len() as u32;
                row.push(*columns.entry(noticed.clone()).or_insert(next));
            }
            rows.push(weighed(row));
        }
    }
    for &field in targets.iter().flatten() {
        fields[field].is_learned = true;
    }
    let problem = Problem {
        rows: &rows,
        columns: columns.len(),
        targets: &targets,
        classes: fields.len(),
        threads: lesson.threads,
    };
    let all: Vec<usize> = (0..rows.count()).collect();
    let mut separators = problem.solve(&all, None);
    separators.finish();
    Ok(Box::new(Nearest { input: lesson.task.input.clone(), fields, columns, separators }))
}

/// A row of length 1 with these columns, each once.
fn weighed(mut columns: Vec<u32>) -> Vec<(u32, f32)> {
    columns.sort_unstable();
    columns.dedup();
    let value = 1.0 / (columns.len().max(1) as f32).sqrt();
    columns.into_iter().map(|column| (column, value)).collect()
}

fn fields_of(schema: &Value) -> Vec<Field> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let field = |(name, property): (&String, &Value)| {
        let types: Vec<&str> = match property.get("type") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let of = |wanted: &str| types.contains(&wanted) && property.get("enum").is_none();
        let sorts = [("string", Sort::Text), ("number", Sort::Number), ("integer", Sort::Integer)];
        Field {
            name: name.clone(),
            sort: sorts.into_iter().find(|(wanted, _)| of(wanted)).map_or(Sort::Other, |(_, sort)| sort),
            is_learned: false,
            may_be_null: types.contains(&"null"),
            is_required: required.is_some_and(|names| names.iter().any(|one| one == name)),
        }
    };
    properties.into_iter().flatten().map(field).collect()
}

/// The fields whose value this is.
fn matching(fields: &[Field], example: &Example, text: &str) -> Vec<usize> {
    let is_right = |field: &Field| match (field.sort, &example.expected[field.name.as_str()]) {
        (Sort::Text, Value::String(right)) => folded(right) == folded(text),
        (Sort::Number | Sort::Integer, Value::Number(right)) => right.as_f64() == as_number(text),
        _ => false,
    };
    (0..fields.len()).filter(|&index| is_right(&fields[index])).collect()
}

fn folded(text: &str) -> String {
    text.split_whitespace().flat_map(str::chars).flat_map(char::to_lowercase).collect()
}

impl Sort {
    /// A candidate as a value of this sort, where it can be one.
    fn value(self, text: &str) -> Option<Value> {
        match self {
            Sort::Text => Some(Value::from(text)),
            Sort::Number => as_number(text).map(Value::from),
            Sort::Integer => text.parse::<i64>().ok().map(Value::from),
            Sort::Other => None,
        }
    }
}

impl Nearest {
    fn outcome(&self, text: &str) -> Result<Outcome, TaskError> {
        let candidates = candidates(text);
        let margins: Vec<Vec<f64>> = candidates.iter().map(|candidate| self.margins(candidate)).collect();
        let (mut value, mut told) = (Map::new(), Map::new());
        for (index, field) in self.fields.iter().enumerate() {
            let possible = candidates.iter().zip(&margins).filter(|_| field.is_learned);
            let valued = possible.filter_map(|(one, margins)| Some((field.sort.value(&one.text)?, margins[index])));
            // Of equal ones the first.
            let best = valued.reduce(|best, other| if other.1 > best.1 { other } else { best });
            let found = match best {
                Some((found, _)) => found,
                None if field.may_be_null => Value::Null,
                None if !field.is_required => continue,
                None => {
                    let name = &field.name;
                    let message = format!("the text has nothing that could be {name:?}, and it may not be null");
                    return Err(TaskError::Output(message));
                }
            };
            let pointer = format!("/{}", field.name.replace('~', "~0").replace('/', "~1"));
            told.insert(pointer, json!({"confidence": null, "span": null}));
            value.insert(field.name.clone(), found);
        }
        let fields =
            Map::from_iter([("value".to_owned(), Value::Object(value)), ("fields".to_owned(), Value::Object(told))]);
        Ok(Outcome { fields, ..Outcome::default() })
    }

    fn margins(&self, candidate: &Candidate) -> Vec<f64> {
        let known = candidate.traits.iter().filter_map(|noticed| self.columns.get(noticed)).copied();
        let row = weighed(known.collect());
        self.separators.margins(|| row.iter().map(|&(column, value)| (column as usize, value)))
    }
}

impl Work for Nearest {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move { self.outcome(&self.input.fill(input)?) })
    }

    fn concurrency(&self) -> usize {
        1
    }
}

#[cfg(test)]
#[path = "nearest_tests.rs"]
mod tests;
