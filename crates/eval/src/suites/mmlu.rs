//! MMLU: questions of 57 subjects with four answers each; which letter follows is asked by its log-likelihood.
//!
//! Source: Hendrycks et al., Measuring Massive Multitask Language Understanding, 2021; prompt and scoring are those of the
//! task `mmlu` of lm-evaluation-harness (version 1.0 of its subjects), five examples of the subject from `dev`.
//!
//! The files are read as `dev.jsonl` and `test.jsonl` (`subject`, `question`, `choices`, `answer` as a letter), or as their
//! authors publish them: `dev/SUBJECT_dev.csv` and `test/SUBJECT_test.csv`, cells without a header.

use super::asking::{self, Way};
use super::files::{Folder, Text};
use super::{Published, SuiteRow, greedy};
use crate::EvalError;
use crate::metrics::accuracy;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use tasks::{Classify, Example, Label, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "mmlu",
    about: "questions of 57 subjects with four answers each",
    protocol: "5-shot, without a chat template; the answer is the letter whose continuation (\" A\" to \" D\") has the highest \
               log-likelihood, and the figure is the share of all questions that are right",
    source: "lm-evaluation-harness 0.4.13, task `mmlu`; Hendrycks et al. 2021",
    shots: 5,
    notes: &["The figure weighs every question alike, not every subject: subjects have 100 to 1,534 questions."],
    project: "hendrycks/test (MMLU): test.jsonl and dev.jsonl, or its folders test/ and dev/",
    part: Some(SUBJECT),
    metrics: &[&accuracy::ROW],
    way: Some(Way::Rank { continuations: &[("A", " A"), ("B", " B"), ("C", " C"), ("D", " D")] }),
    read,
};

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];
const SUBJECT: &str = "subject";
/// Examples of the subject before each question.
const SHOTS: usize = 5;

#[derive(Deserialize)]
struct Question {
    subject: String,
    question: String,
    choices: [String; 4],
    answer: String,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let (_, dev) = questions(folder, "dev")?;
    let (test, questions) = questions(folder, "test")?;
    let mut shots: HashMap<&str, Vec<&Question>> = HashMap::new();
    for question in &dev {
        shots.entry(&question.subject).or_default().push(question);
    }
    let mut examples = Vec::new();
    for (question, number) in questions.iter().zip(1u64..) {
        let subject = &question.subject;
        let shown = shots.get(subject.as_str()).map_or(&[][..], Vec::as_slice);
        if shown.len() < SHOTS {
            return Err(test.wrong(&format!(
                "question {number}: expected {SHOTS} examples of {subject} in dev, got {}",
                shown.len()
            )));
        }
        if !LETTERS.contains(&question.answer.as_str()) {
            return Err(
                test.wrong(&format!("question {number}: expected an answer from A to D, got {:?}", question.answer))
            );
        }
        let mut input = asking::row(&before(subject, &shown[..SHOTS]), asked(question));
        input.fields.insert(SUBJECT.to_owned(), Value::from(subject.as_str()));
        examples.push(Example { input, expected: Value::from(question.answer.as_str()) });
    }
    let labels = LETTERS.map(|name| Label { name: name.to_owned(), description: None });
    let mut task = Task::new(ROW.name, Classify::new(labels.to_vec())?);
    task.options = greedy(1, &[]);
    Ok(Published { table: test.path, task, examples })
}

/// What stands before the questions of a subject.
fn before(subject: &str, shown: &[&Question]) -> String {
    let subject = subject.replace('_', " ");
    let mut text = format!("The following are multiple choice questions (with answers) about {subject}.\n\n");
    for question in shown {
        text.push_str(&format!("{} {}\n\n", asked(question), question.answer));
    }
    text
}

fn asked(question: &Question) -> String {
    let [a, b, c, d] = &question.choices;
    format!("{}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:", question.question.trim())
}

/// The questions of a split, with the file that errors name.
fn questions(folder: &Folder<'_>, split: &str) -> Result<(Text, Vec<Question>), EvalError> {
    let name = format!("{split}.jsonl");
    let ending = format!("_{split}.csv");
    let names: Vec<String> = folder.names_in(split).into_iter().filter(|name| name.ends_with(&ending)).collect();
    if folder.has(&name) || names.is_empty() {
        let file = folder.text(&[&name, &format!("{split}/SUBJECT{ending}")])?;
        let questions = file.lines()?;
        return Ok((file, questions));
    }
    let mut questions = Vec::new();
    for name in &names {
        let file = folder.text(&[&format!("{split}/{name}")])?;
        questions.extend(cells(&file, name.trim_end_matches(&ending))?);
    }
    Ok((Text { path: folder.path.join(split), text: String::new() }, questions))
}

/// The questions of a subject's own file: question, four answers, letter.
fn cells(file: &Text, subject: &str) -> Result<Vec<Question>, EvalError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file.text.as_bytes());
    let question = |(number, record): (u64, Result<csv::StringRecord, csv::Error>)| {
        let record = record.map_err(|error| file.wrong(&format!("row {number}: {error}")))?;
        let cells: Vec<String> = record.iter().map(str::to_owned).collect();
        let [question, a, b, c, d, answer] = <[String; 6]>::try_from(cells).map_err(|cells| {
            file.wrong(&format!(
                "row {number}: expected a question, four answers and a letter, got {} cells",
                cells.len()
            ))
        })?;
        Ok(Question { subject: subject.to_owned(), question, choices: [a, b, c, d], answer })
    };
    (1u64..).zip(reader.records()).map(question).collect()
}
