//! Sums that are scaled by pairs of groups, as integers: products of Q4_K, of which most weights of most files are.
//!
//! Processors multiply floats where they form dot products, so every scale takes the place of one. Sixteen bits hold the sum of
//! a group of 32 numbers of four bits less their middle; two of them, and two whole scales, make one dot product:
//!
//! ```text
//! for each block of 256 columns, ascending:
//!     scaled = 0, shift = 0                                                   // integers
//!     for each group of 32 columns:
//!         scaled += scale[group] * Σ (number - middle) * activation           // at most 63 * 32 * 8 * 127 of each
//!         shift += offset[group] * Σ activation
//!     out += (scaled * factor + shift * unit) * activation scale
//! ```
//!
//! All integers are exact, in any order. An offset is what all weights of a group have in common, rounded to a unit of 1/32767 of
//! the largest that it could be, which adds at most `(504 |d| + 63 |dmin|) / 65534 * |Σ activation|` for each group: less than
//! a hundredth of `d`, where the weights themselves are rounded to `scale * d / 2`.
//!
//! Both sums of a pair lie in one i32: the first is moved to the upper half before the second is added below it, with 2^15 added
//! so that it does not borrow from there; flipping bit 15 takes that away.
//! It does not know how a format is laid out. Next: `matmul/integer.rs`, `quant/q4_k.rs`.

use super::activations::{Activations, CHUNK, Chunk};
use super::integer::{
    Ahead, PANEL_ROWS, Panel, Product, RowBlocks, Sums, Tile, Tiles, Way, activation_quad, columns, integer_vectors,
    multiply_tiles, runs_of, vectors,
};
use crate::isa::Simd;
use crate::quant::{Correction, Paired, RowBlock};

/// Pairs of groups in a chunk, which is a block.
const PAIRS: usize = CHUNK / 64;
/// The bit that [`Chunk::start`] adds to the second sum of a pair.
const FLIPPED: i32 = 1 << 15;

/// The scales and offsets of a panel.
pub(super) struct Scales {
    /// Two numbers of sixteen bits each.
    scales: [[[u8; 4]; PANEL_ROWS]; PAIRS],
    offsets: [[[u8; 4]; PANEL_ROWS]; PAIRS],
    factors: [f32; PANEL_ROWS],
    units: [f32; PANEL_ROWS],
}

impl Scales {
    /// Those of nothing.
    pub(super) const NONE: Scales = Scales {
        scales: [[[0; 4]; PANEL_ROWS]; PAIRS],
        offsets: [[[0; 4]; PANEL_ROWS]; PAIRS],
        factors: [0.0; PANEL_ROWS],
        units: [0.0; PANEL_ROWS],
    };
}

/// See the head of the file.
pub(super) struct ByPair;

/// Whether a format's sums fit: those of a group less its middle into sixteen bits, those of a block, scaled, into what an f32
/// holds exactly.
const fn fits<F: Paired>() -> bool {
    const LARGEST_SCALE: i64 = 63;
    match F::CORRECTION {
        Correction::Pairs(middle) => {
            let group = F::GROUP as i64 * middle as i64 * 127;
            let shape = F::LEN == CHUNK && F::SPAN == CHUNK && F::GROUP == 32;
            shape && group < 1 << 15 && LARGEST_SCALE * group * (F::LEN / F::GROUP) as i64 <= 1 << 24
        }
        Correction::Zero(_) | Correction::Offset => false,
    }
}

impl<F: Paired> Way<F> for ByPair {
    type Scales = Scales;

