//! What a format tells the integer products: which units its blocks are cut into, and how a vector of numbers, scales and
//! offsets is read from sixteen interleaved blocks.
//!
//! A weight is a number of at most eight bits, and a scale and an offset that it shares with 16 or 32 of its neighbours.
//! It does not know who multiplies. Next: `ops/matmul/integer.rs`.

use crate::interleave::{ROW_GROUP, bytes_of};
use crate::isa::Simd;

/// Units of one kind that follow each other in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// So many single bytes: scales.
    Bytes(usize),
    /// So many pairs of bytes: halves.
    Pairs(usize),
    /// So many times four bytes: numbers.
    Quads(usize),
    /// Four bytes with one bit of each of 32 numbers. Bit `4 * quad + i` moves to bit `8 * i + quad`, so that the four
    /// bits of a quad of numbers stand at the same place of four bytes.
    Bits,
}

impl Run {
    /// Bytes of the run in one block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Run::Bytes(count) => count,
            Run::Pairs(count) => 2 * count,
            Run::Quads(count) => 4 * count,
            Run::Bits => 4,
        }
    }

    /// Bytes of one unit.
    pub(crate) const fn unit(self) -> usize {
        match self {
            Run::Bytes(_) => 1,
            Run::Pairs(_) => 2,
            Run::Quads(_) | Run::Bits => 4,
        }
    }
}

/// How sums of stored numbers become sums of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// This number stands for zero.
    Zero(i32),
    /// [`Scaled::offset`] is added to each weight.
    Offset,
    /// Half the numbers lie below this one, and the sums of those less it fit into sixteen bits for each group; see [`Paired`].
    Pairs(i32),
}

/// How activations are rounded for a format, and what its products need of them beside the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounding {
    /// Activations under one scale; see [`Interleaved::SPAN`].
    pub(crate) span: usize,
    /// Numbers under one weight scale, whose sum is wanted.
    pub(crate) group: usize,
    /// What it is wanted for.
    pub(crate) correction: Correction,
}

/// A block format whose rows can be interleaved and multiplied in integers.
///
/// Everything here must be `#[inline(always)]`, so that it is compiled for the instruction set of its caller.
pub(crate) trait Interleaved: 'static {
    /// Weights in a block.
    const LEN: usize;
    /// The units of a block, in order.
    const RUNS: &'static [Run];
    /// Bytes of a block.
    const BLOCK_BYTES: usize = bytes_of(Self::RUNS);
    /// Weights under one scale: 16 or 32.
    const GROUP: usize;
    /// Columns of activations under one scale, as many as a block has, but 64 at the least: a scale of their own for the 32
    /// of a small block cost a tenth of the speed.
    const SPAN: usize = if Self::LEN < 64 { 64 } else { Self::LEN };
    /// How sums are corrected.
    const CORRECTION: Correction;
    /// All that activations have to know.
    const ROUNDING: Rounding = Rounding { span: Self::SPAN, group: Self::GROUP, correction: Self::CORRECTION };
    /// Whether numbers have eight bits; others have seven at most.
    const HAS_EIGHT_BITS: bool = matches!(Self::CORRECTION, Correction::Zero(65..));
    /// Whether there are offsets.
    const HAS_OFFSET: bool = matches!(Self::CORRECTION, Correction::Offset);

    /// Numbers `4 * quad .. 4 * quad + 4` of the `run`th 32 weights, as unsigned bytes.
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int;
}

/// A format whose sums are scaled group by group: a weight is `scale * (number - zero)` or `scale * number + offset`. Both are
/// computed exactly, so nothing is lost against [`super::Block::decode`].
///
/// Everything here must be `#[inline(always)]`, as in [`Interleaved`].
pub(crate) trait Scaled: Interleaved {
    /// What all scales of a block share: a factor for scales and one for offsets.
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2];

    /// The scale of the `group`th [`Interleaved::GROUP`] weights.
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32;

    /// What is added to those weights.
    #[inline(always)]
    fn offset<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        let _ = (block, header, group);
        simd.splat(0.0)
    }
}

