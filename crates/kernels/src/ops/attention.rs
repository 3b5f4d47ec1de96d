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
//! What is not stored as f32 is widened once for many queries, in registers for a few. Widening is exact (a byte times a scale
//! of 11 bits has its place in an f32), so both ways give the same bits. Against the oracle, over the numbers that are stored,
//! the error is at most `2e-6 + 2e-6 * max|score|` times the largest value.

use std::cell::RefCell;
use std::ops::Range;

use crate::Runtime;
use crate::disjoint::Scattered;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::kv::{KvArena, KvPart, KvSpan, PAGE_LEN, SCALED, Strip};
use crate::math::exp2_nonpositive;
use crate::ops::elementwise::capped;

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
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
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
        let queries = Queries { shape, q, group, kv_head, rows: &rows[pieces[piece].clone()] };
        SCRATCH.with_borrow_mut(|scratch| {
            runtime.vectorize(Attend { queries, arena, layer, out, scratch });
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
    kv_head: usize,
    rows: &'a [Row<'a>],
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

struct Attend<'a> {
    queries: Queries<'a>,
    arena: &'a KvArena,
    layer: usize,
    out: Scattered<'a, f32>,
    scratch: &'a mut Vec<f32>,
}

/// What is carried from block to block, one entry or row per query.
struct State<'a> {
    /// `[Q]`: the largest score so far.
    max: &'a mut [f32],
    /// `[Q]`: the sum of weights relative to that.
    total: &'a mut [f32],
    /// `[Q, BLOCK_LEN]`: scores, then weights, of the current block.
    weights: &'a mut [f32],
    /// `[Q, Dh]`: the weighted sum of values.
    sums: &'a mut [f32],
}

impl Kernel for Attend<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (count, head_dim) = (self.queries.count(), self.queries.shape.head_dim);
        let strip_len = PAGE_LEN * head_dim;
        let mut scratch = std::mem::take(self.scratch);
        let scales_len = PAGE_LEN * head_dim.div_ceil(SCALED);
        scratch.resize(strip_len + scales_len + count * (2 + BLOCK_LEN + head_dim), 0.0);
        let (wide, rest) = scratch.split_at_mut(strip_len + scales_len);
        let (max, rest) = rest.split_at_mut(count);
        let (total, rest) = rest.split_at_mut(count);
        let (weights, rest) = rest.split_at_mut(count * BLOCK_LEN);
        let sums = &mut rest[..count * head_dim];
        max.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        sums.fill(0.0);
        let mut state = State { max, total, weights, sums };

        let Range { start: first, end } = self.queries.visible_to_any();
        let pages_of_block = BLOCK_LEN / PAGE_LEN;
        let end_page = end.div_ceil(PAGE_LEN);
        for page in first / PAGE_LEN..end_page.min((first / BLOCK_LEN + 1) * pages_of_block) {
            self.prefetch(simd, KvPart::Keys, page);
        }
        for block in first / BLOCK_LEN..end.div_ceil(BLOCK_LEN) {
            let positions = block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
            let pages = first.max(positions.start) / PAGE_LEN..end.min(positions.end).div_ceil(PAGE_LEN);
            // Pages lie anywhere: what is needed in a block's time is asked for now.
            for page in pages.clone() {
                self.prefetch(simd, KvPart::Values, page);
                self.over_page::<S>(simd, KvPart::Keys, page, wide, &mut state);
            }
            for query in 0..count {
                let visible = self.queries.visible_in(query / self.queries.group, positions.clone());
                softmax(simd, self.queries.shape, visible, query, &mut state);
            }
            for page in pages.clone() {
                // The first block of a window may have begun in its middle.
                let next = if page == pages.start { (block + 1) * pages_of_block } else { page + pages_of_block };
                for next in next..end_page.min(page + pages_of_block + 1) {
                    self.prefetch(simd, KvPart::Keys, next);
                }
                self.over_page::<S>(simd, KvPart::Values, page, wide, &mut state);
            }
        }
        for query in 0..count {
            let out =
                &mut self.out.row(query / self.queries.group)[query % self.queries.group * head_dim..][..head_dim];
            let total = state.total[query];
            for (out, sum) in out.iter_mut().zip(&state.sums[query * head_dim..]) {
                *out = sum / total;
            }
        }
        *self.scratch = scratch;
    }
}

