//! API keys: random secrets, of which a file keeps the SHA-256 alone.
//!
//! The file is TOML, for people to read; whoever may write it decides who may ask. It is read again when it changes, so a
//! key that was revoked is refused from then on. Read next: `change`, which writes it; `admit`, which asks here.

mod change;

pub use change::{NewKey, add, revoke};

use crate::options::Access;

pub use crate::api::Scope;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use subtle::ConstantTimeEq;

/// Where keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFile(pub PathBuf);

/// How much a key may ask; none: as much as the server allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyLimits {
    /// Requests under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<usize>,
    /// Requests within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<usize>,
    /// Tokens, read and generated, within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
}

/// A key as its user knows it, but for the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Names it in the file, in logs and to `revoke`.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// How much.
    pub limits: KeyLimits,
}

impl Key {
    /// Whether it allows what needs this scope. Whoever may change models may ask them.
    pub fn allows(&self, scope: Scope) -> bool {
        scope == Scope::Open || self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// A key as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRow {
    /// As [`Key::id`].
    pub id: String,
    /// As [`Key::name`].
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// How much it may ask.
    #[serde(default)]
    pub limits: KeyLimits,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContents {
    #[serde(default, rename = "key")]
    keys: Vec<KeyRow>,
}

/// Why keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Request(String),
    /// The file is not as it should be.
    #[error("{path}: {reason}\nhint: mend it by hand, or remove it and make new keys with `bantam keys add`")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The keys of a file, as it was when it was read last.
pub(crate) struct Keys {
    path: PathBuf,
    read: Mutex<Read>,
    /// Whether a key is asked for: once it is, it stays so, whatever becomes of the file.
    are_asked_for: AtomicBool,
}

struct Read {
    stamp: Option<Stamp>,
    keys: Arc<Vec<([u8; 32], Arc<Key>)>>,
}

impl Keys {
    /// Reads the keys, if the file of these matters at all. A file that is not there has none.
    pub(crate) fn open(access: &Access) -> Result<Option<Keys>, KeysError> {
        let (file, is_there) = match access {
            Access::Everybody => return Ok(None),
            Access::Keys(file) => (file, true),
            Access::EverybodyUntilKeys(file) => (file, may_be_there(&file.0)),
        };
        let path = file.0.clone();
        let read = Mutex::new(Read::of(&path)?);
        Ok(Some(Keys { path, read, are_asked_for: AtomicBool::new(is_there) }))
    }

    /// Whether a request needs a key, as of now.
    pub(crate) fn are_asked_for(&self) -> bool {
        if self.are_asked_for.load(Ordering::Acquire) {
            return true;
        }
        let is_there = may_be_there(&self.path);
        if is_there && !self.are_asked_for.swap(true, Ordering::AcqRel) {
            tracing::info!("{} is there: every request needs a key from now on", self.path.display());
        }
        is_there
    }

    /// The key with this secret. All keys are compared, each in constant time: how long it takes tells nothing.
    pub(crate) fn find(&self, secret: &str) -> Option<Arc<Key>> {
        let hash = hash_of_secret(secret);
        let mut found = None;
        for (own, key) in self.current().iter() {
            if bool::from(own.ct_eq(&hash)) {
                found = Some(Arc::clone(key));
            }
        }
        found
    }

    /// The keys that the file has now. One that has become unreadable leaves those that were read last, and says so.
    fn current(&self) -> Arc<Vec<([u8; 32], Arc<Key>)>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != read.stamp {
            match Read::of(&self.path) {
                Ok(new) => *read = new,
                Err(error) => {
                    tracing::error!("{error}");
                    read.stamp = stamp;
                }
            }
        }
        Arc::clone(&read.keys)
    }
}

/// Whether a file is there, as far as can be known: what cannot be looked at opens nothing.
fn may_be_there(path: &Path) -> bool {
    !path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// What changes with a file. Two changes within a tick of the file system's clock differ in length or in number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    number: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), number: number(&metadata) })
    }
}

/// The file's own number, which a file that takes another one's name does not share with it.
#[cfg(unix)]
fn number(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// Not every system has such numbers.
#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

impl Read {
    fn of(path: &Path) -> Result<Read, KeysError> {
        let stamp = Stamp::of(path);
        let mut keys = Vec::new();
        for row in rows(&KeysFile(path.to_owned()))? {
            let wrong = || KeysError::Content {
                path: path.to_owned(),
                reason: format!("key {}: expected a SHA-256 of 64 hexadecimal digits", row.id),
            };
            let hash = hash_of(&row.sha256).ok_or_else(wrong)?;
            keys.push((hash, Arc::new(Key { id: row.id, name: row.name, scopes: row.scopes, limits: row.limits })));
        }
        Ok(Read { stamp, keys: Arc::new(keys) })
    }
}

fn hash_of_secret(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hash_of(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// The keys of a file; one that is not there has none.
///
/// # Errors
/// A file that cannot be read, or that is not as it should be.
pub fn rows(file: &KeysFile) -> Result<Vec<KeyRow>, KeysError> {
    let path = &file.0;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KeysError::File { path: path.clone(), error }),
    };
    let contents: FileContents =
        toml::from_str(&text).map_err(|error| KeysError::Content { path: path.clone(), reason: error.to_string() })?;
    Ok(contents.keys)
}
