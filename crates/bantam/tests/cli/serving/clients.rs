//! The clients that people use, from their package index: each asks a real server and checks what it gets
//! (`tests/clients/*.py`).

use super::{CHAT, EMBEDDING, TOOLS, borrowed, is_whole, serving, store};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

/// The Python of a virtual environment with the clients, made once for each list of them; none without a network.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let requirements = scripts().join("requirements.txt");
    let digest = Sha256::digest(std::fs::read(&requirements).unwrap());
    let version: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{version}"));
    let python = folder.join("bin/python");
    let done = folder.join("complete");
    if done.exists() {
        return Some(python);
    }
    let succeeds = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements));
    if made {
        std::fs::write(done, "").unwrap();
        return Some(python);
    }
    assert!(std::env::var_os("BANTAM_CI").is_none_or(|value| value != "1"), "the clients cannot be installed");
    eprintln!("skipped: the clients cannot be installed (no network, or no python3-venv)");
    None
}

/// Runs a client's script; what it printed.
fn run(script: &str, arguments: &[&str]) -> Option<String> {
    let python = python()?;
    let mut command = Command::new(python);
    command.arg(scripts().join(script)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    // They are asked about this server alone.
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1").env("HF_DATASETS_OFFLINE", "1").env("OPENAI_API_KEY", "none");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {told}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Models whose templates take tools, where the whole proof is asked for.
fn tool_models() -> &'static [&'static str] {
    if is_whole() { &[TOOLS] } else { &[] }
}

#[test]
fn openai() {
    let Some(home) = store(&[CHAT, EMBEDDING]) else { return };
    // Files and batches are kept in it.
    let own = borrowed(&home);
    let server = serving(own.path(), &[]);
    run("with_openai.py", &[&[server.url.as_str(), CHAT, EMBEDDING], tool_models()].concat());
}

#[test]
fn ollama() {
    let Some(home) = store(&[CHAT, EMBEDDING]) else { return };
    let server = serving(&home, &[]);
    run("with_ollama.py", &[&server.url, CHAT, EMBEDDING]);
}

#[test]
fn anthropic() {
    let Some(home) = store(&[CHAT]) else { return };
    let server = serving(&home, &[]);
    run("with_anthropic.py", &[&[server.url.as_str(), CHAT], tool_models()].concat());
}

#[test]
fn litellm() {
    let Some(home) = store(&[CHAT]) else { return };
    let server = serving(&home, &[]);
    run("with_litellm.py", &[&server.url, CHAT]);
}

/// Log-likelihoods through the harness are those of `bantam score`, to the last digit that both print.
#[test]
fn lm_eval() {
    let Some(home) = store(&[CHAT]) else { return };
    let server = serving(&home, &[CHAT]);
    let scratch = tempfile::tempdir().unwrap();
    let Some(printed) = run("with_lm_eval.py", &[&server.url, CHAT, scratch.path().to_str().unwrap()]) else { return };
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), 8, "{printed}");
    for line in lines {
        let (prompt, choice) = (line["prompt"].as_str().unwrap(), line["choice"].as_str().unwrap());
        let text = format!("{prompt} {choice}");
        let file = scratch.path().join("text");
        std::fs::write(&file, &text).unwrap();
        let (code, out, err) = crate::run(crate::bantam(&home).args(["score", CHAT, "--json", "--text"]).arg(file));
        assert_eq!(code, 0, "{err}");
        let scored: Value = serde_json::from_str(&out).unwrap();
        let tokens = scored["tokens"].as_array().unwrap();
        let mut length = 0;
        let own = tokens.iter().filter(|token| {
            length += token["text"].as_str().unwrap().len();
            length > prompt.len()
        });
        let expected: f64 = own.map(|token| token["logprob"].as_f64().unwrap()).sum();
        let got = line["logprob"].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-4, "{text}: lm-eval has {got}, bantam score {expected}");
    }
}