impl Attend<'_> {
    /// Asks for the keys or values of the `index`th page of all sequences.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, part: KvPart, index: usize) {
        let mut from = 0;
        while let Some(Sharers { page, rows }) = self.queries.sharers(index, from) {
            let (start, bytes) = match self.arena.strip(self.layer, page, part, self.queries.kv_head) {
                Strip::F32(elements) => (elements.as_ptr().cast(), size_of_val(elements)),
                Strip::F16(elements) => (elements.as_ptr().cast(), size_of_val(elements)),
                // The scales lie behind the bytes.
                Strip::Q8_0(bytes, halves) => (bytes.as_ptr().cast::<u8>(), size_of_val(bytes) + size_of_val(halves)),
            };
            for at in (0..bytes).step_by(64) {
                simd.prefetch(start.wrapping_add(at));
            }
            from = rows.end;
        }
    }

    /// Scores all queries against the keys of the `index`th page of their sequences, or adds its values to the sums of all.
    #[inline(always)]
    fn over_page<S: Simd>(&self, simd: S, part: KvPart, index: usize, wide: &mut [f32], state: &mut State<'_>) {
        let head_dim = self.queries.shape.head_dim;
        let (wide, scales) = wide.split_at_mut(PAGE_LEN * head_dim);
        let mut from = 0;
        while let Some(Sharers { page, rows }) = self.queries.sharers(index, from) {
            from = rows.end;
            let is_few = rows.len() * self.queries.group <= S::PAIR_COLUMNS;
            let place = Place { part, index, rows };
            match self.arena.strip(self.layer, page, part, self.queries.kv_head) {
                Strip::F32(elements) => self.tiles(simd, Plain { elements }, &place, state),
                Strip::F16(elements) if is_few => self.tiles(simd, Plain { elements }, &place, state),
                Strip::F16(elements) => {
                    widen(simd, elements, wide);
                    self.tiles(simd, Plain { elements: &*wide }, &place, state);
                }
                Strip::Q8_0(bytes, halves) => {
                    widen(simd, halves, scales);
                    let scaled = Scaled { bytes, scales, head_dim };
                    if is_few {
                        self.tiles(simd, scaled, &place, state);
                        continue;
                    }
                    match part {
                        KvPart::Keys => scaled.widen_keys(simd, wide),
                        KvPart::Values => scaled.widen_values(simd, wide),
                    }
                    self.tiles(simd, Plain { elements: &*wide }, &place, state);
                }
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, R: Read>(&self, simd: S, strip: R, place: &Place, state: &mut State<'_>) {
        let (group, Range { start: mut row, end }) = (self.queries.group, place.rows.clone());
        while row < end {
            // Values are added only for queries that see the same of the page: a weight of zero would not undo an infinite
            // value. Of scores those that nobody sees are not looked at.
            let alike = match place.part {
                KvPart::Keys => end,
                KvPart::Values => self.queries.end_of_alike(place.index, row..end),
            };
            let visible = self.queries.visible_in_page(row, place.index);
            let mut start = row * group;
            while start < alike * group {
                // As even as possible: a tile of one or two queries takes nearly as long as a full one.
                let left = alike * group - start;
                let len = left.div_ceil(left.div_ceil(S::PAIR_COLUMNS));
                // Known to the compiler, or it would compile tiles that this instruction set never has: for minutes.
                let len = len.min(S::PAIR_COLUMNS);
                match len {
                    1 => self.tile::<S, R, 1>(simd, strip, place, (start, &visible), state),
                    2 => self.tile::<S, R, 2>(simd, strip, place, (start, &visible), state),
                    3 => self.tile::<S, R, 3>(simd, strip, place, (start, &visible), state),
                    4 => self.tile::<S, R, 4>(simd, strip, place, (start, &visible), state),
                    5 => self.tile::<S, R, 5>(simd, strip, place, (start, &visible), state),
                    _ => self.tile::<S, R, 6>(simd, strip, place, (start, &visible), state),
                }
                start += len;
            }
            row = alike;
        }
    }

    /// `C` queries from `start` on, who see the positions `visible` of the page where its values are added.
    #[inline(always)]
    fn tile<S: Simd, R: Read, const C: usize>(
        &self,
        simd: S,
        strip: R,
        place: &Place,
        (start, visible): (usize, &Range<usize>),
        state: &mut State<'_>,
    ) {
        let queries = &self.queries;
        let head_dim = queries.shape.head_dim;
        let offset = place.index % (BLOCK_LEN / PAGE_LEN) * PAGE_LEN;
        let weights = &mut state.weights[start * BLOCK_LEN..(start + C) * BLOCK_LEN];
        if place.part == KvPart::Keys {
            let mut q: [&[f32]; C] = [&[]; C];
            for (c, q) in q.iter_mut().enumerate() {
                *q = queries.query(start + c);
            }
            return score::<S, R, C>(simd, q, strip, &mut weights[offset..]);
        }
        let sums = &mut state.sums[start * head_dim..(start + C) * head_dim];
        let (weights, mut d) = (&weights[offset..], 0);
        while d + 2 * S::LANES <= head_dim {
            add_values::<S, R, C, 2>(simd, weights, visible, strip, head_dim, sums, d);
            d += 2 * S::LANES;
        }
        while d + S::LANES <= head_dim {
            add_values::<S, R, C, 1>(simd, weights, visible, strip, head_dim, sums, d);
            d += S::LANES;
        }
        if d < head_dim {
            add_last_values::<S, R, C>(simd, weights, visible, strip, head_dim, sums, d);
        }
    }
}

/// Which strip is being gone over, and for whom.
struct Place {
    part: KvPart,
    /// The number of its page in each sequence.
    index: usize,
    rows: Range<usize>,
}

/// A strip that is read as f32, exactly.
trait Read: Copy {
    /// Whether it holds as many elements as a page of heads this wide.
    fn is_page_of(self, head_dim: usize) -> bool;
    /// Element `d` of the keys of `LANES` positions from `offset` on.
    ///
    /// # Safety
    /// `d < Dh` and `offset + LANES <= PAGE_LEN`.
    unsafe fn keys<S: Simd>(self, simd: S, d: usize, offset: usize) -> S::F32;
    /// `LANES` elements, from `d` on, of the value of position `j`.
    ///
    /// # Safety
    /// `j < PAGE_LEN` and `d + LANES <= Dh`, and `d` is a multiple of `LANES`.
    unsafe fn values<S: Simd>(self, simd: S, head_dim: usize, j: usize, d: usize) -> S::F32;
    /// One element of the value of position `j`.
    fn value(self, head_dim: usize, j: usize, d: usize) -> f32;
}

/// Elements that are numbers by themselves.
#[derive(Clone, Copy)]
struct Plain<'a, E> {
    elements: &'a [E],
}

impl<E: Element> Read for Plain<'_, E> {
    #[inline(always)]
    fn is_page_of(self, head_dim: usize) -> bool {
        self.elements.len() == PAGE_LEN * head_dim
    }

    #[inline(always)]
    unsafe fn keys<S: Simd>(self, simd: S, d: usize, offset: usize) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { E::load(simd, self.elements.as_ptr().add(d * PAGE_LEN + offset)) }
    }

    #[inline(always)]
    unsafe fn values<S: Simd>(self, simd: S, head_dim: usize, j: usize, d: usize) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { E::load(simd, self.elements.as_ptr().add(j * head_dim + d)) }
    }

    #[inline(always)]
    fn value(self, head_dim: usize, j: usize, d: usize) -> f32 {
        self.elements[j * head_dim + d].widened()
    }
}

