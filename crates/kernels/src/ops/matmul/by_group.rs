//! Sums that are scaled group by group, as floats: products of all formats but those of `matmul/by_pair.rs`.
//!
//! ```text
//! for each span of columns under one activation scale, ascending:
//!     sum = 0
//!     for each group of 16 or 32 columns under one weight scale, ascending:
//!         sum += scale[group] * Σ (number - zero) * activation         // integers, then one product
//!         sum += offset[group] * Σ activation                          // formats with offsets
//!     out += sum * activation scale
//! ```
//!
//! A sum of integers starts at `-zero * Σ activation`, for the stored numbers are unsigned. It does not know how a format is laid
//! out. Next: `matmul/integer.rs`.

use super::activations::{Activations, CHUNK, Chunk, MOST_GROUPS};
use super::integer::{
    Ahead, PANEL_ROWS, Panel, Product, RowBlocks, Sums, Tile, Tiles, Way, activation_quad, columns, integer_vectors,
    multiply_tiles, place, runs_of, vectors,
};
use crate::isa::Simd;
use crate::quant::{RowBlock, Scaled};

/// The scales and offsets of a panel.
pub(super) struct Scales {
    scales: [[f32; PANEL_ROWS]; MOST_GROUPS],
    offsets: [[f32; PANEL_ROWS]; MOST_GROUPS],
}

impl Scales {
    /// Those of nothing.
    pub(super) const NONE: Scales =
        Scales { scales: [[0.0; PANEL_ROWS]; MOST_GROUPS], offsets: [[0.0; PANEL_ROWS]; MOST_GROUPS] };
}

/// See the head of the file.
pub(super) struct ByGroup;

impl<F: Scaled> Way<F> for ByGroup {
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
        let mut totals = [simd.splat(0.0); C];
        for chunk in 0..activations.depth().div_ceil(CHUNK) {
            let x: &[Chunk; C] = columns(activations.chunk(chunk), token);
            let mut sums = [simd.splat(0.0); C];
            let runs = runs_of(activations, chunk);
            for run in 0..runs {
                let (index, run_in_block) = place::<F>(chunk, run);
                let block = blocks.block(index, lane);
                if token == 0 {
                    blocks.prefetch(simd, index, run_in_block, F::LEN / 32);
                }
                let header = F::header(simd, block);
                for part in 0..32 / F::GROUP {
                    let group = run * (32 / F::GROUP) + part;
                    let mut integers = [simd.splat_i32(0); C];
                    if !F::HAS_OFFSET {
                        for c in 0..C {
                            integers[c] = simd.splat_i32(x[c].start(group));
                        }
                    }
                    for quad in part * (F::GROUP / 4)..(part + 1) * (F::GROUP / 4) {
                        let numbers = F::numbers(simd, block, run_in_block, quad);
                        for c in 0..C {
                            let x = activation_quad(simd, &x[c], run * 8 + quad);
                            integers[c] = add_products::<S>(simd, F::HAS_EIGHT_BITS, integers[c], numbers, x);
                        }
                    }
                    let group_in_block = run_in_block * (32 / F::GROUP) + part;
                    let scale = F::scale(simd, block, header, group_in_block);
                    let offset = F::offset(simd, block, header, group_in_block);
                    for c in 0..C {
                        sums[c] = simd.mul_add(simd.to_f32(integers[c]), scale, sums[c]);
                        if F::HAS_OFFSET {
                            sums[c] = simd.mul_add(offset, simd.splat(x[c].factor(group)), sums[c]);
                        }
                    }
                }
                if (run + 1) * 32 % F::SPAN == 0 || run + 1 == runs {
                    for c in 0..C {
                        totals[c] = simd.mul_add(sums[c], simd.splat(x[c].scale(run * 32)), totals[c]);
                        sums[c] = simd.splat(0.0);
                    }
                }
            }
        }
        for (c, total) in totals.into_iter().enumerate() {
            simd.store_slice(total, &mut out.of(token + c)[row..][..S::LANES]);
        }
    }

    #[inline(always)]
    fn unpack_scales<S: Simd>(
        simd: S,
        block: RowBlock<'_>,
        (run, run_in_block): (usize, usize),
        scales: &mut Scales,
        row: usize,
    ) {
        let header = F::header(simd, block);
        for part in 0..32 / F::GROUP {
            let (group, group_in_block) = (run * (32 / F::GROUP) + part, run_in_block * (32 / F::GROUP) + part);
            let scale = F::scale(simd, block, header, group_in_block);
            simd.store_slice(scale, &mut scales.scales[group][row..][..S::LANES]);
            if F::HAS_OFFSET {
                let offset = F::offset(simd, block, header, group_in_block);
                simd.store_slice(offset, &mut scales.offsets[group][row..][..S::LANES]);
            }
        }
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
        let (count, span) = (runs_of(product.activations, chunk) * (32 / F::GROUP), F::SPAN / F::GROUP);
        let (len, first, x) = (F::GROUP, chunk == 0, product.activations.chunk(chunk));
        const { assert!(!(F::HAS_OFFSET && F::HAS_EIGHT_BITS), "no format has both") };
        match (F::HAS_OFFSET, F::HAS_EIGHT_BITS) {
            (true, _) => {
                let tile = Groups::<true, false> { count, len, span, first };
                multiply_tiles(simd, Tiles { tile, panel, x, ahead, sums });
            }
            (false, false) => {
                let tile = Groups::<false, false> { count, len, span, first };
                multiply_tiles(simd, Tiles { tile, panel, x, ahead, sums });
            }
            (false, true) => {
                let tile = Groups::<false, true> { count, len, span, first };
                multiply_tiles(simd, Tiles { tile, panel, x, ahead, sums });
            }
        }
    }
}

