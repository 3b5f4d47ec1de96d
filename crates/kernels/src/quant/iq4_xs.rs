//! IQ4_XS: 256 weights, d (half), a 16-bit word with the high two bits of eight scales, 4 bytes with their low nibbles,
//! 128 bytes of nibbles that point into a table, 16 bytes per 32 weights. Weight =
//! `d * (scale - 32) * table[nibble]`.
//! It is only read here. Next: `quant/codebook.rs`.

use super::Block;
use super::codebook::{NON_LINEAR, NON_LINEAR_UNSIGNED, decode_nibbles};
use super::half_float::read_half;
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, field, nibbles};
use crate::isa::Simd;

pub(super) struct Iq4Xs;

const SCALES_HIGH: usize = 2;
const SCALES_LOW: usize = 4;
const NIBBLES: usize = 8;
const _: () = assert!(NIBBLES + 128 == 136);

impl Block<136, 256> for Iq4Xs {
    #[inline(always)]
    fn decode(block: &[u8; 136], weights: &mut [f32; 256]) {
        let d = read_half(block, 0);
        let high = u16::from_le_bytes([block[SCALES_HIGH], block[SCALES_HIGH + 1]]);
        for (run, weights) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = i32::from(block[SCALES_LOW + run / 2] >> (run % 2 * 4) & 15);
            let scale = low | i32::from(high >> (run * 2) & 3) << 4;
            decode_nibbles(block, NIBBLES + run * 16, &NON_LINEAR, d * (scale - 32) as f32, weights);
        }
    }
}

impl Interleaved for Iq4Xs {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Pairs(1), Run::Bytes(6), Run::Quads(32)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Zero(128);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        simd.lookup(&NON_LINEAR_UNSIGNED, nibbles(simd, block, NIBBLES + run * 16, quad))
    }
}

impl Scaled for Iq4Xs {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        let low = field(simd, block.bytes(simd, SCALES_LOW + group / 2), group % 2 * 4, 4);
        let high = field(simd, block.bytes(simd, SCALES_HIGH + group / 4), group % 4 * 2, 2);
        let scale = simd.to_f32(simd.or(low, simd.shift_left(high, 4)));
        simd.mul(header[0], simd.sub(scale, simd.splat(32.0)))
    }
}
