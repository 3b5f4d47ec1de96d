//! Q4_K: 256 weights, d and dmin (halves), 12 bytes of scales and minima per 32 weights, 128 bytes of nibbles; each
//! 64 weights share 32 bytes, the first 32 weights low, the next 32 high. Weight = d * scale * q - dmin * minimum.
//! It does not know how the scales are chosen. Next: `quant/k_scales.rs`, `quant/super_block.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::half_float::{HALF_MAX, read_half};
use super::interleaved::{Correction, Interleaved, Paired, RowBlock, Run, paired_nibbles};
use super::k_scales::{PACKED_LEN, Part, six_bits, unpack};
use super::super_block::SuperBlock;
use crate::isa::Simd;

pub(super) struct Q4K;

const MINIMUM: usize = 2;
const SCALES: usize = 4;
const NIBBLES: usize = SCALES + PACKED_LEN;
const _: () = assert!(NIBBLES + 128 == 144);

impl Block<144, 256> for Q4K {
    #[inline(always)]
    fn decode(block: &[u8; 144], weights: &mut [f32; 256]) {
        let d = read_half(block, 0);
        let dmin = read_half(block, MINIMUM);
        let (scales, minima) = unpack(block[SCALES..].first_chunk().expect("twelve bytes of scales; this is a bug"));
        for (pair, weights) in weights.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let nibbles = &block[NIBBLES + pair * 32..][..32];
            let (low, high) = weights.split_at_mut(32);
            let scale = [0, 1].map(|side| d * f32::from(scales[pair * 2 + side]));
            let minimum = [0, 1].map(|side| dmin * f32::from(minima[pair * 2 + side]));
            for j in 0..32 {
                low[j] = scale[0] * i32::from(nibbles[j] & 15) as f32 - minimum[0];
                high[j] = scale[1] * i32::from(nibbles[j] >> 4) as f32 - minimum[1];
            }
        }
    }
}

impl Interleaved for Q4K {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Pairs(2), Run::Bytes(PACKED_LEN), Run::Quads(32)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Pairs(8);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        paired_nibbles(simd, block, NIBBLES, run, quad)
    }
}

/// A weight is `d * scale * (q - 8) + (8 * d * scale - dmin * minimum)`.
impl Paired for Q4K {
    #[inline(always)]
    fn factors<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        // No offset is larger than this, with scales and minima of six bits.
        let (d, dmin) = (simd.abs(block.halves(simd, 0)), simd.abs(block.halves(simd, MINIMUM)));
        let largest = simd.mul_add(d, simd.splat(8.0 * 63.0), simd.mul(dmin, simd.splat(63.0)));
        [block.halves(simd, 0), simd.mul(largest, simd.splat(1.0 / 32_767.0))]
    }

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: RowBlock<'_>, pair: usize) -> S::Int {
        let first = six_bits(simd, block, SCALES, Part::Scales, 2 * pair);
        simd.or(simd.shift_left(first, 16), six_bits(simd, block, SCALES, Part::Scales, 2 * pair + 1))
    }

    #[inline(always)]
    fn offsets<S: Simd>(simd: S, block: RowBlock<'_>, [d, unit]: [S::F32; 2], pair: usize) -> S::Int {
        let zero = simd.splat(0.0);
        // A block of zeros has no unit to divide by.
        let per_unit = simd.select_less(zero, unit, simd.div(simd.splat(1.0), unit), zero);
        let middle = simd.mul(simd.mul(d, simd.splat(8.0)), per_unit);
        let minimum = simd.mul(block.halves(simd, MINIMUM), per_unit);
        let first = offset(simd, block, 2 * pair, middle, minimum);
        let second = offset(simd, block, 2 * pair + 1, middle, minimum);
        simd.or(simd.shift_left(first, 16), simd.and(second, simd.splat_i32(0xffff)))
    }
}

/// `scale * middle - minimum` of a group, rounded. Not a closure: those are not always inlined, and then not compiled for the
/// instruction set.
#[inline(always)]
fn offset<S: Simd>(simd: S, block: RowBlock<'_>, group: usize, middle: S::F32, minimum: S::F32) -> S::Int {
    let scale = simd.to_f32(six_bits(simd, block, SCALES, Part::Scales, group));
    let minima = simd.to_f32(six_bits(simd, block, SCALES, Part::Minima, group));
    simd.to_i32(simd.round(simd.sub(simd.mul(scale, middle), simd.mul(minima, minimum))))
}

impl EncodeBlock<144, 256> for Q4K {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 256], importance: &[f32; 256], block: &mut [u8; 144]) {
        let fitted = SuperBlock::fit(simd, weights, importance, 15.0);
        block[..NIBBLES].copy_from_slice(&fitted.header());
        for pair in 0..4 {
            for j in 0..32 {
                let low = fitted.quants[pair * 64 + j];
                let high = fitted.quants[pair * 64 + 32 + j];
                block[NIBBLES + pair * 32 + j] = low | high << 4;
            }
        }
    }
}
