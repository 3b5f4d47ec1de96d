//! The beginnings of a task: a commented file out of a look at its data, and the data split into examples and a test.
//!
//! It works on rows that were read elsewhere and writes nothing: the caller has the files written. What the columns
//! mean is guessed by each kind in its own file, from what a `Sample` knows of them.

use crate::kinds::{KINDS, KindRow};
use crate::reader::nearest;
use crate::seeded::rank;
use crate::{TaskError, Template};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// More distinct values than these are no labels.
const MOST_LABELS: usize = 100;
/// One row of so many goes into the test.
const TEST_SHARE: usize = 5;
/// With fewer rows in the test a share of right answers of 0.9 is known to a tenth at best.
const FEW_TEST_ROWS: usize = 50;

/// What a task begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text of the task file.
    pub file: String,
    /// Which rows are to learn from, as indices, ascending.
    pub train: Vec<usize>,
    /// Which rows are to judge by, as indices, ascending.
    pub test: Vec<usize>,
    /// What was seen in the data that its owner should know.
    pub notes: Vec<String>,
}

/// What a kind makes of the columns.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    /// Columns that the input is made of; the first is the main one.
    pub input: Vec<String>,
    /// The column with what is right.
    pub expected: Option<String>,
    /// What is right is one of few labels, each of which belongs into both parts of the data.
    pub is_label: bool,
    /// The table of the kind's settings, as the file has it.
    pub settings: String,
}

/// A look at the rows of a table.
pub(crate) struct Sample<'r> {
    rows: &'r [(u64, Map<String, Value>)],
    columns: Vec<Column>,
}

struct Column {
    name: String,
    characters: usize,
    filled: usize,
    /// Distinct values with how many rows have each; given up when there are too many for labels.
    values: Option<BTreeMap<String, usize>>,
}

impl<'r> Sample<'r> {
    fn new(rows: &'r [(u64, Map<String, Value>)]) -> Sample<'r> {
        let mut columns: Vec<Column> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (name, value) in rows.iter().flat_map(|(_, row)| row) {
            let place = *places.entry(name).or_insert_with(|| {
                columns.push(Column { name: name.clone(), characters: 0, filled: 0, values: Some(BTreeMap::new()) });
                columns.len() - 1
            });
            let column = &mut columns[place];
            let text = cell_text(value);
            if text.trim().is_empty() {
                continue;
            }
            column.filled += 1;
            column.characters += text.chars().count();
            if let Some(values) = &mut column.values {
                *values.entry(text.trim().to_owned()).or_default() += 1;
                if values.len() > MOST_LABELS {
                    column.values = None;
                }
            }
        }
        // A template cannot name a column with a brace in its name.
        columns.retain(|column| can_be_named(&column.name));
        Sample { rows, columns }
    }

    /// All columns, in their order.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The first column of one of these names, case left aside.
    pub(crate) fn named(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            let column = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            column.map(|column| column.name.clone())
        })
    }

    /// The column with the longest texts but for these.
    pub(crate) fn longest(&self, except: &[&str]) -> Option<String> {
        let others = self.columns.iter().rev().filter(|column| !except.contains(&column.name.as_str()));
        let longest = others.max_by_key(|column| column.characters / column.filled.max(1));
        longest.map(|column| column.name.clone())
    }

    /// The column of labels: by its name, else the one of the fewest distinct values that stand often enough to be
    /// labels.
    pub(crate) fn label_column(&self, text: &str) -> Option<String> {
        let names =
            ["label", "labels", "class", "category", "intent", "topic", "team", "target", "sentiment", "expected"];
        let others = || self.columns.iter().filter(|column| column.name != text);
        let named = names
            .iter()
            .find_map(|name| others().find(|column| column.name.eq_ignore_ascii_case(name) && column.values.is_some()));
        let few = others().filter(|column| {
            let count = column.values.as_ref().map_or(usize::MAX, BTreeMap::len);
            count >= 2 && count <= column.filled / 2 && column.characters / column.filled.max(1) < 40
        });
        let fewest = few.min_by_key(|column| column.values.as_ref().map(BTreeMap::len));
        named.or(fewest).map(|column| column.name.clone())
    }

    /// The distinct values of a column with how many rows have each, the most frequent first.
    pub(crate) fn values(&self, name: &str) -> Vec<(String, usize)> {
        let column = self.columns.iter().find(|column| column.name == name);
        let values = column.and_then(|column| column.values.clone()).unwrap_or_default();
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        values
    }

    /// A column where each filled cell is a JSON object.
    pub(crate) fn object_column(&self) -> Option<String> {
        let is_object = |value: &Value| match value {
            Value::Object(_) => true,
            Value::String(text) => matches!(serde_json::from_str(text), Ok(Value::Object(_))),
            _ => false,
        };
        let column = self.columns.iter().find(|column| {
            column.filled > 0 && self.rows.iter().filter_map(|(_, row)| row.get(&column.name)).all(is_object)
        });
        column.map(|column| column.name.clone())
    }

    /// The objects of such a column.
    pub(crate) fn objects(&self, name: &str) -> Vec<Map<String, Value>> {
        let object = |value: &Value| match value {
            Value::Object(object) => Some(object.clone()),
            other => serde_json::from_str(other.as_str()?).ok(),
        };
        self.rows.iter().filter_map(|(_, row)| object(row.get(name)?)).collect()
    }
}

