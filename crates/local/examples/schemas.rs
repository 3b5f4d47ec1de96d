//! How much of a set of JSON Schemas can be held to, how soon, and whether what comes out is valid.
//!
//! ```text
//! cargo run --release -p local --example schemas -- MODEL.gguf FILE.jsonl...
//! ```
//!
//! A line of a file is `{"id": .., "schema": ..}`, as in JSONSchemaBench (arXiv 2501.10868). For each schema a text is
//! written of tokens chosen at random among those that may come, as no model would: where one is finished, it must be valid.
//! Checked is what is held to: formats, too, but for those that are annotations here, as `warnings` say.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use grammar::{Grammar, GrammarError, Vocabulary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenizer::Tokenizer;

const STACK_BYTES: usize = 64 << 20;

/// Tokens after which a text is left unfinished.
const MOST_TOKENS: usize = 3_000;

/// Tokens after which a text ends as soon as it may, and takes the shortest way there that is seen.
const ENOUGH: usize = 60;

#[derive(Default)]
struct Outcome {
    schemas: usize,
    accepted: usize,
    finished: usize,
    unfinished: usize,
    gave_up: Vec<String>,
    /// With formats that are annotations.
    annotated: usize,
    invalid: Vec<String>,
    /// Until the first mask is there.
    ready: Vec<Duration>,
    masks: Vec<Duration>,
    refused: BTreeMap<String, usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // As deep as where the product makes grammars.
    let thread =
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| run().map_err(|error| error.to_string()))?;
    Ok(thread.join().map_err(|_| "it broke off")??)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let model = args.next().ok_or("usage: schemas MODEL.gguf FILE.jsonl...")?;
    let tokenizer = Arc::new(local::open_tokenizer(model.as_ref())?);
    let began = Instant::now();
    let vocabulary = Vocabulary::new(&tokenizer)?;
    println!("vocabulary of {} tokens in {:.0?}", tokenizer.vocabulary_len(), began.elapsed());
    for file in args {
        let mut outcome = Outcome::default();
        for (number, line) in std::fs::read_to_string(&file)?.lines().enumerate() {
            let row: Value = serde_json::from_str(line)?;
            let id = row["id"].as_str().unwrap_or_default();
            try_schema(&vocabulary, &tokenizer, id, &row["schema"], number as u64, &mut outcome);
        }
        outcome.print(&file);
    }
    Ok(())
}

fn try_schema(
    vocabulary: &Vocabulary,
    tokenizer: &Tokenizer,
    id: &str,
    schema: &Value,
    seed: u64,
    outcome: &mut Outcome,
) {
    outcome.schemas += 1;
    let began = Instant::now();
    let grammar = match vocabulary.json_schema(schema) {
        Ok(grammar) => grammar,
        Err(error) => {
            *outcome.refused.entry(reason(&error)).or_default() += 1;
            return;
        }
    };
    outcome.accepted += 1;
    let is_annotation = |warning: &String| warning.contains(": the format ");
    outcome.annotated += usize::from(grammar.warnings().iter().any(is_annotation));
    match write(&grammar, tokenizer, seed, began, outcome) {
        Err(error) => outcome.gave_up.push(format!("{id}: {error}")),
        Ok(None) => outcome.unfinished += 1,
        Ok(Some(text)) => {
            outcome.finished += 1;
            if let Err(error) = check(&without_annotations(schema), &text) {
                outcome.invalid.push(format!("{id}: {error}: {text}"));
            }
        }
    }
}

fn check(schema: &Value, text: &str) -> Result<(), String> {
    let validator = jsonschema::options().should_validate_formats(true).build(schema);
    let validator = validator.map_err(|error| format!("the validator refuses the schema: {error}"))?;
    let mut instance = serde_json::from_str(text).map_err(|error| error.to_string())?;
    without_negative_zeros(&mut instance);
    validator.validate(&instance).map_err(|error| error.to_string())
}

/// A schema without what says of a text how it is read, and not what it is: formats that are not held to, and encodings, which
/// the specification has as annotations.
fn without_annotations(schema: &Value) -> Value {
    let is_annotation = |key: &str, value: &Value| match key {
        "format" => value.as_str().is_some_and(|format| !grammar::is_held_format(format)),
        "contentEncoding" | "contentMediaType" => value.is_string(),
        _ => false,
    };
    match schema {
        Value::Object(keywords) => {
            let kept = keywords.iter().filter(|(key, value)| !is_annotation(key, value));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_annotations(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_annotations).collect()),
        other => other.clone(),
    }
}

/// A text of tokens at random; none if it was not finished in time.
fn write(
    grammar: &Grammar,
    tokenizer: &Tokenizer,
    seed: u64,
    began: Instant,
    outcome: &mut Outcome,
) -> Result<Option<String>, GrammarError> {
    let mut matcher = grammar.matcher();
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::new();
    for count in 0..MOST_TOKENS {
        let start = Instant::now();
        let allowed = matcher.allowed()?;
        outcome.masks.push(start.elapsed());
        let allowed = allowed.tokens();
        if count == 0 {
            outcome.ready.push(began.elapsed());
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (random >> 33) as usize;
        if matcher.may_end()? && (count > ENOUGH || draw.is_multiple_of(4) || allowed.is_empty()) {
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
        let closes = |token: &&u32| {
            let text = tokenizer.token_bytes(**token);
            matches!(text.as_ref(), b"\"" | b"]" | b"}" | b"0")
        };
        let shortest = allowed.iter().filter(|_| count > ENOUGH).find(closes);
        let Some(&token) = shortest.or_else(|| allowed.get(draw % allowed.len().max(1))) else { return Ok(None) };
        matcher.accept(token)?;
        bytes.extend_from_slice(&tokenizer.token_bytes(token));
    }
    Ok(None)
}

/// `-0` is the integer 0 by the specification; the reader makes a fraction of it, and the validator no integer of that.
fn without_negative_zeros(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => *value = Value::from(0),
        Value::Array(items) => items.iter_mut().for_each(without_negative_zeros),
        Value::Object(members) => members.values_mut().for_each(without_negative_zeros),
        _ => {}
    }
}

/// A refusal without what differs from schema to schema.
fn reason(error: &GrammarError) -> String {
    match error {
        GrammarError::Schema { reason, .. } => reason.chars().take(70).collect(),
        other => other.to_string(),
    }
}

impl Outcome {
    fn print(&mut self, file: &str) {
        let share = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
        println!("\n{file}: {} schemas", self.schemas);
        println!("  accepted {} ({:.1} %)", self.accepted, share(self.accepted, self.schemas));
        println!(
            "  finished {}, of which valid {}; not finished within {MOST_TOKENS} tokens {}; gave up {}",
            self.finished,
            self.finished - self.invalid.len(),
            self.unfinished,
            self.gave_up.len()
        );
        println!("  with formats that are annotations {}", self.annotated);
        println!("  until the first mask: {}", spread(&mut self.ready));
        println!("  masks: {}", spread(&mut self.masks));
        let mut refused: Vec<_> = self.refused.iter().collect();
        refused.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (reason, count) in refused {
            println!("  refused {count}: {reason}");
        }
        for line in self.gave_up.iter().chain(&self.invalid).take(20) {
            println!("  {}", line.chars().take(300).collect::<String>());
        }
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    match (at(0.5), at(0.99), times.last()) {
        (Some(median), Some(high), Some(most)) => format!("median {median:.1?}, 99 % {high:.1?}, most {most:.1?}"),
        _ => "none".to_owned(),
    }
}
