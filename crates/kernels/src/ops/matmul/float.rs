//! Products with weights as they lie in a file.
//!
//! Weights are decoded exactly, activations and sums are f32. Pseudo-code of the order of additions, which is the same
//! for one row or many, and for every tile and thread:
//!
//! ```text
//! out = 0
//! for each block of BLOCK_COLUMNS columns, ascending:
//!     lane[l] = Σ over k in the block, k % LANES == l, ascending, one multiply-add each
//!     out += the lanes folded in halves down to four, then (0 + 1) + (2 + 3)
//! ```
//!
//! A few rows of weights are decoded once into a panel that stays in the nearest cache and then meet every row of
//! activations, in tiles of four weight rows by a few activation rows whose sums stay in registers. The error is at most
//! `(BLOCK_COLUMNS / LANES + K / BLOCK_COLUMNS + 6) * 6e-8 * Σ |x * w|`; see [`crate::reference::matmul`].

use std::cell::RefCell;
use std::ops::Range;

use super::Job;
use crate::disjoint::Columns;
use crate::isa::{Kernel, Simd};
use crate::quant::decoder;
use crate::{Matrix, Runtime};

/// Columns that are summed before they are added to the output: a multiple of every block length and lane count.
const BLOCK_COLUMNS: usize = 1024;
/// Weight rows of one piece of work: what a panel holds.
const PANEL_ROWS: usize = 16;
/// Weight rows of a tile.
const TILE_ROWS: usize = 4;
/// Rows of a panel are this far apart: not a power of two, so that they do not compete for the same cache lines.
const PANEL_STRIDE: usize = BLOCK_COLUMNS + 16;

/// Decoded weights `[PANEL_ROWS, PANEL_STRIDE]`.
#[repr(align(64))]
struct Panel([f32; PANEL_ROWS * PANEL_STRIDE]);

thread_local! {
    static PANEL: RefCell<Box<Panel>> = RefCell::new(Box::new(Panel([0.0; PANEL_ROWS * PANEL_STRIDE])));
}

/// Multiplies `x` `[T, K]` with each job's weights into its output.
pub(super) fn multiply(runtime: &Runtime, x: &[f32], mut jobs: Vec<Job<'_>>) {
    let weights: Vec<Matrix<'_>> = jobs.iter().map(|(weights, _)| *weights).collect();
    let depth = weights[0].cols();
    let tokens = x.len() / depth;
    let mut outs: Vec<(&mut [f32], usize)> =
        jobs.iter_mut().map(|(weights, out)| (&mut **out, weights.rows())).collect();
    let panels: usize = weights.iter().map(|weights| weights.rows().div_ceil(PANEL_ROWS)).sum();
    let work = weights.iter().map(|weights| weights.rows() * depth * tokens).sum();
    let tile = (tokens_per_task(tokens, panels, runtime.threads()), PANEL_ROWS);
    runtime.for_each_tile(&mut outs, tile, work, |job, tokens, rows, out| {
        let weights = weights[job];
        let decode = decoder(weights.format(), runtime.isa());
        PANEL.with_borrow_mut(|panel| {
            let x = &x[tokens.start * depth..tokens.end * depth];
            runtime.vectorize(Product { x, weights, rows, out, decode, panel: &mut panel.0 });
        });
    });
}

/// Rows of activations of one piece of work: all, unless there are too few panels to keep every thread busy. Then the
/// same panel is decoded more than once; sums do not change.
fn tokens_per_task(tokens: usize, panels: usize, threads: usize) -> usize {
    const FEWEST: usize = 48;
    let pieces = (3 * threads).div_ceil(panels);
    if threads == 1 || pieces <= 1 {
        return tokens.max(1);
    }
    tokens.div_ceil(pieces).next_multiple_of(FEWEST)
}

/// Some rows of weights times some rows of activations.
struct Product<'a, D> {
    /// `[T, K]`
    x: &'a [f32],
    weights: Matrix<'a>,
    /// Rows of the weights, at most `PANEL_ROWS`.
    rows: Range<usize>,
    /// `[T, rows]`
    out: Columns<'a, f32>,
    decode: D,
    panel: &'a mut [f32; PANEL_ROWS * PANEL_STRIDE],
}

