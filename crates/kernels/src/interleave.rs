//! Weights rearranged for integer products: the bytes of sixteen rows side by side.
//!
//! A block of a format is cut into units (a half-precision scale, a scale byte, four bytes of numbers). The sixteen blocks
//! that sixteen rows have at one column become one *row block*: unit after unit, each sixteen times, row after row. What a
//! vector needs of sixteen rows is then adjacent, and nothing else has changed: it is a permutation of the file's bytes, of
//! the same size, and [`Matrix::decode_row`] reads it back exactly.
//!
//! Rows beyond a multiple of sixteen are padded with zeros. This file knows no format; their units stand beside their
//! decoders. Next: `ops/matmul/integer.rs`, the user.

use std::ops::{Deref, Range};

use crate::memory::{Memory, Pages};
use crate::quant::{Interleaved, MOST_BLOCK_BYTES, Run};
use crate::{Format, KernelError, Matrix, Runtime};

/// Rows whose bytes stand side by side: as many as the widest vector has lanes of 32 bits.
pub const ROW_GROUP: usize = 16;

/// The version of the arrangement. It grows with every change of the bytes that any format is rearranged to: whoever keeps
/// them longer than the process compares it.
pub const INTERLEAVED_VERSION: u32 = 1;

/// The interleaved weights of a model: filled matrix by matrix and then only read, or read from where they were kept.
pub struct InterleavedWeights {
    held: Held,
    used: usize,
}

/// Where the bytes are.
enum Held {
    /// In memory of their own.
    Own(Memory),
    /// Where somebody keeps them.
    Kept(Box<dyn Deref<Target = [u8]> + Send + Sync>),
}

/// A matrix's place in [`InterleavedWeights`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterleavedMatrix {
    format: Format,
    rows: usize,
    cols: usize,
    range: Range<usize>,
}

impl InterleavedWeights {
    /// Takes memory for these matrices, all of formats that [`Format::can_interleave`].
    ///
    /// # Errors
    /// [`KernelError::Overflow`] or [`KernelError::OutOfMemory`] when there is no such memory.
    pub fn for_matrices<'a>(matrices: impl IntoIterator<Item = Matrix<'a>>) -> Result<InterleavedWeights, KernelError> {
        let what = "bytes of interleaved weights";
        let mut total = 0usize;
        for matrix in matrices {
            let bytes = interleaved_len(&matrix).ok_or(KernelError::Overflow { what })?;
            total = total.checked_add(bytes).ok_or(KernelError::Overflow { what })?;
        }
        Ok(InterleavedWeights { held: Held::Own(Memory::new(what, total, Pages::Huge)?), used: 0 })
    }

    /// The weights that are kept in `bytes`, as [`InterleavedWeights::bytes`] had them after these matrices were added in
    /// this order; with the place of each. `None` if so many bytes cannot be these.
    pub fn kept<'a>(
        bytes: impl Deref<Target = [u8]> + Send + Sync + 'static,
        matrices: impl IntoIterator<Item = Matrix<'a>>,
    ) -> Option<(InterleavedWeights, Vec<InterleavedMatrix>)> {
        let (mut used, mut places) = (0usize, Vec::new());
        for matrix in matrices {
            let end = used.checked_add(interleaved_len(&matrix)?)?;
            places.push(InterleavedMatrix::at(&matrix, used..end));
            used = end;
        }
        (used == bytes.len()).then(|| (InterleavedWeights { held: Held::Kept(Box::new(bytes)), used }, places))
    }

    /// All bytes, in the order in which the matrices were added.
    pub fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Own(memory) => &memory.bytes()[..self.used],
            Held::Kept(bytes) => bytes,
        }
    }

    /// Copies a matrix, interleaved, on all threads. `read(range)` is called when these bytes of the source have been
    /// read for the last time; the ranges of all calls cover it.
    ///
    /// # Panics
    /// When the format cannot be interleaved, or the matrices are not those that the memory was taken for.
    pub fn add(
        &mut self,
        runtime: &Runtime,
        matrix: Matrix<'_>,
        read: impl Fn(Range<usize>) + Sync,
    ) -> InterleavedMatrix {
        /// Bytes of one piece of work: what has been read is given back in such pieces.
        const PIECE: usize = 1 << 20;
        let interleave = matrix.format().interleave().expect("a format that can be interleaved; this is a bug");
        let bytes = interleaved_len(&matrix).expect("its size was computed before; this is a bug");
        let range = self.used..self.used + bytes;
        self.used = range.end;
        let row_bytes = matrix.row_bytes();
        let groups_per_piece = (PIECE / (row_bytes * ROW_GROUP)).max(1);
        let Held::Own(memory) = &mut self.held else {
            unreachable!("weights that are kept are complete; this is a bug")
        };
        let target = &mut memory.bytes_mut()[range.clone()];
        runtime.for_each_chunk(target, groups_per_piece * ROW_GROUP * row_bytes, |index, chunk| {
            let first_row = index * groups_per_piece * ROW_GROUP;
            for (group, chunk) in chunk.chunks_exact_mut(ROW_GROUP * row_bytes).enumerate() {
                interleave(&matrix, first_row + group * ROW_GROUP, chunk);
            }
            let end = matrix.rows().min(first_row + groups_per_piece * ROW_GROUP);
            read(first_row * row_bytes..end * row_bytes);
        });
        InterleavedMatrix::at(&matrix, range)
    }

    /// A view on a matrix that was added.
    pub fn matrix(&self, place: &InterleavedMatrix) -> Matrix<'_> {
        let bytes = &self.bytes()[place.range.clone()];
        Matrix::interleaved(place.format, place.rows, place.cols, bytes)
    }
}

