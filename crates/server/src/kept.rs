//! What the server keeps for its clients on the disk, where it was told a folder: files, and batches over them.
//!
//! Read next: `files`; `api::openai::batches`.

use crate::api::openai::batches::BatchStore;
use crate::files::{FileStore, FilesOptions};
use tokio::sync::Notify;

/// Files and batches.
pub(crate) struct Kept {
    pub(crate) store: FileStore,
    pub(crate) batches: BatchStore,
    /// Told when a batch was added, or when the server is about to end.
    pub(crate) changed: Notify,
}

impl Kept {
    pub(crate) fn of(options: FilesOptions) -> Kept {
        let batches = BatchStore::of(&options.folder);
        Kept { store: FileStore::of(options), batches, changed: Notify::new() }
    }
}
