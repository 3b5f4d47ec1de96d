//! Test cases as other tools write them, and a run as they read it.

use super::*;
use ledger::{AnswerKey, NewRun, RunId};
use serde_json::json;

fn read(name: &str, text: &str) -> Result<Imported, EvalError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    import(&path, None)
}

fn error(name: &str, text: &str) -> String {
    read(name, text).unwrap_err().to_string()
}

fn rows(imported: &Imported) -> Value {
    json!(imported.rows)
}

#[test]
fn samples_of_evals_have_texts_or_messages_and_one_or_more_right_answers() {
    let text = r#"{"input": [{"role": "system", "content": "Answer in a word."}, {"role": "user", "content": "2+2?"}], "ideal": "4"}
{"input": "Capital of France?", "ideal": ["Paris", "paris"], "topic": "geography"}
{"input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"}], "ideal": "Bye"}
{"input": 5, "ideal": "x"}
"#;
    let imported = read("samples.jsonl", text).unwrap();
    assert_eq!((imported.format, imported.expected.as_str()), ("openai-evals", "expected"));
    assert_eq!(
        rows(&imported),
        json!([
            {"system": "Answer in a word.", "input": "2+2?", "expected": "4"},
            {"input": "Capital of France?", "topic": "geography", "expected": ["Paris", "paris"]},
            {"input": "user: Hi\n\nassistant: Hello\n\nuser: Bye", "expected": "Bye"},
        ])
    );
    assert_eq!(imported.notes[0], "left out once: a sample whose input is neither a text nor messages");
    assert!(imported.notes[1].starts_with("one input is a conversation: the column"), "{:?}", imported.notes);
    assert_eq!(imported.goal, None);
}

#[test]
fn a_table_of_promptfoo_has_its_variables_and_what_most_tests_ask_for() {
    let text = "question,__expected,__expected2,__description,__metadata:topic\n\
                2+2?,equals:4,llm-rubric:is polite,sum,math\n\
                Capital?,Paris,,,\n\
                Who?,contains:Bob,,,\n\
                Which {{question}}?,\"equals: {{question}}\",,,\n\
                When?,javascript:output.length > 3,,,\n";
    let imported = read("tests.csv", text).unwrap();
    assert_eq!((imported.format, imported.goal.as_ref().unwrap().metric), ("promptfoo", "exact_match"));
    assert_eq!(
        rows(&imported),
        json!([{"question": "2+2?", "expected": "4"}, {"question": "Capital?", "expected": "Paris"}])
    );
    assert_eq!(
        imported.notes,
        [
            "left out 3 times: a test without an assertion that says what is right",
            "left out once: a value of `equals` that a template or a file makes",
            "left out once: an assertion `contains`",
            "left out once: an assertion `javascript`",
            "left out once: an assertion `llm-rubric`",
        ]
    );
}

#[test]
fn cases_of_promptfoo_stand_in_lists_lines_configurations_and_results() {
    let case = |question: &str, kind: &str, value: Value| json!({"vars": {"question": question}, "assert": [{"type": kind, "value": value, "threshold": 0.6}]});
    let list = json!([case("a", "rouge-n", json!("long text")), case("b", "rouge-n", json!("other text"))]);
    let imported = read("tests.json", &list.to_string()).unwrap();
    let goal = imported.goal.clone().unwrap();
    assert_eq!((goal.metric, goal.theirs.as_str(), goal.row_threshold), ("rouge_1", "rouge-n", Some(0.6)));
    assert_eq!(rows(&imported)[1], json!({"question": "b", "expected": "other text"}));
    let lines = format!("{}\n{}\n", case("a", "contains-any", json!(["x", "y"])), case("b", "icontains", json!("z")));
    let imported = read("tests.jsonl", &lines).unwrap();
    assert_eq!(
        (imported.goal.as_ref().unwrap().metric, &rows(&imported)[0]["expected"]),
        ("contains", &json!(["x", "y"]))
    );
    let config = json!({
        "prompts": ["{{tone}} {{question}}"], "defaultTest": {"vars": {"tone": "Kindly:"}, "assert": [{"type": "is-json"}]},
        "tests": [{"vars": {"question": ["a", "b"]}}, {"vars": "file://more.csv"}, {"vars": {"question": "c"}, "options": {"prefix": "x"}}],
    });
    let imported = read("config.json", &config.to_string()).unwrap();
    assert_eq!(imported.goal.as_ref().unwrap().metric, "valid_json");
    assert_eq!(rows(&imported)[0], json!({"question": "a", "tone": "Kindly:", "expected": null}));
    assert_eq!(imported.rows.len(), 4, "a list stands for a test each, and the default asks for JSON of all");
    assert!(
        imported.notes.contains(&"left out once: `vars` that stand in another file".to_owned()),
        "{:?}",
        imported.notes
    );
    assert!(imported.notes.contains(&"left out once: `options` of a test".to_owned()), "{:?}", imported.notes);
    let schema = json!([case("a", "is-json", json!({"type": "object"}))]);
    assert!(
        error("tests.json", &schema.to_string()).ends_with(
            "expected rows that say what is right, got none: left out once: a test without an assertion that says what is \
             right; left out once: an assertion `is-json`\nhint: a verdict needs tens of them"
        ),
        "{}",
        error("tests.json", &schema.to_string())
    );
}

