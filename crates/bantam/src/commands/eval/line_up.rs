//! Who is judged: the candidates of the task file or of the command line, each made ready when its turn comes.

use super::remote::{self, Remotes};
use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use crate::work::{identity, loaded_with, usual_concurrency};
use ::eval::baselines::{self, BASELINES, BaselineRow, Lesson};
use ::eval::report::Place;
use ::eval::suites::{self, SuiteRow};
use ::eval::{Contender, Entrant, Preview, Price, TestRow, scored_column};
use chat::ChatModel;
use futures::executor::block_on;
use local::LocalHost;
use std::collections::BTreeSet;
use std::sync::Arc;
use tasks::batch::fingerprint;
use tasks::{Answerer, Candidate, Classify, Example, Likelihood, Task, TaskError, Work};

/// The model that texts become vectors by where a baseline needs one.
const EMBEDDER: &str = "all-minilm";

/// Those that are judged: what the command line names, else the task file's candidates, else its own model. Baselines
/// that need no model of any kind cost next to nothing and are judged beside them on these rows, where there is what they
/// learn from.
///
/// A baseline that follows a rule is left to who names it where every answer is graded by somebody who may cost.
pub fn candidates(
    task: &Task,
    models: &[String],
    judged_by: Option<&[TestRow]>,
    default_model: &dyn Fn() -> String,
) -> Vec<Candidate> {
    let of_model = |model: &String| {
        let mut task = task.clone();
        task.model = Some(model.clone());
        let answerer = Answerer::Model(model.clone());
        Candidate { name: model.clone(), answerer, endpoint: None, price: None, task }
    };
    let mut seen = BTreeSet::new();
    let models: Vec<String> = models.iter().filter(|model| seen.insert(*model)).cloned().collect();
    let mut candidates: Vec<Candidate> = match (models.as_slice(), task.candidates.as_slice()) {
        ([], []) => {
            let model = task.model.clone().unwrap_or_else(default_model);
            vec![of_model(&model)]
        }
        ([], named) => named.to_vec(),
        (models, _) => models.iter().map(of_model).collect(),
    };
    let can_learn = task.data.train.is_some() && task.data.expected.is_some();
    if let Some(rows) = judged_by {
        let expected: Vec<_> = rows.iter().map(|row| &row.example.expected).collect();
        let is_free = |row: &BaselineRow| if row.needs_train() { can_learn } else { task.goal.grading.is_none() };
        let fits = |row: &&&BaselineRow| !row.needs_embedder() && is_free(row) && row.tells(task, &expected);
        for row in BASELINES.iter().filter(fits) {
            let answerer = Answerer::Baseline(row.name.to_owned());
            if !candidates.iter().any(|candidate| candidate.answerer == answerer || candidate.name == row.name) {
                let (name, task) = (row.name.to_owned(), task.clone());
                candidates.push(Candidate { name, answerer, endpoint: None, price: None, task });
            }
        }
    }
    candidates
}

/// The task as its candidate can do it: a model elsewhere writes a label, as scores of all of them are not to be had there.
fn asked_elsewhere(candidate: &Candidate) -> Task {
    let mut task = candidate.task.clone();
    if let Some(mut classify) = task.settings::<Classify>().filter(|_| remote::is_remote(candidate)).cloned() {
        classify.all_scores = false;
        task.set_settings(classify);
    }
    task
}

/// What a baseline learns from.
fn lesson(row: &BaselineRow, task: &Task) -> Result<Vec<Example>, TaskError> {
    match task.data.train.as_ref().filter(|_| row.needs_train()) {
        Some(train) => task.examples_of(train),
        None => Ok(Vec::new()),
    }
}

