//! A row of results: the columns of the input, what came of them, and why nothing did.
//!
//! Names of outcomes are always the same, so a column of the input that has one of them is renamed to `input_NAME`. In
//! tables (csv, parquet) an extracted object is spread over columns of its own, and labels stand in one cell. Read next:
//! `docs/json.md`, which promises all this.

use serde_json::{Map, Value};
use tasks::{Classify, Extract, Input, Outcome, Task};

/// Columns that every row of results has.
const SOURCE: &str = "source";
const ERROR: &str = "error";
const WARNINGS: &str = "warnings";
/// The field of an extraction that holds the object.
const VALUE: &str = "value";
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

    /// The name that a column of the input has among the results.
    pub fn column<'n>(&self, name: &'n str, others: &Map<String, Value>) -> std::borrow::Cow<'n, str> {
        if !self.is_taken(name) {
            return name.into();
        }
        let mut renamed = format!("input_{name}");
        while self.is_taken(&renamed) || others.contains_key(&renamed) {
            renamed.insert_str(0, "input_");
        }
        renamed.into()
    }

    fn is_taken(&self, name: &str) -> bool {
        self.outcome.iter().any(|one| one == name)
            || [ERROR, WARNINGS].contains(&name)
            || self.spread.iter().any(|one| one == name)
    }

    /// A row of results.
    pub fn row(&self, source: &str, input: Option<&Input>, result: &Result<Outcome, String>) -> Map<String, Value> {
        let mut row = Map::new();
        if self.keeps_input {
            for (name, value) in input.iter().flat_map(|input| &input.fields) {
                let column = input.map(|input| self.column(name, &input.fields)).unwrap_or_default();
                row.insert(column.into_owned(), value.clone());
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
            r#"{"id":1,"text":"x","input_label":"old","input_input_error":"e","input_error":"f","label":"a","probability":0.5,"error":null,"warnings":["w"]}"#
        );
        assert_eq!(
            text(shape.row("rows.csv row 2", Some(&input), &Err("why".to_owned()))),
            r#"{"id":1,"text":"x","input_label":"old","input_input_error":"e","input_error":"f","label":null,"probability":null,"error":"why","warnings":[]}"#
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
