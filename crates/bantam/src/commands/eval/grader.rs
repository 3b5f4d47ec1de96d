//! Who grades, made of what `[goal]` says: a judge's model, a sandbox for programs, a command.

use super::line_up::LineUp;
use super::remote;
use crate::failure::UsedWrongly;
use crate::work::{identity, loaded_with};
use ::eval::Grader;
use ::eval::graders::{Command, Load, Rubric, Tests};
use chat::ModelHost;
use futures::future::ready;
use sandbox::{Limits, Sandbox};
use std::sync::Arc;
use tasks::{Answerer, Candidate, Grading, Judge, Task};

/// The grader of a task; none where its metric counts answers themselves. What it needs is looked at now, and a model of this
/// machine is loaded when there is something to grade.
///
/// # Errors
/// A model that there is not, a key that is missing, programs that cannot or may not be run.
pub fn grader<'h>(
    task: &Task,
    line_up: &'h LineUp<'h>,
    may_execute: bool,
) -> anyhow::Result<Option<Box<dyn Grader + 'h>>> {
    Ok(match &task.goal.grading {
        None => None,
        Some(Grading::Command(command)) => Some(Box::new(Command::new(command.clone()))),
        Some(Grading::Tests(tests)) => {
            if !may_execute {
                let what = line_up.suite.map_or("[goal.tests]", |suite| suite.name);
                return Err(UsedWrongly(format!(
                    "{what} runs code that models write, which nobody has read\nhint: --execute allows it: each program \
                     runs without network, files and other processes, in bounded time and memory"
                ))
                .into());
            }
            let limits = Limits { time: tests.time, memory_bytes: tests.memory_bytes, ..Limits::default() };
            let sandbox = Sandbox::open(std::env::current_exe()?, &tests.run, limits)?;
            Some(Box::new(Tests::of_template(sandbox, tests)))
        }
        Some(Grading::Judge(judge)) => Some(Box::new(rubric(task, judge, line_up)?)),
    })
}

/// A judge is reached as a candidate is.
pub fn as_candidate(task: &Task, judge: &Judge) -> Candidate {
    Candidate {
        name: judge.model.clone(),
        answerer: Answerer::Model(judge.model.clone()),
        endpoint: judge.endpoint.clone(),
        price: judge.price,
        task: task.clone(),
    }
}

fn rubric<'h>(task: &Task, judge: &Judge, line_up: &'h LineUp<'h>) -> anyhow::Result<Rubric<'h>> {
    let candidate = as_candidate(task, judge);
    if remote::is_remote(&candidate) {
        let (model, _) = line_up.remotes.model(&candidate, &judge.model)?;
        let who = format!("remote {}\n{:?}", judge.model, judge.endpoint);
        return Ok(Rubric::new(task, judge, &who, Box::new(move || Box::pin(ready(Ok(Arc::clone(&model)))))));
    }
    let (host, name) = (line_up.host, judge.model.clone());
    host.source(&name, &line_up.session.download_progress())?;
    let who = format!("{}\n{}", identity(host, &name)?, loaded_with(line_up.load));
    let load: Load<'h> = Box::new(move || {
        let (name, progress) = (name.clone(), line_up.session.download_progress());
        Box::pin(async move { host.load(&name, None, &progress).await })
    });
    Ok(Rubric::new(task, judge, &who, load))
}
