//! Real models: SmolLM2 135M and Gemma 3 270M answer, score and are kept as people would use them.

use crate::parity::{model_names, skipped};
use crate::shapes::assert_shape;
use crate::{bantam, run};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub const CHAT: &str = "smollm2:135m";
const BASE: &str = "gemma3:270m-base";

/// The store that `.ci/run` fills, if it has a model.
pub fn store(model: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BANTAM_HOME").map(PathBuf::from);
    let found = home.filter(|home| model_names(home).iter().any(|name| name == model));
    if found.is_none() {
        skipped(model);
    }
    found
}

fn answer(command: &mut Command) -> serde_json::Value {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_default_model_answers_and_its_json_is_documented() {
    let Some(home) = store(CHAT) else { return };
    // A question whose first word is certain: rounding, which differs by instruction set, turns a near tie.
    let args = ["run", "What is 2 plus 2?", "--greedy", "--max-tokens", "24"];
    let (code, text, err) = run(bantam(&home).args(args));
    assert_eq!(code, 0, "{err}");
    assert!(text.contains('4') && text.ends_with('\n'), "{text}");
    assert!(!text.contains('\x1b'));
    let (_, json, _) = run(bantam(&home).args(args).arg("--json"));
    assert_shape("run", 0, &json);
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["text"].as_str().unwrap().trim(), text.trim());
    assert_eq!(object["finish_reason"], "stop");
}

#[test]
fn greedy_text_is_the_same_on_one_thread_and_two() {
    let Some(home) = store(CHAT) else { return };
    let text = |threads: &str| {
        let args = ["run", "Write a sentence about rain.", "--greedy", "--max-tokens", "48", "--json", "--threads"];
        answer(bantam(&home).args(args).arg(threads))["text"].clone()
    };
    assert_eq!(text("1"), text("2"));
}

#[test]
fn a_seed_gives_the_same_answer_again_and_another_does_not() {
    let Some(home) = store(CHAT) else { return };
    let text = |seed: &str| {
        let args = ["run", "Tell a story.", "--temperature", "1", "--max-tokens", "24", "--json", "--seed", seed];
        answer(bantam(&home).args(args))["text"].clone()
    };
    assert_eq!(text("7"), text("7"));
    assert_ne!(text("7"), text("8"));
}

#[test]
fn a_models_own_seed_is_used_and_told() {
    let Some(home) = store(CHAT) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let listed = answer(bantam(&home).args(["list", "--json"]));
    let digest = listed.as_array().unwrap().iter().find(|row| row["name"] == CHAT).unwrap()["digest"].clone();
    let blob = home.join("blobs").join(format!("sha256-{}", digest.as_str().unwrap()));
    let (code, _, err) =
        run(bantam(scratch.path()).args(["import", blob.to_str().unwrap(), "--name", "seeded", "--link"]));
    assert_eq!(code, 0, "{err}");
    let place = scratch.path().join("manifests/seeded.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    manifest["ollama"] = serde_json::json!({"params": {"seed": 7}});
    std::fs::write(&place, manifest.to_string()).unwrap();
    let told = |seed: &[&str]| {
        let args = ["run", "seeded", "Tell a story.", "--temperature", "1", "--max-tokens", "24", "--json"];
        let object = answer(bantam(scratch.path()).args(args).args(seed));
        (object["seed"].as_u64().unwrap(), object["text"].clone())
    };
    assert_eq!(told(&[]), told(&["--seed", "7"]));
    assert_eq!(told(&["--seed", "8"]).0, 8, "the caller's goes before it");
}

#[test]
fn piped_text_follows_the_prompt() {
    let Some(home) = store(CHAT) else { return };
    let args = ["run", "Repeat this:", "--greedy", "--max-tokens", "4", "--json"];
    let alone = answer(bantam(&home).args(args))["usage"]["prompt_tokens"].as_u64().unwrap();
    let mut child = bantam(&home).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"the quick brown fox").unwrap();
    let output: serde_json::Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert!(output["usage"]["prompt_tokens"].as_u64().unwrap() > alone + 3);
}

