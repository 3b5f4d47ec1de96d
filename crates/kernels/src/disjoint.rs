//! One buffer written by many pieces of work: each piece gets its own part, and the parts never overlap.
//!
//! The ops call the methods of [`Runtime`] here and stay free of `unsafe` for their writes. See `pool.rs` for the threads.

use std::marker::PhantomData;
use std::ops::Range;

use crate::runtime::Runtime;

/// The start of a buffer that pieces of work share.
struct Base<T>(*mut T);

impl<T> Base<T> {
    /// The pointer; a method, so that closures capture the whole, which is `Sync`, and not the field.
    fn pointer(&self) -> *mut T {
        self.0
    }
}

// SAFETY: the users below hand out each element to one piece of work alone.
unsafe impl<T: Send> Sync for Base<T> {}

/// Some columns of a matrix [rows, row_len], to be written by one piece of work.
pub(crate) struct Columns<'a, T> {
    base: *mut T,
    rows: usize,
    row_len: usize,
    columns: Range<usize>,
    buffer: PhantomData<&'a mut [T]>,
}

impl<T> Columns<'_, T> {
    /// These columns of one row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row and the columns lie inside the buffer (asserted here and in `for_each_columns`), and no other
        // piece of work has these columns of this row.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.add(row * self.row_len + self.columns.start), self.columns.len())
        }
    }
}

/// Some columns of some rows of a matrix [rows, row_len], to be written by one piece of work.
pub(crate) struct Scattered<'a, T> {
    base: *mut T,
    rows: &'a [usize],
    row_len: usize,
    columns: Range<usize>,
    buffer: PhantomData<&'a mut [T]>,
}

impl<T> Scattered<'_, T> {
    /// These columns of the `index`th of the rows.
    #[inline(always)]
    pub(crate) fn row(&mut self, index: usize) -> &mut [T] {
        let row = self.rows[index];
        // SAFETY: the row and the columns lie inside the buffer (asserted in `for_each_part`), and no other piece of work has
        // these columns of this row.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.add(row * self.row_len + self.columns.start), self.columns.len())
        }
    }
}

impl Runtime {
    /// Calls `task(index, chunk)` for each chunk of `len` elements of `buffer`, the last possibly shorter, on all threads.
    pub(crate) fn for_each_chunk<T: Send>(&self, buffer: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        assert!(len > 0, "chunks of no length");
        let total = buffer.len();
        let base = Base(buffer.as_mut_ptr());
        self.run(total.div_ceil(len), &|index| {
            let start = index * len;
            // SAFETY: the chunk lies inside the buffer, which is borrowed for the whole call, and the pool gives each
            // index to one thread once, so chunks do not overlap.
            let chunk = unsafe { std::slice::from_raw_parts_mut(base.pointer().add(start), len.min(total - start)) };
            task(index, chunk);
        });
    }

    /// Calls `task(index, span)` for each span of `buffer`, on as many threads, beside which ops of others go on. `ends`
    /// tells, ascending, where each span ends: the next one begins there. What follows the last is left alone.
    pub(crate) fn for_each_span<T: Send>(
        &self,
        buffer: &mut [T],
        ends: &[usize],
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        assert!(ends.is_sorted() && ends.last().is_none_or(|&end| end <= buffer.len()), "spans outside of the buffer");
        let base = Base(buffer.as_mut_ptr());
        self.run_beside(ends.len(), &|index| {
            let start = index.checked_sub(1).map_or(0, |before| ends[before]);
            // SAFETY: the span lies inside the buffer, as its end does, which is borrowed for the whole call. Each begins where
            // the one before ends, and each index is run once, so no two share an element.
            let span = unsafe { std::slice::from_raw_parts_mut(base.pointer().add(start), ends[index] - start) };
            task(index, span);
        });
    }

