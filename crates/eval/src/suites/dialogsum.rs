//! DialogSum: the summary of a conversation, beside those that three people wrote.
//!
//! Source: Chen et al., DialogSum: A Real-Life Scenario Dialogue Summarization Dataset, 2021: a summary's score is the mean
//! of its ROUGE scores against the three. The models of the paper are trained for it and have no prompt; the prompt here is
//! that of a task of kind `summarize`. Words are those of `metrics/rouge.rs`, without a stemmer.

use super::asking;
use super::files::Folder;
use super::{Published, SuiteRow, greedy};
use crate::EvalError;
use crate::metrics::MetricRow;
use crate::metrics::rouge::{OF_PAIRS, OF_SEQUENCE, OF_WORDS, against_all};
use serde::Deserialize;
use serde_json::json;
use tasks::{Example, Summarize, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "dialogsum",
    about: "summaries of conversations, beside three that people wrote",
    protocol: "0-shot, by the prompt of a task of kind `summarize` (20 words), as the benchmark has none; the score of a \
               summary is the mean of its ROUGE F1 against the three references, words without stemming",
    source: "Chen et al. 2021 (references and mean); the prompt is Bantam's own",
    shots: 0,
    notes: &["The best of the three references in place of their mean would give a higher figure."],
    project: "cylnlp/dialogsum: dialogsum.test.jsonl",
    part: None,
    metrics: &[&MEAN_L, &MEAN_1, &MEAN_2],
    way: None,
    read,
};

static MEAN_1: MetricRow = MetricRow {
    name: "rouge_1",
    about: "mean F1 of the words (ROUGE-1, no stemming) against all references",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(against_all(OF_WORDS)),
};
static MEAN_2: MetricRow = MetricRow {
    name: "rouge_2",
    about: "mean F1 of pairs of neighbouring words (ROUGE-2, no stemming) against all references",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(against_all(OF_PAIRS)),
};
static MEAN_L: MetricRow = MetricRow {
    name: "rouge_l",
    about: "mean F1 of the longest common sequence of words (ROUGE-L, no stemming) against all references",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(against_all(OF_SEQUENCE)),
};

/// Words of a summary: the references have 19 in the mean.
const WORDS: usize = 20;
const MAX_TOKENS: usize = 256;

#[derive(Deserialize)]
struct Dialogue {
    dialogue: String,
    summary1: String,
    summary2: String,
    summary3: String,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let file = folder.text(&["dialogsum.test.jsonl"])?;
    let example = |row: Dialogue| Example {
        input: asking::row("", row.dialogue),
        expected: json!([row.summary1, row.summary2, row.summary3]),
    };
    let examples = file.lines()?.into_iter().map(example).collect();
    let mut task = Task::new(ROW.name, Summarize { words: WORDS, ..Summarize::default() });
    task.options = greedy(MAX_TOKENS, &[]);
    Ok(Published { table: file.path, task, examples })
}
