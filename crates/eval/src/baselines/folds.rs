//! Rows that are held back from learning, to find out how good what was learned is.
//!
//! Of a large table 1,000 rows suffice; a small one is learned five times, each time without another fifth.

use super::shuffle::Random;

/// Rows that are held back in all.
const HELD_BACK: usize = 1_000;
/// A part that is held back is one of so many, or smaller.
const FOLDS: usize = 5;
const SEED: u64 = 1;

/// A table in two parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Fold {
    /// Rows to learn from.
    pub learned: Vec<usize>,
    /// Rows to judge by.
    pub held_back: Vec<usize>,
}

/// Ways to part a table of so many rows, one to five. No row is held back twice; one row alone is learned by nobody.
pub fn folds(rows: usize) -> Vec<Fold> {
    let mut order: Vec<usize> = (0..rows).collect();
    Random::new(SEED).shuffle(&mut order);
    let size = (rows / FOLDS).clamp(1, HELD_BACK);
    let count = HELD_BACK.div_ceil(size).min(FOLDS).min(rows / size);
    let fold = |start: usize| {
        let held_back = start..start + size;
        let learned = [&order[..held_back.start], &order[held_back.end..]].concat();
        Fold { learned, held_back: order[held_back].to_vec() }
    };
    (0..count).map(|index| fold(index * size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_learned_or_held_back() {
        for (rows, count, size) in [(0, 0, 0), (1, 1, 1), (3, 3, 1), (12, 5, 2), (4_999, 2, 999), (20_000, 1, 1_000)] {
            let folds = folds(rows);
            assert_eq!(folds.len(), count, "{rows}");
            let mut judged = Vec::new();
            for fold in folds {
                assert_eq!(fold.held_back.len(), size);
                let mut all = [fold.learned, fold.held_back.clone()].concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..rows));
                judged.extend(fold.held_back);
            }
            judged.sort_unstable();
            judged.dedup();
            assert_eq!(judged.len(), count * size);
        }
    }
}
