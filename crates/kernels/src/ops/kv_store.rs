//! Puts new keys and values into their pages.

use crate::Runtime;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::kv::{KvArena, KvPart, KvSpan, PAGE_LEN, Pair, SCALED, StripMut};

/// How long a row of integers is, as a vector, so that its products with another do not overflow.
const LENGTH: f32 = 32_767.0;
/// The largest integer of a value. With larger ones the weights of a block, which they are multiplied by, would have to be
/// rounded to fewer levels, so that sums do not overflow.
pub(crate) const LARGEST_VALUE: i16 = 8_191;

/// Stores the rows of `k` and `v`, both `[T, Hkv, Dh]`, at the positions of `spans`. Elements are stored as computed,
/// rounded to half precision, ties to even, or rounded to bytes:
///
/// ```text
/// for each 32 elements x of a head's row:  scale = half(max |x| / 127);  byte = round(x / scale) in -127..=127
/// ```
///
/// What comes back as `scale * byte` lies within `max |x| / 250 + 4e-6` of `x`. To integers of sixteen bits a row `x` of a key or
/// a value is rounded whole:
///
/// ```text
/// a key:    scale = sqrt(Σ x²) / 32767;  number = round(x / scale)
/// a value:  scale = max |x| / 8191;      number = round(x / scale)
/// ```
///
/// Keys that are shorter than 1e-15 become zero, and values below 1e-26.
///
/// A row depends on itself alone.
///
/// # Panics
/// When a span reaches outside of the rows, the layer or its pages.
pub fn kv_store(runtime: &Runtime, arena: &mut KvArena, layer: usize, k: &[f32], v: &[f32], spans: &[KvSpan<'_>]) {
    assert_eq!(k.len(), v.len(), "kv_store: k and v have one shape");
    let (kv_heads, head_dim) = (arena.shape().kv_heads, arena.shape().head_dim);
    let row_len = kv_heads * head_dim;
    arena.for_each_head(runtime, k.len(), |part, head, mut strips| {
        let source = match part {
            KvPart::Keys => k,
            KvPart::Values => v,
        };
        for span in spans {
            for index in 0..span.len {
                let row = &source[(span.row + index) * row_len + head * head_dim..][..head_dim];
                let position = span.position + index;
                let page = span.pages[position / PAGE_LEN];
                let strip = strips.strip(layer, page);
                runtime.vectorize(Write { strip, part, offset: position % PAGE_LEN, row });
            }
        }
    });
}

/// Writes one head's row `[Dh]` of one position.
struct Write<'a> {
    strip: StripMut<'a>,
    part: KvPart,
    /// The position's place in its page.
    offset: usize,
    row: &'a [f32],
}

impl Kernel for Write<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (start, step) = match self.part {
            KvPart::Keys => (self.offset, PAGE_LEN),
            KvPart::Values => (self.offset * self.row.len(), 1),
        };
        match self.strip {
            StripMut::F32(strip) => put(&mut strip[start..], step, self.row),
            StripMut::F16(strip) => {
                let mut halves = [0; MOST_LANES];
                let chunks = strip[start..].chunks_mut(step * S::LANES);
                for (strip, row) in chunks.zip(self.row.chunks(S::LANES)) {
                    // SAFETY: the buffer has room for the lanes of any vector.
                    unsafe { simd.store_f16(simd.load_slice(row), halves.as_mut_ptr()) }
                    put(strip, step, &halves[..row.len()]);
                }
            }
            StripMut::I16(elements, scales) => {
                scales[self.offset] = put_pairs(simd, self.part, elements, self.offset, self.row);
            }
            StripMut::Q8_0(bytes, scales) => {
                for (block, row) in self.row.chunks(SCALED).enumerate() {
                    let place = &mut bytes[start + block * SCALED * step..];
                    scales[block * PAGE_LEN + self.offset] = put_bytes(simd, place, step, row);
                }
            }
        }
    }
}

/// Writes a row as integers of sixteen bits, and returns its scale.
#[inline(always)]
fn put_pairs<S: Simd>(simd: S, part: KvPart, elements: &mut [Pair], offset: usize, row: &[f32]) -> f32 {
    let (scale, inverse) = match part {
        KvPart::Keys => scale_by_length(simd, row),
        KvPart::Values => scale_by_largest(simd, row),
    };
    for (index, x) in row.chunks(S::LANES).enumerate() {
        let numbers = round(simd, x, inverse);
        for (d, &number) in (index * S::LANES..).zip(&numbers[..x.len()]) {
            match part {
                KvPart::Keys => elements[d / 2 * PAGE_LEN + offset][d % 2] = number,
                KvPart::Values => elements[offset / 2 * row.len() + d][offset % 2] = number,
            }
        }
    }
    scale
}

