//! A model that is made of what is here: other models' files, blobs that were put into the store, files of this machine.
//!
//! ```text
//! hub.create(name)              takes the name's lock; nothing is swept until the end
//!   share | add_blob | copy_in | move_in      file after file; only the last two write
//!   finish                      writes the manifest in one step: the name is there complete or as it was before
//! ```
//!
//! Knows digests and names; what the model is to say and how it is to generate is chosen by the caller.
//! Read next: `store.rs`, where all of it ends.

use crate::adapter;
use crate::digest::Sha256;
use crate::lock::Lock;
use crate::manifest::{DigestOrigin, FileRole, Manifest, ManifestFile, Settings, UnknownFields};
use crate::model_ref::valid_segment;
use crate::pull::copy_hashed;
use crate::{Hub, HubError, Progress};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A model on its way into the store. Dropped before its end, it leaves no name, and files that the next sweep takes.
pub struct NewModel<'a> {
    hub: &'a Hub,
    name: String,
    progress: &'a dyn Progress,
    files: Vec<ManifestFile>,
    /// Where files are made, on the store's file system.
    scratch: TempDir,
    _adding: Lock,
    _lock: Lock,
}

/// What a manifest says beside the files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreatedFrom {
    /// The model that it is made from, by name or path.
    pub base: Option<String>,
    /// Where the bytes came from, in words.
    pub source: String,
    /// The licence, in a line.
    pub license: Option<String>,
    /// What it says and how it generates.
    pub settings: Settings,
}

impl Hub {
    /// Begins to make a model; one of that name may be there, and is replaced at the end.
    ///
    /// # Errors
    /// A name that it cannot get: see [`Hub::check_own_name`].
    pub fn create<'a>(&'a self, name: &str, progress: &'a dyn Progress) -> Result<NewModel<'a>, HubError> {
        self.check_own_name(name)?;
        let _adding = self.store.adding()?;
        let _lock = Lock::acquire(&self.store.name_lock_path(name), || {
            progress.message(&format!("{name}: another pull or create is under way; waiting for it"));
        })?;
        let folder = self.store.partial_folder();
        let scratch = tempfile::Builder::new().prefix("create-").tempdir_in(&folder);
        let scratch = scratch.map_err(HubError::io("create a folder in", &folder))?;
        Ok(NewModel { hub: self, name: name.to_string(), progress, files: Vec::new(), scratch, _adding, _lock })
    }
}