/// Bytes with their scales `[ceil(Dh / SCALED), PAGE_LEN]`, which are widened already.
#[derive(Clone, Copy)]
struct Scaled<'a> {
    bytes: &'a [i8],
    scales: &'a [f32],
    head_dim: usize,
}

impl Read for Scaled<'_> {
    #[inline(always)]
    fn is_page_of(self, head_dim: usize) -> bool {
        self.bytes.len() == PAGE_LEN * head_dim && self.scales.len() == PAGE_LEN * head_dim.div_ceil(SCALED)
    }

    #[inline(always)]
    unsafe fn keys<S: Simd>(self, simd: S, d: usize, offset: usize) -> S::F32 {
        // SAFETY: the caller's promise, of the bytes and of the scales of the same positions.
        unsafe {
            let bytes = simd.load_i8(self.bytes.as_ptr().add(d * PAGE_LEN + offset).cast());
            simd.mul(simd.to_f32(bytes), simd.load(self.scales.as_ptr().add(d / SCALED * PAGE_LEN + offset)))
        }
    }

    #[inline(always)]
    unsafe fn values<S: Simd>(self, simd: S, head_dim: usize, j: usize, d: usize) -> S::F32 {
        const { assert!(SCALED.is_multiple_of(MOST_LANES)) };
        // SAFETY: the caller's promise. As `d` is a multiple of `LANES`, one scale is that of all lanes.
        unsafe {
            let bytes = simd.load_i8(self.bytes.as_ptr().add(j * head_dim + d).cast());
            simd.mul(simd.to_f32(bytes), simd.splat(*self.scales.get_unchecked(d / SCALED * PAGE_LEN + j)))
        }
    }

    #[inline(always)]
    fn value(self, head_dim: usize, j: usize, d: usize) -> f32 {
        f32::from(self.bytes[j * head_dim + d]) * self.scales[d / SCALED * PAGE_LEN + j]
    }
}

