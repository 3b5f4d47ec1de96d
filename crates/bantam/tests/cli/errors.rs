//! What a user meets when something is wrong, by its text; and what every command owes.

use crate::shapes::assert_shape;
use crate::{bantam, run};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const COMMANDS: &[&str] = &[
    "run",
    "classify",
    "extract",
    "summarize",
    "answer",
    "complete",
    "generate",
    "init",
    "check",
    "jobs",
    "pull",
    "list",
    "show",
    "rm",
    "cp",
    "import",
    "prepare",
    "quantize",
    "tokenize",
    "score",
    "bench",
    "completions",
];

#[test]
fn every_command_has_help_with_an_example_and_knows_json() {
    let home = tempdir().unwrap();
    for command in COMMANDS {
        let (code, help, _) = run(bantam(home.path()).args([command, "--help"]));
        assert_eq!(code, 0, "{command}");
        assert!(help.contains("Example") && help.contains("  bantam "), "{command}: {help}");
        assert!(help.contains("--json"), "{command}");
    }
    let (_, help, _) = run(bantam(home.path()).arg("--help"));
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command}")), "{command}");
    }
}

#[test]
fn a_wrong_command_line_ends_in_2_and_a_failure_in_1() {
    let home = tempdir().unwrap();
    let code = |args: &[&str]| run(bantam(home.path()).args(args)).0;
    assert_eq!(code(&["run", "--top-p", "7", "hello"]), 2);
    assert_eq!(code(&["fly"]), 2);
    for flag in [["--think"].as_slice(), &["--no-think"], &["--system", "Be brief."]] {
        let args = [["run", "smollm2:135m", "hello", "--raw"].as_slice(), flag].concat();
        assert_eq!(code(&args), 2, "{flag:?} needs the template that --raw leaves out");
    }
    assert_eq!(code(&["list"]), 0);
    assert_eq!(code(&["show", "nothing-of-that-name"]), 1);
}

/// The catalog knows what it is: nothing is fetched to find that out.
#[test]
fn a_chat_model_is_refused_by_embed_before_any_download() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["embed", "smollm2:135m", "hello"]));
    let hint = "choose one, such as all-minilm; `bantam list --available` names more";
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, format!("error: smollm2:135m is no embedding model\nhint: {hint}\n"));
}

#[test]
fn an_unknown_model_is_a_failure_with_the_nearest_names_in_every_command() {
    let home = tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/testdata/qwen3/model.gguf");
    let model = model.to_str().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["import", model, "--name", "tiny:1b"]));
    assert_eq!(code, 0, "{err}");
    let text = home.path().join("text");
    fs::write(&text, "hello").unwrap();
    let text = text.to_str().unwrap();
    // One that is near to a name of the store and of no other, and one that is near to a name of the catalog.
    for (typed, meant) in [("tinny:1b", "tiny:1b"), ("smolm2:135m", "smollm2:135m")] {
        let everywhere: &[&[&str]] = &[
            &["run", typed],
            &["run", typed, "hello"],
            &["pull", typed],
            &["show", typed],
            &["quantize", typed, "--to", "q8_0", "--name", "new"],
            &["tokenize", typed, "hello"],
            &["score", typed, "--text", text],
            &["score", "tiny:1b", "--against", typed, "--text", text],
            &["bench", typed],
        ];
        for args in everywhere {
            let (code, out, err) = run(bantam(home.path()).args(*args));
            assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
            assert!(err.contains(&format!("no model {typed:?}; the nearest names are")), "{args:?}: {err}");
            assert!(err.contains(meant) && err.contains("hint:"), "{args:?}: {err}");
        }
    }
    // These look among the models of the store alone.
    for args in [["rm", "tinny:1b"].as_slice(), &["cp", "tinny:1b", "other"]] {
        let (code, out, err) = run(bantam(home.path()).args(args));
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        let expected = "\"tinny:1b\" is not in the store; the nearest names are tiny:1b\nhint: ";
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[test]
fn a_file_that_is_no_model_is_named_with_what_it_looks_like() {
    let home = tempdir().unwrap();
    let file = home.path().join("page.gguf");
    fs::write(&file, "<!DOCTYPE html><html><body>404</body></html>").unwrap();
    let (code, _, err) = run(bantam(home.path()).arg("run").arg(&file).arg("hello"));
    assert_eq!(code, 1);
    assert!(err.contains("page.gguf") && err.to_lowercase().contains("html"), "{err}");
}

#[test]
fn what_begins_like_a_path_is_one() {
    let home = tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("README.md"), "# A page\n").unwrap();
    fs::create_dir(path("empty")).unwrap();
    let cases = [
        (path("README.md"), "README.md: expected "),
        (path("empty"), "empty"),
        (path("absent"), "absent: not found\nhint: check the path"),
        ("./absent/model".to_owned(), "./absent/model: not found\nhint: check the path"),
    ];
    for (model, expected) in cases {
        let (code, out, err) = run(bantam(home.path()).args(["run", model.as_str(), "hello"]));
        assert_eq!((code, out.as_str()), (1, ""), "{model}: {err}");
        assert!(err.contains(expected) && err.contains("hint: ") && !err.contains("no model"), "{model}: {err}");
    }
}

