//! Causal grouped-query attention over paged keys and values, with a window and a soft-cap where a family has them.
//!
//! Softmax is taken in one pass over blocks of eight pages (Milakov and Gimelshein 2018; Dao et al. 2022). Blocks begin at
//! absolute positions, so a query adds in the same order whether its prompt came at once, in pieces or token by token:
//!
//! ```text
//! m = -inf, l = 0, acc = 0
//! for each block with visible positions, ascending:
//!     s[j] = Σ_d q[d] k[j][d], d ascending;  -inf where j is not visible
//!     M = max(m, max_j s[j]);  c = 2^((m - M) e);  p[j] = 2^((s[j] - M) e)      // e = scale log2 e
//!     l = l c + Σ_j p[j];  acc = acc c, then + p[j] v[j], j ascending;  m = M
//! out = acc / l
//! ```
//!
//! With a soft-cap `s[j] = cap tanh(scale s[j] / cap)` comes before the maximum, and e = log2 e.
//!
//! Where a page is seen in part, a tile has queries that see the same of it: nothing that a query does not see touches it,
//! were it infinite. The query heads of a group, and the rows of one piece of work, share each load of a key or value, also
//! rows of different sequences where these have a page in common: a system prompt is gone through once for all who share it.
//!
//! The products are those of the stored elements: in f32 (`attention/float.rs`), or of integers of sixteen bits
//! (`attention/integer.rs`), which are twice as many in a vector.

mod float;
mod integer;

use std::cell::RefCell;
use std::ops::Range;

use crate::disjoint::Scattered;
use crate::isa::{Kernel, Simd};
use crate::kv::{KvArena, KvPart, KvSpan, PAGE_LEN, Strip};
use crate::math::exp2_nonpositive;
use crate::ops::elementwise::capped;
use crate::{KvElement, Runtime};
use float::Floats;
use integer::Integers;

/// What one layer's attention looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// `H`: query heads.
    pub heads: usize,
    /// `Hkv`: key/value heads; query head `h` reads key/value head `h / (H / Hkv)`.
    pub kv_heads: usize,
    /// `Dh`
    pub head_dim: usize,
    /// What scores are multiplied by, above 0.
    pub scale: f32,
    /// Scores become cap * tanh(score / cap).
    pub softcap: Option<f32>,
    /// Visible positions, the query's own included; all up to its own without one.
    pub window: Option<usize>,
}

/// Positions of a block: eight pages, so that the reductions of a softmax are few beside its products.
const BLOCK_LEN: usize = 8 * PAGE_LEN;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Attends from the queries `q` `[T, H, Dh]` of each span to the keys and values that its pages hold up to each query's
/// own position; writes those rows of `out` `[T, H, Dh]`. Spans share no row; pages they may share. The keys and values of their
/// own rows were stored before.
///
/// # Panics
/// When spans overlap or reach outside of `q`, shapes do not fit each other, or the scale is not above 0.
pub fn attention(
    runtime: &Runtime,
    shape: &AttentionShape,
    arena: &KvArena,
    layer: usize,
    q: &[f32],
    spans: &[KvSpan<'_>],
    out: &mut [f32],
) {
    let AttentionShape { heads, kv_heads, head_dim, window, .. } = *shape;
    assert!(kv_heads == arena.shape().kv_heads && head_dim == arena.shape().head_dim, "attention: the arena's shape");
    assert!(heads % kv_heads == 0 && window != Some(0), "attention: whole groups, and a window of at least one");
    assert!(shape.scale > 0.0, "attention: a scale above zero, or the largest score would not be the largest weight");
    assert!(q.len() == out.len(), "attention: q and out are [T, H, Dh]");
    let (group, row_len) = (heads / kv_heads, heads * head_dim);
    let (mut rows, mut work) = (Vec::new(), 0);
    let mut sharing: Vec<&KvSpan<'_>> = spans.iter().collect();
    // Who shares pages shares the first ones, and stands side by side.
    sharing.sort_by_key(|span| (span.pages, span.position));
    for (number, span) in sharing.into_iter().enumerate() {
        let row =
            |index| Row { index: span.row + index, span: number, position: span.position + index, pages: span.pages };
        rows.extend((0..span.len).map(row));
        let seen = span.position + span.len;
        work += 2 * span.len * row_len * window.map_or(seen, |window| window.min(seen));
    }
    let pieces = pieces(&rows, window, rows_per_piece(rows.len(), group, kv_heads, runtime.threads()));
    let indices: Vec<usize> = rows.iter().map(|row| row.index).collect();
    runtime.for_each_part((out, row_len), group * head_dim, (&indices, &pieces), work, |piece, columns, out| {
        let kv_head = columns.start / (group * head_dim);
        let queries = Queries { shape, q, group, rows: &rows[pieces[piece].clone()], arena, layer, kv_head };
        SCRATCH.with_borrow_mut(|Scratch { carried, floats, integers }| match arena.shape().element {
            KvElement::I16 => runtime.vectorize(Attend { queries, out, carried, products: integers }),
            KvElement::F32 | KvElement::F16 | KvElement::Q8_0 => {
                runtime.vectorize(Attend { queries, out, carried, products: floats });
            }
        });
    });
}

/// A row of queries and where it stands in its sequence.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    /// Its place in `q` and `out`.
    index: usize,
    /// The number of its span; the rows of a span follow each other.
    span: usize,
    position: usize,
    /// The pages of its sequence.
    pages: &'a [u32],
}

