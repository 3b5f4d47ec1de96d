//! Which pages a sequence has: looked up, taken, left for others, given up.
//!
//! ```text
//! look up:  whole pages that others computed for the same first tokens are read, not computed again
//! copy:     of a page that only begins with the same tokens, so much is taken over into a page of its own
//! take:     pages for what a step computes, free ones first, then cached ones that nobody reads
//! publish:  after the step, whole pages go to the prefix cache; who computed them goes on as their first reader
//! give up:  pages of its own are free again, those that it read stay cached until somebody needs the memory
//! leave:    the same, but the page that it had begun stays too, to be copied
//! ```
//!
//! It knows neither turns nor whose turn it is. Read next: `scheduler`, which decides who takes and who gives up.

use crate::kv_pool::KvPool;
use crate::prefix_cache::PrefixCache;
use crate::sequence::Sequence;
use model::PageCopy;

/// The beginning of a page is copied from this part of it on, an eighth.
const LEAST_SHARE: usize = 8;

/// The pages: free ones, cached ones, and the rules by which sequences come to have them.
#[derive(Debug)]
pub(crate) struct KvMemory {
    pool: KvPool,
    prefixes: PrefixCache,
    page_len: usize,
}

impl KvMemory {
    /// `pages` pages of `page_len` positions, all free.
    pub(crate) fn new(pages: usize, page_len: usize) -> KvMemory {
        KvMemory { pool: KvPool::new(pages), prefixes: PrefixCache::new(page_len), page_len }
    }

    /// Positions in a page.
    pub(crate) fn page_len(&self) -> usize {
        self.page_len
    }

    /// Pages that hold `positions` positions.
    pub(crate) fn pages_for(&self, positions: usize) -> usize {
        positions.div_ceil(self.page_len)
    }

    /// Pages that exist.
    pub(crate) fn total(&self) -> usize {
        self.pool.total()
    }

    /// Pages that nobody holds, not even the cache.
    pub(crate) fn free(&self) -> usize {
        self.pool.free()
    }

    /// Pages that the cache alone holds: as good as free.
    pub(crate) fn unread(&self) -> usize {
        self.prefixes.unread()
    }

    /// Pages that a sequence can still take.
    pub(crate) fn available(&self) -> usize {
        self.free() + self.unread()
    }

    /// Tokens that a sequence could compute next on its own pages and all that are available.
    pub(crate) fn reach(&self, sequence: &Sequence) -> usize {
        (sequence.pages.len() + self.available()) * self.page_len - sequence.computed
    }

    /// Lets a sequence read the cached pages that hold its next tokens; returns how many tokens it need not compute for
    /// that. At least one token is left to compute, and the first whose row is wanted.
    pub(crate) fn look_up(&mut self, sequence: &mut Sequence) -> usize {
        let from = sequence.shared * self.page_len;
        let to = sequence.may_skip();
        if to < from + self.page_len {
            return 0;
        }
        let parent = sequence.pages[..sequence.shared].last().copied();
        let found = self.prefixes.take(parent, &sequence.tokens[from..to], sequence.kind());
        // Pages of its own that hold the same, or a part of it, are no longer needed.
        let own_end = sequence.pages.len().min(sequence.shared + found.len());
        let doubled: Vec<u32> = sequence.pages.splice(sequence.shared..own_end, found.iter().copied()).collect();
        self.pool.give(doubled);
        sequence.shared += found.len();
        let before = sequence.computed;
        sequence.computed = before.max(sequence.shared * self.page_len);
        sequence.computed - before
    }

    /// Lets a sequence that is to begin a page go on in a copy of a cached one that begins with the same tokens. Returns the
    /// copy to make, before anything is computed, and how many tokens need not be computed for it.
    pub(crate) fn copy_beginning(&mut self, sequence: &mut Sequence) -> Option<(PageCopy, usize)> {
        let first = sequence.shared * self.page_len;
        let may_skip = sequence.may_skip();
        if sequence.pages.len() > sequence.shared || sequence.computed > first || may_skip <= first {
            return None;
        }
        let parent = sequence.pages.last().copied();
        let nearest = self.prefixes.nearest(parent, &sequence.tokens[first..may_skip], sequence.kind());
        // For a few tokens, which unrelated prompts may begin with, a page is not worth copying.
        let (from, len) = nearest.filter(|(_, len)| len * LEAST_SHARE >= self.page_len)?;
        // Where no other page is left the copy takes the place of the page itself, which holds the same.
        if !self.take(sequence, first + len) {
            return None;
        }
        let to = *sequence.pages.last().expect("it was just taken; this is a bug");
        sequence.computed += len;
        Some((PageCopy { from, to }, len))
    }

