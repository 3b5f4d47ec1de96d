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

/// The interleaved weights of a model: made once and then only read, or read from where they were kept.
pub struct InterleavedWeights {
    held: Held,
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

/// Groups of sixteen rows that follow each other in one matrix.
struct Part {
    matrix: usize,
    groups: Range<usize>,
}

impl InterleavedWeights {
    /// Copies matrices, all of formats that [`Format::can_interleave`], one behind the other, on as many threads as the
    /// runtime has, beside which its ops go on; with the place of each. `read(index, range)` is called when these bytes of a
    /// matrix have been read for the last time; the ranges of all calls cover it.
    ///
    /// # Errors
    /// [`KernelError::Overflow`] or [`KernelError::OutOfMemory`] when there is no memory for them.
    ///
    /// # Panics
    /// When a format cannot be interleaved.
    pub fn new(
        runtime: &Runtime,
        matrices: &[Matrix<'_>],
        read: impl Fn(usize, Range<usize>) + Sync,
    ) -> Result<(InterleavedWeights, Vec<InterleavedMatrix>), KernelError> {
        /// Bytes of a piece of work, about: a huge page, so that two threads seldom wait for the same one to be cleared.
        const PIECE: usize = 2 << 20;
        InterleavedWeights::in_pieces(PIECE, runtime, matrices, read)
    }

    fn in_pieces(
        piece_bytes: usize,
        runtime: &Runtime,
        matrices: &[Matrix<'_>],
        read: impl Fn(usize, Range<usize>) + Sync,
    ) -> Result<(InterleavedWeights, Vec<InterleavedMatrix>), KernelError> {
        let what = "bytes of interleaved weights";
        let places = places(matrices).ok_or(KernelError::Overflow { what })?;
        let mut memory = Memory::new(what, total(&places), Pages::Huge)?;
        let (pieces, ends) = pieces(piece_bytes, matrices);
        runtime.for_each_span(memory.bytes_mut(), &ends, |piece, mut target| {
            for Part { matrix: index, groups } in &pieces[piece] {
                let matrix = &matrices[*index];
                let interleave = matrix.format().interleave().expect("a format that can be interleaved; this is a bug");
                let rows = groups.start * ROW_GROUP..matrix.rows().min(groups.end * ROW_GROUP);
                for group in groups.clone() {
                    let bytes =
                        target.split_off_mut(..group_bytes(matrix)).expect("pieces hold their parts; this is a bug");
                    interleave(matrix, group * ROW_GROUP, bytes);
                }
                read(*index, rows.start * matrix.row_bytes()..rows.end * matrix.row_bytes());
            }
        });
        Ok((InterleavedWeights { held: Held::Own(memory) }, places))
    }

    /// The weights that are kept in `bytes`, as [`InterleavedWeights::bytes`] had them of these matrices in this order; with
    /// the place of each. `None` if so many bytes cannot be these.
    pub fn kept(
        bytes: impl Deref<Target = [u8]> + Send + Sync + 'static,
        matrices: &[Matrix<'_>],
    ) -> Option<(InterleavedWeights, Vec<InterleavedMatrix>)> {
        let places = places(matrices)?;
        (total(&places) == bytes.len()).then(|| (InterleavedWeights { held: Held::Kept(Box::new(bytes)) }, places))
    }

    /// All bytes, in the order of the matrices.
    pub fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Own(memory) => memory.bytes(),
            Held::Kept(bytes) => bytes,
        }
    }

    /// A view on one of the matrices.
    pub fn matrix(&self, place: &InterleavedMatrix) -> Matrix<'_> {
        let bytes = &self.bytes()[place.range.clone()];
        Matrix::interleaved(place.format, place.rows, place.cols, bytes)
    }
}

impl std::fmt::Debug for InterleavedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InterleavedWeights({} bytes)", self.bytes().len())
    }
}

/// Bytes of sixteen rows.
fn group_bytes(matrix: &Matrix<'_>) -> usize {
    ROW_GROUP * matrix.row_bytes()
}

/// Where each matrix stands, its rows padded to whole groups; `None` if that is beyond all memory.
fn places(matrices: &[Matrix<'_>]) -> Option<Vec<InterleavedMatrix>> {
    let mut end = 0usize;
    let place = |matrix: &Matrix<'_>| {
        let bytes = matrix.rows().checked_next_multiple_of(ROW_GROUP)?.checked_mul(matrix.row_bytes())?;
        let start = end;
        end = end.checked_add(bytes)?;
        Some(InterleavedMatrix { format: matrix.format(), rows: matrix.rows(), cols: matrix.cols(), range: start..end })
    };
    matrices.iter().map(place).collect()
}

fn total(places: &[InterleavedMatrix]) -> usize {
    places.last().map_or(0, |place| place.range.end)
}

