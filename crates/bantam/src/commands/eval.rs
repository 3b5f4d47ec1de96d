//! `bantam eval`: whether a small model is good enough for a task, with the evidence.

mod exchange;
mod grader;
mod line_up;
mod remote;
mod runs;
mod shown;
mod watch;

use crate::failure::{Interrupted, Judged, UsedWrongly};
use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use crate::work::ledger;
use ::eval::gate::{Course, Earlier};
use ::eval::report::Report;
use ::eval::suites::{SUITES, Suite};
use ::eval::verdict::Verdict;
use ::eval::{Contender, EvalError, Evaluation, Leaks, Options, Plan, TestSet};
use clap::builder::PossibleValuesParser;
use futures::executor::block_on;
use futures::future::{Either, select};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use tasks::{Grading, Task};
use watch::EvalWatch;

/// Judge whether a small model is good enough for a task: a verdict with its evidence
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  bantam eval triage.toml                          all candidates of the task file, and baselines
  bantam eval triage.toml --models smollm2:135m,qwen2.5-coder:0.5b --report triage.html
  bantam eval triage.toml --stop-when-sure         a clear case ends after tens of rows
  bantam eval triage.toml --models smollm2:135m,openai/gpt-4o-mini --max-cost 0.50
  bantam eval code.toml --execute --repeat 5       tests that generated code has to pass: pass@1 to pass@5
  bantam eval triage.toml --baseline main.json     in CI: is a candidate worse than in that report?
  bantam eval --suite mmlu --data mmlu --limit 500 a standard benchmark, from the files that its authors publish
  bantam eval list                                 the runs so far
  bantam eval compare triage-1 triage-2            what got better, what got worse
  bantam eval export triage-1 --out rows.jsonl     every row with prompt, answer and score
  bantam eval import tests.csv --out test.jsonl    test cases of promptfoo, OpenAI evals or lm-eval as a table

The task file says what is good enough and who is judged:
  [data]        test = \"test.csv\", expected = \"label\", train = \"train.csv\" (for examples and baselines)
  [goal]        metric, threshold, confidence, latency_ms_p95, cost_per_1000, group
  [[candidates]] model (of this machine, or provider/model) or baseline, endpoint, price, and whatever of the task differs: instructions, input, [candidates.options]
  [goal.judge], [goal.tests], [goal.command]   who grades answers, where no count can tell whether they are right
  [machine]     watts, price_per_kwh, price_per_hour
What was asked once is not asked again: a run that was ended goes on, a second run of the same rows costs nothing.
Exit codes: 0 good enough, or nothing to reach in [goal]; 3 not good enough, or worse than in --baseline by more than
chance; 4 not enough evidence; 1 it could not be judged."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<runs::Action>,
    /// The task file
    #[arg(value_name = "TASK.toml", required_unless_present = "suite", conflicts_with = "suite")]
    file: Option<PathBuf>,
    /// Judge by a standard benchmark in the place of a task file
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name)), requires = "data")]
    suite: Option<String>,
    /// The folder with the benchmark's files, as their authors publish them
    #[arg(long, value_name = "DIR", requires = "suite")]
    data: Option<PathBuf>,
    /// The benchmark's figure from which on a model is good enough, from 0 to 1
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// How freely the benchmark's answers are sampled; without it the likeliest token is taken each time
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// The benchmark's metric that the verdict is about; the default is its main one
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Judge these models in place of the file's candidates
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    models: Vec<String>,
    /// Judge no baselines but those that the file names
    #[arg(long)]
    no_baselines: bool,
    /// What the run is called; the default is the task's name with a number
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only N rows of the test, drawn by chance and always the same
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// End a candidate as soon as it is clear on which side of the threshold it lies
    #[arg(long)]
    stop_when_sure: bool,
    /// Ask each row N times, to see how far sampled answers agree
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Ask again what was asked before
    #[arg(long)]
    fresh: bool,
    /// US dollars that providers may take; what would pass it is not asked
    #[arg(long, value_name = "USD")]
    max_cost: Option<f64>,
    /// Ask providers without asking first whether the cost is right
    #[arg(long)]
    yes: bool,
    /// Run the code that models write, where [goal.tests] has it tested: without network, files and other processes
    #[arg(long)]
    execute: bool,
    /// Judge although rows of the test also stand in train
    #[arg(long)]
    allow_leaks: bool,
    /// Write a report: .html (one file, for a browser), .md or .json
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Hold the run against an earlier one, by the .json report of it: exit code 3 where a candidate got worse
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// What stands at `/evals/` of `bantam serve` and is no run.
const NAMES_OF_PAGES: [&str; 2] = ["compare", "label"];

