//! `cargo xtask killed`: a job that is killed again and again, and gone on with, comes to what an undisturbed one comes to.
//!
//! A table of short texts is written and classified to the end. Then the same with another file of results: the process is
//! killed (SIGKILL) at a random moment and begun again, as often as asked for, and the last time left to itself. Both files must
//! be the same, byte for byte, and the ledger must have counted every row once: as many rows, and as many tokens of prompts.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use super::bench::tools::Bantam;
use super::say;
use super::synth::Random;

const LABELS: &str = "delivery,payment,praise,question";
const SUBJECTS: [&str; 8] = [
    "The parcel",
    "My invoice",
    "Your shop",
    "The blue lamp",
    "This order",
    "The new chair",
    "The refund",
    "Your driver",
];
const VERBS: [&str; 8] = [
    "never arrived",
    "was charged twice",
    "is wonderful",
    "came broken",
    "is still missing",
    "was early",
    "costs too much",
    "is not what I ordered",
];
const ENDINGS: [&str; 6] = [
    "please help",
    "thank you",
    "what should I do now?",
    "I am waiting for an answer",
    "this is the second time",
    "I would buy here again",
];

/// What is killed, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model of the store
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Rows of the job
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Times that it is killed
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: u32,
    /// Another one makes other rows, and other moments
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// A run of the job, with a file of results of its own.
struct Job<'a> {
    bantam: &'a Bantam,
    model: &'a str,
    rows: &'a Path,
    out: PathBuf,
}

/// What the ledger has counted of it, as `bantam jobs --json` tells.
#[derive(Debug, PartialEq)]
struct Counted {
    id: i64,
    done: u64,
    failed: u64,
    prompt_tokens: u64,
}

/// Kills, compares and prints.
///
/// # Errors
/// A command that fails, a job that ends before it is killed, results or counts that differ.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let bantam = Bantam::build(root)?;
    let folder = tempfile::tempdir()?;
    // The ledger has whole paths, without links.
    let folder = folder.path().canonicalize()?;
    let mut random = Random::new(args.seed);
    let rows = folder.join("rows.csv");
    std::fs::write(&rows, table(args.rows, &mut random))?;
    let job = |out: &str| Job { bantam: &bantam, model: &args.model, rows: &rows, out: folder.join(out) };
    let (undisturbed, killed) = (job("undisturbed.jsonl"), job("killed.jsonl"));
    let began = Instant::now();
    undisturbed.finish()?;
    let whole = began.elapsed();
    let expected = undisturbed.counted()?.context("the ledger has no job of the undisturbed run")?;
    say(&format!("undisturbed: {} rows done, {} failed, in {whole:.1?}", expected.done, expected.failed));
    kill(&killed, args, whole, &mut random)?;
    killed.finish()?;
    let counted = killed.counted()?.context("the ledger has no job of the run that was killed")?;
    let results = |job: &Job<'_>| std::fs::read(&job.out).with_context(|| job.out.display().to_string());
    ensure!(results(&undisturbed)? == results(&killed)?, "the results differ from those of the undisturbed run");
    let same = Counted { id: counted.id, ..expected };
    ensure!(counted == same, "the ledger counted {counted:?} where the undisturbed run has {same:?}");
    say(&format!(
        "killed {} times: the same results byte for byte; {} rows and {} tokens of prompts counted, as undisturbed",
        args.kills,
        counted.done + counted.failed,
        counted.prompt_tokens
    ));
    bantam.json(&["jobs", "remove", &expected.id.to_string(), &counted.id.to_string()])?;
    Ok(ExitCode::SUCCESS)
}

/// Begins the job and kills it, as often as asked for.
fn kill(job: &Job<'_>, args: &Args, whole: Duration, random: &mut Random) -> anyhow::Result<()> {
    let mut done = 0;
    for kill in 1..=args.kills {
        // On average an even share of what is left, and never all of it.
        let left = 1.0 - done as f64 / f64::from(args.rows);
        let most = (2.0 / f64::from(args.kills - kill + 2)).min(0.9);
        let moment = whole.mul_f64(most * left * random.share());
        job.begin_and_kill(moment).with_context(|| format!("kill {kill}"))?;
        let now = job.counted()?.map_or(0, |counted| counted.done + counted.failed);
        ensure!(now >= done, "kill {kill}: {now} rows are done, and {done} were before");
        say(&format!("kill {kill:>2} after {moment:.1?}: {now} rows are done"));
        done = now;
    }
    Ok(())
}

impl Job<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.bantam.path());
        command.args(["classify", "--labels", LABELS, "--model", self.model]);
        command.arg("--in").arg(self.rows).arg("--out").arg(&self.out);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Begins it or goes on with it, to its end.
    fn finish(&self) -> anyhow::Result<()> {
        let output = self.command().output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bantam classify failed: {}", told.trim());
        Ok(())
    }

    /// Begins it or goes on with it, and kills it.
    fn begin_and_kill(&self, moment: Duration) -> anyhow::Result<()> {
        let mut process = self.command().stderr(Stdio::null()).spawn()?;
        std::thread::sleep(moment);
        let ended = process.try_wait()?;
        // Also where it has ended: a process is waited for.
        process.kill()?;
        process.wait()?;
        ensure!(ended.is_none(), "it ended before it was killed; more rows take longer");
        Ok(())
    }

    /// Nothing before it has come as far as the ledger.
    fn counted(&self) -> anyhow::Result<Option<Counted>> {
        let jobs = self.bantam.json(&["jobs", "list"])?;
        let out = self.out.to_str().context("the folder for temporary files has no name in Unicode")?;
        let found = jobs.as_array().into_iter().flatten().find(|job| job["spec"]["out"] == out);
        found.map(Counted::of).transpose()
    }
}

impl Counted {
    fn of(job: &Value) -> anyhow::Result<Counted> {
        let count =
            |key: &str| job[key].as_u64().with_context(|| format!("{key}: expected a number, got {}", job[key]));
        let id = job["id"].as_i64().context("a job without its number")?;
        Ok(Counted { id, done: count("done")?, failed: count("failed")?, prompt_tokens: count("prompt_tokens")? })
    }
}

/// The rows: short texts, each with its number, so that no two are the same.
fn table(rows: u32, random: &mut Random) -> String {
    let mut one_of = |texts: &[&'static str]| texts[random.next() as usize % texts.len()];
    let row = |number| {
        let (subject, verb, ending) = (one_of(&SUBJECTS), one_of(&VERBS), one_of(&ENDINGS));
        format!("{number},\"{subject} {verb} ({number}), {ending}\"\n")
    };
    "number,text\n".to_owned() + &(1..=rows).map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_differ_and_come_again_by_their_seed() {
        let rows = |seed| table(50, &mut Random::new(seed));
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
        let table = rows(1);
        let mut texts: Vec<&str> =
            table.lines().skip(1).filter_map(|line| line.split_once(',')).map(|row| row.1).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 50);
    }

    #[test]
    fn what_is_counted_is_read_from_the_list_of_jobs() {
        let job = serde_json::json!({"id": 3, "done": 5, "failed": 1, "prompt_tokens": 70});
        assert_eq!(Counted::of(&job).unwrap(), Counted { id: 3, done: 5, failed: 1, prompt_tokens: 70 });
        let error = Counted::of(&serde_json::json!({"id": 3, "done": null})).unwrap_err().to_string();
        assert_eq!(error, "done: expected a number, got null");
    }
}