#[test]
fn samples_of_lm_eval_are_documents_with_targets_once_for_each() {
    let free = |filter: &str| {
        json!({
            "doc_id": 0, "doc": {"question": "2+2?", "answer": "#### 4"}, "target": "4",
            "arguments": {"gen_args_0": {"arg_0": "Q: 2+2?\nA:", "arg_1": {"until": ["Q:"]}}}, "resps": [["4"]],
            "filtered_resps": ["4"], "filter": filter, "metrics": ["exact_match"], "doc_hash": "0", "prompt_hash": "0",
            "target_hash": "0", "exact_match": 1.0,
        })
    };
    let imported =
        read("samples_gsm8k_2026.jsonl", &format!("{}\n{}\n", free("strict-match"), free("flexible-extract"))).unwrap();
    assert_eq!(imported.goal.as_ref().unwrap().metric, "exact_match");
    assert_eq!(
        rows(&imported),
        json!([{"question": "2+2?", "answer": "#### 4", "prompt": "Q: 2+2?\nA:", "target": "4"}])
    );
    let choice = json!({
        "doc_id": 7, "doc": {"question": "Red?"}, "target": "1",
        "arguments": {"gen_args_0": {"arg_0": "Red?", "arg_1": " no"}, "gen_args_1": {"arg_0": "Red?", "arg_1": " yes"}},
        "resps": [[[-1.0, false]], [[-0.5, true]]], "filtered_resps": [[-1.0, false], [-0.5, true]], "filter": "none",
        "metrics": ["acc", "acc_norm"], "acc": 1.0, "acc_norm": 1.0,
    });
    let imported = read("samples_choice.jsonl", &format!("{choice}\n")).unwrap();
    assert_eq!(
        rows(&imported),
        json!([{"question": "Red?", "prompt": "Red?", "choices": ["no", "yes"], "target": "yes"}])
    );
    assert_eq!(imported.notes[0], "no metric here does what these do: acc_norm");
}

#[test]
fn what_is_no_test_case_is_refused_by_what_would_be_one() {
    assert!(error("a.yaml", "tests: []").contains("expected JSON, JSON lines or CSV, got YAML\nhint: "));
    let told = error("a.csv", "text,label\nx,y\n");
    assert!(
        told.contains("expected test cases of lm-eval, promptfoo, openai-evals\nhint: rows with `input` and"),
        "{told}"
    );
    assert!(error("a.json", "{").contains("a.json: expected JSON, got EOF"));
}

