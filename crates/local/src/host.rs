//! The models of this machine: found and fetched by `hub`, loaded once each, shared by whoever asks.
//!
//! Pulling and loading are done by the thread that polls; whoever must not block polls on a thread of its own. Who waits for
//! a load that somebody else does holds no thread.
//!
//! ```text
//! name -> target.rs     which model, with which adapter
//!      -> residents.rs  the one in memory; else whose turn it is to load, and who goes for it
//!      -> here          how it is loaded
//! create.rs             a model made of another one; details.rs what is told without loading
//! ```
//!
//! Read next: `residents.rs`, then `local_model.rs`, what a load ends in.

mod create;
mod details;
mod residents;
mod target;
#[cfg(test)]
mod tests;

pub use create::check_template;
pub use residents::{HostOptions, Reach};

use crate::encoder_model::{is_encoder, load_encoder_when};
use crate::generation::{context_asked_for, parameters_not_applied};
use crate::loading::{ModelSource, Parts, open_tokenizer};
use crate::local_model::{Admit, LocalModel, text_ids};
use crate::memory::{MemoryPlan, free_memory};
use crate::options::LoadOptions;
use crate::prepared::{self, Prepared};
use chat::{
    ChatError, ChatModel, CreateRequest, HostFuture, KeepAlive, ModelDetails, ModelHost, ModelSummary, PullProgress,
    RunningModel,
};
use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::BoxStream;
use hub::{Hub, HubError, ModelRef, Progress, Sha256};
use kernels::Runtime;
use residents::{Ask, Clock, Loaded, MemoryLimit, Residents, Shared, Turn};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use target::{Reached, Target, adapter_path, targets};
use tokenizer::Tokenizer;

/// Keeps models: the store on disk, and those that are in memory.
pub struct LocalHost {
    hub: Hub,
    options: LoadOptions,
    runtime: Arc<Runtime>,
    residents: Residents,
    reached: Reached,
    /// [`HostOptions::kept`], as they are called in memory.
    kept: BTreeSet<String>,
    /// What was seen in the headers of files, by the digest of the first.
    glances: Mutex<BTreeMap<Sha256, Option<(u64, String)>>>,
}

/// Hands what the hub tells to whoever asked for the pull.
struct Told<'a>(&'a dyn PullProgress);

impl Progress for Told<'_> {
    fn start(&self, what: &str, total: Option<u64>, done: u64) {
        self.0.start(what, total, done);
    }

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn message(&self, text: &str) {
        self.0.message(text);
    }

    fn finish(&self) {
        self.0.finish();
    }
}

impl LocalHost {
    /// A host over a hub; every model is loaded with these options, and kept as [`HostOptions`] has it by default.
    ///
    /// # Errors
    /// When the system refuses the threads to compute with.
    pub fn new(hub: Hub, options: LoadOptions) -> Result<LocalHost, ChatError> {
        LocalHost::keeping(hub, options, HostOptions::default())
    }

    /// The same, with the caller's way of keeping models. The memory of the options is what all models may take together;
    /// without it, the most that was ever found free.
    ///
    /// # Errors
    /// As [`LocalHost::new`].
    pub fn keeping(hub: Hub, options: LoadOptions, kept: HostOptions) -> Result<LocalHost, ChatError> {
        LocalHost::with_clock(hub, options, kept, Box::new(Instant::now))
    }

    fn with_clock(hub: Hub, options: LoadOptions, kept: HostOptions, clock: Clock) -> Result<LocalHost, ChatError> {
        let runtime = options.runtime().map_err(|error| ChatError::Unavailable(error.to_string()))?;
        let reached = Reached::of(&hub, &kept.reach);
        let names = targets(&hub, &kept.kept).map(|target| target.name).collect();
        let residents = Residents::new(kept, memory_limit(options.memory), clock);
        Ok(LocalHost { hub, options, runtime, residents, reached, kept: names, glances: Mutex::default() })
    }

