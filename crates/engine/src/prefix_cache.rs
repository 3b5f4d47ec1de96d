//! Computed pages, whole ones and beginnings, for sequences that begin with the same tokens.
//!
//! A cached page is known by all tokens up to its end: by the page before it and its own tokens, compared one by one, and
//! by what else its keys and values follow from. So pages form trees, with a page of position 0 at each root:
//!
//! ```text
//! publish:  a page that was just computed; who computed it is its first reader. What is known already is not kept twice
//! take:     the pages that hold the next tokens; they may have any number of readers, who never write them
//! release:  a reader less; the page stays
//! keep:     the beginning of a page, of a sequence that has ended or was preempted; nobody reads it, but who begins the same way copies it
//! nearest:  the page that begins with most of the next tokens, to be copied
//! evict:    of the pages without a reader and without one that follows, the one that was used longest ago
//! ```
//!
//! Who reads a page reads all before it, so what follows a page without a reader has none either. Numbers only: the KV
//! memory itself is the caller's. What a page holds depends on its tokens and its kind alone, bit for bit, so whether it is
//! found here changes no token. Read next: `kv_memory`, the only user.

use model::{AdapterId, RopeRegime};
use std::collections::{BTreeMap, BTreeSet};

/// What keys and values follow from beside the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// The frequencies that the keys were rotated with.
    pub(crate) regime: RopeRegime,
    /// The adapter that the tokens went through.
    pub(crate) adapter: Option<AdapterId>,
}

