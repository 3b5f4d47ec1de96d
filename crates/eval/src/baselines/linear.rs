//! Words and pieces of words with a linear classifier: how texts were sorted before there were language models, in seconds.
//!
//! ```text
//! texts -> features (sparse vectors, TF-IDF) -> separators (a hyperplane for each class) -> margins
//!       -> calibration (one number, fit to rows that were held back) -> probabilities
//! ```
//!
//! What is held back says `folds.rs`. Then everything is learned, beginning with what was found last. A class without an
//! example has probability 0.

mod calibration;
mod features;

use super::classes::{Classes, renumber};
use super::folds::folds;
use super::separators::{Problem, Separators};
use super::{BaselineError, BaselineRow, Learn, Lesson};
use calibration::{scaled, sharpness};
use features::Features;
use futures::future::BoxFuture;
use tasks::{Input, Outcome, TaskError, Template, Work};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "linear",
    about: "TF-IDF of words and pieces of words, with a linear support vector machine for each label",
    kinds: &["classify"],
    learn: Learn::Alone(learn),
};

/// Weights of all classes together, in memory a gigabyte; rare grams are left out where there would be more.
const MOST_WEIGHTS: usize = 1 << 28;

struct Linear {
    classes: Classes,
    input: Template,
    features: Features,
    /// The classes that have examples; hyperplanes are theirs.
    known: Vec<usize>,
    separators: Separators,
    sharpness: f64,
}

fn learn(lesson: &Lesson<'_>) -> Result<Box<dyn Work>, BaselineError> {
    Ok(Box::new(Linear::learn(lesson)?))
}

impl Linear {
    fn learn(lesson: &Lesson<'_>) -> Result<Linear, BaselineError> {
        let classes = Classes::of(lesson.task)?;
        let mut targets = classes.targets(lesson.examples)?;
        let known = renumber(&mut targets);
        let (features, rows) = Features::learn(&lesson.texts()?, MOST_WEIGHTS / known.len().max(1));
        let problem = Problem {
            rows: &rows,
            columns: features.count(),
            targets: &targets,
            classes: known.len(),
            threads: lesson.threads,
        };
        let (sharpness, part) = calibrate(&problem, classes.several);
        let all: Vec<usize> = (0..rows.count()).collect();
        let mut separators = problem.solve(&all, part.as_ref());
        separators.finish();
        Ok(Linear { classes, input: lesson.task.input.clone(), features, known, separators, sharpness })
    }

    fn outcome(&self, text: &str) -> Outcome {
        let row = self.features.row(text);
        let margins = self.separators.margins(|| row.iter().map(|&(column, value)| (column as usize, value)));
        let probabilities = scaled(&margins, self.sharpness, self.classes.several);
        self.classes.outcome_of(&self.known, &probabilities)
    }
}

/// The sharpness, and what was learned last to find it.
fn calibrate(problem: &Problem<'_>, several: bool) -> (f64, Option<Separators>) {
    let (mut judged, mut last) = (Vec::new(), None);
    for fold in folds(problem.rows.count()) {
        let mut is_learned = vec![false; problem.classes];
        fold.learned.iter().flat_map(|&row| &problem.targets[row]).for_each(|&class| is_learned[class] = true);
        let part = problem.solve(&fold.learned, None);
        for row in fold.held_back {
            let right = problem.targets[row].as_slice();
            // Of a class that was not learned nobody could have known.
            if right.iter().all(|&class| is_learned[class]) {
                judged.push((part.margins(|| problem.rows.row(row)), right));
            }
        }
        last = Some(part);
    }
    (sharpness(&judged, several), last)
}

impl Work for Linear {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move { Ok(self.outcome(&self.input.fill(input)?)) })
    }

    fn concurrency(&self) -> usize {
        1
    }
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
