//! Integer products: interleaved weights times rounded activations.
//!
//! What becomes of the sums of a group of columns under one weight scale stands in `matmul/by_group.rs`, and for Q4_K in
//! `matmul/by_pair.rs`: integer sums are exact, and floats are added in one order whatever the number of rows, the tile or the
//! thread. Here is the way to there, which all formats share.
//!
//! Lanes are rows of weights, so nothing is ever added across a vector. For a few activations ([`Simd::DIRECT_ROWS`]) numbers go straight
//! from the row blocks into the dot products, up to eight activations at a time: unpacking them anew for each pass takes units
//! that dot products leave idle. For more, the numbers of 32 rows and one chunk are unpacked once into a panel of 8 KiB that
//! stays in the nearest cache and meets every row of activations, six at a time, two vectors by six columns of sums in
//! registers. Where all activations stay in the second cache, a panel's rows are gone through to their end, as they lie in
//! memory; of more, a chunk of all activations meets all panels of a piece of work before the next chunk does.
//!
//! The hot loops are written out: a closure in them is not always inlined, and is then not compiled for the instruction set.
//!
//! Beyond the rounding of activations the error is at most `(2 * K / 16 + 8) * 6e-8 * Σ |activation| * scale * number`
//! with the unsigned numbers that are stored, and of Q4_K what its rounded offsets add.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use super::Job;
use super::activations::{Activations, CHUNK, Chunk};
use super::by_group::{self, ByGroup};
use super::by_pair::{self, ByPair};
use crate::interleave::ROW_GROUP;
use crate::isa::{Kernel, Simd};
use crate::memory::Buffer;
use crate::ops::activation::{Activation, gate_row};
use crate::quant::{Interleaved, Paired, RowBlock, Scaled};
use crate::{Matrix, Runtime};

/// Rows of a panel.
pub(super) const PANEL_ROWS: usize = 2 * ROW_GROUP;
/// Quads of numbers in a chunk.
const QUADS: usize = CHUNK / 4;
/// Bytes that caches hold together.
const LINE: usize = 64;
/// Bytes ahead of those in use that are asked for: what arrives while a few kilobytes are multiplied. Processors look
/// ahead by themselves, but not beyond a page of 4 KiB.
const AHEAD: usize = 4096;

/// Multiplies the activations with each job's weights into its output.
pub(super) fn multiply(runtime: &Runtime, activations: &Activations, mut jobs: Vec<Job<'_>>) {
    let tokens = activations.tokens();
    let weights: Vec<Matrix<'_>> = jobs.iter().map(|(weights, _)| *weights).collect();
    let mut outs: Vec<(&mut [f32], usize)> =
        jobs.iter_mut().map(|(weights, out)| (&mut **out, weights.rows())).collect();
    let rows: usize = weights.iter().map(Matrix::rows).sum();
    let tile = (tokens, rows_per_task(tokens, rows, activations.depth(), runtime.threads()));
    runtime.for_each_tile(&mut outs, tile, rows * activations.depth() * tokens, |job, _, rows, mut out| {
        let len = rows.len();
        SUMS.with_borrow_mut(|[sums, _]| {
            let width = Product { activations, weights: weights[job], rows }.into_sums(runtime, sums);
            for (token, sums) in sums.chunks_exact(width).enumerate() {
                out.row(token).copy_from_slice(&sums[..len]);
            }
        });
    });
}

