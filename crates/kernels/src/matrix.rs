//! A view on a weight matrix in one block format. It knows no tensor name and owns no bytes.

use crate::interleave::{ROW_GROUP, gather};
use crate::quant::MOST_BLOCK_BYTES;
use crate::{Format, Isa, KernelError};

/// Weights `[rows, cols]`, each row a whole number of blocks.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    format: Format,
    layout: Layout,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

/// How the blocks lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row after row, as in a file.
    Rows,
    /// Sixteen rows side by side; see `interleave.rs`.
    Interleaved,
}

impl<'a> Matrix<'a> {
    /// A view on `bytes` as `rows` rows of `cols` weights.
    ///
    /// # Errors
    /// [`KernelError::PartialBlock`] when a row is not whole blocks, [`KernelError::WrongLength`] when `bytes` is not
    /// exactly that large, [`KernelError::Overflow`] when the size does not fit in memory.
    pub fn new(format: Format, rows: usize, cols: usize, bytes: &'a [u8]) -> Result<Matrix<'a>, KernelError> {
        let block_len = format.block_len();
        if !cols.is_multiple_of(block_len) {
            return Err(KernelError::PartialBlock { format: format.name(), block_len, cols });
        }
        let overflow = KernelError::Overflow { what: "bytes of a weight matrix" };
        let Some(row_bytes) = format.row_bytes(cols) else { return Err(overflow) };
        let Some(expected) = row_bytes.checked_mul(rows) else { return Err(overflow) };
        if bytes.len() != expected {
            let what = "bytes of a weight matrix";
            return Err(KernelError::WrongLength { what, expected, got: bytes.len() });
        }
        Ok(Matrix { format, layout: Layout::Rows, rows, cols, row_bytes, bytes })
    }

    /// A view on interleaved bytes; the caller has their length right.
    pub(crate) fn interleaved(format: Format, rows: usize, cols: usize, bytes: &'a [u8]) -> Matrix<'a> {
        let row_bytes = format.row_bytes(cols).expect("whole blocks, as when they were interleaved; this is a bug");
        assert_eq!(bytes.len(), rows.next_multiple_of(ROW_GROUP) * row_bytes, "interleaved weights");
        Matrix { format, layout: Layout::Interleaved, rows, cols, row_bytes, bytes }
    }

    /// Rows: the width of the output of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: the width of the input of a product.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The block format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How the blocks lie in memory.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The bytes of one row of a matrix that is not interleaved.
    pub(crate) fn row(&self, index: usize) -> &'a [u8] {
        assert!(self.layout == Layout::Rows, "the rows of an interleaved matrix are not adjacent");
        assert!(index < self.rows, "row {index} of a matrix of {}", self.rows);
        &self.bytes[index * self.row_bytes..][..self.row_bytes]
    }

    /// The bytes of sixteen rows of an interleaved matrix: `[blocks of a row, row block]`.
    pub(crate) fn row_group(&self, index: usize) -> &'a [u8] {
        assert!(self.layout == Layout::Interleaved, "only interleaved rows come in groups");
        &self.bytes[index * ROW_GROUP * self.row_bytes..][..ROW_GROUP * self.row_bytes]
    }

    /// Writes the weights of one row to `out` `[cols]`, the same from either layout.
    pub(crate) fn decode_row(&self, isa: Isa, index: usize, out: &mut [f32]) {
        assert!(index < self.rows && out.len() == self.cols, "row {index} of a matrix of {}", self.rows);
        let decode = self.format.row().decode;
        let Some(runs) = self.format.interleaving().filter(|_| self.layout == Layout::Interleaved) else {
            return decode(isa, self.row(index), out);
        };
        let (block_len, block_bytes) = (self.format.block_len(), self.format.block_bytes());
        let mut block = [0; MOST_BLOCK_BYTES];
        let row_blocks = self.row_group(index / ROW_GROUP).chunks_exact(ROW_GROUP * block_bytes);
        for (row_block, out) in row_blocks.zip(out.chunks_exact_mut(block_len)) {
            gather(runs, row_block, index % ROW_GROUP, &mut block[..block_bytes]);
            decode(isa, &block[..block_bytes], out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_checked() {
        let bytes = [0; 3 * 2 * 18];
        let matrix = Matrix::new(Format::Q4_0, 3, 64, &bytes).unwrap();
        assert_eq!((matrix.rows(), matrix.cols(), matrix.row(2).len()), (3, 64, 36));
        let short = Matrix::new(Format::Q4_0, 3, 64, &bytes[1..]).unwrap_err();
        assert!(short.to_string().starts_with("bytes of a weight matrix: expected 108, got 107"), "{short}");
        let partial = Matrix::new(Format::Q4_0, 3, 33, &bytes).unwrap_err();
        assert!(
            partial.to_string().starts_with("rows of q4_0: expected a multiple of 32 columns, got 33"),
            "{partial}"
        );
        assert!(matches!(Matrix::new(Format::F32, usize::MAX, 64, &[]), Err(KernelError::Overflow { .. })));
    }
}