impl Args {
    /// What no run can be begun with.
    fn check(&self) -> Result<(), UsedWrongly> {
        if self.limit == Some(0) {
            return Err(UsedWrongly("--limit: expected 1 or more, got 0".to_owned()));
        }
        match self.name.as_deref() {
            Some(name) if name.trim().is_empty() => {
                Err(UsedWrongly("--name: expected a name, got a blank one".to_owned()))
            }
            Some(name) if NAMES_OF_PAGES.contains(&name) => Err(UsedWrongly(format!(
                "--name: expected another name than {name}, where `bantam serve` has a page of its own"
            ))),
            _ => Ok(()),
        }
    }
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    if let Some(action) = args.action {
        return runs::execute(action, session);
    }
    args.check()?;
    if let Some(report) = &args.report {
        shown::check_report(report)?;
    }
    let earlier = args.baseline.as_deref().map(Earlier::read).transpose()?;
    let (task, test) = asked(&args)?;
    for warning in &test.warnings {
        session.terminal.warn(warning);
    }
    let host = session.host(load_options(&args.load)?)?;
    // A standard benchmark is asked by its own protocol, which no baseline follows.
    let judged_by = (!args.no_baselines && test.suite.is_none()).then_some(test.rows.as_slice());
    let default_model = || host.hub().catalog().default_model().name.clone();
    let candidates = line_up::candidates(&task, &args.models, judged_by, &default_model);
    let remotes = remote::Remotes::new(args.max_cost)?;
    let (load, suite) = (&args.load, test.suite);
    let line_up = line_up::LineUp { host: &host, load, remotes: &remotes, repeat: args.repeat, suite, session };
    let entrants = candidates.iter().map(|candidate| line_up.entrant(candidate)).collect::<anyhow::Result<Vec<_>>>()?;
    let grader = grader::grader(&task, &line_up, args.execute)?;
    let judging = judge_of(&task);
    let ledger = ledger()?;
    let options = Options {
        name: args.name.clone(),
        stop_when_sure: args.stop_when_sure,
        tries: args.repeat,
        is_fresh: args.fresh,
        earlier,
    };
    let mut plan = Plan::new(&ledger, task, test, entrants, options)?;
    if let Some(grader) = &grader {
        plan = plan.graded_by(&**grader);
    }
    let ready = line_up.remote_contenders(&candidates)?;
    if !args.yes && args.max_cost.is_none() {
        remote::agree(&plan, &candidates, &ready, judging.as_ref(), &remotes, session)?;
    }
    let mut evaluation = plan.begin()?;
    block_on(evaluation.look_at_grader())?;
    let name = evaluation.name().to_owned();
    let again = if evaluation.is_resumed { ", begun before: it goes on" } else { "" };
    let (rows, count) = (evaluation.test().rows.len(), candidates.len());
    let who = if count == 1 { "one candidate".to_owned() } else { format!("{count} candidates") };
    session.terminal.note(&format!("run {name}: {rows} test rows, {who}{again}"));
    let report = judge(evaluation, &line_up, candidates.iter().zip(ready), session)?;
    remotes.tell(session);
    if let Some(path) = &args.report {
        shown::write_report(&report, path)?;
    }
    if args.json {
        session.terminal.json(&report)?;
    } else {
        session.terminal.data(&shown::text(&report))?;
        if let Some(path) = &args.report {
            session.terminal.note(&format!("the report is in {}", path.display()));
        } else {
            session.terminal.note(&format!("bantam eval show {name} --report {name}.html writes a report with plots"));
        }
    }
    ended(&report)
}

/// The judge of a task, as one who is asked.
fn judge_of(task: &Task) -> Option<tasks::Candidate> {
    match &task.goal.grading {
        Some(Grading::Judge(judge)) => Some(grader::as_candidate(task, judge)),
        _ => None,
    }
}