impl Row<'_> {
    /// The positions that it sees.
    #[inline(always)]
    fn visible(&self, window: Option<usize>) -> Range<usize> {
        let end = self.position + 1;
        window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Whether at least half of what either row sees lies in pages that both begin with: else going through their pages
    /// together saves little, and takes the nearer caches from both.
    fn shares_most_with(&self, other: &Row<'_>, window: Option<usize>) -> bool {
        if self.span == other.span {
            return true;
        }
        let common = self.pages.iter().zip(other.pages).take_while(|(own, others)| own == others).count() * PAGE_LEN;
        [self, other]
            .map(|row| row.visible(window))
            .iter()
            .all(|seen| 2 * common.min(seen.end) >= seen.start + seen.end)
    }
}

/// Cuts rows into pieces of work of at most `most` rows each, all of which share most of their pages with the first.
fn pieces(rows: &[Row<'_>], window: Option<usize>, most: usize) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let joins = |piece: &Range<usize>| {
            // What the row before has been asked holds for all of a span.
            let is_known = row.span == rows[index - 1].span && window.is_none();
            piece.len() < most && (is_known || row.shares_most_with(&rows[piece.start], window))
        };
        match pieces.last_mut() {
            Some(piece) if joins(piece) => piece.end += 1,
            _ => pieces.push(index..index + 1),
        }
    }
    pieces
}

/// Rows of queries that make a piece of work: enough queries to share what is widened, few enough to keep all threads busy
/// to the end, and whole tiles of all of them.
fn rows_per_piece(rows: usize, group: usize, kv_heads: usize, threads: usize) -> usize {
    const FEWEST_QUERIES: usize = 32;
    const MOST_QUERIES: usize = 96;
    /// What every tile's number of columns divides.
    const TILE: usize = 6;
    let even = rows * kv_heads / (4 * threads);
    // A thread with nothing to do is worse than a load that is not shared.
    let busy = (rows * kv_heads / threads).max(1);
    let fewest = FEWEST_QUERIES.div_ceil(group).min(busy);
    let rows = (MOST_QUERIES / group).min(even).max(fewest);
    (fewest..=rows).rev().find(|rows| (rows * group).is_multiple_of(TILE)).unwrap_or(rows)
}

/// Rows times the query heads of one group: query `row * group + member`. The rows of a span follow each other.
struct Queries<'a> {
    shape: &'a AttentionShape,
    /// `[T, H, Dh]`
    q: &'a [f32],
    group: usize,
    rows: &'a [Row<'a>],
    /// Whose keys and values they meet.
    arena: &'a KvArena,
    layer: usize,
    kv_head: usize,
}

/// Rows of a piece of work that see something of one page.
struct Sharers {
    page: u32,
    rows: Range<usize>,
}