/// `out = activation(x · gateᵀ) * (x · upᵀ)`: as the two products and [`gated`](crate::gated) after each other, bit for
/// bit, but their outputs stay in the nearest caches. `out` is `[T, F]`.
pub(super) fn multiply_gated(
    runtime: &Runtime,
    activations: &Activations,
    activation: Activation,
    [gate, up]: [Matrix<'_>; 2],
    out: &mut [f32],
) {
    let (tokens, rows, depth) = (activations.tokens(), gate.rows(), activations.depth());
    let tile =
        (tokens, rows_per_task(tokens, 2 * rows, depth, runtime.threads()).div_ceil(2).next_multiple_of(PANEL_ROWS));
    runtime.for_each_tile(&mut [(out, rows)], tile, 2 * rows * depth * tokens, |_, _, rows, mut out| {
        SUMS.with_borrow_mut(|[gates, ups]| {
            let width = Product { activations, weights: gate, rows: rows.clone() }.into_sums(runtime, gates);
            Product { activations, weights: up, rows: rows.clone() }.into_sums(runtime, ups);
            for (token, (gate, up)) in gates.chunks_exact(width).zip(ups.chunks_exact(width)).enumerate() {
                gate_row(runtime, activation, &gate[..rows.len()], &up[..rows.len()], out.row(token));
            }
        });
    });
}

/// Whole panels of rows: few enough to keep all threads busy to the end, many enough to be worth taking and to write
/// whole runs of the output.
fn rows_per_task(tokens: usize, rows: usize, depth: usize, threads: usize) -> usize {
    /// Multiply-adds of a piece of work that takes some ten microseconds.
    const WORTH_TAKING: usize = 128 * 1024;
    /// Outputs that are adjacent: with fewer, many rows of a wide output cost more to find than to write.
    const ADJACENT: usize = 4 * PANEL_ROWS;
    let even = rows / (threads * 8);
    let worth = WORTH_TAKING / (tokens * depth);
    even.min(worth.max(ADJACENT)).max(1).next_multiple_of(PANEL_ROWS)
}

/// Some rows of interleaved weights times all activations.
pub(crate) struct Product<'a> {
    pub(super) activations: &'a Activations,
    weights: Matrix<'a>,
    /// From a multiple of [`PANEL_ROWS`] on.
    rows: Range<usize>,
}

impl Product<'_> {
    /// Writes the product to `sums` `[T, width]` and returns the width: the rows, padded to whole panels.
    fn into_sums(self, runtime: &Runtime, sums: &mut Buffer<f32>) -> usize {
        let product = self.weights.format().integer_product().expect("interleaved formats have one; this is a bug");
        let width = self.rows.len().next_multiple_of(PANEL_ROWS);
        sums.resize(self.activations.tokens() * width);
        product(runtime, &self, sums);
        width
    }
}

/// The numbers and scales of 32 rows and one chunk.
#[repr(C, align(64))]
pub(super) struct Panel<T> {
    pub(super) numbers: [[[u8; 4]; PANEL_ROWS]; QUADS],
    pub(super) scales: T,
}

thread_local! {
    static PANELS: RefCell<(Panel<by_group::Scales>, Panel<by_pair::Scales>)> = const {
        const NUMBERS: [[[u8; 4]; PANEL_ROWS]; QUADS] = [[[0; 4]; PANEL_ROWS]; QUADS];
        RefCell::new((
            Panel { numbers: NUMBERS, scales: by_group::Scales::NONE },
            Panel { numbers: NUMBERS, scales: by_pair::Scales::NONE },
        ))
    };
    /// What a piece of work makes of one or two matrices.
    static SUMS: RefCell<[Buffer<f32>; 2]> = RefCell::default();
}

/// The product of a format that is scaled group by group: writes `[T, rows, padded to whole panels]` to `sums`.
pub(crate) fn product<F: Scaled>(runtime: &Runtime, product: &Product<'_>, sums: &mut [f32]) {
    PANELS.with_borrow_mut(|(panel, _)| {
        runtime.vectorize(Multiply { product, sums, panel, way: PhantomData::<(F, ByGroup)> });
    });
}

/// The same of a format that is scaled by pairs of groups.
pub(crate) fn paired_product<F: Paired>(runtime: &Runtime, product: &Product<'_>, sums: &mut [f32]) {
    PANELS.with_borrow_mut(|(_, panel)| {
        runtime.vectorize(Multiply { product, sums, panel, way: PhantomData::<(F, ByPair)> });
    });
}

