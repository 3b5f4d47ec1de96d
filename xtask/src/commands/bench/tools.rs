//! The engines as processes: how each is asked for speeds, and what its answer says.
//!
//! Bantam is `bantam bench --json`; a peer is llama.cpp's `llama-bench` or one of its descendants, or, for several
//! sequences at once, the `llama-batched-bench` of the same folder. Read next: `results.rs` for what becomes of it.

use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use super::results::Test;

/// What every engine is to do.
pub(super) struct Work {
    /// As Bantam knows it.
    pub(super) model: String,
    pub(super) file: PathBuf,
    /// Tokens; 0 for no such test.
    pub(super) prompt: usize,
    pub(super) generate: usize,
    pub(super) depth: usize,
    pub(super) batch: usize,
    pub(super) threads: usize,
}

/// What an engine said of one run.
#[derive(Clone, Default)]
pub(super) struct Speeds {
    pub(super) version: String,
    pub(super) isa: Option<String>,
    prompt: Option<Part>,
    generate: Option<Part>,
}

/// One test of a run.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) tokens_per_second: f64,
    /// The limit of the machine that it would reach first, and the share of it, from engines that know.
    pub(super) limit: Option<String>,
    pub(super) of_limit: Option<f64>,
}

impl Speeds {
    pub(super) fn part(&self, test: Test) -> Option<&Part> {
        match test {
            Test::Prompt => self.prompt.as_ref(),
            Test::Generate => self.generate.as_ref(),
        }
    }

    /// Both speeds, for the person who waits.
    pub(super) fn text(&self) -> String {
        let parts = [&self.prompt, &self.generate].into_iter().flatten();
        parts.map(|part| format!("{:.1}", part.tokens_per_second)).collect::<Vec<_>>().join(" ")
    }
}

impl Part {
    fn plain(tokens_per_second: f64) -> Part {
        Part { tokens_per_second, limit: None, of_limit: None }
    }
}

/// Runs a command and gives back its standard output.
fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = message.trim().lines().rev().take(5).collect();
        bail!("{program} failed: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed what is not text"))
}

fn number(value: &Value, key: &str) -> anyhow::Result<f64> {
    value[key].as_f64().with_context(|| format!("{key}: expected a number, got {}", value[key]))
}

/// The `bantam` that was just built.
pub(in super::super) struct Bantam {
    binary: PathBuf,
    version: String,
}

