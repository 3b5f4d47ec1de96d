//! One text: its answer printed plainly, or whole as JSON.
//!
//! Read next: `many.rs`.

use super::options::WorkArgs;
use super::{View, host, prepare};
use crate::failure::Interrupted;
use crate::session::Session;
use futures::executor::block_on;
use futures::future::{Either, select};
use serde::Serialize;
use serde_json::{Map, Value};
use std::pin::pin;
use std::time::Instant;
use tasks::{Input, Outcome, Task, Work};

#[derive(Serialize)]
struct Output<'a> {
    task: &'a str,
    kind: &'a str,
    model: &'a str,
    source: &'a str,
    outcome: &'a Map<String, Value>,
    warnings: &'a [String],
    usage: Tokens,
    seconds: f64,
    load_seconds: f64,
}

/// Tokens that an outcome took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tokens {
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
}

impl From<&Outcome> for Tokens {
    fn from(outcome: &Outcome) -> Tokens {
        let Outcome { prompt_tokens, cached_tokens, completion_tokens, .. } = *outcome;
        Tokens { prompt_tokens, cached_tokens, completion_tokens }
    }
}

pub fn execute(
    task: &Task,
    source: &str,
    input: Input,
    warnings: Vec<String>,
    args: &WorkArgs,
    view: View,
    session: &Session,
) -> anyhow::Result<()> {
    let host = host(args, session)?;
    let prepared = prepare(task, args, &host, session)?;
    let mut interrupts = session.interrupts.listen();
    let started = Instant::now();
    let mut outcome = match block_on(select(pin!(interrupts.next()), prepared.ready.ask(&input))) {
        Either::Left(_) => return Err(Interrupted.into()),
        Either::Right((outcome, _)) => outcome?,
    };
    let seconds = started.elapsed().as_secs_f64();
    outcome.warnings.splice(0..0, warnings);
    if args.json {
        return session.terminal.json(&Output {
            task: &task.name,
            kind: task.kind(),
            model: &prepared.model,
            source,
            usage: Tokens::from(&outcome),
            outcome: &outcome.fields,
            warnings: &outcome.warnings,
            seconds,
            load_seconds: prepared.load_time.as_secs_f64(),
        });
    }
    let shown = (view.show)(task, &outcome);
    let mut text = shown.text;
    if session.terminal.stdout && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    session.terminal.data(&text)?;
    if session.terminal.stderr {
        shown.asides.iter().for_each(|aside| session.terminal.note(aside));
    }
    outcome.warnings.iter().for_each(|warning| session.terminal.warn(warning));
    Ok(())
}
