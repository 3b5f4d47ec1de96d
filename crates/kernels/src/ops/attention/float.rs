//! Attention's products in f32, of elements that are stored as f32, halves or bytes.
//!
//! What is not stored as f32 is widened once for many queries, in registers for a few. Widening is exact (a byte times a scale
//! of 11 bits has its place in an f32), so both ways give the same bits. Against the oracle, over the numbers that are stored,
//! the error is at most `2e-6 + 2e-6 * max|score|` times the largest value.
//! It does not know how scores become weights. Next: `ops/attention.rs`.

use std::ops::Range;

use super::{BLOCK_LEN, Place, Products, Queries, State};
use crate::isa::{MOST_LANES, Simd};
use crate::kv::{KvPart, PAGE_LEN, SCALED, Strip};

/// A page's keys or values, and their scales, as f32.
#[derive(Default)]
pub(super) struct Floats {
    wide: Vec<f32>,
}

impl Products for Floats {
    #[inline(always)]
    fn begin<S: Simd>(&mut self, _: S, queries: &Queries<'_>) {
        let head_dim = queries.shape.head_dim;
        self.wide.resize(PAGE_LEN * (head_dim + head_dim.div_ceil(SCALED)), 0.0);
    }

    #[inline(always)]
    fn over<S: Simd>(&mut self, simd: S, queries: &Queries<'_>, place: &Place, state: &mut State<'_>) {
        let head_dim = queries.shape.head_dim;
        let (wide, scales) = self.wide.split_at_mut(PAGE_LEN * head_dim);
        let is_few = place.rows.len() * queries.group <= S::PAIR_COLUMNS;
        match queries.strip(place.part, place.page) {
            Strip::F32(elements) => tiles(simd, queries, Plain { elements }, place, state),
            Strip::F16(elements) if is_few => tiles(simd, queries, Plain { elements }, place, state),
            Strip::F16(elements) => {
                widen(simd, elements, wide);
                tiles(simd, queries, Plain { elements: &*wide }, place, state);
            }
            Strip::Q8_0(bytes, halves) => {
                let scales = &mut scales[..halves.len()];
                widen(simd, halves, scales);
                let scaled = Scaled { bytes, scales, head_dim };
                if is_few {
                    return tiles(simd, queries, scaled, place, state);
                }
                match place.part {
                    KvPart::Keys => scaled.widen_keys(simd, wide),
                    KvPart::Values => scaled.widen_values(simd, wide),
                }
                tiles(simd, queries, Plain { elements: &*wide }, place, state);
            }
            Strip::I16(..) => unreachable!("integers have products of their own; this is a bug"),
        }
    }

    #[inline(always)]
    fn weigh<S: Simd>(&mut self, _: S, _: &Queries<'_>, _: usize, _: Range<usize>, _: &State<'_>) {}

    #[inline(always)]
    fn end_block<S: Simd>(&mut self, _: S, _: &Queries<'_>, _: &mut State<'_>) {}
}

#[inline(always)]
fn tiles<S: Simd, R: Read>(simd: S, queries: &Queries<'_>, strip: R, place: &Place, state: &mut State<'_>) {
    let (group, Range { start: mut row, end }) = (queries.group, place.rows.clone());
    while row < end {
        // Values are added only for queries that see the same of the page: a weight of zero would not undo an infinite
        // value. Of scores those that nobody sees are not looked at.
        let alike = match place.part {
            KvPart::Keys => end,
            KvPart::Values => queries.end_of_alike(place.index, row..end),
        };
        let visible = queries.visible_in_page(row, place.index);
        let mut start = row * group;
        while start < alike * group {
            // As even as possible: a tile of one or two queries takes nearly as long as a full one.
            let left = alike * group - start;
            let len = left.div_ceil(left.div_ceil(S::PAIR_COLUMNS));
            // Known to the compiler, or it would compile tiles that this instruction set never has: for minutes.
            let len = len.min(S::PAIR_COLUMNS);
            match len {
                1 => tile::<S, R, 1>(simd, queries, strip, place, (start, &visible), state),
                2 => tile::<S, R, 2>(simd, queries, strip, place, (start, &visible), state),
                3 => tile::<S, R, 3>(simd, queries, strip, place, (start, &visible), state),
                4 => tile::<S, R, 4>(simd, queries, strip, place, (start, &visible), state),
                5 => tile::<S, R, 5>(simd, queries, strip, place, (start, &visible), state),
                _ => tile::<S, R, 6>(simd, queries, strip, place, (start, &visible), state),
            }
            start += len;
        }
        row = alike;
    }
}

/// `C` queries from `start` on, who see the positions `visible` of the page where its values are added.
#[inline(always)]
fn tile<S: Simd, R: Read, const C: usize>(
    simd: S,
    queries: &Queries<'_>,
    strip: R,
    place: &Place,
    (start, visible): (usize, &Range<usize>),
    state: &mut State<'_>,
) {
    let head_dim = queries.shape.head_dim;
    let offset = place.offset();
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