/// How the sums of a format's groups are scaled and added: the innermost loops.
///
/// Everything here must be `#[inline(always)]`, so that it is compiled for the instruction set of its caller.
pub(super) trait Way<F: Interleaved> {
    /// What a panel holds beside the numbers.
    type Scales;
    /// The products of `C` activations from `token` on with the rows of one vector, which are `lane` of `blocks`, and `row` of
    /// the panel in `out`: numbers come straight from the row blocks.
    fn direct_tile<S: Simd, const C: usize>(
        simd: S,
        activations: &Activations,
        blocks: RowBlocks<'_, F>,
        lane: usize,
        place: (usize, usize),
        out: &mut Sums<'_>,
    );
    /// Writes the scales of a run, whose number in the chunk and in `block` is `run`, from row `row` of the panel on.
    fn unpack_scales<S: Simd>(simd: S, block: RowBlock<'_>, run: (usize, usize), scales: &mut Self::Scales, row: usize);
    /// Adds the products of a panel, which holds one chunk of its rows, with all activations to the sums.
    fn multiply_panel<S: Simd>(
        simd: S,
        product: &Product<'_>,
        chunk: usize,
        panel: &Panel<Self::Scales>,
        ahead: Ahead<'_>,
        sums: &mut Sums<'_>,
    );
}

struct Multiply<'a, F: Interleaved, W: Way<F>> {
    product: &'a Product<'a>,
    sums: &'a mut [f32],
    panel: &'a mut Panel<W::Scales>,
    way: PhantomData<(F, W)>,
}

impl<F: Interleaved, W: Way<F>> Kernel for Multiply<'_, F, W> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Multiply { product, sums, panel, .. } = self;
        let rows = &product.rows;
        let width = rows.len().next_multiple_of(PANEL_ROWS);
        if product.activations.tokens() <= S::DIRECT_ROWS {
            for first in rows.clone().step_by(PANEL_ROWS) {
                let mut sums = Sums { values: sums, width, column: first - rows.start };
                direct::<S, F, W>(simd, product, first / ROW_GROUP, &mut sums);
            }
            return;
        }
        let order = Order::of(product.activations, rows.len());
        for step in 0..order.chunks * order.panels {
            let ((chunk, index), (next_chunk, next_index)) = (order.at(step), order.at(step + 1));
            let group = |index: usize| (rows.start + index * PANEL_ROWS) / ROW_GROUP;
            unpack_panel::<S, F, W>(simd, product, chunk, group(index), panel);
            let ahead = Ahead::to::<F>(product, next_chunk, group(next_index));
            let mut sums = Sums { values: sums, width, column: index * PANEL_ROWS };
            W::multiply_panel(simd, product, chunk, panel, ahead, &mut sums);
        }
    }
}

/// In which order the chunks of the panels of a piece of work are multiplied. Those of one panel follow each other in any.
#[derive(Clone, Copy)]
struct Order {
    chunks: usize,
    panels: usize,
    /// Whether a chunk meets all panels before the next.
    chunk_by_chunk: bool,
}

impl Order {
    #[inline(always)]
    fn of(activations: &Activations, rows: usize) -> Order {
        let (tokens, depth) = (activations.tokens(), activations.depth());
        let chunk_by_chunk = is_chunk_by_chunk(tokens, depth);
        Order { chunks: depth.div_ceil(CHUNK), panels: rows.div_ceil(PANEL_ROWS), chunk_by_chunk }
    }

    /// The chunk and the panel of a step.
    #[inline(always)]
    fn at(self, step: usize) -> (usize, usize) {
        match self.chunk_by_chunk {
            true => (step / self.panels, step % self.panels),
            false => (step % self.chunks, step / self.chunks),
        }
    }
}

/// Whether so many activations do not stay in the second cache. Those that do meet weights as these lie in memory, which is
/// fastest; others come from there chunk by chunk.
pub(super) fn is_chunk_by_chunk(tokens: usize, depth: usize) -> bool {
    const FEW_BYTES: usize = 256 * 1024;
    depth.div_ceil(CHUNK) * tokens * size_of::<Chunk>() > FEW_BYTES
}

