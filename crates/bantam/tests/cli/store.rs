//! Keeping models from the command line: names that are not free, names given twice, manifests that cannot be read.

use crate::shapes::{assert_shape, checkpoint};
use crate::{bantam, run};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::tempdir;

/// Imports the checkpoint under a name.
fn import(home: &Path, name: &str) {
    let (code, _, err) = run(bantam(home).arg("import").arg(checkpoint()).args(["--name", name]));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_name_given_twice_is_removed_once() {
    let home = tempdir().unwrap();
    import(home.path(), "a");
    let (code, out, err) = run(bantam(home.path()).args(["rm", "a", "a", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert_shape("rm", 0, &out);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["removed"], json!(["a"]));
}

#[test]
fn other_bytes_get_no_name_of_the_catalog() {
    let home = tempdir().unwrap();
    import(home.path(), "a");
    for name in ["smollm2:135m", "SmolLM2:135M", "hf:o/r"] {
        let quantize = ["quantize", "a", "--to", "q8_0", "--name", name];
        for args in [&["cp", "a", name][..], &quantize] {
            let (code, out, err) = run(bantam(home.path()).args(args));
            assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
            assert!(err.contains("cannot be the name of this model") && err.contains("hint:"), "{args:?}: {err}");
            assert!(!err.contains("quantizing"), "refused before the work: {err}");
        }
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_shown_and_removed() {
    let home = tempdir().unwrap();
    import(home.path(), "a");
    std::fs::write(home.path().join("manifests/bad%3a1b.json"), "{").unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["list", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert_shape("list", 0, &out);
    assert!(err.contains("bad:1b cannot be read: ") && err.contains("hint: bantam rm it"), "{err}");
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rows[0]["name"], rows[0].get("unreadable")), (&json!("a"), None));
    assert_eq!((&rows[1]["name"], &rows[1]["bytes"]), (&json!("bad:1b"), &Value::Null));
    assert!(rows[1]["unreadable"].as_str().unwrap().contains("bad%3a1b.json"), "{out}");
    let (code, out, err) = run(bantam(home.path()).args(["rm", "a", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("the manifests of bad:1b cannot be read"), "{err}");
    let removed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&removed["bytes_freed"], &removed["kept_for"]), (&json!(0), &json!(["bad:1b"])));
    let (code, out, err) = run(bantam(home.path()).args(["rm", "bad:1b", "--json"]));
    assert_eq!(code, 0, "{err}");
    let removed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(removed["left_over_bytes_freed"], json!(std::fs::metadata(checkpoint()).unwrap().len()), "{out}");
}

#[test]
fn models_of_another_program_that_cannot_be_taken_over_are_listed() {
    let home = tempdir().unwrap();
    let root = home.path().join("ollama");
    let place = root.join("manifests/registry.example/library/broken");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("1b"), "{").unwrap();
    let args = ["import", "--from", "ollama", "--json", "--folder"];
    let (code, out, err) = run(bantam(home.path()).args(args).arg(&root));
    assert_eq!(code, 1, "{err}");
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed["skipped"][0]["name"], json!("ollama:broken:1b"));
}

#[test]
fn the_context_of_a_models_parameters_is_the_one_of_its_forecast() {
    let home = tempdir().unwrap();
    import(home.path(), "a");
    let shown = |args: &[&str]| -> Value {
        let (code, out, err) = run(bantam(home.path()).args(["show", "a", "--json"]).args(args));
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let plain = shown(&[]);
    let maximum = plain["context"].as_u64().unwrap();
    assert_eq!(plain["forecast_context"], maximum);
    let place = home.path().join("manifests/a.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    for (asked, expected) in [(64, 64), (maximum + 1, maximum)] {
        manifest["ollama"] = json!({"params": {"num_ctx": asked}});
        std::fs::write(&place, manifest.to_string()).unwrap();
        let object = shown(&[]);
        assert_eq!((&object["forecast_context"], &object["fits"]), (&json!(expected), &json!(true)), "{object}");
        assert_eq!(object["needs_bytes"].as_u64() < plain["needs_bytes"].as_u64(), expected < maximum, "{object}");
    }
    assert_eq!(shown(&["--context", "32"])["forecast_context"], 32, "the caller's goes before it");
}
