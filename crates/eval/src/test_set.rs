//! The rows that candidates are judged by, read once and looked over: what would make a verdict worthless is refused, what
//! its reader should know is said.

use crate::EvalError;
use crate::evidence::short;
use crate::metrics::{BYTE_PERPLEXITY, MetricRow, has_no_answer, metrics_of};
use crate::suites::{SuiteRow, prompt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use tasks::batch::fingerprint;
use tasks::{Classify, Example, Input, Labelled, Task, UNLABELLED};

/// So many rows are named where several are wrong in one way.
const MOST_NAMED: usize = 5;

/// A row of the test.
#[derive(Debug, Clone)]
pub struct TestRow {
    /// Its place in the table, from 1.
    pub number: u64,
    /// What is asked, and what is right.
    pub example: Example,
    /// The digest of all that is read of it, and of how many rows before it say the same.
    pub digest: String,
    /// Rows of one group are no independent evidence; without groups each row has its own.
    pub group: usize,
}

impl TestRow {
    /// The digest of what is asked and of what is right.
    fn whole(&self) -> String {
        fingerprint(&[&self.digest, &self.example.expected.to_string()])
    }

    /// What it is known by in the evidence of a report: the beginning of that digest.
    pub fn mark(&self) -> String {
        short(&self.whole())
    }
}

/// The rows that candidates are judged by, in an order that does not depend on that of the table.
#[derive(Debug, Clone)]
pub struct TestSet {
    /// The table.
    pub table: PathBuf,
    /// Its rows, in an order drawn by chance and always the same: the first so many are a fair sample of all.
    pub rows: Vec<TestRow>,
    /// The digest of the rows, whatever order they have and whatever file they are in.
    pub sha256: String,
    /// How many groups there are; none where every row stands for itself.
    pub groups: Option<u64>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// The standard benchmark that they are of; none where they are of a task file.
    pub suite: Option<&'static SuiteRow>,
}

/// Whether rows that also stand in the train table are let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaks {
    /// They are refused: a model that is shown the answer shows nothing.
    Refused,
    /// The owner of the data knows.
    Allowed,
}

impl TestSet {
    /// Reads the test table of a task; of a longer one `limit` rows, drawn by chance and always the same.
    ///
    /// # Errors
    /// The task names no table, it cannot be read, a row is no example, or rows also stand in train.
    pub fn read(task: &Task, limit: Option<usize>, leaks: Leaks) -> Result<TestSet, EvalError> {
        let Some(table) = task.data.test.clone() else {
            let name = &task.name;
            return Err(EvalError::Test(format!(
                "the task {name} names no test table\nhint: add `test = \"FILE\"` and `expected = \"COLUMN\"` to [data]; \
                 `bantam init` makes a task file and splits a table"
            )));
        };
        let Labelled { mut examples, unlabelled } = task.labelled(&table)?;
        let left_out = left_out(task, &unlabelled);
        if let Some(column) = scored_column(task) {
            // Candidates are asked how likely the right text is, so it is a part of what they are asked.
            examples.iter_mut().for_each(|(_, example)| {
                example.input.fields.insert(column.to_owned(), example.expected.clone());
            });
        }
        if examples.is_empty() {
            let name = table.display();
            let why = match left_out {
                Some([rows, page]) => format!("{rows}\nhint: {page}"),
                None => "there is no row\nhint: a verdict needs tens of them".to_owned(),
            };
            return Err(EvalError::Test(format!("{name}: {why}")));
        }
        let groups = groups(task, &table, &examples)?;
        let contents: Vec<(u64, String)> =
            examples.iter().map(|(number, example)| (*number, digest(task, &example.input))).collect();
        let loosely: Vec<String> = examples.iter().map(|(_, example)| loose(task, &example.input)).collect();
        let leaked = leaked(task, &contents, &loosely, leaks)?;
        let mut test = TestSet::drawn(table, Rows { examples, groups, contents }, limit);
        let told = left_out.map(|told| told.join("; "));
        test.warnings.splice(0..0, told);
        test.warnings.extend(leaked);
        test.warnings.extend(missing_labels(task, &test.rows));
        test.warnings.extend(without_answers(task, &test.rows));
        test.groups = task.goal.group.as_ref().map(|_| {
            let groups: BTreeSet<usize> = test.rows.iter().map(|row| row.group).collect();
            groups.len() as u64
        });
        Ok(test)
    }

