//! Large memory that is taken once: zeroed by the system as it is touched, and of huge pages where they are granted.
//!
//! A huge page saves the processor most look-ups of addresses when gigabytes are read in a row, and the system most of
//! the faults when they are first touched. This file does not know what is stored. Users: `kv.rs`, `interleave.rs`.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::KernelError;

/// Zeroed memory, aligned to a page at least. What was never touched takes no room.
pub(crate) struct Memory {
    map: MmapMut,
    len: usize,
}

/// The pages that memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Of the usual size: for memory of which much may never be used.
    Small,
    /// Huge ones where the system grants them: for memory that is filled and then read as a whole.
    Huge,
}

impl Memory {
    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`] when the system refuses it; `what` names the use.
    pub(crate) fn new(what: &'static str, len: usize, pages: Pages) -> Result<Memory, KernelError> {
        let map = MmapMut::map_anon(len.max(1)).map_err(|_| KernelError::OutOfMemory { what, bytes: len })?;
        #[cfg(target_os = "linux")]
        if pages == Pages::Huge {
            // Only advice: without huge pages everything works, a little slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = pages;
        Ok(Memory { map, len })
    }

    /// The first byte. Whoever writes through it must not write what a shared view still reads.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.map.as_ptr().cast_mut()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.len]
    }
}

/// A type of which any bytes that were written, and zeros, are a value.
///
/// # Safety
/// Zeros must be a valid value, and it must own nothing.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: zero is a number.
unsafe impl Plain for f32 {}

/// Values that a pass over a batch works on: as many as the batch needs, in huge pages where they are granted. Rows of
/// activations lie far apart, and every page that is not huge would have to be looked up again in every op.
pub struct Buffer<T> {
    memory: Option<Memory>,
    len: usize,
    elements: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Buffer<T> {
        Buffer { memory: None, len: 0, elements: PhantomData }
    }
}

#[expect(private_bounds, reason = "which types are plain is settled here")]
impl<T: Plain> Buffer<T> {
    /// Makes it `len` long. What it held is lost if it grows beyond all it ever was, else kept; new values are zeros or
    /// older ones.
    ///
    /// # Panics
    /// When the system refuses the memory, as growing a vector does.
    pub fn resize(&mut self, len: usize) {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer beyond all memory");
        if self.memory.as_ref().is_none_or(|memory| memory.len < bytes) {
            self.memory = None;
            let memory = Memory::new("buffers of a pass", bytes, Pages::Huge);
            self.memory = Some(memory.expect("the system refused the memory for a pass"));
        }
        self.len = len;
    }
}

impl<T> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} values)", self.len)
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.memory {
            // SAFETY: the memory has at least `len` values, zeroed or written, aligned to a page; see `Plain`.
            Some(memory) => unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), self.len) },
            None => &[],
        }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &self.memory {
            // SAFETY: as above, and `self` is borrowed exclusively.
            Some(memory) => unsafe { std::slice::from_raw_parts_mut(memory.as_ptr().cast(), self.len) },
            None => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_as_long_as_asked() {
        let mut buffer = Buffer::<f32>::default();
        assert!(buffer.is_empty());
        buffer.resize(3);
        buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
        buffer.resize(2);
        assert_eq!(*buffer, [1.0, 2.0]);
        buffer.resize(1 << 20);
        assert!(buffer.len() == 1 << 20 && buffer.iter().all(|&value| value == 0.0));
    }
}
