//! A candidate that is ready to answer.

use crate::report::Place;
use std::sync::Arc;
use tasks::{Input, Machine, Outcome, Task, Work};

/// Who is to be judged, as far as it is known before it is ready.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// What reports call it.
    pub name: String,
    /// The model, or the baseline.
    pub answerer: String,
    /// Where it answers.
    pub place: Place,
    /// The digest of all that its answers depend on: task, weights, examples.
    pub fingerprint: String,
    /// The task as it does it.
    pub task: Task,
}

/// US dollars that a provider takes for an outcome; none where it says nothing of its tokens.
pub type ProviderPrice = Box<dyn Fn(&Outcome) -> Option<f64> + Send + Sync>;

/// What an answer takes.
pub enum Price {
    /// This machine's time.
    Machine(Machine),
    /// What a provider takes.
    Provider(ProviderPrice),
    /// Nobody knows.
    Unknown,
}

/// The words that an input becomes.
pub type Preview = Box<dyn Fn(&Input) -> Option<String> + Send + Sync>;

/// A candidate that is ready to answer.
pub struct Contender {
    /// What answers, once for each try of a row: the same work but for its seed.
    pub tries: Vec<Arc<dyn Work>>,
    /// The words that it is given for an input; none where it needs none.
    pub preview: Preview,
    /// What its answers take.
    pub price: Price,
    /// Its weights, where somebody says.
    pub parameters: Option<u64>,
}
