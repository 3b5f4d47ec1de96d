//! Doing tasks: what the commands `classify`, `extract`, `summarize`, `answer`, `complete` and `generate` have in common.
//!
//! ```text
//! options, task file -> Task;  text, standard input, --in -> inputs
//! one text -> one (printed plainly)     many -> many (lines, in order)     many with --out -> job (ledger, resumed)
//! ```
//!
//! It knows no kind: each command's file brings its settings and how its answer is shown. Read next: `work/options.rs`,
//! then `work/job.rs`.

mod given;
mod job;
mod many;
mod one;
mod options;
mod row;
mod watch;

pub use given::Given;
pub use job::{identity, ledger, loaded_with};
pub use options::{WorkArgs, refuse_beside};

use crate::session::{Session, load_options};
use local::LocalHost;
use std::path::Path;
use std::time::Duration;
use tasks::{Outcome, Ready, Task};

/// An outcome as a person reads it.
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    /// What stands on standard output.
    pub text: String,
    /// What a person at a terminal is told beside it: how sure the model is, where it stands.
    pub asides: Vec<String>,
}

/// How a kind's outcomes are shown.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// One outcome.
    pub show: fn(&Task, &Outcome) -> Shown,
    /// Whether a line has room for an outcome, so that many make a table on a terminal.
    pub is_line: bool,
}

/// Inputs under way at once where nobody says how many: answers that are scored fill a batch of many; answers that are
/// written take pages, and long ones take many.
pub fn usual_concurrency(kind: &str) -> usize {
    match kind {
        "classify" => 32,
        "complete" | "summarize" => 8,
        _ => 16,
    }
}

/// Reads a task file of a kind.
///
/// # Errors
/// It cannot be read, is wrong, or of another kind.
pub fn open(file: &Path, kind: &str) -> anyhow::Result<Task> {
    if !file.exists() {
        let name = file.display();
        anyhow::bail!(
            "{name}: no such file\nhint: a name that ends in .toml is that of a task file; `bantam init` makes one"
        );
    }
    let task = Task::open(file)?;
    if task.kind() != kind {
        let (name, is) = (file.display(), task.kind());
        anyhow::bail!("{name}: expected a task of kind {kind:?}, got {is:?}\nhint: bantam {is} {name}");
    }
    Ok(task)
}

/// Does a task on what was given.
///
/// # Errors
/// Whatever stands between the inputs and their outcomes, or a row that failed.
pub fn execute(
    mut task: Task,
    given: Option<Given>,
    args: &WorkArgs,
    view: View,
    session: &Session,
) -> anyhow::Result<()> {
    args.adjust(&mut task)?;
    let given = Given::choose(given, args, &task, session)?;
    if args.out.is_some() {
        return job::execute(&task, given, args, session);
    }
    match given {
        Given::One { name, input, warnings } => one::execute(&task, &name, *input, warnings, args, view, session),
        Given::Many(paths) => many::execute(&task, &paths, args, view, session),
    }
}

/// A task with its model in memory.
struct Prepared {
    ready: Ready,
    model: String,
    load_time: Duration,
}

/// The model that a task is for: the command line's, the task file's, else the default one.
fn model_name(task: &Task, host: &LocalHost) -> String {
    task.model.clone().unwrap_or_else(|| host.hub().catalog().default_model().name.clone())
}

/// A host for the models of this machine, loaded as the command line says.
fn host(args: &WorkArgs, session: &Session) -> anyhow::Result<LocalHost> {
    session.host(load_options(&args.load)?)
}

/// Fetches the model where needed, loads it, and makes the task ready.
fn prepare(task: &Task, args: &WorkArgs, host: &LocalHost, session: &Session) -> anyhow::Result<Prepared> {
    // What is wrong with the examples is known before a model is waited for.
    let examples = task.shown_examples()?;
    let name = model_name(task, host);
    let progress = session.download_progress();
    host.source(&name, &progress)?;
    let started = std::time::Instant::now();
    let model = host.load_local(&name, &progress)?;
    let load_time = started.elapsed();
    let ready = futures::executor::block_on(task.ready(model, &examples))?;
    for warning in ready.warnings() {
        session.terminal.warn(warning);
    }
    let ready = ready.with_concurrency(args.concurrency.unwrap_or(usual_concurrency(task.kind())));
    Ok(Prepared { ready, model: name, load_time })
}
