//! Q8_0: 32 weights, d (half), 32 signed bytes. Weight = d * byte. It does not know how d is chosen.
//! Next: `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Levels, Sample};
use super::half_float::{HALF_MAX, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled};
use crate::isa::Simd;

pub(super) struct Q8_0;

const BYTES: usize = 2;
const _: () = assert!(BYTES + 32 == 34);

impl Block<34, 32> for Q8_0 {
    #[inline(always)]
    fn decode(block: &[u8; 34], weights: &mut [f32; 32]) {
        let d = read_half(block, 0);
        for j in 0..32 {
            weights[j] = d * f32::from(block[BYTES + j].cast_signed());
        }
    }
}

impl Interleaved for Q8_0 {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(1), Run::Quads(8)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Zero(128);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        // Flipping the sign bit of a signed byte adds 128.
        simd.xor(block.quads(simd, BYTES + quad * 4), simd.splat_i32(i32::from_le_bytes([0x80; 4])))
    }
}

impl Scaled for Q8_0 {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[0]
    }
}

impl EncodeBlock<34, 32> for Q8_0 {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 32], importance: &[f32; 32], block: &mut [u8; 34]) {
        let levels = Levels { lowest: -128.0, highest: 127.0 };
        let d = Sample { simd, weights, importance }.fit_scale(levels, through_half);
        block[..2].copy_from_slice(&narrow(d));
        for j in 0..32 {
            block[BYTES + j] = (levels.nearest(weights[j], d) as i8).cast_unsigned();
        }
    }
}