/// Writes the elements under one scale to every `step`th byte; returns the bits of the scale in half precision.
#[inline(always)]
fn put_bytes<S: Simd>(simd: S, bytes: &mut [i8], step: usize, row: &[f32]) -> u16 {
    let mut largest = simd.splat(0.0);
    let mut broken = simd.splat(0.0);
    for chunk in row.chunks(S::LANES) {
        let x = simd.load_slice(chunk);
        largest = simd.max(simd.abs(x), largest);
        broken = simd.mul_add(x, simd.splat(0.0), broken);
    }
    // Zero, unless an element is no finite number: then no number may come back, as in the other elements.
    let broken = simd.sum(broken);
    let (mut halves, mut widened) = ([0_u16; MOST_LANES], [0.0_f32; MOST_LANES]);
    // SAFETY: the buffer has room for the lanes of any vector, and is read after it was written.
    unsafe {
        simd.store_f16(simd.splat(simd.max_lane(largest) / 127.0 + broken), halves.as_mut_ptr());
        simd.store(simd.load_f16(halves.as_ptr()), widened.as_mut_ptr());
    }
    let inverse = if widened[0] > 0.0 { 1.0 / widened[0] } else { 0.0 };
    let mut rounded = [0_i8; MOST_LANES];
    for (chunk, target) in row.chunks(S::LANES).zip(bytes.chunks_mut(step * S::LANES)) {
        let x = simd.mul(simd.load_slice(chunk), simd.splat(inverse));
        let x = simd.round(simd.min(simd.max(x, simd.splat(-127.0)), simd.splat(127.0)));
        // SAFETY: the buffer has room for the lanes of any vector.
        unsafe { simd.store_i8(simd.to_i32(x), rounded.as_mut_ptr()) }
        put(target, step, &rounded[..chunk.len()]);
    }
    halves[0]
}

/// Rounds a row to integers whose length, as that of a vector, is 32767, and returns what they are multiplied by: no number if
/// an element is none. An element of `rounded` behind the row becomes zero.
#[inline(always)]
pub(crate) fn round_by_length<S: Simd>(simd: S, row: &[f32], rounded: &mut [i16]) -> f32 {
    let (scale, inverse) = scale_by_length(simd, row);
    rounded[row.len()..].fill(0);
    for (x, rounded) in row.chunks(S::LANES).zip(rounded.chunks_mut(S::LANES)) {
        rounded[..x.len()].copy_from_slice(&round(simd, x, inverse)[..x.len()]);
    }
    scale
}

/// What integers of the length 32767 are multiplied by to be the row, and what the row is multiplied by.
#[inline(always)]
fn scale_by_length<S: Simd>(simd: S, row: &[f32]) -> (f32, f32) {
    let mut squares = simd.splat(0.0);
    for x in row.chunks(S::LANES) {
        let x = simd.load_slice(x);
        squares = simd.mul_add(x, x, squares);
    }
    let squares = simd.sum(squares);
    // Squares of what is shorter than 1e-15 lose their digits.
    if squares < 1e-30 { (0.0, 0.0) } else { with_inverse(squares.sqrt() / LENGTH) }
}

/// The same for integers of which the largest is [`LARGEST_VALUE`].
#[inline(always)]
fn scale_by_largest<S: Simd>(simd: S, row: &[f32]) -> (f32, f32) {
    let (mut largest, mut total) = (simd.splat(0.0), simd.splat(0.0));
    for x in row.chunks(S::LANES) {
        let magnitude = simd.abs(simd.load_slice(x));
        largest = simd.max(largest, magnitude);
        // A maximum loses what is not a number, a sum does not.
        total = simd.add(total, magnitude);
    }
    let largest = if simd.sum(total).is_finite() { simd.max_lane(largest) } else { f32::NAN };
    with_inverse(largest / f32::from(LARGEST_VALUE))
}

/// Rows that are too small for what is computed with their scales become zero; what is no number must stay visible.
#[inline(always)]
fn with_inverse(scale: f32) -> (f32, f32) {
    const SMALLEST: f32 = 1e-30;
    match scale.is_finite() {
        true if scale < SMALLEST => (0.0, 0.0),
        true => (scale, 1.0 / scale),
        false => (f32::NAN, 0.0),
    }
}

/// At most `LANES` elements, multiplied and rounded; zeros of a row that has no inverse, be it broken.
#[inline(always)]
fn round<S: Simd>(simd: S, x: &[f32], inverse: f32) -> [i16; MOST_LANES] {
    let mut numbers = [0; MOST_LANES];
    if inverse == 0.0 {
        return numbers;
    }
    let rounded = simd.to_i32(simd.round(simd.mul(simd.load_slice(x), simd.splat(inverse))));
    // SAFETY: the buffer has room for the lanes of any vector.
    unsafe { simd.store_i16(rounded, numbers.as_mut_ptr()) }
    numbers
}

