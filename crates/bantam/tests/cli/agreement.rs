//! Real models agree with llama.cpp on token ids, and with themselves: on one thread and two, on AVX2 and on whatever this
//! processor prefers, raw and through no template.
//!
//! `parity.rs` compares probabilities. Which models are asked is decided by what the store has, as there.

use crate::parity::{model_names, skipped};
use crate::shapes::assert_shape;
use crate::{bantam, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::tempdir;

const CHAT: &str = "smollm2:135m";
const BASE: &str = "gemma3:270m-base";
/// Relative difference of a mean log-probability between instruction sets: they round sums in another order, and where an
/// activation lies between two of its eight-bit steps that decides which one it becomes.
const ISA_BOUND: f64 = 0.005;

fn figures() -> Value {
    serde_json::from_str(include_str!("../../../../tests/real_models.json")).expect("the figures are JSON")
}

/// The store and those models of `tests/real_models.json` that are in it. The two that CI pulls must be, in CI.
fn stored() -> Vec<(PathBuf, String)> {
    let home = std::env::var_os("BANTAM_HOME").map(PathBuf::from);
    let names = home.as_deref().map(model_names).unwrap_or_default();
    for model in [CHAT, BASE] {
        if !names.iter().any(|name| name == model) {
            skipped(model);
        }
    }
    let figures = figures();
    let known = names.into_iter().filter(|name| figures.get(name).is_some());
    known.filter_map(|name| Some((home.clone()?, name))).collect()
}

fn stored_model(model: &str) -> Option<PathBuf> {
    stored().into_iter().find(|(_, name)| name == model).map(|(home, _)| home)
}

fn json(command: &mut Command) -> Value {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn answer(home: &Path, args: &[&str]) -> Value {
    json(bantam(home).arg("run").args(args).arg("--json"))
}

#[test]
fn texts_have_the_token_ids_of_llama_cpp() {
    let texts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/texts");
    for (home, model) in stored() {
        for (text, record) in figures()[&model]["texts"].as_object().unwrap() {
            let file = std::fs::File::open(texts.join(format!("{text}.txt"))).unwrap();
            let args = ["tokenize", &model, "-", "--add-special", "--json"];
            let output = json(bantam(&home).args(args).stdin(Stdio::from(file)));
            let (ours, theirs) = (output["ids"].as_array().unwrap(), record["ids"].as_array().unwrap());
            assert!(ours.len() >= theirs.len(), "{model} {text}: {} ids, {} wanted", ours.len(), theirs.len());
            let difference = ours.iter().zip(theirs).position(|(one, other)| one != other);
            assert_eq!(difference, None, "{model} {text}: the first id that differs");
        }
    }
}

#[test]
fn instruction_sets_agree_on_real_text() {
    let figures = figures();
    for (home, model) in stored() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("ids.json");
        // A part of the text is enough: what rounds differently does so in every token.
        let ids = &figures[&model]["texts"]["english"]["ids"].as_array().unwrap()[..500];
        std::fs::write(&file, serde_json::to_string(ids).unwrap()).unwrap();
        let score = |isa: &str| {
            let mut command = bantam(&home);
            command.env("BANTAM_ISA", isa).args(["score", &model, "--summary", "--json", "--ids"]).arg(&file);
            run(&mut command)
        };
        let (code, out, err) = score("avx2");
        if code == 2 && err.contains("avx2") {
            eprintln!("skipped: this processor has no AVX2");
            return;
        }
        assert_eq!(code, 0, "{err}");
        assert_shape("score", 0, &out);
        let mean = |out: &str| serde_json::from_str::<Value>(out).unwrap()["mean"].as_f64().unwrap();
        let (avx2, preferred) = (mean(&out), mean(&score("").1));
        assert!((avx2 / preferred - 1.0).abs() < ISA_BOUND, "{model}: {avx2} with AVX2, {preferred} by default");
    }
}

#[test]
fn every_model_says_the_same_on_one_thread_and_two() {
    for (home, model) in stored() {
        let text = |threads| {
            let args = [&model, "The ferry leaves", "--raw", "--greedy", "--max-tokens", "16", "--threads", threads];
            answer(&home, &args)["text"].clone()
        };
        let one = text("1");
        assert!(!one.as_str().unwrap().trim().is_empty(), "{model} says nothing");
        assert_eq!(one, text("2"), "{model}");
    }
}

#[test]
fn the_default_model_knows_red_and_blue() {
    let Some(home) = stored_model(CHAT) else { return };
    let question = "Name the three primary colours.";
    let output = answer(&home, &[CHAT, question, "--greedy", "--max-tokens", "64"]);
    assert_shape("run", 0, &output.to_string());
    let text = output["text"].as_str().unwrap().to_lowercase();
    assert!(text.contains("red") && text.contains("blue"), "{text}");
    let tokens = output["usage"]["completion_tokens"].as_u64().unwrap();
    // Where it ends by itself depends on the rounding of the instruction set.
    let expected = if tokens == 64 { "length" } else { "stop" };
    assert!((8..=64).contains(&tokens) && output["finish_reason"] == expected, "{output}");
}

#[test]
fn raw_leaves_the_template_out() {
    let Some(home) = stored_model(CHAT) else { return };
    let prompt = "The capital of France is";
    let tokens = |args: &[&str]| {
        let output = answer(&home, &[[CHAT, prompt, "--greedy", "--max-tokens", "2"].as_slice(), args].concat());
        output["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let plain = json(bantam(&home).args(["tokenize", CHAT, prompt, "--add-special", "--json"]));
    assert_shape("tokenize", 0, &plain.to_string());
    let plain = plain["ids"].as_array().unwrap().len() as u64;
    assert_eq!(tokens(&["--raw"]), plain);
    assert!(tokens(&[]) > plain, "the template adds its own");
}

#[test]
fn text_is_scored_as_its_tokens_are() {
    let Some(home) = stored_model(BASE) else { return };
    let folder = tempdir().unwrap();
    let (text, ids) = (folder.path().join("text"), folder.path().join("ids"));
    std::fs::write(&text, "The ferry to the island leaves at seven in the morning.").unwrap();
    let file = std::fs::File::open(&text).unwrap();
    let args = ["tokenize", BASE, "-", "--add-special", "--json"];
    let tokens = json(bantam(&home).args(args).stdin(Stdio::from(file)));
    std::fs::write(&ids, tokens["ids"].to_string()).unwrap();
    let score = |flag: &str, file: &Path| json(bantam(&home).args(["score", BASE, "--json", flag]).arg(file));
    let (of_text, of_ids) = (score("--text", &text), score("--ids", &ids));
    assert_eq!(of_text, of_ids);
    assert_eq!(of_text["tokens"][0]["logprob"], Value::Null, "nothing stands before the first token");
    assert_eq!(of_text["token_count"].as_u64(), of_text["scored_count"].as_u64().map(|count| count + 1));
    assert_shape("score", 0, &of_text.to_string());
}

#[test]
fn an_answer_is_the_only_thing_on_standard_output() {
    let Some(home) = stored_model(BASE) else { return };
    let args = ["run", BASE, "The three primary colours are", "--greedy", "--max-tokens", "5", "--verbose"];
    let (code, out, err) = run(bantam(&home).env_remove("NO_COLOR").args(args));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("red") && out.ends_with('\n') && !out.contains('\x1b'), "{out:?}");
    assert!(err.contains("has no chat template") && err.contains("time to first token"), "{err}");
    assert!(!err.contains('\x1b'), "{err:?}");
}
