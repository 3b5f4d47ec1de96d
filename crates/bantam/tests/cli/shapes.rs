//! `docs/json.md` and the output of commands, in both directions: no key is printed that is not written down, and none is
//! promised that does not come.
//!
//! A tiny checkpoint without a tokenizer is enough for the commands that only keep and change files; `agreement.rs` does
//! the same with models that answer.

use crate::{bantam, run};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

const DOCUMENT: &str = include_str!("../../../../docs/json.md");

/// A key of the outermost object of a shape, and whether `?` lets it be absent.
#[derive(Debug, PartialEq)]
struct Key {
    name: String,
    optional: bool,
}

/// The indented blocks of a command's section, one for each shape.
fn shapes(section: &str) -> Vec<String> {
    let heading = format!("\n## {section}\n");
    let start = DOCUMENT.find(&heading).expect("a section for the command") + heading.len();
    let rest = &DOCUMENT[start..];
    let section = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    let paragraphs = section.split("\n\n").map(|paragraph| paragraph.trim_matches('\n'));
    paragraphs.filter(|paragraph| paragraph.starts_with("    ")).map(str::to_owned).collect()
}

/// The keys of a shape's outermost object. What stands after a colon is a value: its quoted words are no keys.
fn keys(shape: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let (mut depth, mut value, mut rest) = (0, false, shape);
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ':' if depth == 1 => value = true,
            ',' if depth == 1 => value = false,
            '"' => {
                let (name, after) = rest.split_once('"').expect("quotes come in pairs");
                if depth == 1 && !value {
                    keys.push(Key { name: name.to_owned(), optional: after.starts_with('?') });
                }
                rest = after;
            }
            _ => {}
        }
    }
    keys
}

/// The output of a command is what shape number `shape` of its section says, no more and no less.
pub fn assert_shape(section: &str, shape: usize, json: &str) {
    let output: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{section}: {error}: {json}"));
    let promised = keys(&shapes(section)[shape]);
    let objects = output.as_array().map_or(std::slice::from_ref(&output), Vec::as_slice);
    assert!(!objects.is_empty(), "{section}: an empty list shows no shape");
    for object in objects {
        let object = object.as_object().expect("an object");
        for key in &promised {
            assert!(key.optional || object.contains_key(&key.name), "{section}: {} is missing in {json}", key.name);
        }
        for name in object.keys() {
            assert!(promised.iter().any(|key| key.name == *name), "{section}: {name} is not in docs/json.md");
        }
    }
}

/// A checkpoint of two small layers, without a tokenizer.
pub fn checkpoint() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/testdata/qwen3/model.gguf");
    path.to_str().expect("the checkout's path is UTF-8").to_owned()
}

#[test]
fn keys_are_read_from_a_shape_and_values_are_not() {
    let key = |name: &str, optional| Key { name: name.to_owned(), optional };
    let shape = r#"[{"a", "b"?: "x" | "y", "c": [{"d"}], "e"?}]"#;
    assert_eq!(keys(shape), [key("a", false), key("b", true), key("c", false), key("e", true)]);
    assert_eq!(shapes("list").len(), 2, "one for the store, one for --available");
}

