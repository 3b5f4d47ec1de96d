//! Answers held to a format, by a real model: what comes out is valid, from the command line and over each dialect.

use crate::models::{CHAT, store};
use crate::serve::Serving;
use crate::{bantam, run};
use serde_json::{Value, json};
use tempfile::tempdir;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": false,
    })
}

fn check(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let errors: Vec<String> =
        jsonschema::validator_for(&schema()).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {text}");
}

#[test]
fn the_command_line_holds_an_answer_to_each_kind_of_format() {
    let Some(home) = store(CHAT) else { return };
    let files = tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let schema = write("schema.json", &schema().to_string());
    let grammar = write("list.gbnf", "root ::= item (\", \" item)* \".\"\nitem ::= \"red\" | \"green\" | \"blue\"");
    let ask = |args: &[&str], seed: &str| {
        let (code, out, err) = run(bantam(&home).args(["run", CHAT, "Tell me.", "--seed", seed]).args(args));
        assert_eq!(code, 0, "{args:?}: {err}");
        out.trim_end_matches('\n').to_owned()
    };
    for seed in ["1", "2", "3"] {
        check(&ask(&["--schema", &schema], seed));
        assert!(["yes", "no", "maybe"].contains(&ask(&["--choices", "yes,no", "--choices", "maybe"], seed).as_str()));
        let date = ask(&["--regex", "[0-9]{4}-[0-9]{2}"], seed);
        assert!(date.len() == 7 && date.as_bytes()[4] == b'-', "{date}");
        let colours = ask(&["--grammar", &grammar, "--max-tokens", "400"], seed);
        let known = |colour: &str| ["red", "green", "blue"].contains(&colour);
        assert!(colours.strip_suffix('.').is_some_and(|list| list.split(", ").all(known)), "{colours}");
    }
}

#[test]
fn what_is_cut_short_or_cannot_be_held_to_is_said() {
    let Some(home) = store(CHAT) else { return };
    let files = tempdir().unwrap();
    let path = files.path().join("schema.json");
    let file = path.to_str().unwrap();
    let ask = |args: &[&str]| run(bantam(&home).args(["run", CHAT, "Tell me."]).args(args));
    std::fs::write(&path, schema().to_string()).unwrap();
    let (code, out, err) = ask(&["--schema", file, "--max-tokens", "2"]);
    assert_eq!((code, out.as_str()), (1, ""), "no answer can be so short");
    assert!(err.contains("at most 2 tokens are allowed"), "{err}");
    let (code, out, err) = ask(&["--schema", file, "--max-tokens", "8"]);
    assert_eq!(code, 1, "{err}");
    assert!(out.starts_with("{\"name\"") && err.contains("the answer is incomplete"), "{out} {err}");
    std::fs::write(&path, json!({"properties": {"a": {"not": {}}}}).to_string()).unwrap();
    let (code, out, err) = ask(&["--schema", file]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("#/properties/a/not: a text cannot be held to `not`"), "{err}");
    std::fs::write(&path, "{").unwrap();
    let (code, _, err) = ask(&["--schema", file]);
    assert!(code == 2 && err.contains("expected a JSON Schema: EOF"), "{err}");
    let (code, _, err) = ask(&["--schema", "/nowhere/schema.json"]);
    assert!(code == 2 && err.contains("--schema: /nowhere/schema.json: "), "{err}");
    let (code, _, err) = ask(&["--regex", "a", "--choices", "a"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
    let (code, _, err) = ask(&["--regex", "(a"]);
    assert!(code == 1 && err.contains("regex: "), "{err}");
}

#[test]
fn every_dialect_holds_answers_to_a_schema() {
    let Some(home) = store(CHAT) else { return };
    let server = Serving::start(&home, &[CHAT]);
    server.wait_until_ready();
    let messages = json!([{"role": "user", "content": "Describe a person."}]);
    let named = json!({"type": "json_schema", "json_schema": {"name": "person", "strict": true, "schema": schema()}});
    let said = |path: &str, body: Value, at: &str| {
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 200, "{answer}");
        let text = answer.pointer(at).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("{path}: {answer}")).to_owned()
    };
    let body = json!({"model": CHAT, "messages": messages, "response_format": named, "seed": 3});
    check(&said("/v1/chat/completions", body, "/choices/0/message/content"));
    let body = json!({"model": CHAT, "prompt": "Person:", "max_tokens": 300, "guided_json": schema()});
    check(&said("/v1/completions", body, "/choices/0/text"));
    let format = json!({"type": "json_schema", "name": "person", "schema": schema()});
    let body = json!({"model": CHAT, "input": "Describe a person.", "text": {"format": format}});
    check(&said("/v1/responses", body, "/output/0/content/0/text"));
    let config = json!({"format": {"type": "json_schema", "schema": schema()}});
    let body = json!({"model": CHAT, "messages": messages, "max_tokens": 300, "output_config": config});
    check(&said("/v1/messages", body, "/content/0/text"));
    let body = json!({"model": CHAT, "messages": messages, "format": schema(), "stream": false});
    check(&said("/api/chat", body, "/message/content"));
    let body = json!({"model": CHAT, "prompt": "Describe a person.", "format": schema(), "stream": false});
    check(&said("/api/generate", body, "/response"));
    let body = json!({"model": CHAT, "messages": messages, "structured_outputs": {"choice": ["yes", "no"]}});
    assert!(["yes", "no"].contains(&said("/v1/chat/completions", body, "/choices/0/message/content").as_str()));
    let named =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"items": {"if": {}, "then": {}}}}});
    let body = json!({"model": CHAT, "messages": [{"role": "user", "content": "a"}], "response_format": named});
    let (status, answer) = server.post("/v1/chat/completions", &body);
    let at = "response_format.json_schema.schema";
    assert_eq!((status, &answer["error"]["param"]), (400, &json!(at)));
    let said = format!("{at}#/items/if: a text cannot be held to `if` while it is written");
    assert_eq!(answer["error"]["message"], said);
}
