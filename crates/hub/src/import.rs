//! Taking over models that are already on this machine: a path, or the store of another program.
//!
//! A file may be copied, linked where another program keeps it, or moved in where this program made it. Either way it is
//! read once for its digest, and its header must be sound. To know another program's store: one file under `import/`, one
//! line in [`OTHER_STORES`].

mod hf_cache;
mod lmstudio;
mod ollama;

use crate::digest::{Checksum, Sha256};
use crate::hub::reserved;
use crate::lock::Lock;
use crate::manifest::{DigestOrigin, ManifestFile, Settings, UnknownFields};
use crate::model_ref::check_name;
use crate::pull::copy_hashed;
use crate::{CatalogModel, Hub, HubError, Manifest, ModelRef, Progress, Store, adapter, partial};
use formats::ShardName;
use std::path::{Path, PathBuf};

/// A model in another program's store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The name that it would get here.
    pub name: String,
    /// Each file's path, and the name by which a reader of the format looks for it.
    pub files: Vec<(PathBuf, String)>,
    /// Bytes of all files together.
    pub bytes: u64,
    /// What that store says the first file's digest is.
    pub sha256: Option<Sha256>,
    /// The licence, where that store has it.
    pub license: Option<String>,
    /// What that store keeps beside the weights.
    pub settings: Option<Settings>,
    /// What is to be told of it: parts that are left out, or kept without effect.
    pub notes: Vec<String>,
}

/// A model in another program's store that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name that it would have got here.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// What another program's store holds, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundModels {
    /// What can be taken over.
    pub models: Vec<Found>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
}

/// How a file gets into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It stays where it is, and the store has its own.
    Copy,
    /// It stays where it is, and the store uses it there.
    Link,
    /// It is the store's from now on. It must lie on the store's file system.
    Move,
}

/// Reads an environment variable that holds a path.
type Variable<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Another program's store.
#[derive(Debug)]
pub struct OtherStore {
    /// Its name on the command line.
    pub name: &'static str,
    /// Where it usually is, given a way to read environment variables.
    places: fn(Variable<'_>) -> Vec<PathBuf>,
    /// The models in a folder.
    list: fn(&Path) -> std::io::Result<FoundModels>,
}

/// Every program whose models can be taken over.
pub static OTHER_STORES: &[OtherStore] = &[
    OtherStore { name: "ollama", places: ollama::places, list: ollama::list },
    OtherStore { name: "hf-cache", places: hf_cache::places, list: hf_cache::list },
    OtherStore { name: "lmstudio", places: lmstudio::places, list: lmstudio::list },
];

impl OtherStore {
    /// The store of that name.
    pub fn named(name: &str) -> Option<&'static OtherStore> {
        OTHER_STORES.iter().find(|store| store.name == name)
    }

    /// The models in a given folder, or in the first usual one that exists; by name.
    pub fn models(&self, folder: Option<&Path>) -> Result<FoundModels, HubError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let places = folder.map_or_else(|| (self.places)(&variable), |folder| vec![folder.to_path_buf()]);
        let Some(place) = places.iter().find(|place| place.is_dir()) else {
            let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            let hint = format!("looked in {}", looked.join(", "));
            return Err(HubError::NotFound { what: format!("models of {}", self.name), hint });
        };
        let mut found = (self.list)(place).map_err(HubError::io("list", place))?;
        for model in std::mem::take(&mut found.models) {
            match check_name(&model.name) {
                Ok(()) => found.models.push(model),
                Err(error) => found.skipped.push(Skipped { name: model.name, reason: error.to_string() }),
            }
        }
        found.models.sort_by(|a, b| a.name.cmp(&b.name));
        found.skipped.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

impl Hub {
    /// Takes a GGUF file (with its shards) or a folder of safetensors into the store under a name. With `link` the
    /// files stay where they are; whoever changes them changes the model.
    pub fn import(&self, path: &Path, name: &str, link: bool, progress: &dyn Progress) -> Result<Manifest, HubError> {
        self.check_unprefixed(name)?;
        let files = match adapter::files_at(path)? {
            Some(files) => files,
            None => {
                formats::Checkpoint::open(path)?;
                model_files(path)?
            }
        };
        let bytes = total_bytes(&files);
        let found = Found { name: name.to_string(), files, bytes, ..Found::default() };
        let source = format!("file {}", path.display());
        self.take_over(&found, name, source, if link { Way::Link } else { Way::Copy }, progress)
    }