#[test]
fn files_are_imported_named_quantized_listed_and_removed_as_documented() {
    let home = tempdir().unwrap();
    let json = |args: &[&str]| {
        let (code, out, err) = run(bantam(home.path()).args(args).arg("--json"));
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    assert_shape("import", 0, &json(&["import", &checkpoint(), "--name", "tiny"]));
    assert_shape("cp", 0, &json(&["cp", "tiny", "other"]));
    let quantized = json(&["quantize", "tiny", "--to", "q8_0", "--name", "eight"]);
    assert_shape("quantize", 0, &quantized);
    let quantized: Value = serde_json::from_str(&quantized).unwrap();
    assert!(quantized["bytes_after"].as_u64() < quantized["bytes_before"].as_u64(), "{quantized}");
    let names = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let scratch: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("scratch-")).collect();
    assert!(scratch.is_empty(), "{scratch:?}");
    let prepared = |json: &str| serde_json::from_str::<Value>(json).unwrap()["prepared_bytes"].as_u64();
    let first = json(&["prepare", "eight"]);
    assert_shape("prepare", 0, &first);
    assert!(prepared(&first).is_some_and(|bytes| bytes > 4096), "{first}");
    let rows: Value = serde_json::from_str(&json(&["list"])).unwrap();
    let of = |name: &str| {
        rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["prepared_bytes"].as_u64()
    };
    assert_eq!((of("eight"), of("tiny")), (prepared(&first), None));
    let undone = json(&["prepare", "eight", "--undo"]);
    assert_shape("prepare", 0, &undone);
    assert_eq!(serde_json::from_str::<Value>(&undone).unwrap()["bytes_freed"].as_u64(), prepared(&first));
    let path = checkpoint();
    for (model, expected) in [
        ("tiny", "tiny: its weights are computed with as they are, so there is nothing to prepare"),
        (
            path.as_str(),
            "only a model in the store, of one file, can be prepared\nhint: bantam import PATH --name NAME",
        ),
    ] {
        let (code, _, err) = run(bantam(home.path()).args(["prepare", model]));
        assert!(code == 1 && err.contains(expected), "{code} {err}");
    }
    assert_shape("list", 0, &json(&["list"]));
    let removed = json(&["rm", "tiny", "eight"]);
    assert_shape("rm", 0, &removed);
    let removed: Value = serde_json::from_str(&removed).unwrap();
    assert_eq!(removed["removed"], serde_json::json!(["tiny", "eight"]));
    let left: Value = serde_json::from_str(&json(&["list"])).unwrap();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["name"]), (1, &Value::from("other")));
}

#[test]
fn a_quantized_model_says_what_it_was_made_of() {
    let home = tempdir().unwrap();
    let json = |args: &[&str]| -> Value {
        let (code, out, err) = run(bantam(home.path()).args(args).arg("--json"));
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str(&out).unwrap()
    };
    json(&["import", &checkpoint(), "--name", "tiny"]);
    json(&["quantize", "tiny", "--to", "q8_0", "--name", "eight"]);
    let rows = json(&["list"]);
    let row = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    let expected = format!("quantized to q8_0 from tiny (sha256 {})", row("tiny")["digest"].as_str().unwrap());
    assert_eq!(row("eight")["source"], expected);
}

#[test]
fn what_needs_no_model_prints_the_documented_shape() {
    let home = tempdir().unwrap();
    let json = |args: &[&str]| run(bantam(home.path()).args(args)).1;
    assert_shape("list", 1, &json(&["list", "--available", "--json"]));
    assert_shape("show", 0, &json(&["show", "qwen3:0.6b", "--json"]));
    assert_shape("completions", 0, &json(&["completions", "fish", "--json"]));
}

#[test]
fn a_checkpoint_without_a_tokenizer_is_kept_but_not_run() {
    let home = tempdir().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["import", &checkpoint(), "--name", "tiny"]));
    assert_eq!(code, 0, "{err}");
    for command in ["run", "tokenize"] {
        let (code, out, err) = run(bantam(home.path()).args([command, "tiny", "hello"]));
        assert_eq!((code, out.as_str()), (1, ""), "{command}");
        let expected = "the file has no tokenizer, so the model can neither read nor write text\nhint: ";
        assert!(err.contains(expected), "{command}: {err}");
    }
}

#[test]
fn a_checkpoint_without_a_tokenizer_is_shown_all_the_same() {
    let home = tempdir().unwrap();
    // The same model as a folder of safetensors, which has no tokenizer.json either.
    for path in [checkpoint(), checkpoint().replace("/model.gguf", "")] {
        let (code, text, err) = run(bantam(home.path()).args(["show", &path]));
        assert_eq!(code, 0, "{err}");
        assert!(text.contains("tokenizer   none: ") && text.contains("family      qwen3"), "{text}");
        assert!(!text.contains("template"), "{text}");
        let (code, json, err) = run(bantam(home.path()).args(["show", &path, "--json"]));
        assert_eq!(code, 0, "{err}");
        assert_shape("show", 0, &json);
        let shown: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&shown["tokenizer"], &shown["template"]), (&Value::from(false), &Value::from(false)), "{json}");
    }
}
