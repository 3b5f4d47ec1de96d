//! A task: what is asked of a model, read from its file or made from options.
//!
//! A task is sound once it exists; what it asks of a model's abilities is looked at by [`Task::ready`]. It knows no
//! model, no table and no row. Read next: `kinds.rs` for what a kind of task is, `ready.rs` for a task with a model.

use crate::generation;
use crate::judging::{self, Base, Candidate, Goal, Machine};
use crate::kinds::{self, Kind};
use crate::reader::{Place, Section, nearest};
use crate::seeded::hex_digest;
use crate::template::field_text;
use crate::{Input, TaskError, Template};
use chat::GenerationOptions;
use serde_json::{Map, Value, json};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than any honest task file, schema or list; a limit on what is read into memory.
const LONGEST_FILE: u64 = 1 << 20;
/// Goes into every fingerprint; whoever changes what a prompt says raises it.
const PROMPTS_VERSION: u32 = 1;
/// The keys of a file beside the table of its kind.
const KEYS: [&str; 9] = ["kind", "model", "instructions", "input", "data", "options", "goal", "machine", "candidates"];

/// What is asked of a model.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name: the stem of its file.
    pub name: String,
    /// The model that it is for, where it says so.
    pub model: Option<String>,
    /// What the model should know or heed, in the author's own words.
    pub instructions: Option<String>,
    /// The text of an input.
    pub input: Template,
    /// Its examples.
    pub data: DataFiles,
    /// How to generate; the temperature is 0 where the author says nothing.
    pub options: GenerationOptions,
    /// How good is good enough.
    pub goal: Goal,
    /// What this machine costs while it works.
    pub machine: Machine,
    /// Those that are judged; none where the task's own model is.
    pub candidates: Vec<Candidate>,
    kind: Arc<dyn Kind>,
}

/// Tables of examples, as paths that can be opened from where the program runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFiles {
    /// Examples to learn from and to show.
    pub train: Option<PathBuf>,
    /// Examples to judge by.
    pub test: Option<PathBuf>,
    /// The column that holds the right outcome.
    pub expected: Option<String>,
}

/// An input with its right outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The row.
    pub input: Input,
    /// What is right; a label, a list of labels, an object, a text.
    pub expected: Value,
}

impl Task {
    /// A task with the kind's own template and no instructions.
    pub fn new(name: impl Into<String>, kind: impl Kind) -> Task {
        Task::of(name.into(), Arc::new(kind))
    }

    fn of(name: String, kind: Arc<dyn Kind>) -> Task {
        Task {
            name,
            model: None,
            instructions: None,
            input: Template::field(kind.row().input),
            data: DataFiles::default(),
            options: GenerationOptions { temperature: Some(0.0), ..GenerationOptions::default() },
            goal: Goal::default(),
            machine: Machine::default(),
            candidates: Vec::new(),
            kind,
        }
    }

    /// Reads a task file.
    ///
    /// # Errors
    /// What is wrong with it, with file, line and column.
    pub fn open(path: &Path) -> Result<Task, TaskError> {
        Task::parse(&read_text(path, LONGEST_FILE)?, path)
    }

