//! Making and revoking keys: one at a time, the whole file replaced at once.
//!
//! Whoever is changing the file holds a lock beside it, so that two at once lose nothing; whoever reads it meanwhile sees
//! the old one or the new one. A secret is returned once and kept nowhere. Read next: `keys`, which reads.

use super::{FileContents, KeyLimits, KeyRow, KeysError, KeysFile, hash_of_secret, rows};
use crate::admit::random_text;
use crate::api::Scope;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What every secret begins with, so that one that was published by mistake can be found.
const PREFIX: &str = "bantam_";

/// Longest name of a key, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// As the file keeps it.
    pub row: KeyRow,
    /// What its user sends. It cannot be had again.
    pub secret: String,
}

/// Makes a key and puts it into the file, which is made where there is none, for its owner alone.
///
/// # Errors
/// A name or a limit that makes no sense; a file that cannot be read, is not as it should be, or cannot be written.
pub fn add(file: &KeysFile, name: &str, scopes: Vec<Scope>, limits: KeyLimits) -> Result<NewKey, KeysError> {
    check_name(name)?;
    check_limits(&limits)?;
    let path = real_path(&file.0)?;
    let _lock = lock(&path)?;
    let mut keys = rows(&KeysFile(path.clone()))?;
    let secret = format!("{PREFIX}{}", random_hex());
    let id = loop {
        let id = format!("key_{}", random_text(8));
        if keys.iter().all(|row| row.id != id) {
            break id;
        }
    };
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let sha256 = hex(&hash_of_secret(&secret));
    let row = KeyRow { id, name: name.to_owned(), sha256, scopes, created, limits };
    keys.push(row.clone());
    write(&path, keys)?;
    Ok(NewKey { row, secret })
}

/// Takes a key out of the file. A running server refuses it from then on; answers under way go on.
///
/// # Errors
/// No key of this id; a file that cannot be read, is not as it should be, or cannot be written.
pub fn revoke(file: &KeysFile, id: &str) -> Result<KeyRow, KeysError> {
    let path = real_path(&file.0)?;
    let _lock = lock(&path)?;
    let mut keys = rows(&KeysFile(path.clone()))?;
    let Some(position) = keys.iter().position(|row| row.id == id) else {
        let known: Vec<&str> = keys.iter().map(|row| row.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let reason =
            format!("no key has the id {id:?}; there are: {known}\nhint: `bantam keys list` tells whose they are");
        return Err(KeysError::Request(reason));
    };
    let revoked = keys.remove(position);
    write(&path, keys)?;
    Ok(revoked)
}

fn check_name(name: &str) -> Result<(), KeysError> {
    let length = name.chars().count();
    let is_fine = (1..=NAME_CHARACTERS_MAX).contains(&length) && !name.chars().any(char::is_control);
    if is_fine && !name.trim().is_empty() {
        return Ok(());
    }
    let expected = format!("expected 1 to {NAME_CHARACTERS_MAX} printable characters");
    Err(KeysError::Request(format!("the name of a key: {expected}, got {name:?}")))
}

fn check_limits(limits: &KeyLimits) -> Result<(), KeysError> {
    let zero = [
        ("concurrent", limits.concurrent == Some(0)),
        ("requests-per-minute", limits.requests_per_minute == Some(0)),
        ("tokens-per-minute", limits.tokens_per_minute == Some(0)),
    ];
    match zero.iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(KeysError::Request(format!(
            "{name}: expected 1 or more, got 0\nhint: leave it out for no limit; `bantam keys revoke` ends a key"
        ))),
        None => Ok(()),
    }
}

/// Where the file truly lies, so that a link to it stays a link.
fn real_path(path: &Path) -> Result<PathBuf, KeysError> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(failed(folder))?;
            }
            Ok(path.to_owned())
        }
        Err(error) => Err(failed(path)(error)),
    }
}

/// Held until dropped; the system lets go of it when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, KeysError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let beside = path.with_file_name(name);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
    let file = opened.map_err(failed(&beside))?;
    file.lock().map_err(failed(&beside))?;
    Ok(file)
}