    /// Takes in a GGUF file that was made out of the model `base`, and that lies on the store's file system: it is moved.
    /// The manifest says `how` it was made (`quantized to q4_k_m`), from which model and bytes; licence and settings stay.
    pub fn import_derived(
        &self,
        file: &Path,
        name: &str,
        base: &ModelRef,
        how: &str,
        progress: &dyn Progress,
    ) -> Result<Manifest, HubError> {
        self.check_unprefixed(name)?;
        formats::Checkpoint::open(file)?;
        let manifest = self.manifest(base)?;
        let digest = match manifest.as_ref().and_then(Manifest::digest) {
            Some(digest) => digest,
            None => {
                let path = self.locate(base)?;
                Sha256::of_file(&path).map_err(HubError::io("read", &path))?.0
            }
        };
        let base = match base {
            ModelRef::Path(path) => {
                format!("file {}", std::path::absolute(path).map_err(HubError::io("find", path))?.display())
            }
            named => named.store_name(),
        };
        let files = vec![(file.to_path_buf(), "model.gguf".to_string())];
        // What was set for the base, such as its parameters, is meant for what is made out of it.
        let (license, settings) = manifest.map(|manifest| (manifest.license, manifest.settings)).unwrap_or_default();
        let bytes = total_bytes(&files);
        let found = Found { name: name.to_string(), bytes, files, license, settings, ..Found::default() };
        self.take_over(&found, name, format!("{how} from {base} (sha256 {digest})"), Way::Move, progress)
    }

    /// Takes over a model of another program's store by linking to its files; nothing is copied.
    pub fn import_found(&self, found: &Found, name: &str, progress: &dyn Progress) -> Result<Manifest, HubError> {
        let Some((first, _)) = found.files.first() else {
            return Err(HubError::NotFound { what: found.name.clone(), hint: "it has no files".to_string() });
        };
        if name != found.name {
            self.check_unprefixed(name)?;
        }
        if found.files.len() == 1 {
            formats::Checkpoint::open(first)?;
        }
        self.take_over(found, name, format!("linked to {}", first.display()), Way::Link, progress)
    }

    fn take_over(
        &self,
        found: &Found,
        name: &str,
        source: String,
        way: Way,
        progress: &dyn Progress,
    ) -> Result<Manifest, HubError> {
        let meant = self.meant_by(name)?;
        if let Some(model) = meant.filter(|_| found.files.len() != 1) {
            return Err(reserved(name, model));
        }
        let _adding = self.store.adding()?;
        let _lock = Lock::acquire(&self.store.name_lock_path(name), || {
            progress.message(&format!("{name}: another pull is under way; waiting for it"));
        })?;
        self.store.check_free(name)?;
        let taking = Importing { hub: self, name, meant, way, progress };
        let mut files = Vec::new();
        for (index, (path, file_name)) in found.files.iter().enumerate() {
            files.push(taking.file(path, file_name, found.sha256.filter(|_| index == 0))?);
        }
        for note in &found.notes {
            progress.message(&format!("{name}: {note}"));
        }
        let known = meant.or_else(|| self.known_bytes(&mut files));
        if let Some(model) = known.filter(|model| model.name != name) {
            progress.message(&format!("{name}: these are the bytes of {} in the catalog", model.name));
        }
        let license = known.map(|model| model.licence.clone()).or_else(|| found.license.clone());
        let manifest = Manifest {
            name: name.to_string(),
            family: self.family(&files),
            license,
            source,
            files,
            base: None,
            settings: found.settings.clone(),
            unknown: UnknownFields::new(),
        };
        self.store.add(&manifest, false)?;
        Ok(manifest)
    }

    /// The catalog's model whose digest the only one of `files` has, which is then pinned by it.
    fn known_bytes(&self, files: &mut [ManifestFile]) -> Option<&CatalogModel> {
        let [only] = files else { return None };
        let model = self.catalog.entries().iter().find(|model| model.sha256 == Some(only.sha256))?;
        (only.pinned, only.digest_origin) = (true, DigestOrigin::Catalog);
        Some(model)
    }
}

/// Bytes of all files of a model at a path: a GGUF file with its shards, or a folder of safetensors.
///
/// # Errors
/// The folder cannot be listed.
pub fn bytes_at(path: &Path) -> Result<u64, HubError> {
    Ok(total_bytes(&model_files(path)?))
}

/// One model's files being taken into the store.
struct Importing<'a> {
    hub: &'a Hub,
    name: &'a str,
    /// The catalog's model of that name: its only file must have the digest that is pinned.
    meant: Option<&'a CatalogModel>,
    way: Way,
    progress: &'a dyn Progress,
}

