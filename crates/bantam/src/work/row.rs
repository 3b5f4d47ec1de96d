//! A row of results: the columns of the input, what came of them, and why nothing did.
//!
//! Names of outcomes are always the same, so a column of the input that has one of them is renamed to `input_NAME`. In
//! tables (csv, parquet) an extracted object is spread over columns of its own, and labels stand in one cell. Read next:
//! `docs/json.md`, which promises all this.

use serde_json::{Map, Value};
use std::borrow::Cow;
use tasks::{Classify, Extract, Input, Outcome, Task};

/// Columns that every row of results has.
const SOURCE: &str = "source";
const ERROR: &str = "error";
const WARNINGS: &str = "warnings";
/// The field of an extraction that holds the object.
const VALUE: &str = "value";
/// Stands before the name of a column of the input that is that of an outcome.
const RENAMED: &str = "input_";
const LABELS: &str = "labels";
/// Between labels in one cell; task files read the same.
const BETWEEN_LABELS: &str = ";";

/// What the rows of a task's results look like.
#[derive(Debug, Clone)]
pub struct RowShape {
    keeps_input: bool,
    is_table: bool,
    outcome: Vec<String>,
    /// The fields of an extracted object that have columns of their own.
    spread: Vec<String>,
    joins_labels: bool,
}

impl RowShape {
    /// Rows of inputs that are rows of tables keep their columns; those of documents have `source`. A table of results has
    /// no lists and objects where that can be helped.
    pub fn new(task: &Task, keeps_input: bool, is_table: bool) -> RowShape {
        let outcome = task.outcome_fields();
        let properties = task.settings::<Extract>().and_then(|extract| extract.schema().get("properties")?.as_object());
        let names: Vec<String> = properties.map(|names| names.keys().cloned().collect()).unwrap_or_default();
        let is_ours = |name: &String| outcome.contains(name) || [SOURCE, ERROR, WARNINGS].contains(&name.as_str());
        let spread = if is_table && !names.iter().any(is_ours) { names } else { Vec::new() };
        let labels = task.settings::<Classify>().map(Classify::labels).unwrap_or_default();
        let joins_labels = is_table && !labels.iter().any(|label| label.name.contains(BETWEEN_LABELS));
        RowShape { keeps_input, is_table, outcome, spread, joins_labels }
    }

    /// Whether the inputs are needed for the results.
    pub fn keeps_input(&self) -> bool {
        self.keeps_input
    }

    /// The name that a column of the input has among the results. It depends on no other column of its row, so that a
    /// column of lines that have not all the same fields has one name; and no two columns get the same one.
    fn column<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let (base, depth) = without_prefixes(name);
        let taken = self.taken().map(without_prefixes).filter(|(other, _)| *other == base).map(|(_, depth)| depth);
        match taken.clone().min().zip(taken.max()) {
            Some((least, most)) if depth >= least => format!("{}{name}", RENAMED.repeat(most + 1)).into(),
            _ => name.into(),
        }
    }

    /// The names that what came of a row has.
    fn taken(&self) -> impl Iterator<Item = &str> + Clone {
        self.outcome.iter().chain(&self.spread).map(String::as_str).chain([ERROR, WARNINGS])
    }

    /// A row of results.
    pub fn row(&self, source: &str, input: Option<&Input>, result: &Result<Outcome, String>) -> Map<String, Value> {
        let mut row = Map::new();
        if self.keeps_input {
            for (name, value) in input.iter().flat_map(|input| &input.fields) {
                row.insert(self.column(name).into_owned(), value.clone());
            }
        } else {
            row.insert(SOURCE.to_owned(), Value::from(source));
        }
        let fields = result.as_ref().map(|outcome| &outcome.fields).ok();
        for name in &self.outcome {
            let value = fields.and_then(|fields| fields.get(name)).cloned().unwrap_or_default();
            match name.as_str() {
                VALUE if !self.spread.is_empty() => {
                    for name in &self.spread {
                        row.insert(name.clone(), value.get(name).cloned().unwrap_or_default());
                    }
                }
                LABELS if self.joins_labels => {
                    row.insert(name.clone(), joined(&value));
                }
                _ => {
                    row.insert(name.clone(), value);
                }
            }
        }
        row.insert(ERROR.to_owned(), result.as_ref().err().map_or(Value::Null, |reason| Value::from(reason.as_str())));
        let warnings = result.as_ref().map(|outcome| outcome.warnings.as_slice()).unwrap_or_default();
        let warnings = match (self.is_table, warnings) {
            (true, []) => Value::Null,
            (true, warnings) => Value::from(warnings.join("; ")),
            (false, warnings) => Value::from(warnings),
        };
        row.insert(WARNINGS.to_owned(), warnings);
        row
    }
}