/// The sums of one panel's rows among those of a piece of work.
pub(super) struct Sums<'a> {
    /// `[T, width]`
    values: &'a mut [f32],
    width: usize,
    /// Where the panel's rows begin.
    column: usize,
}

impl Sums<'_> {
    /// The panel's sums of one row of activations. `[PANEL_ROWS]`
    #[inline(always)]
    pub(super) fn of(&mut self, token: usize) -> &mut [f32; PANEL_ROWS] {
        let sums = &mut self.values[token * self.width + self.column..];
        sums.first_chunk_mut().expect("whole panels; this is a bug")
    }
}

/// Where the 32 columns `run` of a chunk stand: the block of a row, and the run of 32 in that block.
#[inline(always)]
pub(super) fn place<F: Interleaved>(chunk: usize, run: usize) -> (usize, usize) {
    let runs = F::LEN / 32;
    let run = chunk * (CHUNK / 32) + run;
    (run / runs, run % runs)
}

/// How many 32 columns a chunk has.
#[inline(always)]
pub(super) fn runs_of(activations: &Activations, chunk: usize) -> usize {
    (activations.depth() - chunk * CHUNK).min(CHUNK) / 32
}

/// The row blocks of a group of sixteen rows.
pub(super) struct RowBlocks<'a, F> {
    bytes: &'a [u8],
    format: PhantomData<F>,
}

impl<F> Clone for RowBlocks<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for RowBlocks<'_, F> {}

impl<'a, F: Interleaved> RowBlocks<'a, F> {
    /// Bytes of a row block: known to the compiler, so that it need not check where each vector stands in one.
    const BYTES: usize = ROW_GROUP * F::BLOCK_BYTES;

    /// None for a group behind the last row.
    #[inline(always)]
    fn of(weights: &Matrix<'a>, group: usize) -> Option<Self> {
        let exists = group * ROW_GROUP < weights.rows();
        exists.then(|| RowBlocks { bytes: weights.row_group(group), format: PhantomData })
    }

    #[inline(always)]
    pub(super) fn block(self, index: usize, lane: usize) -> RowBlock<'a> {
        RowBlock::new(&self.bytes[index * Self::BYTES..][..Self::BYTES], lane)
    }

    /// The blocks of one chunk; none behind the last.
    #[inline(always)]
    fn chunk(self, chunk: usize) -> &'a [u8] {
        let len = CHUNK / F::LEN * Self::BYTES;
        self.bytes.chunks(len).nth(chunk).unwrap_or_default()
    }

    /// Asks for what follows [`AHEAD`] of part `part` of `parts` of a block.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(self, simd: S, index: usize, part: usize, parts: usize) {
        let (start, len) = (index * Self::BYTES + part * Self::BYTES / parts, Self::BYTES / parts);
        for line in 0..len.div_ceil(LINE) {
            simd.prefetch(self.bytes.as_ptr().wrapping_add(start + AHEAD + LINE * line));
        }
    }
}

