//! The store: content-addressed blobs, and manifests that give names to them.
//!
//! Blobs are read-only files called by their digest, so that a mapping of one cannot change or shrink under its reader.
//! A manifest is written in one step, after its blobs. The store knows nothing of sources and networks.
//! Read next: `hub.rs`, which fills it.

use crate::digest::Sha256;
use crate::lock::Lock;
use crate::manifest::{FileRole, Manifest, ManifestFile};
use crate::model_ref::{check_name, valid_segment};
use crate::{Home, HubError, nearest};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// More than any honest manifest; a limit on what is read into memory.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// What the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The models, by name.
    pub models: Vec<Manifest>,
    /// Those whose manifests cannot be read, by name.
    pub unreadable: Vec<Unreadable>,
}

/// A manifest that cannot be read: damaged, or of a version that has other words for things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The model's name, as the file's name has it.
    pub name: String,
    /// What is wrong, the file included.
    pub reason: String,
    path: PathBuf,
}

/// What `remove` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that the disk got back; blobs that others use, or that are links to other programs' files, give none.
    pub bytes_freed: u64,
    /// Blobs that no manifest used any more.
    pub blobs_freed: usize,
    /// Bytes that the disk got back besides: blobs that broken-off work left without a name, and downloads that nobody
    /// has gone on with for a week.
    pub left_over_bytes_freed: u64,
    /// Other models whose manifests cannot be read: nobody can tell which blobs they use, so that all were kept.
    pub kept_for: Vec<String>,
}

/// Models on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    home: Home,
}

impl Store {
    /// Opens the store, and makes its folders where they are missing.
    pub fn open(home: &Home) -> Result<Store, HubError> {
        for folder in [home.blobs(), home.manifests(), home.prepared(), home.partial(), home.locks(), home.folders()] {
            std::fs::create_dir_all(&folder).map_err(HubError::io("create", &folder))?;
        }
        Ok(Store { home: home.clone() })
    }

