//! `bantam check`: whether a task file, its data and its model go together, before anything is begun.

use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use ::eval::{Leaks, TestSet, baselines, check_goal};
use chat::{AnswerFormat, Capabilities, ChatFuture, ChatModel, ChatRequest, ChatStream, ModelInfo};
use futures::executor::block_on;
use hub::Hub;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tasks::table::Table;
use tasks::{Answerer, Goal, Input, Task};

/// Look whether a task file, its data and its model go together, and show a prompt
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam check triage.toml                 file, data and model; the model is loaded if it is in the store
  bantam check triage.toml --no-model      without loading a model
  bantam check triage.toml --model qwen2.5:0.5b --json")]
pub struct Args {
    /// The task file
    #[arg(value_name = "TASK.toml")]
    file: PathBuf,
    /// The model; the default is the task file's, else smollm2:135m
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Load no model: what only a model can tell (whether a format can be held to) is left out
    #[arg(long)]
    no_model: bool,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize)]
struct Output<'a> {
    task: &'a Path,
    kind: &'a str,
    reads: Vec<&'a str>,
    model: &'a str,
    stored: bool,
    loaded: bool,
    train_rows: Option<u64>,
    test_rows: Option<u64>,
    warnings: &'a [String],
    problems: &'a [String],
    prompt: Option<&'a str>,
}

/// Rows that are wrong are named, so many of a table.
const MOST_NAMED: usize = 10;

/// What is known so far.
#[derive(Default)]
struct Findings {
    warnings: Vec<String>,
    problems: Vec<String>,
    prompt: Option<String>,
    stored: bool,
    loaded: bool,
}

/// A table of the task's data: how many rows, and one of them.
struct Seen {
    rows: u64,
    first: Option<Input>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    if !args.file.exists() {
        let name = args.file.display();
        anyhow::bail!("{name}: no such file\nhint: `bantam init` makes a task file out of a table");
    }
    let task = Task::open(&args.file)?;
    let mut findings = Findings::default();
    let train = task.data.train.as_deref().and_then(|path| look_at(path, &task, &mut findings));
    let test = task.data.test.as_deref().and_then(|path| look_at(path, &task, &mut findings));
    let first = train.as_ref().or(test.as_ref()).and_then(|seen| seen.first.clone());
    if findings.problems.is_empty() {
        findings.problems.extend(judged(&task).err().map(|error| error.to_string()));
    }
    let hub = session.hub()?;
    let default = || hub.catalog().default_model().name.clone();
    let model = args.model.clone().or_else(|| task.model.clone()).unwrap_or_else(default);
    let ready = with_model(&args, &task, &hub, &model, first, &mut findings, session);
    findings.problems.extend(ready.err().map(|error| format!("{error:#}")));
    let rows = |seen: &Option<Seen>| seen.as_ref().map(|seen| seen.rows);
    if args.json {
        session.terminal.json(&Output {
            task: &args.file,
            kind: task.kind(),
            reads: task.fields(),
            model: &model,
            stored: findings.stored,
            loaded: findings.loaded,
            train_rows: rows(&train),
            test_rows: rows(&test),
            warnings: &findings.warnings,
            problems: &findings.problems,
            prompt: findings.prompt.as_deref(),
        })?;
    } else {
        session.terminal.data(&described(&args.file, &task, &model, [rows(&train), rows(&test)], &findings))?;
        findings.warnings.iter().for_each(|warning| session.terminal.warn(warning));
        findings.problems.iter().for_each(|problem| session.terminal.warn(problem));
    }
    match findings.problems.len() {
        0 => Ok(()),
        1 => anyhow::bail!("{}: there is a problem", args.file.display()),
        count => anyhow::bail!("{}: there are {count} problems", args.file.display()),
    }
}

fn described(file: &Path, task: &Task, model: &str, [train, test]: [Option<u64>; 2], findings: &Findings) -> String {
    let rows = |rows: Option<u64>| rows.map_or("none".to_owned(), |rows| format!("{rows} rows"));
    let state = match (findings.stored, findings.loaded) {
        (_, true) => "loaded, and can do it",
        (true, false) => "in the store, not loaded",
        (false, false) => "not in the store; `bantam pull` fetches it",
    };
    let lines = [
        ("task", format!("{} ({})", file.display(), task.kind())),
        ("reads", task.fields().join(", ")),
        ("model", format!("{model} ({state})")),
        ("train", rows(train)),
        ("test", rows(test)),
    ];
    let mut text: String = lines.into_iter().map(|(name, line)| format!("{name:<9} {line}\n")).collect();
    if let Some(prompt) = &findings.prompt {
        text.push_str(&format!("\n{}\n", prompt.trim_end()));
    }
    text
}

