//! Rotary position embedding (Su et al. 2021): pairs of a head's values are turned by position * frequency.
//!
//! The angle is one f32 product and its sine and cosine are then scaled by the table's magnitude, as in the families'
//! reference code; frequency scaling (llama3, YaRN, LongRoPE) is in the table, made by `model`. No operation is fused, so
//! the result is the same on every instruction set.

use crate::Runtime;
use crate::isa::{Kernel, Simd};

/// The frequencies of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    /// `[Drot / 2]`: radians per position of each pair. `Drot` may be smaller than `Dh`; the rest of a head stays.
    pub inverse_frequency: Vec<f32>,
    /// What sines and cosines are multiplied by; 1 unless the scaling says otherwise.
    pub magnitude: f32,
}

/// Which values of a head form a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairing {
    /// Values 2i and 2i + 1.
    Adjacent,
    /// Values i and i + Drot / 2.
    Halves,
}

/// The sine and cosine of every row's position and every pair's frequency: made once, used in every layer.
#[derive(Debug, Default)]
pub struct RopeTurns {
    pairs: usize,
    /// `[T, pairs]`
    sines: Vec<f32>,
    /// `[T, pairs]`
    cosines: Vec<f32>,
}

impl RopeTurns {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.sines.clear();
        self.cosines.clear();
    }

    /// Adds a row for each position.
    ///
    /// The relative error is that of an f32 angle: at most `angle * 6e-8` radians.
    ///
    /// # Panics
    /// When earlier rows were made with a table of another length.
    pub fn extend(&mut self, positions: &[u32], table: &RopeTable) {
        let pairs = table.inverse_frequency.len();
        assert!(self.sines.is_empty() || self.pairs == pairs, "rope: tables of one length");
        self.pairs = pairs;
        for &position in positions {
            for frequency in &table.inverse_frequency {
                // Positions are below 2^24, so the conversion is exact.
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                self.sines.push(sine * table.magnitude);
                self.cosines.push(cosine * table.magnitude);
            }
        }
    }
}

/// Turns each head of `x` `[T, H, Dh]` in place, row `t` by row `t` of `turns`.
///
/// # Panics
/// When there are not as many rows of turns, or they are wider than a head.
pub fn rope(runtime: &Runtime, x: &mut [f32], heads: usize, head_dim: usize, turns: &RopeTurns, pairing: RopePairing) {
    let (row_len, pairs) = (heads * head_dim, turns.pairs);
    assert_eq!(x.len() * pairs, turns.sines.len() * row_len, "rope: x is [T, H, Dh]");
    assert!(2 * pairs <= head_dim, "rope: {pairs} pairs in a head of {head_dim}");
    let rows = runtime.rows_per_task(x.len() / row_len, row_len);
    runtime.for_each_chunk(x, rows * row_len, |index, x| {
        runtime.vectorize(Turn { x, first: index * rows, row_len, head_dim, turns, pairing });
    });
}

/// Rows of heads, the first of which is row `first` of the turns.
struct Turn<'a> {
    x: &'a mut [f32],
    first: usize,
    row_len: usize,
    head_dim: usize,
    turns: &'a RopeTurns,
    pairing: RopePairing,
}

impl Kernel for Turn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let pairs = self.turns.pairs;
        for (row, x) in (self.first..).zip(self.x.chunks_exact_mut(self.row_len)) {
            let (sines, cosines) =
                (&self.turns.sines[row * pairs..][..pairs], &self.turns.cosines[row * pairs..][..pairs]);
            for head in x.chunks_exact_mut(self.head_dim) {
                turn(&mut head[..2 * pairs], sines, cosines, self.pairing);
            }
        }
    }
}

/// Turns one head `[Drot]` by sines and cosines `[Drot / 2]`. Plain loops, which the compiler vectorises.
#[inline(always)]
fn turn(head: &mut [f32], sines: &[f32], cosines: &[f32], pairing: RopePairing) {
    let rotated = |a: f32, b: f32, sine: f32, cosine: f32| (a * cosine - b * sine, b * cosine + a * sine);
    match pairing {
        RopePairing::Adjacent => {
            for ((pair, &sine), &cosine) in head.as_chunks_mut::<2>().0.iter_mut().zip(sines).zip(cosines) {
                (pair[0], pair[1]) = rotated(pair[0], pair[1], sine, cosine);
            }
        }
        RopePairing::Halves => {
            let (first, second) = head.split_at_mut(sines.len());
            for (((a, b), &sine), &cosine) in first.iter_mut().zip(second).zip(sines).zip(cosines) {
                (*a, *b) = rotated(*a, *b, sine, cosine);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{assert_close, on_every_isa, values};

    fn table(pairs: usize) -> RopeTable {
        let inverse_frequency = (0..pairs).map(|i| 10_000f32.powf(-(i as f32) / pairs as f32)).collect();
        RopeTable { inverse_frequency, magnitude: 1.25 }
    }

    #[test]
    fn turns_equal_the_reference() {
        on_every_isa(2, |runtime, _| {
            for pairing in [RopePairing::Adjacent, RopePairing::Halves] {
                for (heads, head_dim, pairs) in [(1, 2, 1), (3, 8, 4), (2, 10, 3), (9, 64, 32)] {
                    let positions: Vec<u32> = (0..40).map(|i| i * 97).collect();
                    let mut x = values(positions.len() * heads * head_dim, 1, 2.0);
                    let expected = reference::rope(&x, heads, head_dim, &positions, &table(pairs), pairing);
                    let mut turns = RopeTurns::default();
                    turns.extend(&positions[..10], &table(pairs));
                    turns.extend(&positions[10..], &table(pairs));
                    rope(runtime, &mut x, heads, head_dim, &turns, pairing);
                    // The oracle's angle is exact: position * 6e-8 radians come from rounding the angle to f32.
                    assert_close(&x, &expected, 1e-6, 4e-4);
                }
            }
        });
    }

    #[test]
    fn position_zero_and_the_rest_of_a_head_stay() {
        let runtime = Runtime::new(crate::Isa::detect(), 1).unwrap();
        let x = values(2 * 8, 1, 1.0);
        let mut turned = x.clone();
        let table = RopeTable { magnitude: 1.0, ..table(3) };
        let mut turns = RopeTurns::default();
        turns.extend(&[0, 5], &table);
        rope(&runtime, &mut turned, 1, 8, &turns, RopePairing::Halves);
        assert_eq!(turned[..8], x[..8]);
        assert_eq!(turned[14..], x[14..]);
        assert_ne!(turned[8..14], x[8..14]);
    }
}
