//! lm-eval: the samples that `--log_samples` writes, in and out.
//!
//! A line has the document, the target, what was asked (`arguments.gen_args_0.arg_0`), what came (`resps`, `filtered_resps`)
//! and the score of each metric under its name (lm_eval/evaluator.py, lm_eval/loggers/evaluation_tracker.py of 0.4.13). A file is
//! of one candidate. Of a question with choices the target is a number, and the choices are the second arguments.

use super::{Exported, Format, Imported, Lost, Proposal, Source, free_name, line, prompt};
use crate::EvalError;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::io::{self, Write};
use tasks::batch::fingerprint;

/// Its line of the table.
pub(super) static FORMAT: Format = Format {
    name: "lm-eval",
    about: "samples_*.jsonl of the LM Evaluation Harness",
    fits: |source| source.first().is_some_and(|row| row.contains_key("doc") && row.contains_key("target")),
    read,
    write,
    holds_many: false,
};

/// Their metrics that do what one of ours does.
const METRICS: &[(&str, &str)] = &[
    ("exact_match", "exact_match"),
    ("acc", "exact_match"),
    ("f1", "token_f1"),
    ("rouge1", "rouge_1"),
    ("rouge2", "rouge_2"),
    ("rougeL", "rouge_l"),
    ("chrf", "chrf"),
];

/// The columns that are made, beside those of the document.
const PROMPT: &str = "prompt";
const CHOICES: &str = "choices";

fn read(source: &Source) -> Result<Imported, EvalError> {
    let (mut lost, mut seen, mut rows) = (Lost::default(), HashSet::new(), Vec::new());
    let mut targets = Vec::new();
    let mut metrics: Vec<String> = Vec::new();
    for sample in source.rows() {
        // A document stands there once for each filter of its answers.
        if !seen.insert(sample.get("doc_id").map(Value::to_string)) && sample.contains_key("doc_id") {
            continue;
        }
        for metric in sample.get("metrics").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !metrics.iter().any(|known| known == metric) {
                metrics.push(metric.to_owned());
            }
        }
        let choices = choices(sample);
        let Some(target) = target(sample, &choices) else {
            lost.add("a sample whose target is empty, or the number of no choice");
            continue;
        };
        let mut row = match sample.get("doc") {
            Some(Value::Object(doc)) => doc.clone(),
            Some(doc) => [("doc".to_owned(), doc.clone())].into_iter().collect(),
            None => Map::new(),
        };
        if let Some(asked) = sample["arguments"]["gen_args_0"]["arg_0"].as_str() {
            row.insert(PROMPT.to_owned(), asked.into());
        }
        if !choices.is_empty() {
            row.insert(CHOICES.to_owned(), choices.into());
        }
        rows.push(row);
        targets.push(target);
    }
    let expected = free_name(&rows, "target");
    rows.iter_mut().zip(targets).for_each(|(row, target)| drop(row.insert(expected.clone(), target.into())));
    let ours = |theirs: &String| METRICS.iter().find(|(name, _)| name == theirs).map(|(_, ours)| *ours);
    let goal = metrics
        .iter()
        .find_map(|theirs| Some(Proposal { metric: ours(theirs)?, theirs: theirs.clone(), row_threshold: None }));
    let mut notes: Vec<String> = lost.notes().collect();
    let unknown: Vec<&str> = metrics.iter().filter(|theirs| ours(theirs).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        notes.push(format!("no metric here does what these do: {}", unknown.join(", ")));
    }
    notes.push(format!("the column `{PROMPT}` is the whole text that was asked there, with its examples"));
    Ok(Imported { format: FORMAT.name, rows, expected, goal, notes })
}

/// What could be chosen, in order; none where answers were written freely.
fn choices(sample: &Map<String, Value>) -> Vec<String> {
    let Some(arguments) = sample.get("arguments").and_then(Value::as_object) else { return Vec::new() };
    let nth = |number: usize| arguments.get(&format!("gen_args_{number}"))?.get("arg_1")?.as_str();
    let choices: Vec<String> = (0..).map_while(nth).map(|text| text.trim().to_owned()).collect();
    if choices.len() > 1 { choices } else { Vec::new() }
}

fn target(sample: &Map<String, Value>, choices: &[String]) -> Option<String> {
    let target = match sample.get("target")? {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        other => other.to_string(),
    };
    if choices.is_empty() {
        return (!target.trim().is_empty()).then_some(target);
    }
    match target.trim().parse::<usize>() {
        Ok(number) => choices.get(number).cloned(),
        Err(_) => Some(target),
    }
}

fn write(exported: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
    let metric = exported.metric();
    for row in exported.candidates.iter().flat_map(|(position, _)| exported.rows_of(*position)) {
        let (asked, given) = (prompt(row), exported.given(row));
        let target = row.expected.as_str().map_or_else(|| row.expected.to_string(), str::to_owned);
        let doc = json!({"row": row.number, PROMPT: asked, "expected": row.expected});
        let mut sample = json!({
            "doc_id": row.number.saturating_sub(1),
            "doc": doc,
            "target": target,
            "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": {}}},
            "resps": [[given]],
            "filtered_resps": [given],
            "filter": "none",
            "metrics": [metric],
            "doc_hash": fingerprint(&[&doc.to_string()]),
            "prompt_hash": fingerprint(&[asked]),
            "target_hash": fingerprint(&[&target]),
        });
        sample[metric] = json!(row.score);
        if let Some(reason) = &row.reason {
            sample["error"] = json!(reason);
        }
        line(out, &sample)?;
    }
    Ok(())
}
