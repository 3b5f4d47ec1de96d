//! What this machine can do at the most: products of bytes in registers, and bytes read from memory.
//!
//! Prompts are bound by the first, generation by the second; how near an engine comes to them says how much there is left
//! to gain, on any machine. Both are measured with the instruction set and on the threads that the ops use, all threads
//! at once, and the best of a few rounds is taken: whatever disturbs a round only makes it slower. This file keeps the
//! only clock of the crate and knows no op. Read next: `isa.rs` for the vector operations.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::memory::{Memory, Pages};
use crate::{KernelError, Runtime};

/// What a machine can do in a second, as [`measure_limits`] found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Multiplications and additions of integers of eight bits, each counted, in the dot product of the instruction set.
    pub int8_ops_per_second: f64,
    /// Bytes read from a buffer of the size that was asked for.
    pub read_bytes_per_second: f64,
}

/// Measures both limits, in about a third of a second beside the time to fill `read_bytes` bytes; see
/// [`measure_read_rate`] for those.
///
/// # Errors
/// [`KernelError::OutOfMemory`] when the system refuses the buffer.
pub fn measure_limits(runtime: &Runtime, read_bytes: usize) -> Result<Limits, KernelError> {
    Ok(Limits {
        int8_ops_per_second: measure_int8_rate(runtime),
        read_bytes_per_second: measure_read_rate(runtime, read_bytes)?,
    })
}

/// How long all threads work in one round.
const READ_ROUND: Duration = Duration::from_millis(50);
const INT8_ROUND: Duration = Duration::from_millis(25);
const ROUNDS: usize = 3;

/// No cache holds more, so a larger buffer is not read more slowly.
const MOST_READ_BYTES: usize = 1 << 30;
/// What a thread reads between two looks at the clock.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes that the threads of `runtime` together read in a second from `read_bytes` bytes, at most 1 GiB: round and round,
/// each thread its own part. With as many as the weights of a model have, a cache that holds the whole model counts here
/// as it does for the model.
///
/// # Errors
/// [`KernelError::OutOfMemory`] when the system refuses the buffer.
pub fn measure_read_rate(runtime: &Runtime, read_bytes: usize) -> Result<f64, KernelError> {
    let threads = runtime.threads();
    let share = (read_bytes.min(MOST_READ_BYTES) / threads).next_multiple_of(PIECE_BYTES).max(PIECE_BYTES);
    let mut memory = Memory::new("the buffer that is read to measure", share * threads, Pages::Huge)?;
    // Written with something, or the system would map one page of zeros everywhere.
    runtime.for_each_chunk(memory.bytes_mut(), share, |_, part| part.fill(1));
    let bytes = memory.bytes();
    // Where each part is being read; rounds go on where the last one ended, as the passes of a model do.
    let cursors: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
    let read = |part: usize| {
        let cursor = cursors[part].load(Ordering::Relaxed);
        cursors[part].store((cursor + PIECE_BYTES) % share, Ordering::Relaxed);
        let start = part * share + cursor;
        runtime.vectorize(Read { bytes: &bytes[start..start + PIECE_BYTES] });
        PIECE_BYTES as u64
    };
    Ok((0..ROUNDS).map(|_| rate(runtime, READ_ROUND, &read)).fold(0.0, f64::max))
}

/// Operations on bytes that the threads of `runtime` together do in a second, a multiplication and an addition each.
fn measure_int8_rate(runtime: &Runtime) -> f64 {
    // Small, so that no sum of a round wraps.
    let operands = Operands([3; MOST_OPERANDS * 4 * MOST_LANES]);
    let operands = &operands;
    // Two dot products a cycle of five cycles each want more than ten sums under way, and twenty do better than twelve;
    // as many fit into thirty-two registers. Of sixteen, twelve are sums, and the columns come from memory.
    let large = |_| runtime.vectorize(Dots::<4, 5, 4> { operands });
    let small = |_| runtime.vectorize(Dots::<2, 6, 1> { operands });
    let tiles: [&(dyn Fn(usize) -> u64 + Sync); 2] = [&large, &small];
    let rounds = (0..ROUNDS).flat_map(|_| tiles).map(|tile| rate(runtime, INT8_ROUND, tile));
    rounds.fold(0.0, f64::max)
}

/// Columns, then rows. Aligned to the widest vector: one that lies across two lines is loaded twice.
#[repr(align(64))]
struct Operands([u8; MOST_OPERANDS * 4 * MOST_LANES]);

/// Of the largest tile.
const MOST_OPERANDS: usize = 5 + 4 * 4;