    /// The rows of a standard benchmark, known by the whole prompt that each makes; of more than `limit` so many, drawn by
    /// chance and always the same.
    pub fn of_suite(suite: &'static SuiteRow, table: PathBuf, examples: Vec<Example>, limit: Option<usize>) -> TestSet {
        let examples: Vec<(u64, Example)> = (1..).zip(examples).collect();
        let contents = |(number, example): &(u64, Example)| (*number, fingerprint(&[&prompt(&example.input)]));
        let contents = examples.iter().map(contents).collect();
        let groups = (0..examples.len()).collect();
        TestSet { suite: Some(suite), ..TestSet::drawn(table, Rows { examples, groups, contents }, limit) }
    }

    /// The metrics of its suite, or of the task's kind.
    pub fn metrics(&self, task: &Task) -> Vec<&'static MetricRow> {
        self.suite.map_or_else(|| metrics_of(task.kind()).collect(), |suite| suite.metrics.to_vec())
    }

    fn drawn(table: PathBuf, rows: Rows, limit: Option<usize>) -> TestSet {
        let Rows { examples, groups, contents } = rows;
        let warnings = repeated(&contents).into_iter().collect();
        let mut times: HashMap<&str, usize> = HashMap::new();
        let mut rows: Vec<TestRow> = Vec::new();
        for (((number, example), group), (_, content)) in examples.into_iter().zip(groups).zip(&contents) {
            // Rows that say the same are rows of their own: each has its place in the order, and its answer.
            let before = times.entry(content).and_modify(|times| *times += 1).or_default();
            let digest = fingerprint(&[content, &before.to_string()]);
            rows.push(TestRow { number, example, digest, group });
        }
        rows.sort_by_cached_key(|row| fingerprint(&["order", &row.digest]));
        rows.truncate(limit.unwrap_or(usize::MAX));
        let mut digests: Vec<String> = rows.iter().map(TestRow::whole).collect();
        digests.sort_unstable();
        let sha256 = fingerprint(&digests.iter().map(String::as_str).collect::<Vec<_>>());
        TestSet { table, rows, sha256, groups: None, warnings, suite: None }
    }
}

/// The column of right texts where candidates are asked how likely those are, and for no answers.
pub fn scored_column(task: &Task) -> Option<&str> {
    task.data.expected.as_deref().filter(|_| task.goal.metric.as_deref() == Some(BYTE_PERPLEXITY))
}

/// Rows before their order is drawn: each with its number in the table, its group and the digest of what it says.
struct Rows {
    examples: Vec<(u64, Example)>,
    groups: Vec<usize>,
    contents: Vec<(u64, String)>,
}

/// The digest of what a task reads of an input.
fn digest(task: &Task, input: &Input) -> String {
    let fields = task.fields().into_iter().chain(task.optional_fields()).chain(scored_column(task));
    let mut parts = Vec::new();
    for field in fields {
        if let Some(value) = input.fields.get(field) {
            parts.extend([field.to_owned(), value.to_string()]);
        }
    }
    fingerprint(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The letters and digits of what a task reads of an input, without case: texts that a reader would call the same have the
/// same. Empty where there are none.
fn loose(task: &Task, input: &Input) -> String {
    let texts = task.fields().into_iter().chain(task.optional_fields()).filter_map(|field| input.fields.get(field));
    let texts = texts.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_lowercase));
    texts.collect::<Vec<_>>().join(" ").chars().filter(|character| character.is_alphanumeric()).collect()
}

/// The number of each row's group.
fn groups(task: &Task, table: &Path, examples: &[(u64, Example)]) -> Result<Vec<usize>, EvalError> {
    let Some(column) = &task.goal.group else { return Ok((0..examples.len()).collect()) };
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let is_empty = |value: &&serde_json::Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    let group = |(number, example): &(u64, Example)| {
        let value = example.input.fields.get(column);
        if value.as_ref().is_some_and(is_empty) {
            let table = table.display();
            return Err(EvalError::Test(format!("{table}, row {number}: {column:?}, the group of [goal], is empty")));
        }
        let Some(value) = value else {
            let columns: Vec<_> = example.input.fields.keys().map(String::as_str).collect();
            return Err(EvalError::Test(format!(
                "{}, row {number}: there is no column {column:?}, which `group` of [goal] names\nhint: its columns are {}",
                table.display(),
                columns.join(", ")
            )));
        };
        let next = numbers.len();
        Ok(*numbers.entry(value.to_string()).or_insert(next))
    };
    examples.iter().map(group).collect()
}

fn numbers(rows: &[u64]) -> String {
    let named: Vec<String> = rows.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let rest = rows.len().saturating_sub(MOST_NAMED);
    if rest > 0 { format!("{} and {rest} more", named.join(", ")) } else { named.join(", ") }
}

