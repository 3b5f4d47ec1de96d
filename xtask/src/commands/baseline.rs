//! `cargo xtask baseline`: the labels of a table, learned by the baseline `linear` and, with `--peer`, by scikit-learn in the
//! same run.
//!
//! Both read the same texts and make the same words, pairs and pieces of words of them. Printed are the share of test rows
//! that got their label, the seconds to learn and the test rows a second, one row after the other. Bantam's seconds to learn
//! have those in them that its probabilities take; scikit-learn's classifier has none. They take turns, and the fastest turn
//! of each counts. Only an optimised build is measured: `cargo run --release --package xtask -- baseline`.

use anyhow::{Context, ensure};
use eval::baselines::{BASELINES, Lesson};
use futures::executor::block_on;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use tasks::table::Table;
use tasks::{Classify, Example, Label, Task, Template};

use super::say;

/// The peer's program, from the workspace's folder.
const PEER: &str = "tools/reference/linear_baseline.py";

/// What to learn, and who else is to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A table to learn from; csv where there is a peer
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// A table to judge by
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    /// The column of texts
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text: String,
    /// The column of labels
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// Threads to learn with
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Turns of each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// A python that has scikit-learn
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
}

/// How one turn came out.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Share of test rows.
    right: f64,
    /// How far the mean probability is above that share; unknown of the peer.
    too_sure: Option<f64>,
    train_seconds: f64,
    rows_per_second: f64,
}

impl Turn {
    fn line(&self) -> String {
        let Turn { right, train_seconds, rows_per_second, too_sure } = self;
        let sure = too_sure.map(|share| format!(", too sure by {:.1} points", 100.0 * share)).unwrap_or_default();
        format!("{:.2} % right{sure}, learned in {train_seconds:.2} s, {rows_per_second:.0} rows/s", 100.0 * right)
    }

    fn best(self, other: Turn) -> Turn {
        let train_seconds = self.train_seconds.min(other.train_seconds);
        Turn { train_seconds, rows_per_second: self.rows_per_second.max(other.rows_per_second), ..self }
    }
}

/// Measures and prints.
///
/// # Errors
/// A table that cannot be read, a peer that fails.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let hint = "hint: cargo run --release --package xtask -- baseline";
    ensure!(!cfg!(debug_assertions), "expected a build that is optimised, got none: its speed says nothing\n{hint}");
    let task = task(args)?;
    let (train, test) = (task.examples_of(&args.train)?, task.examples_of(&args.test)?);
    let (mut ours, mut theirs): (Option<Turn>, Option<Turn>) = (None, None);
    for turn in 1..=args.repeat {
        let this = measure(&task, &train, &test, args.threads)?;
        ensure!(ours.is_none_or(|before| before.right == this.right), "another turn learned something else");
        say(&format!("{turn}/{}: bantam       {}", args.repeat, this.line()));
        ours = Some(ours.map_or(this, |before| before.best(this)));
        if let Some(python) = &args.peer {
            let this = ask_peer(root, args, python)?;
            say(&format!("{turn}/{}: scikit-learn {}", args.repeat, this.line()));
            theirs = Some(theirs.map_or(this, |before| before.best(this)));
        }
    }
    if let Some((ours, theirs)) = ours.zip(theirs) {
        say(&format!(
            "bantam: {:+.2} points, learned {:.1} times as fast, answered {:.1} times as fast",
            100.0 * (ours.right - theirs.right),
            theirs.train_seconds / ours.train_seconds,
            ours.rows_per_second / theirs.rows_per_second
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A task with the labels of both tables.
fn task(args: &Args) -> anyhow::Result<Task> {
    let mut names = Vec::new();
    for path in [&args.train, &args.test] {
        let table = Table::open(path)?;
        table.require(&args.label)?;
        for row in table {
            let row = row?;
            let name = row.fields.get(&args.label).and_then(Value::as_str);
            names.push(name.map(str::to_owned).with_context(|| format!("row {} has no label", row.number))?);
        }
    }
    names.sort();
    names.dedup();
    let labels = names.into_iter().map(|name| Label { name, description: None }).collect();
    let mut task = Task::new("baseline", Classify::new(labels)?);
    task.input = Template::field(&args.text);
    task.data.expected = Some(args.label.clone());
    Ok(task)
}

fn measure(task: &Task, train: &[Example], test: &[Example], threads: usize) -> anyhow::Result<Turn> {
    let linear = BASELINES.iter().find(|row| row.name == "linear").context("there is no baseline `linear`")?;
    let began = Instant::now();
    let work = block_on(linear.learn(&Lesson { task, examples: train, embedder: None, threads }))?;
    let train_seconds = began.elapsed().as_secs_f64();
    let (mut right, mut sure) = (0, 0.0);
    let began = Instant::now();
    for example in test {
        let outcome = block_on(work.ask(&example.input))?;
        right += usize::from(outcome.fields["label"] == example.expected);
        sure += outcome.fields["probability"].as_f64().context("a label without a probability")?;
    }
    let count = test.len() as f64;
    let share = right as f64 / count;
    let rows_per_second = count / began.elapsed().as_secs_f64();
    Ok(Turn { right: share, too_sure: Some(sure / count - share), train_seconds, rows_per_second })
}

fn ask_peer(root: &Path, args: &Args, python: &Path) -> anyhow::Result<Turn> {
    let mut command = Command::new(python);
    command.arg(root.join(PEER)).arg(&args.train).arg(&args.test).arg(&args.text).arg(&args.label);
    let output = command.output().with_context(|| python.display().to_string())?;
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).context("the peer's figures")?;
    let figure = |name: &str| result[name].as_f64().with_context(|| format!("the peer did not tell {name}"));
    Ok(Turn {
        right: figure("right")?,
        too_sure: None,
        train_seconds: figure("train_seconds")?,
        rows_per_second: figure("rows_per_second")?,
    })
}