impl NewModel<'_> {
    /// A folder on the store's file system to make files in; gone with this.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The files so far.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// Takes a file of a model in the store: the blob is shared, nothing is copied.
    ///
    /// # Errors
    /// As [`NewModel::add_blob`], but for the digest.
    pub fn share(&mut self, file: &ManifestFile) -> Result<(), HubError> {
        if !self.hub.store.has_blob(&file.sha256) {
            return Err(absent(&file.sha256, &file.file_name));
        }
        self.push(file.clone())
    }

    /// Takes bytes that are in the store, by their digest, under a name for a reader of the format. All of them are read.
    ///
    /// # Errors
    /// Bytes that are not there, or are others; a name that is no plain file name, or stands twice.
    pub fn add_blob(&mut self, sha256: &Sha256, file_name: &str, role: FileRole) -> Result<(), HubError> {
        let store = &self.hub.store;
        let blob = store.blob_path(sha256);
        if !store.has_blob(sha256) {
            return Err(absent(sha256, file_name));
        }
        let (got, bytes) = Sha256::of_file(&blob).map_err(HubError::io("read", &blob))?;
        if got != *sha256 {
            store.discard_blob(sha256)?;
            return Err(absent(sha256, file_name));
        }
        self.push(file(file_name, role, got, bytes))
    }

    /// Copies a file of this machine into the store.
    ///
    /// # Errors
    /// A full disk; a name as of [`NewModel::add_blob`].
    pub fn copy_in(&mut self, path: &Path, file_name: &str, role: FileRole) -> Result<(), HubError> {
        let scratch = self.scratch.path().join("copy");
        let (sha256, bytes) = copy_hashed(self.hub, path, &scratch, file_name, self.progress)?;
        self.hub.store.adopt(&scratch, &sha256)?;
        self.push(file(file_name, role, sha256, bytes))
    }

    /// Copies the model at a path into the store: a GGUF file with its shards, or a folder of safetensors.
    ///
    /// # Errors
    /// As [`NewModel::copy_in`]; what is at the path is no model.
    pub fn copy_model(&mut self, path: &Path) -> Result<(), HubError> {
        for (path, file_name) in crate::import::model_files(path)? {
            self.copy_in(&path, &file_name, FileRole::of_name(&file_name))?;
        }
        Ok(())
    }

    /// Copies the adapter at a path into the store.
    ///
    /// # Errors
    /// As [`NewModel::copy_in`]; what is at the path is no adapter.
    pub fn copy_adapter(&mut self, path: &Path) -> Result<(), HubError> {
        let files = adapter::files_at(path)?.ok_or_else(|| not_an_adapter(&path.display().to_string()))?;
        for (path, file_name) in files {
            self.copy_in(&path, &file_name, FileRole::Adapter)?;
        }
        Ok(())
    }

    /// Takes the files of an adapter that are in the store, by what the caller calls them: one GGUF file, or the two of a
    /// PEFT folder.
    ///
    /// # Errors
    /// As [`NewModel::add_blob`]; other files than those.
    pub fn add_adapter(&mut self, files: &[(String, Sha256)]) -> Result<(), HubError> {
        if let [(name, sha256)] = files {
            if !self.hub.store.has_blob(sha256) {
                return Err(absent(sha256, name));
            }
            if !adapter::is_gguf_adapter(&self.hub.store.blob_path(sha256)) {
                return Err(not_an_adapter(name));
            }
            return self.add_blob(sha256, adapter::GGUF_NAME, FileRole::Adapter);
        }
        let named = |wanted: &str| files.iter().find(|(name, _)| name.rsplit('/').next() == Some(wanted));
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let folder = adapter::FOLDER.map(named);
        let (2, [Some(weights), Some(config)]) = (files.len(), folder) else {
            return Err(not_an_adapter(&names.join(", ")));
        };
        for ((_, sha256), file_name) in [weights, config].into_iter().zip(adapter::FOLDER) {
            self.add_blob(sha256, file_name, FileRole::Adapter)?;
        }
        Ok(())
    }

    /// Puts a file that was made in [`NewModel::scratch`] into the place of all files that are not an adapter's.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn move_in_model(&mut self, path: &Path, file_name: &str) -> Result<(), HubError> {
        let (sha256, bytes) = Sha256::of_file(path).map_err(HubError::io("read", path))?;
        self.hub.store.adopt(path, &sha256)?;
        self.files.retain(|file| file.role == FileRole::Adapter);
        self.files.insert(0, file(file_name, FileRole::Model, sha256, bytes));
        Ok(())
    }

    /// A path at which a reader of the format finds the model as it is now.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn locate(&self) -> Result<PathBuf, HubError> {
        let files = self.files.iter().filter(|file| file.role != FileRole::Adapter).collect();
        self.hub.store.locate_files(self.scratch.path().join("model"), files)
    }

    /// Gives the files their name.
    ///
    /// # Errors
    /// No file, or one that was removed meanwhile; a full disk. Then a model of that name is as it was.
    pub fn finish(mut self, from: CreatedFrom) -> Result<Manifest, HubError> {
        // The one to open stands first.
        self.files.sort_by_key(|file| (file.role == FileRole::Adapter, file.role != FileRole::Model));
        let manifest = Manifest {
            name: self.name,
            family: self.hub.family(&self.files),
            license: from.license,
            source: from.source,
            files: self.files,
            base: from.base,
            settings: Some(from.settings).filter(|settings| *settings != Settings::default()),
            unknown: UnknownFields::new(),
        };
        self.hub.store.replace(&manifest)?;
        manifest.files.iter().for_each(|file| self.hub.store.release(&file.sha256));
        Ok(manifest)
    }

    fn push(&mut self, file: ManifestFile) -> Result<(), HubError> {
        let wrong = |expected: String| HubError::BadName { text: file.file_name.clone(), expected };
        if !valid_segment(&file.file_name) {
            return Err(wrong("a plain file name".to_string()));
        }
        if self.files.iter().any(|other| other.file_name.eq_ignore_ascii_case(&file.file_name)) {
            return Err(wrong("a name for each file of the model, got it twice".to_string()));
        }
        self.files.push(file);
        Ok(())
    }
}

fn file(file_name: &str, role: FileRole, sha256: Sha256, bytes: u64) -> ManifestFile {
    ManifestFile {
        role,
        file_name: file_name.to_string(),
        sha256,
        bytes,
        pinned: false,
        digest_origin: DigestOrigin::Computed,
        unknown: UnknownFields::new(),
    }
}

fn absent(sha256: &Sha256, file_name: &str) -> HubError {
    let hint = "put its bytes into the store first (POST /api/blobs/sha256:..)".to_string();
    HubError::NotFound { what: format!("{file_name}: the blob sha256:{sha256}"), hint }
}

fn not_an_adapter(what: &str) -> HubError {
    let [weights, config] = adapter::FOLDER;
    let reason = "expected an adapter, got something else".to_string();
    let hint = format!("an adapter is a GGUF file whose general.type is adapter, or {weights} with {config}");
    HubError::Refused { what: what.to_string(), reason, hint }
}
