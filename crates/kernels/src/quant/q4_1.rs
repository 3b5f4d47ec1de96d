//! Q4_1: 32 weights, d and m (halves), 16 bytes of nibbles in the order of Q4_0. Weight = d * nibble + m.
//! It does not know how d and m are chosen. Next: `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Line, Sample, nearest_step};
use super::half_float::{HALF_MAX, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, nibbles};
use super::nibbles::{doubled, nibble};
use crate::isa::Simd;

pub(super) struct Q4_1;

const MINIMUM: usize = 2;
const NIBBLES: usize = 4;
const _: () = assert!(NIBBLES + 16 == 20);

impl Block<20, 32> for Q4_1 {
    #[inline(always)]
    fn decode(block: &[u8; 20], weights: &mut [f32; 32]) {
        let d = read_half(block, 0);
        let m = read_half(block, MINIMUM);
        let nibbles = doubled(block, NIBBLES);
        for (j, weight) in weights.iter_mut().enumerate() {
            *weight = d * nibble(&nibbles, j) as f32 + m;
        }
    }
}

impl Interleaved for Q4_1 {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(2), Run::Quads(4)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Offset;

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        nibbles(simd, block, NIBBLES, quad)
    }
}

impl Scaled for Q4_1 {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), block.halves(simd, MINIMUM)]
    }

    #[inline(always)]
    fn scale<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[0]
    }

    #[inline(always)]
    fn offset<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[1]
    }
}

impl EncodeBlock<20, 32> for Q4_1 {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 32], importance: &[f32; 32], block: &mut [u8; 20]) {
        let store = |line: Line| Line { scale: through_half(line.scale), minimum: through_half(line.minimum) };
        let line = Sample { simd, weights, importance }.fit_line(15.0, store);
        block[..2].copy_from_slice(&narrow(line.scale));
        block[MINIMUM..NIBBLES].copy_from_slice(&narrow(line.minimum));
        let nibble = |weight: f32| nearest_step(weight, line, 15.0) as u8;
        for j in 0..16 {
            block[NIBBLES + j] = nibble(weights[j]) | nibble(weights[j + 16]) << 4;
        }
    }
}
