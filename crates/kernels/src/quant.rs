//! The block formats that weights are stored in: one static table, one file each under `quant/`.
//!
//! A row of a matrix is a whole number of blocks; a block holds `block_len` weights in `block_bytes` bytes. Layouts
//! are those of GGUF files (ggml project, `ggml-common.h`).
//! Decoding is one stated order of f32 products and sums per weight, never contracted to fused operations, so every
//! instruction set gives the same bits. Each format's decoder is written once, inlined into one function per
//! instruction set, and vectorised there by the compiler.
//! This file does not know how any format is laid out, nor who multiplies. Next: `Block`, then `quant/q4_0.rs` as
//! the plainest format and `quant/q4_k.rs` as the commonest.

// Plain floats.
mod bfloat16;
mod float16;
mod float32;
mod half_float;

// Blocks of 32 under one scale.
mod nibbles;
mod q4_0;
mod q4_1;
mod q5_0;
mod q5_1;
mod q8_0;

// Blocks of 256 with scales of their own scales.
mod k_scales;
mod q2_k;
mod q3_k;
mod q4_k;
mod q5_k;
mod q6_k;

// Indices into tables.
mod codebook;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;

// Indices into grids.
mod grid;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;

// Multiplying in integers.
mod interleaved;

// Writing.
mod encode;
mod fit;
mod super_block;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use crate::interleave::interleave;
use crate::isa::{Kernel, Simd};
use crate::ops::matmul::{Product, paired_product, product};
use crate::{Isa, KernelError, Matrix, Runtime};
pub use encode::quantize;
use encode::{EncodeBlock, Encoder};
pub(crate) use interleaved::{Correction, Interleaved, Paired, Rounding, RowBlock, Run, Scaled};

/// No block has more bytes.
pub(crate) const MOST_BLOCK_BYTES: usize = 256;

