//! The twelve bytes that hold eight six-bit scales and eight six-bit minima in Q4_K and Q5_K.
//!
//! Bytes 0..4: scales 0..4 in the low six bits, the high two bits of scales 4..8 above them. Bytes 4..8: the same for
//! the minima. Bytes 8..12: the low nibbles of scales 4..8 (low) and of minima 4..8 (high).
//! It does not know what the numbers scale. Next: `quant/q4_k.rs`.

use super::interleaved::RowBlock;
use crate::isa::Simd;

pub(super) const PACKED_LEN: usize = 12;

/// The scales and the minima, each below 64.
#[inline(always)]
pub(super) fn unpack(packed: &[u8; PACKED_LEN]) -> ([u8; 8], [u8; 8]) {
    let mut scales = [0; 8];
    let mut minima = [0; 8];
    for j in 0..4 {
        scales[j] = packed[j] & 63;
        minima[j] = packed[j + 4] & 63;
        scales[j + 4] = packed[j + 8] & 15 | packed[j] >> 6 << 4;
        minima[j + 4] = packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4;
    }
    (scales, minima)
}

/// Scales or minima.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Scales,
    Minima,
}

/// Number `group` of the eight scales or minima of each of sixteen interleaved blocks, where the packed bytes begin at
/// byte `at`.
#[inline(always)]
pub(super) fn six_bits<S: Simd>(simd: S, block: RowBlock<'_>, at: usize, part: Part, group: usize) -> S::Int {
    let first = at + group % 4 + if part == Part::Minima { 4 } else { 0 };
    let byte = block.bytes(simd, first);
    if group < 4 {
        return simd.and(byte, simd.splat_i32(63));
    }
    let low = block.bytes(simd, at + 8 + group % 4);
    let low = match part {
        Part::Scales => simd.and(low, simd.splat_i32(15)),
        Part::Minima => simd.shift_right(low, 4),
    };
    simd.or(low, simd.shift_left(simd.shift_right(byte, 6), 4))
}

/// The inverse of [`unpack`], of numbers below 64.
pub(super) fn pack(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; PACKED_LEN] {
    let mut packed = [0; PACKED_LEN];
    for j in 0..4 {
        packed[j] = scales[j] | scales[j + 4] >> 4 << 6;
        packed[j + 4] = minima[j] | minima[j + 4] >> 4 << 6;
        packed[j + 8] = scales[j + 4] & 15 | minima[j + 4] << 4;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};

    #[test]
    fn packing_is_undone_by_unpacking() {
        let scales = [0, 63, 1, 32, 16, 47, 63, 5];
        let minima = [63, 0, 31, 2, 48, 15, 62, 17];
        assert_eq!(unpack(&pack(&scales, &minima)), (scales, minima));
    }
}