    /// Reads the text of a task file; paths in it start at the file's folder.
    ///
    /// # Errors
    /// As [`Task::open`].
    pub fn parse(text: &str, path: &Path) -> Result<Task, TaskError> {
        let place = Place::new(path, text);
        let kind_names: Vec<_> = kinds::KINDS.iter().map(|row| row.name).collect();
        let keys: Vec<_> = KEYS.iter().copied().chain(kind_names.iter().copied()).collect();
        let mut top = place.top(&keys)?;
        let one_of = format!("one of {}", kind_names.join(", "));
        let entry = top.require("kind", &format!("`kind = \"...\"`, {one_of}"))?;
        let kind_at = entry.at();
        if !entry.is_text() {
            return Err(entry.expected(&one_of));
        }
        let wanted = entry.text()?;
        let Some(row) = kinds::KINDS.iter().find(|row| row.name == wanted) else {
            let near = nearest(&wanted, &kind_names).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
            let message = format!("there is no kind {wanted:?}\nhint: {near}expected {one_of}");
            return Err(place.wrong(kind_at, message));
        };
        for other in kinds::KINDS.iter().filter(|other| other.name != row.name) {
            if let Some(entry) = top.take(other.name) {
                let hint = format!("hint: a task of this kind has its settings in [{}]", row.name);
                return Err(
                    entry.wrong(format_args!("these are settings of another kind, `kind` is {wanted:?}\n{hint}"))
                );
            }
        }
        let model = top.text("model")?;
        let instructions = top.text("instructions")?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let input = top.take("input").map(judging::read_template).transpose()?;
        let input = input.unwrap_or_else(|| Template::field(row.input));
        let data = top.take("data").map(|entry| read_data(entry.section(&["train", "test", "expected"])?));
        let data = data.transpose()?.unwrap_or_default();
        let base = GenerationOptions::default();
        let options = match top.take("options") {
            Some(entry) => generation::read_over(&base, entry)?,
            None => base,
        };
        let goal = top.take("goal").map(judging::read_goal).transpose()?.unwrap_or_default();
        let machine = top.take("machine").map(judging::read_machine).transpose()?.unwrap_or_default();
        let settings = match top.take(row.name) {
            Some(entry) => entry.section(row.keys)?,
            None => Section::absent(place, row.name, kind_at),
        };
        let kind = (row.read)(settings.clone(), &data)?;
        let temperature = options.temperature.or(Some(0.0));
        let name = path.file_stem().map_or("task".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let options = GenerationOptions { temperature, ..options };
        let mut task = Task { model, instructions, input, data, options, goal, machine, ..Task::of(name, kind) };
        if let Some(entry) = top.take("candidates") {
            task.candidates = judging::read_candidates(entry, &Base { task: &task, row, settings: &settings })?;
        }
        Ok(task)
    }

    /// The kind, by its name in task files.
    pub fn kind(&self) -> &'static str {
        self.kind.row().name
    }

    /// The settings of its kind, where it is of that one.
    pub fn settings<K: Kind>(&self) -> Option<&K> {
        let kind: &dyn Any = self.kind.as_ref();
        kind.downcast_ref()
    }

    /// Puts other settings in the place of those it has.
    pub fn set_settings(&mut self, kind: impl Kind) {
        self.kind = Arc::new(kind);
    }

    pub(crate) fn set_kind(&mut self, kind: Arc<dyn Kind>) {
        self.kind = kind;
    }

    /// The fields that its outcomes have, in their order.
    pub fn outcome_fields(&self) -> Vec<String> {
        let schema = self.outcome_schema();
        schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect()
    }

    /// How many examples are shown to the model.
    pub fn shots(&self) -> usize {
        self.kind.shots()
    }

    /// The field that a text alone is: the only one that the task reads.
    ///
    /// # Errors
    /// It reads several.
    pub fn text_field(&self) -> Result<&str, TaskError> {
        match self.fields().as_slice() {
            [] => Ok(crate::input::TEXT),
            [only] => Ok(only),
            several => Err(TaskError::Input(format!(
                "the task reads several fields, a text is only one: it reads {}\n\
                 hint: name a table with these columns",
                several.join(", ")
            ))),
        }
    }

    /// What the kind does.
    pub(crate) fn kind_settings(&self) -> &Arc<dyn Kind> {
        &self.kind
    }

    /// The SHA-256, in hexadecimal, of all that outcomes depend on beside the model and the examples that it is
    /// shown: two tasks with the same one ask the same. [`crate::Ready::fingerprint`] has those too.
    pub fn fingerprint(&self) -> String {
        let parts = json!({
            "prompts": PROMPTS_VERSION,
            "kind": self.kind(),
            "settings": self.kind.settings(),
            "instructions": self.instructions,
            "input": self.input.source(),
            "options": self.options,
        });
        hex_digest(&parts.to_string())
    }