/// Products of two groups of rows with a few activations, numbers straight from the row blocks: all activations meet the rows
/// of one vector, which the nearer caches hold from the second pass on, before the next.
#[inline(always)]
fn direct<S: Simd, F: Interleaved, W: Way<F>>(simd: S, product: &Product<'_>, first_group: usize, sums: &mut Sums<'_>) {
    const { assert!(S::DIRECT_COLUMNS <= 8, "there are tiles of up to eight columns") };
    let tokens = product.activations.tokens();
    for half in 0..PANEL_ROWS / ROW_GROUP {
        let Some(blocks) = RowBlocks::<F>::of(&product.weights, first_group + half) else { break };
        for lane in (0..ROW_GROUP).step_by(S::LANES) {
            let at = half * ROW_GROUP + lane;
            let passes = tokens.div_ceil(S::DIRECT_COLUMNS);
            let mut token = 0;
            for pass in 0..passes {
                // As even as possible, and known to the compiler to be no more than there are registers for.
                let count = (tokens - token).div_ceil(passes - pass).min(S::DIRECT_COLUMNS);
                match count {
                    1 => W::direct_tile::<S, 1>(simd, product.activations, blocks, lane, (token, at), sums),
                    2 => W::direct_tile::<S, 2>(simd, product.activations, blocks, lane, (token, at), sums),
                    3 => W::direct_tile::<S, 3>(simd, product.activations, blocks, lane, (token, at), sums),
                    4 => W::direct_tile::<S, 4>(simd, product.activations, blocks, lane, (token, at), sums),
                    5 => W::direct_tile::<S, 5>(simd, product.activations, blocks, lane, (token, at), sums),
                    6 => W::direct_tile::<S, 6>(simd, product.activations, blocks, lane, (token, at), sums),
                    7 => W::direct_tile::<S, 7>(simd, product.activations, blocks, lane, (token, at), sums),
                    _ => W::direct_tile::<S, 8>(simd, product.activations, blocks, lane, (token, at), sums),
                }
                token += count;
            }
        }
    }
}

/// Four activations in every lane.
#[inline(always)]
pub(super) fn activation_quad<S: Simd>(simd: S, x: &Chunk, quad: usize) -> S::Int {
    let [a, b, c, d] = x.numbers.as_chunks::<4>().0[quad];
    simd.splat_i32(i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]))
}

/// Unpacks one chunk of two groups of rows.
#[inline(always)]
fn unpack_panel<S: Simd, F: Interleaved, W: Way<F>>(
    simd: S,
    product: &Product<'_>,
    chunk: usize,
    first_group: usize,
    panel: &mut Panel<W::Scales>,
) {
    let runs = runs_of(product.activations, chunk);
    for half in 0..PANEL_ROWS / ROW_GROUP {
        // Rows that are not there keep older numbers, whose products are dropped.
        let Some(blocks) = RowBlocks::<F>::of(&product.weights, first_group + half) else { continue };
        for lane in (0..ROW_GROUP).step_by(S::LANES) {
            let row = half * ROW_GROUP + lane;
            for run in 0..runs {
                let (index, run_in_block) = place::<F>(chunk, run);
                let block = blocks.block(index, lane);
                for quad in 0..8 {
                    let target = &mut panel.numbers[run * 8 + quad][row..][..S::LANES];
                    let numbers = F::numbers(simd, block, run_in_block, quad);
                    // SAFETY: the slice has `LANES` quads of bytes.
                    unsafe { simd.store_int(numbers, target.as_mut_ptr().cast()) }
                }
                W::unpack_scales(simd, block, (run, run_in_block), &mut panel.scales, row);
            }
        }
    }
}

/// What [`unpack_panel`] will read next. It is asked for little by little while a panel is multiplied: all at once, the
/// processor has no place for so many requests, and waits.
pub(super) struct Ahead<'a>([&'a [u8]; PANEL_ROWS / ROW_GROUP]);

impl<'a> Ahead<'a> {
    /// Nothing behind the last chunk or the last row. Behind its last step a piece of work may ask for the next one's
    /// weights, whoever takes that.
    #[inline(always)]
    fn to<F: Interleaved>(product: &Product<'a>, chunk: usize, first_group: usize) -> Ahead<'a> {
        let mut blocks: [&[u8]; PANEL_ROWS / ROW_GROUP] = [&[]; PANEL_ROWS / ROW_GROUP];
        for (half, bytes) in blocks.iter_mut().enumerate() {
            if let Some(blocks) = RowBlocks::<F>::of(&product.weights, first_group + half) {
                *bytes = blocks.chunk(chunk);
            }
        }
        Ahead(blocks)
    }

    /// Asks for some lines of each group.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, lines: Range<usize>) {
        for bytes in self.0 {
            for line in lines.start..lines.end.min(bytes.len().div_ceil(LINE)) {
                simd.prefetch(bytes.as_ptr().wrapping_add(LINE * line));
            }
        }
    }

