//! The front of this crate: from what a user typed to a path that can be opened.
//!
//! Knows the order in which catalog, store and files are asked. Fetching is in `pull.rs`, taking over files that are
//! already on this machine in `import.rs`.

use crate::http::Http;
use crate::manifest::DigestOrigin;
use crate::model_ref::check_name;
use crate::{
    Catalog, CatalogModel, FreeSpace, Home, HubError, Lookup, Manifest, ModelRef, Pieces, RetryPolicy, Servers, Sha256,
    Store, nearest, sources, space,
};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The tag that stands for none.
const LATEST: &str = ":latest";

/// What a hub works with.
#[derive(Clone)]
pub struct HubOptions {
    /// Which servers, and the token for them.
    pub servers: Servers,
    /// Where package managers are looked for, in the form of `PATH`.
    pub search_path: OsString,
    /// How often to try again.
    pub retry: RetryPolicy,
    /// How files are cut for several connections.
    pub pieces: Pieces,
    /// Whether the environment's proxies are used.
    pub proxies: bool,
    /// How the free space of a disk is asked.
    pub free_space: FreeSpace,
}

impl HubOptions {
    /// What the environment says: `HF_ENDPOINT`, `HF_TOKEN`, `BANTAM_OLLAMA_REGISTRY`, `PATH` and the proxy variables.
    pub fn from_env() -> HubOptions {
        HubOptions {
            servers: Servers::from_env(),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            retry: RetryPolicy::default(),
            pieces: Pieces::default(),
            proxies: true,
            free_space: space::system(),
        }
    }
}

/// Models: known, fetched and kept.
pub struct Hub {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) options: HubOptions,
    /// Made when first needed: reading the system's certificates takes longer than anything else here.
    http: OnceLock<Http>,
}

impl Hub {
    /// Opens the store and reads the catalog. No network is touched.
    pub fn open(home: Home, options: HubOptions) -> Result<Hub, HubError> {
        let store = Store::open(&home)?;
        Ok(Hub { catalog: Catalog::load(&home)?, store, options, http: OnceLock::new() })
    }

    /// The models on this machine.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The models known by name.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether a text names a model, nearly does, or is something else: a prompt.
    ///
    /// A text with white space, or near to no name, is not a model. Paths count where they exist, begin as one, or end in `.gguf`.
    pub fn look_up(&self, text: &str) -> Lookup {
        if let Some(found) = self.look_up_name(text) {
            return found;
        }
        if is_model_path(text) {
            return Lookup::Model(ModelRef::Path(PathBuf::from(text)));
        }
        let nearest = self.nearest(text);
        if nearest.is_empty() || text.contains(char::is_whitespace) {
            return Lookup::NotAModel;
        }
        Lookup::NearMiss { nearest }
    }

    /// The same for names alone: of the catalog, of the store, and those that a prefix marks, each also with `:latest`
    /// behind it where nothing has that very name. None for any other text,
    /// which may be a path: no file of that name is asked for.
    pub fn look_up_name(&self, text: &str) -> Option<Lookup> {
        if let Some(reference) = ModelRef::from_prefixed(text) {
            let expected = |error| match error {
                HubError::BadName { expected, .. } => vec![expected],
                _ => Vec::new(),
            };
            return Some(match reference {
                Ok(reference) => Lookup::Model(reference),
                Err(_) if text.contains(char::is_whitespace) => Lookup::NotAModel,
                Err(error) => Lookup::NearMiss { nearest: expected(error) },
            });
        }
        if let Some(model) = self.catalog.find(text) {
            return Some(Lookup::Model(ModelRef::Catalog(model.name.clone())));
        }
        let is_stored = check_name(text).is_ok() && matches!(self.store.get(text), Ok(Some(_)) | Err(_));
        if is_stored {
            return Some(Lookup::Model(ModelRef::Stored(text.to_string())));
        }
        // What clients write who know a registry of tags: the name alone.
        text.strip_suffix(LATEST).and_then(|name| self.look_up_name(name))
    }

    /// The model that a text names, or an error with the nearest names.
    pub fn resolve(&self, text: &str) -> Result<ModelRef, HubError> {
        match self.look_up(text) {
            Lookup::Model(reference) => Ok(reference),
            _ => Err(self.unknown(text)),
        }
    }

    /// The same for names alone: see [`Hub::look_up_name`].
    pub fn resolve_name(&self, text: &str) -> Result<ModelRef, HubError> {
        match self.look_up_name(text) {
            Some(Lookup::Model(reference)) => Ok(reference),
            _ => Err(self.unknown(text)),
        }
    }

    /// What is wrong with a text that names no model.
    fn unknown(&self, text: &str) -> HubError {
        match ModelRef::from_prefixed(text) {
            Some(Err(error)) => error,
            _ => HubError::UnknownModel { text: text.to_string(), nearest: self.nearest(text) },
        }
    }