    /// The data directory.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// All models, by name. One that cannot be read hides no other.
    pub fn list(&self) -> Result<Listing, HubError> {
        let folder = self.home.manifests();
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&folder).map_err(HubError::io("list", &folder))? {
            let path = entry.map_err(HubError::io("list", &folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read_manifest(&path) {
                Ok(manifest) => listing.models.push(manifest),
                // Removed since the folder was read.
                Err(_) if !path.exists() => {}
                Err(error) => listing.unreadable.push(Unreadable::new(path, &error)),
            }
        }
        listing.models.sort_by(|a, b| a.name.cmp(&b.name));
        listing.unreadable.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// The model of that name, if it is here and whole.
    pub fn get(&self, name: &str) -> Result<Option<Manifest>, HubError> {
        check_name(name)?;
        let path = self.manifest_path(name);
        if !path.exists() {
            return Ok(None);
        }
        let manifest = read_manifest(&path)?;
        for file in &manifest.files {
            let blob = self.blob_path(&file.sha256);
            let length = std::fs::metadata(&blob).map(|data| data.len()).unwrap_or(0);
            if length != file.bytes {
                let reason = format!("{}: expected a blob of {} bytes, got {length}", file.file_name, file.bytes);
                return Err(HubError::Manifest { path, reason });
            }
        }
        Ok(Some(manifest))
    }

    /// The model of that name, or an error with the nearest names.
    pub fn expect(&self, name: &str) -> Result<Manifest, HubError> {
        match self.get(name)? {
            Some(manifest) => Ok(manifest),
            None => Err(self.absent(name)),
        }
    }

    /// The error that says that no model is called that, with the nearest names.
    pub(crate) fn absent(&self, name: &str) -> HubError {
        let models = self.list().unwrap_or_default().models;
        let names: Vec<String> = models.into_iter().map(|manifest| manifest.name).collect();
        let others = names.iter().map(String::as_str).filter(|other| *other != name);
        HubError::NotInStore { name: name.to_string(), nearest: nearest::nearest(name, others) }
    }

    /// Refuses a name that a whole model has. A damaged one is no hindrance: it may be replaced.
    pub(crate) fn check_free(&self, name: &str) -> Result<(), HubError> {
        match self.get(name) {
            Ok(Some(_)) => Err(HubError::Taken { name: name.to_string() }),
            Ok(None) | Err(HubError::Manifest { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a model of that name is here, readable or not; else an error with the nearest names.
    pub fn check_held(&self, name: &str) -> Result<(), HubError> {
        let unreadable = |listing: Listing| listing.unreadable.into_iter().any(|other| other.name == name);
        if (check_name(name).is_ok() && self.manifest_path(name).exists()) || self.list().is_ok_and(unreadable) {
            return Ok(());
        }
        Err(self.absent(name))
    }

    /// Forgets a model, readable or not, and deletes the blobs that no other uses; sweeps up what broken-off work left.
    pub fn remove(&self, name: &str) -> Result<Removed, HubError> {
        self.check_held(name)?;
        let _lock = self.lock()?;
        let listing = self.list()?;
        let (mine, others): (Vec<_>, Vec<_>) = listing.models.into_iter().partition(|model| model.name == name);
        let (damaged, unreadable): (Vec<_>, Vec<_>) =
            listing.unreadable.into_iter().partition(|model| model.name == name);
        let path = damaged.into_iter().next().map_or_else(|| self.manifest_path(name), |damaged| damaged.path);
        std::fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
        remove_folder(&self.folder_path(name))?;
        remove_folder(&self.adapter_folder_path(name))?;
        let kept_for: Vec<String> = unreadable.into_iter().map(|model| model.name).collect();
        let mut removed = Removed { kept_for, ..Removed::default() };
        if !removed.kept_for.is_empty() {
            removed.left_over_bytes_freed = self.sweep(None)?;
            return Ok(removed);
        }
        let used = digests(&others);
        for sha256 in digests(&mine).difference(&used).filter(|sha256| !self.is_held(sha256)) {
            let freed = exclusive_bytes(&self.blob_path(sha256));
            if self.discard_blob(sha256)? {
                removed.blobs_freed += 1;
                removed.bytes_freed += freed;
            }
            removed.bytes_freed += self.discard_prepared(sha256)?;
        }
        removed.left_over_bytes_freed = self.sweep(Some(&used))?;
        Ok(removed)
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, sha256: &Sha256) -> PathBuf {
        self.home.blobs().join(format!("sha256-{sha256}"))
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, sha256: &Sha256) -> bool {
        self.blob_path(sha256).is_file()
    }

    /// A path that a reader of the format can open: the blob of a model of one file, else a folder of links with the
    /// right names (for shards of a GGUF file, the first of them in that folder). An adapter that came along is elsewhere:
    /// see [`Store::locate_adapter`].
    pub fn locate(&self, manifest: &Manifest) -> Result<PathBuf, HubError> {
        let of_model = |file: &&ManifestFile| manifest.is_adapter() || file.role != FileRole::Adapter;
        self.locate_files(self.folder_path(&manifest.name), manifest.files.iter().filter(of_model).collect())
    }

    /// The same for the adapter of a model, or for one that is kept alone; none where there is none.
    pub fn locate_adapter(&self, manifest: &Manifest) -> Result<Option<PathBuf>, HubError> {
        let files: Vec<&ManifestFile> = manifest.adapter_files().collect();
        if files.is_empty() {
            return Ok(None);
        }
        self.locate_files(self.adapter_folder_path(&manifest.name), files).map(Some)
    }

    pub(crate) fn locate_files(&self, folder: PathBuf, files: Vec<&ManifestFile>) -> Result<PathBuf, HubError> {
        if let [only] = files.as_slice() {
            return Ok(self.blob_path(&only.sha256));
        }
        let folder = self.link_folder(folder, &files)?;
        let first = files.first().filter(|file| file.file_name.to_ascii_lowercase().ends_with(".gguf"));
        Ok(first.map_or(folder.clone(), |file| folder.join(&file.file_name)))
    }

    /// When the manifest of a name was written last: it came into the store, or was replaced. None if it is not there.
    pub fn modified(&self, name: &str) -> Option<SystemTime> {
        check_name(name).ok()?;
        std::fs::metadata(self.manifest_path(name)).and_then(|data| data.modified()).ok()
    }

    /// Writes a manifest in one step. Its blobs must be in the store. Without `replace`, the name must be free.
    pub(crate) fn add(&self, manifest: &Manifest, replace: bool) -> Result<(), HubError> {
        check_name(&manifest.name)?;
        let path = self.manifest_path(&manifest.name);
        check_files(&path, manifest)?;
        let _lock = self.lock()?;
        if !replace {
            self.check_free(&manifest.name)?;
        }
        self.write_manifest(&path, manifest)
    }

    /// As `add`, in the place of the model that has the name now, whose blobs are freed where no other uses them and
    /// nobody asked for them a moment ago.
    pub(crate) fn replace(&self, manifest: &Manifest) -> Result<(), HubError> {
        check_name(&manifest.name)?;
        let path = self.manifest_path(&manifest.name);
        check_files(&path, manifest)?;
        let _lock = self.lock()?;
        let before = read_manifest(&path).map(|before| before.files).unwrap_or_default();
        self.write_manifest(&path, manifest)?;
        let listing = self.list()?;
        if !listing.unreadable.is_empty() {
            // Nobody can tell which blobs those use.
            return Ok(());
        }
        let used = digests(&listing.models);
        for file in before.iter().filter(|file| !used.contains(&file.sha256) && !self.is_held(&file.sha256)) {
            self.discard_blob(&file.sha256)?;
            self.discard_prepared(&file.sha256)?;
        }
        Ok(())
    }

    /// Under the store's lock.
    fn write_manifest(&self, path: &Path, manifest: &Manifest) -> Result<(), HubError> {
        // Under the lock: a `remove` of another name may have freed a blob since it was found here.
        for file in &manifest.files {
            if !self.has_blob(&file.sha256) {
                let reason = format!("{} was removed while the model was added", file.file_name);
                return Err(HubError::Manifest { path: path.to_path_buf(), reason });
            }
        }
        let text = serde_json::to_string_pretty(manifest).expect("a manifest has only string keys; this is a bug");
        write_whole(path, text.as_bytes())
    }

    /// Whether a blob is here and is what its name says: its length is compared, then all of it is read.
    pub(crate) fn has_sound_blob(&self, sha256: &Sha256, bytes: Option<u64>) -> bool {
        let blob = self.blob_path(sha256);
        let Ok(data) = std::fs::metadata(&blob) else { return false };
        bytes.is_none_or(|bytes| bytes == data.len()) && Sha256::of_file(&blob).is_ok_and(|(got, _)| got == *sha256)
    }

    /// Throws a blob away, if it is there. Whoever has it open keeps reading what he has.
    pub(crate) fn discard_blob(&self, sha256: &Sha256) -> Result<bool, HubError> {
        let blob = self.blob_path(sha256);
        match remove_read_only(&blob) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(HubError::io("remove", &blob)(error)),
        }
    }

    /// Moves a checked file into the store, in the place of a blob that is there already: that one may be damaged,
    /// this one is not. It must lie on the store's file system.
    pub(crate) fn adopt(&self, file: &Path, sha256: &Sha256) -> Result<(), HubError> {
        let opened = std::fs::OpenOptions::new().write(true).open(file).map_err(HubError::io("open", file))?;
        opened.sync_all().map_err(HubError::io("write", file))?;
        let mut permissions = opened.metadata().map_err(HubError::io("read", file))?.permissions();
        permissions.set_readonly(true);
        let blob = self.blob_path(sha256);
        std::fs::set_permissions(file, permissions).map_err(HubError::io("protect", file))?;
        // Windows renames onto no read-only file.
        #[cfg(windows)]
        self.discard_blob(sha256)?;
        std::fs::rename(file, &blob).map_err(HubError::io("write", &blob))
    }

    /// Makes a blob out of another program's file without copying it: a hard link where the file system allows,
    /// else a symbolic link. The file keeps its own rights. A blob that is here and sound stays.
    pub(crate) fn adopt_link(&self, file: &Path, sha256: &Sha256) -> Result<(), HubError> {
        let file = std::fs::canonicalize(file).map_err(HubError::io("find", file))?;
        if self.has_sound_blob(sha256, None) {
            return Ok(());
        }
        self.discard_blob(sha256)?;
        link(&file, &self.blob_path(sha256))
    }

    pub(crate) fn partial_folder(&self) -> PathBuf {
        self.home.partial()
    }

    /// The lock file of a pull of that name.
    pub(crate) fn name_lock_path(&self, name: &str) -> PathBuf {
        self.home.locks().join(format!("{}.lock", encode(name)))
    }

    fn lock(&self) -> Result<Lock, HubError> {
        Lock::acquire(&self.home.locks().join(".store.lock"), || {})
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.home.manifests().join(format!("{}.json", encode(name)))
    }

    fn folder_path(&self, name: &str) -> PathBuf {
        self.home.folders().join(encode(name))
    }

    /// Beside that of the model: no name is encoded so.
    fn adapter_folder_path(&self, name: &str) -> PathBuf {
        self.home.folders().join(format!("{}%adapter", encode(name)))
    }

    /// A folder of links to files, made anew if it is not what the manifest says.
    fn link_folder(&self, folder: PathBuf, files: &[&ManifestFile]) -> Result<PathBuf, HubError> {
        let _lock = self.lock()?;
        let whole = files.iter().all(|file| {
            let stands_for = std::fs::canonicalize(folder.join(&file.file_name));
            let blob = std::fs::canonicalize(self.blob_path(&file.sha256));
            matches!((stands_for, blob), (Ok(a), Ok(b)) if a == b)
        });
        let count = std::fs::read_dir(&folder).map(Iterator::count).unwrap_or(0);
        if whole && count == files.len() {
            return Ok(folder);
        }
        remove_folder(&folder)?;
        std::fs::create_dir_all(&folder).map_err(HubError::io("create", &folder))?;
        for file in files {
            symbolic_or_hard_link(&self.blob_path(&file.sha256), &folder.join(&file.file_name))?;
        }
        Ok(folder)
    }
}

fn digests(models: &[Manifest]) -> HashSet<Sha256> {
    models.iter().flat_map(|model| &model.files).map(|file| file.sha256).collect()
}

/// A name as a file name that no file system folds, splits or misreads: all but lower-case letters, digits, `.`, `_`
/// and `-` is written as `%` and two hexadecimal digits.
pub(crate) fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02x}")),
        }
    }
    encoded
}

/// The name that a file name was made of.
fn decode(stem: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = stem.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = (*first == b'%').then(|| tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()));
        match digits.flatten().and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Unreadable {
    fn new(path: PathBuf, error: &HubError) -> Unreadable {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = error.to_string();
        let reason = text.split("\nhint:").next().unwrap_or_default().to_string();
        Unreadable { name: decode(&stem), reason, path }
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, HubError> {
    let wrong = |reason: String| HubError::Manifest { path: path.to_path_buf(), reason };
    let length = std::fs::metadata(path).map_err(HubError::io("read", path))?.len();
    if length > LONGEST_MANIFEST {
        return Err(wrong(format!("expected at most {LONGEST_MANIFEST} bytes, got {length}")));
    }
    let bytes = std::fs::read(path).map_err(HubError::io("read", path))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if check_name(&manifest.name).is_err() || encode(&manifest.name) != stem {
        return Err(wrong(format!("expected the manifest of this file's name, got that of {:?}", manifest.name)));
    }
    check_files(path, &manifest)?;
    Ok(manifest)
}

/// File names become links in a folder: one that leaves the folder, or comes twice, is refused.
fn check_files(path: &Path, manifest: &Manifest) -> Result<(), HubError> {
    let mut seen = HashSet::new();
    let wrong = |reason: String| HubError::Manifest { path: path.to_path_buf(), reason };
    for file in &manifest.files {
        if !valid_segment(&file.file_name) {
            return Err(wrong(format!("expected a plain file name, got {:?}", file.file_name)));
        }
        if !seen.insert(file.file_name.to_ascii_lowercase()) {
            return Err(wrong(format!("{} stands there twice", file.file_name)));
        }
    }
    if manifest.files.is_empty() { Err(wrong("expected files, got none".to_string())) } else { Ok(()) }
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut scratch = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
        scratch.write_all(bytes)?;
        scratch.as_file().sync_all()?;
        scratch.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(HubError::io("write", path))
}

fn remove_folder(folder: &Path) -> Result<(), HubError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HubError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Bytes that removing a blob gives back: none for a link to another program's file.
pub(crate) fn exclusive_bytes(blob: &Path) -> u64 {
    let Ok(data) = std::fs::symlink_metadata(blob) else { return 0 };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&data) > 1 {
        return 0;
    }
    if data.is_file() { data.len() } else { 0 }
}

fn remove_read_only(path: &Path) -> std::io::Result<()> {
    #[cfg(windows)]
    {
        // Windows refuses to delete a read-only file.
        let mut permissions = std::fs::metadata(path)?.permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "the file is deleted next")]
        permissions.set_readonly(false);
        std::fs::set_permissions(path, permissions)?;
    }
    std::fs::remove_file(path)
}