    /// The fields that a row must have, the expected one left out.
    pub fn fields(&self) -> Vec<&str> {
        let mut fields = self.input.fields();
        for field in self.kind.fields() {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }

    /// Fields that are read of those rows that have them.
    pub fn optional_fields(&self) -> Vec<&str> {
        let needed = self.fields();
        self.kind.optional_fields().into_iter().filter(|field| !needed.contains(field)).collect()
    }

    /// The JSON Schema of an outcome's fields.
    pub fn outcome_schema(&self) -> Value {
        self.kind.outcome_schema()
    }

    /// Looks whether a table has the columns that the task reads.
    ///
    /// # Errors
    /// The first that is missing, with those that there are. `table` names the table in the text.
    pub fn check_columns(&self, table: &str, columns: &[&str]) -> Result<(), TaskError> {
        let expected = self.data.expected.as_deref();
        for field in self.fields().into_iter().chain(expected) {
            if !columns.contains(&field) {
                let near = nearest(field, columns).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let has = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
                let hint = format!("hint: {near}its columns are {has}");
                return Err(TaskError::Data(format!("{table} has no column {field:?}, which the task reads\n{hint}")));
            }
        }
        Ok(())
    }

    /// Looks at every row of a table of its data, each with its number there: what is wrong with which, or nothing.
    pub fn check_rows(&self, table: &str, rows: &[(u64, Map<String, Value>)]) -> Vec<String> {
        let wrong = |(number, row): &(u64, Map<String, Value>)| {
            let input = Input { fields: row.clone(), pages: Vec::new() };
            let fields = self.fields().into_iter().try_for_each(|field| field_text(&input, field).map(drop));
            let checked = fields.and_then(|()| match &self.data.expected {
                Some(_) => self.example(input).map(drop),
                None => Ok(()),
            });
            checked.err().map(|error| format!("{table}, row {number}: {error}"))
        };
        rows.iter().filter_map(wrong).collect()
    }

    /// A row of the task's data as an example. The expected value is taken out of the input.
    ///
    /// # Errors
    /// The task names no expected column, the row has none, or its value cannot be an outcome of this task. Where answers are
    /// graded ([`crate::Grading`]) nothing need be expected: it is null.
    pub fn example(&self, mut row: Input) -> Result<Example, TaskError> {
        let Some(column) = &self.data.expected else {
            if self.goal.grading.is_some() {
                return Ok(Example { input: row, expected: Value::Null });
            }
            let hint = "hint: add `expected = \"column\"` to [data]";
            return Err(TaskError::Data(format!("the task {} does not say what is right\n{hint}", self.name)));
        };
        field_text(&row, column).map_err(|error| TaskError::Data(error.to_string()))?;
        let value = if self.fields().contains(&column.as_str()) {
            row.fields.get(column).cloned()
        } else {
            row.fields.shift_remove(column)
        };
        let read = self.kind.expected(value.unwrap_or_default());
        let expected = read.map_err(|why| TaskError::Data(format!("column {column:?}: {why}")))?;
        Ok(Example { input: row, expected })
    }
}

fn read_data(mut section: Section<'_>) -> Result<DataFiles, TaskError> {
    let folder = section.place().folder();
    let mut path = |key: &str| Ok::<_, TaskError>(section.text(key)?.map(|path| folder.join(path)));
    let (train, test) = (path("train")?, path("test")?);
    Ok(DataFiles { train, test, expected: section.text("expected")? })
}

/// The text of a file of at most so many bytes.
pub(crate) fn read_text(path: &Path, longest: u64) -> Result<String, TaskError> {
    use std::io::Read;
    let wrong = |what: String| TaskError::File(format!("{}: {what}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > longest {
        return Err(wrong(format!("expected at most {longest} bytes, got more")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        wrong(format!("expected UTF-8, byte {at} is none\nhint: save it as UTF-8"))
    })
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