impl Bantam {
    /// Builds it as it is released.
    pub(in super::super) fn build(root: &Path) -> anyhow::Result<Bantam> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["build", "--release", "--package", "bantam", "--message-format", "json-render-diagnostics"];
        let mut build = Command::new(cargo);
        build.args(arguments).current_dir(root);
        // What cargo tells this program of itself makes build scripts run again, and what depends on them.
        let told = |key: &std::ffi::OsStr| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| key.to_string_lossy().starts_with(start))
        };
        std::env::vars_os().map(|(key, _)| key).filter(|key| told(key)).for_each(|key| {
            build.env_remove(key);
        });
        let messages = output_of(&mut build)?;
        let binary = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "bantam")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo build: expected the path of the bantam that was built, got none")?;
        let mut version = output_of(Command::new(&binary).arg("--version"))?.trim().to_owned();
        // A copy without its history has no commit to tell.
        let git = |arguments: &[&str]| output_of(Command::new("git").args(arguments).current_dir(root)).ok();
        if let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) {
            let changed = git(&["status", "--porcelain", "--", "crates"]).is_some_and(|status| !status.is_empty());
            version += &format!(" ({}{})", commit.trim(), if changed { ", with changes" } else { "" });
        }
        let version = version.strip_prefix("bantam ").unwrap_or(&version).to_owned();
        Ok(Bantam { binary, version })
    }

    /// Where it lies.
    pub(in super::super) fn path(&self) -> &Path {
        &self.binary
    }

    /// Its version, with the commit that it was built from.
    pub(in super::super) fn version(&self) -> &str {
        &self.version
    }

    /// What a command prints with `--json`.
    pub(in super::super) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = output_of(Command::new(&self.binary).args(arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("bantam {}: expected JSON", arguments.join(" ")))
    }

    /// The summary of a job with `--json`. Rows that failed are no reason to do without it: it counts them.
    pub(in super::super) fn job(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(&self.binary).args(arguments).arg("--json").output().context("cannot run bantam")?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let message = String::from_utf8_lossy(&output.stderr);
            format!("bantam {}: expected a summary, got {}: {message}", arguments.join(" "), output.status)
        })
    }

    /// The names of the models in the store that are one GGUF file.
    pub(super) fn stored_models(&self) -> anyhow::Result<Vec<String>> {
        let listed = self.json(&["list"])?;
        let names = listed.as_array().into_iter().flatten().filter_map(|model| model["name"].as_str());
        let names: Vec<String> =
            names.filter(|name| self.file_of(name).is_ok_and(|file| file.is_file())).map(str::to_owned).collect();
        if names.is_empty() {
            bail!("the store holds no GGUF model\nhint: bantam pull NAME, or --model FILE");
        }
        Ok(names)
    }

    /// Where the weights of a model lie.
    pub(super) fn file_of(&self, model: &str) -> anyhow::Result<PathBuf> {
        let shown = self.json(&["show", model])?;
        let path = shown["path"]
            .as_str()
            .with_context(|| format!("{model} is not in the store\nhint: bantam pull {model}"))?;
        Ok(PathBuf::from(path))
    }

    /// The threads that it chooses on this machine.
    pub(super) fn default_threads(&self, model: &str) -> anyhow::Result<usize> {
        let answer = self.json(&["bench", model, "--prompt", "1", "--generate", "0", "--repeat", "1"])?;
        Ok(number(&answer, "threads")? as usize)
    }

    pub(super) fn run(&self, work: &Work) -> anyhow::Result<Speeds> {
        let mut speeds = Speeds { version: self.version.clone(), ..Speeds::default() };
        if work.prompt > 0 {
            self.test(work, "--prompt", work.prompt, work.depth, &mut speeds)?;
        }
        if work.generate > 0 {
            // The peers of a batch generate behind their prompts.
            let depth = if work.batch > 1 { work.prompt } else { work.depth };
            self.test(work, "--generate", work.generate, depth, &mut speeds)?;
        }
        Ok(speeds)
    }

    /// Makes one test and adds what it says.
    fn test(&self, work: &Work, flag: &str, tokens: usize, depth: usize, speeds: &mut Speeds) -> anyhow::Result<()> {
        let other = if flag == "--prompt" { "--generate" } else { "--prompt" };
        let numbers = [tokens, depth, work.batch, work.threads].map(|number| number.to_string());
        let [tokens, depth, batch, threads] = numbers.each_ref().map(String::as_str);
        let mut arguments = vec!["bench", &work.model, flag, tokens, other, "0", "--repeat", "1", "--depth", depth];
        // Without --context it is what the test needs.
        arguments.extend(["--batch", batch, "--threads", threads]);
        let answer = self.json(&arguments)?;
        speeds.isa = answer["isa"].as_str().map(str::to_owned);
        let run = &answer["runs"][0];
        let part = Part {
            tokens_per_second: number(run, "tokens_per_second_mean")?,
            limit: run["limit"].as_str().map(str::to_owned),
            of_limit: run["of_limit"].as_f64(),
        };
        if flag == "--prompt" {
            speeds.prompt = Some(part)
        } else {
            speeds.generate = Some(part)
        }
        Ok(())
    }
}

/// Another engine.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: String,
    binary: PathBuf,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let (name, path) = text.split_once('=').map_or((None, text), |(name, path)| (Some(name), path));
        let binary = PathBuf::from(path);
        if !binary.is_file() {
            return Err(format!("expected a program, got {path}, which is no file"));
        }
        // A path that is relative to this folder, not to that of the workspace or of a search list.
        let binary = std::path::absolute(&binary).map_err(|error| error.to_string())?;
        let stem = binary.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.unwrap_or(&stem).to_owned();
        Ok(Peer { name, binary })
    }
}

impl Peer {
    pub(super) fn run(&self, work: &Work) -> anyhow::Result<Speeds> {
        if work.batch > 1 { self.run_batch(work) } else { self.run_one(work) }
    }

    /// One sequence.
    fn run_one(&self, work: &Work) -> anyhow::Result<Speeds> {
        let mut command = Command::new(&self.binary);
        command.arg("-m").arg(&work.file).args(["-o", "json", "-r", "1"]);
        for (flag, value) in [("-t", work.threads), ("-p", work.prompt), ("-n", work.generate)] {
            command.args([flag, &value.to_string()]);
        }
        // Older ones have no such flag.
        if work.depth > 0 {
            command.args(["-d", &work.depth.to_string()]);
        }
        speeds_of_tests(&output_of(&mut command)?)
    }

