//! The table of commands. Each is a file here, and one line in the enum.

mod baseline;
mod bench;
mod infill;
mod killed;
mod loadtest;
mod readme;
mod receipts;
mod results;
mod synth;
mod tidy;
mod triage;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The project's own chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
pub(crate) enum Command {
    /// Checks the rules that the compiler cannot: layers, lengths, names, licences (`cargo test` does the same).
    Tidy,
    /// Writes the tables in README.md: models from the catalog, speeds from what was measured.
    Readme,
    /// Learns the labels of a table without a language model, and measures it against scikit-learn.
    Baseline(baseline::Args),
    /// Measures Bantam against other engines on the same files, and writes the table of speeds in README.md.
    Bench(bench::Args),
    /// Measures Bantam under many clients against another server, and writes the table of loads in README.md.
    Loadtest(loadtest::Args),
    /// Classifies the rows of a table with Bantam and with another server that is asked for the label as text.
    Triage(triage::Args),
    /// Extracts the fields of receipts and compares them with what people wrote.
    Receipts(receipts::Args),
    /// Fills lines into programs, and times completions.
    Infill(infill::Args),
    /// Judges small models and baselines on public data sets, and writes docs/results.md.
    Results(results::Args),
    /// Kills a job again and again, and compares what comes of it with an undisturbed one.
    Killed(killed::Args),
    /// Writes a GGUF file with the published shapes of a model and random weights, to measure speed with.
    Synth(synth::Args),
    /// Runs the proofs that are too heavy for every run: all real models, and other engines asked live.
    Verify(verify::Args),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Tidy => tidy::run(&root()),
            Command::Readme => readme::run(&root()),
            Command::Baseline(args) => baseline::run(&root(), &args),
            Command::Bench(args) => bench::run(&root(), &args),
            Command::Loadtest(args) => loadtest::run(&root(), &args),
            Command::Triage(args) => triage::run(&root(), &args),
            Command::Receipts(args) => receipts::run(&root(), &args),
            Command::Infill(args) => infill::run(&root(), &args),
            Command::Results(args) => results::run(&root(), &args),
            Command::Killed(args) => killed::run(&root(), &args),
            Command::Synth(args) => synth::run(&args),
            Command::Verify(args) => verify::run(&root(), &args),
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A line for the person at the terminal. If nobody reads it any more, nobody is told so.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
