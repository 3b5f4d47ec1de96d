//! IFEval: instructions whose following a program can check, one to three of them in a prompt.
//!
//! Source: Zhou et al., Instruction-Following Evaluation for Large Language Models, 2023, and the checks published with it,
//! as the task `ifeval` of lm-evaluation-harness (version 4.0) has them. Read next: `ifeval/instructions.rs`.

mod instructions;
mod language;
mod sentences;
mod words;

use super::asking::{self, Way};
use super::files::Folder;
use super::{Published, SuiteRow, greedy};
use crate::EvalError;
use crate::metrics::mean::share;
use crate::metrics::{Counts, Judged, Metric, MetricRow};
use instructions::Instruction;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tasks::{Example, Generate, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "ifeval",
    about: "instructions whose following a program can check",
    protocol: "0-shot, the prompt as a message of the model's chat template where it has one, at most 1280 tokens; main figure \
               prompt_strict: answers that follow every instruction of their prompt; beside it the share of instructions, and \
               both leniently: without the first line, the last line, asterisks",
    source: "lm-evaluation-harness 0.4.13, task `ifeval`; Zhou et al. 2023",
    shots: 0,
    notes: &[
        "Sentences are counted by rules of this program where the published checks use a trained splitter (Punkt): of texts \
         with many abbreviations the counts may differ by one or two.",
        "The language of an answer is told by the same method and profiles as in the published checks (langdetect), seeded; \
         there it is not, and short texts may be told otherwise from run to run.",
    ],
    project: "google-research/instruction_following_eval: input_data.jsonl (or ifeval_data.jsonl)",
    part: None,
    metrics: &[&PROMPT_STRICT, &INSTRUCTION_STRICT, &PROMPT_LOOSE, &INSTRUCTION_LOOSE],
    way: Some(Way::Say),
    read,
};

static PROMPT_STRICT: MetricRow = MetricRow {
    name: "prompt_strict",
    about: "share of answers that follow every instruction of their prompt",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(share(|row| Some(followed(row, Instruction::is_followed).iter().all(|is_followed| *is_followed)))),
};
static PROMPT_LOOSE: MetricRow = MetricRow {
    name: "prompt_loose",
    about: "share of answers that follow every instruction of their prompt, read leniently",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(share(|row| Some(followed(row, is_followed_loosely).iter().all(|is_followed| *is_followed)))),
};
static INSTRUCTION_STRICT: MetricRow = MetricRow {
    name: "instruction_strict",
    about: "share of all instructions that are followed",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(Box::new(OfInstructions(Instruction::is_followed))),
};
static INSTRUCTION_LOOSE: MetricRow = MetricRow {
    name: "instruction_loose",
    about: "share of all instructions that are followed, answers read leniently",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(Box::new(OfInstructions(is_followed_loosely))),
};

/// Tokens of an answer at most, as the harness has it.
const MAX_TOKENS: usize = 1280;
/// The field of what is right that names an instruction; its settings stand beside it.
const ID: &str = "instruction";

#[derive(Deserialize)]
struct Row {
    key: u64,
    prompt: String,
    instruction_id_list: Vec<String>,
    kwargs: Vec<Map<String, Value>>,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let file = folder.text(&["input_data.jsonl", "ifeval_data.jsonl"])?;
    let mut examples = Vec::new();
    for Row { key, prompt, instruction_id_list, kwargs } in file.lines()? {
        let wrong = |what: String| file.wrong(&format!("prompt {key}: {what}"));
        if kwargs.len() != instruction_id_list.len() || kwargs.is_empty() {
            let (ids, settings) = (instruction_id_list.len(), kwargs.len());
            return Err(wrong(format!("expected the settings of each instruction, got {settings} for {ids}")));
        }
        let mut expected = Vec::new();
        for (id, settings) in instruction_id_list.into_iter().zip(kwargs) {
            // Some copies of the file name the settings of all instructions beside each, as null.
            let settings = settings.into_iter().filter(|(_, value)| !value.is_null());
            let right = Value::Object(std::iter::once((ID.to_owned(), json!(id))).chain(settings).collect());
            Instruction::read(&right).map_err(wrong)?;
            expected.push(right);
        }
        examples.push(Example { input: asking::row("", prompt), expected: Value::Array(expected) });
    }
    let mut task = Task::new(ROW.name, Generate::default());
    task.options = greedy(MAX_TOKENS, &[]);
    Ok(Published { table: file.path, task, examples })
}

/// Of each instruction of a row, whether its answer follows it.
fn followed(row: &Judged<'_>, follows: fn(&Instruction, &str) -> bool) -> Vec<bool> {
    let answer = row.outcome.get(tasks::TEXT).and_then(Value::as_str).unwrap_or_default();
    let instructions = row.expected.as_array().into_iter().flatten();
    // They were read when the file was.
    instructions.map(|one| Instruction::read(one).is_ok_and(|instruction| follows(&instruction, answer))).collect()
}

/// Whether any of eight readings of an answer follows: as it is, without the first line, the last, both, and each of these
/// without asterisks (section 3.2 of the paper).
fn is_followed_loosely(instruction: &Instruction, answer: &str) -> bool {
    let lines: Vec<&str> = answer.split('\n').collect();
    let part = |from: usize, to: usize| lines.get(from..to).unwrap_or_default().join("\n").trim().to_owned();
    let (last, all) = (lines.len() - 1, lines.len());
    let readings = [answer.to_owned(), part(1, all), part(0, last), part(1, last)];
    readings.iter().any(|text| instruction.is_followed(text) || instruction.is_followed(&text.replace('*', "")))
}

/// The share of all instructions: rows have several, which are no independent evidence, so that rows are what is drawn.
struct OfInstructions(fn(&Instruction, &str) -> bool);

impl Metric for OfInstructions {
    fn slots(&self) -> usize {
        2
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        let followed = followed(row, self.0);
        let right = followed.iter().filter(|is_followed| **is_followed).count();
        Some(Counts(vec![(0, right as f64), (1, followed.len() as f64)]))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        let [right, all] = *sums else { return None };
        (all > 0.0).then(|| right / all)
    }
}

#[cfg(test)]
#[path = "ifeval/tests.rs"]
mod tests;
