//! Token embedding: rows of a table, decoded. Exact.

use crate::{Matrix, Runtime};

/// Writes row `ids[t]` of `table` `[V, D]` to row `t` of `out` `[T, D]`.
///
/// # Panics
/// When an id is not below `V` or `out` is not `[T, D]`.
pub fn embed(runtime: &Runtime, table: Matrix<'_>, ids: &[u32], out: &mut [f32]) {
    let width = table.cols();
    assert_eq!(out.len(), ids.len() * width, "embed: out is [T, D]");
    let rows = runtime.rows_per_task(ids.len(), width);
    runtime.for_each_chunk(out, (rows * width).max(1), |index, chunk| {
        for (row, &id) in chunk.chunks_exact_mut(width).zip(&ids[index * rows..]) {
            table.decode_row(runtime.isa(), id as usize, row);
        }
    });
}

#[cfg(test)]
mod tests {
    use crate::{Format, Isa, Matrix, Runtime, embed};

    #[test]
    fn rows_are_picked() {
        let table: Vec<u8> = (0..5 * 3).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let table = Matrix::new(Format::F32, 5, 3, &table).unwrap();
        for isa in Isa::available() {
            let runtime = Runtime::new(isa, 2).unwrap();
            let mut out = [0.0; 9];
            embed(&runtime, table, &[4, 0, 4], &mut out);
            assert_eq!(out, [12.0, 13.0, 14.0, 0.0, 1.0, 2.0, 12.0, 13.0, 14.0]);
        }
    }
}