/// The digest of examples, with what is right of each.
fn digest(examples: &[Example]) -> String {
    let parts: Vec<String> = examples
        .iter()
        .flat_map(|example| [serde_json::Value::from(example.input.fields.clone()), example.expected.clone()])
        .map(|value| value.to_string())
        .collect();
    fingerprint(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What candidates are made ready with.
pub struct LineUp<'a> {
    pub host: &'a LocalHost,
    pub load: &'a LoadArgs,
    pub remotes: &'a Remotes,
    pub repeat: u32,
    /// The standard benchmark that is asked, in the place of a task file.
    pub suite: Option<&'static SuiteRow>,
    pub session: &'a Session,
}

impl LineUp<'_> {
    /// What is known of a candidate before it is ready. A model is fetched for it: its weights are a part of who it is.
    pub fn entrant(&self, candidate: &Candidate) -> anyhow::Result<Entrant> {
        let Candidate { name, answerer, task, .. } = candidate;
        let examples = match answerer {
            Answerer::Baseline(baseline) => digest(&lesson(self.baseline(baseline, task)?, task)?),
            Answerer::Model(_) => digest(&task.shown_examples()?),
        };
        let (place, answerer, who) = match answerer {
            Answerer::Model(model) if remote::is_remote(candidate) => {
                (Place::Remote, model, format!("remote {model}\n{:?}", candidate.endpoint))
            }
            Answerer::Model(model) => {
                self.host.source(model, &self.session.download_progress())?;
                // Times are of a number of threads and of a program; with others they are measured anew.
                let threads = self.load.threads.map_or("all".to_owned(), |threads| threads.to_string());
                let how =
                    format!("{}, {threads} threads, bantam {}", loaded_with(self.load), env!("CARGO_PKG_VERSION"));
                (Place::Local, model, format!("{}\n{how}", identity(self.host, model)?))
            }
            Answerer::Baseline(baseline) => {
                let row = self.baseline(baseline, task)?;
                let embedder = if row.needs_embedder() { identity(self.host, EMBEDDER)? } else { String::new() };
                (Place::Baseline, baseline, format!("baseline {baseline} {}\n{embedder}", baselines::VERSION))
            }
        };
        let suite = self.suite.map(SuiteRow::fingerprint);
        let parts = [Some(task.fingerprint()), Some(who), Some(examples), suite];
        let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
        let fingerprint = fingerprint(&parts);
        Ok(Entrant { name: name.clone(), answerer: answerer.clone(), place, fingerprint, task: task.clone() })
    }

    fn baseline(&self, name: &str, task: &Task) -> anyhow::Result<&'static BaselineRow> {
        let row = baselines::find(name, task)?;
        if row.needs_embedder() {
            self.host.source(EMBEDDER, &self.session.download_progress())?;
        }
        Ok(row)
    }

    /// Candidates that answer elsewhere, each in its place: their keys and prices are looked at before anything is asked, and
    /// nothing is loaded for that.
    pub fn remote_contenders(&self, candidates: &[Candidate]) -> anyhow::Result<Vec<Option<Contender>>> {
        let ready = |candidate| remote::is_remote(candidate).then(|| self.contender(candidate)).transpose();
        candidates.iter().map(ready).collect()
    }

    /// Loads the model, or has the baseline learn.
    pub fn contender(&self, candidate: &Candidate) -> anyhow::Result<Contender> {
        match &candidate.answerer {
            Answerer::Model(model) if remote::is_remote(candidate) => {
                let (model, price) = self.remotes.model(candidate, model)?;
                self.ready(candidate, model, price, None)
            }
            Answerer::Model(name) => {
                let model = self.host.load_local(name, &self.session.download_progress())?;
                let parameters = Some(model.info().parameters).filter(|count| *count > 0);
                self.ready(candidate, model, Price::Machine(candidate.task.machine), parameters)
            }
            Answerer::Baseline(name) => self.learned(candidate, self.baseline(name, &candidate.task)?),
        }
    }

    /// A task with its model, once for each try.
    fn ready(
        &self,
        candidate: &Candidate,
        model: Arc<dyn ChatModel>,
        price: Price,
        parameters: Option<u64>,
    ) -> anyhow::Result<Contender> {
        let task = &asked_elsewhere(candidate);
        let examples = task.shown_examples()?;
        let mut tries: Vec<Arc<dyn Work>> = Vec::new();
        let mut preview: Option<Preview> = None;
        for attempt in 0..self.repeat {
            let mut task = task.clone();
            // Each try that is sampled has a seed of its own, and the same one every time. Not every provider takes seeds.
            let is_sampled = self.repeat > 1 || task.options.temperature.is_some_and(|temperature| temperature > 0.0);
            if task.options.seed.is_some() || is_sampled && !remote::is_remote(candidate) {
                task.options.seed = Some(task.options.seed.unwrap_or(0).wrapping_add(u64::from(attempt)));
            }
            let at_once = if remote::is_remote(candidate) { remote::AT_ONCE } else { usual_concurrency(task.kind()) };
            let asked = self.suite.and_then(|suite| suites::Asked::new(suite, Arc::clone(&model), &task, at_once));
            if let Some(asked) = asked {
                tries.push(Arc::new(asked));
                preview = Some(Box::new(|input| Some(suites::prompt(input))));
                continue;
            }
            let ready = block_on(task.ready(Arc::clone(&model), &examples))?;
            let ready = Arc::new(ready.with_concurrency(at_once));
            if attempt == 0 {
                ready.warnings().iter().for_each(|warning| self.session.terminal.warn(warning));
                let ready = Arc::clone(&ready);
                preview = Some(Box::new(move |input| ready.preview(input).ok()));
            }
            tries.push(match scored_column(&task) {
                Some(column) => Arc::new(Likelihood::new(ready, column)),
                None => ready,
            });
        }
        let preview = preview.unwrap_or_else(|| Box::new(|_| None));
        Ok(Contender { tries, preview, price, parameters })
    }

    fn learned(&self, candidate: &Candidate, row: &'static BaselineRow) -> anyhow::Result<Contender> {
        let task = &candidate.task;
        let examples = lesson(row, task)?;
        let embedder: Option<Arc<dyn ChatModel>> = if row.needs_embedder() {
            let source = self.host.source(EMBEDDER, &self.session.download_progress())?;
            let runtime = Arc::clone(self.host.runtime());
            Some(Arc::new(local::load_encoder(&source, &load_options(self.load)?, runtime)?))
        } else {
            None
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let lesson = Lesson { task, examples: &examples, embedder, threads };
        let work: Arc<dyn Work> = Arc::from(block_on(row.learn(&lesson))?);
        let price = Price::Machine(task.machine);
        // What a baseline is given is the text of the input, whatever it makes of it.
        let template = task.input.clone();
        let preview: Preview = Box::new(move |input| template.fill(input).ok());
        Ok(Contender { tries: vec![work], preview, price, parameters: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::path::PathBuf;
    use tasks::{Answer, Grading, GradingCommand, Input, Summarize};

    fn names(task: &Task, expected: &[Value]) -> Vec<String> {
        let row = |(expected, number): (&Value, u64)| TestRow {
            number,
            example: Example { input: Input::text("text"), expected: expected.clone() },
            digest: number.to_string(),
            group: number as usize,
        };
        let rows: Vec<TestRow> = expected.iter().zip(1..).map(row).collect();
        let candidates = candidates(task, &["m".to_owned()], Some(&rows), &|| unreachable!("a model is named"));
        candidates.into_iter().map(|candidate| candidate.name).collect()
    }

    #[test]
    fn baselines_that_follow_a_rule_are_judged_where_they_can_be_right_and_cost_nothing() {
        let mut summaries = Task::new("minutes", Summarize::default());
        assert_eq!(names(&summaries, &[json!("They met.")]), ["m", "lead"]);
        summaries.goal.grading =
            Some(Grading::Command(GradingCommand { run: vec!["grade".to_owned()], folder: PathBuf::new() }));
        assert_eq!(names(&summaries, &[json!("They met.")]), ["m"]);
        let answers = Task::new("handbook", Answer::from_field("text"));
        assert_eq!(names(&answers, &[json!("at six"), json!("42")]), ["m"]);
        assert_eq!(names(&answers, &[json!("at six"), json!(null)]), ["m", "silent"]);
        assert_eq!(names(&Task::new("quiz", Answer::freely()), &[json!(null)]), ["m"]);
    }
}
