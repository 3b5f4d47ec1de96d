//! A range of bytes that keeps its owner alive: of a mapped file, or of memory.
//!
//! Cloning one copies two numbers and a reference count, never the bytes. Read next: `tensor.rs`.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::Mapping;

/// An immutable range of a mapped file or of a vector.
#[derive(Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone)]
enum Owner {
    Mapped(Arc<Mapping>),
    Memory(Arc<Vec<u8>>),
}

impl Bytes {
    /// All bytes of a mapped file.
    pub fn from_mapping(mapping: Arc<Mapping>) -> Bytes {
        let range = 0..mapping.len();
        Bytes { owner: Owner::Mapped(mapping), range }
    }

    /// All bytes of a vector, without copying it.
    pub fn from_vec(bytes: Vec<u8>) -> Bytes {
        let range = 0..bytes.len();
        Bytes { owner: Owner::Memory(Arc::new(bytes)), range }
    }

    /// The bytes at `range`, counted from the start of this one; `None` if it does not lie within.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Bytes { owner: self.owner.clone(), range: start..end })
    }

    /// Tells the system that the bytes at `range` will not be needed soon: what is mapped leaves the memory of this process
    /// and is read again from the file if it is needed after all. Nothing happens for bytes of a vector.
    pub fn release(&self, range: Range<usize>) {
        if let Owner::Mapped(mapping) = &self.owner {
            mapping.release(self.range.start + range.start..self.range.end.min(self.range.start + range.end));
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.owner {
            Owner::Mapped(mapping) => mapping,
            Owner::Memory(bytes) => bytes,
        };
        &all[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_memory_and_stay_within_their_parent() {
        let bytes = Bytes::from_vec((0..10).collect());
        let part = bytes.slice(2..6).unwrap();
        assert_eq!(&*part, &[2, 3, 4, 5]);
        assert_eq!(part.as_ptr(), bytes[2..].as_ptr());
        assert_eq!(&*part.slice(1..3).unwrap(), &[3, 4]);
        assert!(part.slice(0..5).is_none(), "past the end of the part, although the parent has more");
        assert!(part.slice(usize::MAX..usize::MAX).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "the reversed range is what is refused")]
        let reversed = 3..1;
        assert!(part.slice(reversed).is_none());
        assert_eq!(part.slice(4..4).unwrap().len(), 0);
    }
}
