//! `cargo xtask infill`: lines taken out of programs, filled in by `bantam complete`, and how soon a completion comes.
//!
//! The data is that of HumanEval-Infilling (arXiv 2207.14255), one JSON object a line with `prompt`, `suffix` and
//! `canonical_solution`, packed or not. A line is right where it is the same but for the blanks at its end; edit similarity is 1
//! less the Levenshtein distance by the longer of both. Completions of eight tokens are timed one at a time over HTTP: with the
//! whole prompt known, and after an edit of one line in its middle.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::bench::tools::Bantam;
use super::loadtest::Server;
use super::say;

/// Tokens of a completion that is timed.
const TIMED_TOKENS: usize = 8;
/// Prompts that are timed.
const TIMED: usize = 40;
/// More than any file of it holds.
const MOST_BYTES: u64 = 1 << 30;

/// Which holes, and by what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file of holes: JSON lines, or the same packed by gzip
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The model of the store
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Holes, the first so many; 0 only times completions
    #[arg(long, value_name = "N", default_value_t = 200)]
    rows: usize,
}

/// A hole and what was in it.
pub(super) struct Hole {
    pub(super) prefix: String,
    pub(super) suffix: String,
    pub(super) line: String,
}

/// Measures and prints.
///
/// # Errors
/// Data that cannot be read, a command that fails.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let bantam = Bantam::build(root)?;
    let holes = read(&args.data)?;
    if args.rows > 0 {
        fill(&bantam, args, &holes[..args.rows.min(holes.len())])?;
    }
    let server = Server::start(&bantam, &[&args.model])?;
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(600)).no_proxy().build()?;
    if holes.is_empty() {
        bail!("{}: expected lines, got none", args.data.display());
    }
    let (mut known, mut edited, mut tokens) = (Vec::new(), Vec::new(), 0);
    for hole in holes.iter().step_by((holes.len() / TIMED).max(1)).take(TIMED) {
        complete(&client, &server, args, hole)?;
        let (time, count) = complete(&client, &server, args, hole)?;
        known.push(time);
        tokens += count;
        edited.push(complete(&client, &server, args, &after_an_edit(hole))?.0);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    say(&format!(
        "{}: up to {TIMED_TOKENS} tokens ({:.1} in the mean) in {:.0} ms with the prompt known, {:.0} ms after an edit of \
         one line (medians)",
        args.model,
        tokens as f64 / known.len() as f64,
        median(&mut known),
        median(&mut edited)
    ));
    Ok(ExitCode::SUCCESS)
}

fn fill(bantam: &Bantam, args: &Args, holes: &[Hole]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (rows, results) = (folder.path().join("holes.jsonl"), folder.path().join("filled.jsonl"));
    let row = |hole: &Hole| json!({"prefix": hole.prefix, "suffix": hole.suffix}).to_string();
    std::fs::write(&rows, holes.iter().map(row).collect::<Vec<_>>().join("\n") + "\n")?;
    let (from, to) = (rows.to_string_lossy(), results.to_string_lossy());
    let summary = bantam.job(&["complete", "--stop", "line", "--model", &args.model, "--in", &from, "--out", &to])?;
    let (mut exact, mut similarity) = (0, 0.0);
    let results = std::fs::read_to_string(&results)?;
    ensure!(results.lines().count() == holes.len(), "{} rows of results for {}", results.lines().count(), holes.len());
    for (line, hole) in results.lines().zip(holes) {
        let row: Value = serde_json::from_str(line).with_context(|| format!("not a row of results: {line}"))?;
        let filled = row["completion"].as_str().unwrap_or_default().trim_end();
        exact += usize::from(filled == hole.line.trim_end());
        similarity += strsim::normalized_levenshtein(filled, hole.line.trim_end());
    }
    let count = holes.len() as f64;
    let seconds = summary["seconds"].as_f64().context("the summary has no seconds")?;
    say(&format!(
        "{}: {} lines, exact {:.1} %, edit similarity {:.1} %, {:.1} a second",
        args.model,
        holes.len(),
        100.0 * exact as f64 / count,
        100.0 * similarity / count,
        count / seconds
    ));
    Ok(())
}

/// What a completion takes, and how many tokens it has.
fn complete(
    client: &reqwest::blocking::Client,
    server: &Server,
    args: &Args,
    hole: &Hole,
) -> anyhow::Result<(Duration, u64)> {
    let body = json!({"model": args.model, "prompt": hole.prefix, "suffix": hole.suffix, "max_tokens": TIMED_TOKENS,
        "temperature": 0.0});
    let request = client.post(format!("{}/v1/completions", server.url())).header("content-type", "application/json");
    let began = Instant::now();
    let response = request.body(body.to_string()).send()?;
    let status = response.status();
    let text = response.text()?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    let time = began.elapsed();
    let value: Value = serde_json::from_str(&text)?;
    Ok((time, value["usage"]["completion_tokens"].as_u64().context("the answer has no usage")?))
}

/// The same with another line in the middle of its prefix.
fn after_an_edit(hole: &Hole) -> Hole {
    let mut lines: Vec<&str> = hole.prefix.split_inclusive('\n').collect();
    lines.insert(lines.len() / 2, "    # a line that was not there before\n");
    Hole { prefix: lines.concat(), suffix: hole.suffix.clone(), line: hole.line.clone() }
}

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Hole>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut text = String::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => flate2::read::GzDecoder::new(&bytes[..]).take(MOST_BYTES + 1).read_to_string(&mut text)?,
        false => bytes.as_slice().read_to_string(&mut text)?,
    };
    if text.len() as u64 > MOST_BYTES {
        bail!("{}: unpacks to more than {MOST_BYTES} bytes", path.display());
    }
    let hole = |line: &str| -> anyhow::Result<Hole> {
        let value: Value = serde_json::from_str(line)?;
        let field = |name: &str| value[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {line}"));
        Ok(Hole { prefix: field("prompt")?, suffix: field("suffix")?, line: field("canonical_solution")? })
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(hole).collect()
}
