//! promptfoo: test cases in (CSV with `__expected` columns, JSON and JSON lines of `{vars, assert}`, a configuration or a results
//! file as JSON), results files of version 3 out.
//!
//! Each variable becomes a column, and the assertions of the kind that most tests have become what is right and the metric
//! (`promptfoo/assertions.rs`). Values that name files or programs are never followed. The shapes are those that version
//! 0.121 reads and writes.

mod assertions;

use super::{Content, Exported, Format, Imported, Lost, Source, free_name, is_right, moment, prompt, tokens};
use crate::EvalError;
use assertions::Assertion;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Its line of the table.
pub(super) static FORMAT: Format =
    Format { name: "promptfoo", about: "test cases and results of promptfoo", fits, read, write, holds_many: true };

/// Keys of a test that say nothing about what is right.
const HARMLESS: [&str; 4] = ["vars", "assert", "description", "metadata"];

/// A test as all forms have it.
struct Test {
    vars: Map<String, Value>,
    assertions: Vec<Assertion>,
}

fn fits(source: &Source) -> bool {
    let is_test = |row: &Map<String, Value>| {
        row.contains_key("vars")
            || row.contains_key("assert")
            || row.keys().any(|key| key.trim().starts_with("__expected"))
    };
    match &source.content {
        Content::Rows(rows) => rows.first().is_some_and(is_test),
        Content::Whole(Value::Array(tests)) => tests.first().and_then(Value::as_object).is_some_and(is_test),
        Content::Whole(value) => value["tests"].is_array() || value["results"]["results"].is_array(),
    }
}

fn read(source: &Source) -> Result<Imported, EvalError> {
    let mut lost = Lost::default();
    let tests = tests(source, &mut lost);
    // What most tests ask for is what all are judged by: a task has one metric.
    let mut times: BTreeMap<&'static str, usize> = BTreeMap::new();
    for metric in tests.iter().flat_map(|test| test.assertions.iter().filter_map(Assertion::metric)) {
        *times.entry(metric).or_default() += 1;
    }
    let metric = times.into_iter().max_by_key(|(_, count)| *count).map(|(metric, _)| metric);
    let (mut rows, mut right, mut goal) = (Vec::new(), Vec::new(), None);
    for Test { vars, assertions } in tests {
        let mut values = Vec::new();
        for assertion in assertions {
            if assertion.metric().is_none() || assertion.metric() != metric {
                lost.add(&format!("an assertion `{}`", assertion.theirs));
            } else {
                // Each of a test's assertions has to hold, and of several right texts one is enough.
                if values.is_empty() {
                    values = assertion.values(&vars, &mut lost);
                    goal = goal.or_else(|| assertion.proposal());
                } else {
                    lost.add(&format!("a second `{}` of one test", assertion.theirs));
                }
            }
        }
        match values.len() {
            0 => lost.add("a test without an assertion that says what is right"),
            count => {
                rows.push(vars);
                right.push(if count == 1 { values.swap_remove(0) } else { Value::Array(values) });
            }
        }
    }
    let expected = free_name(&rows, "expected");
    rows.iter_mut().zip(right).for_each(|(row, right)| drop(row.insert(expected.clone(), right)));
    let mut notes: Vec<String> = lost.notes().collect();
    if metric == Some("valid_json") {
        notes.push(format!("the answer need only be JSON, so the column `{expected}` says nothing"));
    }
    Ok(Imported { format: FORMAT.name, rows, expected, goal, notes })
}

fn tests(source: &Source, lost: &mut Lost) -> Vec<Test> {
    let nothing = Value::Null;
    let (cases, default): (Vec<&Map<String, Value>>, &Value) = match &source.content {
        Content::Whole(value) if value["tests"].is_array() => (
            value["tests"].as_array().into_iter().flatten().filter_map(Value::as_object).collect(),
            &value["defaultTest"],
        ),
        Content::Whole(value) if value["results"]["results"].is_array() => (results(value), &nothing),
        _ => (source.rows(), &nothing),
    };
    let mut tests = Vec::new();
    for case in cases {
        let is_row = case.keys().any(|key| key.trim().starts_with("__"))
            || !case.contains_key("vars") && !case.contains_key("assert");
        let mut test = if is_row { of_row(case, lost) } else { of_case(case, lost) };
        for (name, value) in default["vars"].as_object().into_iter().flatten() {
            test.vars.entry(name.clone()).or_insert_with(|| value.clone());
        }
        test.assertions.extend(assertions::of_list(&default["assert"], lost));
        tests.extend(each_value(test, lost));
    }
    tests
}

