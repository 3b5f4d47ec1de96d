//! A whole file mapped read-only into memory: the one place in this crate with `unsafe`.
//!
//! It knows nothing of what the bytes mean. Read next: `bytes.rs`, the ranges of a mapping that everything else holds.
#![expect(unsafe_code, reason = "mapping a file cannot be made safe by the compiler; see the SAFETY comment")]

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FormatError;

/// A file's bytes, read-only, backed by the page cache.
///
/// The file must not shrink or change while it is mapped: the operating system would deliver a fault, or other bytes.
/// Blobs of the store are immutable, so for them this holds. For a file that a user names by its path it is a
/// documented risk: overwriting a model in place while it runs may end the process.
#[derive(Debug)]
pub struct Mapping {
    map: memmap2::Mmap,
    path: PathBuf,
}

impl Mapping {
    /// Maps the whole of a regular file.
    ///
    /// # Errors
    /// [`FormatError::Io`] if it cannot be opened or mapped, [`FormatError::WrongFormat`] if it is no regular file (a
    /// folder, a pipe, a device).
    pub fn open(path: &Path) -> Result<Arc<Mapping>, FormatError> {
        let failed = |action| move |error| FormatError::io(path, action, error);
        // Asked before the file is opened: opening a pipe would wait for a writer.
        let attributes = std::fs::metadata(path).map_err(failed("open"))?;
        if !attributes.is_file() {
            return Err(FormatError::WrongFormat {
                file: path.display().to_string(),
                expected: "a file",
                found: if attributes.is_dir() { "a folder" } else { "a device or a pipe" }.to_string(),
                hint: "give the path of a regular file".to_string(),
            });
        }
        let file = File::open(path).map_err(failed("open"))?;
        // SAFETY: the mapping is read-only and private to this value. What the compiler cannot see is that nobody
        // truncates or rewrites the file meanwhile; the store meets that by never changing a blob, and whoever passes
        // another path accepts it, as the type's documentation says.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed("map"))?;
        Ok(Arc::new(Mapping { map, path: path.to_path_buf() }))
    }

    /// Tells the system that the pages of `range` will not be needed soon. Only advice: their bytes stay readable, and stay
    /// what they are.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if !range.is_empty() && range.end <= self.map.len() {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: dropping pages of a read-only mapping of a file changes nothing that can be seen: a later read
            // brings the same bytes from the file again.
            let _ = unsafe { self.map.unchecked_advise_range(advice, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
