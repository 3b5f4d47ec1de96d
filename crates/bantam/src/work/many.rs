//! Many inputs whose results go to standard output: a line of JSON each, in the order of the inputs, as soon as it is
//! known. On a terminal a kind whose outcomes are short shows them as lines for people instead.
//!
//! Nothing of it is kept; `job.rs` is for what has to survive.

use super::given::{self, as_field};
use super::one::Tokens;
use super::options::WorkArgs;
use super::row::RowShape;
use super::{Prepared, View, host, prepare};
use crate::failure::Interrupted;
use crate::session::Session;
use futures::SinkExt;
use futures::channel::mpsc::{Receiver, channel};
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::stream::StreamExt;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::pin::pin;
use std::thread::JoinHandle;
use std::time::Instant;
use tasks::{Input, Item, Outcome, Task, TaskError, Work};

/// A line with `--json`: all that is known of a row.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    source: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    warnings: &'a [String],
    usage: Option<Tokens>,
    seconds: f64,
}

/// An input with what came of it.
struct Answered {
    number: u64,
    source: String,
    input: Option<Input>,
    result: Result<Outcome, TaskError>,
    seconds: f64,
}

pub fn execute(task: &Task, paths: &[PathBuf], args: &WorkArgs, view: View, session: &Session) -> anyhow::Result<()> {
    let inputs = given::open(paths, args, task, session)?;
    let shape = RowShape::new(task, inputs.has_tables(), false);
    let field = if inputs.has_tables() { tasks::TEXT } else { task.text_field()? }.to_owned();
    let host = host(args, session)?;
    let prepared = prepare(task, args, &host, session)?;
    let mut interrupts = session.interrupts.listen();
    let ready = &prepared.ready;
    let limit = args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let (read, reading) = read_ahead(inputs.take(limit))?;
    let asked = read.map(|item| {
        let field = &field;
        async move {
            let started = Instant::now();
            let warnings = item.warnings;
            let (input, result) = match item.input {
                Ok(input) => {
                    let input = as_field(input, field);
                    let result = ready.ask(&input).await;
                    (Some(input), result)
                }
                Err(error) => (None, Err(error)),
            };
            let result = result.map(|mut outcome| {
                outcome.warnings.splice(0..0, warnings);
                outcome
            });
            let seconds = started.elapsed().as_secs_f64();
            Answered { number: item.number, source: item.source, input, result, seconds }
        }
    });
    let mut answers = pin!(asked.buffered(ready.concurrency()));
    let (mut rows, mut failed) = (0, 0);
    loop {
        let row = match block_on(select(pin!(interrupts.next()), answers.next())) {
            Either::Left(_) => return Err(Interrupted.into()),
            Either::Right((None, _)) => break,
            Either::Right((Some(row), _)) => row,
        };
        if let Err(error) = &row.result
            && error.is_fatal()
        {
            return Err(error.clone().into());
        }
        rows += 1;
        failed += u64::from(row.result.is_err());
        print(task, row, &shape, &prepared, args, view, session)?;
    }
    if reading.join().is_err() {
        anyhow::bail!("{rows} rows are done, and the reader of the inputs panicked; this is a bug");
    }
    if failed > 0 {
        anyhow::bail!("{failed} of {rows} rows failed; `error` of each says why");
    }
    Ok(())
}

/// Reads inputs on a thread of its own, so that a document that takes long holds up no answer. One is read ahead; nobody
/// waits for the thread where the answers end early.
fn read_ahead(inputs: impl Iterator<Item = Item> + Send + 'static) -> anyhow::Result<(Receiver<Item>, JoinHandle<()>)> {
    let (mut sender, receiver) = channel(0);
    let reading = std::thread::Builder::new().name("inputs".to_owned()).spawn(move || {
        for item in inputs {
            if block_on(sender.send(item)).is_err() {
                return;
            }
        }
    })?;
    Ok((receiver, reading))
}

fn print(
    task: &Task,
    row: Answered,
    shape: &RowShape,
    prepared: &Prepared,
    args: &WorkArgs,
    view: View,
    session: &Session,
) -> anyhow::Result<()> {
    let Answered { number, source, input, result, seconds } = row;
    let result = result.map_err(|error| error.to_string());
    let text = if args.json {
        let (outcome, error) = (result.as_ref().ok(), result.as_ref().err());
        serde_json::to_string(&Line {
            number,
            source: &source,
            model: &prepared.model,
            outcome: outcome.map(|outcome| &outcome.fields),
            error: error.map(String::as_str),
            warnings: outcome.map(|outcome| outcome.warnings.as_slice()).unwrap_or_default(),
            usage: outcome.map(Tokens::from),
            seconds,
        })?
    } else if session.terminal.stdout && view.is_line {
        match &result {
            Ok(outcome) => {
                let shown = (view.show)(task, outcome);
                outcome.warnings.iter().for_each(|warning| session.terminal.warn(&format!("{source}: {warning}")));
                let line = shown.text.trim().replace('\n', ", ");
                format!("{:<24} {:<20} {source}", line, shown.asides.join(", "))
            }
            Err(reason) => format!("{:<24} {:<20} {source}: {reason}", "-", "failed"),
        }
    } else {
        serde_json::to_string(&shape.row(&source, input.as_ref(), &result))?
    };
    Ok(session.terminal.data(&format!("{text}\n"))?)
}