/// What is asked, and of which rows: those of a task file, or of a standard benchmark.
fn asked(args: &Args) -> anyhow::Result<(Task, TestSet)> {
    match (&args.suite, &args.data, &args.file) {
        (Some(name), Some(folder), _) => {
            if let Some(temperature) = args.temperature.filter(|given| !(*given >= 0.0 && given.is_finite())) {
                let text = format!("--temperature: expected a number of 0 or more, got {temperature}");
                return Err(UsedWrongly(text).into());
            }
            let Suite { mut task, test, .. } = Suite::open(name, folder, args.limit)?;
            (task.goal.threshold, task.goal.metric) = (args.threshold, args.metric.clone());
            task.options.temperature = args.temperature.or(task.options.temperature);
            Ok((task, test))
        }
        (_, _, Some(file)) => {
            let of_suites = [("threshold", args.threshold.is_some()), ("metric", args.metric.is_some())];
            let of_suites = of_suites.into_iter().chain([("temperature", args.temperature.is_some())]);
            if let Some((name, _)) = of_suites.into_iter().find(|(_, is_given)| *is_given) {
                let table = if name == "temperature" { "options" } else { "goal" };
                return Err(UsedWrongly(format!(
                    "--{name} is of --suite: that of a task stands in its file\nhint: `{name} = ..` in [{table}] of {}",
                    file.display()
                ))
                .into());
            }
            let task = open(file)?;
            let leaks = if args.allow_leaks { Leaks::Allowed } else { Leaks::Refused };
            let test = TestSet::read(&task, args.limit, leaks)?;
            Ok((task, test))
        }
        _ => Err(UsedWrongly("expected a task file, got none\nhint: bantam eval TASK.toml".to_owned()).into()),
    }
}

fn open(file: &Path) -> anyhow::Result<Task> {
    if !file.exists() {
        let name = file.display();
        anyhow::bail!(
            "{name}: no such file\nhint: `bantam init` makes a task file out of a table, and splits the table"
        );
    }
    Ok(Task::open(file)?)
}

/// Every candidate through the rows, one after the other; the first Ctrl-C ends it where it can go on.
fn judge<'c>(
    mut evaluation: Evaluation<'_>,
    line_up: &line_up::LineUp<'_>,
    candidates: impl Iterator<Item = (&'c tasks::Candidate, Option<Contender>)>,
    session: &Session,
) -> anyhow::Result<Report> {
    for (candidate, ready) in candidates {
        let contender = match ready.map_or_else(|| line_up.contender(candidate), Ok) {
            Ok(contender) => contender,
            // What befalls one candidate is no reason to hear nothing of the others.
            Err(error) => {
                session.terminal.warn(&format!("{}: {error:#}", candidate.name));
                evaluation.give_up(&format!("{error:#}"));
                continue;
            }
        };
        let watch = EvalWatch::new(session.terminal, &candidate.name);
        let interrupt = AtomicBool::new(false);
        let mut interrupts = session.interrupts.listen();
        let judged = {
            let mut judging = Box::pin(evaluation.judge(&contender, &watch, &interrupt));
            if let Either::Right((judged, _)) = block_on(select(pin!(interrupts.next()), &mut judging)) {
                judged
            } else {
                interrupt.store(true, Ordering::Release);
                if remote::is_remote(candidate) {
                    session.terminal.note("what is under way is paid for and let end; Ctrl-C again ends at once");
                }
                drop(interrupts);
                block_on(judging)
            }
        };
        watch.end();
        match judged {
            Ok(candidate) => session.terminal.note(&shown::line(candidate)),
            Err(EvalError::Stopped) => {
                session.terminal.note("stopped; what was asked is kept, and the same command goes on with the rest");
                return Err(Interrupted.into());
            }
            Err(EvalError::Task(error)) => {
                session.terminal.warn(&format!("{}: {error}", candidate.name));
                evaluation.give_up(&error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(evaluation.finish()?)
}

/// The verdict as an exit code, and how the run stands to an earlier one: the worse of both.
fn ended(report: &Report) -> anyhow::Result<()> {
    let code = match (report.verdict.verdict, report.gate.as_ref().map(|gate| gate.course)) {
        (Some(Verdict::NotGoodEnough), _) | (_, Some(Course::Worse)) => Judged::NOT_GOOD_ENOUGH,
        (Some(Verdict::NotEnoughEvidence), _) | (_, Some(Course::Unknown)) => Judged::NOT_ENOUGH_EVIDENCE,
        (None | Some(Verdict::GoodEnough), _) => return Ok(()),
    };
    Err(Judged { code }.into())
}