impl Scaled<'_> {
    /// Keys as f32 `[Dh, PAGE_LEN]`.
    #[inline(always)]
    fn widen_keys<S: Simd>(self, simd: S, wide: &mut [f32]) {
        assert!(self.is_page_of(self.head_dim) && wide.len() == PAGE_LEN * self.head_dim, "a strip and its place");
        for d in 0..self.head_dim {
            for offset in (0..PAGE_LEN).step_by(S::LANES) {
                // SAFETY: inside the strip by the loops, whose ends the assertion makes those of the slices.
                unsafe { simd.store(self.keys(simd, d, offset), wide.as_mut_ptr().add(d * PAGE_LEN + offset)) }
            }
        }
    }

    /// Values as f32 `[PAGE_LEN, Dh]`.
    #[inline(always)]
    fn widen_values<S: Simd>(self, simd: S, wide: &mut [f32]) {
        let head_dim = self.head_dim;
        assert!(self.is_page_of(head_dim) && wide.len() == PAGE_LEN * head_dim, "a strip and its place");
        for j in 0..PAGE_LEN {
            let mut d = 0;
            while d + S::LANES <= head_dim {
                // SAFETY: inside the strip by the loops, whose ends the assertion makes those of the slices.
                unsafe { simd.store(self.values(simd, head_dim, j, d), wide.as_mut_ptr().add(j * head_dim + d)) }
                d += S::LANES;
            }
            while d < head_dim {
                wide[j * head_dim + d] = self.value(head_dim, j, d);
                d += 1;
            }
        }
    }
}

/// An element that is a number by itself.
trait Element: Copy {
    /// Reads `LANES` of them as f32, exactly.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` elements.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::F32;
    /// One as f32.
    fn widened(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { simd.load(from) }
    }

    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const u16) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { simd.load_f16(from) }
    }

    #[inline(always)]
    fn widened(self) -> f32 {
        half::f16::from_bits(self).to_f32()
    }
}

/// Widens numbers in half precision.
#[inline(always)]
fn widen<S: Simd>(simd: S, strip: &[u16], wide: &mut [f32]) {
    assert!(strip.len() == wide.len() && strip.len().is_multiple_of(S::LANES), "strips and scales are whole vectors");
    for start in (0..strip.len()).step_by(S::LANES) {
        // SAFETY: both have `LANES` elements from `start` on, by the assertion above.
        unsafe { simd.store(simd.load_f16(strip.as_ptr().add(start)), wide.as_mut_ptr().add(start)) }
    }
}