    /// Lines of the longest.
    #[inline(always)]
    fn lines(&self) -> usize {
        self.0[0].len().div_ceil(LINE)
    }
}

/// The products of a panel with some rows of activations.
pub(super) trait Tile {
    /// What a panel holds beside the numbers.
    type Scales;
    /// Adds those with the rows of activations from `token` on, `C` of them.
    fn add<S: Simd, const C: usize>(
        &self,
        simd: S,
        panel: &Panel<Self::Scales>,
        x: &[Chunk; C],
        token: usize,
        sums: &mut Sums<'_>,
    );
}

/// All tiles of a panel.
pub(super) struct Tiles<'a, 's, T: Tile> {
    pub(super) tile: T,
    pub(super) panel: &'a Panel<T::Scales>,
    /// `[T]`
    pub(super) x: &'a [Chunk],
    pub(super) ahead: Ahead<'a>,
    pub(super) sums: &'a mut Sums<'s>,
}

impl<T: Tile> Kernel for Tiles<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Tiles { tile, panel, x, ahead, sums } = self;
        let tiles = x.len().div_ceil(S::PAIR_COLUMNS);
        let lines = ahead.lines().div_ceil(tiles);
        let mut token = 0;
        for index in 0..tiles {
            ahead.prefetch(simd, index * lines..(index + 1) * lines);
            // As even as possible: a tile of a few columns takes nearly as long as a full one.
            let count = (x.len() - token).div_ceil(tiles - index).min(S::PAIR_COLUMNS);
            match count {
                1 => tile.add::<S, 1>(simd, panel, columns(x, token), token, sums),
                2 => tile.add::<S, 2>(simd, panel, columns(x, token), token, sums),
                3 => tile.add::<S, 3>(simd, panel, columns(x, token), token, sums),
                4 => tile.add::<S, 4>(simd, panel, columns(x, token), token, sums),
                5 => tile.add::<S, 5>(simd, panel, columns(x, token), token, sums),
                _ => tile.add::<S, 6>(simd, panel, columns(x, token), token, sums),
            }
            token += count;
        }
    }
}

/// Multiplies all tiles of a panel.
///
/// It is compiled once for all formats with offsets, once for all without, once for those whose numbers have eight bits, and once
/// for those that are scaled in pairs.
/// It must not know how long a group is: compilers that do unroll the loop over a group and then go through it column by
/// column, where every sum waits for itself; going through it quad by quad is half as fast again.
#[inline(never)]
pub(super) fn multiply_tiles<S: Simd, T: Tile>(simd: S, tiles: Tiles<'_, '_, T>) {
    simd.vectorize(tiles);
}

/// `C` rows of activations from `token` on.
#[inline(always)]
pub(super) fn columns<const C: usize>(x: &[Chunk], token: usize) -> &[Chunk; C] {
    x[token..].first_chunk().expect("C rows of activations; this is a bug")
}

/// Two vectors of the values of a panel's rows, from row `row` on.
#[inline(always)]
pub(super) fn vectors<S: Simd>(simd: S, values: &[f32; PANEL_ROWS], row: usize) -> [S::F32; 2] {
    [simd.load_slice(&values[row..][..S::LANES]), simd.load_slice(&values[row + S::LANES..][..S::LANES])]
}

/// Two vectors of four bytes a row, from row `row` on.
#[inline(always)]
pub(super) fn integer_vectors<S: Simd>(simd: S, rows: &[[u8; 4]; PANEL_ROWS], row: usize) -> [S::Int; 2] {
    let rows = &rows[row..][..2 * S::LANES];
    // SAFETY: the slice has `2 * LANES` elements of four bytes.
    unsafe { [simd.load_int(rows.as_ptr().cast()), simd.load_int(rows[S::LANES..].as_ptr().cast())] }
}
