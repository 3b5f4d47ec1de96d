//! Pages that ended sequences leave behind, for sequences that begin with the same tokens.
//!
//! A cached page is known by all tokens up to its end: by the page before it and its own tokens, compared one by one, and
//! by the RoPE regime that its keys were rotated in. So pages form trees, with a page of position 0 at each root:
//!
//! ```text
//! keep:   the whole, computed pages of a sequence that ends; those that are known already go back to the pool
//! take:   the pages that a prompt begins with; they may have any number of readers, who never write them
//! evict:  of the pages without a reader and without one that follows, the one that was used longest ago
//! ```
//!
//! Numbers only: the KV memory itself is the caller's. What a page holds depends on its tokens and the regime alone, bit for
//! bit, so whether it is found here changes no token. Read next: `scheduler`, the only user.

use model::RopeRegime;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a page holds: `tokens` after all that the pages before it hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Link {
    /// The page before it; none at position 0.
    parent: Option<u32>,
    regime: RopeRegime,
    tokens: Box<[u32]>, // [page_len]
}

#[derive(Debug)]
struct Node {
    link: Link,
    /// Running sequences that read it.
    readers: usize,
    /// Cached pages that follow it.
    children: usize,
    /// The time of its last use, in uses.
    last_use: u64,
}

impl Node {
    fn is_evictable(&self) -> bool {
        self.readers == 0 && self.children == 0
    }
}

/// Pages by what they hold.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    page_len: usize,
    nodes: BTreeMap<u32, Node>, // by page
    pages: HashMap<Link, u32>,
    /// Pages without a reader.
    unread: usize,
    /// Pages without a reader and without one that follows, by the time of their last use.
    evictable: BTreeSet<(u64, u32)>,
    /// Uses so far: a clock that only this cache turns.
    uses: u64,
}

impl PrefixCache {
    /// An empty one for pages of `page_len` positions.
    pub(crate) fn new(page_len: usize) -> PrefixCache {
        PrefixCache {
            page_len,
            nodes: BTreeMap::new(),
            pages: HashMap::new(),
            unread: 0,
            evictable: BTreeSet::new(),
            uses: 0,
        }
    }

