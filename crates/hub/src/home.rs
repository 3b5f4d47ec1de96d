//! Where Bantam keeps its data: `BANTAM_HOME`, or the platform's folder for the data of applications.
//!
//! Knows the folders' names, nothing of what is in them. Read next: `store.rs`.

use crate::HubError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder of Bantam's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// `BANTAM_HOME` if set, else `bantam` in the platform's data directory: `$XDG_DATA_HOME` or `~/.local/share`
    /// (XDG Base Directory Specification), `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows.
    pub fn from_env() -> Result<Home, HubError> {
        Home::from_variables(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// A given folder; it need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Home {
        Home { root: root.into() }
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Home, HubError> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        if let Some(root) = path("BANTAM_HOME") {
            return Ok(Home { root });
        }
        let data = if cfg!(target_os = "windows") {
            path("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            path("HOME").map(|home| home.join("Library/Application Support"))
        } else {
            // The specification tells to ignore a relative path.
            let stated = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
            stated.or_else(|| path("HOME").map(|home| home.join(".local/share")))
        };
        let data = data.ok_or_else(|| HubError::Io {
            action: "find the data directory (neither BANTAM_HOME nor HOME is set)",
            path: PathBuf::from("."),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        })?;
        Ok(Home { root: data.join("bantam") })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The user's catalog files.
    pub fn catalogs(&self) -> PathBuf {
        self.root.join("catalog.d")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    pub(crate) fn folders(&self) -> PathBuf {
        self.root.join("folders")
    }

    pub(crate) fn prepared(&self) -> PathBuf {
        self.root.join("prepared")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Result<Home, HubError> {
        Home::from_variables(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_stated_folder_wins_then_the_platforms() {
        assert_eq!(home(&[("BANTAM_HOME", "/b"), ("HOME", "/h")]).unwrap().root(), Path::new("/b"));
        if cfg!(target_os = "linux") {
            let xdg = home(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]).unwrap();
            assert_eq!(xdg.root(), Path::new("/x/bantam"));
            let relative = home(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")]).unwrap();
            assert_eq!(relative.root(), Path::new("/h/.local/share/bantam"));
        }
        let error = home(&[]).unwrap_err().to_string();
        assert!(error.contains("neither BANTAM_HOME nor HOME is set"), "{error}");
    }
}