    /// The manifest of a model, if it is in the store. Paths have none. Other bytes under a name for which the catalog
    /// has a digest are not that model.
    pub fn manifest(&self, reference: &ModelRef) -> Result<Option<Manifest>, HubError> {
        match reference {
            ModelRef::Path(_) => Ok(None),
            named => {
                let pinned = self.pinned(named);
                let stored = self.store.get(&named.store_name())?;
                Ok(stored.filter(|manifest| pinned.is_none() || manifest.digest() == pinned))
            }
        }
    }

    /// The digest that the catalog has for a model.
    pub(crate) fn pinned(&self, reference: &ModelRef) -> Option<Sha256> {
        match reference {
            ModelRef::Catalog(name) => self.catalog.find(name)?.sha256,
            _ => None,
        }
    }

    /// Gives a model in the store a second name; no bytes are copied. A name of the catalog is refused for other bytes
    /// than those it stands for, as are names that stand for a repository.
    pub fn copy(&self, from: &str, to: &str) -> Result<Manifest, HubError> {
        self.check_unprefixed(to)?;
        let mut manifest = self.store.expect(from)?;
        if let Some(model) = self.meant_by(to)? {
            let [only] = manifest.files.as_mut_slice() else { return Err(reserved(to, model)) };
            if Some(only.sha256) != model.sha256 {
                return Err(reserved(to, model));
            }
            (only.pinned, only.digest_origin) = (true, DigestOrigin::Catalog);
        }
        manifest.name = to.to_string();
        self.store.add(&manifest, false)?;
        Ok(manifest)
    }

    /// Refuses a name that a model which is yet to be made cannot get: no name at all, one that stands for other bytes,
    /// or one that is taken. Ask before long work.
    pub fn check_new_name(&self, name: &str) -> Result<(), HubError> {
        self.check_own_name(name)?;
        self.store.check_free(name)
    }

    /// The same for a name that may be taken, by a model that is then replaced.
    pub fn check_own_name(&self, name: &str) -> Result<(), HubError> {
        self.check_unprefixed(name)?;
        match self.meant_by(name)? {
            Some(model) => Err(reserved(name, model)),
            None => Ok(()),
        }
    }

    /// The catalog's model that a name in the store must be, if it is one of the catalog's. Aliases, other spellings and
    /// models without a known digest are refused: what is stored under them could not be told from what they stand for.
    pub(crate) fn meant_by(&self, name: &str) -> Result<Option<&CatalogModel>, HubError> {
        check_name(name)?;
        match self.catalog.find(name) {
            Some(model) if model.name != name || model.sha256.is_none() => Err(reserved(name, model)),
            found => Ok(found),
        }
    }

    /// Names such as `hf:owner/repo` stand for what is at that place.
    pub(crate) fn check_unprefixed(&self, name: &str) -> Result<(), HubError> {
        if !sources::has_prefix(name) {
            return Ok(());
        }
        let reason = "it stands for what a hub or registry has under it".to_string();
        Err(HubError::Reserved { name: name.to_string(), reason })
    }

    /// A GGUF file, or a folder of safetensors, that `formats` can open. The model must be in the store, or be a path.
    pub fn locate(&self, reference: &ModelRef) -> Result<PathBuf, HubError> {
        match reference {
            ModelRef::Path(path) if path.exists() => Ok(path.clone()),
            ModelRef::Path(path) => {
                let hint = "check the path; a model's name has no .gguf at its end".to_string();
                Err(HubError::NotFound { what: path.display().to_string(), hint })
            }
            named => match self.manifest(named)? {
                Some(manifest) => self.store.locate(&manifest),
                None => Err(self.store.absent(&named.store_name())),
            },
        }
    }

    fn nearest(&self, text: &str) -> Vec<String> {
        let stored: Vec<String> =
            self.store.list().unwrap_or_default().models.into_iter().map(|model| model.name).collect();
        let near = nearest::nearest(text, self.catalog.names().chain(stored.iter().map(String::as_str)));
        if near.is_empty() { ModelRef::elsewhere(text).into_iter().collect() } else { near }
    }

    pub(crate) fn http(&self) -> Result<&Http, HubError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Http::new(self.options.retry, self.options.proxies)?;
        Ok(self.http.get_or_init(|| http))
    }
}

/// A name of the catalog, asked for other bytes.
pub(crate) fn reserved(name: &str, model: &CatalogModel) -> HubError {
    let reason = format!("the catalog calls other bytes that ({}, {})", model.name, model.description);
    HubError::Reserved { name: name.to_string(), reason }
}

/// Whether a text is meant as a path: a GGUF file's name, what begins like a path, something that exists and has a
/// separator in its name, or a folder that holds a model.
fn is_model_path(text: &str) -> bool {
    let path = Path::new(text);
    let gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    let spoken = text.contains(char::is_whitespace) && !path.exists();
    let begins = ["/", "./", "../"].iter().any(|start| text.starts_with(start)) && !text.contains(char::is_whitespace);
    let exists = text.contains(['/', '\\']) && path.exists();
    (gguf && !spoken) || begins || exists || path.join("config.json").is_file()
}
