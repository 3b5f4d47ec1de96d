//! Pieces of work over a few threads; what comes of them is in the order of the pieces, whoever did which.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The results of pieces `0..count`, done by at most so many threads and no more than the machine runs at once.
///
/// # Panics
/// Where a piece does.
pub fn each<T: Send>(count: usize, threads: usize, piece: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.clamp(1, available).min(count);
    if threads <= 1 {
        return (0..count).map(piece).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, piece(index)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_by_key(|&(index, _)| index);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_pieces() {
        for threads in [0, 1, 2, 7] {
            for count in [0, 1, 2, 50] {
                let squares: Vec<_> = (0..count).map(|index| index * index).collect();
                assert_eq!(each(count, threads, |index| index * index), squares);
            }
        }
    }
}