/// The tests of a results file, each once however many prompts and models it was run with.
fn results(value: &Value) -> Vec<&Map<String, Value>> {
    let mut seen = std::collections::HashSet::new();
    let results = value["results"]["results"].as_array().into_iter().flatten();
    let first = results.filter(|result| {
        let test = result["testIdx"].as_u64().map_or_else(|| result["testCase"].to_string(), |index| index.to_string());
        seen.insert(test)
    });
    first.filter_map(|result| result["testCase"].as_object()).collect()
}

/// A row of a table: columns with two underscores are no variables.
fn of_row(row: &Map<String, Value>, lost: &mut Lost) -> Test {
    let mut test = Test { vars: Map::new(), assertions: Vec::new() };
    for (key, value) in row {
        let (key, text) = (key.trim(), value.as_str().unwrap_or_default().trim());
        if key.starts_with("__expected") {
            test.assertions.extend((!text.is_empty()).then(|| Assertion::of_text(text)));
        } else if key.starts_with("__metadata") || key == "__description" {
            // It says nothing of what is right.
        } else if key.starts_with("__") {
            if !text.is_empty() {
                lost.add(&format!("a column `{key}`"));
            }
        } else {
            test.vars.insert(key.to_owned(), value.clone());
        }
    }
    test
}

fn of_case(case: &Map<String, Value>, lost: &mut Lost) -> Test {
    for key in case.keys().filter(|key| !HARMLESS.contains(&key.as_str())) {
        let is_empty = case[key].is_null() || case[key].as_object().is_some_and(Map::is_empty);
        if !is_empty {
            lost.add(&format!("`{key}` of a test"));
        }
    }
    let vars = match case.get("vars") {
        Some(Value::Object(vars)) => vars.clone(),
        Some(Value::Null) | None => Map::new(),
        Some(_) => {
            lost.add("`vars` that stand in another file");
            Map::new()
        }
    };
    let mut test = Test { vars, assertions: Vec::new() };
    if let Some(list) = case.get("assert") {
        test.assertions = assertions::of_list(list, lost);
    }
    let is_file = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("file://"));
    if let Some((name, _)) = test.vars.iter().find(|(_, value)| is_file(value)) {
        lost.add(&format!("a test whose variable `{name}` stands in another file"));
        test.assertions.clear();
    }
    test
}

/// More tests than anyone means by the lists of one.
const MOST_COMBINATIONS: usize = 100_000;

/// A variable that is a list stands for a test with each of its values.
fn each_value(test: Test, lost: &mut Lost) -> Vec<Test> {
    let counts = test.vars.values().map(|value| value.as_array().map_or(1, Vec::len));
    if counts.fold(1_usize, usize::saturating_mul) > MOST_COMBINATIONS {
        lost.add(&format!("a test whose lists of variables make more than {MOST_COMBINATIONS} tests"));
        return Vec::new();
    }
    let mut all = vec![Map::new()];
    for (name, value) in &test.vars {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let with = |vars: &Map<String, Value>, value: &Value| {
            let mut vars = vars.clone();
            vars.insert(name.clone(), value.clone());
            vars
        };
        all = all.iter().flat_map(|vars| values.iter().map(move |value| with(vars, value))).collect();
    }
    all.into_iter().map(|vars| Test { vars, assertions: test.assertions.clone() }).collect()
}