/// Empty answers count, as those of questions that the text does not answer, which whoever answered half of a table must know.
fn without_answers(task: &Task, rows: &[TestRow]) -> Option<String> {
    let empty = rows.iter().filter(|row| has_no_answer(&row.example.expected)).count();
    (task.kind() == "answer" && empty > 0).then(|| {
        let all = rows.len();
        format!(
            "{empty} of {all} right answers are empty: that the text does not say; {UNLABELLED:?} stands for one that nobody \
             knows yet"
        )
    })
}

/// Rows that nobody has answered yet, and where to answer them.
fn left_out(task: &Task, unlabelled: &[u64]) -> Option<[String; 2]> {
    let rows = counted(unlabelled.len(), "row has no right answer yet and is", "rows have no right answer yet and are");
    let (name, command) = (&task.name, task.labelling_command());
    (!unlabelled.is_empty()).then(|| {
        let page = format!("`{command}` has a page to answer them, /evals/label/{name}");
        [format!("{rows} left out: row {}", numbers(unlabelled)), page]
    })
}

/// Rows that say the same twice count twice.
fn repeated(contents: &[(u64, String)]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let again: Vec<u64> =
        contents.iter().filter(|(_, content)| !seen.insert(content)).map(|(number, _)| *number).collect();
    (!again.is_empty()).then(|| {
        let rows = counted(again.len(), "test row says", "test rows say");
        format!("{rows} what another one says, counted once more: row {}", numbers(&again))
    })
}

/// A count with the word for one or for many.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Labels that no row of the test has: nothing is known of them afterwards.
fn missing_labels(task: &Task, rows: &[TestRow]) -> Option<String> {
    let classify = task.settings::<Classify>()?;
    let mut rows_of: BTreeMap<&str, usize> = classify.labels().iter().map(|label| (label.name.as_str(), 0)).collect();
    for row in rows {
        let expected = &row.example.expected;
        let labels = expected.as_array().map_or(std::slice::from_ref(expected), Vec::as_slice);
        for label in labels.iter().filter_map(serde_json::Value::as_str) {
            rows_of.entry(label).and_modify(|count| *count += 1);
        }
    }
    let missing: Vec<&str> = rows_of.iter().filter(|(_, count)| **count == 0).map(|(label, _)| *label).collect();
    (!missing.is_empty()).then(|| {
        let named = missing.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
        let rest = missing.len().saturating_sub(MOST_NAMED);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("no test row has the label {named}{rest}: the verdict says nothing of it")
    })
}