fn link(target: &Path, place: &Path) -> Result<(), HubError> {
    if std::fs::hard_link(target, place).is_ok() {
        return Ok(());
    }
    symbolic_link(target, place).map_err(HubError::io("link", place))
}

/// Links inside the store: symbolic ones show where they lead; Windows lets only administrators make them.
fn symbolic_or_hard_link(target: &Path, place: &Path) -> Result<(), HubError> {
    let target = std::path::absolute(target).map_err(HubError::io("find", target))?;
    if symbolic_link(&target, place).is_ok() {
        return Ok(());
    }
    std::fs::hard_link(&target, place).map_err(HubError::io("link", place))
}

#[cfg(unix)]
fn symbolic_link(target: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(windows)]
fn symbolic_link(target: &Path, place: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::DigestOrigin;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::at(folder.path())).unwrap();
        (folder, store)
    }

    fn file(store: &Store, name: &str, content: &[u8]) -> ManifestFile {
        let sha256 = Sha256::of(content);
        let path = store.partial_folder().join("arrived");
        std::fs::write(&path, content).unwrap();
        store.adopt(&path, &sha256).unwrap();
        ManifestFile {
            role: FileRole::Model,
            file_name: name.to_string(),
            sha256,
            bytes: content.len() as u64,
            pinned: false,
            digest_origin: DigestOrigin::Computed,
            unknown: Default::default(),
        }
    }

    fn manifest(name: &str, files: Vec<ManifestFile>) -> Manifest {
        let (name, source) = (name.to_string(), "test".to_string());
        let unknown = Default::default();
        Manifest { name, family: "llama".into(), license: None, source, files, base: None, settings: None, unknown }
    }

    #[test]
    fn removing_frees_only_blobs_that_nobody_uses() {
        let (_folder, store) = store();
        let shared = file(&store, "a.safetensors", b"shared");
        let own = file(&store, "b.safetensors", b"mine alone");
        store.add(&manifest("one", vec![shared.clone()]), false).unwrap();
        store.add(&manifest("Two:x", vec![shared.clone(), own.clone()]), false).unwrap();
        let names: Vec<String> = store.list().unwrap().models.into_iter().map(|model| model.name).collect();
        assert_eq!(names, ["Two:x", "one"]);
        let freed = |bytes_freed| Removed { bytes_freed, blobs_freed: 1, ..Removed::default() };
        assert_eq!(store.remove("Two:x").unwrap(), freed(10));
        assert!(store.has_blob(&shared.sha256) && !store.has_blob(&own.sha256));
        assert_eq!(store.remove("one").unwrap(), freed(6));
        let error = store.remove("one").unwrap_err().to_string();
        assert!(error.starts_with("\"one\" is not in the store"), "{error}");
    }

    #[test]
    fn blobs_cannot_be_written() {
        let (_folder, store) = store();
        let only = file(&store, "m.gguf", b"bytes");
        assert!(std::fs::metadata(store.blob_path(&only.sha256)).unwrap().permissions().readonly());
    }

    #[test]
    fn several_files_become_a_folder_with_the_right_names() {
        let (_folder, store) = store();
        let files = vec![file(&store, "config.json", b"{}"), file(&store, "model.safetensors", b"weights")];
        let folder_model = manifest("folder", files);
        store.add(&folder_model, false).unwrap();
        let folder = store.locate(&folder_model).unwrap();
        assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), b"weights");
        std::fs::remove_file(folder.join("config.json")).unwrap();
        std::fs::write(folder.join("stray"), "x").unwrap();
        assert_eq!(store.locate(&folder_model).unwrap(), folder);
        assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), b"{}");
        assert!(!folder.join("stray").exists());
        let shards = vec![file(&store, "m-00001-of-00002.gguf", b"1"), file(&store, "m-00002-of-00002.gguf", b"2")];
        let located = store.locate(&manifest("shards", shards)).unwrap();
        assert_eq!(located.file_name().unwrap(), "m-00001-of-00002.gguf");
        assert!(located.with_file_name("m-00002-of-00002.gguf").exists());
    }

    #[test]
    fn hostile_manifests_are_errors_that_name_the_file() {
        let (_folder, store) = store();
        let good = manifest("one", vec![file(&store, "m.gguf", b"bytes")]);
        store.add(&good, false).unwrap();
        let path = store.manifest_path("one");
        let text = std::fs::read_to_string(&path).unwrap();
        let wrongs = [
            ("m.gguf", "../../m.gguf", "expected a plain file name, got \"../../m.gguf\""),
            ("\"one\"", "\"other\"", "expected the manifest of this file's name, got that of \"other\""),
            ("\"bytes\": 5", "\"bytes\": 6", "expected a blob of 6 bytes, got 5"),
            ("\"bytes\": 5", "\"bytes\": -5", "invalid value"),
            ("{", "", "expected"),
            ("\"family\"", "\"familiar\"", "missing field `family`"),
        ];
        for (from, to, expected) in wrongs {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = store.get("one").unwrap_err().to_string();
            assert!(error.contains("one.json") && error.contains(expected), "{expected}: {error}");
        }
        // A damaged manifest is mended by adding the model again.
        store.add(&good, true).unwrap();
        assert_eq!(store.get("one").unwrap(), Some(good));
    }

    #[test]
    fn file_names_turn_back_into_names() {
        for name in ["smollm2:135m", "hf:Qwen/Qwen3@main:q8_0", "A+b", "100%", "%", "%zz", "x%4"] {
            assert_eq!(decode(&encode(name)), name);
        }
        assert_eq!(decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn a_manifest_without_its_blobs_is_not_written() {
        let (_folder, store) = store();
        let mut lost = file(&store, "m.gguf", b"bytes");
        lost.sha256 = Sha256::of(b"others");
        assert!(store.add(&manifest("one", vec![lost]), false).is_err());
        assert_eq!(store.get("one").unwrap(), None);
    }

    #[test]
    fn a_link_to_another_programs_file_frees_nothing_and_leaves_the_file() {
        let (folder, store) = store();
        let foreign = folder.path().join("foreign.gguf");
        std::fs::write(&foreign, b"theirs").unwrap();
        let sha256 = Sha256::of(b"theirs");
        store.adopt_link(&foreign, &sha256).unwrap();
        assert!(!std::fs::metadata(&foreign).unwrap().permissions().readonly());
        let mut linked = file(&store, "x.gguf", b"x");
        (linked.sha256, linked.bytes) = (sha256, 6);
        store.add(&manifest("linked", vec![linked]), false).unwrap();
        // The blob of `x.gguf`, which no manifest names, is swept up; its one byte was the store's own.
        let expected = Removed { blobs_freed: 1, left_over_bytes_freed: 1, ..Removed::default() };
        assert_eq!(store.remove("linked").unwrap(), expected);
        assert_eq!(std::fs::read(&foreign).unwrap(), b"theirs");
    }
}