    #[inline(always)]
    fn direct_tile<S: Simd, const C: usize>(
        simd: S,
        activations: &Activations,
        blocks: RowBlocks<'_, F>,
        lane: usize,
        (token, row): (usize, usize),
        out: &mut Sums<'_>,
    ) {
        const { assert!(fits::<F>(), "a format that is scaled in pairs") };
        let mut totals = [simd.splat(0.0); C];
        for chunk in 0..activations.depth() / CHUNK {
            let x: &[Chunk; C] = columns(activations.chunk(chunk), token);
            let block = blocks.block(chunk, lane);
            let factors = F::factors(simd, block);
            let mut offsets = [simd.splat_i32(0); PAIRS];
            let mut scaled = [simd.splat_i32(0); C];
            let mut integers = [simd.splat_i32(0); C];
            // Run by run, and how many is not known to the compiler: it would load much of the next too soon, and spill it.
            for run in 0..runs_of(activations, chunk) {
                if token == 0 {
                    blocks.prefetch(simd, chunk, run, CHUNK / 32);
                }
                for c in 0..C {
                    integers[c] = above(simd, integers[c], simd.splat_i32(x[c].start(run)));
                }
                for quad in 0..8 {
                    let numbers = F::numbers(simd, block, run, quad);
                    for c in 0..C {
                        let x = activation_quad(simd, &x[c], run * 8 + quad);
                        integers[c] = simd.dot_seven_bits(integers[c], numbers, x);
                    }
                }
                if run % 2 == 1 {
                    let scales = F::scales(simd, block, run / 2);
                    offsets[run / 2] = F::offsets(simd, block, factors, run / 2);
                    for c in 0..C {
                        scaled[c] = scale(simd, scaled[c], integers[c], scales);
                        integers[c] = simd.splat_i32(0);
                    }
                }
            }
            for c in 0..C {
                let mut shift = simd.splat_i32(0);
                for (pair, &offsets) in offsets.iter().enumerate() {
                    shift = simd.dot_pairs(shift, simd.splat_i32(x[c].pair(pair)), offsets);
                }
                totals[c] = add_block(simd, totals[c], (scaled[c], shift), factors, simd.splat(x[c].scale(0)));
            }
        }
        for (c, total) in totals.into_iter().enumerate() {
            simd.store_slice(total, &mut out.of(token + c)[row..][..S::LANES]);
        }
    }

    #[inline(always)]
    fn unpack_scales<S: Simd>(simd: S, block: RowBlock<'_>, (run, _): (usize, usize), scales: &mut Scales, row: usize) {
        if !run.is_multiple_of(2) {
            return;
        }
        let (pair, [factors, units]) = (run / 2, F::factors(simd, block));
        simd.store_slice(factors, &mut scales.factors[row..][..S::LANES]);
        simd.store_slice(units, &mut scales.units[row..][..S::LANES]);
        let to = &mut scales.scales[pair][row..][..S::LANES];
        // SAFETY: the slice has `LANES` times four bytes.
        unsafe { simd.store_int(F::scales(simd, block, pair), to.as_mut_ptr().cast()) }
        let to = &mut scales.offsets[pair][row..][..S::LANES];
        // SAFETY: as above.
        unsafe { simd.store_int(F::offsets(simd, block, [factors, units], pair), to.as_mut_ptr().cast()) }
    }

    #[inline(always)]
    fn multiply_panel<S: Simd>(
        simd: S,
        product: &Product<'_>,
        chunk: usize,
        panel: &Panel<Scales>,
        ahead: Ahead<'_>,
        sums: &mut Sums<'_>,
    ) {
        let tile = Pairs { quads: F::GROUP / 4, first: chunk == 0 };
        multiply_tiles(simd, Tiles { tile, panel, x: product.activations.chunk(chunk), ahead, sums });
    }
}

/// Moves the sum of a pair's first group up and begins that of its second.
#[inline(always)]
fn above<S: Simd>(simd: S, first: S::Int, start: S::Int) -> S::Int {
    simd.add_i32(simd.shift_left(first, 16), start)
}

/// Adds both sums of a pair, scaled.
#[inline(always)]
fn scale<S: Simd>(simd: S, scaled: S::Int, integers: S::Int, scales: S::Int) -> S::Int {
    simd.dot_pairs(scaled, simd.xor(integers, simd.splat_i32(FLIPPED)), scales)
}

