//! Bytes that come without a name: put into the store under their digest, and held there until a model is made of them.
//!
//! ```text
//! partial/upload-<random>       a blob on its way; gone with whoever writes it
//! partial/held-<sha256>         an empty file: somebody put this blob here, or asked whether it is here, when it was
//!                               written; until HELD_FOR later no sweep and no removal of a model takes the blob
//! ```
//!
//! Knows nothing of what the bytes are. Read next: `create.rs`, which makes models of them.

use crate::digest::{Checksum, Sha256, Sha256Hasher};
use crate::lock::Lock;
use crate::{Hub, HubError, Store, space};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// Whoever uploads the files of a model makes the model next; a day is enough for the slowest of lines.
const HELD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Bytes between two questions for the free space of the disk, and what must be free for the next of them.
const ASK_EVERY: u64 = 16 << 20;

/// A blob that is being written. Dropped before its end, it leaves nothing.
pub struct Upload<'a> {
    hub: &'a Hub,
    expected: Sha256,
    file: NamedTempFile,
    hasher: Sha256Hasher,
    written: u64,
    /// Bytes that may be written before the free space is asked again.
    granted: u64,
    /// Nobody sweeps meanwhile.
    _adding: Lock,
}

impl Hub {
    /// Begins to put bytes of that digest into the store.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn upload(&self, expected: Sha256) -> Result<Upload<'_>, HubError> {
        let _adding = self.store.adding()?;
        let folder = self.store.partial_folder();
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(&folder);
        let file = file.map_err(HubError::io("create a file in", &folder))?;
        Ok(Upload { hub: self, expected, file, hasher: Sha256Hasher::default(), written: 0, granted: 0, _adding })
    }

    /// Whether the store has these bytes. Where it has, they stay for a while, as those of [`Hub::upload`] do: whoever asks
    /// will not send them again.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn holds(&self, sha256: &Sha256) -> Result<bool, HubError> {
        if !self.store.has_blob(sha256) {
            return Ok(false);
        }
        self.store.hold(sha256)?;
        // A removal may have come between.
        Ok(self.store.has_blob(sha256))
    }
}

impl Upload<'_> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`HubError::DiskFull`] with both numbers, or what the system says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let count = bytes.len() as u64;
        if count > self.granted {
            let needed = count.max(ASK_EVERY);
            space::check(&self.hub.options.free_space, &self.hub.store.partial_folder(), needed)?;
            self.granted = needed;
        }
        self.hasher.update(bytes);
        let path = self.file.path().to_path_buf();
        self.file.write_all(bytes).map_err(HubError::io("write", &path))?;
        self.granted -= count;
        self.written += count;
        Ok(())
    }

    /// Compares what came with its digest, and makes a blob of it; returns its length.
    ///
    /// # Errors
    /// [`HubError::HashMismatch`] for other bytes, of which nothing is kept.
    pub fn finish(self) -> Result<u64, HubError> {
        let got = self.hasher.finish();
        if got != self.expected {
            let (expected, got) = (Checksum::Sha256(self.expected), Checksum::Sha256(got));
            return Err(HubError::hash_mismatch(format!("the upload of {} bytes", self.written), expected, got));
        }
        let store = &self.hub.store;
        store.hold(&got)?;
        // Closed before it is moved; what is left of the handle deletes nothing, for there is nothing at its place.
        let path = self.file.into_temp_path();
        store.adopt(&path, &got)?;
        Ok(self.written)
    }
}

impl Store {
    /// From now on the blob stays for a while, used or not.
    pub(crate) fn hold(&self, sha256: &Sha256) -> Result<(), HubError> {
        let path = self.held_path(sha256);
        std::fs::write(&path, b"").map_err(HubError::io("write", &path))
    }

    /// Whether a blob is to stay although no model uses it.
    pub(crate) fn is_held(&self, sha256: &Sha256) -> bool {
        let since = std::fs::metadata(self.held_path(sha256)).and_then(|data| data.modified());
        // A note of the future was written before somebody set the clock: it does not count.
        since.is_ok_and(|since| SystemTime::now().duration_since(since).is_ok_and(|age| age < HELD_FOR))
    }

    /// A model uses the blob now, and goes with it.
    pub(crate) fn release(&self, sha256: &Sha256) {
        // What cannot be deleted only keeps the blob for longer.
        drop(std::fs::remove_file(self.held_path(sha256)));
    }

    fn held_path(&self, sha256: &Sha256) -> PathBuf {
        self.partial_folder().join(format!("held-{sha256}"))
    }
}
