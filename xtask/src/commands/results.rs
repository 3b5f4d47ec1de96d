//! `cargo xtask results`: seven public data sets, judged by `bantam eval` with small models and every baseline that fits, and
//! written down in docs/results.md as it came out.
//!
//! Each set becomes a task file with tables in a scratch folder (`results/sets.rs`), and its report becomes a table and a
//! paragraph (`results/page.rs`): no word of them is written by hand, so nothing is kept silent that a model is bad at. Rows are
//! drawn by chance and always the same.

mod page;
mod sets;

use anyhow::{Context, bail};
use eval::report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use super::bench::tools::Bantam;
use super::say;
use sets::{SETS, Set};

/// The models of this machine that are judged.
const MODELS: [&str; 4] = ["smollm2:135m", "gemma3:270m-base", "qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b"];
/// The first of them, and so many rows, make a quick try.
const QUICK_ROWS: usize = 30;
/// Baselines that are judged only where a task names them.
const NAMED_BASELINES: [&str; 1] = ["embeddings"];

/// Where the data is, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder with a folder for each data set
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Some rows, the smallest model and the baselines that need none: a try, written to target/results.md
    #[arg(long)]
    quick: bool,
    /// Only these sets, by the names of their folders
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    sets: Vec<String>,
}

/// What came of a set.
struct Result {
    set: &'static Set,
    report: Report,
    /// The command, as somebody would type it.
    command: String,
    seconds: f64,
}

/// Judges and writes the page.
///
/// # Errors
/// Data that cannot be read, an evaluation that cannot be made.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = args.sets.iter().find(|name| SETS.iter().all(|set| set.folder != **name)) {
        let known: Vec<&str> = SETS.iter().map(|set| set.folder).collect();
        bail!("there is no set {unknown}\nhint: there are {}", known.join(", "));
    }
    let bantam = Bantam::build(root)?;
    let mut results = Vec::new();
    for set in SETS.iter().filter(|set| args.sets.is_empty() || args.sets.iter().any(|name| name == set.folder)) {
        say(&format!("== {}", set.name));
        results.push(judged(&bantam, set, args).with_context(|| set.name.to_owned())?);
    }
    let file = root.join(if args.quick { "target/results.md" } else { "docs/results.md" });
    std::fs::create_dir_all(root.join("target"))?;
    let cpu = super::bench::results::cpu_name();
    std::fs::write(&file, page::page(&results, bantam.version(), &cpu)).with_context(|| file.display().to_string())?;
    say(&format!("written: {}", file.display()));
    Ok(ExitCode::SUCCESS)
}

fn judged(bantam: &Bantam, set: &'static Set, args: &Args) -> anyhow::Result<Result> {
    let folder = tempfile::tempdir()?;
    let task = (set.prepare)(&args.data.join(set.folder), folder.path())?;
    let name = format!("{}.toml", set.folder);
    let goal = format!("[goal]\nmetric = \"{}\"\nthreshold = {}\n\n", set.metric, set.threshold);
    let models: &[&str] = if args.quick { &MODELS[..1] } else { &MODELS };
    let mut candidates: String =
        models.iter().map(|model| format!("[[candidates]]\nmodel = \"{model}\"\n\n")).collect();
    if set.kind == "classify" && !args.quick {
        candidates.extend(NAMED_BASELINES.map(|baseline| format!("[[candidates]]\nbaseline = \"{baseline}\"\n\n")));
    }
    std::fs::write(folder.path().join(&name), format!("kind = \"{}\"\n{task}\n{goal}{candidates}", set.kind))?;
    let limit = if args.quick { QUICK_ROWS } else { set.limit };
    let command = format!("bantam eval {name} --limit {limit} --report {}.json", set.folder);
    let report = folder.path().join(format!("{}.json", set.folder));
    let began = Instant::now();
    let mut process = Command::new(bantam.path());
    process.args(["eval", &name, "--limit", &limit.to_string(), "--report"]).arg(&report);
    let status = process.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    // Not good enough, and not enough evidence, are results as well.
    if !matches!(status.code(), Some(0 | 3 | 4)) {
        bail!("{command}: {status}");
    }
    let text = std::fs::read_to_string(&report).context("the evaluation wrote no report")?;
    let report = serde_json::from_str(&text).context("the report cannot be read")?;
    Ok(Result { set, report, command, seconds: began.elapsed().as_secs_f64() })
}