/// Adds a block to the sum of a row.
#[inline(always)]
fn add_block<S: Simd>(
    simd: S,
    total: S::F32,
    (scaled, shift): (S::Int, S::Int),
    [factors, units]: [S::F32; 2],
    activation_scale: S::F32,
) -> S::F32 {
    let sum = simd.mul_add(simd.to_f32(shift), units, simd.mul(simd.to_f32(scaled), factors));
    simd.mul_add(sum, activation_scale, total)
}

/// The pairs of a panel's chunk.
#[derive(Clone, Copy)]
struct Pairs {
    /// Quads of numbers in a group: unknown to the compiler, see [`multiply_tiles`].
    quads: usize,
    /// Whether they are the first of their rows: there are no sums yet.
    first: bool,
}

impl Tile for Pairs {
    type Scales = Scales;

    #[inline(always)]
    fn add<S: Simd, const C: usize>(
        &self,
        simd: S,
        panel: &Panel<Scales>,
        x: &[Chunk; C],
        token: usize,
        out: &mut Sums<'_>,
    ) {
        for row in (0..PANEL_ROWS).step_by(2 * S::LANES) {
            let mut scaled = [[simd.splat_i32(0); 2]; C];
            for pair in 0..PAIRS {
                let mut integers = [[simd.splat_i32(0); 2]; C];
                for c in 0..C {
                    integers[c] = [simd.splat_i32(x[c].start(2 * pair)); 2];
                }
                self.add_group(simd, panel, x, (row, 2 * pair), &mut integers);
                for c in 0..C {
                    let start = simd.splat_i32(x[c].start(2 * pair + 1));
                    integers[c] = [above(simd, integers[c][0], start), above(simd, integers[c][1], start)];
                }
                self.add_group(simd, panel, x, (row, 2 * pair + 1), &mut integers);
                let scales = integer_vectors(simd, &panel.scales.scales[pair], row);
                for c in 0..C {
                    scaled[c][0] = scale(simd, scaled[c][0], integers[c][0], scales[0]);
                    scaled[c][1] = scale(simd, scaled[c][1], integers[c][1], scales[1]);
                }
            }
            let mut shifts = [[simd.splat_i32(0); 2]; C];
            for pair in 0..PAIRS {
                let offsets = integer_vectors(simd, &panel.scales.offsets[pair], row);
                for c in 0..C {
                    let sums = simd.splat_i32(x[c].pair(pair));
                    shifts[c][0] = simd.dot_pairs(shifts[c][0], sums, offsets[0]);
                    shifts[c][1] = simd.dot_pairs(shifts[c][1], sums, offsets[1]);
                }
            }
            let factors = vectors(simd, &panel.scales.factors, row);
            let units = vectors(simd, &panel.scales.units, row);
            for c in 0..C {
                let totals = out.of(token + c);
                let before = if self.first { [simd.splat(0.0); 2] } else { vectors(simd, totals, row) };
                let activation_scale = simd.splat(x[c].scale(0));
                for half in 0..2 {
                    let integers = (scaled[c][half], shifts[c][half]);
                    let after = add_block(simd, before[half], integers, [factors[half], units[half]], activation_scale);
                    simd.store_slice(after, &mut totals[row + half * S::LANES..][..S::LANES]);
                }
            }
        }
    }
}

impl Pairs {
    /// Adds the products of a group.
    #[inline(always)]
    fn add_group<S: Simd, const C: usize>(
        &self,
        simd: S,
        panel: &Panel<Scales>,
        x: &[Chunk; C],
        (row, group): (usize, usize),
        integers: &mut [[S::Int; 2]; C],
    ) {
        for quad in group * self.quads..(group + 1) * self.quads {
            let numbers = integer_vectors(simd, &panel.numbers[quad], row);
            for c in 0..C {
                let x = activation_quad(simd, &x[c], quad);
                integers[c][0] = simd.dot_seven_bits(integers[c][0], numbers[0], x);
                integers[c][1] = simd.dot_seven_bits(integers[c][1], numbers[1], x);
            }
        }
    }
}
