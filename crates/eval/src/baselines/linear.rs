//! Words and pieces of words with a linear classifier: how texts were sorted before there were language models, in seconds.
//!
//! ```text
//! texts -> features (sparse vectors, TF-IDF) -> separators (a hyperplane for each class) -> margins
//!       -> calibration (one number, fit to rows that were held back) -> probabilities
//! ```
//!
//! Of a large table 1,000 rows are held back; a small one is learned five times, each time without another fifth. Then
//! everything is learned, beginning with what the last of these found. A class without an example has probability 0.

mod calibration;
mod features;
mod separators;

use super::classes::Classes;
use super::shuffle::Random;
use super::{BaselineError, BaselineRow, Learn, Lesson};
use calibration::{probabilities, sharpness};
use features::Features;
use futures::future::BoxFuture;
use separators::{Problem, Separators};
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
/// Rows that are held back to calibrate by.
const HELD_BACK: usize = 1_000;
/// A held-back part is one of so many, or smaller.
const FOLDS: usize = 5;
const SEED: u64 = 1;

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
        let mut all = vec![0.0; self.classes.count()];
        for (&class, probability) in
            self.known.iter().zip(probabilities(&margins, self.sharpness, self.classes.several))
        {
            all[class] = probability;
        }
        self.classes.outcome(&all)
    }
}

/// Numbers the classes that occur from 0 on, and says which they are.
fn renumber(targets: &mut [Vec<usize>]) -> Vec<usize> {
    let mut known: Vec<usize> = targets.iter().flatten().copied().collect();
    known.sort_unstable();
    known.dedup();
    for class in targets.iter_mut().flatten() {
        *class = known.partition_point(|known| known < class);
    }
    known
}

/// The sharpness, and what was learned last to find it.
fn calibrate(problem: &Problem<'_>, several: bool) -> (f64, Option<Separators>) {
    let mut order: Vec<usize> = (0..problem.rows.count()).collect();
    Random::new(SEED).shuffle(&mut order);
    let size = (order.len() / FOLDS).clamp(1, HELD_BACK);
    let folds = HELD_BACK.div_ceil(size).min(FOLDS);
    let (mut judged, mut last) = (Vec::new(), None);
    for fold in 0..folds.min(order.len() / size) {
        let held_back = fold * size..(fold + 1) * size;
        let learned = [&order[..held_back.start], &order[held_back.end..]].concat();
        let mut is_learned = vec![false; problem.classes];
        learned.iter().flat_map(|&row| &problem.targets[row]).for_each(|&class| is_learned[class] = true);
        let part = problem.solve(&learned, None);
        for &row in &order[held_back] {
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