/// The dot product for numbers of so many bits; which is known where this is inlined.
#[inline(always)]
fn add_products<S: Simd>(simd: S, has_eight_bits: bool, sums: S::Int, numbers: S::Int, x: S::Int) -> S::Int {
    if has_eight_bits { simd.dot(sums, numbers, x) } else { simd.dot_seven_bits(sums, numbers, x) }
}

/// The groups of a panel's chunk, and what there is to know of their numbers.
#[derive(Clone, Copy)]
struct Groups<const HAS_OFFSET: bool, const HAS_EIGHT_BITS: bool> {
    count: usize,
    /// Weights in one.
    len: usize,
    /// Groups under one activation scale.
    span: usize,
    /// Whether they are the first of their rows: there are no sums yet.
    first: bool,
}

impl<const HAS_OFFSET: bool, const HAS_EIGHT_BITS: bool> Tile for Groups<HAS_OFFSET, HAS_EIGHT_BITS> {
    type Scales = Scales;

    /// Sums of a span stay in registers, those of a row do not: there are none left.
    #[inline(always)]
    fn add<S: Simd, const C: usize>(
        &self,
        simd: S,
        panel: &Panel<Scales>,
        x: &[Chunk; C],
        token: usize,
        out: &mut Sums<'_>,
    ) {
        let Groups { count, len, span, first } = *self;
        let quads = len / 4;
        for row in (0..PANEL_ROWS).step_by(2 * S::LANES) {
            let mut group = 0;
            while group < count {
                let (start, end) = (group, count.min(group + span));
                let mut sums = [[simd.splat(0.0); 2]; C];
                while group < end {
                    let mut integers = [[simd.splat_i32(0); 2]; C];
                    if !HAS_OFFSET {
                        for c in 0..C {
                            integers[c] = [simd.splat_i32(x[c].start(group)); 2];
                        }
                    }
                    for quad in group * quads..(group + 1) * quads {
                        let numbers = integer_vectors(simd, &panel.numbers[quad], row);
                        for c in 0..C {
                            let x = activation_quad(simd, &x[c], quad);
                            integers[c][0] = add_products::<S>(simd, HAS_EIGHT_BITS, integers[c][0], numbers[0], x);
                            integers[c][1] = add_products::<S>(simd, HAS_EIGHT_BITS, integers[c][1], numbers[1], x);
                        }
                    }
                    let scales = vectors(simd, &panel.scales.scales[group], row);
                    let offsets = vectors(simd, &panel.scales.offsets[group], row);
                    for c in 0..C {
                        sums[c][0] = simd.mul_add(simd.to_f32(integers[c][0]), scales[0], sums[c][0]);
                        sums[c][1] = simd.mul_add(simd.to_f32(integers[c][1]), scales[1], sums[c][1]);
                        if HAS_OFFSET {
                            let factor = simd.splat(x[c].factor(group));
                            sums[c][0] = simd.mul_add(offsets[0], factor, sums[c][0]);
                            sums[c][1] = simd.mul_add(offsets[1], factor, sums[c][1]);
                        }
                    }
                    group += 1;
                }
                for c in 0..C {
                    let totals = out.of(token + c);
                    let before = if first && start == 0 { [simd.splat(0.0); 2] } else { vectors(simd, totals, row) };
                    let scale = simd.splat(x[c].scale(start * len));
                    let after =
                        [simd.mul_add(sums[c][0], scale, before[0]), simd.mul_add(sums[c][1], scale, before[1])];
                    simd.store_slice(after[0], &mut totals[row..][..S::LANES]);
                    simd.store_slice(after[1], &mut totals[row + S::LANES..][..S::LANES]);
                }
            }
        }
    }
}