/// Has every thread repeat `work(index)` for a round; returns how much was done in a second, by its own count.
///
/// A piece lasts the whole round, so each thread has one. Should a thread come too late for that, its piece is done after
/// another's and the clock goes on: too little is measured, never too much.
fn rate(runtime: &Runtime, round: Duration, work: &(dyn Fn(usize) -> u64 + Sync)) -> f64 {
    let done = AtomicU64::new(0);
    let began = Instant::now();
    runtime.run(runtime.threads(), &|index| {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < round {
            count += work(index);
        }
        done.fetch_add(count, Ordering::Relaxed);
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Multiplies `GROUPS` times `ROWS` rows with the same columns, again and again; returns the operations.
///
/// Nearly all of it is dot products, one for each sum between two loads of rows. No two of a step have the same operands,
/// or a compiler that builds the dot product from several instructions would share some.
struct Dots<'a, const ROWS: usize, const COLUMNS: usize, const GROUPS: usize> {
    operands: &'a Operands,
}

impl<const ROWS: usize, const COLUMNS: usize, const GROUPS: usize> Kernel for Dots<'_, ROWS, COLUMNS, GROUPS> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u64 {
        const STEPS: usize = 256;
        const {
            assert!(COLUMNS + ROWS * GROUPS <= MOST_OPERANDS && S::LANES <= MOST_LANES);
            assert!(align_of::<Operands>() == 4 * MOST_LANES);
        }
        let width = 4 * S::LANES;
        let mut sums = [[simd.splat_i32(0); ROWS]; COLUMNS];
        for _ in 0..STEPS {
            // The compiler must not know that the operands stay the same, or it would multiply them once.
            let operands = black_box(self.operands).0.as_ptr();
            // Loops, not closures: those are not always inlined, and are then not compiled for the instruction set.
            let mut columns = [simd.splat_i32(0); COLUMNS];
            for (index, column) in columns.iter_mut().enumerate() {
                // SAFETY: there are operands for all columns and rows of the widest vectors, asserted above.
                *column = unsafe { simd.load_int(operands.add(index * width)) };
            }
            for group in 0..GROUPS {
                let mut rows = [simd.splat_i32(0); ROWS];
                for (index, row) in rows.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *row = unsafe { simd.load_int(operands.add((COLUMNS + group * ROWS + index) * width)) };
                }
                for column in 0..COLUMNS {
                    for row in 0..ROWS {
                        sums[column][row] = simd.dot_seven_bits(sums[column][row], rows[row], columns[column]);
                    }
                }
            }
        }
        keep(simd, sums.as_flattened());
        2 * (GROUPS * ROWS * COLUMNS * width * STEPS) as u64
    }
}

/// Reads all of it, which must be whole pieces.
struct Read<'a> {
    bytes: &'a [u8],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const VECTORS: usize = 8;
        const LINE_BYTES: usize = 64;
        // Asked for early, lines arrive a twentieth faster than the processor's own foresight fetches them.
        const AHEAD_BYTES: usize = 2048;
        let width = 4 * S::LANES;
        let mut sums = [simd.splat_i32(0); VECTORS];
        for bytes in self.bytes.chunks_exact(VECTORS * width) {
            for line in (0..VECTORS * width).step_by(LINE_BYTES) {
                simd.prefetch(bytes.as_ptr().wrapping_add(AHEAD_BYTES + line));
            }
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the chunk has `VECTORS` vectors.
                *sum = simd.xor(*sum, unsafe { simd.load_int(bytes.as_ptr().add(index * width)) });
            }
        }
        keep(simd, &sums);
    }
}

/// Makes the compiler compute `sums`.
#[inline(always)]
fn keep<S: Simd>(simd: S, sums: &[S::Int]) {
    let all = sums.iter().fold(simd.splat_i32(0), |all, &sum| simd.xor(all, sum));
    let mut bytes = [0; 4 * MOST_LANES];
    // SAFETY: there is room for the widest vector.
    unsafe { simd.store_int(all, bytes.as_mut_ptr()) };
    black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn every_instruction_set_has_limits() {
        for isa in Isa::available() {
            let limits = measure_limits(&Runtime::new(isa, 2).unwrap(), 3 << 20).unwrap();
            assert!(limits.int8_ops_per_second > 1e8, "{isa:?}: {limits:?}");
            assert!(limits.read_bytes_per_second > 1e8, "{isa:?}: {limits:?}");
        }
    }

    #[test]
    fn a_buffer_of_nothing_is_one_piece_a_thread() {
        assert!(measure_read_rate(&Runtime::new(Isa::detect(), 3).unwrap(), 0).unwrap() > 1e8);
    }
}