/// What a page holds: `tokens` after all that the pages before it hold. In this order pages that begin alike are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    /// The page before it; none at position 0.
    parent: Option<u32>,
    kind: Kind,
    tokens: Box<[u32]>, // [page_len], or fewer where no page follows
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
    pages: BTreeMap<Link, u32>,
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
            pages: BTreeMap::new(),
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

    /// The whole pages that some tokens begin with, after those up to `parent`; each has a reader more then.
    pub(crate) fn take(&mut self, parent: Option<u32>, tokens: &[u32], kind: Kind) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for tokens in tokens.chunks_exact(self.page_len) {
            let link = Link { parent: found.last().copied().or(parent), kind, tokens: tokens.into() };
            let Some(&page) = self.pages.get(&link) else { break };
            found.push(page);
        }
        self.uses += 1;
        for &page in &found {
            self.read(page);
        }
        found
    }

    /// Takes a reader from each of these pages.
    pub(crate) fn release(&mut self, pages: &[u32]) {
        self.uses += 1;
        let last_use = self.uses;
        for &page in pages {
            self.change(page, |node| {
                node.readers = node.readers.checked_sub(1).expect("a page was released twice; this is a bug");
                node.last_use = last_use;
            });
        }
    }

    /// Keeps a page that holds `tokens`, `[page_len]` of them, after `parent`, and makes its owner a reader. Returns the page
    /// to read: another one where the same is known already, and then `page` was not kept; and a page that is not needed any
    /// more, because it held the beginning of this one.
    pub(crate) fn publish(&mut self, parent: Option<u32>, page: u32, tokens: &[u32], kind: Kind) -> (u32, Option<u32>) {
        assert_eq!(tokens.len(), self.page_len, "only whole pages are kept; this is a bug");
        let link = Link { parent, kind, tokens: tokens.into() };
        self.uses += 1;
        let known = self.pages.get(&link).copied();
        let part = if known.is_none() { self.insert(link, page) } else { None };
        let kept = known.unwrap_or(page);
        self.read(kept);
        (kept, part)
    }

    /// Keeps a page that begins with `tokens`, fewer than a whole one, after `parent`, for those who would copy it. Returns the
    /// page that is not needed: this one where another begins with the same, or one that held a part of it.
    pub(crate) fn keep(&mut self, parent: Option<u32>, page: u32, tokens: &[u32], kind: Kind) -> Option<u32> {
        self.uses += 1;
        let nearest = self.nearest(parent, tokens, kind);
        if let Some((_, len)) = nearest
            && len == tokens.len()
        {
            return Some(page);
        }
        self.insert(Link { parent, kind, tokens: tokens.into() }, page)
    }

    /// Of the pages after `parent`, the one that begins with most of these tokens, and with how many; none if with none. It
    /// counts as used.
    pub(crate) fn nearest(&mut self, parent: Option<u32>, tokens: &[u32], kind: Kind) -> Option<(u32, usize)> {
        let tokens = &tokens[..tokens.len().min(self.page_len)];
        let link = Link { parent, kind, tokens: tokens.into() };
        let neighbours = [self.pages.range(..=&link).next_back(), self.pages.range(&link..).next()];
        let same = |other: &Link| other.tokens.iter().zip(tokens).take_while(|(one, other)| one == other).count();
        let alike = neighbours.into_iter().flatten().filter(|(other, _)| (other.parent, other.kind) == (parent, kind));
        let (len, page) = alike.map(|(other, &page)| (same(other), page)).max().filter(|&(len, _)| len > 0)?;
        self.uses += 1;
        let last_use = self.uses;
        self.change(page, |node| node.last_use = last_use);
        Some((page, len))
    }

    /// Adds a page without a reader. Returns the page that held the beginning of the same and is not needed any more: as this
    /// is done each time, no page begins another one, and the only one that could is the last before it.
    fn insert(&mut self, link: Link, page: u32) -> Option<u32> {
        let before = self.pages.range(..&link).next_back();
        let is_part = |other: &Link| {
            (other.parent, other.kind) == (link.parent, link.kind) && link.tokens.starts_with(&other.tokens)
        };
        let part = before.filter(|(other, _)| is_part(other)).map(|(_, &part)| part);
        if let Some(part) = part {
            self.remove(part);
        }
        if let Some(parent) = link.parent {
            self.change(parent, |node| node.children += 1);
        }
        self.pages.insert(link.clone(), page);
        self.nodes.insert(page, Node { link, readers: 0, children: 0, last_use: self.uses });
        self.unread += 1;
        self.evictable.insert((self.uses, page));
        part
    }

    /// Gives up the page that was used longest ago; none if all are read.
    pub(crate) fn evict(&mut self) -> Option<u32> {
        let &(_, page) = self.evictable.first()?;
        self.remove(page);
        Some(page)
    }

    /// Takes a page out that can be evicted.
    fn remove(&mut self, page: u32) {
        let node = self.nodes.remove(&page).expect("a page that is not in the cache; this is a bug");
        assert!(self.evictable.remove(&(node.last_use, page)), "a page that is in use was evicted; this is a bug");
        self.unread -= 1;
        self.pages.remove(&node.link);
        if let Some(parent) = node.link.parent {
            self.change(parent, |node| node.children -= 1);
        }
    }

    /// One reader more.
    fn read(&mut self, page: u32) {
        let last_use = self.uses;
        self.change(page, |node| {
            node.readers += 1;
            node.last_use = last_use;
        });
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

    /// All pages in it.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> {
        self.nodes.keys().copied()
    }

    /// Running sequences that read a page.
    #[cfg(test)]
    pub(crate) fn readers(&self, page: u32) -> usize {
        self.nodes[&page].readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Kind = Kind { regime: RopeRegime::Short, adapter: None };

    /// Publishes the whole pages of a sequence that begins with `tokens`; returns those to read.
    fn publish(cache: &mut PrefixCache, tokens: &[u32], pages: &[u32]) -> Vec<u32> {
        let mut read: Vec<u32> = Vec::new();
        for (tokens, &page) in tokens.chunks_exact(2).zip(pages) {
            read.push(cache.publish(read.last().copied(), page, tokens, SHORT).0);
        }
        read
    }

    /// Three pages of two without a reader: `[1 2] [3 4] [5 6]`.
    fn filled() -> PrefixCache {
        let mut cache = PrefixCache::new(2);
        let read = publish(&mut cache, &[1, 2, 3, 4, 5, 6, 7], &[10, 11, 12, 13]);
        assert_eq!((read.as_slice(), cache.unread()), ([10, 11, 12].as_slice(), 0));
        cache.release(&read);
        cache
    }

    #[test]
    fn pages_are_found_by_all_tokens_before_their_end() {
        let mut cache = filled();
        assert_eq!(cache.take(None, &[1, 2, 3, 4, 9], SHORT), [10, 11]);
        assert_eq!(cache.take(None, &[1, 2, 3, 4, 5], SHORT), [10, 11], "only whole ones");
        assert_eq!(cache.take(Some(11), &[5, 6, 7, 8], SHORT), [12], "what follows a page");
        assert!(cache.take(None, &[3, 4], SHORT).is_empty(), "known, but not at this place");
        assert!(cache.take(None, &[1, 2], Kind { regime: RopeRegime::Long, ..SHORT }).is_empty());
        assert!(cache.take(None, &[1, 2], Kind { adapter: Some(AdapterId(0)), ..SHORT }).is_empty());
    }

    #[test]
    fn what_is_known_already_is_not_kept_twice() {
        let mut cache = filled();
        assert_eq!(publish(&mut cache, &[1, 2, 3, 4, 8, 8], &[20, 21, 22]), [10, 11, 22]);
        assert_eq!((cache.len(), cache.unread()), (4, 1));
        assert_eq!([10, 11, 12, 22].map(|page| cache.readers(page)), [1, 1, 0, 1]);
        assert_eq!(cache.take(None, &[1, 2, 3, 4, 8, 8], SHORT), [10, 11, 22]);
        cache.release(&[10, 11, 22]);
        cache.release(&[10, 11, 22]);
        assert_eq!((cache.len(), cache.unread()), (4, 4));
    }

    #[test]
    fn the_page_that_begins_with_most_of_the_tokens_is_found_to_be_copied() {
        let mut cache = PrefixCache::new(4);
        let root = cache.publish(None, 10, &[1, 1, 1, 1], SHORT).0;
        for (page, tokens) in [(11, [2, 3, 4, 5]), (12, [2, 3, 9, 9]), (13, [7, 7, 7, 7])] {
            cache.publish(Some(root), page, &tokens, SHORT);
        }
        assert_eq!(cache.nearest(Some(root), &[2, 3, 4, 9, 9], SHORT), Some((11, 3)));
        assert_eq!(cache.nearest(Some(root), &[2, 3, 8], SHORT).map(|(_, len)| len), Some(2));
        assert_eq!(cache.nearest(Some(root), &[2, 3, 9], SHORT), Some((12, 3)));
        assert_eq!(cache.nearest(Some(root), &[5], SHORT), None);
        assert_eq!(cache.nearest(None, &[2, 3], SHORT), None, "known, but not at this place");
        assert_eq!(cache.nearest(Some(root), &[2], Kind { adapter: Some(AdapterId(0)), ..SHORT }), None);
    }

    #[test]
    fn of_beginnings_the_longest_is_kept_and_nobody_reads_it() {
        let mut cache = PrefixCache::new(4);
        assert_eq!(cache.keep(None, 20, &[1, 2], SHORT), None);
        assert_eq!(cache.keep(None, 21, &[1, 2], SHORT), Some(21), "known already");
        assert_eq!(cache.keep(None, 22, &[1], SHORT), Some(22), "a part of what is known");
        assert_eq!(cache.keep(None, 23, &[1, 2, 3], SHORT), Some(20), "the longer one takes its place");
        assert_eq!(cache.keep(None, 24, &[1, 2, 4], SHORT), None);
        assert_eq!(cache.publish(None, 25, &[1, 2, 4, 4], SHORT), (25, Some(24)), "the whole page takes it too");
        assert_eq!((cache.len(), cache.unread()), (2, 1));
        assert!(cache.take(None, &[1, 2, 3], SHORT).is_empty());
        assert_eq!(cache.nearest(None, &[1, 2, 3, 9], SHORT), Some((23, 3)));
        cache.release(&[25]);
        assert_eq!([cache.evict(), cache.evict(), cache.evict()], [Some(23), Some(25), None]);
    }

    #[test]
    fn the_longest_unused_goes_first_and_nothing_that_is_read_or_followed() {
        let mut cache = filled();
        let other = publish(&mut cache, &[8, 8], &[20]);
        cache.release(&other);
        let read = cache.take(None, &[1, 2], SHORT);
        assert_eq!(cache.unread(), 3);
        assert_eq!([cache.evict(), cache.evict(), cache.evict(), cache.evict()], [Some(12), Some(11), Some(20), None]);
        cache.release(&read);
        assert_eq!(cache.evict(), Some(10));
        assert_eq!((cache.len(), cache.pages.len()), (0, 0));
    }
}