    /// Several sequences at once, each generating behind its own prompt.
    fn run_batch(&self, work: &Work) -> anyhow::Result<Speeds> {
        let mut command = Command::new(self.binary.with_file_name("llama-batched-bench"));
        command.arg("-m").arg(&work.file).args(["--output-format", "jsonl"]);
        let context = work.batch.saturating_mul(work.prompt.saturating_add(work.generate));
        let values = [
            ("-t", work.threads),
            ("-npp", work.prompt),
            ("-ntg", work.generate),
            ("-npl", work.batch),
            ("-c", context),
        ];
        for (flag, value) in values {
            command.args([flag, &value.to_string()]);
        }
        let text = output_of(&mut command)?;
        // The answer does not say which version it is of; it is told where other programs tell errors.
        let told = Command::new(&self.binary).arg("--version").output();
        let told = told.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let version = version_of(&String::from_utf8_lossy(&told)).unwrap_or_else(|| "unknown".to_owned());
        Ok(Speeds { version, ..speeds_of_batch(&text, work)? })
    }
}

/// `b42 (abc123)`, as [`speeds_of_tests`] has it, of `version: 0.5.0 (build 42, commit abc123)`.
fn version_of(told: &str) -> Option<String> {
    let line = told.lines().find(|line| line.starts_with("version:"))?;
    let (_, build) = line.split_once("(build ")?;
    let (build, commit) = build.split_once(", commit ")?;
    Some(format!("b{build} ({}", commit.trim_end()))
}

/// The answer of `llama-bench -o json`: a list of tests.
fn speeds_of_tests(text: &str) -> anyhow::Result<Speeds> {
    let answer: Value = serde_json::from_str(text).context("expected JSON")?;
    let mut speeds = Speeds::default();
    for test in answer.as_array().context("expected a list of tests")? {
        let part = Some(Part::plain(number(test, "avg_ts")?));
        if number(test, "n_prompt")? > 0.0 {
            speeds.prompt = part
        } else {
            speeds.generate = part
        }
        let build = test["build_number"].as_u64().map_or_else(String::new, |build| format!("b{build} "));
        speeds.version = format!("{build}({})", test["build_commit"].as_str().unwrap_or("unknown"));
    }
    Ok(speeds)
}

/// The answer of `llama-batched-bench --output-format jsonl`: a line for each number of sequences, among others.
fn speeds_of_batch(text: &str, work: &Work) -> anyhow::Result<Speeds> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let answer = lines.next_back().context("expected a line of JSON, got none")?;
    let part = |key: &str| Ok::<_, anyhow::Error>(Part::plain(number(&answer, key)?));
    Ok(Speeds {
        prompt: (work.prompt > 0).then(|| part("speed_pp")).transpose()?,
        generate: (work.generate > 0).then(|| part("speed_tg")).transpose()?,
        ..Speeds::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_a_peer_are_understood() {
        let text = r#"[
            {"build_commit": "abc123", "build_number": 42, "n_prompt": 512, "n_gen": 0, "avg_ts": 471.5},
            {"build_commit": "abc123", "build_number": 42, "n_prompt": 0, "n_gen": 128, "avg_ts": 173.25}
        ]"#;
        let speeds = speeds_of_tests(text).unwrap();
        assert_eq!((speeds.text().as_str(), speeds.version.as_str()), ("471.5 173.2", "b42 (abc123)"));
        assert!(speeds_of_tests("[{\"n_prompt\": 512}]").is_err(), "a test without a speed");
        let told = "some device\nversion: 0.5.0-dev (build 42, commit abc123)\nbuilt with a compiler\n";
        assert_eq!((version_of(told).as_deref(), version_of("usage: ...")), (Some("b42 (abc123)"), None));
        let work = Work {
            model: String::new(),
            file: PathBuf::new(),
            prompt: 128,
            generate: 32,
            depth: 0,
            batch: 32,
            threads: 2,
        };
        let text = "noise\n{\"pp\": 128, \"tg\": 32, \"pl\": 32, \"speed_pp\": 900.0, \"speed_tg\": 351.0}\n";
        assert_eq!(speeds_of_batch(text, &work).unwrap().text(), "900.0 351.0");
    }

    #[test]
    fn a_peer_is_called_what_it_is_told_or_after_its_program() {
        let program = std::env::current_exe().unwrap();
        let path = program.to_str().unwrap();
        assert_eq!(Peer::from_str(&format!("other={path}")).unwrap().name, "other");
        assert_eq!(Peer::from_str(path).unwrap().name, program.file_stem().unwrap().to_str().unwrap());
        assert!(Peer::from_str("nowhere/to/be/found").unwrap_err().contains("no file"));
    }
}