impl<D: Fn(&[u8], &mut [f32])> Kernel for Product<'_, D> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let depth = self.weights.cols();
        let tokens = self.x.len() / depth;
        // For a few tokens four rows at a time pass through the nearest cache; for many the panel is used for long.
        let group_rows = if tokens <= S::TILE_COLUMNS { TILE_ROWS } else { PANEL_ROWS };
        let rows = self.rows.len();
        for group in (0..rows).step_by(group_rows) {
            let group = group..rows.min(group + group_rows);
            for start in (0..depth).step_by(BLOCK_COLUMNS) {
                let block = start..depth.min(start + BLOCK_COLUMNS);
                self.decode_block(group.clone(), block.clone());
                let mut token = 0;
                while token < tokens {
                    let count = (tokens - token).min(S::TILE_COLUMNS);
                    let (group, block) = (group.clone(), block.clone());
                    match count {
                        1 => self.multiply::<S, 1>(simd, token, group, block),
                        2 => self.multiply::<S, 2>(simd, token, group, block),
                        3 => self.multiply::<S, 3>(simd, token, group, block),
                        4 => self.multiply::<S, 4>(simd, token, group, block),
                        5 => self.multiply::<S, 5>(simd, token, group, block),
                        _ => self.multiply::<S, 6>(simd, token, group, block),
                    }
                    token += count.min(6);
                }
            }
        }
    }
}

impl<D: Fn(&[u8], &mut [f32])> Product<'_, D> {
    /// Decodes columns `block` of the rows `group` of this piece into the panel.
    #[inline(always)]
    fn decode_block(&mut self, group: Range<usize>, block: Range<usize>) {
        let format = self.weights.format();
        let to_bytes = |column: usize| column / format.block_len() * format.block_bytes();
        for (row, panel) in group.zip(self.panel.chunks_exact_mut(PANEL_STRIDE)) {
            let bytes = &self.weights.row(self.rows.start + row)[to_bytes(block.start)..to_bytes(block.end)];
            (self.decode)(bytes, &mut panel[..block.len()]);
        }
    }

    /// Adds the products of the panel (rows `group`, columns `block`) with `C` rows of activations to the output.
    #[inline(always)]
    fn multiply<S: Simd, const C: usize>(&mut self, simd: S, token: usize, group: Range<usize>, block: Range<usize>) {
        let depth = self.weights.cols();
        let x: [&[f32]; C] = std::array::from_fn(|c| &self.x[(token + c) * depth..][block.start..block.end]);
        for quad in (0..group.len()).step_by(TILE_ROWS) {
            // Past the last row the panel holds older numbers, whose products are dropped.
            let panel = &self.panel[quad * PANEL_STRIDE..][..TILE_ROWS * PANEL_STRIDE];
            let sums = tile(simd, panel, x, block.len());
            let rows = group.start + quad..group.end.min(group.start + quad + TILE_ROWS);
            for (c, sums) in sums.iter().enumerate() {
                let out = &mut self.out.row(token + c)[rows.clone()];
                if block.start == 0 {
                    out.copy_from_slice(&sums[..rows.len()]);
                } else {
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out += sum;
                    }
                }
            }
        }
    }
}

