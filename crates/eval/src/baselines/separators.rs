//! A hyperplane for each class that parts the rows of the class from all others: support vector machines, one against the rest.
//!
//! Each minimises `|w|^2 / 2 + C sum_i max(0, 1 - y_i w.x_i)^2`, where the intercept is the weight of a column that is 1 in
//! every row. The dual is solved one row at a time (Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent
//! method for large-scale linear SVM", ICML 2008, algorithm 1 with `D_ii = 1 / 2C` and no upper bound):
//!
//! ```text
//! until the gradients that still point into the feasible region lie close together:
//!     for each row i in a new random order:
//!         g = y_i w.x_i - 1 + D a_i
//!         a_i, before = max(0, a_i - g / (x_i.x_i + D)), a_i
//!         w += (a_i - before) y_i x_i
//! ```
//!
//! Departures: 1. Eight classes go together, a vector lane each. A row is fetched once for all of them, and the eight weights
//! of a column lie side by side. They share the order of the rows, and stop together. 2. A class whose dual of a row does not
//! change adds zero there: no branch. 3. Such groups of classes are solved by different threads, each with the same seed, so
//! that nothing depends on who solves which.

use super::shuffle::Random;
use super::sparse::Rows;
use super::threads;

/// Classes that are solved together.
const LANES: usize = 8;
/// What a violated margin costs beside the length of the weights: `C`.
const COST: f32 = 0.5;
/// Passes over the rows at most; ten or twenty suffice for texts.
const MOST_PASSES: usize = 1_000;
/// How far apart the projected gradients of a class may lie in the end.
const TOLERANCE: f32 = 0.01;
const SEED: u64 = 0;

type Lanes = [f32; LANES];

/// Rows with the classes that each has.
#[derive(Debug)]
pub struct Problem<'r> {
    /// The vectors of the texts.
    pub rows: &'r Rows,
    /// Columns of a row.
    pub columns: usize,
    /// Of each row the indices of its classes.
    pub targets: &'r [Vec<usize>],
    /// How many classes there are.
    pub classes: usize,
    /// Threads that may be used.
    pub threads: usize,
}

/// The hyperplanes.
#[derive(Debug, Clone, PartialEq)]
pub struct Separators {
    classes: usize,
    groups: Vec<Group>,
}

/// The hyperplanes of eight classes, or of those that are left.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    /// By column.
    weights: Vec<Lanes>,
    intercept: Lanes,
    /// By row: `a_i`, zero for rows that were not learned.
    duals: Vec<Lanes>,
}

impl Problem<'_> {
    /// Learns the chosen rows; begins with what was learned of some of them before, where that is given.
    pub fn solve(&self, chosen: &[usize], before: Option<&Separators>) -> Separators {
        let groups = threads::each(self.classes.div_ceil(LANES), self.threads, |index| {
            let mut group = before.map_or_else(|| self.empty(), |before| before.groups[index].clone());
            self.improve(&mut group, index * LANES, chosen);
            group
        });
        Separators { classes: self.classes, groups }
    }

    fn empty(&self) -> Group {
        let zeros = [0.0; LANES];
        Group { weights: vec![zeros; self.columns], intercept: zeros, duals: vec![zeros; self.rows.count()] }
    }

    /// For the classes from `first` on, 1 where a row is of the class and -1 where not.
    fn signs(&self, row: usize, first: usize) -> Lanes {
        let mut signs = [-1.0; LANES];
        for &class in &self.targets[row] {
            if let Some(sign) = class.checked_sub(first).and_then(|lane| signs.get_mut(lane)) {
                *sign = 1.0;
            }
        }
        signs
    }

    fn improve(&self, group: &mut Group, first: usize, chosen: &[usize]) {
        let used = LANES.min(self.classes - first);
        let diagonal = 1.0 / (2.0 * COST);
        let mut order: Vec<(usize, f32, Lanes)> = Vec::with_capacity(chosen.len());
        for &row in chosen {
            let square = 1.0 + self.rows.row(row).map(|(_, value)| value * value).sum::<f32>();
            order.push((row, 1.0 / (square + diagonal), self.signs(row, first)));
        }
        let mut random = Random::new(SEED);
        for _ in 0..MOST_PASSES {
            random.shuffle(&mut order);
            let (mut lowest, mut highest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
            for (row, step, signs) in &order {
                let margins = group.margins(self.rows.row(*row));
                let duals = &mut group.duals[*row];
                let mut change = [0.0; LANES];
                for lane in 0..LANES {
                    let gradient = signs[lane] * margins[lane] - 1.0 + diagonal * duals[lane];
                    let projected = if duals[lane] > 0.0 { gradient } else { gradient.min(0.0) };
                    lowest[lane] = lowest[lane].min(projected);
                    highest[lane] = highest[lane].max(projected);
                    let dual = (duals[lane] - gradient * step).max(0.0);
                    change[lane] = (dual - duals[lane]) * signs[lane];
                    duals[lane] = dual;
                }
                if change != [0.0; LANES] {
                    group.add(&change, self.rows.row(*row));
                }
            }
            if lowest.iter().zip(&highest).take(used).all(|(lowest, highest)| highest - lowest <= TOLERANCE) {
                break;
            }
        }
    }
}

impl Group {
    fn margins(&self, row: impl Iterator<Item = (usize, f32)>) -> Lanes {
        let mut margins = self.intercept;
        for (column, value) in row {
            margins.iter_mut().zip(&self.weights[column]).for_each(|(margin, weight)| *margin += value * weight);
        }
        margins
    }

    fn add(&mut self, change: &Lanes, row: impl Iterator<Item = (usize, f32)>) {
        self.intercept.iter_mut().zip(change).for_each(|(weight, change)| *weight += change);
        for (column, value) in row {
            self.weights[column].iter_mut().zip(change).for_each(|(weight, change)| *weight += value * change);
        }
    }
}

impl Separators {
    /// On which side of each class's hyperplane a row lies, and how far, in units of its margin.
    pub fn margins<R: Iterator<Item = (usize, f32)>>(&self, row: impl Fn() -> R) -> Vec<f64> {
        let each = self.groups.iter().flat_map(|group| group.margins(row()));
        let mut margins: Vec<f64> = each.map(f64::from).collect();
        margins.truncate(self.classes);
        margins
    }

    /// Gives back the memory that only learning more needs.
    pub fn finish(&mut self) {
        for group in &mut self.groups {
            group.duals = Vec::new();
        }
    }
}

#[cfg(test)]
#[path = "separators_tests.rs"]
mod tests;
