//! What needs no language model: each answers as a task with a model does, most having learned from the examples of the train
//! table.
//!
//! A candidate that does not beat them is not worth its cost. Their outcomes have the fields of the task's kind, so whoever
//! judges does not know what it judges. One file and one line of the table each. Code and free text (complete, generate) have
//! none: nothing simple answers there.
//!
//! Learning draws no random numbers but those of fixed seeds, and what is learned does not depend on the number of threads.

mod embeddings;
mod lead;
mod linear;
mod majority;
mod nearest;
mod silent;

mod classes;
mod folds;
mod separators;
mod shuffle;
mod sparse;
mod threads;

use chat::ChatModel;
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use tasks::{Example, Task, TaskError, Work};

/// Goes into what a baseline's answers are known by; whoever changes how one learns or answers raises it.
pub const VERSION: u32 = 1;

/// Every baseline, the simplest first.
pub static BASELINES: [&BaselineRow; 6] =
    [&majority::ROW, &linear::ROW, &embeddings::ROW, &nearest::ROW, &lead::ROW, &silent::ROW];

/// A baseline, as candidates name it.
#[derive(Debug)]
pub struct BaselineRow {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The kinds of tasks that it answers.
    pub kinds: &'static [&'static str],
    learn: Learn,
}

/// How a baseline learns.
#[derive(Debug)]
enum Learn {
    /// From nothing.
    Nothing(Rule),
    /// From the examples alone.
    Alone(fn(&Lesson<'_>) -> Result<Box<dyn Work>, BaselineError>),
    /// From their texts as vectors of a model.
    Embedded(for<'l> fn(&'l Lesson<'l>, Arc<dyn ChatModel>) -> Learned<'l>),
}

/// What a baseline follows that learns nothing.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// None where the task is one that it cannot answer.
    make: fn(&Task) -> Option<Box<dyn Work>>,
    /// Whether it tells something where this is right.
    tells: fn(&Value) -> bool,
}

type Learned<'l> = BoxFuture<'l, Result<Box<dyn Work>, BaselineError>>;

/// What a baseline learns from, and with what.
#[derive(Clone)]
pub struct Lesson<'l> {
    /// What is asked.
    pub task: &'l Task,
    /// The rows of its train table ([`Task::examples_of`]).
    pub examples: &'l [Example],
    /// The model that turns texts into vectors, where there is one.
    pub embedder: Option<Arc<dyn ChatModel>>,
    /// Threads that may be used.
    pub threads: usize,
}

