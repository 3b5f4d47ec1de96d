//! Documents.
pub(crate) mod archive;
pub(crate) mod cells;
#[cfg(test)]
pub(crate) mod samples;
