//! Files that make a model load faster: what a reader of the weights made of them, kept beside the blob and called by its
//! digest. They can be made again at any time, and go with the last name of their model.
//!
//! This file does not know what is in them. Read next: `store.rs`, the blobs.

use crate::digest::Sha256;
use crate::{Hub, HubError, Manifest, Store, space};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

const ENDING: &str = ".weights";

impl Store {
    /// Where the prepared file of a blob is, or would be.
    pub fn prepared_path(&self, sha256: &Sha256) -> PathBuf {
        self.home().prepared().join(format!("sha256-{sha256}{ENDING}"))
    }

    /// Bytes of a model's prepared file; `None` if it has none.
    pub fn prepared_bytes(&self, manifest: &Manifest) -> Option<u64> {
        let path = self.prepared_path(&manifest.sole_digest()?);
        std::fs::metadata(path).ok().map(|data| data.len())
    }

    /// Throws the prepared file of a blob away, if there is one; returns the bytes that the disk got back.
    pub fn discard_prepared(&self, sha256: &Sha256) -> Result<u64, HubError> {
        remove(&self.prepared_path(sha256))
    }

    /// Throws away what was prepared for blobs that are not in `used`, and what a killed process was writing.
    pub(crate) fn sweep_prepared(&self, used: &HashSet<Sha256>) -> Result<u64, HubError> {
        let folder = self.home().prepared();
        let kept: HashSet<PathBuf> = used.iter().map(|sha256| self.prepared_path(sha256)).collect();
        let mut freed = 0;
        for entry in std::fs::read_dir(&folder).map_err(HubError::io("list", &folder))? {
            let path = entry.map_err(HubError::io("list", &folder))?.path();
            if !kept.contains(&path) {
                freed += remove(&path)?;
            }
        }
        Ok(freed)
    }
}

impl Hub {
    /// Writes the prepared file of a blob, whole or not at all, in the place of one that is there. `bytes` is its length,
    /// for which there must be room on the disk.
    pub fn write_prepared(
        &self,
        sha256: &Sha256,
        bytes: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), HubError> {
        let path = self.store().prepared_path(sha256);
        let folder = self.store().home().prepared();
        // Nobody sweeps meanwhile.
        let _adding = self.store().adding()?;
        space::check(&self.options.free_space, &folder, bytes)?;
        let mut write = || -> std::io::Result<()> {
            let mut scratch = tempfile::Builder::new().prefix(".writing-").tempfile_in(&folder)?;
            write(scratch.as_file_mut())?;
            scratch.as_file().sync_all()?;
            scratch.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(HubError::io("write", &path))
    }
}

fn remove(path: &Path) -> Result<u64, HubError> {
    let bytes = std::fs::metadata(path).map(|data| data.len()).unwrap_or(0);
    match std::fs::remove_file(path) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(HubError::io("remove", path)(error)),
    }
}
