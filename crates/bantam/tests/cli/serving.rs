//! `bantam serve` as programs meet it: real clients, many requests at once, hostile traffic, the end.
//!
//! Ordinary runs keep to what fits into minutes; with `BANTAM_VERIFY=1`, which `cargo xtask verify` sets, all models take part
//! and the soak lasts ten minutes.

mod clients;
mod mixed;
mod soak;
mod steady;

use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use crate::parity::{model_names, skipped};
use crate::serve::Serving;

pub use crate::models::CHAT;
pub const BASE: &str = "gemma3:270m-base";
pub const TOOLS: &str = "qwen2.5-coder:0.5b";
pub const EMBEDDING: &str = "all-minilm";

/// The store that `.ci/run` fills, if it has these models.
pub fn store(models: &[&str]) -> Option<PathBuf> {
    let home = std::env::var_os("BANTAM_HOME").map(PathBuf::from)?;
    let names = model_names(&home);
    match models.iter().find(|model| !names.iter().any(|name| name == *model)) {
        Some(missing) => {
            skipped(missing);
            None
        }
        None => Some(home),
    }
}

/// A store of its own with the models of another one, which it shares: what is added to it stays in it.
fn borrowed(home: &Path) -> TempDir {
    let own = tempdir().unwrap();
    for folder in ["blobs", "manifests", "folders"] {
        std::fs::create_dir(own.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(home.join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::os::unix::fs::symlink(entry.path(), own.path().join(folder).join(entry.file_name())).unwrap();
        }
    }
    own
}

/// A server over a store that logs nothing but errors: nobody reads what it writes until it ends.
fn serving(home: &Path, models: &[&str]) -> Serving {
    Serving::start(home, &[&["--log-level", "error"], models].concat())
}

/// Whether all of the proof is asked for, not only what fits into minutes.
pub fn is_whole() -> bool {
    std::env::var_os("BANTAM_VERIFY").is_some_and(|value| value == "1")
}