#[test]
fn a_prompt_past_the_context_is_refused_with_both_numbers() {
    let Some(home) = store(CHAT) else { return };
    let prompt = "word ".repeat(200);
    let (code, out, err) = run(bantam(&home).args(["run", &prompt, "--context", "64"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("the context holds 64") && err.contains("tokens") && err.contains("hint:"), "{err}");
}

#[test]
fn a_longer_context_needs_more_memory_and_one_that_the_model_lacks_is_refused() {
    let Some(home) = store(BASE) else { return };
    let needs = |context: &str| {
        let shown = answer(bantam(&home).args(["show", BASE, "--json", "--context", context]));
        assert_shape("show", 0, &shown.to_string());
        assert!(shown["needs_bytes"].as_u64().unwrap() > shown["bytes"].as_u64().unwrap());
        shown["needs_bytes"].as_u64().unwrap()
    };
    assert!(needs("32768") > needs("1024"));
    let shown = answer(bantam(&home).args(["show", BASE, "--json", "--context", "9999999"]));
    assert_eq!(shown["fits"], false, "{shown}");
    let (code, _, err) = run(bantam(&home).args(["run", BASE, "x", "--raw", "--context", "9999999"]));
    assert_eq!(code, 1);
    assert!(err.contains("context 9999999") && err.contains("expected 1 to 32768"), "{err}");
}

#[test]
fn a_model_without_a_template_says_so_and_completes() {
    let Some(home) = store(BASE) else { return };
    let args = ["run", BASE, "The capital of France is", "--greedy", "--max-tokens", "6"];
    let (code, out, err) = run(bantam(&home).args(args));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("has no chat template: completing plain text"), "{err}");
    assert!(!out.trim().is_empty());
    for flag in [["--system", "Be brief."].as_slice(), &["--think"], &["--no-think"]] {
        let (code, _, err) = run(bantam(&home).args(args).args(flag));
        assert_eq!(code, 1);
        assert!(err.contains(&format!("{} has no place", flag[0])), "{err}");
    }
}

#[test]
fn the_store_is_listed_shown_copied_and_freed() {
    let Some(home) = store(CHAT) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let listed = answer(bantam(&home).args(["list", "--json"]));
    assert_shape("list", 0, &listed.to_string());
    let digest = listed.as_array().unwrap().iter().find(|row| row["name"] == CHAT).unwrap()["digest"].clone();
    let blob = home.join("blobs").join(format!("sha256-{}", digest.as_str().unwrap()));
    let mine = |args: &[&str]| run(bantam(scratch.path()).args(args));
    let (code, out, err) = mine(&["import", blob.to_str().unwrap(), "--name", "one", "--link", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_shape("import", 0, &out);
    let (code, out, _) = mine(&["cp", "one", "two", "--json"]);
    assert_eq!(code, 0);
    assert_shape("cp", 0, &out);
    let (code, out, _) = mine(&["rm", "one", "--json"]);
    assert_eq!(code, 0);
    assert_shape("rm", 0, &out);
    assert!(out.contains("\"bytes_freed\": 0"), "the other name still uses them: {out}");
    let (_, out, _) = mine(&["list", "--json"]);
    assert!(out.contains("\"two\"") && !out.contains("\"one\""), "{out}");
    let (code, _, err) = mine(&["rm", "three"]);
    assert_eq!(code, 1);
    assert!(err.contains("three"), "{err}");
}

#[test]
fn a_bench_says_how_near_to_the_limits_it_came() {
    let Some(home) = store(CHAT) else { return };
    let bench = ["bench", CHAT, "--prompt", "8", "--generate", "2", "--repeat", "1", "--json"];
    let (code, out, err) = run(bantam(&home).args(bench));
    assert_eq!(code, 0, "{err}");
    assert_shape("bench", 0, &out);
    let output: serde_json::Value = serde_json::from_str(&out).unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    for run in output["runs"].as_array().unwrap() {
        let int8 = number(&output["limits"]["int8_ops_per_second"]) / number(&run["operations_per_token"]);
        let read = number(&output["limits"]["read_bytes_per_second"]) / number(&run["bytes_per_token"]);
        let share = number(&run["tokens_per_second_mean"]) / int8.min(read);
        assert!((number(&run["of_limit"]) - share).abs() < 1e-9, "{run}");
        assert_eq!(run["limit"] == "int8", int8 < read, "{run}");
    }
    let weights = number(&output["runs"][1]["bytes_per_token"]);
    assert!((90e6..100e6).contains(&weights), "all weights are read for a token: {weights}");
}

#[test]
fn a_bench_of_many_sequences_has_room_for_all_of_them() {
    let Some(home) = store(CHAT) else { return };
    let bench = |args: &[&str]| run(bantam(&home).args(["bench", CHAT, "--repeat", "1", "--json"]).args(args));
    // As the example of --help, smaller: each fills the context, so one place would not hold them together.
    let args = ["--batch", "4", "--depth", "96", "--prompt", "32", "--generate", "32"];
    let (code, out, err) = bench(&args);
    assert_eq!(code, 0, "{err}");
    let output: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&output["context"], &output["runs"][0]["batch"]), (&128.into(), &4.into()), "{out}");
    let (code, _, err) = bench(&["--depth", "8000"]);
    assert_eq!(code, 1);
    let text = "--depth 8000 with --prompt 512 needs a context of 8512, smollm2:135m was made for 8192";
    assert!(err.contains(text) && err.contains("hint: lower --depth"), "{err}");
    let (code, _, err) = bench(&["--prompt", "18446744073709551615"]);
    assert!(code == 1 && err.contains("needs a context of 18446744073709551615"), "{err}");
}

#[test]
fn a_quantized_model_is_kept_and_compared_with_its_base() {
    let Some(home) = store(CHAT) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let listed = answer(bantam(&home).args(["list", "--json"]));
    let digest = listed.as_array().unwrap().iter().find(|row| row["name"] == CHAT).unwrap()["digest"].clone();
    let blob = home.join("blobs").join(format!("sha256-{}", digest.as_str().unwrap()));
    let blob = blob.to_str().unwrap();
    let (code, out, err) =
        run(bantam(scratch.path()).args(["quantize", blob, "--to", "q8_0", "--name", "eight", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert_shape("quantize", 0, &out);
    let text = scratch.path().join("text.txt");
    std::fs::write(&text, "The ferry to the island leaves at seven in the morning, and anyone who misses it waits.")
        .unwrap();
    let args = ["score", "eight", "--against", blob, "--summary", "--json", "--text"];
    let (code, out, err) = run(bantam(scratch.path()).args(args).arg(&text));
    assert_eq!(code, 0, "{err}");
    assert_shape("score", 0, &out);
    let score: serde_json::Value = serde_json::from_str(&out).unwrap();
    let divergence = score["against"]["kl_divergence"].as_f64().unwrap();
    // Weights of eight bits lose next to nothing; activations of eight bits are rounded in both models, each its own way.
    assert!((0.0..0.05).contains(&divergence), "eight bits lose little: {divergence}");
    let (code, out, err) = run(bantam(scratch.path()).args(["tokenize", "eight", "Hello", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert_shape("tokenize", 0, &out);
}
