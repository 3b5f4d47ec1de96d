//! Q5_K: 256 weights, d and dmin (halves), 12 bytes of scales and minima per 32 weights, 32 bytes of fifth bits (bit r
//! of byte j for weight j of the r-th 32), 128 bytes of nibbles in the order of Q4_K.
//! Weight = d * scale * q - dmin * minimum.
//! It does not know how the scales are chosen. Next: `quant/q4_k.rs`, `quant/super_block.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::half_float::{HALF_MAX, read_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, bit_at, paired_nibbles};
use super::k_scales::{PACKED_LEN, Part, six_bits, unpack};
use super::super_block::SuperBlock;
use crate::isa::Simd;

pub(super) struct Q5K;

const MINIMUM: usize = 2;
const SCALES: usize = 4;
const FIFTH_BITS: usize = SCALES + PACKED_LEN;
const NIBBLES: usize = FIFTH_BITS + 32;
const _: () = assert!(NIBBLES + 128 == 176);

impl Block<176, 256> for Q5K {
    #[inline(always)]
    fn decode(block: &[u8; 176], weights: &mut [f32; 256]) {
        let d = read_half(block, 0);
        let dmin = read_half(block, MINIMUM);
        let (scales, minima) = unpack(block[SCALES..].first_chunk().expect("twelve bytes of scales; this is a bug"));
        let fifth_bits = &block[FIFTH_BITS..][..32];
        for (run, weights) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let nibbles = &block[NIBBLES + run / 2 * 32..][..32];
            let shift = run % 2 * 4;
            let scale = d * f32::from(scales[run]);
            let minimum = dmin * f32::from(minima[run]);
            for j in 0..32 {
                let fifth = i32::from(fifth_bits[j]) >> run & 1;
                let q = i32::from(nibbles[j]) >> shift & 15 | fifth << 4;
                weights[j] = scale * q as f32 - minimum;
            }
        }
    }
}

impl Interleaved for Q5K {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Pairs(2), Run::Bytes(PACKED_LEN), Run::Quads(40)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Offset;

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        let fifth = bit_at(simd, block.quads(simd, FIFTH_BITS + quad * 4), run, 4);
        simd.or(paired_nibbles(simd, block, NIBBLES, run, quad), fifth)
    }
}

impl Scaled for Q5K {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.sub(simd.splat(0.0), block.halves(simd, MINIMUM))]
    }

    #[inline(always)]
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        simd.mul(header[0], simd.to_f32(six_bits(simd, block, SCALES, Part::Scales, group)))
    }

    #[inline(always)]
    fn offset<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        simd.mul(header[1], simd.to_f32(six_bits(simd, block, SCALES, Part::Minima, group)))
    }
}

impl EncodeBlock<176, 256> for Q5K {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 256], importance: &[f32; 256], block: &mut [u8; 176]) {
        let fitted = SuperBlock::fit(simd, weights, importance, 31.0);
        block.fill(0);
        block[..FIFTH_BITS].copy_from_slice(&fitted.header());
        for (run, quants) in fitted.quants.as_chunks::<32>().0.iter().enumerate() {
            for j in 0..32 {
                block[FIFTH_BITS + j] |= quants[j] >> 4 << run;
                block[NIBBLES + run / 2 * 32 + j] |= (quants[j] & 15) << (run % 2 * 4);
            }
        }
    }
}