/// Rows that also stand in the table that is learned from; and rows that stand there but for case, blanks and punctuation,
/// which may be honest rows, so they are told and not refused.
fn leaked(task: &Task, contents: &[(u64, String)], loosely: &[String], leaks: Leaks) -> Result<Vec<String>, EvalError> {
    let Some(train) = task.data.train.as_ref().filter(|train| train.exists()) else { return Ok(Vec::new()) };
    let examples = task.examples_of(train)?;
    let known: BTreeSet<String> = examples.iter().map(|example| digest(task, &example.input)).collect();
    let nearly: BTreeSet<String> = examples.iter().map(|example| loose(task, &example.input)).collect();
    let (mut leaked, mut near) = (Vec::new(), Vec::new());
    for ((number, content), text) in contents.iter().zip(loosely) {
        if known.contains(content) {
            leaked.push(*number);
        } else if !text.is_empty() && nearly.contains(text) {
            near.push(*number);
        }
    }
    let near = (!near.is_empty()).then(|| {
        let rows = counted(near.len(), "test row says", "test rows say");
        let (train, named) = (train.display(), numbers(&near));
        format!("{rows} what a row of {train} says, but for case, blanks and punctuation: row {named}")
    });
    if leaked.is_empty() {
        return Ok(near.into_iter().collect());
    }
    let rows = counted(leaked.len(), "test row also stands", "test rows also stand");
    let said = format!("{rows} in {}: row {}", train.display(), numbers(&leaked));
    match leaks {
        Leaks::Allowed => Ok([said].into_iter().chain(near).collect()),
        Leaks::Refused => Err(EvalError::Test(format!(
            "{said}\nhint: whoever has seen the answer passes any test: take them out of one table, or --allow-leaks"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "kind = \"classify\"\n[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\nexpected = \"label\"\n\
                        [classify]\nlabels = [\"a\", \"b\"]\n";

    fn read(test: &str, train: &str, goal: &str, leaks: Leaks) -> Result<TestSet, EvalError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test.csv"), test).unwrap();
        std::fs::write(folder.path().join("train.csv"), train).unwrap();
        let task = Task::parse(&format!("{FILE}{goal}"), &folder.path().join("t.toml")).unwrap();
        TestSet::read(&task, None, leaks)
    }

    const TRAIN: &str = "text,label\nseen,a\n";

    #[test]
    fn the_digest_of_a_test_is_that_of_its_rows_in_whatever_order() {
        let one = read("text,label\nx,a\ny,b\n", TRAIN, "", Leaks::Refused).unwrap();
        let other = read("id,text,label\n7,y,b\n8,x,a\n", TRAIN, "", Leaks::Refused).unwrap();
        assert_eq!(one.sha256, other.sha256);
        let texts = |set: &TestSet| set.rows.iter().map(|row| row.digest.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&one), texts(&other), "the order is drawn from the rows and not from the table");
        let changed = read("text,label\nx,b\ny,b\n", TRAIN, "", Leaks::Refused).unwrap();
        assert_ne!(one.sha256, changed.sha256);
    }

    #[test]
    fn what_makes_a_verdict_worthless_is_refused_and_what_weakens_it_is_said() {
        let error = read("text,label\nseen,b\nx,a\n", TRAIN, "", Leaks::Refused).unwrap_err().to_string();
        assert!(error.starts_with("1 test row also stands in "), "{error}");
        assert!(error.contains("train.csv: row 1\nhint: whoever has seen the answer passes any test"), "{error}");
        let set = read("text,label\nseen,a\nx,a\nx,a\n", TRAIN, "", Leaks::Allowed).unwrap();
        assert_eq!(set.warnings[0], "1 test row says what another one says, counted once more: row 3");
        assert_eq!(set.warnings[2], "no test row has the label b: the verdict says nothing of it");
        assert!(set.warnings[1].starts_with("1 test row also stands in "), "{:?}", set.warnings);
        let set = read("text,label\n\" SEEN! \",a\nsaw,a\nb,b\n", TRAIN, "", Leaks::Refused).unwrap();
        assert!(
            set.warnings[0].starts_with("1 test row says what a row of ")
                && set.warnings[0].ends_with("train.csv says, but for case, blanks and punctuation: row 1"),
            "{:?}",
            set.warnings
        );
        let error = read("text,label\nx,c\n", TRAIN, "", Leaks::Refused).unwrap_err().to_string();
        assert!(error.ends_with("row 1: column \"label\": \"c\" is not one of the labels: a, b"), "{error}");
        let error = read("text,label\n", TRAIN, "", Leaks::Refused).unwrap_err().to_string();
        assert!(error.ends_with("test.csv: expected rows below the names of the columns, got none"), "{error}");
    }

    #[test]
    fn empty_answers_of_questions_count_and_are_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test.csv"), "question,text,answer\nq,x,\nr,y,b\ns,z,?\n").unwrap();
        let file = "kind = \"answer\"\n[data]\ntest = \"test.csv\"\nexpected = \"answer\"\n";
        let task = Task::parse(file, &folder.path().join("t.toml")).unwrap();
        let set = TestSet::read(&task, None, Leaks::Refused).unwrap();
        assert_eq!(set.rows.len(), 2);
        let told =
            "1 of 2 right answers are empty: that the text does not say; \"?\" stands for one that nobody knows yet";
        assert_eq!(set.warnings[1..], [told.to_owned()]);
    }

    #[test]
    fn rows_without_an_answer_are_left_out_and_told_with_where_to_answer_them() {
        let set = read("text,label\nx,\ny,b\nz, \nw,a\n", TRAIN, "", Leaks::Refused).unwrap();
        let mut numbers: Vec<u64> = set.rows.iter().map(|row| row.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 4], "numbers are those of the table");
        assert_eq!(
            set.warnings,
            ["2 rows have no right answer yet and are left out: row 1, 3; \
              `bantam serve MODEL --task t.toml` has a page to answer them, /evals/label/t"]
        );
        let whole = read("text,label\ny,b\nw,a\n", TRAIN, "", Leaks::Refused).unwrap();
        assert_eq!((set.sha256, whole.warnings), (whole.sha256, Vec::<String>::new()), "the same rows are judged");
        let error = read("text,label\nx,\n", TRAIN, "", Leaks::Refused).unwrap_err().to_string();
        assert!(error.contains("test.csv: 1 row has no right answer yet and is left out: row 1\nhint: "), "{error}");
    }

    #[test]
    fn rows_that_share_a_group_have_its_number() {
        let goal = "[goal]\ngroup = \"who\"\n";
        let set = read("who,text,label\nann,x,a\nbob,y,b\nann,z,a\n", TRAIN, goal, Leaks::Refused).unwrap();
        assert_eq!(set.groups, Some(2));
        let of = |number: u64| set.rows.iter().find(|row| row.number == number).unwrap().group;
        assert!(of(1) == of(3) && of(1) != of(2));
        let error = read("text,label\nx,a\n", TRAIN, goal, Leaks::Refused).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "row 1: there is no column \"who\", which `group` of [goal] names\nhint: its columns are text"
            ),
            "{error}"
        );
    }
}
