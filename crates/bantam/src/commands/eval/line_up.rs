//! Who is judged: the candidates of the task file or of the command line, each made ready when its turn comes.

use super::remote::{self, Remotes};
use crate::generation::LoadArgs;
use crate::session::Session;
use crate::work::{identity, loaded_with, usual_concurrency};
use ::eval::baselines::{self, BASELINES, BaselineRow, Lesson};
use ::eval::report::Place;
use ::eval::{Contender, Entrant, Preview, Price};
use chat::ChatModel;
use futures::executor::block_on;
use local::LocalHost;
use std::sync::Arc;
use tasks::batch::{file_sha256, fingerprint};
use tasks::{Answerer, Candidate, Task, Work};

/// The model that texts become vectors by where a baseline needs one.
const EMBEDDER: &str = "all-minilm";

/// Those that are judged: what the command line names, else the task file's candidates, else its own model. Baselines
/// that need no model of any kind cost next to nothing and are judged beside them, where there is something to learn from.
pub fn candidates(task: &Task, models: &[String], baselines: bool, host: &LocalHost) -> Vec<Candidate> {
    let of_model = |model: &String| {
        let mut task = task.clone();
        task.model = Some(model.clone());
        let answerer = Answerer::Model(model.clone());
        Candidate { name: model.clone(), answerer, endpoint: None, price: None, task }
    };
    let mut candidates: Vec<Candidate> = match (models, task.candidates.as_slice()) {
        ([], []) => {
            let model = task.model.clone().unwrap_or_else(|| host.hub().catalog().default_model().name.clone());
            vec![of_model(&model)]
        }
        ([], named) => named.to_vec(),
        (models, _) => models.iter().map(of_model).collect(),
    };
    let can_learn = task.data.train.is_some() && task.data.expected.is_some();
    if baselines && can_learn {
        let fits = |row: &&&BaselineRow| row.kinds.contains(&task.kind()) && !row.needs_embedder();
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

/// What candidates are made ready with.
pub struct LineUp<'a> {
    pub host: &'a LocalHost,
    pub load: &'a LoadArgs,
    pub remotes: &'a Remotes,
    pub repeat: u32,
    pub session: &'a Session,
}

impl LineUp<'_> {
    /// What is known of a candidate before it is ready. A model is fetched for it: its weights are a part of who it is.
    pub fn entrant(&self, candidate: &Candidate) -> anyhow::Result<Entrant> {
        let Candidate { name, answerer, task, .. } = candidate;
        let learns = matches!(answerer, Answerer::Baseline(_)) || task.shots() > 0;
        let examples = match &task.data.train {
            Some(train) if learns => file_sha256(train)?,
            _ => String::new(),
        };
        let (place, answerer, who) = match answerer {
            Answerer::Model(model) if remote::is_remote(candidate) => {
                (Place::Remote, model, format!("remote {model}\n{:?}", candidate.endpoint))
            }
            Answerer::Model(model) => {
                self.host.source(model, &self.session.download_progress())?;
                (Place::Local, model, format!("{}\n{}", identity(self.host, model)?, loaded_with(self.load)))
            }
            Answerer::Baseline(baseline) => {
                let row = self.baseline(baseline)?;
                let embedder = if row.needs_embedder() { identity(self.host, EMBEDDER)? } else { String::new() };
                (Place::Baseline, baseline, format!("baseline {baseline} {}\n{embedder}", baselines::VERSION))
            }
        };
        let fingerprint = fingerprint(&[&task.fingerprint(), &who, &examples]);
        Ok(Entrant { name: name.clone(), answerer: answerer.clone(), place, fingerprint, task: task.clone() })
    }

    fn baseline(&self, name: &str) -> anyhow::Result<&'static BaselineRow> {
        let Some(row) = BASELINES.iter().find(|row| row.name == name) else {
            let names: Vec<_> = BASELINES.iter().map(|row| row.name).collect();
            anyhow::bail!("there is no baseline {name:?}\nhint: there are {}", names.join(", "));
        };
        if row.needs_embedder() {
            self.host.source(EMBEDDER, &self.session.download_progress())?;
        }
        Ok(row)
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
            Answerer::Baseline(name) => self.learned(candidate, self.baseline(name)?),
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
        let task = &candidate.task;
        let examples = task.shown_examples()?;
        let mut tries: Vec<Arc<dyn Work>> = Vec::new();
        let mut preview: Option<Preview> = None;
        for attempt in 0..self.repeat {
            let mut task = task.clone();
            // Each try has a seed of its own, and the same one every time. Not every provider takes seeds.
            if !remote::is_remote(candidate) || task.options.seed.is_some() {
                task.options.seed = Some(task.options.seed.unwrap_or(0).wrapping_add(u64::from(attempt)));
            }
            let ready = block_on(task.ready(Arc::clone(&model), &examples))?;
            let at_once = if remote::is_remote(candidate) { remote::AT_ONCE } else { usual_concurrency(task.kind()) };
            let ready = Arc::new(ready.with_concurrency(at_once));
            if attempt == 0 {
                ready.warnings().iter().for_each(|warning| self.session.terminal.warn(warning));
                let ready = Arc::clone(&ready);
                preview = Some(Box::new(move |input| ready.preview(input).ok()));
            }
            tries.push(ready);
        }
        let preview = preview.unwrap_or_else(|| Box::new(|_| None));
        Ok(Contender { tries, preview, price, parameters })
    }

    fn learned(&self, candidate: &Candidate, row: &'static BaselineRow) -> anyhow::Result<Contender> {
        let task = &candidate.task;
        let examples = match &task.data.train {
            Some(train) => task.examples_of(train)?,
            None => Vec::new(),
        };
        let embedder: Option<Arc<dyn ChatModel>> = if row.needs_embedder() {
            Some(self.host.load_local(EMBEDDER, &self.session.download_progress())? as Arc<dyn ChatModel>)
        } else {
            None
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let lesson = Lesson { task, examples: &examples, embedder, threads };
        let work: Arc<dyn Work> = Arc::from(block_on(row.learn(&lesson))?);
        let price = Price::Machine(task.machine);
        Ok(Contender { tries: vec![work], preview: Box::new(|_| None), price, parameters: None })
    }
}