/// Why a baseline did not learn.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BaselineError {
    /// There is none of this name.
    #[error("there is no baseline `{name}`\nhint: leave it out{instead}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that would do, in words.
        instead: String,
    },
    /// It cannot answer what the task asks.
    #[error("the baseline `{name}` is for {kinds}, the task is of the kind {kind}\nhint: leave it out{instead}")]
    Kind {
        /// The baseline.
        name: &'static str,
        /// The kinds that it is for.
        kinds: String,
        /// The task's.
        kind: &'static str,
        /// Those that would do, in words.
        instead: String,
    },
    /// The task is of its kind, and is not what it can answer.
    #[error("the baseline `{name}` {about}, which does not fit this task\nhint: leave it out")]
    Unfit {
        /// The baseline.
        name: &'static str,
        /// What it does.
        about: &'static str,
    },
    /// There is nothing to learn from.
    #[error("the baseline `{0}` learns from train, and the task names none\nhint: add `train = \"…\"` to [data]")]
    NoTrain(&'static str),
    /// The train table is empty.
    #[error("the baseline `{0}` learns from train, and that table has no rows\nhint: name one with examples")]
    NoRows(&'static str),
    /// It learns from vectors, and nobody makes them.
    #[error("the baseline `{0}` learns with an embedding model, got none\nhint: name one, or leave the baseline out")]
    NoEmbedder(&'static str),
    /// A row cannot be read, or the model failed.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// The baseline of a name for a task.
///
/// # Errors
/// There is none of this name, or it does not answer such a task.
pub fn find(name: &str, task: &Task) -> Result<&'static BaselineRow, BaselineError> {
    let Some(row) = BASELINES.iter().find(|row| row.name == name) else {
        return Err(BaselineError::Unknown { name: name.to_owned(), instead: instead(task) });
    };
    row.check(task).map(|()| *row)
}

fn instead(task: &Task) -> String {
    let others: Vec<_> = BASELINES.iter().filter(|row| row.fits(task)).map(|row| row.name).collect();
    if others.is_empty() { "; there is none for it".to_owned() } else { format!(", or take {}", others.join(", ")) }
}

impl BaselineRow {
    /// Whether it learns and answers with an embedding model.
    pub fn needs_embedder(&self) -> bool {
        matches!(self.learn, Learn::Embedded(_))
    }

    /// Looks whether it answers such a task; whether there is something to learn from is another question.
    fn check(&self, task: &Task) -> Result<(), BaselineError> {
        let (name, kind) = (self.name, task.kind());
        if !self.kinds.contains(&kind) {
            return Err(BaselineError::Kind { name, kinds: self.kinds.join(", "), kind, instead: instead(task) });
        }
        match self.learn {
            Learn::Nothing(rule) if (rule.make)(task).is_none() => {
                Err(BaselineError::Unfit { name, about: self.about })
            }
            _ => Ok(()),
        }
    }

    /// Whether it answers such a task.
    fn fits(&self, task: &Task) -> bool {
        let is_its_kind = self.kinds.contains(&task.kind());
        is_its_kind && !matches!(self.learn, Learn::Nothing(rule) if (rule.make)(task).is_none())
    }

    /// Whether it is worth judging where nobody asked for it, on rows of which this is right: one that cannot be right of any
    /// of them only makes all intervals wider.
    pub fn tells(&self, task: &Task, expected: &[&Value]) -> bool {
        self.fits(task)
            && match self.learn {
                Learn::Nothing(rule) => expected.iter().any(|expected| (rule.tells)(expected)),
                Learn::Alone(_) | Learn::Embedded(_) => true,
            }
    }

    /// Whether it learns from a train table.
    pub fn needs_train(&self) -> bool {
        !matches!(self.learn, Learn::Nothing(_))
    }

    /// Learns. It computes where it is polled, for seconds on a large table.
    ///
    /// # Errors
    /// The task is of another kind, there are no examples or no model that it needs, a row cannot be read.
    pub async fn learn(&self, lesson: &Lesson<'_>) -> Result<Box<dyn Work>, BaselineError> {
        let name = self.name;
        self.check(lesson.task)?;
        if self.needs_train() && lesson.examples.is_empty() {
            let is_named = lesson.task.data.train.is_some();
            return Err(if is_named { BaselineError::NoRows(name) } else { BaselineError::NoTrain(name) });
        }
        match self.learn {
            Learn::Nothing(rule) => (rule.make)(lesson.task).ok_or(BaselineError::Unfit { name, about: self.about }),
            Learn::Alone(learn) => learn(lesson),
            Learn::Embedded(learn) => {
                let embedder = lesson.embedder.clone().filter(|model| model.info().capabilities.embed);
                learn(lesson, embedder.ok_or(BaselineError::NoEmbedder(name))?).await
            }
        }
    }
}

impl Lesson<'_> {
    /// The texts of the examples, as the task's template fills them.
    fn texts(&self) -> Result<Vec<String>, BaselineError> {
        let texts = self.examples.iter().zip(1..).map(|(example, number)| {
            let filled = self.task.input.fill(&example.input);
            filled.map_err(|error| TaskError::Data(format!("train, row {number}: {error}")).into())
        });
        texts.collect()
    }
}

impl std::fmt::Debug for Lesson<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lesson { task, examples, embedder, threads } = self;
        let embedder = embedder.as_ref().map(|model| &model.info().name);
        let mut shown = formatter.debug_struct("Lesson");
        shown.field("task", &task.name).field("examples", &examples.len());
        shown.field("embedder", &embedder).field("threads", threads).finish()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
#[path = "baselines/table_tests.rs"]
mod tests;
