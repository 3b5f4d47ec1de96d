//! `cargo xtask bench`: Bantam against other engines, on the same files, threads and machine, in one run.
//!
//! The engines take turns, so that whatever else the machine does falls on all of them. Bantam runs once after each peer,
//! so that a ratio is of two runs next to each other; the smallest and the largest of them are shown beside that of the
//! medians, and marked where they lie far apart. What was measured is kept
//! in `bench/results/`, one file a processor, from which the table in README.md is written. Read next: `bench/tools.rs`
//! for how the engines are asked.

pub(super) mod results;
pub(super) mod tools;

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use super::{readme, say};
use results::{Row, Side, Test};
use tools::{Bantam, Peer, Speeds, Work};

pub(super) use results::table;

/// What to measure, and against whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The llama-bench of a peer, with a name for it if there are several; may be given several times
    #[arg(long, value_name = "[NAME=]PATH", required = true)]
    peer: Vec<Peer>,
    /// A model of the store or a GGUF file; may be given several times; the default is all GGUF models of the store
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Tokens of each prompt; 0 leaves that part out
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Tokens to generate; 0 leaves that part out
    #[arg(long, value_name = "N", default_value_t = 128)]
    generate: usize,
    /// Turns of every engine
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Tokens that are in memory before the clock starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: usize,
    /// Sequences at once: above 1, peers are asked with the llama-batched-bench beside their llama-bench
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Threads of every engine; the default is what Bantam chooses
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Measures, keeps the results and writes the table.
///
/// # Errors
/// An engine or a model that is not there, a run that fails, or a file that cannot be written.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if args.prompt == 0 && args.generate == 0 {
        bail!("--prompt and --generate: expected at least one above 0");
    }
    if args.batch > 1 && args.depth > 0 {
        bail!("--batch with --depth: a peer's llama-batched-bench has no depth\nhint: leave one of them out");
    }
    let names: BTreeMap<&str, ()> = args.peer.iter().map(|peer| (peer.name.as_str(), ())).collect();
    if names.len() < args.peer.len() || names.contains_key("bantam") {
        bail!("--peer: expected a name of its own for each\nhint: --peer NAME=PATH");
    }
    let bantam = Bantam::build(root)?;
    let models = if args.model.is_empty() { bantam.stored_models()? } else { args.model.clone() };
    let date = results::today();
    let cpu = results::cpu_name();
    let mut rows = Vec::new();
    for model in &models {
        let work = Work {
            model: model.clone(),
            file: bantam.file_of(model)?,
            prompt: args.prompt,
            generate: args.generate,
            depth: args.depth,
            batch: args.batch as usize,
            threads: args.threads.map_or_else(|| bantam.default_threads(model), Ok)?,
        };
        for row in measure(&bantam, args, &work, &date)? {
            say(&row.line());
            rows.push(row);
        }
    }
    let path = results::keep(root, &cpu, rows)?;
    say(&format!("kept in {}", path.display()));
    readme::run(root)
}

/// Lets the engines take turns at one model, Bantam after every peer; a row for each test and peer.
fn measure(bantam: &Bantam, args: &Args, work: &Work, date: &str) -> anyhow::Result<Vec<Row>> {
    // By peer: Bantam's runs and the peer's, side by side.
    let mut pairs: Vec<(Vec<Speeds>, Vec<Speeds>)> = vec![Default::default(); args.peer.len()];
    for turn in 1..=args.repeat {
        let mut line = format!("{} {turn}/{}:", work.model, args.repeat);
        for (peer, (our_runs, their_runs)) in args.peer.iter().zip(&mut pairs) {
            let theirs = peer.run(work).with_context(|| format!("{} with {}", peer.name, work.model))?;
            let ours = bantam.run(work).with_context(|| format!("bantam with {}", work.model))?;
            line += &format!(" {} {}, bantam {};", peer.name, theirs.text(), ours.text());
            their_runs.push(theirs);
            our_runs.push(ours);
        }
        say(line.trim_end_matches(';'));
    }
    let mut rows = Vec::new();
    for test in [Test::Prompt, Test::Generate] {
        for (peer, (ours, theirs)) in args.peer.iter().zip(&pairs) {
            let (Some(ours), Some(theirs)) = (side("bantam", ours, test), side(&peer.name, theirs, test)) else {
                continue;
            };
            rows.push(Row::of(work, test, date, ours, theirs));
        }
    }
    Ok(rows)
}

/// What one engine reached in one test, if that was made.
fn side(name: &str, runs: &[Speeds], test: Test) -> Option<Side> {
    let parts: Vec<_> = runs.iter().filter_map(|run| run.part(test)).collect();
    let first = runs.first().filter(|_| !parts.is_empty())?;
    let middle = |values: Vec<f64>| (!values.is_empty()).then(|| results::median(&values));
    Some(Side {
        engine: name.to_owned(),
        version: first.version.clone(),
        isa: first.isa.clone(),
        tokens_per_second: parts.iter().map(|part| results::rounded(part.tokens_per_second, 100.0)).collect(),
        limit: parts[0].limit.clone(),
        of_limit: middle(parts.iter().filter_map(|part| part.of_limit).collect())
            .map(|share| results::rounded(share, 1000.0)),
    })
}
