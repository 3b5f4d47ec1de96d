//! Files that clients upload, and those that are made for them: bytes in one folder, under names that the server gives.
//!
//! ```text
//! FOLDER/file-xxxx        the bytes
//! FOLDER/file-xxxx.json   what is known of them; written last, so that a file is whole or not there, and removed
//!                         last, so that no bytes are left that nobody can delete
//! ```
//!
//! What a client calls a file is kept as text and never becomes a path. Everything here blocks; callers are apart from
//! the threads that serve connections. Knows no wire format. Read next: `api::openai::files`, the endpoints.

use crate::admit::random_text;
use crate::failure::{Failure, FailureKind};
use crate::keys::{Key, Scope};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Longest name of a file, in bytes: as long as file systems take.
pub(crate) const LONGEST_NAME: usize = 255;
/// What the names of our own files begin with.
const PREFIX: &str = "file-";
/// What to do where there is no room.
const DELETE_SOME: &str = "hint: delete files that nobody needs: DELETE /v1/files/{file_id}";
/// Letters and digits after that.
const ID_LEN: usize = 24;
/// No record is as long: the errors of a batch are counted, and what they show is cut.
const LONGEST_RECORD: u64 = 1 << 20;

/// Where files of clients are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// The folder; made with the first file.
    pub folder: PathBuf,
    /// Most bytes of one file.
    pub max_file_bytes: u64,
    /// Most bytes of all files together, beyond which no upload is taken.
    pub max_bytes: u64,
    /// Most files, beyond which no upload is taken.
    pub max_files: usize,
}

impl FilesOptions {
    /// The default bounds, for this folder.
    pub fn in_folder(folder: PathBuf) -> FilesOptions {
        FilesOptions { folder, max_file_bytes: 200 << 20, max_bytes: 10 << 30, max_files: 4096 }
    }
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFile {
    pub(crate) id: String,
    /// What its client calls it.
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The id of the key that it came with; none where no key was asked for.
    pub(crate) owner: Option<String>,
}

/// Whether what a key brought may be seen by whoever asks with this one: its owner, and who may change what there is.
/// Where no keys are asked for, everybody sees everything.
pub(crate) fn may_see(owner: Option<&str>, asker: Option<&Key>) -> bool {
    asker.is_none_or(|key| owner == Some(key.id.as_str()) || key.allows(Scope::Admin))
}

/// The files of a folder.
pub(crate) struct FileStore {
    options: FilesOptions,
    /// Held while a file is added, so that the bounds hold for all together.
    adding: Mutex<()>,
    /// Bytes of all files that are being written.
    coming: Arc<AtomicU64>,
}

/// A file that is being written; without an end, nothing is left of it.
pub(crate) struct Incoming {
    file: NamedTempFile,
    coming: Coming,
    /// Bytes that all files that are being written may have together; none where it is no upload.
    room: Option<u64>,
}

/// Bytes that were written, counted with those of all others until this is dropped.
struct Coming {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Coming {
    /// Counts more, and returns the bytes of all.
    fn add(&mut self, bytes: u64) -> u64 {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::AcqRel) + bytes
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl FileStore {
    pub(crate) fn of(options: FilesOptions) -> FileStore {
        FileStore { options, adding: Mutex::default(), coming: Arc::default() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.options.folder
    }

    pub(crate) fn max_file_bytes(&self) -> u64 {
        self.options.max_file_bytes
    }

    /// An id that no other file has.
    pub(crate) fn new_id() -> String {
        format!("{PREFIX}{}", random_text(ID_LEN))
    }

    /// Begins a file of the server's own, which is written whatever the bounds: an answer that was computed is not
    /// lost.
    pub(crate) fn begin(&self) -> Result<Incoming, Failure> {
        make_folder(&self.options.folder).map_err(|error| self.broken("cannot be made", &error))?;
        let file = NamedTempFile::with_prefix_in(".incoming-", &self.options.folder);
        let file = file.map_err(|error| self.broken("cannot be written", &error))?;
        Ok(Incoming { file, coming: Coming { bytes: 0, all: Arc::clone(&self.coming) }, room: None })
    }

    /// Begins an upload, which is refused as soon as it and the others that come are too much.
    pub(crate) fn begin_upload(&self) -> Result<Incoming, Failure> {
        let room = self.room()?;
        Ok(Incoming { room: Some(room), ..self.begin()? })
    }

    /// Writes more of a file.
    pub(crate) fn write(&self, incoming: &mut Incoming, bytes: &[u8]) -> Result<(), Failure> {
        let coming = incoming.coming.add(bytes.len() as u64);
        if let Some(room) = incoming.room.filter(|room| coming > *room) {
            return Err(self.too_much(room, coming));
        }
        incoming.file.write_all(bytes).map_err(|error| self.broken("cannot be written", &error))
    }

    /// Makes an upload a file of the store, if there is room for it.
    pub(crate) fn upload(&self, incoming: Incoming, file: StoredFile) -> Result<StoredFile, Failure> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        // What came before it may have taken its place meanwhile.
        let (room, bytes) = (self.room()?, incoming.coming.bytes);
        if bytes > room {
            return Err(self.too_much(room, bytes));
        }
        self.keep(incoming, file)
    }

    /// Bytes that there is room for.
    fn room(&self) -> Result<u64, Failure> {
        let there = self.list()?;
        let most = self.options.max_files;
        if there.len() >= most {
            let message = format!("{} files are kept, at most {most} may be\n{DELETE_SOME}", there.len());
            return Err(Failure::new(FailureKind::TooLarge, message));
        }
        let taken: u64 = there.iter().map(|file| file.bytes).sum();
        Ok(self.options.max_bytes.saturating_sub(taken))
    }

    fn too_much(&self, room: u64, coming: u64) -> Failure {
        let most = self.options.max_bytes;
        let message = format!(
            "there is room for {room} more bytes, of {most} for all files (--max-files-bytes), and {coming} came\n\
             {DELETE_SOME}"
        );
        Failure::new(FailureKind::TooLarge, message)
    }

    /// Makes what was written the file of that id, in the place of one that is there.
    pub(crate) fn keep(&self, incoming: Incoming, file: StoredFile) -> Result<StoredFile, Failure> {
        let file = StoredFile { bytes: incoming.coming.bytes, ..file };
        let kept = || {
            incoming.file.as_file().sync_all()?;
            incoming.file.persist(self.path(&file.id)).map_err(|error| error.error)?;
            write_record(&self.record_path(&file.id), &file)
        };
        kept().map_err(|error| self.broken("cannot be written", &error))?;
        Ok(file)
    }

    /// The file of an id that somebody sent.
    pub(crate) fn get(&self, id: &str, asker: Option<&Key>) -> Result<StoredFile, Failure> {
        let found = if is_id(PREFIX, id) { read_record::<StoredFile>(&self.record_path(id)) } else { Ok(None) };
        let found = found.map_err(|error| self.broken("cannot be read", &error))?;
        found.filter(|file| may_see(file.owner.as_deref(), asker)).ok_or_else(|| unknown(id))
    }

    /// All files, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<StoredFile>, Failure> {
        let mut files = Vec::new();
        for id in
            ids_in(&self.options.folder, PREFIX, ".json").map_err(|error| self.broken("cannot be read", &error))?
        {
            match read_record(&self.record_path(&id)) {
                // One that was deleted meanwhile is no longer there.
                Ok(file) => files.extend(file),
                // One that is damaged keeps nobody from the others.
                Err(error) => tracing::error!(file = id, "passed over, its record cannot be read: {error}"),
            }
        }
        files.sort_by(|one: &StoredFile, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
        Ok(files)
    }

    /// Where the bytes of a file are.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.options.folder.join(id)
    }