    /// The hub behind it.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What models are computed with.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    fn glances(&self) -> MutexGuard<'_, BTreeMap<Sha256, Option<(u64, String)>>> {
        self.glances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a name asks for something: a model of the store or the catalog, of a repository, or a file that is there,
    /// with an adapter that is here. Fetches and opens nothing.
    ///
    /// # Errors
    /// Unknown names, files that are not there, adapters that are none or stand alone.
    pub fn check_known(&self, name: &str) -> Result<(), ChatError> {
        let target = Target::of(&self.hub, &Reached::Everything, name)?;
        let is_path = matches!(target.model, ModelRef::Path(_));
        if is_path || self.hub.present(&target.model).map_err(refusal)?.is_some() {
            self.stored_source(&target.model)?;
        }
        self.adapter_of(&target).map(drop)
    }

    /// Where a model lies, fetched first where needed, with what came along in the store. Of a name with an adapter, its
    /// base.
    ///
    /// # Errors
    /// Unknown names, and whatever stops a pull.
    pub fn source(&self, name: &str, progress: &dyn PullProgress) -> Result<ModelSource, ChatError> {
        self.fetched_source(&Target::of(&self.hub, &Reached::Everything, name)?.model, progress)
    }

    /// What a name asks for, if that may be reached.
    fn target(&self, name: &str) -> Result<Target, ChatError> {
        Target::of(&self.hub, &self.reached, name)
    }

    /// The source of a model that somebody asked for by its name: fetched only where names reach so far.
    fn reached_source(&self, reference: &ModelRef, progress: &dyn PullProgress) -> Result<ModelSource, ChatError> {
        let is_here = matches!(reference, ModelRef::Path(_)) || self.hub.present(reference).map_err(refusal)?.is_some();
        if self.reached == Reached::Everything || is_here {
            return self.fetched_source(reference, progress);
        }
        let name = reference.store_name();
        Err(ChatError::UnknownModel(format!("{name} is not in the store\nhint: pull it first: bantam pull {name}")))
    }

    fn fetched_source(&self, reference: &ModelRef, progress: &dyn PullProgress) -> Result<ModelSource, ChatError> {
        let is_path = matches!(reference, ModelRef::Path(_));
        if self.hub.present(reference).map_err(refusal)?.is_none() && !is_path {
            self.hub.pull(reference, &Told(progress)).map_err(refusal)?;
        }
        self.stored_source(reference)
    }

    /// The same for a model that is here.
    fn stored_source(&self, reference: &ModelRef) -> Result<ModelSource, ChatError> {
        let manifest = self.hub.manifest(reference).map_err(refusal)?;
        if manifest.as_ref().is_some_and(hub::Manifest::is_adapter) {
            let name = reference.store_name();
            return Err(ChatError::InvalidRequest(format!(
                "{name} is an adapter, which runs only with a model\nhint: ask for MODEL+{name}"
            )));
        }
        let path = self.hub.locate(reference).map_err(refusal)?;
        Ok(ModelSource::stored(&self.hub, reference.store_name(), path, manifest.as_ref()))
    }

    fn located(&self, reference: &ModelRef) -> Result<PathBuf, ChatError> {
        self.hub.locate(reference).map_err(refusal)
    }

    /// Writes a model's weights, as they are computed with, beside it in the store, so that loads are faster; returns the
    /// bytes of that file. The disk holds the weights twice then, memory never does.
    ///
    /// # Errors
    /// As [`LocalHost::source`] and [`LocalModel::load`]; a model that is not in the store, or that is computed with as it
    /// is; a full disk.
    pub fn prepare(&self, name: &str, progress: &dyn PullProgress) -> Result<u64, ChatError> {
        let source = self.source(name, progress)?;
        let refused = |text: String| ChatError::InvalidRequest(format!("{}: {text}", source.name));
        let reference = self.hub.resolve(name).map_err(refusal)?;
        let manifest = self.hub.manifest(&reference).map_err(refusal)?;
        let Some(digest) = manifest.as_ref().and_then(hub::Manifest::sole_digest) else {
            let hint = "bantam import PATH --name NAME; of several files with weights, join them into one first";
            return Err(refused(format!("only a model in the store, of one file, can be prepared\nhint: {hint}")));
        };
        let options = LoadOptions { context: Some(1), ..self.options.clone() };
        let mut parts = Parts::open(&source, &options)?;
        MemoryPlan::of(parts.model.spec(), parts.model.weight_bytes(), &parts.model.kv_shape(1, options.kv_element))
            .check(&source.name, &options, "a machine with more memory")?;
        let layout = parts.model.interleaved_layout();
        parts.model.interleave(&self.runtime).map_err(|error| ChatError::Unavailable(error.to_string()))?;
        let Some(weights) = parts.model.interleaved() else {
            return Err(refused(
                "its weights are computed with as they are, so there is nothing to prepare".to_owned(),
            ));
        };
        let bytes = prepared::file_bytes(weights);
        progress.start(&format!("{} (prepared weights)", source.name), Some(bytes), 0);
        let outcome = self.hub.write_prepared(&digest, bytes, &mut |out| {
            prepared::write(layout, weights, out, &mut |count| progress.advance(count))
        });
        progress.finish();
        outcome.map_err(refusal)?;
        Ok(bytes)
    }