/// The dot products of four panel rows with `C` rows of activations, `len` long each.
#[inline(always)]
fn tile<S: Simd, const C: usize>(simd: S, panel: &[f32], x: [&[f32]; C], len: usize) -> [[f32; TILE_ROWS]; C] {
    assert!(panel.len() == TILE_ROWS * PANEL_STRIDE && len <= PANEL_STRIDE);
    for row in x {
        assert!(row.len() == len);
    }
    let mut sums = [[simd.splat(0.0); TILE_ROWS]; C];
    let whole = len - len % S::LANES;
    let mut k = 0;
    while k < whole {
        // SAFETY: `k + LANES <= len`, which each row of the panel and of x has (asserted above).
        unsafe {
            let mut w = [simd.splat(0.0); TILE_ROWS];
            for (row, w) in w.iter_mut().enumerate() {
                *w = simd.load(panel.as_ptr().add(row * PANEL_STRIDE + k));
            }
            for c in 0..C {
                let x = simd.load(x[c].as_ptr().add(k));
                for row in 0..TILE_ROWS {
                    sums[c][row] = simd.mul_add(w[row], x, sums[c][row]);
                }
            }
        }
        k += S::LANES;
    }
    if whole < len {
        for row in 0..TILE_ROWS {
            let w = simd.load_slice(&panel[row * PANEL_STRIDE..][whole..len]);
            for c in 0..C {
                sums[c][row] = simd.mul_add(w, simd.load_slice(&x[c][whole..]), sums[c][row]);
            }
        }
    }
    let mut out = [[0.0; TILE_ROWS]; C];
    for c in 0..C {
        out[c] = simd.sum_each(sums[c]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::matmul::{MatMul, matmul};
    use crate::reference;
    use crate::reference::testing::{on_every_isa, random_weights, values};
    use crate::{FORMATS, Format, Isa, dequantize};

    fn product(runtime: &Runtime, x: &[f32], weights: Matrix<'_>) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len() / weights.cols() * weights.rows()];
        matmul(runtime, x, &mut [MatMul { weights, out: &mut out }]);
        out
    }

    fn check(runtime: &Runtime, format: Format, tokens: usize, rows: usize, cols: usize) {
        let bytes = random_weights(format, rows, cols);
        let weights = Matrix::new(format, rows, cols, &bytes).unwrap();
        let mut decoded = vec![0.0; rows * cols];
        dequantize(format, &bytes, &mut decoded).unwrap();
        let x = values(tokens * cols, 7, 1.0);
        let got = product(runtime, &x, weights);
        let (expected, magnitudes) = reference::matmul(&x, &decoded, cols);
        let steps = BLOCK_COLUMNS.min(cols).div_ceil(4) + cols / BLOCK_COLUMNS + 6;
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let bound = steps as f32 * 6e-8 * magnitudes[i];
            let name = format.name();
            assert!(
                (got - expected).abs() <= bound,
                "{name} {tokens}x{rows}x{cols} at {i}: {got}, expected {expected}"
            );
        }
    }

    #[test]
    fn products_of_every_format_are_within_the_bound() {
        on_every_isa(1, |runtime, _| {
            for row in FORMATS {
                for (tokens, rows, cols) in [(1, 5, 1), (7, 18, 5)] {
                    check(runtime, row.format, tokens, rows, cols * row.block_len);
                }
            }
        });
    }

    #[test]
    fn products_of_every_length_are_within_the_bound() {
        on_every_isa(2, |runtime, lanes| {
            for cols in (1..=2 * lanes + 1).chain([1023, 1024, 1025, 2100]) {
                for tokens in [1, 3, 8] {
                    check(runtime, Format::F32, tokens, 6, cols);
                }
            }
        });
    }

    #[test]
    fn a_batch_equals_its_rows_bit_for_bit_on_any_number_of_threads() {
        for isa in Isa::available() {
            let runtimes = [1, 2, 3].map(|threads| Runtime::new(isa, threads).unwrap());
            for row in FORMATS {
                let cols = if row.block_len == 1 { 1100 } else { 1280 };
                let bytes = random_weights(row.format, 37, cols);
                let weights = Matrix::new(row.format, 37, cols, &bytes).unwrap();
                let x = values(17 * cols, 3, 1.0);
                let alone: Vec<f32> = x.chunks(cols).flat_map(|x| product(&runtimes[0], x, weights)).collect();
                for (tokens, runtime) in (2..=17).zip(runtimes.iter().cycle()) {
                    let together = product(runtime, &x[..tokens * cols], weights);
                    let (name, threads) = (row.name, runtime.threads());
                    assert!(together == alone[..tokens * 37], "{name} on {isa:?}, {tokens} rows, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn long_batches_split_over_threads_without_a_change() {
        let isa = Isa::detect();
        let bytes = random_weights(Format::Q8_0, 20, 96);
        let weights = Matrix::new(Format::Q8_0, 20, 96, &bytes).unwrap();
        let x = values(300 * 96, 3, 1.0);
        let one = product(&Runtime::new(isa, 1).unwrap(), &x, weights);
        let many = product(&Runtime::new(isa, 5).unwrap(), &x, weights);
        assert!(one == many);
    }
}