    /// The bytes of a file.
    pub(crate) fn open(&self, file: &StoredFile) -> Result<File, Failure> {
        File::open(self.path(&file.id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unknown(&file.id),
            _ => self.broken("cannot be read", &error),
        })
    }

    /// Removes a file.
    pub(crate) fn delete(&self, file: &StoredFile) -> Result<(), Failure> {
        let gone = |outcome: io::Result<()>| match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.broken("cannot be removed", &error)),
            _ => Ok(()),
        };
        gone(fs::remove_file(self.path(&file.id)))?;
        gone(fs::remove_file(self.record_path(&file.id)))
    }

    /// Removes what uploads have left that the end of a process broke off. Another process may be at work in the
    /// folder: what is younger than this stays.
    pub(crate) fn tidy(&self, age: Duration) -> io::Result<()> {
        for name in names_in(&self.options.folder)? {
            let is_left = name.starts_with(".incoming-")
                || (is_id(PREFIX, &name) && !self.options.folder.join(format!("{name}.json")).exists());
            let path = self.options.folder.join(&name);
            if is_left && fs::metadata(&path)?.modified()?.elapsed().is_ok_and(|elapsed| elapsed >= age) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.options.folder.join(format!("{id}.json"))
    }

    fn broken(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        // Where the folder is concerns whoever runs the server.
        tracing::error!("{}: {what}: {error}", self.options.folder.display());
        Failure::new(FailureKind::Unavailable, format!("the folder of files {what}\nhint: the server's log says why"))
    }
}

fn unknown(id: &str) -> Failure {
    let shown: String = id.chars().take(ID_LEN + PREFIX.len()).collect();
    let message = format!("there is no file {shown:?}\nhint: GET /v1/files lists those that there are");
    Failure { field: Some("file_id".to_owned()), ..Failure::new(FailureKind::NotFound, message) }
}

/// Whether a text is an id that the server gives, so that it can stand in a path.
pub(crate) fn is_id(prefix: &str, text: &str) -> bool {
    let is_ours = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == ID_LEN && rest.bytes().all(is_ours))
}

