//! SQuAD 2.0: a question about a paragraph, half of which the paragraph does not answer.
//!
//! Source of the scores: Rajpurkar et al., Know What You Don't Know, 2018, and the evaluation published with it
//! (`metrics/squad.rs`). Source of the prompt: the task `squadv2` of lm-evaluation-harness (version 3), zero-shot. As there,
//! what the model writes is the answer as it stands, without a threshold of confidence: no answer is an empty line.

use super::asking::{self, Way};
use super::files::Folder;
use super::{Published, SuiteRow, greedy};
use crate::EvalError;
use crate::metrics::{exact_match, token_f1};
use serde::Deserialize;
use serde_json::Value;
use tasks::{Answer, Example, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "squad2",
    about: "questions about paragraphs, some of which have no answer there",
    protocol: "0-shot, without a chat template; the first line that follows is the answer, scored as the official script does: \
               F1 of the words, and exact match, of the best of the right answers",
    source: "lm-evaluation-harness 0.4.13, task `squadv2` (prompt); Rajpurkar et al. 2018 (scores)",
    shots: 0,
    notes: &[
        "Without examples nothing tells a model that a question may have no answer: look at the two parts of the test apart.",
    ],
    project: "SQuAD 2.0 (rajpurkar.github.io/SQuAD-explorer): dev-v2.0.json",
    part: Some(PART),
    metrics: &[&token_f1::ROW, &exact_match::ROW],
    way: Some(Way::Complete { field: "answer" }),
    read,
};

const PART: &str = "part";
/// Tokens of an answer at most, as the harness has it.
const MAX_TOKENS: usize = 256;

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    answers: Vec<Right>,
}

#[derive(Deserialize)]
struct Right {
    text: String,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let file = folder.text(&["dev-v2.0.json"])?;
    let read: File = serde_json::from_str(&file.text).map_err(|error| file.wrong(&error.to_string()))?;
    let mut examples = Vec::new();
    for Article { title, paragraphs } in &read.data {
        for Paragraph { context, qas } in paragraphs {
            examples.extend(qas.iter().map(|question| example(title, context, question)));
        }
    }
    let mut task = Task::new(ROW.name, Answer::freely());
    task.input = tasks::Template::field(tasks::TEXT);
    task.options = greedy(MAX_TOKENS, &["\n"]);
    Ok(Published { table: file.path, task, examples })
}

fn example(title: &str, context: &str, Question { question, answers }: &Question) -> Example {
    let before = format!("Title: {title}\n\nBackground: {context}\n\n");
    let mut input = asking::row(&before, format!("Question: {question}\n\nAnswer:"));
    let part = if answers.is_empty() { "no answer" } else { "has an answer" };
    input.fields.insert(PART.to_owned(), Value::from(part));
    let expected = answers.iter().map(|right| Value::from(right.text.as_str())).collect();
    Example { input, expected: Value::Array(expected) }
}
