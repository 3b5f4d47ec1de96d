//! Q4_0: 32 weights, d (half), 16 bytes of nibbles; byte j holds weight j low and weight j + 16 high.
//! Weight = d * (nibble - 8). It does not know how d is chosen. Next: `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Levels, Sample};
use super::half_float::{HALF_MAX, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, nibbles};
use super::nibbles::{doubled, nibble};
use crate::isa::Simd;

pub(super) struct Q4_0;

const NIBBLES: usize = 2;
const _: () = assert!(NIBBLES + 16 == 18);

impl Block<18, 32> for Q4_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], weights: &mut [f32; 32]) {
        let d = read_half(block, 0);
        let nibbles = doubled(block, NIBBLES);
        for (j, weight) in weights.iter_mut().enumerate() {
            *weight = d * (nibble(&nibbles, j) - 8) as f32;
        }
    }
}

impl Interleaved for Q4_0 {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(1), Run::Quads(4)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Zero(8);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        nibbles(simd, block, NIBBLES, quad)
    }
}

impl Scaled for Q4_0 {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[0]
    }
}

impl EncodeBlock<18, 32> for Q4_0 {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 32], importance: &[f32; 32], block: &mut [u8; 18]) {
        let levels = Levels { lowest: -8.0, highest: 7.0 };
        let d = Sample { simd, weights, importance }.fit_scale(levels, through_half);
        block[..2].copy_from_slice(&narrow(d));
        let nibble = |weight: f32| (levels.nearest(weight, d) + 8.0) as u8;
        for j in 0..16 {
            block[NIBBLES + j] = nibble(weights[j]) | nibble(weights[j + 16]) << 4;
        }
    }
}
