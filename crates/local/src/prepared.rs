//! Prepared weights: those of a model as they are computed with, in a file beside it. A load maps that file, and neither
//! reads nor rearranges the model's own weights.
//!
//! ```text
//! "bantam-w" | layout u64 | bytes of the weights u64 | zeros up to HEADER | the weights
//! ```
//!
//! Numbers are little-endian. The layout is that of [`Model::interleaved_layout`]: a file of another one is stale, and as
//! good as none. This file does not know where they are kept. Read next: `host.rs`, who has them written.

use formats::{Bytes, Mapping};
use kernels::Runtime;
use model::Model;
use std::io::Write;
use std::path::Path;

const MAGIC: [u8; 8] = *b"bantam-w";
/// A page, so that the weights begin on one.
const HEADER: usize = 4096;
/// Bytes that are written between two reports.
const PIECE: usize = 8 << 20;

/// What became of a model's prepared weights at a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// There are none.
    Absent,
    /// They are of another version of this program, or not whole; they were not used.
    Stale,
    /// They are in use.
    Used,
}

/// Makes a model ready for speed: with the prepared weights at `path` if they are its own, else by arranging them anew.
///
/// # Errors
/// As [`Model::interleave`].
pub(crate) fn arrange(
    model: &mut Model,
    path: Option<&Path>,
    runtime: &Runtime,
) -> Result<Prepared, kernels::KernelError> {
    let found = match path.filter(|path| path.exists()) {
        Some(path) => match read(path, model.interleaved_layout()) {
            Some(weights) if model.take_interleaved(weights.clone()) => return Ok(Prepared::Used),
            _ => Prepared::Stale,
        },
        None => Prepared::Absent,
    };
    model.interleave(runtime)?;
    Ok(found)
}

/// The weights in a prepared file of this layout.
fn read(path: &Path, layout: u64) -> Option<Bytes> {
    let bytes = Bytes::from_mapping(Mapping::open(path).ok()?);
    let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..at + 8)?.first_chunk()?));
    let len = usize::try_from(number(16)?).ok()?;
    let is_ours = bytes.get(..8)? == MAGIC && number(8)? == layout && bytes.len().checked_sub(HEADER)? == len;
    if is_ours { bytes.slice(HEADER..HEADER + len) } else { None }
}

/// Bytes of a prepared file with these weights.
pub(crate) fn file_bytes(weights: &[u8]) -> u64 {
    (HEADER + weights.len()) as u64
}

/// Writes a prepared file, telling the bytes after each piece.
pub(crate) fn write(
    layout: u64,
    weights: &[u8],
    out: &mut dyn Write,
    told: &mut dyn FnMut(u64),
) -> std::io::Result<()> {
    let mut header = [MAGIC, layout.to_le_bytes(), (weights.len() as u64).to_le_bytes()].concat();
    header.resize(HEADER, 0);
    out.write_all(&header)?;
    told(HEADER as u64);
    for piece in weights.chunks(PIECE) {
        out.write_all(piece)?;
        told(piece.len() as u64);
    }
    Ok(())
}