/// Writes a row to every `step`th element.
#[inline(always)]
fn put<T: Copy>(strip: &mut [T], step: usize, row: &[T]) {
    if step == 1 {
        strip[..row.len()].copy_from_slice(row);
    } else {
        for (to, &from) in strip.iter_mut().step_by(step).zip(row) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Strip;
    use crate::reference::testing::{on_every_isa, values};
    use crate::{KvElement, KvShape};

    const HEAD_DIM: usize = 80;

    /// What is stored of one row of keys and of values `[Dh]`, as f32.
    fn stored(runtime: &Runtime, row: &[f32], element: KvElement) -> [Vec<f32>; 2] {
        let (kv_heads, head_dim) = (1, row.len());
        let shape = KvShape { layers: 1, pages: 1, page_len: PAGE_LEN, kv_heads, head_dim, element };
        let mut arena = KvArena::new(shape).unwrap();
        kv_store(runtime, &mut arena, 0, row, row, &[KvSpan { row: 0, len: 1, position: 7, pages: &[0] }]);
        [KvPart::Keys, KvPart::Values].map(|part| {
            let (bytes, scales) = match arena.strip(0, 0, part, 0) {
                Strip::Q8_0(bytes, scales) => (bytes, scales),
                Strip::I16(pairs, scales) => {
                    let number = |d: usize| match part {
                        KvPart::Keys => pairs[d / 2 * PAGE_LEN + 7][d % 2],
                        KvPart::Values => pairs[7 / 2 * head_dim + d][7 % 2],
                    };
                    return (0..head_dim).map(|d| scales[7] * f32::from(number(d))).collect();
                }
                Strip::F16(_) | Strip::F32(_) => panic!("another element"),
            };
            let byte = |d: usize| if part == KvPart::Keys { bytes[d * PAGE_LEN + 7] } else { bytes[7 * head_dim + d] };
            let scale = |d: usize| half::f16::from_bits(scales[d / SCALED * PAGE_LEN + 7]).to_f32();
            (0..head_dim).map(|d| scale(d) * f32::from(byte(d))).collect()
        })
    }

    #[test]
    fn bytes_lie_within_the_stated_bound() {
        on_every_isa(1, |runtime, _| {
            for magnitude in [1e-9, 1e-6, 1e-4, 0.01, 1.0, 300.0, 1e6] {
                let row = values(HEAD_DIM, 5, magnitude);
                let [keys, others] = stored(runtime, &row, KvElement::Q8_0);
                assert_eq!(keys, others);
                for (row, stored) in row.chunks(SCALED).zip(keys.chunks(SCALED)) {
                    let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                    let bound = largest / 250.0 + 4e-6;
                    for (x, stored) in row.iter().zip(stored) {
                        assert!((x - stored).abs() <= bound, "{stored} for {x} beside {largest}");
                    }
                }
            }
        });
    }

    #[test]
    fn integers_lie_within_half_a_step() {
        on_every_isa(1, |runtime, _| {
            for (magnitude, head_dim) in [(1e-15, 80), (1e-6, 7), (1.0, 80), (300.0, 1), (1e6, 256)] {
                let row = values(head_dim, 5, magnitude);
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                let bounds = [length / 65_000.0, largest / 16_000.0];
                for (stored, bound) in stored(runtime, &row, KvElement::I16).iter().zip(bounds) {
                    for (x, stored) in row.iter().zip(stored) {
                        assert!((x - stored).abs() <= bound, "{stored} for {x}: {bound}");
                    }
                }
            }
            // Too little to be told from zero, the square of which is the smallest number, and none.
            for tiny in [0.0, 4.57e-23, 1e-32, 1e-40] {
                let [keys, values] = stored(runtime, &[tiny; 9], KvElement::I16);
                assert!(keys.iter().all(|&x| x == 0.0), "{tiny}: {keys:?}");
                assert!(values.iter().all(|&x| (x - tiny).abs() <= 1e-26), "{tiny}: {values:?}");
            }
        });
    }

    #[test]
    fn what_is_no_number_stays_none() {
        on_every_isa(1, |runtime, _| {
            for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut row = values(HEAD_DIM, 5, 1.0);
                row[40] = broken;
                let [keys, _] = stored(runtime, &row, KvElement::Q8_0);
                assert!(keys[32..64].iter().all(|x| !x.is_finite()) && keys[64].is_finite(), "{keys:?}");
                let rows = stored(runtime, &row, KvElement::I16);
                assert!(rows.iter().flatten().all(|x| x.is_nan()), "{rows:?}");
            }
        });
    }
}