impl Queries<'_> {
    fn count(&self) -> usize {
        self.rows.len() * self.group
    }

    /// The keys or values of a page.
    #[inline(always)]
    fn strip(&self, part: KvPart, page: u32) -> Strip<'_> {
        self.arena.strip(self.layer, page, part, self.kv_head)
    }

    /// `[Dh]`
    #[inline(always)]
    fn query(&self, query: usize) -> &[f32] {
        let AttentionShape { heads, head_dim, .. } = *self.shape;
        let head = self.kv_head * self.group + query % self.group;
        &self.q[(self.rows[query / self.group].index * heads + head) * head_dim..][..head_dim]
    }

    /// The positions that a row sees.
    #[inline(always)]
    fn visible(&self, row: usize) -> Range<usize> {
        self.rows[row].visible(self.shape.window)
    }

    /// All positions that some row sees.
    fn visible_to_any(&self) -> Range<usize> {
        let (mut start, mut end) = (usize::MAX, 0);
        for row in 0..self.rows.len() {
            let visible = self.visible(row);
            (start, end) = (start.min(visible.start), end.max(visible.end));
        }
        start..end
    }

    /// The part of a span of positions that a row sees, as offsets in the span.
    #[inline(always)]
    fn visible_in(&self, row: usize, span: Range<usize>) -> Range<usize> {
        let visible = self.visible(row);
        let clamp = |position: usize| position.clamp(span.start, span.end) - span.start;
        clamp(visible.start)..clamp(visible.end)
    }

    /// [`Queries::visible_in`] the `index`th page of its sequence.
    #[inline(always)]
    fn visible_in_page(&self, row: usize, index: usize) -> Range<usize> {
        self.visible_in(row, index * PAGE_LEN..(index + 1) * PAGE_LEN)
    }

    /// The next rows, from row `from` on, that see something of one page, which is the `index`th of their sequences.
    fn sharers(&self, index: usize, from: usize) -> Option<Sharers> {
        let sees = |row: usize| !self.visible_in_page(row, index).is_empty();
        let start = (from..self.rows.len()).find(|&row| sees(row))?;
        let (page, last) = (self.rows[start].pages[index], self.rows.len() - 1);
        // Within a span, who stands between two that see something sees something.
        if self.rows[start].span == self.rows[last].span && sees(last) {
            return Some(Sharers { page, rows: start..last + 1 });
        }
        let shares = |row: usize| sees(row) && self.rows[row].pages[index] == page;
        let end = (start + 1..=last).find(|&row| !shares(row)).unwrap_or(last + 1);
        Some(Sharers { page, rows: start..end })
    }

    /// All positions of the `index`th page that some of these rows see.
    #[inline(always)]
    fn seen_of_page(&self, index: usize, rows: Range<usize>) -> Range<usize> {
        let (first, last) = (self.visible_in_page(rows.start, index), self.visible_in_page(rows.end - 1, index));
        if self.rows[rows.start].span == self.rows[rows.end - 1].span {
            return first.start..last.end;
        }
        let union = |seen: Range<usize>, row| {
            let own = self.visible_in_page(row, index);
            seen.start.min(own.start)..seen.end.max(own.end)
        };
        rows.fold(first, union)
    }

    /// Up to where the rows see the same of a page as the first of them.
    fn end_of_alike(&self, index: usize, rows: Range<usize>) -> usize {
        let (seen, last) = (self.visible_in_page(rows.start, index), rows.end - 1);
        let is_alike = |row: usize| self.visible_in_page(row, index) == seen;
        if self.rows[rows.start].span == self.rows[last].span && is_alike(last) {
            return rows.end;
        }
        (rows.start + 1..rows.end).find(|&row| !is_alike(row)).unwrap_or(rows.end)
    }
}

/// Which strip is being gone over, and for whom.
struct Place {
    part: KvPart,
    /// Its page, and the number of that in each sequence.
    page: u32,
    index: usize,
    rows: Range<usize>,
}

impl Place {
    /// Where the page's positions begin in their block.
    #[inline(always)]
    fn offset(&self) -> usize {
        self.index % (BLOCK_LEN / PAGE_LEN) * PAGE_LEN
    }
}

