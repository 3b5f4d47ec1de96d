//! Q5_1: 32 weights, d and m (halves), then fifth bits and nibbles as in Q5_0. Weight = d * q + m.
//! It does not know how d and m are chosen. Next: `quant/q5_0.rs`, `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Line, Sample, nearest_step};
use super::half_float::{HALF_MAX, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled};
use super::q5_0::{five_bit_numbers, five_bits, put_five_bits};
use crate::isa::Simd;

pub(super) struct Q5_1;

const MINIMUM: usize = 2;
const FIFTH_BITS: usize = 4;
const _: () = assert!(FIFTH_BITS + 4 + 16 == 24);

impl Block<24, 32> for Q5_1 {
    #[inline(always)]
    fn decode(block: &[u8; 24], weights: &mut [f32; 32]) {
        let d = read_half(block, 0);
        let m = read_half(block, MINIMUM);
        let q = five_bits(block, FIFTH_BITS);
        for j in 0..32 {
            weights[j] = d * q[j] as f32 + m;
        }
    }
}

impl Interleaved for Q5_1 {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(2), Run::Bits, Run::Quads(4)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Offset;

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        five_bit_numbers(simd, block, FIFTH_BITS, quad)
    }
}

impl Scaled for Q5_1 {
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

impl EncodeBlock<24, 32> for Q5_1 {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 32], importance: &[f32; 32], block: &mut [u8; 24]) {
        let store = |line: Line| Line { scale: through_half(line.scale), minimum: through_half(line.minimum) };
        let line = Sample { simd, weights, importance }.fit_line(31.0, store);
        block[..2].copy_from_slice(&narrow(line.scale));
        block[MINIMUM..FIFTH_BITS].copy_from_slice(&narrow(line.minimum));
        put_five_bits(weights.map(|weight| nearest_step(weight, line, 31.0) as u8), block, FIFTH_BITS);
    }
}