    /// Takes what a sequence lacks to hold `positions` positions; false, and nothing is taken, if there are not so many pages.
    pub(crate) fn take(&mut self, sequence: &mut Sequence, positions: usize) -> bool {
        let count = self.pages_for(positions).saturating_sub(sequence.pages.len());
        if count > self.available() {
            return false;
        }
        while self.pool.free() < count {
            let page = self.prefixes.evict().expect("unread pages can be evicted; this is a bug");
            self.pool.give(vec![page]);
        }
        sequence.pages.extend(self.pool.take(count).expect("so many were just freed; this is a bug"));
        true
    }

    /// Puts the whole computed pages of a sequence into the cache, where others find them from the next step on. It reads
    /// them there itself; where another sequence was first, it reads that one's and gives its own back: they hold the same.
    pub(crate) fn publish(&mut self, sequence: &mut Sequence) {
        let whole = sequence.computed.min(sequence.publishable()) / self.page_len;
        while sequence.shared < whole {
            let index = sequence.shared;
            let own = sequence.pages[index];
            let parent = sequence.pages[..index].last().copied();
            let tokens = &sequence.tokens[index * self.page_len..(index + 1) * self.page_len];
            let (page, part) = self.prefixes.publish(parent, own, tokens, sequence.kind());
            self.pool.give(part.into_iter().collect());
            if page != own {
                sequence.pages[index] = page;
                self.pool.give(vec![own]);
            }
            sequence.shared += 1;
        }
    }

    /// As [`KvMemory::give_up`], where what is computed of the last page can be trusted: it stays, to be copied.
    pub(crate) fn leave(&mut self, sequence: &mut Sequence) {
        let first = sequence.shared * self.page_len;
        let end = sequence.computed.min(sequence.publishable());
        if end > first && end - first < self.page_len {
            let page = sequence.pages.remove(sequence.shared);
            let parent = sequence.pages[..sequence.shared].last().copied();
            let unneeded = self.prefixes.keep(parent, page, &sequence.tokens[first..end], sequence.kind());
            self.pool.give(unneeded.into_iter().collect());
        }
        self.give_up(sequence);
    }

    /// Takes back all pages of a sequence, which has nothing computed then.
    pub(crate) fn give_up(&mut self, sequence: &mut Sequence) {
        let own = sequence.pages.split_off(sequence.shared);
        self.prefixes.release(&sequence.pages);
        self.pool.give(own);
        sequence.forget_pages();
    }

    /// Empties the cache of all that no running sequence reads.
    pub(crate) fn forget_prefixes(&mut self) {
        while let Some(page) = self.prefixes.evict() {
            self.pool.give(vec![page]);
        }
    }

    /// Sums up who owns what: nobody, the cache, or one of these sequences.
    pub(crate) fn assert_conserved(&self, running: &[Sequence]) {
        let owned: usize = running.iter().map(|sequence| sequence.pages.len() - sequence.shared).sum();
        let known = self.pool.free() + owned + self.prefixes.len();
        assert_eq!(known, self.pool.total(), "KV pages were lost or made; this is a bug");
    }

    /// As [`KvMemory::assert_conserved`], page by page and reader by reader.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self, running: &[Sequence]) {
        let mut pages: Vec<u32> = self.pool.pages().to_vec();
        let mut readers: std::collections::BTreeMap<u32, usize> = self.prefixes.pages().map(|page| (page, 0)).collect();
        pages.extend(readers.keys());
        for sequence in running {
            let (read, own) = sequence.pages.split_at(sequence.shared);
            pages.extend(own);
            for page in read {
                *readers.get_mut(page).expect("a sequence reads a page that is not cached") += 1;
            }
        }
        pages.sort_unstable();
        assert_eq!(pages, (0..self.total() as u32).collect::<Vec<_>>(), "each page has one owner");
        for (page, readers) in readers {
            assert_eq!(self.prefixes.readers(page), readers, "readers of page {page}");
        }
    }
}