/// A format of blocks of 256 weights with a whole scale for each 32, of numbers so small that the sums of two groups can be
/// scaled in one integer product; see `ops/matmul/by_pair.rs`.
///
/// A weight is `factor * scale * (number - middle) + unit * offset`, where factor and unit are those of a block, scale and
/// offset those of a group. The offset is rounded to a whole number, and lies within -32767..=32767.
///
/// Everything here must be `#[inline(always)]`, as in [`Interleaved`].
pub(crate) trait Paired: Interleaved {
    /// The factor and the unit of each block.
    fn factors<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2];

    /// The scales of groups `2 * pair` (the upper halves of each i32) and `2 * pair + 1` (the lower): at most 63.
    fn scales<S: Simd>(simd: S, block: RowBlock<'_>, pair: usize) -> S::Int;

    /// Their offsets likewise, in units.
    fn offsets<S: Simd>(simd: S, block: RowBlock<'_>, factors: [S::F32; 2], pair: usize) -> S::Int;
}

/// Sixteen interleaved blocks, seen by the vector whose first lane is row `lane`.
#[derive(Clone, Copy)]
pub(crate) struct RowBlock<'a> {
    bytes: &'a [u8],
    lane: usize,
}

impl<'a> RowBlock<'a> {
    /// `bytes` are a row block; `lane` is a multiple of the lanes of a vector, below sixteen.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], lane: usize) -> RowBlock<'a> {
        debug_assert!(lane < ROW_GROUP);
        RowBlock { bytes, lane }
    }

    /// Where the units that begin at byte `at` of a block, `unit` bytes each, stand for this vector's rows.
    #[inline(always)]
    fn units<S: Simd>(self, at: usize, unit: usize) -> *const u8 {
        let start = ROW_GROUP * at + unit * self.lane;
        assert!(start + unit * S::LANES <= self.bytes.len(), "outside of a row block");
        // Inside the slice, as just asserted.
        self.bytes[start..].as_ptr()
    }

    /// The four bytes from byte `at` of each block.
    #[inline(always)]
    pub(crate) fn quads<S: Simd>(self, simd: S, at: usize) -> S::Int {
        // SAFETY: `units` asserts that they lie inside the row block.
        unsafe { simd.load_int(self.units::<S>(at, 4)) }
    }

    /// Byte `at` of each block.
    #[inline(always)]
    pub(crate) fn bytes<S: Simd>(self, simd: S, at: usize) -> S::Int {
        // SAFETY: as above.
        unsafe { simd.load_u8(self.units::<S>(at, 1)) }
    }

    /// Byte `at` of each block, signed.
    #[inline(always)]
    pub(crate) fn signed_bytes<S: Simd>(self, simd: S, at: usize) -> S::Int {
        // SAFETY: as above.
        unsafe { simd.load_i8(self.units::<S>(at, 1)) }
    }

    /// The half at byte `at` of each block.
    #[inline(always)]
    pub(crate) fn halves<S: Simd>(self, simd: S, at: usize) -> S::F32 {
        // SAFETY: as above.
        unsafe { simd.load_f16(self.units::<S>(at, 2).cast()) }
    }
}

/// `bits` bits of every byte, from bit `shift` on.
#[inline(always)]
pub(crate) fn field<S: Simd>(simd: S, quads: S::Int, shift: usize, bits: u32) -> S::Int {
    let mask = i32::from_le_bytes([(1 << bits) - 1; 4]);
    simd.and(simd.shift_right(quads, shift as u32), simd.splat_i32(mask))
}

/// Bit `bit` of every byte, moved to bit `to`.
#[inline(always)]
pub(crate) fn bit_at<S: Simd>(simd: S, quads: S::Int, bit: usize, to: usize) -> S::Int {
    let moved =
        if bit <= to { simd.shift_left(quads, (to - bit) as u32) } else { simd.shift_right(quads, (bit - to) as u32) };
    simd.and(moved, simd.splat_i32(i32::from_le_bytes([1 << to; 4])))
}

/// Nibble numbers whose sixteen bytes begin at byte `at`: the low nibbles are the first sixteen of 32.
#[inline(always)]
pub(crate) fn nibbles<S: Simd>(simd: S, block: RowBlock<'_>, at: usize, quad: usize) -> S::Int {
    field(simd, block.quads(simd, at + quad % 4 * 4), quad / 4 * 4, 4)
}

/// Nibble numbers of a block of 256, where each 64 weights share 32 bytes from byte `at` on: the low nibbles are the first
/// 32 of 64.
#[inline(always)]
pub(crate) fn paired_nibbles<S: Simd>(simd: S, block: RowBlock<'_>, at: usize, run: usize, quad: usize) -> S::Int {
    field(simd, block.quads(simd, at + run / 2 * 32 + quad * 4), run % 2 * 4, 4)
}