/// A task of a kind by a look at rows, each with its number in its file. `train` and `test` are the paths that the
/// two parts of the data will have beside the task file.
///
/// # Errors
/// There is no such kind, no rows, or no column that could be its input.
pub fn init(
    kind: &str,
    rows: &[(u64, Map<String, Value>)],
    train: &str,
    test: &str,
    seed: u64,
) -> Result<Draft, TaskError> {
    let names: Vec<_> = KINDS.iter().map(|row| row.name).collect();
    let Some(row) = KINDS.iter().find(|row| row.name == kind) else {
        let near = nearest(kind, &names).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
        let names = names.join(", ");
        return Err(TaskError::Input(format!("there is no kind {kind:?}\nhint: {near}expected one of {names}")));
    };
    if rows.is_empty() {
        return Err(TaskError::Data("the table has no rows\nhint: a task begins with a few examples".to_owned()));
    }
    let sample = Sample::new(rows);
    let guess = (row.guess)(&sample)?;
    let mut notes = Vec::new();
    let (train_rows, test_rows) = split(rows, &guess, seed, &mut notes);
    if test_rows.is_empty() {
        notes.push("there are too few different texts for a test: all rows are to learn from".to_owned());
    } else if test_rows.len() < FEW_TEST_ROWS {
        notes.push(format!(
            "rows to judge by: {}; with fewer than {FEW_TEST_ROWS} only a clear case is decided",
            test_rows.len()
        ));
    }
    let has_test = !test_rows.is_empty();
    let file = task_file(row, &sample, &guess, train, has_test.then_some(test));
    Ok(Draft { file, train: train_rows, test: test_rows, notes })
}