/// A name without what renaming puts before it, and how often that stood there.
fn without_prefixes(name: &str) -> (&str, usize) {
    let base = name.trim_start_matches(RENAMED);
    (base, (name.len() - base.len()) / RENAMED.len())
}

fn joined(labels: &Value) -> Value {
    let Value::Array(labels) = labels else { return labels.clone() };
    Value::from(labels.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(BETWEEN_LABELS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Field, Label};

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn classify() -> Classify {
        let label = |name: &str| Label { name: name.to_owned(), description: None };
        Classify::new(vec![label("a"), label("b")]).unwrap()
    }

    fn text(row: Map<String, Value>) -> String {
        Value::Object(row).to_string()
    }

    #[test]
    fn columns_of_the_input_stay_and_one_with_the_name_of_an_outcome_is_renamed() {
        let shape = RowShape::new(&Task::new("t", classify()), true, false);
        let fields = object(json!({"id": 1, "text": "x", "label": "old", "error": "e", "input_error": "f"}));
        let input = Input { fields, pages: Vec::new() };
        let fields = object(json!({"label": "a", "probability": 0.5}));
        let outcome = Outcome { fields, warnings: vec!["w".to_owned()], ..Outcome::default() };
        assert_eq!(
            text(shape.row("rows.csv row 1", Some(&input), &Ok(outcome))),
            r#"{"id":1,"text":"x","input_label":"old","input_error":"e","input_input_error":"f","label":"a","probability":0.5,"error":null,"warnings":["w"]}"#
        );
        assert_eq!(
            text(shape.row("rows.csv row 2", Some(&input), &Err("why".to_owned()))),
            r#"{"id":1,"text":"x","input_label":"old","input_error":"e","input_input_error":"f","label":null,"probability":null,"error":"why","warnings":[]}"#
        );
    }

    #[test]
    fn an_extracted_object_has_columns_of_its_own_in_a_table() {
        let task = Task::new("t", Extract::fields(&[Field::text("company"), Field::text("total")]).unwrap());
        let fields = object(json!({"value": {"company": "A", "total": null}, "fields": {}}));
        let outcome = Outcome { fields, ..Outcome::default() };
        let row = |is_table| text(RowShape::new(&task, false, is_table).row("a.pdf", None, &Ok(outcome.clone())));
        assert_eq!(
            row(true),
            r#"{"source":"a.pdf","company":"A","total":null,"fields":{},"error":null,"warnings":null}"#
        );
        assert_eq!(
            row(false),
            r#"{"source":"a.pdf","value":{"company":"A","total":null},"fields":{},"error":null,"warnings":[]}"#
        );
        // A field with a name of ours would take its column.
        let task = Task::new("t", Extract::fields(&[Field::text("error")]).unwrap());
        let row = RowShape::new(&task, false, true).row("a.pdf", None, &Ok(outcome));
        assert!(row.contains_key("value"), "{row:?}");
    }

    #[test]
    fn a_column_has_one_name_whatever_else_its_row_has() {
        let task = Task::new("t", Extract::fields(&[Field::text("input_label"), Field::text("total")]).unwrap());
        let shape = RowShape::new(&task, true, true);
        let renamed = |name| shape.column(name).into_owned();
        assert_eq!((renamed("total"), renamed("input_total")), ("input_total".into(), "input_input_total".into()));
        // What only begins as a renamed column is left alone, as far as no field has that name.
        assert_eq!((renamed("input_file"), renamed("label")), ("input_file".into(), "label".into()));
        assert_eq!(renamed("input_label"), "input_input_input_label");
        assert_eq!(renamed("input_input_label"), "input_input_input_input_label");
    }

    #[test]
    fn several_labels_are_one_cell_of_a_table() {
        let mut several = classify();
        several.several = true;
        let task = Task::new("t", several);
        let outcome = Outcome { fields: object(json!({"labels": ["a", "b"], "scores": []})), ..Outcome::default() };
        let labels =
            |is_table| RowShape::new(&task, false, is_table).row("", None, &Ok(outcome.clone()))["labels"].clone();
        assert_eq!((labels(true), labels(false)), (json!("a;b"), json!(["a", "b"])));
    }
}