/// A run of two rows: one right, one that failed.
fn run() -> (Run, Vec<RunRow>) {
    let spec = json!({"task": "sums", "kind": "answer", "goal": {"metric": "exact_match"}});
    let new = NewRun { name: "sums-1".to_owned(), fingerprint: String::new(), test_sha256: String::new(), spec };
    let run = Run { id: RunId(1), new, created_ms: 951_782_400_123, ended_ms: None, report: None };
    let key = AnswerKey { candidate: "c".to_owned(), input: "i".to_owned(), attempt: 0 };
    let answer = Answer {
        outcome: json!({"answer": "4"}),
        warnings: Vec::new(),
        prompt: Some("2+2?".to_owned()),
        prompt_tokens: 9,
        cached_tokens: 1,
        completion_tokens: 2,
        seconds: 0.5,
        busy_seconds: 0.5,
        is_alone: true,
        dollars: Some(0.25),
    };
    let row = RunRow {
        position: 0,
        number: 1,
        key,
        score: Some(1.0),
        reason: None,
        expected: json!("4"),
        grade: None,
        answer: Some(answer),
    };
    let failed = RunRow {
        number: 2,
        score: None,
        reason: Some("429".to_owned()),
        answer: None,
        expected: json!("5"),
        ..row.clone()
    };
    (run, vec![row, failed])
}

fn written(format: &str) -> String {
    let (run, rows) = run();
    let exported = Exported { run: &run, candidates: vec![(0, "small".to_owned())], rows: &rows };
    let mut bytes = Vec::new();
    let format = FORMATS.iter().find(|one| one.name == format).unwrap();
    exported.write(format, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_run_becomes_samples_that_are_read_back() {
    let text = written("lm-eval");
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    // What lm_eval/evaluator.py of 0.4.13 puts into a sample, in its order.
    let keys = [
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
        "prompt_hash",
        "target_hash",
        "exact_match",
    ];
    assert!(first.as_object().unwrap().keys().eq(keys), "{first}");
    assert_eq!((&first["arguments"]["gen_args_0"]["arg_0"], &first["resps"]), (&json!("2+2?"), &json!([["4"]])));
    let again = read("samples_x.jsonl", &text).unwrap();
    assert_eq!(rows(&again)[0], json!({"row": 1, "prompt": "2+2?", "expected": "4", "target": "4"}));
}

#[test]
fn a_run_becomes_a_results_file_that_is_read_back() {
    let text = written("promptfoo");
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&file["results"]["version"], &file["results"]["stats"]["successes"]), (&json!(3), &json!(1)));
    assert_eq!(file["results"]["timestamp"], "2000-02-29T00:00:00.123Z");
    let [right, failed] = file["results"]["results"].as_array().unwrap().as_slice() else { panic!("{text}") };
    assert_eq!(
        (&right["response"]["output"], &right["success"], &right["cost"]),
        (&json!("4"), &json!(true), &json!(0.25))
    );
    assert_eq!((&failed["error"], &failed["failureReason"]), (&json!("429"), &json!(2)));
    let again = read("results.json", &text).unwrap();
    assert_eq!(rows(&again)[0], json!({"prompt": "2+2?", "expected": "4"}));
}

#[test]
fn a_run_becomes_a_log_of_evals() {
    let text = written("openai-evals");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["spec"]["completion_fns"], json!(["small"]));
    let kinds: Vec<&str> = lines[1..4].iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sampling", "match", "error"]);
    assert_eq!((&lines[2]["data"]["correct"], &lines[2]["sample_id"]), (&json!(true), &json!("sums.1")));
    assert_eq!(lines[4]["final_report"], json!({"exact_match": 1.0, "rows": 1}));
}

#[test]
fn each_assertion_of_promptfoo_has_to_hold_so_a_second_one_is_told_and_no_alternative() {
    let both = json!([{"vars": {"q": "a"}, "assert": [{"type": "contains", "value": "Paris"}, {"type": "contains", "value": "Thanks"}]}]);
    let imported = read("tests.json", &both.to_string()).unwrap();
    assert_eq!(rows(&imported), json!([{"q": "a", "expected": "Paris"}]));
    assert_eq!(imported.notes, ["left out once: a second `contains` of one test"]);
    let many: Vec<u32> = (0..400).collect();
    let case = |vars: Value| json!({"vars": vars, "assert": [{"type": "equals", "value": "x"}]});
    let product = json!([case(json!({"a": many, "b": many})), case(json!({"a": "one"}))]);
    let imported = read("tests.json", &product.to_string()).unwrap();
    assert_eq!(imported.rows.len(), 1);
    let told = "left out once: a test whose lists of variables make more than 100000 tests";
    assert_eq!(imported.notes, [told]);
}