fn task_file(row: &KindRow, sample: &Sample<'_>, guess: &Guess, train: &str, test: Option<&str>) -> String {
    let template = match guess.input.as_slice() {
        [only] => format!("{{{only}}}"),
        several => several.iter().map(|name| format!("{name}: {{{name}}}")).collect::<Vec<_>>().join("\n"),
    };
    let mut file = format!(
        "# {}: {}.\nkind = {}\n\n# The model, where the command line names none.\n# model = \"NAME\"   (`bantam list --available`)\n\n\
         # What the model should know, in your words.\n# instructions = \"\"\"\n# \"\"\"\n\n\
         # The text of an input; {{name}} is a column of the data. Its columns: {}.\ninput = {}\n\n[data]\n\
         # What to learn from, and what to judge by, which nobody learns from.\ntrain = {}\n",
        row.name,
        row.about,
        quoted(row.name),
        sample.columns().join(", ").replace(|c: char| c.is_control(), " "),
        quoted(&template),
        quoted(train),
    );
    if let Some(test) = test {
        let _ = writeln!(file, "test = {}", quoted(test));
    }
    let _ = match &guess.expected {
        Some(column) => writeln!(file, "# The column that holds what is right.\nexpected = {}", quoted(column)),
        None => writeln!(file, "# The column that holds what is right: none was found.\n# expected = \"\""),
    };
    file.push_str("\n[options]\n# 0 is always the likeliest word; higher is more varied.\ntemperature = 0\n");
    if !guess.settings.is_empty() {
        let _ = write!(file, "\n{}", guess.settings);
    }
    if test.is_some() && guess.expected.is_some() {
        file.push_str(
            "\n# How good is good enough, and who is judged: `bantam eval` says of each candidate whether it is.\n\
             # [goal]\n# threshold = 0.9\n\n# [[candidates]]\n# model = \"NAME\"\n",
        );
    }
    file
}

/// A text as TOML has it in quotes. JSON's escapes are TOML's too, but for one character that JSON leaves as it is.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn can_be_named(column: &str) -> bool {
    Template::parse(&format!("{{{column}}}")).is_ok_and(|template| template.fields() == [column])
}

fn cell_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Splits rows so that each label has the same share in both parts, and texts that are the same but for case and
/// blanks lie on one side: a test of what was learnt by heart says nothing.
fn split(
    rows: &[(u64, Map<String, Value>)],
    guess: &Guess,
    seed: u64,
    notes: &mut Vec<String>,
) -> (Vec<usize>, Vec<usize>) {
    let text = |row: &Map<String, Value>| {
        let cells = guess.input.iter().map(|name| row.get(name).map(cell_text).unwrap_or_default());
        let words = cells.flat_map(|cell| cell.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
        words.collect::<Vec<_>>().join(" ")
    };
    let label = |row: &Map<String, Value>| match &guess.expected {
        Some(column) if guess.is_label => row.get(column).map(cell_text).unwrap_or_default(),
        _ => String::new(),
    };
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, (_, row)) in rows.iter().enumerate() {
        groups.entry(text(row)).or_default().push(index);
    }
    let doubles = rows.len() - groups.len();
    if doubles > 0 {
        notes.push(format!("{doubles} rows have a text that an earlier row has; they stay on its side of the split"));
    }
    for group in groups.values() {
        let first = label(&rows[group[0]].1);
        if let Some(&other) = group.iter().find(|&&index| label(&rows[index].1) != first) {
            let (one, two, what) = (rows[group[0]].0, rows[other].0, label(&rows[other].1));
            notes.push(format!("rows {one} and {two} have the same text, and are labelled {first:?} and {what:?}"));
        }
    }
    let mut by_label: BTreeMap<String, Vec<(u64, Vec<usize>)>> = BTreeMap::new();
    for (text, group) in groups {
        by_label.entry(label(&rows[group[0]].1)).or_default().push((rank(seed, &text), group));
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (label, mut groups) in by_label {
        groups.sort();
        let count: usize = groups.iter().map(|(_, group)| group.len()).sum();
        let wanted = ((count + TEST_SHARE / 2) / TEST_SHARE).max(1);
        if groups.len() == 1 && !label.is_empty() {
            notes.push(format!(
                "the label {label:?} has one text alone, which is to learn from: the test has none of it"
            ));
        }
        let mut tested = 0;
        // The last group stays to learn from, whatever the share.
        let last = groups.len() - 1;
        for (index, (_, group)) in groups.into_iter().enumerate() {
            if index < last && tested + group.len() <= wanted {
                tested += group.len();
                test.extend(group);
            } else {
                train.extend(group);
            }
        }
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