    /// Pages in it, read or not.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Pages in it that nobody reads; all of them can be evicted.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    /// Pages that the first `len` of some tokens begin with, from position 0 on, each with a reader more.
    pub(crate) fn take(&mut self, tokens: &[u32], len: usize, regime: RopeRegime) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for tokens in tokens[..len].chunks_exact(self.page_len) {
            let link = Link { parent: found.last().copied(), regime, tokens: tokens.into() };
            let Some(&page) = self.pages.get(&link) else { break };
            found.push(page);
        }
        self.uses += 1;
        let last_use = self.uses;
        for &page in &found {
            self.change(page, |node| {
                node.readers += 1;
                node.last_use = last_use;
            });
        }
        found
    }

    /// Takes a reader from each of these pages.
    pub(crate) fn release(&mut self, pages: &[u32]) {
        for &page in pages {
            self.change(page, |node| {
                node.readers = node.readers.checked_sub(1).expect("a page was released twice; this is a bug");
            });
        }
    }

    /// Keeps the pages of a sequence that ends, whose tokens `tokens` all are computed: of `pages`, which begin at position
    /// 0, the first `shared` were taken from here and are released. Returns the pages that were not kept.
    pub(crate) fn keep(&mut self, tokens: &[u32], pages: &[u32], shared: usize, regime: RopeRegime) -> Vec<u32> {
        let (taken, own) = pages.split_at(shared);
        self.release(taken);
        self.uses += 1;
        let last_use = self.uses;
        let mut left = Vec::new();
        let mut parent = taken.last().copied();
        let mut whole = tokens.chunks_exact(self.page_len).skip(shared);
        for &page in own {
            let Some(tokens) = whole.next() else {
                left.push(page);
                continue;
            };
            let link = Link { parent, regime, tokens: tokens.into() };
            // Another sequence may have left the same.
            let known = self.pages.get(&link).copied();
            if known.is_some() {
                left.push(page);
            } else {
                if let Some(parent) = parent {
                    self.change(parent, |node| node.children += 1);
                }
                self.pages.insert(link.clone(), page);
                self.nodes.insert(page, Node { link, readers: 0, children: 0, last_use });
                self.unread += 1;
                self.evictable.insert((last_use, page));
            }
            let kept = known.unwrap_or(page);
            parent = Some(kept);
            self.change(kept, |node| node.last_use = last_use);
        }
        left
    }

    /// Gives up the page that was used longest ago; none if all are read.
    pub(crate) fn evict(&mut self) -> Option<u32> {
        let (_, page) = self.evictable.pop_first()?;
        self.unread -= 1;
        let node = self.nodes.remove(&page).expect("it was just found; this is a bug");
        self.pages.remove(&node.link);
        if let Some(parent) = node.link.parent {
            self.change(parent, |node| node.children -= 1);
        }
        Some(page)
    }

    /// Changes a node, and what is counted of it.
    fn change(&mut self, page: u32, change: impl FnOnce(&mut Node)) {
        let node = self.nodes.get_mut(&page).expect("a page that is not in the cache; this is a bug");
        self.unread -= usize::from(node.readers == 0);
        if node.is_evictable() {
            self.evictable.remove(&(node.last_use, page));
        }
        change(node);
        self.unread += usize::from(node.readers == 0);
        if node.is_evictable() {
            self.evictable.insert((node.last_use, page));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: RopeRegime = RopeRegime::Short;

    /// Three pages of two: `[1 2] [3 4] [5 6]`, and one token more.
    fn filled() -> PrefixCache {
        let mut cache = PrefixCache::new(2);
        assert_eq!(cache.keep(&[1, 2, 3, 4, 5, 6, 7], &[10, 11, 12, 13], 0, SHORT), [13]);
        cache
    }

    #[test]
    fn pages_are_found_by_all_tokens_before_their_end() {
        let mut cache = filled();
        assert_eq!(cache.take(&[1, 2, 3, 4, 9], 5, SHORT), [10, 11]);
        assert_eq!(cache.take(&[1, 2, 3, 4, 5, 6], 5, SHORT), [10, 11], "only so far as was asked");
        assert!(cache.take(&[3, 4], 2, SHORT).is_empty(), "known, but not at this place");
        assert!(cache.take(&[1, 2], 2, RopeRegime::Long).is_empty(), "keys of another regime");
    }

    #[test]
    fn what_is_known_already_is_not_kept_twice() {
        let mut cache = filled();
        assert_eq!(cache.keep(&[1, 2, 3, 4, 8, 8], &[20, 21, 22], 0, SHORT), [20, 21]);
        assert_eq!(cache.take(&[1, 2, 3, 4, 8, 8], 6, SHORT), [10, 11, 22]);
        cache.release(&[10, 11, 22]);
        // A sequence that read two pages and made one.
        assert_eq!(cache.take(&[1, 2, 3, 4], 4, SHORT), [10, 11]);
        assert!(cache.keep(&[1, 2, 3, 4, 9, 9], &[10, 11, 30], 2, SHORT).is_empty());
        assert_eq!((cache.len(), cache.unread()), (5, 5));
    }

    #[test]
    fn the_longest_unused_goes_first_and_nothing_that_is_read_or_followed() {
        let mut cache = filled();
        cache.keep(&[8, 8], &[20], 0, SHORT);
        let read = cache.take(&[1, 2], 2, SHORT);
        assert_eq!(cache.unread(), 3);
        assert_eq!([cache.evict(), cache.evict(), cache.evict(), cache.evict()], [Some(12), Some(11), Some(20), None]);
        cache.release(&read);
        assert_eq!(cache.evict(), Some(10));
        assert_eq!((cache.len(), cache.pages.len()), (0, 0));
    }
}
