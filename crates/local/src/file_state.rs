//! In which state files are, as far as the file system tells it cheaply: to see that they were replaced.
//!
//! A file that is written anew within a tick of the system's clock, and is as long as before, is not told apart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::SystemTime;

/// What is read of a folder beside the files that lie directly in it.
const POOLING: &str = "1_Pooling/config.json";

/// The state of a model's or an adapter's files: a digest of which they are, when each was written last and how long it is.
/// Of two states only whether they are the same means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileState(u64);

impl FileState {
    /// What is at a path now: a file, with its shards, or those files of a folder that are read when it is loaded. None where
    /// nothing of that is, or nobody may look. Links count as what they lead to. A folder's own time is no help: it stays
    /// when a file in it is overwritten, and changes with files that nobody reads.
    pub(crate) fn of(path: &Path) -> Option<FileState> {
        let files = hub::model_files(path).ok()?;
        let pooling = (path.join(POOLING), POOLING.to_owned());
        let mut hasher = DefaultHasher::new();
        let mut count = 0;
        for (file, name) in files.into_iter().chain([pooling]) {
            // Whatever follows a shard that is not there is read by nobody.
            let Ok(data) = std::fs::metadata(&file) else { break };
            (name, data.modified().ok()?, data.len()).hash(&mut hasher);
            count += 1;
        }
        (count > 0).then(|| FileState(hasher.finish()))
    }

    /// Of files that are never replaced, with what names them: when that was written.
    pub(crate) fn written(written: SystemTime) -> FileState {
        let mut hasher = DefaultHasher::new();
        written.hash(&mut hasher);
        FileState(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir, write};
    use std::time::Duration;

    fn set_modified(path: &Path, modified: SystemTime) {
        File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
    }

    #[test]
    fn a_folder_changes_with_the_files_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("adapter_model.safetensors");
        let state = || FileState::of(folder.path());
        assert_eq!((state(), FileState::of(&inside)), (None, None));
        write(&inside, "four").unwrap();
        let mut seen = vec![state()];
        assert!(seen[0].is_some() && FileState::of(&inside).is_some());
        let mut is_new = |what: &str| {
            let now = state();
            assert!(now.is_some() && !seen.contains(&now), "{what}");
            seen.push(now);
        };
        set_modified(&inside, SystemTime::now() + Duration::from_secs(9));
        is_new("written later");
        write(folder.path().join("adapter_config.json"), "{}").unwrap();
        is_new("one more");
        create_dir(folder.path().join("1_Pooling")).unwrap();
        write(folder.path().join(POOLING), "{}").unwrap();
        is_new("what is read of a folder in it");
        set_modified(&inside, SystemTime::now() - Duration::from_secs(9));
        is_new("as long as before, and older");
        std::fs::rename(&inside, folder.path().join("model.safetensors")).unwrap();
        is_new("another name");
    }

    #[test]
    fn files_that_nobody_reads_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path().join("model.safetensors"), "four").unwrap();
        let before = FileState::of(folder.path());
        for name in ["train.log", "README.md", "optimizer.bin", ".model.safetensors"] {
            write(folder.path().join(name), "more").unwrap();
        }
        create_dir(folder.path().join("checkpoints")).unwrap();
        assert_eq!(FileState::of(folder.path()), before);
    }

    #[test]
    fn a_split_model_changes_with_each_of_its_shards() {
        let folder = tempfile::tempdir().unwrap();
        let shard = |number: u32| folder.path().join(format!("m-{number:05}-of-00003.gguf"));
        let state = || FileState::of(&shard(1));
        (1..=2).for_each(|number| write(shard(number), "shard").unwrap());
        let mut seen = vec![state()];
        write(shard(3), "shard").unwrap();
        for number in [1, 2, 3] {
            seen.push(state());
            write(shard(number), "other shard").unwrap();
        }
        seen.push(state());
        assert!(seen.iter().all(Option::is_some));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }
}