impl InterleavedMatrix {
    fn at(matrix: &Matrix<'_>, range: Range<usize>) -> InterleavedMatrix {
        InterleavedMatrix { format: matrix.format(), rows: matrix.rows(), cols: matrix.cols(), range }
    }
}

impl std::fmt::Debug for InterleavedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InterleavedWeights({} bytes)", self.used)
    }
}

/// Bytes of a matrix with its rows padded to whole groups.
fn interleaved_len(matrix: &Matrix<'_>) -> Option<usize> {
    matrix.rows().checked_next_multiple_of(ROW_GROUP)?.checked_mul(matrix.row_bytes())
}

/// Interleaves the rows from `first_row` on, zeros where the matrix has no more, into `[blocks of a row, row block]`.
pub(crate) fn interleave<F: Interleaved>(matrix: &Matrix<'_>, first_row: usize, target: &mut [u8]) {
    // Known to the compiler, which unrolls the copies of a block.
    let block_bytes = const { bytes_of(F::RUNS) };
    let missing = [0; MOST_BLOCK_BYTES];
    let rows: [&[u8]; ROW_GROUP] = std::array::from_fn(|row| match first_row + row < matrix.rows() {
        true => matrix.row(first_row + row),
        false => &missing[..],
    });
    for (block, target) in target.chunks_exact_mut(ROW_GROUP * block_bytes).enumerate() {
        for (row, bytes) in rows.iter().enumerate() {
            // A row that is missing is the same zeros at every block.
            let start = if first_row + row < matrix.rows() { block * block_bytes } else { 0 };
            let source = &bytes[start..][..block_bytes];
            let mut at = 0;
            for run in F::RUNS {
                let target = &mut target[ROW_GROUP * at..][..ROW_GROUP * run.bytes()];
                let source = &source[at..][..run.bytes()];
                match run {
                    Run::Bytes(_) => scatter::<1>(source, target, row),
                    Run::Pairs(_) => scatter::<2>(source, target, row),
                    Run::Quads(_) => scatter::<4>(source, target, row),
                    Run::Bits => {
                        let word = source.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
                        scatter::<4>(&transpose_bits(word).to_le_bytes(), target, row);
                    }
                }
                at += run.bytes();
            }
        }
    }
}

/// Bytes of a block.
pub(crate) const fn bytes_of(runs: &[Run]) -> usize {
    let (mut bytes, mut index) = (0, 0);
    while index < runs.len() {
        bytes += runs[index].bytes();
        index += 1;
    }
    bytes
}

/// Puts the units of one row's run into their places among those of sixteen rows.
#[inline(always)]
fn scatter<const UNIT: usize>(source: &[u8], target: &mut [u8], row: usize) {
    let (source, _) = source.as_chunks::<UNIT>();
    let (target, _) = target.as_chunks_mut::<UNIT>();
    for (unit, target) in source.iter().zip(target.as_chunks_mut::<ROW_GROUP>().0) {
        target[row] = *unit;
    }
}