/// The ids that names in a folder are made of; none where there is no folder.
pub(crate) fn ids_in(folder: &Path, prefix: &str, suffix: &str) -> io::Result<Vec<String>> {
    let id = |name: String| name.strip_suffix(suffix).filter(|id| is_id(prefix, id)).map(str::to_owned);
    Ok(names_in(folder)?.into_iter().filter_map(id).collect())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes a folder for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a record in one step: whoever reads it sees the old one or the new one.
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::with_prefix_in(".incoming-", folder)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name is on the disk once its folder is.
    File::open(folder)?.sync_all()
}

/// Reads a record; none where there is no file.
pub(crate) fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, LONGEST_RECORD), &mut text)?;
    serde_json::from_str(&text).map(Some).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(change: impl FnOnce(&mut FilesOptions)) -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().unwrap();
        let mut options = FilesOptions::in_folder(folder.path().join("files"));
        change(&mut options);
        (folder, FileStore::of(options))
    }

    fn put(store: &FileStore, text: &str) -> Result<StoredFile, Failure> {
        let mut incoming = store.begin_upload()?;
        store.write(&mut incoming, text.as_bytes())?;
        let (name, purpose) = ("../a.jsonl".to_owned(), "batch".to_owned());
        store.upload(incoming, StoredFile { id: FileStore::new_id(), name, purpose, bytes: 0, created: 1, owner: None })
    }

    #[test]
    fn a_file_is_there_until_it_is_deleted() {
        let (_folder, store) = store(|_| ());
        assert_eq!(store.list().unwrap(), []);
        let file = put(&store, "abc").unwrap();
        assert_eq!((file.bytes, store.get(&file.id, None).unwrap()), (3, file.clone()));
        assert_eq!(io::read_to_string(store.open(&file).unwrap()).unwrap(), "abc");
        store.delete(&file).unwrap();
        assert_eq!(store.list().unwrap(), []);
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_file_that_cannot_be_deleted_is_still_listed() {
        let (_folder, store) = store(|_| ());
        let file = put(&store, "abc").unwrap();
        // A folder in the place of the bytes is no file that can be removed.
        fs::remove_file(store.path(&file.id)).unwrap();
        fs::create_dir(store.path(&file.id)).unwrap();
        assert_eq!(store.delete(&file).unwrap_err().kind, FailureKind::Unavailable);
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&file));
        fs::remove_dir(store.path(&file.id)).unwrap();
        store.delete(&file).unwrap();
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn names_of_clients_are_no_paths() {
        let (_folder, store) = store(|_| ());
        put(&store, "abc").unwrap();
        for id in ["", "file-", "../files", "file-../../../../etc/passwd", "file-ABCDEFGHIJKLMNOPQRSTUVWX"] {
            let refused = store.get(id, None).unwrap_err();
            assert_eq!(refused.kind, FailureKind::NotFound, "{id}");
            assert!(refused.message.ends_with("\nhint: GET /v1/files lists those that there are"), "{refused:?}");
        }
    }

    #[test]
    fn bounds_hold_for_all_files_together() {
        let (_folder, store) = store(|options| (options.max_bytes, options.max_files) = (5, 2));
        put(&store, "abc").unwrap();
        let refused = put(&store, "def").unwrap_err();
        let expected = "there is room for 2 more bytes, of 5 for all files (--max-files-bytes), and 3 came\n\
                        hint: delete files that nobody needs: DELETE /v1/files/{file_id}";
        assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::TooLarge, expected));
        // Two that come at once have that room together; the answers of the server are written all the same.
        let (mut one, mut other) = (store.begin_upload().unwrap(), store.begin_upload().unwrap());
        store.write(&mut one, b"d").unwrap();
        assert!(store.write(&mut other, b"ef").is_err());
        let mut own = store.begin().unwrap();
        store.write(&mut own, b"ghijk").unwrap();
        drop((one, other, own));
        put(&store, "d").unwrap();
        let refused = put(&store, "").unwrap_err().message;
        assert!(refused.starts_with("2 files are kept, at most 2 may be\n"), "{refused}");
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 4, "what was refused is gone");
    }

    #[test]
    fn what_was_broken_off_is_tidied_away() {
        let (_folder, store) = store(|_| ());
        let file = put(&store, "abc").unwrap();
        fs::write(store.folder().join(".incoming-x"), "half").unwrap();
        fs::write(store.path(&FileStore::new_id()), "without a record").unwrap();
        store.tidy(Duration::from_secs(60)).unwrap();
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 4, "they may be under way");
        store.tidy(Duration::ZERO).unwrap();
        assert_eq!(store.list().unwrap(), [file]);
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 2);
    }

    #[test]
    fn a_key_sees_what_is_its_own() {
        let key = |id: &str, scope| Key {
            id: id.to_owned(),
            name: id.to_owned(),
            scopes: vec![scope],
            limits: crate::keys::KeyLimits::default(),
        };
        let (team, admin) = (key("team", Scope::Infer), key("admin", Scope::Admin));
        assert!(
            may_see(Some("team"), Some(&team)) && may_see(Some("team"), Some(&admin)) && may_see(Some("team"), None)
        );
        assert!(!may_see(Some("other"), Some(&team)) && !may_see(None, Some(&team)));
    }
}