    /// As [`ModelHost::load`], with all that a model of this machine can do beyond the trait.
    ///
    /// # Errors
    /// As [`LocalHost::source`] and [`LocalModel::load`].
    pub fn load_local(&self, name: &str, progress: &dyn PullProgress) -> Result<Arc<LocalModel>, ChatError> {
        let shared = block_on(self.share(name, None, progress))?;
        shared.local.ok_or_else(|| ChatError::Unsupported { model: name.to_owned(), what: "generating text" })
    }

    /// Loads a model for the caller alone, whether it is in memory already or not. It is in no plan of this host.
    ///
    /// # Errors
    /// As [`LocalHost::load_local`].
    pub fn load_unshared(&self, name: &str, progress: &dyn PullProgress) -> Result<LocalModel, ChatError> {
        let target = self.target(name)?;
        let source = self.fetched_source(&target.model, progress)?;
        let model = self.load_from(&target.model, &source, progress, &mut |_, check| check())?;
        match self.adapter_of(&target)? {
            Some(path) => model.with_adapter(&target.name, &path),
            None => Ok(model),
        }
    }

    /// The model of a name: the one in memory, or one that is loaded now.
    async fn share(
        &self,
        name: &str,
        keep: Option<KeepAlive>,
        progress: &dyn PullProgress,
    ) -> Result<Shared, ChatError> {
        let target = self.target(name)?;
        let version = || target.version(&self.hub);
        let keep = keep.or_else(|| self.kept.contains(&target.name).then_some(KeepAlive::Forever));
        if let Some(shared) = self.residents.get(&target.name, version(), keep) {
            return Ok(shared);
        }
        // What is not here is fetched, or refused, before it takes a place in the queue.
        self.reached_source(&target.model, progress)?;
        self.adapter_of(&target)?;
        let ask = Ask { name: &target.name, version: &version, keep, is_cancelled: &|| progress.is_cancelled() };
        self.residents.load(ask, &mut |turn| self.load_target(&target, turn, progress)).await
    }

    /// Loads what a name asks for, from the files that it has now.
    fn load_target(&self, target: &Target, turn: &Turn<'_>, progress: &dyn PullProgress) -> Result<Loaded, ChatError> {
        let source = self.stored_source(&target.model)?;
        match self.adapter_of(target)? {
            None => self.load_model(target, &source, turn, progress),
            Some(path) if target.adapter.is_some() => self.load_adapted(target, &source, &path, turn, progress),
            Some(path) => self.load_with_own_adapter(target, &source, &path, turn, progress),
        }
    }

    /// Loads a model without an adapter, when there is room for it.
    fn load_model(
        &self,
        target: &Target,
        source: &ModelSource,
        turn: &Turn<'_>,
        progress: &dyn PullProgress,
    ) -> Result<Loaded, ChatError> {
        let mut admit =
            |plan: &MemoryPlan, check: &dyn Fn() -> Result<(), ChatError>| turn.admit(plan.total(), None, check);
        if is_encoder(&source.path)? {
            let model = load_encoder_when(source, &self.options, Arc::clone(&self.runtime), &mut admit)?;
            let (memory, is_taken) = (model.memory().total(), Box::new(model.is_taken()));
            return self.resident(target, Shared { model: Arc::new(model), local: None }, memory, is_taken);
        }
        let model = self.load_from(&target.model, source, progress, &mut admit)?;
        let is_taken = Box::new(model.is_taken());
        self.resident_decoder(target, Arc::new(model), is_taken)
    }

