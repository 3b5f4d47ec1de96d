//! The models of this machine: found and fetched by `hub`, loaded once each, shared by whoever asks.
//!
//! Pulling and loading are done by the thread that polls; whoever must not block polls on a thread of its own.
//! Read next: `local_model`, what a load ends in.

use crate::generation::{context_asked_for, parameters_not_applied};
use crate::loading::{ModelSource, Parts, open_tokenizer};
use crate::local_model::{LocalModel, text_ids};
use crate::memory::MemoryPlan;
use crate::options::LoadOptions;
use crate::prepared::{self, Prepared};
use chat::{ChatError, ChatModel, HostFuture, ModelHost, ModelSummary, PullProgress};
use hub::{Hub, HubError, ModelRef, Progress};
use kernels::Runtime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps models: the store on disk, and those that are in memory.
pub struct LocalHost {
    hub: Hub,
    options: LoadOptions,
    runtime: Arc<Runtime>,
    loaded: Mutex<BTreeMap<String, Arc<LocalModel>>>,
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
    /// A host over a hub; every model is loaded with these options.
    ///
    /// # Errors
    /// When the system refuses the threads to compute with.
    pub fn new(hub: Hub, options: LoadOptions) -> Result<LocalHost, ChatError> {
        let runtime = options.runtime().map_err(|error| ChatError::Unavailable(error.to_string()))?;
        Ok(LocalHost { hub, options, runtime, loaded: Mutex::new(BTreeMap::new()) })
    }

    /// The hub behind it.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What models are computed with.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Where a model lies, fetched first where needed, with what came along in the store.
    ///
    /// # Errors
    /// Unknown names, and whatever stops a pull.
    pub fn source(&self, name: &str, progress: &dyn PullProgress) -> Result<ModelSource, ChatError> {
        let reference = self.hub.resolve(name).map_err(refusal)?;
        let is_path = matches!(reference, ModelRef::Path(_));
        let known = self.hub.present(&reference).map_err(refusal)?;
        let manifest = match known {
            None if !is_path => Some(self.hub.pull(&reference, &Told(progress)).map_err(refusal)?),
            known => known,
        };
        let path = self.hub.locate(&reference).map_err(refusal)?;
        let parameters = manifest.as_ref().and_then(hub::Manifest::parameters).cloned();
        let digest = manifest.as_ref().and_then(hub::Manifest::sole_digest);
        let prepared = digest.map(|digest| self.hub.store().prepared_path(&digest));
        Ok(ModelSource { name: reference.store_name(), path, parameters, prepared })
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
        let source = self.source(name, progress)?;
        // Held while loading, so that two who ask at once share one model.
        let mut loaded = self.loaded();
        if let Some(model) = loaded.get(&source.name) {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(self.load_from(&source, name, progress)?);
        loaded.insert(source.name, Arc::clone(&model));
        Ok(model)
    }

    /// Loads a model for the caller alone, whether it is in memory already or not.
    ///
    /// # Errors
    /// As [`LocalHost::load_local`].
    pub fn load_unshared(&self, name: &str, progress: &dyn PullProgress) -> Result<LocalModel, ChatError> {
        self.load_from(&self.source(name, progress)?, name, progress)
    }

    fn load_from(
        &self,
        source: &ModelSource,
        name: &str,
        progress: &dyn PullProgress,
    ) -> Result<LocalModel, ChatError> {
        let reference = self.hub.resolve(name).map_err(refusal)?;
        if let Some(manifest) = self.hub.manifest(&reference).map_err(refusal)? {
            tell_what_has_no_effect(&manifest, progress);
        }
        let load = || LocalModel::load(source, &self.options, Arc::clone(&self.runtime));
        let mut model = load()?;
        if model.prepared() == Prepared::Stale {
            let shown = &source.name;
            progress.message(&format!("{shown}: its prepared weights are of another version; making them anew"));
            // Both would not fit into memory.
            drop(model);
            if let Err(error) = self.prepare(name, progress) {
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

    fn loaded(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LocalModel>>> {
        // The map is whole whatever happened to who held it: a model enters it complete or not at all.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn summaries(&self) -> Result<Vec<ModelSummary>, ChatError> {
        // One that cannot be read has no size or digest to tell; asking for it by name tells what is wrong with it.
        let manifests = self.hub.store().list().map_err(refusal)?.models;
        let loaded = self.loaded();
        let summary = |manifest: hub::Manifest| ModelSummary {
            loaded: loaded.contains_key(&manifest.name),
            bytes: manifest.bytes(),
            digest: manifest.digest().map(|digest| digest.to_string()),
            family: manifest.family,
            name: manifest.name,
        };
        Ok(manifests.into_iter().map(summary).collect())
    }
}

impl ModelHost for LocalHost {
    fn list(&self) -> HostFuture<'_, Vec<ModelSummary>> {
        Box::pin(async { self.summaries() })
    }

    fn pull<'a>(&'a self, name: &'a str, progress: &'a dyn PullProgress) -> HostFuture<'a, String> {
        Box::pin(async move {
            let reference = self.hub.resolve(name).map_err(refusal)?;
            let manifest = self.hub.pull(&reference, &Told(progress)).map_err(refusal)?;
            tell_what_has_no_effect(&manifest, progress);
            Ok(manifest.name)
        })
    }

    fn load<'a>(&'a self, name: &'a str, progress: &'a dyn PullProgress) -> HostFuture<'a, Arc<dyn ChatModel>> {
        Box::pin(async move { self.load_local(name, progress).map(|model| model as Arc<dyn ChatModel>) })
    }

    fn unload<'a>(&'a self, name: &'a str) -> HostFuture<'a, bool> {
        Box::pin(async move {
            let reference = self.hub.resolve(name).map_err(refusal)?;
            Ok(self.loaded().remove(&reference.store_name()).is_some())
        })
    }

    fn tokenize<'a>(&'a self, name: &'a str, text: &'a str) -> HostFuture<'a, Vec<u32>> {
        Box::pin(async move {
            let reference = self.hub.resolve(name).map_err(refusal)?;
            let known = self.loaded().get(&reference.store_name()).map(Arc::clone);
            if let Some(model) = known {
                return text_ids(name, model.tokenizer(), text);
            }
            let path = self.hub.locate(&reference).map_err(refusal)?;
            text_ids(name, &open_tokenizer(&path)?, text)
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