    /// Cuts matrices, each given as (buffer, row_len), into tiles of at most `tile_rows` rows and `tile_columns` columns
    /// and calls `task(matrix, rows, columns, tile)` for each, on all threads if `work` multiply-adds are worth it.
    pub(crate) fn for_each_tile<T: Send>(
        &self,
        matrices: &mut [(&mut [T], usize)],
        (tile_rows, tile_columns): (usize, usize),
        work: usize,
        task: impl Fn(usize, Range<usize>, Range<usize>, Columns<'_, T>) + Sync,
    ) {
        let mut count = 0;
        let grids: Vec<Grid<T>> = matrices
            .iter_mut()
            .map(|(buffer, row_len)| {
                let rows = buffer.len() / *row_len;
                assert_eq!(buffer.len(), rows * *row_len, "whole rows of {row_len}");
                let first = count;
                count += row_len.div_ceil(tile_columns) * rows.div_ceil(tile_rows);
                Grid { base: Base(buffer.as_mut_ptr()), rows, row_len: *row_len, first }
            })
            .collect();
        let tile = |index: usize| {
            let which = grids.partition_point(|grid| grid.first <= index) - 1;
            let Grid { base, rows, row_len, first } = &grids[which];
            let row_tiles = rows.div_ceil(tile_rows);
            let (column, row) = ((index - first) / row_tiles * tile_columns, (index - first) % row_tiles * tile_rows);
            let rows = row..(*rows).min(row + tile_rows);
            let columns = column..(*row_len).min(column + tile_columns);
            // SAFETY: `row` is below `rows`, so the offset lies inside the buffer, whose length was asserted.
            let base = unsafe { base.pointer().add(row * row_len) };
            // Tiles of one matrix share no element, matrices are separate borrows, and each index is run once.
            let tile =
                Columns { base, rows: rows.len(), row_len: *row_len, columns: columns.clone(), buffer: PhantomData };
            task(which, rows, columns, tile);
        };
        self.run_if_worth(work, count, &tile);
    }

    /// Cuts a matrix, given as (buffer, row_len), into parts of `part_columns` columns of the rows that a piece names, and
    /// calls `task(piece, columns, part)` for each, on all threads if `work` multiply-adds are worth it. `rows` names each
    /// row at most once; `pieces` are ranges of it that do not overlap, in ascending order.
    pub(crate) fn for_each_part<T: Send>(
        &self,
        (buffer, row_len): (&mut [T], usize),
        part_columns: usize,
        (rows, pieces): (&[usize], &[Range<usize>]),
        work: usize,
        task: impl Fn(usize, Range<usize>, Scattered<'_, T>) + Sync,
    ) {
        let mut is_named = vec![false; buffer.len() / row_len];
        for &row in rows {
            assert!(!std::mem::replace(&mut is_named[row], true), "row {row} is named twice");
        }
        let mut end = 0;
        for piece in pieces {
            assert!(end <= piece.start && piece.start <= piece.end, "pieces overlap");
            end = piece.end;
        }
        assert!(end <= rows.len(), "a piece reaches behind the last row");
        let base = Base(buffer.as_mut_ptr());
        self.run_if_worth(work, pieces.len() * row_len.div_ceil(part_columns), &|index| {
            let (piece, column) = (index % pieces.len(), index / pieces.len() * part_columns);
            let columns = column..row_len.min(column + part_columns);
            // The rows are inside the buffer, as indexing `is_named` has shown. Pieces share no row, parts of one piece no
            // column, and each index is run once.
            let part = Scattered {
                base: base.pointer(),
                rows: &rows[pieces[piece].clone()],
                row_len,
                columns: columns.clone(),
                buffer: PhantomData,
            };
            task(piece, columns, part);
        });
    }
}

/// A matrix that is cut into tiles.
struct Grid<T> {
    base: Base<T>,
    rows: usize,
    row_len: usize,
    /// The number of its first tile.
    first: usize,
}

#[cfg(test)]
mod tests {
    use crate::{Isa, Runtime};

    #[test]
    fn tiles_cover_every_element_once() {
        for threads in [1, 3] {
            let runtime = Runtime::new(Isa::Scalar, threads).unwrap();
            let (mut a, mut b) = (vec![0u32; 7 * 5], vec![0u32; 3 * 11]);
            let mut matrices = [(&mut a[..], 5), (&mut b[..], 11)];
            runtime.for_each_tile(&mut matrices, (2, 4), usize::MAX, |which, rows, columns, mut tile| {
                for row in 0..rows.len() {
                    let part = tile.row(row);
                    assert_eq!(part.len(), columns.len());
                    for (element, column) in part.iter_mut().zip(columns.clone()) {
                        *element += (which * 1000 + (rows.start + row) * 100 + column + 1) as u32;
                    }
                }
            });
            assert!(a.iter().enumerate().all(|(i, &x)| x as usize == i / 5 * 100 + i % 5 + 1));
            assert!(b.iter().enumerate().all(|(i, &x)| x as usize == 1000 + i / 11 * 100 + i % 11 + 1));
        }
    }

    #[test]
    fn parts_cover_the_named_rows_once() {
        for threads in [1, 3] {
            let runtime = Runtime::new(Isa::Scalar, threads).unwrap();
            let mut matrix = vec![0u32; 6 * 5];
            let (rows, pieces) = ([4, 0, 5, 2], [0..1, 1..4]);
            runtime.for_each_part((&mut matrix, 5), 2, (&rows, &pieces), usize::MAX, |piece, columns, mut part| {
                for (index, &row) in rows[pieces[piece].clone()].iter().enumerate() {
                    for (element, column) in part.row(index).iter_mut().zip(columns.clone()) {
                        *element += (row * 100 + column + 1) as u32;
                    }
                }
            });
            let expected = |i: usize| if rows.contains(&(i / 5)) { i / 5 * 100 + i % 5 + 1 } else { 0 };
            assert!(matrix.iter().enumerate().all(|(i, &x)| x as usize == expected(i)));
        }
    }

    #[test]
    #[should_panic(expected = "row 1 is named twice")]
    fn a_row_has_one_writer() {
        let runtime = Runtime::new(Isa::Scalar, 1).unwrap();
        runtime.for_each_part((&mut [0; 4], 2), 2, (&[1, 1], &[0..1, 1..2]), 0, |_, _, _| ());
    }

    #[test]
    #[should_panic(expected = "pieces overlap")]
    fn a_piece_is_not_hidden_behind_one_that_ends_before_it_begins() {
        let runtime = Runtime::new(Isa::Scalar, 1).unwrap();
        #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
        let pieces = [0..2, 3..0, 0..2];
        runtime.for_each_part((&mut [0; 6], 2), 2, (&[0, 1, 2], &pieces), 0, |_, _, _| ());
    }

    #[test]
    fn spans_follow_each_other() {
        let runtime = Runtime::new(Isa::Scalar, 2).unwrap();
        let mut buffer = [0; 9];
        runtime.for_each_span(&mut buffer, &[2, 2, 7], |index, span| span.iter_mut().for_each(|x| *x += index + 1));
        assert_eq!(buffer, [1, 1, 3, 3, 3, 3, 3, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "spans outside of the buffer")]
    fn a_span_does_not_end_before_it_begins() {
        let runtime = Runtime::new(Isa::Scalar, 1).unwrap();
        runtime.for_each_span(&mut [0; 4], &[3, 2, 4], |_, _| ());
    }

    #[test]
    #[should_panic(expected = "spans outside of the buffer")]
    fn a_span_does_not_reach_beyond_the_buffer() {
        let runtime = Runtime::new(Isa::Scalar, 1).unwrap();
        runtime.for_each_span(&mut [0; 4], &[2, 5], |_, _| ());
    }

    #[test]
    fn chunks_cover_every_element_once() {
        let runtime = Runtime::new(Isa::Scalar, 2).unwrap();
        let mut buffer = vec![0; 23];
        runtime.for_each_chunk(&mut buffer, 5, |index, chunk| chunk.iter_mut().for_each(|x| *x += index + 1));
        assert!(buffer.iter().enumerate().all(|(i, &x)| x == i / 5 + 1));
        runtime.for_each_chunk(&mut [0; 0], 5, |_, _| unreachable!());
    }
}