    fn resident_decoder(
        &self,
        target: &Target,
        model: Arc<LocalModel>,
        is_taken: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<Loaded, ChatError> {
        let memory = model.memory().total();
        let shared = Shared { model: Arc::clone(&model) as Arc<dyn ChatModel>, local: Some(model) };
        self.resident(target, shared, memory, is_taken)
    }

    fn resident(
        &self,
        target: &Target,
        shared: Shared,
        memory: u64,
        is_taken: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<Loaded, ChatError> {
        let info = shared.model.info().clone();
        let summary = ModelSummary {
            name: target.name.clone(),
            family: info.family,
            parameters: Some(info.parameters),
            quantization: Some(info.quantization),
            ..self.summary_of(&target.model)?
        };
        Ok(Loaded { shared, memory, is_taken, base: None, summary })
    }

    /// Loads an adapter onto its base, which is loaded first where it is not in memory, and shared.
    fn load_adapted(
        &self,
        target: &Target,
        source: &ModelSource,
        adapter: &Path,
        turn: &Turn<'_>,
        progress: &dyn PullProgress,
    ) -> Result<Loaded, ChatError> {
        let base = target.base();
        let version = base.version(&self.hub);
        let shared = match self.residents.get(&base.name, version, None) {
            Some(shared) => shared,
            None => {
                turn.retire(&base.name);
                let loaded = self.load_model(&base, source, turn, progress)?;
                let shared = loaded.shared.clone();
                turn.put(&base.name, loaded, version, None);
                shared
            }
        };
        let unsupported = || ChatError::Unsupported { model: base.name.clone(), what: "adapters" };
        let local = shared.local.ok_or_else(unsupported)?;
        let memory = hub::bytes_at(adapter).map_err(refusal)?;
        turn.admit(memory, Some(&base.name), &|| Ok(()))?;
        let model = Arc::new(local.adapted(&target.name, adapter)?);
        let weak = Arc::downgrade(&model);
        let loaded = self.resident_decoder(target, model, Box::new(move || weak.strong_count() > 0))?;
        let summary = ModelSummary { base: Some(base.name.clone()), ..loaded.summary };
        Ok(Loaded { memory, base: Some(base.name), summary, ..loaded })
    }

    /// Loads a model that was made with an adapter: its weights are its own in memory, because what else was chosen for it
    /// need not be what its base has.
    fn load_with_own_adapter(
        &self,
        target: &Target,
        source: &ModelSource,
        adapter: &Path,
        turn: &Turn<'_>,
        progress: &dyn PullProgress,
    ) -> Result<Loaded, ChatError> {
        let adapter_bytes = hub::bytes_at(adapter).map_err(refusal)?;
        let mut admit = |plan: &MemoryPlan, check: &dyn Fn() -> Result<(), ChatError>| {
            turn.admit(plan.total().saturating_add(adapter_bytes), None, check)
        };
        let model = self.load_from(&target.model, source, progress, &mut admit)?;
        let is_taken = Box::new(model.is_taken());
        let memory = model.memory().total().saturating_add(adapter_bytes);
        let model = Arc::new(model.with_adapter(&target.name, adapter)?);
        Ok(Loaded { memory, ..self.resident_decoder(target, model, is_taken)? })
    }

    /// Where the adapter of a target lies: the one of its name, or the one that it was made with.
    fn adapter_of(&self, target: &Target) -> Result<Option<PathBuf>, ChatError> {
        if let Some(adapter) = &target.adapter {
            return adapter_path(&self.hub, adapter).map(Some);
        }
        match self.hub.manifest(&target.model).map_err(refusal)? {
            Some(manifest) => self.hub.store().locate_adapter(&manifest).map_err(refusal),
            None => Ok(None),
        }
    }

    fn load_from(
        &self,
        reference: &ModelRef,
        source: &ModelSource,
        progress: &dyn PullProgress,
        admit: &mut Admit<'_>,
    ) -> Result<LocalModel, ChatError> {
        if let Some(manifest) = self.hub.manifest(reference).map_err(refusal)? {
            tell_what_has_no_effect(&manifest, progress);
        }
        let mut load = || LocalModel::load_when(source, &self.options, Arc::clone(&self.runtime), admit);
        let mut model = load()?;
        if model.prepared() == Prepared::Stale {
            let shown = &source.name;
            progress.message(&format!("{shown}: its prepared weights are of another version; making them anew"));
            // Both would not fit into memory.
            drop(model);
            if let Err(error) = self.prepare(shown, progress) {
                progress.message(&format!("{error}\nhint: bantam prepare {shown} --undo removes what is stale"));
            }
            model = load()?;
        }
        for note in model.notes() {
            progress.message(&format!("{}: {note}", source.name));
        }
        let asked = source.parameters.as_ref().and_then(context_asked_for).filter(|_| self.options.context.is_none());
        let maximum = model.info().maximum_context;
        if let Some(asked) = asked.filter(|asked| *asked > maximum) {
            let name = &source.name;
            progress
                .message(&format!("{name}: its parameters ask for a context of {asked}; it was made for {maximum}"));
        }
        Ok(model)
    }

    /// What `work` makes of a model's tokenizer; no weights are loaded for it.
    fn with_tokenizer<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Tokenizer) -> Result<T, ChatError>,
    ) -> Result<T, ChatError> {
        let target = self.target(name)?;
        let known = self.residents.peek(&target.name, target.version(&self.hub));
        if let Some(local) = known.and_then(|shared| shared.local) {
            return work(local.tokenizer());
        }
        work(&open_tokenizer(&self.stored_source(&target.model)?.path)?)
    }

