//! OpenAI evals: samples in, the log of a run out.
//!
//! A sample is a line `{"input": text or messages, "ideal": text or a list of texts}` (openai/evals, docs/build-eval.md). Which
//! metric judges it stands in a registry elsewhere. A log begins with its `spec`, has an event for every answer and every
//! judgement, and ends with the `final_report` (evals/record.py); it is of one candidate.

use super::{Content, Exported, Format, Imported, Lost, Source, free_name, is_right, line, moment, prompt};
use crate::EvalError;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Its line of the table.
pub(super) static FORMAT: Format = Format {
    name: "openai-evals",
    about: "samples of OpenAI evals, and logs of its runs",
    fits: |source| source.first().is_some_and(|row| row.contains_key("input") && row.contains_key("ideal")),
    read,
    write,
    holds_many: false,
};

fn read(source: &Source) -> Result<Imported, EvalError> {
    let mut lost = Lost::default();
    if matches!(source.content, Content::Whole(_)) {
        return Err(EvalError::Interchange(format!(
            "{}: expected JSON lines, a sample each, got one JSON value\nhint: samples lie in files that end in .jsonl",
            source.name
        )));
    }
    let mut rows = Vec::new();
    let mut talks = 0;
    for sample in source.rows() {
        let mut row = Map::new();
        match sample.get("input") {
            Some(Value::String(text)) => drop(row.insert("input".to_owned(), text.as_str().into())),
            Some(Value::Array(messages)) => talks += usize::from(conversation(messages, &mut row, &mut lost)),
            _ => {
                lost.add("a sample whose input is neither a text nor messages");
                continue;
            }
        }
        let Some(ideal) = sample.get("ideal").filter(|ideal| !ideal.is_null()) else {
            lost.add("a sample without `ideal`");
            continue;
        };
        for (key, value) in sample.iter().filter(|(key, _)| !matches!(key.as_str(), "input" | "ideal")) {
            row.entry(key.clone()).or_insert_with(|| value.clone());
        }
        row.insert("ideal".to_owned(), ideal.clone());
        rows.push(row);
    }
    let mut notes: Vec<String> = lost.notes().collect();
    if talks > 0 {
        let inputs = if talks == 1 {
            "one input is a conversation".to_owned()
        } else {
            format!("{talks} inputs are conversations")
        };
        notes.push(format!("{inputs}: the column `input` has a turn a paragraph, with who says it"));
    }
    notes.push(
        "samples name no metric: it stands in the registry of evals; `match` there is `exact_match` here".to_owned(),
    );
    let expected = free_name(&rows, "expected");
    for row in &mut rows {
        if let Some(ideal) = row.shift_remove("ideal") {
            row.insert(expected.clone(), ideal);
        }
    }
    Ok(Imported { format: FORMAT.name, rows, expected, goal: None, notes })
}

/// Messages as columns: what the system says, and the input. True where more than one turn is in the input.
fn conversation(messages: &[Value], row: &mut Map<String, Value>, lost: &mut Lost) -> bool {
    let mut turns: Vec<(&str, &str)> = Vec::new();
    let mut system: Vec<&str> = Vec::new();
    for message in messages {
        match (message["role"].as_str(), message["content"].as_str()) {
            (Some("system" | "developer"), Some(text)) if turns.is_empty() => system.push(text),
            (Some(role), Some(text)) => turns.push((role, text)),
            _ => lost.add("a message without a role or with a content that is no text"),
        }
    }
    if !system.is_empty() {
        row.insert("system".to_owned(), system.join("\n\n").into());
    }
    let (text, is_talk) = match turns.as_slice() {
        [(_, text)] => ((*text).to_owned(), false),
        turns => (turns.iter().map(|(role, text)| format!("{role}: {text}")).collect::<Vec<_>>().join("\n\n"), true),
    };
    row.insert("input".to_owned(), text.into());
    is_talk
}

fn write(exported: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = &exported.run.new.name;
    let created = moment(exported.run.created_ms);
    for (position, candidate) in &exported.candidates {
        let spec = json!({
            "completion_fns": [candidate], "eval_name": exported.spec("/task"), "base_eval": exported.spec("/task"),
            "split": "test", "run_config": {"metric": exported.metric()}, "created_by": "", "run_id": run,
            "created_at": created,
        });
        line(out, &json!({"spec": spec}))?;
        let (mut number, mut scores) = (0u64, Vec::new());
        for row in exported.rows_of(*position) {
            let given = exported.given(row);
            let (kind, judged) = match &row.reason {
                Some(reason) => ("error", json!({"type": "no answer", "message": reason})),
                None => (
                    "match",
                    json!({"correct": is_right(row), "expected": row.expected, "picked": given,
                    "sampled": given, "score": row.score}),
                ),
            };
            let sampled = ("sampling", json!({"prompt": prompt(row), "sampled": [given]}));
            let sampled = row.answer.is_some().then_some(sampled);
            for (kind, data) in sampled.into_iter().chain([(kind, judged)]) {
                line(
                    out,
                    &json!({
                        "run_id": run, "event_id": number, "sample_id": format!("{}.{}", exported.spec("/task"), row.number),
                        "type": kind, "data": data, "created_by": "", "created_at": created,
                    }),
                )?;
                number += 1;
            }
            scores.extend(row.score);
        }
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        line(out, &json!({"final_report": {exported.metric(): mean, "rows": scores.len()}}))?;
    }
    Ok(())
}