/// The products of `C` queries `[Dh]` with the keys `[Dh, PAGE_LEN]` of a page, into `scores` `[C, BLOCK_LEN]`.
#[inline(always)]
fn score<S: Simd, R: Read, const C: usize>(simd: S, q: [&[f32]; C], keys: R, scores: &mut [f32]) {
    let head_dim = q[0].len();
    assert!(keys.is_page_of(head_dim) && PAGE_LEN.is_multiple_of(2 * S::LANES));
    for q in q {
        assert!(q.len() == head_dim);
    }
    for offset in (0..PAGE_LEN).step_by(2 * S::LANES) {
        let mut sums = [[simd.splat(0.0); 2]; C];
        for d in 0..head_dim {
            // SAFETY: `offset + 2 * LANES <= PAGE_LEN` and `d < head_dim`, so the reads end inside the keys and queries.
            unsafe {
                let (first, second) = (keys.keys(simd, d, offset), keys.keys(simd, d, offset + S::LANES));
                for c in 0..C {
                    let q = simd.splat(*q[c].get_unchecked(d));
                    sums[c][0] = simd.mul_add(q, first, sums[c][0]);
                    sums[c][1] = simd.mul_add(q, second, sums[c][1]);
                }
            }
        }
        for c in 0..C {
            let scores = &mut scores[c * BLOCK_LEN + offset..][..2 * S::LANES];
            simd.store_slice(sums[c][0], &mut scores[..S::LANES]);
            simd.store_slice(sums[c][1], &mut scores[S::LANES..]);
        }
    }
}

/// Turns a query's raw scores of a block into weights relative to the largest score so far, and brings its state there.
/// Of positions that it does not see nothing is said: nobody looks there.
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

/// sums += Σ weight * value over the visible positions of a page, for `C` queries and the `P` vectors of a head that begin
/// at `d`.
#[inline(always)]
fn add_values<S: Simd, R: Read, const C: usize, const P: usize>(
    simd: S,
    weights: &[f32],
    visible: &Range<usize>,
    values: R,
    head_dim: usize,
    sums: &mut [f32],
    d: usize,
) {
    assert!(visible.end <= PAGE_LEN && weights.len() >= (C - 1) * BLOCK_LEN + PAGE_LEN);
    assert!(
        values.is_page_of(head_dim)
            && d.is_multiple_of(S::LANES)
            && sums.len() == C * head_dim
            && d + P * S::LANES <= head_dim
    );
    let mut acc = [[simd.splat(0.0); P]; C];
    for c in 0..C {
        for p in 0..P {
            acc[c][p] = simd.load_slice(&sums[c * head_dim + d + p * S::LANES..][..S::LANES]);
        }
    }
    for j in visible.clone() {
        // SAFETY: `j < PAGE_LEN` and `d + P * LANES <= head_dim`, so the reads end inside the values and weights.
        unsafe {
            let mut value = [simd.splat(0.0); P];
            for (p, value) in value.iter_mut().enumerate() {
                *value = values.values(simd, head_dim, j, d + p * S::LANES);
            }
            for (c, acc) in acc.iter_mut().enumerate() {
                let weight = simd.splat(*weights.get_unchecked(c * BLOCK_LEN + j));
                for (acc, value) in acc.iter_mut().zip(value) {
                    *acc = simd.mul_add(weight, value, *acc);
                }
            }
        }
    }
    for c in 0..C {
        for p in 0..P {
            simd.store_slice(acc[c][p], &mut sums[c * head_dim + d + p * S::LANES..][..S::LANES]);
        }
    }
}

/// [`add_values`] of the values behind the last whole vector of a head, from `d` on.
#[inline(always)]
fn add_last_values<S: Simd, R: Read, const C: usize>(
    simd: S,
    weights: &[f32],
    visible: &Range<usize>,
    values: R,
    head_dim: usize,
    sums: &mut [f32],
    d: usize,
) {
    for c in 0..C {
        let target = c * head_dim + d..(c + 1) * head_dim;
        let mut acc = simd.load_slice(&sums[target.clone()]);
        for j in visible.clone() {
            let mut value = [0.0; MOST_LANES];
            for (value, d) in value.iter_mut().zip(d..head_dim) {
                *value = values.value(head_dim, j, d);
            }
            acc = simd.mul_add(simd.splat(weights[c * BLOCK_LEN + j]), simd.load_slice(&value), acc);
        }
        simd.store_slice(acc, &mut sums[target]);
    }
}

#[cfg(test)]
mod tests;