impl Importing<'_> {
    fn file(&self, path: &Path, file_name: &str, promised: Option<Sha256>) -> Result<ManifestFile, HubError> {
        let digest_origin = match (self.meant, promised) {
            (Some(_), _) => DigestOrigin::Catalog,
            (None, Some(_)) => DigestOrigin::Source,
            (None, None) => DigestOrigin::Computed,
        };
        let (sha256, bytes) = match self.way {
            Way::Copy => self.copy(path, file_name, promised)?,
            Way::Link => self.take(path, promised, Store::adopt_link)?,
            Way::Move => self.take(path, promised, Store::adopt)?,
        };
        let (role, pinned, unknown) = (adapter::role_of(file_name), self.meant.is_some(), UnknownFields::new());
        Ok(ManifestFile { role, file_name: file_name.to_string(), sha256, bytes, pinned, digest_origin, unknown })
    }

    fn copy(&self, path: &Path, file_name: &str, promised: Option<Sha256>) -> Result<(Sha256, u64), HubError> {
        let store = &self.hub.store;
        let name = Sha256::of(self.name.as_bytes());
        let scratch = store.partial_folder().join(format!("import-{name}.part"));
        let taken = copy_hashed(self.hub, path, &scratch, file_name, self.progress).and_then(|got| {
            self.check(path, got.0, promised)?;
            store.adopt(&scratch, &got.0)?;
            Ok(got)
        });
        if taken.is_err() {
            partial::discard(&scratch);
        }
        taken
    }

    /// Takes the file itself in, as `adopt` does it.
    fn take(
        &self,
        path: &Path,
        promised: Option<Sha256>,
        adopt: fn(&Store, &Path, &Sha256) -> Result<(), HubError>,
    ) -> Result<(Sha256, u64), HubError> {
        let (sha256, bytes) = Sha256::of_file(path).map_err(HubError::io("read", path))?;
        self.check(path, sha256, promised)?;
        adopt(&self.hub.store, path, &sha256)?;
        Ok((sha256, bytes))
    }

    /// Compares a digest with what was promised, before anything enters the store.
    fn check(&self, path: &Path, got: Sha256, promised: Option<Sha256>) -> Result<(), HubError> {
        if let Some(expected) = promised.filter(|promised| *promised != got) {
            let (expected, got) = (Checksum::Sha256(expected), Checksum::Sha256(got));
            return Err(HubError::hash_mismatch(path.display().to_string(), expected, got));
        }
        match self.meant {
            Some(model) if model.sha256 != Some(got) => Err(reserved(self.name, model)),
            _ => Ok(()),
        }
    }
}

/// The files of a model at a path, and the name of each for a reader of the format; the one to open first. Shards are named
/// whether they are there or not.
///
/// # Errors
/// The folder cannot be listed.
pub fn model_files(path: &Path) -> Result<Vec<(PathBuf, String)>, HubError> {
    if path.is_dir() { folder_files(path) } else { Ok(shards(path)) }
}

/// The files of a safetensors folder that a reader of the format looks at, weights first.
fn folder_files(folder: &Path) -> Result<Vec<(PathBuf, String)>, HubError> {
    let wanted = |name: &str| [".safetensors", ".json", ".jinja"].iter().any(|ending| name.ends_with(ending));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(HubError::io("list", folder))? {
        let path = entry.map_err(HubError::io("list", folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_file() && wanted(&name) && !name.starts_with('.') {
            files.push((path, name));
        }
    }
    files.sort_by_key(|(_, name)| (!name.ends_with(".safetensors"), name.clone()));
    Ok(files)
}

/// A GGUF file alone, or all shards `NAME-00001-of-0000N.gguf` that stand beside it.
fn shards(path: &Path) -> Vec<(PathBuf, String)> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match ShardName::parse(&name) {
        Some(shard) => shard.all().map(|name| (path.with_file_name(&name), name)).collect(),
        None => vec![(path.to_path_buf(), "model.gguf".to_string())],
    }
}

/// Sub-folders of a folder, by name; none if it is not there.
fn folders(folder: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    Ok(entries(folder)?.into_iter().filter(|(path, _)| path.is_dir()).collect())
}

/// Files of a folder, links to files included, by name.
fn files(folder: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    Ok(entries(folder)?.into_iter().filter(|(path, _)| path.is_file()).collect())
}

fn entries(folder: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        entries.push((path, name));
    }
    entries.sort();
    Ok(entries)
}

fn total_bytes(files: &[(PathBuf, String)]) -> u64 {
    files.iter().filter_map(|(path, _)| std::fs::metadata(path).ok()).map(|data| data.len()).sum()
}

/// GGUF files as models of their own, shards together; projectors of images are no models.
fn gguf_models(files: &[(PathBuf, String)], name: impl Fn(&str) -> String) -> Vec<Found> {
    let mut models = Vec::new();
    for (path, file_name) in files {
        let first = ShardName::parse(file_name).is_none_or(|shard| shard.number == 1);
        if !file_name.ends_with(".gguf") || file_name.contains("mmproj") || !first {
            continue;
        }
        let files = shards(path);
        let bytes = total_bytes(&files);
        models.push(Found { name: name(file_name), files, bytes, ..Found::default() });
    }
    models
}
