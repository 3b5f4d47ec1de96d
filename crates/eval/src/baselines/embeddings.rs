//! The vectors of an embedding model with a logistic regression: what a small encoder knows of a text, in one pass over it.
//!
//! With one label the regression is multinomial; with several there is one for each label. How strongly weights are held near
//! zero is chosen by the likelihood of rows that were held back (`folds.rs`), so the probabilities are its own. Texts longer
//! than the model reads are cut there. A class without an example has probability 0.

mod descent;
mod regression;

use super::classes::{Classes, probabilities, renumber};
use super::folds::folds;
use super::{BaselineError, BaselineRow, Learn, Lesson};
use chat::{ChatModel, EmbedRequest, EmbedResponse, Prompt};
use futures::future::BoxFuture;
use regression::{Problem, Weights};
use std::sync::Arc;
use tasks::{Input, Outcome, TaskError, Template, Work};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "embeddings",
    about: "vectors of an embedding model, with a logistic regression",
    kinds: &["classify"],
    learn: Learn::Embedded(|lesson, model| Box::pin(learn(lesson, model))),
};

/// Texts that the model is sent at once.
const BATCH: usize = 64;
/// Inputs under way at once.
const CONCURRENCY: usize = 8;
/// What the square of the weights may cost beside the mean loss of a row; the strongest first.
const PENALTIES: [f64; 4] = [1e-3, 1e-4, 1e-5, 1e-6];

struct Embeddings {
    classes: Classes,
    input: Template,
    model: Arc<dyn ChatModel>,
    /// The classes that have examples; weights are theirs.
    known: Vec<usize>,
    weights: Weights,
}

async fn learn(lesson: &Lesson<'_>, model: Arc<dyn ChatModel>) -> Result<Box<dyn Work>, BaselineError> {
    let classes = Classes::of(lesson.task)?;
    let mut targets = classes.targets(lesson.examples)?;
    let known = renumber(&mut targets);
    let mut vectors = Vec::with_capacity(targets.len());
    for texts in lesson.texts()?.chunks(BATCH) {
        vectors.extend(embed(&*model, texts).await?.vectors);
    }
    let width = vectors.first().map_or(0, Vec::len);
    if let Some(other) = vectors.iter().find(|vector| vector.len() != width) {
        let message = format!("expected vectors of {width} numbers, as the first has, got one of {}", other.len());
        return Err(TaskError::Output(message).into());
    }
    let problem = Problem {
        vectors: &vectors,
        width,
        targets: &targets,
        classes: known.len(),
        several: classes.several,
        threads: lesson.threads,
    };
    let all: Vec<usize> = (0..vectors.len()).collect();
    let weights = problem.solve(&all, choose_penalty(&problem), None);
    Ok(Box::new(Embeddings { classes, input: lesson.task.input.clone(), model, known, weights }))
}

/// The penalty under which the rows that are held back are likeliest.
fn choose_penalty(problem: &Problem<'_>) -> f64 {
    let mut losses = [0.0; PENALTIES.len()];
    for fold in folds(problem.vectors.len()) {
        let mut weights = None;
        for (loss, penalty) in losses.iter_mut().zip(PENALTIES) {
            let solved = problem.solve(&fold.learned, penalty, weights.take());
            *loss += problem.loss(&fold.held_back, &solved);
            weights = Some(solved);
        }
    }
    let best = PENALTIES.iter().zip(losses).min_by(|one, other| one.1.total_cmp(&other.1));
    best.map_or(PENALTIES[0], |(&penalty, _)| penalty)
}

async fn embed(model: &dyn ChatModel, texts: &[String]) -> Result<EmbedResponse, TaskError> {
    let inputs = texts.iter().cloned().map(Prompt::Text).collect();
    let response = model.embed(EmbedRequest { inputs, truncate: true, dimensions: None }).await?;
    if response.vectors.len() != texts.len() {
        let (expected, got) = (texts.len(), response.vectors.len());
        return Err(TaskError::Output(format!("expected {expected} vectors, a text each, got {got}")));
    }
    Ok(response)
}

impl Work for Embeddings {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let response = embed(&*self.model, &[self.input.fill(input)?]).await?;
            let vector = response.vectors.first().map_or(&[][..], Vec::as_slice);
            if vector.len() != self.weights.width() {
                let (expected, got) = (self.weights.width(), vector.len());
                return Err(TaskError::Output(format!(
                    "expected a vector of {expected} numbers, as in train, got {got}"
                )));
            }
            let scores = self.weights.scores(vector);
            let probabilities = probabilities(scores.into_iter(), self.classes.several);
            let mut outcome = self.classes.outcome_of(&self.known, &probabilities);
            outcome.prompt_tokens = response.prompt_tokens;
            if !response.truncated.is_empty() {
                outcome
                    .warnings
                    .push("the text is longer than the embedding model reads, and was cut there".to_owned());
            }
            Ok(outcome)
        })
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

#[cfg(test)]
#[path = "embeddings_tests.rs"]
mod tests;
