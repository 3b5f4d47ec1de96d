//! How many calls of tools a model gets right, by the questions and rules of the Berkeley Function Calling Leaderboard.
//!
//! ```text
//! cargo run --release -p local --example calls -- MODEL.gguf --data QUESTIONS.json ANSWERS.json [--choice CHOICE] [--limit N]
//!     [--repeat-penalty X]
//! ```
//!
//! A line of the one file is a question with its functions, a line of the other the values that are accepted for each argument
//! (github.com/ShishirPatil/gorilla, `BFCL_v4_simple_python.json`). A call is right where its name is, each argument that must be
//! there is, none is there that the function does not have, and each value is one of those accepted; text is compared without
//! case, blanks and `,./-_*^`, as the leaderboard does. The choice is `auto` (free calls), `strict` (held where the model
//! calls) or `required` (held, and demanded). Answers are greedy; with a penalty a small model goes round in circles less.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use chat::{
    ChatError, ChatEvent, ChatModel, ChatRequest, FinishReason, GenerationOptions, Message, Role, Tool, ToolChoice,
};
use futures::StreamExt;
use futures::executor::block_on;
use kernels::{Isa, Runtime};
use local::{LoadOptions, LocalModel, ModelSource};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// So much of an answer that is not right is shown, in characters.
const SHOWN: usize = 200;

/// Most tokens of an answer.
const MOST_TOKENS: usize = 512;