    /// Forgets what is in memory under a name, and what was made of it with adapters.
    fn forget(&self, name: &str) -> Result<bool, ChatError> {
        match self.target(name) {
            Ok(target) => Ok(self.residents.unload(&target.name)),
            // Its files may be gone, and the model be in memory still.
            Err(_) if self.residents.has(name) => Ok(self.residents.unload(name)),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ChatError> {
        let stored = self.hub.resolve_name(name).map_or_else(|_| name.to_owned(), |reference| reference.store_name());
        self.hub.store().check_held(&stored).map_err(refusal)?;
        self.residents.unload(&stored);
        self.hub.store().remove(&stored).map_err(refusal)?;
        Ok(())
    }

    async fn receive(&self, digest: &str, mut bytes: BoxStream<'_, std::io::Result<Vec<u8>>>) -> Result<(), ChatError> {
        let mut upload = self.hub.upload(blob_digest(digest)?).map_err(refusal)?;
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| {
                ChatError::InvalidRequest(format!("{digest}: its bytes broke off: {error}\nhint: send them again"))
            })?;
            upload.write(&piece).map_err(refusal)?;
        }
        upload.finish().map(|_| ()).map_err(request_refusal)
    }
}

/// What all models may take together: what the caller says, else the most that was ever found free.
fn memory_limit(stated: Option<u64>) -> MemoryLimit {
    if stated.is_some() {
        return Box::new(move || stated);
    }
    let most = AtomicU64::new(free_memory().unwrap_or(0));
    Box::new(move || {
        let free = free_memory()?;
        Some(most.fetch_max(free, Ordering::Relaxed).max(free))
    })
}

/// The digest of `sha256:..`.
fn blob_digest(text: &str) -> Result<Sha256, ChatError> {
    let digits = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha256-")).unwrap_or(text);
    digits.parse().map_err(|error| ChatError::InvalidRequest(format!("digest: {error}\nhint: sha256:.. is the form")))
}

