//! Tasks that the server was started with: each has a name, and is made ready for its model when it is first asked.
//!
//! ```text
//! name -> Served -> the model, loaded by the host -> Ready, kept until the host loads the model anew -> outcomes
//! ```
//!
//! Knows no wire format. Read next: `served/lent.rs`, why what is kept holds no model; `api::own::tasks`, the endpoint.

mod lent;
mod spent;

use crate::admit::Context;
use crate::answering::within;
use crate::app::App;
use crate::failure::{Failure, FailureKind, nearest_hint};
use crate::listen::StartError;
use chat::ChatModel;
use lent::LentModel;
pub(crate) use spent::Spent;
use std::collections::BTreeSet;
use std::sync::Arc;
use tasks::{Example, Ready, Task};
use tokio::sync::Mutex;

/// The field of a request that holds several inputs, so that no task can have a field of that name.
pub(crate) const INPUTS: &str = "inputs";

/// Longest name of a task.
const LONGEST_NAME: usize = 128;

/// A task to be served, with the model that does it.
#[derive(Debug, Clone)]
pub struct ServedTask {
    task: Task,
    examples: Vec<Example>,
    model: String,
}

impl ServedTask {
    /// A task by its own name. `examples` are those that its model may be shown (`Task::shown_examples`).
    ///
    /// # Errors
    /// The task names no model, its name cannot stand in a path, or it reads a field that has another meaning in
    /// requests.
    pub fn new(task: Task, examples: Vec<Example>) -> Result<ServedTask, StartError> {
        let name = &task.name;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
            return Err(StartError::Task(format!(
                "the task {name:?} cannot be served: its name stands in a path\n\
                 hint: name its file with letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME} of them"
            )));
        }
        if task.fields().iter().chain(&task.optional_fields()).any(|field| *field == INPUTS) {
            return Err(StartError::Task(format!(
                "the task {name} reads a field `{INPUTS}`, which in requests means several inputs\n\
                 hint: give the field another name in the task's template"
            )));
        }
        let Some(model) = task.model.clone() else {
            return Err(StartError::Task(format!(
                "the task {name} names no model, and it is not clear which is meant\n\
                 hint: add `model = \"...\"` to its file, or serve one model alone: bantam serve MODEL --task FILE"
            )));
        };
        Ok(ServedTask { task, examples, model })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.task.name
    }

    /// The model that does it.
    pub fn model(&self) -> &str {
        &self.model
    }
}

/// Refuses two tasks of one name.
pub(crate) fn check_names(tasks: &[ServedTask]) -> Result<(), StartError> {
    let mut known = BTreeSet::new();
    match tasks.iter().find(|task| !known.insert(task.name())) {
        Some(task) => Err(StartError::Task(format!(
            "two tasks are called {}\nhint: a task is called as its file; rename one of the files",
            task.name()
        ))),
        None => Ok(()),
    }
}

/// All tasks of a server, in the order in which they were named.
#[derive(Default)]
pub(crate) struct Tasks(Vec<Served>);

/// A task with what was made of it so far.
pub(crate) struct Served {
    pub(crate) task: Task,
    pub(crate) model: String,
    examples: Vec<Example>,
    /// Locked while it is made, so that of many requests that come at once one makes it.
    ready: Mutex<Option<(Arc<LentModel>, Arc<Ready>)>>,
}

impl Tasks {
    pub(crate) fn of(tasks: Vec<ServedTask>) -> Tasks {
        let served = |ServedTask { task, examples, model }| Served { task, model, examples, ready: Mutex::default() };
        Tasks(tasks.into_iter().map(served).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Served> {
        self.0.iter()
    }

    /// The task of that name, or the refusal that there is none.
    pub(crate) fn find(&self, name: &str) -> Result<&Served, Failure> {
        self.iter().find(|served| served.task.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|served| served.task.name.as_str()).collect();
            let hint = match &names[..] {
                [] => "\nhint: start the server with --task FILE".to_owned(),
                names => nearest_hint(name, names.iter().copied())
                    .unwrap_or_else(|| "\nhint: GET /v1/tasks lists those that there are".to_owned()),
            };
            let shown: String = name.chars().take(LONGEST_NAME).collect();
            let message = format!("there is no task {shown:?}{hint}");
            let failure = Failure::new(FailureKind::NotFound, message);
            Failure { code: Some("task_not_found"), field: Some("name".to_owned()), ..failure }
        })
    }
}

impl Served {
    /// Its model, loaded where it is not in memory, and the task made ready for it. Whoever asks holds the model until
    /// the outcome has come.
    pub(crate) async fn ready(
        &self,
        app: &Arc<App>,
        context: &Context,
    ) -> Result<(Arc<dyn ChatModel>, Arc<Ready>), Failure> {
        let without_field = |failure: Failure| Failure { field: None, ..failure };
        let model = within(context, app.model(&self.model, None)).await?.map_err(without_field)?;
        let mut kept = within(context, self.ready.lock()).await?;
        if let Some((_, ready)) = kept.as_ref().filter(|(lent, _)| lent.is_of(&model)) {
            return Ok((model, Arc::clone(ready)));
        }
        let lent = Arc::new(LentModel::of(&model, app.options.max_prompt_tokens));
        let ready = self.task.ready(Arc::clone(&lent) as Arc<dyn ChatModel>, &self.examples);
        let ready = Arc::new(within(context, ready).await??);
        *kept = Some((lent, Arc::clone(&ready)));
        Ok((model, ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasks::{Generate, Template};

    fn refusal(task: Task) -> String {
        ServedTask::new(task, Vec::new()).unwrap_err().to_string()
    }

    fn task(name: &str) -> Task {
        let mut task = Task::new(name, Generate::default());
        task.model = Some("small".to_owned());
        task
    }

    #[test]
    fn what_cannot_be_served_is_told_before_the_server_starts() {
        assert_eq!(ServedTask::new(task("re-ply_2.1"), Vec::new()).unwrap().model(), "small");
        let expected = "the task \"a b\" cannot be served: its name stands in a path\n\
                        hint: name its file with letters, digits, `-`, `_` and `.`, at most 128 of them";
        assert_eq!(refusal(task("a b")), expected);
        let expected = "the task reply names no model, and it is not clear which is meant\n\
                        hint: add `model = \"...\"` to its file, or serve one model alone: bantam serve MODEL --task FILE";
        assert_eq!(refusal(Task::new("reply", Generate::default())), expected);
        let expected = "the task reply reads a field `inputs`, which in requests means several inputs\n\
                        hint: give the field another name in the task's template";
        let mut several = task("reply");
        several.input = Template::field("inputs");
        assert_eq!(refusal(several), expected);
    }

    #[test]
    fn two_tasks_of_one_name_are_refused() {
        let one = || ServedTask::new(task("reply"), Vec::new()).unwrap();
        assert!(check_names(&[one()]).is_ok());
        let expected = "two tasks are called reply\nhint: a task is called as its file; rename one of the files";
        assert_eq!(check_names(&[one(), one()]).unwrap_err().to_string(), expected);
    }
}