/// Cuts matrices, one behind the other, into pieces of work of about `piece_bytes`, and tells where each ends.
fn pieces(piece_bytes: usize, matrices: &[Matrix<'_>]) -> (Vec<Vec<Part>>, Vec<usize>) {
    let (mut pieces, mut ends) = (Vec::new(), Vec::new());
    let (mut piece, mut start, mut end) = (Vec::new(), 0, 0);
    for (index, matrix) in matrices.iter().enumerate() {
        let (mut group, groups) = (0, matrix.rows().div_ceil(ROW_GROUP));
        while group < groups {
            let room = (piece_bytes - (end - start)).div_ceil(group_bytes(matrix).max(1));
            let part = group..groups.min(group + room);
            (group, end) = (part.end, end + part.len() * group_bytes(matrix));
            piece.push(Part { matrix: index, groups: part });
            if end - start >= piece_bytes {
                pieces.push(std::mem::take(&mut piece));
                ends.push(end);
                start = end;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
        ends.push(end);
    }
    (pieces, ends)
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
                    Run::Quads(_) | Run::Bits => scatter::<4>(source, target, row),
                }
                at += run.bytes();
            }
        }
        let mut at = 0;
        for run in F::RUNS {
            if *run == Run::Bits {
                // All rows at once, which is one vector or a few.
                for word in target[ROW_GROUP * at..][..ROW_GROUP * run.bytes()].as_chunks_mut().0 {
                    *word = transpose_bits(u32::from_le_bytes(*word)).to_le_bytes();
                }
            }
            at += run.bytes();
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

/// Moves bit `4 * i + j` to bit `8 * j + i`; see [`Run::Bits`]. Of the five digits of a bit's index the last two become the
/// first.
#[inline(always)]
fn transpose_bits(word: u32) -> u32 {
    unshuffle(unshuffle(word))
}

/// The inverse of [`transpose_bits`]: five turns are none.
fn restore_bits(word: u32) -> u32 {
    unshuffle(unshuffle(unshuffle(word)))
}

/// Moves bits of even index to the lower half and those of odd index to the upper, each in their order: the last digit of
/// an index becomes the first.
#[inline(always)]
fn unshuffle(word: u32) -> u32 {
    let swap = |word: u32, mask: u32, shift: u32| {
        let differing = (word ^ word >> shift) & mask;
        word ^ differing ^ differing << shift
    };
    [(0x2222_2222, 1), (0x0c0c_0c0c, 2), (0x00f0_00f0, 4), (0x0000_ff00, 8)]
        .into_iter()
        .fold(word, |word, (mask, shift)| swap(word, mask, shift))
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
            let (weights, _) = InterleavedWeights::new(&runtime, &[plain], |_, _| ()).unwrap();
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
            let cols = 2 * row.block_len;
            let all: Vec<(usize, Vec<u8>)> =
                [1, 16, 0, 37].map(|rows| (rows, random_weights(row.format, rows, cols))).into();
            let plain: Vec<Matrix<'_>> =
                all.iter().map(|(rows, bytes)| Matrix::new(row.format, *rows, cols, bytes).unwrap()).collect();
            // One group a piece, several in some and across matrices, all in one.
            for piece_bytes in [1, 3 * ROW_GROUP * plain[0].row_bytes(), usize::MAX] {
                let read = Mutex::new(all.iter().map(|(_, bytes)| vec![0; bytes.len()]).collect::<Vec<_>>());
                let (weights, places) = InterleavedWeights::in_pieces(piece_bytes, &runtime, &plain, |index, range| {
                    read.lock().unwrap()[index][range].iter_mut().for_each(|count| *count += 1);
                })
                .unwrap();
                assert!(read.into_inner().unwrap().iter().flatten().all(|&count| count == 1), "{}", row.name);
                assert!(InterleavedWeights::kept(vec![0; weights.bytes().len() - 1], &plain).is_none());
                let kept = InterleavedWeights::kept(weights.bytes().to_vec(), &plain).unwrap();
                assert_eq!((&kept.1, kept.0.bytes()), (&places, weights.bytes()));
                for (plain, place) in plain.iter().zip(&places) {
                    let interleaved = kept.0.matrix(place);
                    let (mut expected, mut got) = (vec![0.0; cols], vec![0.0; cols]);
                    for index in 0..plain.rows() {
                        plain.decode_row(runtime.isa(), index, &mut expected);
                        interleaved.decode_row(runtime.isa(), index, &mut got);
                        assert_eq!(got, expected, "{} row {index} of {}", row.name, plain.rows());
                    }
                }
            }
        }
    }

    #[test]
    fn small_matrices_share_a_piece_and_large_ones_are_cut() {
        let bytes = vec![0; 34 * 1000 * 16 * 9];
        let matrix = |rows, blocks| Matrix::new(Format::Q8_0, rows, 32 * blocks, &bytes[..34 * rows * blocks]).unwrap();
        let (pieces, ends) = pieces(2 << 20, &[matrix(20, 2), matrix(16 * 9, 1000), matrix(5, 1)]);
        let parts = |piece: &Vec<Part>| piece.iter().map(|part| (part.matrix, part.groups.clone())).collect::<Vec<_>>();
        let expected = [vec![(0, 0..2), (1, 0..4)], vec![(1, 4..8)], vec![(1, 8..9), (2, 0..1)]];
        assert_eq!(pieces.iter().map(parts).collect::<Vec<_>>(), expected);
        assert_eq!(ends, [2_178_176, 4_354_176, 4_898_720]);
    }
}