fn write(path: &Path, keys: Vec<KeyRow>) -> Result<(), KeysError> {
    let head = "# Keys of bantam serve. `bantam keys add` and `bantam keys revoke` change this file; a running server\n\
                # reads it again. Secrets are not here, only their SHA-256.\n\n";
    let content = |error: &dyn std::fmt::Display| KeysError::Content { path: path.into(), reason: error.to_string() };
    let text = toml::to_string(&FileContents { keys }).map_err(|error| content(&error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is its owner's alone (mode 0600), and stays so under its new name.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed(folder))?;
    file.write_all(head.as_bytes())
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed(path))?;
    file.persist(path).map_err(|error| failed(path)(error.error))?;
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> KeysError {
    let path = path.to_owned();
    |error| KeysError::File { path, error }
}

/// 32 random bytes.
fn random_hex() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has no randomness; nothing can be done without");
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Keys;
    use super::*;
    use crate::options::Access;

    fn scratch() -> (tempfile::TempDir, KeysFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = KeysFile(folder.path().join("deeper/keys.toml"));
        (folder, file)
    }

    #[test]
    fn a_key_is_found_by_its_secret_until_it_is_revoked() {
        let (_folder, file) = scratch();
        let keys = Keys::open(&Access::Keys(file.clone())).unwrap().unwrap();
        let limits = KeyLimits { concurrent: Some(2), ..KeyLimits::default() };
        let new = add(&file, "team", vec![Scope::Infer], limits).unwrap();
        assert_eq!(new.secret.len(), PREFIX.len() + 64);
        let text = std::fs::read_to_string(&file.0).unwrap();
        assert!(!text.contains(&new.secret[PREFIX.len()..]), "the secret is not kept: {text}");
        let found = keys.find(&new.secret).expect("a running server reads the file again");
        assert_eq!((found.id.as_str(), found.name.as_str(), found.limits), (new.row.id.as_str(), "team", limits));
        assert!(found.allows(Scope::Infer) && !found.allows(Scope::Admin));
        assert!(keys.find(&new.secret[1..]).is_none());
        let other = add(&file, "operators", vec![Scope::Admin], KeyLimits::default()).unwrap();
        assert_eq!(revoke(&file, &new.row.id).unwrap(), new.row);
        assert!(keys.find(&new.secret).is_none() && keys.find(&other.secret).is_some());
        std::fs::remove_file(&file.0).unwrap();
        assert!(keys.find(&other.secret).is_none(), "without the file nobody may ask");
    }

    #[test]
    fn the_first_key_closes_what_was_open_for_good() {
        let (_folder, file) = scratch();
        let opened = |access: &dyn Fn(KeysFile) -> Access| Keys::open(&access(file.clone())).unwrap().unwrap();
        let (open, closed) = (opened(&Access::EverybodyUntilKeys), opened(&Access::Keys));
        assert!(!open.are_asked_for() && closed.are_asked_for());
        let new = add(&file, "team", vec![Scope::Infer], KeyLimits::default()).unwrap();
        assert!(open.are_asked_for() && open.find(&new.secret).is_some());
        std::fs::remove_file(&file.0).unwrap();
        assert!(open.are_asked_for() && open.find(&new.secret).is_none(), "a file that is lost opens nothing");
        add(&file, "team", vec![Scope::Infer], KeyLimits::default()).unwrap();
        assert!(opened(&Access::EverybodyUntilKeys).are_asked_for());
        assert!(Keys::open(&Access::Everybody).unwrap().is_none());
        // What is no folder cannot be looked into.
        assert!(super::super::may_be_there(&file.0.join("keys.toml")));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, file) = scratch();
        add(&file, "team", vec![Scope::Infer], KeyLimits::default()).unwrap();
        assert_eq!(std::fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn many_at_once_lose_no_key() {
        let (_folder, file) = scratch();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope
                    .spawn(move || add(file, &format!("k{number}"), vec![Scope::Infer], KeyLimits::default()).unwrap());
            }
        });
        let mut names: Vec<String> = rows(&file).unwrap().into_iter().map(|row| row.name).collect();
        names.sort();
        assert_eq!(names, ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_changes_nothing() {
        let (_folder, file) = scratch();
        let refused = |name: &str, limits| add(&file, name, vec![Scope::Infer], limits).unwrap_err().to_string();
        assert_eq!(
            refused("a\nb", KeyLimits::default()),
            "the name of a key: expected 1 to 64 printable characters, got \"a\\nb\""
        );
        let none = KeyLimits { tokens_per_minute: Some(0), ..KeyLimits::default() };
        assert!(refused("a", none).starts_with("tokens-per-minute: expected 1 or more, got 0\nhint: "));
        let unknown = revoke(&file, "key_x").unwrap_err().to_string();
        assert!(unknown.starts_with("no key has the id \"key_x\"; there are: none\nhint: "), "{unknown}");
        std::fs::write(&file.0, "[[key]]\nid = 1\n").unwrap();
        let damaged = add(&file, "a", vec![Scope::Infer], KeyLimits::default()).unwrap_err().to_string();
        assert!(damaged.contains("keys.toml: ") && damaged.contains("hint: mend it by hand"), "{damaged}");
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "[[key]]\nid = 1\n");
    }
}
