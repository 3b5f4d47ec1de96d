//! Logistic regression over vectors: weights that make the classes of rows likely, held near zero by their square.
//!
//! The mean over the rows of `-ln p(class)`, or with several classes of the sum over all of `-ln p(fits or not)`, plus half the
//! penalty times the square of the weights without the intercepts. Rows are summed in pieces of fixed size, in their order,
//! whatever the number of threads.

use super::descent::lowest;
use crate::baselines::classes::probabilities;
use crate::baselines::threads;

/// Rows that are summed together.
const PIECE: usize = 512;
/// A probability that is rounded to zero counts as this one.
const LEAST_PROBABILITY: f64 = 1e-15;

/// Vectors with their classes.
#[derive(Debug)]
pub struct Problem<'r> {
    /// `width` numbers each.
    pub vectors: &'r [Vec<f32>],
    /// Numbers of a vector.
    pub width: usize,
    /// Of each vector the indices of its classes.
    pub targets: &'r [Vec<usize>],
    /// How many classes there are.
    pub classes: usize,
    /// Any number of classes may fit.
    pub several: bool,
    /// Threads that may be used.
    pub threads: usize,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// By the number of the vector, of each class one; the intercepts last.
    values: Vec<f64>, // [width + 1, classes]
    classes: usize,
    width: usize,
}

impl Weights {
    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The score of each class.
    pub fn scores(&self, vector: &[f32]) -> Vec<f64> {
        scores(&self.values, self.classes, vector)
    }
}

fn scores(weights: &[f64], classes: usize, vector: &[f32]) -> Vec<f64> {
    let (of_numbers, intercepts) = weights.split_at(vector.len() * classes);
    let mut scores = intercepts.to_vec();
    if classes > 0 {
        for (weights, &number) in of_numbers.chunks_exact(classes).zip(vector) {
            for (score, weight) in scores.iter_mut().zip(weights) {
                *score += f64::from(number) * weight;
            }
        }
    }
    scores
}

impl Problem<'_> {
    /// Learns the chosen rows, from zero or from what was learned before.
    pub fn solve(&self, chosen: &[usize], penalty: f64, before: Option<Weights>) -> Weights {
        let start = before.map_or_else(|| vec![0.0; (self.width + 1) * self.classes], |before| before.values);
        let values = lowest(start, |weights| self.objective(chosen, penalty, weights));
        Weights { values, classes: self.classes, width: self.width }
    }

    /// The sum over these rows of how unlikely their classes are.
    pub fn loss(&self, rows: &[usize], weights: &Weights) -> f64 {
        rows.iter().map(|&row| self.residuals(row, &weights.values).0).sum()
    }

    /// The loss of a row, and by class how much its probability is too high.
    fn residuals(&self, row: usize, weights: &[f64]) -> (f64, Vec<f64>) {
        let scores = scores(weights, self.classes, &self.vectors[row]);
        let mut residuals = probabilities(scores.into_iter(), self.several);
        let targets = &self.targets[row];
        let mut loss = 0.0;
        for (class, probability) in residuals.iter_mut().enumerate() {
            if targets.contains(&class) {
                loss -= probability.max(LEAST_PROBABILITY).ln();
                *probability -= 1.0;
            } else if self.several {
                loss -= (1.0 - *probability).max(LEAST_PROBABILITY).ln();
            }
        }
        (loss, residuals)
    }

    fn objective(&self, chosen: &[usize], penalty: f64, weights: &[f64]) -> (f64, Vec<f64>) {
        let pieces: Vec<&[usize]> = chosen.chunks(PIECE).collect();
        let sums = threads::each(pieces.len(), self.threads, |index| self.sum(pieces[index], weights));
        let share = 1.0 / chosen.len().max(1) as f64;
        let (of_numbers, _) = weights.split_at(self.width * self.classes);
        let mut value = penalty / 2.0 * of_numbers.iter().map(|weight| weight * weight).sum::<f64>();
        let mut gradient: Vec<f64> = of_numbers.iter().map(|weight| penalty * weight).collect();
        gradient.resize(weights.len(), 0.0);
        for (loss, slopes) in sums {
            value += share * loss;
            gradient.iter_mut().zip(slopes).for_each(|(gradient, slope)| *gradient += share * slope);
        }
        (value, gradient)
    }

    fn sum(&self, rows: &[usize], weights: &[f64]) -> (f64, Vec<f64>) {
        let (mut sum, mut slopes) = (0.0, vec![0.0; weights.len()]);
        if self.classes == 0 {
            return (sum, slopes);
        }
        for &row in rows {
            let (loss, residuals) = self.residuals(row, weights);
            sum += loss;
            let numbers = self.vectors[row].iter().map(|&number| f64::from(number)).chain([1.0]);
            for (slopes, number) in slopes.chunks_exact_mut(self.classes).zip(numbers) {
                for (slope, residual) in slopes.iter_mut().zip(&residuals) {
                    *slope += number * residual;
                }
            }
        }
        (sum, slopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: usize = 3;

    /// Plain descent in small steps.
    fn naive(problem: &Problem<'_>, chosen: &[usize], penalty: f64) -> f64 {
        let mut weights = vec![0.0; (WIDTH + 1) * problem.classes];
        for _ in 0..2_000 {
            let (_, gradient) = problem.objective(chosen, penalty, &weights);
            weights.iter_mut().zip(gradient).for_each(|(weight, slope)| *weight -= 0.3 * slope);
        }
        problem.objective(chosen, penalty, &weights).0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn what_is_found_is_the_lowest_and_the_gradient_is_the_slope(
            rows in prop::collection::vec((prop::collection::vec(-1.0_f32..1.0, WIDTH), 0..3_usize), 1..12),
            several: bool,
        ) {
            let (vectors, classes): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let targets: Vec<Vec<usize>> = classes.iter().map(|&class| vec![class]).collect();
            let problem = Problem { vectors: &vectors, width: WIDTH, targets: &targets, classes: 3, several, threads: 2 };
            let chosen: Vec<usize> = (0..vectors.len()).collect();
            let solved = problem.solve(&chosen, 0.05, None);
            let (reached, _) = problem.objective(&chosen, 0.05, &solved.values);
            prop_assert!(reached <= naive(&problem, &chosen, 0.05) + 1e-4);
            let mut beside = vec![0.1; (WIDTH + 1) * 3];
            let (value, gradient) = problem.objective(&chosen, 0.05, &beside);
            for (index, slope) in gradient.iter().enumerate() {
                beside[index] += 1e-6;
                let difference = (problem.objective(&chosen, 0.05, &beside).0 - value) / 1e-6;
                beside[index] -= 1e-6;
                prop_assert!((difference - slope).abs() < 1e-4, "{index}: {difference} {slope}");
            }
        }
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let vectors: Vec<Vec<f32>> =
            (0..1_300).map(|row| (0..WIDTH).map(|at| ((row * 7 + at * 3) % 11) as f32).collect()).collect();
        let targets: Vec<Vec<usize>> = (0..1_300).map(|row| vec![row % 2]).collect();
        let chosen: Vec<usize> = (0..1_300).collect();
        let solve = |threads: usize| {
            let problem =
                Problem { vectors: &vectors, width: WIDTH, targets: &targets, classes: 2, several: false, threads };
            problem.solve(&chosen, 1e-4, None)
        };
        assert_eq!(solve(1), solve(2));
    }
}
