//! Q5_0: 32 weights, d (half), a 32-bit word of fifth bits (bit j for weight j), 16 bytes of nibbles in the order of
//! Q4_0. Weight = d * (q - 16). It does not know how d is chosen. Next: `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Levels, Sample};
use super::half_float::{HALF_MAX, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, bit_at, nibbles};
use super::nibbles::{doubled, nibble};
use crate::isa::Simd;

pub(super) struct Q5_0;

const FIFTH_BITS: usize = 2;
const NIBBLES: usize = 6;
const _: () = assert!(NIBBLES + 16 == 22);

impl Block<22, 32> for Q5_0 {
    #[inline(always)]
    fn decode(block: &[u8; 22], weights: &mut [f32; 32]) {
        let d = read_half(block, 0);
        let q = five_bits(block, FIFTH_BITS);
        for j in 0..32 {
            weights[j] = d * (q[j] - 16) as f32;
        }
    }
}

impl Interleaved for Q5_0 {
    const LEN: usize = 32;
    const RUNS: &'static [Run] = &[Run::Pairs(1), Run::Bits, Run::Quads(4)];
    const GROUP: usize = 32;
    const CORRECTION: Correction = Correction::Zero(16);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, _: usize, quad: usize) -> S::Int {
        five_bit_numbers(simd, block, FIFTH_BITS, quad)
    }
}

impl Scaled for Q5_0 {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, 0), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(_: S, _: RowBlock<'_>, header: [S::F32; 2], _: usize) -> S::F32 {
        header[0]
    }
}

/// Numbers `4 * quad .. 4 * quad + 4` of each block, of which the fifth bits begin at byte `at`, the nibbles right behind.
#[inline(always)]
pub(super) fn five_bit_numbers<S: Simd>(simd: S, block: RowBlock<'_>, at: usize, quad: usize) -> S::Int {
    simd.or(nibbles(simd, block, at + 4, quad), bit_at(simd, block.quads(simd, at), quad, 4))
}

/// The 32 five-bit numbers of which the word of fifth bits starts at byte `at`, the nibbles right behind it.
#[inline(always)]
pub(super) fn five_bits(block: &[u8], at: usize) -> [i32; 32] {
    let fifth = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let nibbles = doubled(block, at + 4);
    let mut q = [0; 32];
    for (j, q) in q.iter_mut().enumerate() {
        *q = nibble(&nibbles, j) | ((fifth >> j & 1) << 4).cast_signed();
    }
    q
}

/// Writes what [`five_bits`] reads.
#[inline(always)]
pub(super) fn put_five_bits(q: [u8; 32], block: &mut [u8], at: usize) {
    let fifth = q.iter().rev().fold(0u32, |word, &q| word << 1 | u32::from(q >> 4));
    block[at..at + 4].copy_from_slice(&fifth.to_le_bytes());
    for j in 0..16 {
        block[at + 4 + j] = (q[j] & 15) | (q[j + 16] & 15) << 4;
    }
}

impl EncodeBlock<22, 32> for Q5_0 {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 32], importance: &[f32; 32], block: &mut [u8; 22]) {
        let levels = Levels { lowest: -16.0, highest: 15.0 };
        let d = Sample { simd, weights, importance }.fit_scale(levels, through_half);
        block[..2].copy_from_slice(&narrow(d));
        put_five_bits(weights.map(|weight| (levels.nearest(weight, d) + 16.0) as u8), block, FIFTH_BITS);
    }
}