impl ModelHost for LocalHost {
    fn list(&self) -> HostFuture<'_, Vec<ModelSummary>> {
        Box::pin(async { self.summaries() })
    }

    fn show<'a>(&'a self, name: &'a str) -> HostFuture<'a, ModelDetails> {
        Box::pin(async move { self.details(name) })
    }

    fn running(&self) -> Vec<RunningModel> {
        self.residents.running()
    }

    fn pull<'a>(&'a self, name: &'a str, progress: &'a dyn PullProgress) -> HostFuture<'a, String> {
        Box::pin(async move {
            let reference = self.target(name)?.model;
            let manifest = self.hub.pull(&reference, &Told(progress)).map_err(refusal)?;
            tell_what_has_no_effect(&manifest, progress);
            Ok(manifest.name)
        })
    }

    fn load<'a>(
        &'a self,
        name: &'a str,
        keep_alive: Option<KeepAlive>,
        progress: &'a dyn PullProgress,
    ) -> HostFuture<'a, Arc<dyn ChatModel>> {
        Box::pin(async move { Ok(self.share(name, keep_alive, progress).await?.model) })
    }

    fn unload<'a>(&'a self, name: &'a str) -> HostFuture<'a, bool> {
        Box::pin(async move { self.forget(name) })
    }

    fn unload_expired(&self) {
        self.residents.unload_expired();
    }

    fn create<'a>(&'a self, request: CreateRequest, progress: &'a dyn PullProgress) -> HostFuture<'a, ()> {
        Box::pin(async move { self.make(&request, progress).map(|_| ()) })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let stored = self.target(from).map_or_else(|_| from.to_owned(), |target| target.name);
            self.hub.copy(&stored, to).map(|_| ()).map_err(request_refusal)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> HostFuture<'a, ()> {
        Box::pin(async move { self.remove(name) })
    }

    fn has_blob<'a>(&'a self, digest: &'a str) -> HostFuture<'a, bool> {
        Box::pin(async move { self.hub.holds(&blob_digest(digest)?).map_err(refusal) })
    }

    fn put_blob<'a>(&'a self, digest: &'a str, bytes: BoxStream<'a, std::io::Result<Vec<u8>>>) -> HostFuture<'a, ()> {
        Box::pin(self.receive(digest, bytes))
    }

    fn tokenize<'a>(&'a self, name: &'a str, text: &'a str) -> HostFuture<'a, Vec<u32>> {
        Box::pin(async move { self.with_tokenizer(name, |tokenizer| text_ids(name, tokenizer, text)) })
    }

    fn detokenize<'a>(&'a self, name: &'a str, ids: &'a [u32]) -> HostFuture<'a, String> {
        Box::pin(async move {
            self.with_tokenizer(name, |tokenizer| {
                let count = tokenizer.vocabulary_len();
                match ids.iter().find(|id| usize::try_from(**id).is_ok_and(|id| id >= count)) {
                    Some(id) => Err(ChatError::InvalidRequest(format!(
                        "token id {id} is outside the vocabulary of {name}: expected ids below {count}"
                    ))),
                    None => Ok(tokenizer.decode(ids, false)),
                }
            })
        })
    }
}

/// Tells what the store keeps with a model and this program does not apply, once a pull and once a load.
fn tell_what_has_no_effect(manifest: &hub::Manifest, progress: &dyn PullProgress) {
    let parameters = manifest.parameters().map(parameters_not_applied).unwrap_or_default().join(", ");
    if !parameters.is_empty() {
        progress.message(&format!("{}: parameters that have no effect here: {parameters}", manifest.name));
    }
    let unknown = manifest.unknown_fields().join(", ");
    if !unknown.is_empty() {
        progress.message(&format!("{}: fields of a newer version have no effect here: {unknown}", manifest.name));
    }
}

/// The hub's errors where the request itself chose names and bytes.
fn request_refusal(error: HubError) -> ChatError {
    match error {
        HubError::BadName { .. }
        | HubError::Taken { .. }
        | HubError::Reserved { .. }
        | HubError::HashMismatch { .. }
        | HubError::NotFound { .. }
        | HubError::Refused { .. }
        | HubError::Format(_) => ChatError::InvalidRequest(error.to_string()),
        other => refusal(other),
    }
}

/// The hub's errors by what a caller may do about them; their texts are complete for a user.
fn refusal(error: HubError) -> ChatError {
    let text = error.to_string();
    match error {
        HubError::UnknownModel { .. }
        | HubError::BadName { .. }
        | HubError::Ambiguous { .. }
        | HubError::NotFound { .. }
        | HubError::NotInStore { .. } => ChatError::UnknownModel(text),
        HubError::UnsupportedModel { .. }
        | HubError::HashMismatch { .. }
        | HubError::NotAModel { .. }
        | HubError::Manifest { .. }
        | HubError::Format(_) => ChatError::Unloadable(text),
        _ => ChatError::Unavailable(text),
    }
}
