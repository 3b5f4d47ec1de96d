//! The data sets: what is asked of each, and how its published files become tables.
//!
//! Limits keep the whole near half an hour on two cores. Thresholds are what somebody would want who is to rely on it without
//! looking. Only HEADLINES and Banking77 come with a train file of the same sort; SNIPS brings its own, SROIE is split here.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use tasks::table::Table;

use super::super::{infill, receipts};

/// More than any of the files unpacks to.
const MOST_BYTES: u64 = 1 << 30;

/// Writes tables of a data set into a folder, and gives the settings of its task.
type Prepare = fn(data: &Path, folder: &Path) -> anyhow::Result<String>;

/// A data set.
pub(super) struct Set {
    pub(super) name: &'static str,
    /// Its folder in the data, and the name of its task.
    pub(super) folder: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: &'static str,
    pub(super) metric: &'static str,
    pub(super) threshold: f64,
    /// Rows of the test.
    pub(super) limit: usize,
    pub(super) prepare: Prepare,
}

/// A data set is a row here and a function below.
pub(super) const SETS: &[Set] = &[
    Set {
        name: "Banking77",
        folder: "banking77",
        about: "questions of a bank's customers, 77 labels (arXiv 2003.04807)",
        kind: "classify",
        metric: "accuracy",
        threshold: 0.85,
        limit: 1_000,
        prepare: banking,
    },
    Set {
        name: "SNIPS",
        folder: "snips",
        about: "requests to a voice assistant, 7 labels (arXiv 1805.10190)",
        kind: "classify",
        metric: "accuracy",
        threshold: 0.95,
        limit: 700,
        prepare: snips,
    },
    Set {
        name: "HEADLINES",
        folder: "headlines",
        about: "where a headline says that the price of gold goes, 4 labels (the data of arXiv 2305.05176)",
        kind: "classify",
        metric: "accuracy",
        threshold: 0.85,
        limit: 1_000,
        prepare: headlines,
    },
    Set {
        name: "SROIE",
        folder: "sroie",
        about: "four fields of scanned receipts, of those that have all four (ICDAR 2019)",
        kind: "extract",
        metric: "field_f1",
        threshold: 0.8,
        limit: 100,
        prepare: sroie,
    },
    Set {
        name: "SQuAD 2.0",
        folder: "squad2",
        about: "questions about a paragraph, half of them without an answer in it (arXiv 1806.03822)",
        kind: "answer",
        metric: "token_f1",
        threshold: 0.7,
        limit: 160,
        prepare: squad,
    },
    Set {
        name: "HumanEval-Infilling, single lines",
        folder: "humaneval_infilling",
        about: "a line taken out of a program (arXiv 2207.14255), right where it is the same",
        kind: "complete",
        metric: "exact_match",
        threshold: 0.5,
        limit: 160,
        prepare: infilling,
    },
    Set {
        name: "DialogSum",
        folder: "dialogsum",
        about: "summaries of conversations, the best of three references each (arXiv 2105.06762)",
        kind: "summarize",
        metric: "rouge_l",
        threshold: 0.35,
        limit: 80,
        prepare: dialogs,
    },
];

fn write(folder: &Path, name: &str, rows: &[Value]) -> anyhow::Result<()> {
    ensure!(!rows.is_empty(), "{name}: expected rows, got none");
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.join(name), lines).with_context(|| name.to_owned())
}

/// Writes both tables, and gives the rows of the test. What stands in both is no test: a model that has seen the answer shows
/// nothing.
fn write_both(folder: &Path, train: &[Value], test: &[Value]) -> anyhow::Result<Vec<Value>> {
    let known: std::collections::HashSet<&str> = train.iter().filter_map(|row| row["text"].as_str()).collect();
    let is_new = |row: &&Value| row["text"].as_str().is_some_and(|text| !known.contains(text));
    let test: Vec<Value> = test.iter().filter(is_new).cloned().collect();
    write(folder, "train.jsonl", train)?;
    write(folder, "test.jsonl", &test)?;
    Ok(test)
}

/// What a task of labels says of its tables and labels.
fn labelled(folder: &Path, train: &[Value], test: &[Value]) -> anyhow::Result<String> {
    let test = write_both(folder, train, test)?;
    let labels: std::collections::BTreeSet<&str> =
        train.iter().chain(&test).filter_map(|row| row["label"].as_str()).collect();
    let labels = Value::from(labels.into_iter().collect::<Vec<_>>());
    Ok(format!(
        "\n[data]\ntrain = \"train.jsonl\"\ntest = \"test.jsonl\"\nexpected = \"label\"\n\n[classify]\nlabels = {labels}\n"
    ))
}

fn banking(data: &Path, folder: &Path) -> anyhow::Result<String> {
    let read = |name: &str| -> anyhow::Result<Vec<Value>> {
        let row = |row: tasks::table::Row| json!({"text": row.fields["text"], "label": row.fields["category"]});
        Table::open(&data.join(name))?.map(|one| Ok(row(one?))).collect()
    };
    labelled(folder, &read("train.csv")?, &read("test.csv")?)
}

