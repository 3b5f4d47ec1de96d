//! A folder to work in beside a home of its own, with the models of the shared store where a test needs one.

use crate::models::{CHAT, store};
use crate::{bantam, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

/// A folder to work in, with a home that has the models of the shared store and a ledger of its own.
pub struct Desk {
    pub folder: TempDir,
    pub home: TempDir,
}

impl Desk {
    /// None where the store has no model.
    pub fn new() -> Option<Desk> {
        let shared = store(CHAT)?;
        let desk = Desk::without_model();
        for name in ["blobs", "manifests", "catalog.d", "locks"] {
            link(&shared.join(name), &desk.home.path().join(name));
        }
        Some(desk)
    }

    /// With no model at all.
    pub fn without_model() -> Desk {
        Desk { folder: tempdir().unwrap(), home: tempdir().unwrap() }
    }

    /// A file of the folder, whose own folders are made.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }

    /// The path of a file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text of a file of the folder.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A command in the folder, with the home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bantam(self.home.path());
        command.current_dir(self.folder.path()).args(args);
        command
    }

    /// Exit code, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        run(&mut self.command(args))
    }

    /// What is printed by a command that succeeds.
    pub fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }

    /// What is said by a command that fails, and prints nothing.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let (got, out, err) = self.run(args);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?}: {err}");
        err
    }

    /// What is said of a job.
    pub fn job(&self, id: &str) -> Value {
        serde_json::from_str(&self.done(&["jobs", "show", id, "--json"])).unwrap()
    }

    /// Begins a command, and waits until its job, the first of the ledger, has so many rows.
    pub fn begin(&self, args: &[&str], rows: u64) -> std::process::Child {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(120), "no row was done");
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was disturbed");
            let (code, job, _) = self.run(&["jobs", "show", "1", "--json"]);
            let done = serde_json::from_str::<Value>(&job).ok().and_then(|job| job["done"].as_u64());
            if code == 0 && done.is_some_and(|done| done >= rows) {
                return child;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) {
    if from.exists() {
        std::os::unix::fs::symlink(from, to).unwrap();
    }
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    std::fs::create_dir_all(to).unwrap();
    entries.flatten().for_each(|entry| drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()));
}