/// Moves bit `4 * i + j` to bit `8 * j + i`; see [`Run::Bits`].
fn transpose_bits(word: u32) -> u32 {
    // Every fourth bit, packed into a byte by halving the gaps three times.
    let pack = |bits: u32| {
        let pairs = (bits | bits >> 3) & 0x0303_0303;
        let fours = (pairs | pairs >> 6) & 0x000f_000f;
        (fours | fours >> 12) & 0xff
    };
    (0..4).fold(0, |out, j| out | pack(word >> j & 0x1111_1111) << (8 * j))
}

/// The inverse of [`transpose_bits`].
fn restore_bits(word: u32) -> u32 {
    let spread = |byte: u32| {
        let fours = (byte | byte << 12) & 0x000f_000f;
        let pairs = (fours | fours << 6) & 0x0303_0303;
        (pairs | pairs << 3) & 0x1111_1111
    };
    (0..4).fold(0, |out, j| out | spread(word >> (8 * j) & 0xff) << j)
}

/// Takes one row's block out of a row block: the inverse of [`interleave`] for that row.
pub(crate) fn gather(runs: &[Run], row_block: &[u8], row: usize, block: &mut [u8]) {
    let mut at = 0;
    for run in runs {
        let len = run.unit();
        for unit in (at..at + run.bytes()).step_by(len) {
            block[unit..unit + len].copy_from_slice(&row_block[ROW_GROUP * unit + row * len..][..len]);
        }
        if *run == Run::Bits {
            let word = block[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
            block[at..at + 4].copy_from_slice(&restore_bits(word).to_le_bytes());
        }
        at += run.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::random_weights;
    use crate::{FORMATS, Isa};
    use std::sync::Mutex;

    #[test]
    fn bits_come_back() {
        for word in (0..32).map(|bit| 1u32 << bit).chain([0, u32::MAX, 0x1234_5678]) {
            assert_eq!(restore_bits(transpose_bits(word)), word);
        }
        assert_eq!((transpose_bits(1 << 5), transpose_bits(1 << 31)), (1 << 9, 1 << 31));
    }

    /// Weights that were kept by an older program must not be read as something else.
    #[test]
    fn another_arrangement_has_another_version() {
        let runtime = Runtime::new(Isa::detect(), 1).unwrap();
        let mut sum = 0xcbf2_9ce4_8422_2325u64;
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            let (rows, cols) = (16, row.block_len);
            let bytes: Vec<u8> = (0..rows * row.block_bytes).map(|at| (at * 37 % 251) as u8).collect();
            let plain = Matrix::new(row.format, rows, cols, &bytes).unwrap();
            let mut weights = InterleavedWeights::for_matrices([plain]).unwrap();
            weights.add(&runtime, plain, |_| ());
            for &byte in row.name.as_bytes().iter().chain(weights.bytes()) {
                // FNV-1a.
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(
            (INTERLEAVED_VERSION, sum),
            (1, 2_968_140_385_867_073_627),
            "raise the version with the arrangement"
        );
    }

    #[test]
    fn every_row_reads_back_exactly_and_every_byte_is_reported_read() {
        let runtime = Runtime::new(Isa::detect(), 2).unwrap();
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            for rows in [1, 16, 37] {
                let cols = 2 * row.block_len;
                let bytes = random_weights(row.format, rows, cols);
                let plain = Matrix::new(row.format, rows, cols, &bytes).unwrap();
                let mut weights = InterleavedWeights::for_matrices([plain]).unwrap();
                let read = Mutex::new(vec![0; bytes.len()]);
                let place = weights.add(&runtime, plain, |range| {
                    read.lock().unwrap()[range].iter_mut().for_each(|count| *count += 1);
                });
                assert!(read.into_inner().unwrap().iter().all(|&count| count == 1), "{}", row.name);
                let kept = InterleavedWeights::kept(weights.bytes().to_vec(), [plain]).unwrap();
                assert_eq!((kept.1.as_slice(), kept.0.bytes()), ([place.clone()].as_slice(), weights.bytes()));
                assert!(InterleavedWeights::kept(vec![0; weights.bytes().len() - 1], [plain]).is_none());
                let interleaved = kept.0.matrix(&place);
                let (mut expected, mut got) = (vec![0.0; cols], vec![0.0; cols]);
                for index in 0..rows {
                    plain.decode_row(runtime.isa(), index, &mut expected);
                    interleaved.decode_row(runtime.isa(), index, &mut got);
                    assert_eq!(got, expected, "{} row {index} of {rows}", row.name);
                }
            }
        }
    }
}
