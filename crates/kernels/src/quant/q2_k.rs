//! Q2_K: 256 weights, 16 bytes of scale (low nibble) and minimum (high nibble) per 16 weights, 64 bytes of two-bit
//! numbers, d and dmin (halves). Weight = d * scale * q - dmin * minimum.
//! Each half of 128 weights shares 32 bytes: its four runs of 32 weights sit at shifts 0, 2, 4, 6.
//! It is only read here. Next: `quant/q4_k.rs`.

use super::Block;
use super::half_float::read_half;
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, field};
use crate::isa::Simd;

pub(super) struct Q2K;

const QUANTS: usize = 16;
const SCALE: usize = 80;
const MINIMUM: usize = 82;
const _: () = assert!(QUANTS + 64 == SCALE && MINIMUM + 2 == 84);

impl Block<84, 256> for Q2K {
    #[inline(always)]
    fn decode(block: &[u8; 84], weights: &mut [f32; 256]) {
        let d = read_half(block, SCALE);
        let dmin = read_half(block, MINIMUM);
        for (run, weights) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let quants = &block[QUANTS + run / 4 * 32..][..32];
            let shift = run % 4 * 2;
            let scales = [0, 1].map(|part| d * f32::from(block[run * 2 + part] & 15));
            let minima = [0, 1].map(|part| dmin * f32::from(block[run * 2 + part] >> 4));
            for j in 0..32 {
                let (scale, minimum) = if j < 16 { (scales[0], minima[0]) } else { (scales[1], minima[1]) };
                weights[j] = scale * (i32::from(quants[j]) >> shift & 3) as f32 - minimum;
            }
        }
    }
}

impl Interleaved for Q2K {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Bytes(16), Run::Quads(16), Run::Pairs(2)];
    const GROUP: usize = 16;
    const CORRECTION: Correction = Correction::Offset;

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        field(simd, block.quads(simd, QUANTS + run / 4 * 32 + quad * 4), run % 4 * 2, 2)
    }
}

impl Scaled for Q2K {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, SCALE), simd.sub(simd.splat(0.0), block.halves(simd, MINIMUM))]
    }

    #[inline(always)]
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        let scale = simd.and(block.bytes(simd, group), simd.splat_i32(15));
        simd.mul(header[0], simd.to_f32(scale))
    }

    #[inline(always)]
    fn offset<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        simd.mul(header[1], simd.to_f32(simd.shift_right(block.bytes(simd, group), 4)))
    }
}