/// Whether the task can be judged, where it says that it will be.
fn judged(task: &Task) -> anyhow::Result<()> {
    if task.goal == Goal::default() && task.candidates.is_empty() {
        return Ok(());
    }
    for candidate in &task.candidates {
        if let Answerer::Baseline(name) = &candidate.answerer {
            baselines::find(name, &candidate.task)?;
        }
    }
    let test = TestSet::read(task, None, Leaks::Refused)?;
    Ok(check_goal(task, &test)?)
}

/// Reads a whole table of the task's data; what is wrong with it goes to the findings.
fn look_at(path: &Path, task: &Task, findings: &mut Findings) -> Option<Seen> {
    let table = match Table::open(path) {
        Ok(table) => table,
        Err(error) => {
            findings.problems.push(error.to_string());
            return None;
        }
    };
    let name = path.display().to_string();
    findings.warnings.extend(table.warnings().iter().map(|warning| format!("{name}: {warning}")));
    let columns: Vec<_> = table.columns().iter().map(String::as_str).collect();
    let columns = task.check_columns(&name, &columns);
    // Rows without a column that is missing are not each a problem of their own.
    let has_columns = columns.is_ok();
    findings.problems.extend(columns.err().map(|error| error.to_string()));
    let (mut seen, mut wrong, mut unlabelled) = (Seen { rows: 0, first: None }, Vec::new(), 0);
    let is_test = task.data.expected.is_some() && task.data.test.as_deref() == Some(path);
    for row in table {
        seen.rows += 1;
        match row {
            Ok(row) => {
                if has_columns && is_test && task.is_unlabelled(&row.fields) {
                    unlabelled += 1;
                } else if has_columns {
                    wrong.extend(task.check_rows(&name, &[(row.number, row.fields.clone())]));
                }
                seen.first.get_or_insert_with(|| Input::from(row));
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if unlabelled > 0 {
        let page = format!("`{}` has a page to answer them", task.labelling_command());
        findings
            .warnings
            .push(format!("{name}: rows without a right answer, which are left out: {unlabelled}; {page}"));
    }
    if wrong.len() > MOST_NAMED {
        let further = wrong.len() - MOST_NAMED;
        wrong.truncate(MOST_NAMED);
        wrong.push(format!("{name}: {further} more rows are wrong"));
    }
    findings.problems.extend(wrong);
    Some(seen)
}

/// Brings the task and the model together, as far as the model is there.
fn with_model(
    args: &Args,
    task: &Task,
    hub: &Hub,
    name: &str,
    first: Option<Input>,
    findings: &mut Findings,
    session: &Session,
) -> anyhow::Result<()> {
    findings.stored = is_stored(hub, name)?;
    let examples = if findings.problems.is_empty() { task.shown_examples()? } else { Vec::new() };
    let options = load_options(&args.load)?;
    let model: Arc<dyn ChatModel> = if findings.stored && !args.no_model {
        let model = session.load(name, options)?.model;
        findings.loaded = true;
        model
    } else if findings.stored {
        let host = session.host(options.clone())?;
        let source = host.source(name, &session.download_progress())?;
        Arc::new(Described(local::describe(&source, &options)?.info))
    } else {
        Arc::new(Described(assumed(name)))
    };
    let ready = block_on(task.ready(model, &examples))?;
    findings.warnings.extend_from_slice(ready.warnings());
    // Without data, words stand where the fields would.
    let input = first.unwrap_or_else(|| {
        let fields = task.fields().into_iter().map(|field| (field.to_owned(), format!("({field})").into())).collect();
        Input { fields, pages: Vec::new() }
    });
    findings.prompt = Some(ready.preview(&input)?);
    Ok(())
}

fn is_stored(hub: &Hub, name: &str) -> anyhow::Result<bool> {
    let names = if hub.resolve(name).is_ok() { vec![name] } else { name.split('+').collect() };
    for name in names {
        let reference = hub.resolve(name)?;
        let is_path = matches!(reference, hub::ModelRef::Path(_));
        if !is_path && hub.present(&reference)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A model of which no more is known than its name: one that chats.
fn assumed(name: &str) -> ModelInfo {
    let capabilities = Capabilities { template: true, complete: true, choose: true, ..Capabilities::default() };
    ModelInfo {
        name: name.to_owned(),
        family: String::new(),
        parameters: 0,
        weight_bytes: 0,
        quantization: String::new(),
        context: 0,
        maximum_context: 0,
        vocabulary: 0,
        capabilities,
    }
}

/// A model that is not in memory: it says what it is, and answers nothing.
struct Described(ModelInfo);

impl ChatModel for Described {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn chat(&self, _: ChatRequest) -> ChatFuture<'_, ChatStream> {
        let model = self.0.name.clone();
        Box::pin(std::future::ready(Err(chat::ChatError::Unsupported { model, what: "an answer before it is loaded" })))
    }

    fn prepare_format<'a>(&'a self, _: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