struct Options {
    model: String,
    questions: String,
    answers: String,
    choice: Choice,
    limit: usize,
    repeat_penalty: Option<f32>,
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Auto,
    Strict,
    Required,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Right,
    WrongFunction,
    WrongArguments,
    WrongNumberOfCalls,
    NoCall,
    /// The answer was no valid call.
    Malformed,
    /// It ended for want of tokens.
    CutShort,
    /// Its tools cannot be held to.
    Refused,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let path = options.model.clone().into();
    let source = ModelSource { name: "model".to_owned(), path, ..ModelSource::default() };
    let threads = std::thread::available_parallelism()?.get();
    let runtime = Arc::new(Runtime::new(Isa::detect(), threads)?);
    let model = LocalModel::load(&source, &LoadOptions { context: Some(4096), ..LoadOptions::default() }, runtime)?;
    let answers: BTreeMap<String, Value> = lines(&options.answers)?.into_iter().map(by_id).collect();
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let began = Instant::now();
    for question in lines(&options.questions)?.into_iter().take(options.limit) {
        let (id, question) = by_id(question);
        let accepted = answers.get(&id).ok_or_else(|| format!("{id}: no answer of this id"))?;
        let (outcome, said) = ask(&model, &question, accepted, &options)?;
        if outcome != Outcome::Right {
            println!("{id}: {outcome:?}: {}", said.chars().take(SHOWN).collect::<String>().escape_debug());
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    let total: usize = outcomes.values().sum();
    println!("\n{:?}, {total} questions in {:.0?}", options.choice, began.elapsed());
    for (outcome, count) in &outcomes {
        println!("  {outcome:?}: {count} ({:.1} %)", 100.0 * *count as f64 / total as f64);
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let usage = "usage: calls MODEL.gguf --data QUESTIONS.json ANSWERS.json [--choice auto|strict|required] [--limit N] \
         [--repeat-penalty X]";
    let mut args = std::env::args().skip(1);
    let mut next = || args.next();
    let model = next().ok_or(usage)?;
    let (mut data, mut choice, mut limit, mut repeat_penalty) = (None, Choice::Strict, usize::MAX, None);
    while let Some(arg) = next() {
        match arg.as_str() {
            "--data" => data = next().zip(next()),
            "--choice" => {
                choice = match next().as_deref() {
                    Some("auto") => Choice::Auto,
                    Some("strict") => Choice::Strict,
                    Some("required") => Choice::Required,
                    _ => return Err(usage.into()),
                }
            }
            "--limit" => limit = next().ok_or(usage)?.parse()?,
            "--repeat-penalty" => repeat_penalty = Some(next().ok_or(usage)?.parse()?),
            _ => return Err(usage.into()),
        }
    }
    let (questions, answers) = data.ok_or(usage)?;
    Ok(Options { model, questions, answers, choice, limit, repeat_penalty })
}

fn lines(path: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let line = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| format!("{path}, line {}: {error}", index + 1).into())
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

fn by_id(line: Value) -> (String, Value) {
    (line["id"].as_str().unwrap_or_default().to_owned(), line)
}

/// Asks a question and judges the answer; with what was said.
fn ask(
    model: &LocalModel,
    question: &Value,
    accepted: &Value,
    options: &Options,
) -> Result<(Outcome, String), Box<dyn Error>> {
    let functions = question["function"].as_array().ok_or("expected a list of functions")?;
    let tool = |function: &Value| {
        let mut function = function.clone();
        function["parameters"] = json_schema(&function["parameters"]);
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        let definition = json!({"type": "function", "function": function});
        Tool { name, definition, strict: matches!(options.choice, Choice::Strict) }
    };
    let request = ChatRequest {
        messages: serde_json::from_value::<Vec<Message>>(question["question"][0].clone())
            .unwrap_or_else(|_| vec![Message::new(Role::User, question["question"].to_string())]),
        tools: functions.iter().map(tool).collect(),
        tool_choice: if matches!(options.choice, Choice::Required) { ToolChoice::Required } else { ToolChoice::Auto },
        one_tool_call: accepted["ground_truth"].as_array().map_or(0, Vec::len) == 1,
        options: GenerationOptions {
            temperature: Some(0.0),
            max_tokens: Some(MOST_TOKENS),
            repeat_penalty: options.repeat_penalty,
            seed: Some(1),
            ..GenerationOptions::default()
        },
        ..ChatRequest::default()
    };
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut stream = match block_on(model.chat(request)) {
        Err(error @ ChatError::ToolSchema { .. }) => return Ok((Outcome::Refused, error.to_string())),
        answered => answered?,
    };
    let mut said = String::new();
    while let Some(event) = block_on(stream.next()) {
        match event {
            Ok(ChatEvent::Text { text, .. }) => said.push_str(&text),
            Ok(ChatEvent::ToolCall { name, .. }) => {
                said.push_str(&format!("[{name}]"));
                calls.push((name, String::new()));
            }
            Ok(ChatEvent::ToolArguments { index, json, .. }) => {
                said.push_str(&json);
                calls[index].1.push_str(&json);
            }
            Ok(ChatEvent::Finished { reason: FinishReason::Length, .. }) => return Ok((Outcome::CutShort, said)),
            Ok(_) => {}
            Err(ChatError::BadOutput(_)) => return Ok((Outcome::Malformed, said)),
            Err(other) => return Err(other.into()),
        }
    }
    Ok((judge(&calls, functions, accepted), said))
}

/// A function's parameters as a JSON Schema: the leaderboard has types of Python.
fn json_schema(parameters: &Value) -> Value {
    match parameters {
        Value::Object(keywords) => {
            let mut schema = Map::new();
            for (key, value) in keywords {
                match (key.as_str(), value.as_str()) {
                    ("type", Some("dict")) => schema.insert(key.clone(), json!("object")),
                    ("type", Some("float")) => schema.insert(key.clone(), json!("number")),
                    ("type", Some("tuple")) => schema.insert(key.clone(), json!("array")),
                    ("type", Some("any")) => None,
                    ("properties", None) => {
                        let named = value.as_object().into_iter().flatten();
                        let named = named.map(|(name, value)| (name.clone(), json_schema(value))).collect();
                        schema.insert(key.clone(), Value::Object(named))
                    }
                    // Marks of the data set, which mean nothing in a schema.
                    ("optional", _) => None,
                    ("items", None) => schema.insert(key.clone(), json_schema(value)),
                    _ => schema.insert(key.clone(), value.clone()),
                };
            }
            // What a function does not have is no argument of it.
            if schema.get("type") == Some(&json!("object")) && schema.contains_key("properties") {
                schema.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Value::Object(schema)
        }
        other => other.clone(),
    }
}

fn judge(calls: &[(String, String)], functions: &[Value], accepted: &Value) -> Outcome {
    let expected: Vec<(&String, &Value)> =
        accepted["ground_truth"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten().collect();
    if calls.is_empty() {
        return Outcome::NoCall;
    }
    if calls.len() != expected.len() {
        return Outcome::WrongNumberOfCalls;
    }
    for (called, (name, accepted)) in calls.iter().zip(expected) {
        if called.0 != *name {
            return Outcome::WrongFunction;
        }
        let Some(function) = functions.iter().find(|function| function["name"] == **name) else {
            return Outcome::WrongFunction;
        };
        let Ok(Value::Object(arguments)) = serde_json::from_str(&called.1) else { return Outcome::Malformed };
        if !are_right(&arguments, &function["parameters"], accepted) {
            return Outcome::WrongArguments;
        }
    }
    Outcome::Right
}

/// Whether each argument is one of those accepted, none is missing that must be there, and none is too many.
fn are_right(arguments: &Map<String, Value>, parameters: &Value, accepted: &Value) -> bool {
    let Some(accepted) = accepted.as_object() else { return false };
    let required = parameters["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let has_required = required.into_iter().all(|name| arguments.contains_key(name));
    let is_right = |(name, value): (&String, &Value)| {
        let values = accepted.get(name).and_then(Value::as_array);
        let wants_text = parameters["properties"][name]["type"] == "string";
        values.is_some_and(|values| values.iter().any(|one| is_one(value, one))) && (!wants_text || value.is_string())
    };
    has_required && arguments.iter().all(is_right) && may_lack(arguments, accepted)
}

/// Whether what is not there need not be: an empty text among what is accepted says so.
fn may_lack(given: &Map<String, Value>, accepted: &Map<String, Value>) -> bool {
    let may = |values: &Value| values.as_array().is_some_and(|values| values.contains(&json!("")));
    accepted.iter().all(|(name, values)| given.contains_key(name) || may(values))
}

/// Whether a value is one that is accepted: fields of an object have lists of accepted values of their own.
fn is_one(value: &Value, accepted: &Value) -> bool {
    match (value, accepted) {
        (Value::String(value), Value::String(accepted)) => plain(value) == plain(accepted),
        (Value::Number(value), Value::Number(accepted)) => value.as_f64() == accepted.as_f64(),
        (Value::Array(values), Value::Array(accepted)) => {
            values.len() == accepted.len() && values.iter().zip(accepted).all(|(value, one)| is_one(value, one))
        }
        (Value::Object(fields), Value::Object(accepted)) => {
            let is_right = |(name, value): (&String, &Value)| {
                let values = accepted.get(name).and_then(Value::as_array);
                values.is_some_and(|values| values.iter().any(|one| is_one(value, one)))
            };
            fields.iter().all(is_right) && may_lack(fields, accepted)
        }
        _ => value == accepted,
    }
}

/// Text without what is not compared.
fn plain(text: &str) -> String {
    let text = text.to_lowercase().replace('\'', "\"");
    text.chars().filter(|letter| !" ,./-_*^".contains(*letter)).collect()
}
