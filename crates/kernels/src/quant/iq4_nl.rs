//! IQ4_NL: 32 weights, d (half), 16 bytes of nibbles that point into a table. Weight = `d * table[nibble]`.
//! It is only read here. Next: `quant/codebook.rs`.

use super::Block;
use super::codebook::{NON_LINEAR, NON_LINEAR_UNSIGNED, decode_nibbles};
use super::half_float::read_half;
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, nibbles};
use crate::isa::Simd;

pub(super) struct Iq4Nl;

const NIBBLES: usize = 2;
const _: () = assert!(NIBBLES + 16 == 18);

impl Block<18, 32> for Iq4Nl {
    #[inline(always)]
    fn decode(block: &[u8; 18], weights: &mut [f32; 32]) {
        decode_nibbles(block, NIBBLES, &NON_LINEAR, read_half(block, 0), weights);
    }
}

impl Interleaved for Iq4Nl {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(1), Run::Quads(4)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Zero(128);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        simd.lookup(&NON_LINEAR_UNSIGNED, nibbles(simd, block, NIBBLES, quad))
    }
}

impl Scaled for Iq4Nl {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[0]
    }
}
