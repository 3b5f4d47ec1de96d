//! What broken-off work leaves in the store: blobs that no manifest names, and downloads that nobody goes on with.
//!
//! What was put into the store without a name a moment ago is about to get one, and stays: see `upload.rs`.
//!
//! A blob lies in the store before the manifest that names it, so nothing is swept while a pull or an import is under
//! way: each holds a share of one lock, and who sweeps needs all of it. Read next: `store.rs`.

use crate::digest::Sha256;
use crate::lock::Lock;
use crate::store::exclusive_bytes;
use crate::{HubError, Store};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A download that was broken off can be gone on with for this long.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Files of work that cannot be gone on with.
const SCRATCH: [&str; 4] = ["scratch-", "import-", "upload-", "create-"];

impl Store {
    /// Held by whoever adds blobs, from before the first until after the manifest; there may be many.
    pub(crate) fn adding(&self) -> Result<Lock, HubError> {
        Lock::share(&self.adding_path())
    }

    /// Deletes every blob that is not in `used`, and downloads that were given up; returns the bytes that the disk got
    /// back. Without `used`, blobs stay. Does nothing while blobs are being added.
    pub(crate) fn sweep(&self, used: Option<&HashSet<Sha256>>) -> Result<u64, HubError> {
        let Some(_alone) = Lock::try_alone(&self.adding_path())? else { return Ok(0) };
        let mut freed = 0;
        if let Some(used) = used {
            freed += self.sweep_prepared(used)?;
            for path in entries(&self.home().blobs())? {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let sha256 = name.strip_prefix("sha256-").and_then(|digits| digits.parse::<Sha256>().ok());
                let is_free = |sha256: &Sha256| !used.contains(sha256) && !self.is_held(sha256);
                let Some(sha256) = sha256.filter(is_free) else { continue };
                let bytes = exclusive_bytes(&path);
                if self.discard_blob(&sha256)? {
                    freed += bytes;
                }
            }
        }
        for path in entries(&self.partial_folder())?.into_iter().filter(|path| is_abandoned(path)) {
            let bytes = exclusive_bytes(&path);
            if path.is_dir() {
                // What was being made in it cannot be gone on with; the next sweep tries again.
                drop(std::fs::remove_dir_all(&path));
                continue;
            }
            // Whatever cannot be deleted now is tried again next time.
            if std::fs::remove_file(&path).is_ok() {
                freed += bytes;
            }
        }
        Ok(freed)
    }

    fn adding_path(&self) -> PathBuf {
        self.home().locks().join(".adding.lock")
    }
}

fn is_abandoned(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let changed = std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    SCRATCH.iter().any(|prefix| name.starts_with(prefix)) || age.is_some_and(|age| age > ABANDONED_AFTER)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    let read = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.map_err(HubError::io("list", folder))
}