fn write(exported: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
    let metric = exported.metric();
    let (mut results, mut prompts) = (Vec::new(), Vec::new());
    let mut all = json!({"successes": 0, "failures": 0, "errors": 0, "tokenUsage": usage((0, 0, 0))});
    for (index, (position, candidate)) in exported.candidates.iter().enumerate() {
        let mut sum = (0u64, 0u64, 0u64);
        let (mut passed, mut failed, mut broken, mut scores, mut cost) = (0u64, 0u64, 0u64, 0.0, 0.0);
        for row in exported.rows_of(*position) {
            let used = tokens(row.answer.as_ref());
            sum = (sum.0 + used.0, sum.1 + used.1, sum.2 + used.2);
            match (row.reason.is_some(), is_right(row)) {
                (true, _) => broken += 1,
                (false, true) => passed += 1,
                (false, false) => failed += 1,
            }
            scores += row.score.unwrap_or(0.0);
            cost += row.answer.as_ref().and_then(|answer| answer.dollars).unwrap_or(0.0);
            results.push(result(exported, row, index, candidate));
        }
        prompts.push(json!({
            "raw": "{{prompt}}", "label": "{{prompt}}", "id": exported.spec("/task"), "provider": candidate,
            "metrics": {
                "score": scores, "testPassCount": passed, "testFailCount": failed, "testErrorCount": broken,
                "assertPassCount": passed, "assertFailCount": failed, "totalLatencyMs": 0, "tokenUsage": usage(sum),
                "namedScores": {metric: scores}, "namedScoresCount": {metric: passed + failed}, "cost": cost,
            },
        }));
        for (key, count) in [("successes", passed), ("failures", failed), ("errors", broken)] {
            all[key] = json!(all[key].as_u64().unwrap_or(0) + count);
        }
    }
    let providers: Vec<&String> = exported.candidates.iter().map(|(_, name)| name).collect();
    let file = json!({
        "evalId": format!("eval-{}", exported.run.new.name),
        "results": {
            "version": 3, "timestamp": moment(exported.run.created_ms), "prompts": prompts, "results": results,
            "stats": all,
        },
        "config": {"description": exported.run.new.name, "prompts": ["{{prompt}}"], "providers": providers},
        "shareableUrl": null,
    });
    serde_json::to_writer_pretty(&mut *out, &file)?;
    writeln!(out)
}

fn usage((prompt, completion, cached): (u64, u64, u64)) -> Value {
    json!({"prompt": prompt, "completion": completion, "cached": cached, "total": prompt + completion, "numRequests": 0})
}

fn result(exported: &Exported<'_>, row: &ledger::RunRow, index: usize, candidate: &str) -> Value {
    let (metric, answer) = (exported.metric(), row.answer.as_ref());
    let (used, asked) = (usage(tokens(answer)), prompt(row));
    let pass = is_right(row);
    let mut value = json!({
        "promptIdx": index, "testIdx": row.number.saturating_sub(1), "promptId": exported.spec("/task"),
        "provider": {"id": candidate, "label": candidate},
        "prompt": {"raw": asked, "label": "{{prompt}}"},
        "vars": {"prompt": asked},
        "testCase": {"vars": {"prompt": asked}, "assert": assertions::written(metric, &row.expected)},
        "success": pass, "score": row.score.unwrap_or(0.0), "namedScores": {metric: row.score.unwrap_or(0.0)},
        // 0 nothing failed, 1 an assertion did, 2 there is no answer.
        "failureReason": if row.reason.is_some() { 2 } else { u8::from(!pass) },
        "latencyMs": answer.map_or(0.0, |answer| answer.seconds * 1e3),
        "cost": answer.and_then(|answer| answer.dollars).unwrap_or(0.0),
        "tokenUsage": used, "metadata": {"row": row.number, "try": row.key.attempt},
        "gradingResult": {"pass": pass, "score": row.score.unwrap_or(0.0), "reason": format!("{metric} of the row"),
            "namedScores": {}, "tokensUsed": usage((0, 0, 0)), "componentResults": []},
    });
    match &row.reason {
        Some(reason) => value["error"] = json!(reason),
        None => value["response"] = json!({"output": exported.given(row), "tokenUsage": used, "cached": false}),
    }
    value
}