/// Interleaves rows of a format; see [`interleave`].
type InterleaveOf = fn(&Matrix<'_>, usize, &mut [u8]);

/// The integer product of a format; see [`product`].
pub(crate) type ProductOf = fn(&Runtime, &Product<'_>, &mut [f32]);

/// How weights are stored. The discriminant is the position in [`FORMATS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an IEEE single.
    BF16,
    /// 4 bits, one scale per 32.
    Q4_0,
    /// 4 bits, scale and minimum per 32.
    Q4_1,
    /// 5 bits, one scale per 32.
    Q5_0,
    /// 5 bits, scale and minimum per 32.
    Q5_1,
    /// 8 bits, one scale per 32.
    Q8_0,
    /// 2 bits, 4-bit scale and minimum per 16.
    Q2K,
    /// 3 bits, 6-bit scale per 16.
    Q3K,
    /// 4 bits, 6-bit scale and minimum per 32.
    Q4K,
    /// 5 bits, 6-bit scale and minimum per 32.
    Q5K,
    /// 6 bits, 8-bit scale per 16.
    Q6K,
    /// 4-bit index into a fixed table of 16, one scale per 32.
    Iq4Nl,
    /// The same table, 6-bit scale per 32.
    Iq4Xs,
    /// Grid of 256 points in 8 dimensions, 4-bit scale per 32.
    Iq2Xxs,
    /// Grid of 512 points in 8 dimensions, 4-bit scale per 16.
    Iq2Xs,
    /// Grid of 1024 points in 8 dimensions, 4-bit scale per 16.
    Iq2S,
    /// Grid of 256 points in 4 dimensions, 4-bit scale per 32.
    Iq3Xxs,
    /// Grid of 512 points in 4 dimensions, 4-bit scale per 32.
    Iq3S,
    /// 4-bit floats with one power of two per 32 (OCP Microscaling Formats 1.0).
    Mxfp4,
}

/// What a format is called, how large it is, and who reads and writes it.
#[derive(Debug)]
pub struct FormatRow {
    /// The format.
    pub format: Format,
    /// Its lower-case name, as in file names and on the command line.
    pub name: &'static str,
    /// Weights in a block.
    pub block_len: usize,
    /// Bytes in a block.
    pub block_bytes: usize,
    pub(crate) decode: fn(Isa, &[u8], &mut [f32]),
    encoder: Option<Encoder>,
    integer: Option<Integer>,
}

/// What a format that is multiplied in integers brings along.
#[derive(Debug, Clone, Copy)]
struct Integer {
    runs: &'static [Run],
    interleave: InterleaveOf,
    product: ProductOf,
    rounding: Rounding,
}

/// Every format, in the order of [`Format`].
pub const FORMATS: &[FormatRow] = &[
    writable::<float32::F32, 4, 1>(Format::F32, "f32"),
    writable::<float16::F16, 2, 1>(Format::F16, "f16"),
    writable::<bfloat16::BF16, 2, 1>(Format::BF16, "bf16"),
    integer::<q4_0::Q4_0>(writable::<q4_0::Q4_0, 18, 32>(Format::Q4_0, "q4_0")),
    integer::<q4_1::Q4_1>(writable::<q4_1::Q4_1, 20, 32>(Format::Q4_1, "q4_1")),
    integer::<q5_0::Q5_0>(writable::<q5_0::Q5_0, 22, 32>(Format::Q5_0, "q5_0")),
    integer::<q5_1::Q5_1>(writable::<q5_1::Q5_1, 24, 32>(Format::Q5_1, "q5_1")),
    integer::<q8_0::Q8_0>(writable::<q8_0::Q8_0, 34, 32>(Format::Q8_0, "q8_0")),
    integer::<q2_k::Q2K>(readable::<q2_k::Q2K, 84, 256>(Format::Q2K, "q2_k")),
    integer::<q3_k::Q3K>(readable::<q3_k::Q3K, 110, 256>(Format::Q3K, "q3_k")),
    paired::<q4_k::Q4K>(writable::<q4_k::Q4K, 144, 256>(Format::Q4K, "q4_k")),
    integer::<q5_k::Q5K>(writable::<q5_k::Q5K, 176, 256>(Format::Q5K, "q5_k")),
    integer::<q6_k::Q6K>(writable::<q6_k::Q6K, 210, 256>(Format::Q6K, "q6_k")),
    integer::<iq4_nl::Iq4Nl>(readable::<iq4_nl::Iq4Nl, 18, 32>(Format::Iq4Nl, "iq4_nl")),
    integer::<iq4_xs::Iq4Xs>(readable::<iq4_xs::Iq4Xs, 136, 256>(Format::Iq4Xs, "iq4_xs")),
    readable::<iq2_xxs::Iq2Xxs, 66, 256>(Format::Iq2Xxs, "iq2_xxs"),
    readable::<iq2_xs::Iq2Xs, 74, 256>(Format::Iq2Xs, "iq2_xs"),
    readable::<iq2_s::Iq2S, 82, 256>(Format::Iq2S, "iq2_s"),
    readable::<iq3_xxs::Iq3Xxs, 98, 256>(Format::Iq3Xxs, "iq3_xxs"),
    readable::<iq3_s::Iq3S, 110, 256>(Format::Iq3S, "iq3_s"),
    readable::<mxfp4::Mxfp4, 17, 32>(Format::Mxfp4, "mxfp4"),
];

const _: () = {
    let mut index = 0;
    while index < FORMATS.len() {
        assert!(FORMATS[index].format as usize == index);
        index += 1;
    }
    assert!(FORMATS.len() == Format::Mxfp4 as usize + 1);
};

impl Format {
    /// The format's line in [`FORMATS`].
    #[must_use]
    pub fn row(self) -> &'static FormatRow {
        &FORMATS[self as usize]
    }

    /// The format called `name` in any case: `q4_k`, `Q4_K`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Format> {
        FORMATS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.format)
    }

    /// The lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Weights in a block.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.row().block_len
    }

    /// Bytes in a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.row().block_bytes
    }

    /// Bytes in a row of `cols` weights. None if that is not a whole number of blocks, or overflows.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let row = self.row();
        if !cols.is_multiple_of(row.block_len) {
            return None;
        }
        (cols / row.block_len).checked_mul(row.block_bytes)
    }

    /// Whether it is multiplied in integers, for which its rows are interleaved.
    #[must_use]
    pub fn can_interleave(self) -> bool {
        self.row().integer.is_some()
    }

    /// The units of a block, if its rows can be interleaved.
    pub(crate) fn interleaving(self) -> Option<&'static [Run]> {
        self.row().integer.map(|integer| integer.runs)
    }

    /// What interleaves sixteen rows of it, if they can be.
    pub(crate) fn interleave(self) -> Option<InterleaveOf> {
        self.row().integer.map(|integer| integer.interleave)
    }

    /// Its integer product, if it has one.
    pub(crate) fn integer_product(self) -> Option<ProductOf> {
        self.row().integer.map(|integer| integer.product)
    }

    /// How activations are rounded for its integer product, if it has one.
    pub(crate) fn rounding(self) -> Option<Rounding> {
        self.row().integer.map(|integer| integer.rounding)
    }

    /// Whether [`quantize`] writes it.
    #[must_use]
    pub fn can_quantize(self) -> bool {
        self.row().encoder.is_some()
    }
}

