//! A folder for files that are made and then moved on or thrown away. It is gone when the command ends: normally, with an
//! error, or by Ctrl-C. What a killed process left is swept by the next command that needs such a folder.
//!
//! Knows nothing of what is written there.

use crate::interrupt::Interrupts;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "scratch-";
/// Held for as long as the folder is in use; the system lets go of it however the process ends.
const LOCK: &str = "lock";

/// The folder, until dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    interrupts: Interrupts,
    _lock: File,
}

impl Scratch {
    /// Makes one inside of `root`, which nobody else uses for folders of this kind.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(root: &Path, interrupts: &Interrupts) -> io::Result<Scratch> {
        sweep(root)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        interrupts.remove_at_end(folder.path());
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Scratch { folder, interrupts: interrupts.clone(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.interrupts.forget_folder(self.folder.path());
    }
}

/// Removes the folders that no living process holds.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let folder = entry?;
        if !folder.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // One without a lock was made a moment ago; another process may sweep at the same time.
        let Ok(lock) = File::open(folder.path().join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => drop(std::fs::remove_dir_all(folder.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_goes_with_its_owner_with_ctrl_c_or_with_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let create = || Scratch::create(root.path(), &interrupts).unwrap();
        let count = || std::fs::read_dir(root.path()).unwrap().count();
        drop(create());
        assert_eq!(count(), 0);
        let (one, other) = (create(), create());
        std::fs::write(one.path().join("model.gguf"), "half").unwrap();
        assert_eq!(count(), 2, "one in use is not swept");
        interrupts.clean_up();
        assert_eq!(count(), 0, "as Ctrl-C does before it ends the process");
        drop((one, other));
        // What a killed process leaves: a folder, and a lock that nobody holds.
        let left = root.path().join(format!("{PREFIX}left"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        std::fs::write(left.join("model.gguf"), "half").unwrap();
        let next = create();
        assert!(!left.exists() && next.path().exists());
    }
}