#[test]
fn words_without_quotes_and_bytes_that_are_no_text_are_used_wrongly() {
    let home = tempdir().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["run", "Why", "is", "the", "sky", "blue?"]));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("got 5 arguments\nhint: put the prompt into quotes: bantam run \"PROMPT\""), "{err}");
    let (code, _, err) = run(bantam(home.path()).args(["run", "What", "is?"]));
    assert!(code == 1 && err.starts_with("error: no model \"What\"\nhint: "), "{code} {err}");
    assert!(err.contains("put that into quotes: bantam run \"What is?\""), "{err}");
    // The default model cannot be fetched here; that it was to be asked is told before.
    let (code, _, err) = run(bantam(home.path()).args(["run", "gpt-4"]));
    assert!(code == 1 && err.starts_with("no model is called \"gpt-4\": asking smollm2:135m\n"), "{code} {err}");
    let latin = home.path().join("latin.txt");
    fs::write(&latin, b"caf\xe9").unwrap();
    let latin = latin.to_str().unwrap();
    let reading: [&[&str]; 3] = [
        &["score", "x", "--text", latin],
        &["score", "x", "--ids", latin],
        &["score", "x", "--against", "y", "--text", latin],
    ];
    for args in reading {
        let (code, _, err) = run(bantam(home.path()).args(args));
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("latin.txt: expected UTF-8 text, got another byte at position 3\nhint: "), "{err}");
    }
    let empty = home.path().join("empty.txt");
    fs::write(&empty, "").unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["score", "x", "--text", empty.to_str().unwrap()]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("empty.txt: expected a text of two tokens or more, got nothing"), "{err}");
}

#[test]
fn a_folder_of_safetensors_is_not_quantized_and_the_way_out_is_told() {
    let home = tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/testdata/qwen3");
    let alone = home.path().join("qwen3-folder");
    fs::create_dir(&alone).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(folder.join(name), alone.join(name)).unwrap();
    }
    let alone = alone.to_str().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["import", alone, "--name", "stored"]));
    assert_eq!(code, 0, "{err}");
    for model in [alone, "stored"] {
        let (code, out, err) = run(bantam(home.path()).args(["quantize", model, "--to", "q8_0", "--name", "new"]));
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let expected = "is a folder of safetensors, expected a GGUF file\nhint: convert it first, for example with \
                        convert_hf_to_gguf.py of llama.cpp";
        assert!(err.contains(&format!("{model} {expected}")), "{err}");
    }
    let (_, list, _) = run(bantam(home.path()).args(["list", "--json"]));
    assert!(list.contains("\"stored\"") && !list.contains("\"new\""), "{list}");
}

#[test]
fn values_out_of_range_say_what_was_expected() {
    let home = tempdir().unwrap();
    let error = |args: &[&str]| {
        let (code, _, err) = run(bantam(home.path()).args(args));
        assert_eq!(code, 2, "{err}");
        err
    };
    let text = error(&["run", "--min-p", "3", "say hello to me"]);
    assert!(text.contains("--min-p: expected a number from 0 up, below 1, got 3"), "{text}");
    let text = error(&["run", "--temperature", "-1", "say hello to me"]);
    assert!(text.contains("--temperature: expected ") && text.contains("got -1"), "{text}");
    let text = error(&["run", "--max-tokens", "-1", "say hello to me"]);
    assert!(text.contains("invalid value '-1' for '--max-tokens <N>'"), "{text}");
    let text = error(&["run", "smollm2:135m", "hello", "--yarn", "65"]);
    assert!(text.contains("--yarn: expected a factor from 1 to 64, got 65"), "{text}");
    for command in [["run", "x", "hello"].as_slice(), &["bench", "x"], &["score", "x", "--text", "y"], &["show", "x"]] {
        let text = error(&[command, &["--kv-type", "q4_0"]].concat());
        assert!(text.contains("--kv-type") && text.contains("f16, q8_0, f32") && text.contains("q4_0"), "{text}");
    }
    let text = error(&["bench", "x", "--batch", "65"]);
    assert!(text.contains("--batch: expected 1 to 64, got 65"), "{text}");
    let text = error(&["bench", "x", "--context", "4096", "--depth", "4096"]);
    assert!(text.contains("--context: expected at least 4608 for --depth 4096 with --prompt 512, got 4096"), "{text}");
    let most = usize::MAX.to_string();
    let text = error(&["bench", "x", "--depth", &most]);
    let expected = format!("expected at most {most} tokens of one sequence, got --depth {most} with --prompt 512");
    assert!(text.contains(&expected), "{text}");
    // Each alone can be counted; then it is the model that is asked for first.
    let (code, _, err) = run(bantam(home.path()).args(["bench", "x", "--prompt", &most, "--generate", &most]));
    assert!(code == 1 && err.contains('x'), "{err}");
    let text = error(&["quantize", "x", "--to", "q3_z", "--name", "y"]);
    assert!(text.contains("--to") && text.contains("q3_z") && text.contains("q4_k_m, "), "{text}");
    let text = error(&["import", "--from", "nobody"]);
    assert!(text.contains("--from: expected one of ollama, hf-cache, lmstudio"), "{text}");
    let mut command = bantam(home.path());
    let (code, _, err) = run(command.env("BANTAM_ISA", "mmx").args(["bench", "smollm2:135m"]));
    assert_eq!(code, 2);
    assert!(err.contains("BANTAM_ISA") && err.contains("scalar"), "{err}");
}

