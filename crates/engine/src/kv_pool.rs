//! Who owns which page of the KV memory. Numbers only: the memory itself is the caller's.
//!
//! A page is taken out of the pool as a number in a `Vec` and is given back with it, so a page has one owner at any
//! time: nobody, a sequence, or the prefix cache. `free + owned + cached == total` is asserted after every step.
//! Read next: `kv_memory`, the only user, and `prefix_cache`.

/// The pages that nobody owns.
#[derive(Debug)]
pub(crate) struct KvPool {
    total: usize,
    free: Vec<u32>,
}

impl KvPool {
    /// A pool of `total` pages, all free.
    pub(crate) fn new(total: usize) -> KvPool {
        let total = total.min(u32::MAX as usize);
        // Highest first, so that pages are handed out from 0 up.
        KvPool { total, free: (0..total as u32).rev().collect() }
    }

    /// Pages that exist.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Pages that nobody owns.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The free pages.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> &[u32] {
        &self.free
    }

    /// Takes `count` pages, or none if there are not so many.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        let kept = self.free.len().checked_sub(count)?;
        let mut pages = self.free.split_off(kept);
        pages.reverse();
        Some(pages)
    }

    /// Takes pages back.
    pub(crate) fn give(&mut self, pages: Vec<u32>) {
        self.free.extend(pages.into_iter().rev());
        assert!(self.free.len() <= self.total, "more pages were given back than exist; this is a bug");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_handed_out_once_and_come_back() {
        let mut pool = KvPool::new(5);
        let first = pool.take(2).unwrap();
        let second = pool.take(3).unwrap();
        assert_eq!((first.clone(), second.clone()), (vec![0, 1], vec![2, 3, 4]));
        assert_eq!(pool.take(1), None);
        assert_eq!(pool.take(0), Some(vec![]));
        pool.give(first);
        assert_eq!((pool.free(), pool.total()), (2, 5));
        assert_eq!(pool.take(3), None, "all or nothing");
        pool.give(second);
        assert_eq!(pool.free(), 5);
    }
}