/// The products of queries with keys and of weights with values, for elements of one kind. It holds memory of a thread, so as
/// not to take it anew for each piece of work.
///
/// Everything here must be `#[inline(always)]`, so that it is compiled for the instruction set of its caller.
trait Products {
    /// Begins a piece of work.
    fn begin<S: Simd>(&mut self, simd: S, queries: &Queries<'_>);
    /// Scores the rows of a place against its keys, or adds its values to their sums.
    fn over<S: Simd>(&mut self, simd: S, queries: &Queries<'_>, place: &Place, state: &mut State<'_>);
    /// Told of each query, in ascending order, that its scores of the block became weights, of the positions `visible` of it.
    fn weigh<S: Simd>(
        &mut self,
        simd: S,
        queries: &Queries<'_>,
        query: usize,
        visible: Range<usize>,
        state: &State<'_>,
    );
    /// Told that the values of a block were added.
    fn end_block<S: Simd>(&mut self, simd: S, queries: &Queries<'_>, state: &mut State<'_>);
}

/// A piece of work.
struct Attend<'a, P> {
    queries: Queries<'a>,
    out: Scattered<'a, f32>,
    carried: &'a mut Vec<f32>,
    products: &'a mut P,
}

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    /// What [`State`] lies in.
    carried: Vec<f32>,
    floats: Floats,
    integers: Integers,
}

/// What is carried from block to block, one entry or row per query.
struct State<'a> {
    /// The block, counted from the first position.
    block: usize,
    /// `[Q]`: the largest score so far.
    max: &'a mut [f32],
    /// `[Q]`: the sum of weights relative to that.
    total: &'a mut [f32],
    /// `[Q, BLOCK_LEN]`: scores, then weights, of the current block.
    weights: &'a mut [f32],
    /// `[Q, Dh]`: the weighted sum of values.
    sums: &'a mut [f32],
}

impl<'a> State<'a> {
    /// The state before the first block.
    fn new(carried: &'a mut Vec<f32>, count: usize, head_dim: usize) -> State<'a> {
        carried.resize(count * (2 + BLOCK_LEN + head_dim), 0.0);
        let (max, rest) = carried.split_at_mut(count);
        let (total, rest) = rest.split_at_mut(count);
        let (weights, sums) = rest.split_at_mut(count * BLOCK_LEN);
        max.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        sums.fill(0.0);
        State { block: 0, max, total, weights, sums }
    }
}

impl<P: Products> Kernel for Attend<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Attend { queries, mut out, carried, products } = self;
        let (count, head_dim) = (queries.count(), queries.shape.head_dim);
        let mut state = State::new(carried, count, head_dim);
        products.begin(simd, &queries);

        let Range { start: first, end } = queries.visible_to_any();
        let pages_of_block = BLOCK_LEN / PAGE_LEN;
        let end_page = end.div_ceil(PAGE_LEN);
        for page in first / PAGE_LEN..end_page.min((first / BLOCK_LEN + 1) * pages_of_block) {
            prefetch(simd, &queries, KvPart::Keys, page);
        }
        for block in first / BLOCK_LEN..end.div_ceil(BLOCK_LEN) {
            state.block = block;
            let positions = block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
            let pages = first.max(positions.start) / PAGE_LEN..end.min(positions.end).div_ceil(PAGE_LEN);
            // Pages lie anywhere: what is needed in a block's time is asked for now.
            for page in pages.clone() {
                prefetch(simd, &queries, KvPart::Values, page);
                over_page(simd, &queries, KvPart::Keys, page, products, &mut state);
            }
            for query in 0..count {
                let visible = queries.visible_in(query / queries.group, positions.clone());
                softmax(simd, queries.shape, visible.clone(), query, &mut state);
                products.weigh(simd, &queries, query, visible, &state);
            }
            for page in pages.clone() {
                // The first block of a window may have begun in its middle.
                let next = if page == pages.start { (block + 1) * pages_of_block } else { page + pages_of_block };
                for next in next..end_page.min(page + pages_of_block + 1) {
                    prefetch(simd, &queries, KvPart::Keys, next);
                }
                over_page(simd, &queries, KvPart::Values, page, products, &mut state);
            }
            products.end_block(simd, &queries, &mut state);
        }
        for query in 0..count {
            let out = &mut out.row(query / queries.group)[query % queries.group * head_dim..][..head_dim];
            let total = state.total[query];
            for (out, sum) in out.iter_mut().zip(&state.sums[query * head_dim..]) {
                *out = sum / total;
            }
        }
    }
}

