//! In which state files are, as far as the file system tells it cheaply: to see that they were replaced.
//!
//! A file that is written anew within a tick of the system's clock, and is as long as before, is not told apart.

use std::fs::Metadata;
use std::path::Path;
use std::time::SystemTime;

/// The state of a file, or of a folder with all that lies directly in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileState {
    /// When the youngest of them was written last.
    pub(crate) written: SystemTime,
    /// How long they are together.
    pub(crate) bytes: u64,
}

impl FileState {
    /// What is at a path now; none where nothing is, or nobody may look. Links count as what they lead to. A folder's own
    /// time is no help: it stays when a file in it is overwritten.
    pub(crate) fn of(path: &Path) -> Option<FileState> {
        let data = std::fs::metadata(path).ok()?;
        if !data.is_dir() {
            return FileState::of_one(&data);
        }
        let children = std::fs::read_dir(path).ok()?.filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok());
        let states = children.filter(Metadata::is_file).filter_map(|data| FileState::of_one(&data));
        states.reduce(|one, other| FileState {
            written: one.written.max(other.written),
            bytes: one.bytes.saturating_add(other.bytes),
        })
    }

    fn of_one(data: &Metadata) -> Option<FileState> {
        Some(FileState { written: data.modified().ok()?, bytes: data.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir, write};
    use std::time::Duration;

    #[test]
    fn a_folder_changes_with_the_files_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("adapter_model.safetensors");
        let state = || FileState::of(folder.path());
        assert_eq!((state(), FileState::of(&inside)), (None, None));
        write(&inside, "four").unwrap();
        let first = state();
        assert!(first.is_some() && first == FileState::of(&inside));
        File::options()
            .append(true)
            .open(&inside)
            .unwrap()
            .set_modified(SystemTime::now() + Duration::from_secs(9))
            .unwrap();
        let later = state();
        assert!(later > first);
        write(folder.path().join("adapter_config.json"), "{}").unwrap();
        assert_eq!(state().unwrap().bytes, 6);
        let before = state();
        create_dir(folder.path().join("checkpoints")).unwrap();
        assert_eq!(state(), before);
    }
}
