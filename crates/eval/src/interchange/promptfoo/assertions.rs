//! Assertions: which of them do what a metric does, and how they are written in a cell of a table.
//!
//! A cell is `type:value` or `type(threshold):value`; anything else is a text that the answer must equal. A threshold there is
//! one that each row has to reach, and no statement about all rows. Templates in values are filled with the variables of
//! the test where they are no more than a name.

use crate::interchange::{Lost, Proposal};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// What each does here: their type, the metric, and whether its value is what is right.
const METRICS: &[(&str, &str)] = &[
    ("equals", "exact_match"),
    ("icontains", "contains"),
    ("contains", "contains"),
    ("contains-any", "contains"),
    ("icontains-any", "contains"),
    ("is-json", "valid_json"),
    ("rouge-n", "rouge_1"),
    ("levenshtein", "edit_similarity"),
];

/// Types whose values are lists, of which one is enough.
const ANY: [&str; 2] = ["contains-any", "icontains-any"];

static TYPED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)^((?:not-)?[a-z][a-z0-9-]*)(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?$")
        .expect("it is our own; this is a bug")
});
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{\s*(\w+)\s*\}\}").expect("it is our own; this is a bug"));

/// Types of which a cell may speak beside those above: a word before a colon is no type otherwise.
const OTHERS: &[&str] = &[
    "answer-relevance",
    "bleu",
    "classifier",
    "contains-all",
    "contains-html",
    "contains-json",
    "contains-sql",
    "contains-xml",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "cost",
    "eval",
    "factuality",
    "finish-reason",
    "fn",
    "g-eval",
    "gleu",
    "grade",
    "guardrails",
    "icontains-all",
    "is-html",
    "is-refusal",
    "is-sql",
    "is-valid-function-call",
    "is-valid-openai-function-call",
    "is-valid-openai-tools-call",
    "is-xml",
    "javascript",
    "latency",
    "llm-rubric",
    "meteor",
    "model-graded-closedqa",
    "model-graded-factuality",
    "moderation",
    "perplexity",
    "perplexity-score",
    "pi",
    "python",
    "regex",
    "ruby",
    "select-best",
    "similar",
    "starts-with",
    "tool-call-f1",
    "webhook",
    "word-count",
];

/// One assertion of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// Its type, as it stands there.
    pub theirs: String,
    value: Value,
    threshold: Option<f64>,
}

/// The assertions of a list; sets are opened, and what they weigh is lost.
pub fn of_list(list: &Value, lost: &mut Lost) -> Vec<Assertion> {
    let mut all = Vec::new();
    for one in list.as_array().into_iter().flatten() {
        if one["type"] == "assert-set" {
            lost.add("the threshold and weights of an `assert-set`");
            all.extend(of_list(&one["assert"], lost));
            continue;
        }
        let Some(theirs) = one["type"].as_str() else {
            lost.add("an assertion without a type");
            continue;
        };
        for key in ["transform", "weight", "provider", "rubricPrompt"] {
            if !one[key].is_null() {
                lost.add(&format!("`{key}` of an assertion `{theirs}`"));
            }
        }
        let (theirs, threshold) = (theirs.to_owned(), one["threshold"].as_f64());
        all.push(Assertion { theirs, value: one["value"].clone(), threshold });
    }
    all
}

/// The assertion that judges a row as a metric does, as far as there is one.
pub fn written(metric: &str, expected: &Value) -> Value {
    let theirs = METRICS.iter().find(|(_, ours)| *ours == metric).map_or("equals", |(theirs, _)| *theirs);
    match expected.as_array() {
        // Of several texts one is enough.
        Some(texts) if texts.len() > 1 => {
            let each: Vec<Value> = texts.iter().map(|text| json!({"type": theirs, "value": text})).collect();
            json!([{"type": "assert-set", "threshold": 1.0 / texts.len() as f64, "assert": each}])
        }
        _ => json!([{"type": theirs, "value": expected}]),
    }
}

impl Assertion {
    /// What a cell says.
    pub fn of_text(cell: &str) -> Assertion {
        let equals = || Assertion { theirs: "equals".to_owned(), value: cell.into(), threshold: None };
        if cell.starts_with("file://") {
            return Assertion { theirs: "file".to_owned(), value: cell.into(), threshold: None };
        }
        let Some(parts) = TYPED.captures(cell) else { return equals() };
        let theirs = &parts[1];
        let bare = theirs.strip_prefix("not-").unwrap_or(theirs);
        if !METRICS.iter().any(|(known, _)| *known == bare) && !OTHERS.contains(&bare) {
            return equals();
        }
        let text = parts.get(3).map(|value| value.as_str().trim());
        let value = match text {
            Some(list) if ANY.contains(&bare) => list.split(',').map(|one| one.trim().trim_matches('"')).collect(),
            Some(text) => text.into(),
            None => Value::Null,
        };
        let threshold = parts.get(2).and_then(|number| number.as_str().parse().ok());
        Assertion { theirs: theirs.to_owned(), value, threshold }
    }

    /// The metric that does the same.
    pub fn metric(&self) -> Option<&'static str> {
        let metric = METRICS.iter().find(|(theirs, _)| *theirs == self.theirs).map(|(_, ours)| *ours);
        // A schema is more than valid JSON.
        metric.filter(|metric| *metric != "valid_json" || self.value.is_null())
    }

    /// What a task file may say of it.
    pub fn proposal(&self) -> Option<Proposal> {
        let row_threshold = self.threshold.or(match self.theirs.as_str() {
            // Its default is a share of words, where that of `levenshtein` is a number of letters.
            "rouge-n" => Some(0.75),
            _ => None,
        });
        Some(Proposal { metric: self.metric()?, theirs: self.theirs.clone(), row_threshold })
    }

    /// The values that are right; none where they cannot be had without another program.
    pub fn values(&self, vars: &Map<String, Value>, lost: &mut Lost) -> Vec<Value> {
        if self.metric() == Some("valid_json") {
            return vec![Value::Null];
        }
        let values = match &self.value {
            Value::Array(values) if ANY.contains(&self.theirs.as_str()) => values.clone(),
            value => vec![value.clone()],
        };
        let filled = values.into_iter().filter_map(|value| match value {
            Value::String(text) => match filled(&text, vars) {
                Some(text) => Some(Value::String(text)),
                None => {
                    lost.add(&format!("a value of `{}` that a template or a file makes", self.theirs));
                    None
                }
            },
            Value::Null => None,
            value => Some(value),
        });
        filled.collect()
    }
}

/// A value with its variables in their places; none where it is more than that.
fn filled(text: &str, vars: &Map<String, Value>) -> Option<String> {
    let text = VARIABLE.replace_all(text, |found: &regex::Captures<'_>| match vars.get(&found[1]) {
        Some(Value::String(value)) => value.clone(),
        Some(value) => value.to_string(),
        None => found[0].to_owned(),
    });
    let is_plain = !["{{", "{%", "file://"].iter().any(|mark| text.contains(mark));
    is_plain.then(|| text.into_owned())
}