/// Asks for the keys or values of the `index`th page of all sequences.
#[inline(always)]
fn prefetch<S: Simd>(simd: S, queries: &Queries<'_>, part: KvPart, index: usize) {
    let mut from = 0;
    while let Some(Sharers { page, rows }) = queries.sharers(index, from) {
        let (start, bytes) = queries.strip(part, page).place();
        for at in (0..bytes).step_by(64) {
            simd.prefetch(start.wrapping_add(at));
        }
        from = rows.end;
    }
}

/// Scores all queries against the keys of the `index`th page of their sequences, or adds its values to the sums of all.
#[inline(always)]
fn over_page<S: Simd, P: Products>(
    simd: S,
    queries: &Queries<'_>,
    part: KvPart,
    index: usize,
    products: &mut P,
    state: &mut State<'_>,
) {
    let mut from = 0;
    while let Some(Sharers { page, rows }) = queries.sharers(index, from) {
        from = rows.end;
        products.over(simd, queries, &Place { part, page, index, rows }, state);
    }
}

/// Turns a query's raw scores of a block into weights relative to the largest score so far, and brings its state there. In the
/// vectors of positions that it sees those that it does not see weigh nothing; of others nothing is said.
#[inline(always)]
fn softmax<S: Simd>(simd: S, shape: &AttentionShape, visible: Range<usize>, query: usize, state: &mut State<'_>) {
    let scores = &mut state.weights[query * BLOCK_LEN..][..BLOCK_LEN];
    if visible.is_empty() {
        return;
    }
    let vectors = visible.start / S::LANES * S::LANES..visible.end.next_multiple_of(S::LANES);
    let mut exponent = shape.scale * std::f32::consts::LOG2_E;
    if let Some(cap) = shape.softcap {
        for score in scores[vectors.clone()].chunks_exact_mut(S::LANES) {
            let scaled = simd.mul(simd.load_slice(score), simd.splat(shape.scale));
            simd.store_slice(capped(simd, scaled, simd.splat(cap)), score);
        }
        exponent = std::f32::consts::LOG2_E;
    }
    scores[vectors.start..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..vectors.end].fill(f32::NEG_INFINITY);
    let scores = &mut scores[vectors];
    let mut largest = simd.splat(f32::NEG_INFINITY);
    for score in scores.chunks_exact(S::LANES) {
        largest = simd.max(largest, simd.load_slice(score));
    }
    let before = state.max[query];
    let max = before.max(simd.max_lane(largest));
    let mut sums = simd.splat(0.0);
    for score in scores.chunks_exact_mut(S::LANES) {
        let weights = weight(simd, simd.load_slice(score), max, exponent);
        sums = simd.add(sums, weights);
        simd.store_slice(weights, score);
    }
    let mut total = simd.sum(sums);
    if before != max {
        let mut correction = [0.0];
        simd.store_slice(weight(simd, simd.splat(before), max, exponent), &mut correction);
        total += state.total[query] * correction[0];
        let head_dim = shape.head_dim;
        for sum in &mut state.sums[query * head_dim..][..head_dim] {
            *sum *= correction[0];
        }
    } else {
        // The correction is exactly 1.
        total += state.total[query];
    }
    (state.max[query], state.total[query]) = (max, total);
}

/// What scores weigh beside the largest of all. Not a closure: see `ops/matmul/integer.rs`.
#[inline(always)]
fn weight<S: Simd>(simd: S, scores: S::F32, max: f32, exponent: f32) -> S::F32 {
    exp2_nonpositive(simd, simd.mul(simd.sub(scores, simd.splat(max)), simd.splat(exponent)))
}

#[cfg(test)]
mod tests;
