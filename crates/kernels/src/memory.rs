//! Large memory that is taken once: zeroed by the system as it is touched, and of huge pages where they are granted.
//!
//! A huge page saves the processor most look-ups of addresses when gigabytes are read in a row, and the system most of
//! the faults when they are first touched. This file does not know what is stored. Users: `kv.rs`, `interleave.rs`.

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
