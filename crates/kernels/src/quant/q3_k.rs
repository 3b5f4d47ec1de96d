//! Q3_K: 256 weights, 32 bytes of third bits, 64 bytes of two-bit numbers, 12 bytes of six-bit scales, d (half).
//! Weight = d * (scale - 32) * (two bits - (third bit set ? 0 : 4)), one scale per 16 weights.
//! Each half of 128 weights shares 32 bytes of two-bit numbers, its four runs of 32 at shifts 0, 2, 4, 6; run r of
//! the eight has its third bits in bit r of the first 32 bytes.
//! It is only read here. Next: `quant/q2_k.rs`.

use super::Block;
use super::half_float::read_half;
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, bit_at, field};
use crate::isa::Simd;

pub(super) struct Q3K;

const QUANTS: usize = 32;
const SCALES: usize = 96;
const SCALE: usize = 108;
const _: () = assert!(QUANTS + 64 == SCALES && SCALES + 12 == SCALE && SCALE + 2 == 110);

impl Block<110, 256> for Q3K {
    #[inline(always)]
    fn decode(block: &[u8; 110], weights: &mut [f32; 256]) {
        let d = read_half(block, SCALE);
        let scales = six_bit_scales(&block[SCALES..SCALE]);
        for (run, weights) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let quants = &block[QUANTS + run / 4 * 32..][..32];
            let shift = run % 4 * 2;
            let scales = [0, 1].map(|part| d * (i32::from(scales[run * 2 + part]) - 32) as f32);
            for j in 0..32 {
                let scale = if j < 16 { scales[0] } else { scales[1] };
                let two_bits = i32::from(quants[j]) >> shift & 3;
                let third_bit = i32::from(block[j]) >> run & 1;
                weights[j] = scale * (two_bits + third_bit * 4 - 4) as f32;
            }
        }
    }
}

impl Interleaved for Q3K {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Quads(24), Run::Bytes(12), Run::Pairs(1)];
    const GROUP: usize = 16;
    const CORRECTION: Correction = Correction::Zero(4);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        let low = field(simd, block.quads(simd, QUANTS + run / 4 * 32 + quad * 4), run % 4 * 2, 2);
        simd.or(low, bit_at(simd, block.quads(simd, quad * 4), run, 2))
    }
}

impl Scaled for Q3K {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, SCALE), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        let low = field(simd, block.bytes(simd, SCALES + group % 8), group / 8 * 4, 4);
        let high = field(simd, block.bytes(simd, SCALES + 8 + group % 4), group / 4 * 2, 2);
        let scale = simd.to_f32(simd.or(low, simd.shift_left(high, 4)));
        simd.mul(header[0], simd.sub(scale, simd.splat(32.0)))
    }
}

/// The sixteen scales: low four bits from the nibbles of bytes 0..8 (low nibbles first), high two bits from bytes
/// 8..12, four scales to a byte position.
#[inline(always)]
fn six_bit_scales(packed: &[u8]) -> [u8; 16] {
    let mut scales = [0; 16];
    for j in 0..16 {
        let low = packed[j % 8] >> (j / 8 * 4) & 15;
        let high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        scales[j] = low | high << 4;
    }
    scales
}