/// Reads whole blocks: `bytes` holds n blocks, `out` is `[n * block_len]`.
///
/// # Errors
/// [`KernelError::WrongLength`] if `bytes` is not whole blocks, or `out` has another length.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), KernelError> {
    let row = format.row();
    let blocks = bytes.len() / row.block_bytes;
    if blocks * row.block_bytes != bytes.len() {
        let expected = blocks * row.block_bytes;
        return Err(KernelError::WrongLength { what: "bytes of whole blocks", expected, got: bytes.len() });
    }
    // The product fits: it is at most sixteen times a length in memory, checked all the same.
    let expected = blocks.checked_mul(row.block_len).ok_or(KernelError::Overflow { what: "weights to decode" })?;
    if expected != out.len() {
        return Err(KernelError::WrongLength { what: "decoded weights", expected, got: out.len() });
    }
    (row.decode)(Isa::detect(), bytes, out);
    Ok(())
}

/// The decoder of a format on an instruction set, for rows: `bytes` is n whole blocks, the output `[n * block_len]`.
/// It goes as far as both sides have whole blocks; the caller has checked the lengths. All instruction sets give the
/// same bits (NaN payloads aside).
pub(crate) fn decoder(format: Format, isa: Isa) -> impl Fn(&[u8], &mut [f32]) + Copy + Send + Sync + 'static {
    let decode = format.row().decode;
    move |bytes: &[u8], out: &mut [f32]| decode(isa, bytes, out)
}

/// One way to read a block. `BYTES` and `LEN` are the block's size in bytes and in weights.
trait Block<const BYTES: usize, const LEN: usize> {
    /// Writes the block's weights. Any bytes are a valid block. Must be `#[inline(always)]`, so that it is compiled
    /// for the instruction set of its caller.
    fn decode(block: &[u8; BYTES], weights: &mut [f32; LEN]);
}

/// Decodes a row, compiled once per instruction set.
struct DecodeRow<'a, B, const BYTES: usize, const LEN: usize> {
    bytes: &'a [u8],
    weights: &'a mut [f32],
    block: PhantomData<B>,
}

impl<B: Block<BYTES, LEN>, const BYTES: usize, const LEN: usize> Kernel for DecodeRow<'_, B, BYTES, LEN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (blocks, _) = self.bytes.as_chunks::<BYTES>();
        let (weights, _) = self.weights.as_chunks_mut::<LEN>();
        for (block, weights) in blocks.iter().zip(weights) {
            B::decode(block, weights);
        }
    }
}

fn decode_row<B: Block<BYTES, LEN>, const BYTES: usize, const LEN: usize>(isa: Isa, bytes: &[u8], weights: &mut [f32]) {
    isa.run(DecodeRow::<B, BYTES, LEN> { bytes, weights, block: PhantomData });
}

/// The table's line of a format that is only read.
const fn readable<B: Block<BYTES, LEN>, const BYTES: usize, const LEN: usize>(
    format: Format,
    name: &'static str,
) -> FormatRow {
    let decode = decode_row::<B, BYTES, LEN>;
    FormatRow { format, name, block_len: LEN, block_bytes: BYTES, decode, encoder: None, integer: None }
}

/// The table's line of a format that is multiplied in integers.
const fn integer<B: Scaled>(row: FormatRow) -> FormatRow {
    with_product::<B>(row, product::<B>)
}

/// The same for one whose groups are scaled in pairs.
const fn paired<B: Paired>(row: FormatRow) -> FormatRow {
    with_product::<B>(row, paired_product::<B>)
}

const fn with_product<B: Interleaved>(row: FormatRow, product: ProductOf) -> FormatRow {
    assert!(B::BLOCK_BYTES == row.block_bytes && row.block_len == B::LEN && row.block_bytes <= MOST_BLOCK_BYTES);
    FormatRow {
        integer: Some(Integer { runs: B::RUNS, interleave: interleave::<B>, product, rounding: B::ROUNDING }),
        ..row
    }
}

/// The table's line of a format that is also written.
const fn writable<B, const BYTES: usize, const LEN: usize>(format: Format, name: &'static str) -> FormatRow
where
    B: Block<BYTES, LEN> + EncodeBlock<BYTES, LEN>,
{
    let row = readable::<B, BYTES, LEN>(format, name);
    FormatRow { encoder: Some(Encoder::of::<B, BYTES, LEN>()), ..row }
}