fn snips(data: &Path, folder: &Path) -> anyhow::Result<String> {
    let read = |begin: &str, end: &str| -> anyhow::Result<Vec<Value>> {
        let mut files: Vec<_> = std::fs::read_dir(data)?.collect::<Result<_, _>>()?;
        files.sort_by_key(std::fs::DirEntry::file_name);
        let mut rows = Vec::new();
        for file in files {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(label) = name.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end)) else { continue };
            if label.contains('_') {
                continue;
            }
            // The files are Latin-1 here and there.
            let text = String::from_utf8_lossy(&std::fs::read(file.path())?).into_owned();
            let value: Value = serde_json::from_str(&text).with_context(|| name.clone())?;
            for request in value[label].as_array().with_context(|| format!("{name}: expected a list under {label}"))? {
                let parts = request["data"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
                rows.push(json!({"text": parts.collect::<String>().trim(), "label": label}));
            }
        }
        Ok(rows)
    };
    labelled(folder, &read("train_", ".json")?, &read("validate_", ".json")?)
}

fn headlines(data: &Path, folder: &Path) -> anyhow::Result<String> {
    // Without names of columns: a prompt that quotes the headline, the label, a number.
    let read = |name: &str| -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(data.join(name))?;
        let table = folder.join("named.csv");
        std::fs::write(&table, format!("prompt,label,id\n{text}"))?;
        let mut rows = Vec::new();
        for row in Table::open(&table)? {
            let fields = row?.fields;
            let prompt = fields["prompt"].as_str().unwrap_or_default();
            let headline = prompt.strip_prefix("Q:").unwrap_or(prompt).trim();
            let headline = headline.strip_suffix("A:").unwrap_or(headline).trim();
            rows.push(json!({"text": headline, "label": fields["label"].as_str().unwrap_or_default().trim()}));
        }
        Ok(rows)
    };
    let settings = labelled(folder, &read("train.csv")?, &read("test.csv")?)?;
    let instructions = "A headline about gold. Does it say that its price goes up, goes down, stays (neutral), or nothing of \
                        where it goes (none)?";
    Ok(format!("instructions = \"{instructions}\"\n{settings}"))
}

fn sroie(data: &Path, folder: &Path) -> anyhow::Result<String> {
    // The schema of the task wants all fields, and all but a few receipts have them.
    let mut all = receipts::read(data, usize::MAX)?;
    all.retain(|(_, fields)| receipts::FIELDS.iter().all(|field| fields[*field].is_string()));
    let row = |(text, fields): &(String, Value)| json!({"text": text, "fields": fields});
    // One half to learn from, one to judge by, in turn.
    let half = |rest: usize| -> Vec<Value> { all.iter().skip(rest).step_by(2).map(row).collect() };
    write_both(folder, &half(0), &half(1))?;
    let fields = receipts::DESCRIBED.split(',').filter_map(|field| field.split_once('='));
    let fields: String = fields.map(|(name, about)| format!("{name} = {{ description = {about:?} }}\n")).collect();
    Ok(format!(
        "\n[data]\ntrain = \"train.jsonl\"\ntest = \"test.jsonl\"\nexpected = \"fields\"\n\n\
         [extract.fields]\n{fields}"
    ))
}

fn squad(data: &Path, folder: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(data.join("dev-v2.0.json.gz"))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).take(MOST_BYTES).read_to_string(&mut text)?;
    let value: Value = serde_json::from_str(&text)?;
    let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for article in each(&value, "data") {
        for paragraph in each(&article, "paragraphs") {
            for question in each(&paragraph, "qas") {
                let mut answers: Vec<Value> =
                    each(&question, "answers").into_iter().map(|answer| answer["text"].clone()).collect();
                answers.dedup();
                rows.push(json!({
                    "question": question["question"], "context": paragraph["context"], "answers": answers,
                    "article": article["title"],
                }));
            }
        }
    }
    write(folder, "test.jsonl", &rows)?;
    Ok("\n[data]\ntest = \"test.jsonl\"\nexpected = \"answers\"\n\n[answer]\ntext = \"context\"\n".to_owned())
}

fn infilling(data: &Path, folder: &Path) -> anyhow::Result<String> {
    let holes = infill::read(&data.join("HumanEval-SingleLineInfilling.jsonl.gz"))?;
    let row = |hole: &infill::Hole| json!({"prefix": hole.prefix, "suffix": hole.suffix, "line": hole.line});
    write(folder, "test.jsonl", &holes.iter().map(row).collect::<Vec<_>>())?;
    Ok("input = \"{prefix}\"\n\n[data]\ntest = \"test.jsonl\"\nexpected = \"line\"\n\n[options]\nmax_tokens = 64\n\n\
        [complete]\nstop = \"line\"\nsuffix = \"suffix\"\n"
        .to_owned())
}

fn dialogs(data: &Path, folder: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(data.join("dialogsum.test.jsonl"))?;
    let row = |line: &str| -> anyhow::Result<Value> {
        let value: Value = serde_json::from_str(line)?;
        let summaries: Vec<&Value> = ["summary1", "summary2", "summary3"].map(|key| &value[key]).into();
        Ok(json!({"text": value["dialogue"], "summaries": summaries}))
    };
    let rows = text.lines().filter(|line| !line.trim().is_empty()).map(row).collect::<anyhow::Result<Vec<_>>>()?;
    write(folder, "test.jsonl", &rows)?;
    Ok("instructions = \"A conversation of two people. Say who they are to each other and what comes of it.\"\n\n[data]\n\
        test = \"test.jsonl\"\nexpected = \"summaries\"\n\n[options]\nmax_tokens = 120\n\n[summarize]\nwords = 25\n"
        .to_owned())
}