#[test]
fn the_catalog_is_listed_with_forecasts_and_documented_json() {
    let home = tempdir().unwrap();
    let (code, json, _) = run(bantam(home.path()).args(["list", "--available", "--json"]));
    assert_eq!(code, 0);
    assert_shape("list", 1, &json);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let small = rows.iter().find(|row| row["name"] == "smollm2:135m").unwrap();
    assert!(small["needs_bytes"].as_u64().unwrap() > 98_362_432);
    let (_, json, _) = run(bantam(home.path()).args(["list", "--available", "--json", "--kv-type", "q8_0"]));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let bytes = rows.iter().find(|row| row["name"] == "smollm2:135m").unwrap();
    // 8192 positions of 30 layers with 3 heads of 64: two bytes each and four for their scale, or one and two for the scale of
    // every 32.
    let spared = 2 * 8192 * 30 * 3 * (2 * 64 + 4 - (64 + 4));
    assert_eq!(small["needs_bytes"].as_u64().unwrap() - bytes["needs_bytes"].as_u64().unwrap(), spared);
    let (_, json, _) = run(bantam(home.path()).args(["show", "gemma2:27b", "--json"]));
    assert_shape("show", 0, &json);
    let (_, text, _) = run(bantam(home.path()).args(["list", "--available"]));
    assert!(text.contains("phi3:small-8k") && text.contains("not supported yet"), "{text}");
    assert!(!text.contains('\x1b'), "no colour where nobody looks");
}

#[test]
fn a_forecast_promises_nothing_that_loading_refuses() {
    let home = tempdir().unwrap();
    let json = |args: &[&str]| -> serde_json::Value {
        let (code, out, err) = run(bantam(home.path()).args(args).arg("--json"));
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let shown = json(&["show", "tinyllama:1.1b", "--context", "100000"]);
    assert_eq!(shown["fits"], false);
    assert_eq!(shown["obstacle"], "context 100000 is outside what it was made for: 1 to 2048");
    let listed = json(&["list", "--available", "--context", "100000"]);
    let row = listed.as_array().unwrap().iter().find(|row| row["name"] == "tinyllama:1.1b").unwrap();
    assert_eq!((&row["fits"], &row["obstacle"]), (&shown["fits"], &shown["obstacle"]));
    let (_, text, _) = run(bantam(home.path()).args(["show", "tinyllama:1.1b", "--context", "100000"]));
    assert!(text.contains("does not fit: context 100000"), "{text}");
}

#[test]
fn options_of_a_forecast_are_used_or_refused() {
    let home = tempdir().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["show", "qwen2.5:0.5b", "--yarn", "4"]));
    assert_eq!(code, 1);
    assert!(err.contains("--yarn") && err.contains("hint: bantam pull qwen2.5:0.5b"), "{err}");
    for args in [["--available", "--yarn", "4"].as_slice(), &["--context", "4096"], &["--threads", "2"]] {
        let (code, out, _) = run(bantam(home.path()).arg("list").args(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn completions_are_printed_for_a_shell() {
    let home = tempdir().unwrap();
    let (code, script, _) = run(bantam(home.path()).args(["completions", "bash"]));
    assert_eq!(code, 0);
    assert!(script.contains("_bantam()") && script.contains("--max-tokens"), "{script}");
    let (_, json, _) = run(bantam(home.path()).args(["completions", "zsh", "--json"]));
    assert_shape("completions", 0, &json);
}
