//! A host of scripted models, in memory: what is created, copied and removed is seen at once.
//!
//! Its tokenizer takes bytes for tokens.

use super::model::ScriptedModel;
use chat::{
    ChatError, ChatModel, CreateRequest, HostFuture, KeepAlive, ModelDetails, ModelHost, ModelSummary, PullProgress,
    RunningModel,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A host of scripted models.
#[derive(Default)]
pub(crate) struct ScriptedHost {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    models: BTreeMap<String, Arc<ScriptedModel>>,
    loaded: BTreeSet<String>,
    blobs: BTreeMap<String, Vec<u8>>,
    created: Vec<CreateRequest>,
    kept: Vec<(String, Option<KeepAlive>)>,
    /// How long a load takes.
    load_time: Duration,
    /// Pulls that ended because nobody waited for them.
    left_pulls: usize,
    /// Loads that ended because nobody waited for them.
    left_loads: usize,
}

impl ScriptedHost {
    /// With one model, in memory.
    pub(crate) fn of(model: Arc<ScriptedModel>) -> ScriptedHost {
        let host = ScriptedHost::default();
        host.inner.lock().unwrap().loaded.insert(model.info.name.clone());
        host.add(model);
        host
    }

    /// One more model, not in memory.
    pub(crate) fn add(&self, model: Arc<ScriptedModel>) {
        self.inner.lock().unwrap().models.insert(model.info.name.clone(), model);
    }

    /// From now on a load takes so long.
    pub(crate) fn load_slowly(&self, load_time: Duration) {
        self.inner.lock().unwrap().load_time = load_time;
    }

    /// What `create` was asked for.
    pub(crate) fn created(&self) -> Vec<CreateRequest> {
        self.inner.lock().unwrap().created.clone()
    }

    /// How long models were asked to be kept, oldest first.
    pub(crate) fn kept(&self) -> Vec<(String, Option<KeepAlive>)> {
        self.inner.lock().unwrap().kept.clone()
    }

    /// Pulls that ended because nobody waited for them.
    pub(crate) fn left_pulls(&self) -> usize {
        self.inner.lock().unwrap().left_pulls
    }

    /// Loads that ended because nobody waited for them.
    pub(crate) fn left_loads(&self) -> usize {
        self.inner.lock().unwrap().left_loads
    }

    fn find(&self, name: &str) -> Result<Arc<ScriptedModel>, ChatError> {
        let inner = self.inner.lock().unwrap();
        let known: Vec<&str> = inner.models.keys().map(String::as_str).collect();
        let unknown = || ChatError::UnknownModel(format!("no model {name:?}\nhint: there are {}", known.join(", ")));
        inner.models.get(name).cloned().ok_or_else(unknown)
    }

    fn summary(&self, name: &str, model: &ScriptedModel) -> ModelSummary {
        ModelSummary {
            name: name.to_owned(),
            family: model.info.family.clone(),
            bytes: model.info.weight_bytes,
            digest: Some("ab".repeat(32)),
            parameters: Some(model.info.parameters),
            quantization: Some(model.info.quantization.clone()),
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            base: None,
            loaded: self.inner.lock().unwrap().loaded.contains(name),
        }
    }

    fn all(&self) -> Vec<(String, Arc<ScriptedModel>)> {
        let inner = self.inner.lock().unwrap();
        inner.models.iter().map(|(name, model)| (name.clone(), Arc::clone(model))).collect()
    }
}

impl ModelHost for ScriptedHost {
    fn list(&self) -> HostFuture<'_, Vec<ModelSummary>> {
        Box::pin(async { Ok(self.all().iter().map(|(name, model)| self.summary(name, model)).collect()) })
    }

    fn show<'a>(&'a self, name: &'a str) -> HostFuture<'a, ModelDetails> {
        Box::pin(async move {
            let model = self.find(name)?;
            Ok(ModelDetails {
                summary: self.summary(name, &model),
                capabilities: model.info.capabilities,
                maximum_context: model.info.maximum_context,
                width: 4,
                template: "{{ messages }}".to_owned(),
                system: None,
                licenses: vec!["MIT".to_owned()],
                parameters: serde_json::Map::new(),
                metadata: serde_json::Map::new(),
                tensors: vec![("output.weight".to_owned(), vec![4, 256], "f32".to_owned())],
            })
        })
    }

    fn running(&self) -> Vec<RunningModel> {
        let loaded = self.inner.lock().unwrap().loaded.clone();
        let models = self.all().into_iter().filter(|(name, _)| loaded.contains(name));
        let running = |(name, model): (String, Arc<ScriptedModel>)| RunningModel {
            summary: self.summary(&name, &model),
            memory_bytes: 8000,
            shares: name.split_once('+').map(|(base, _)| base.to_owned()),
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            model,
        };
        models.map(running).collect()
    }

    /// The model comes into the store: the progress tells of one file of 10 bytes. One that is called `endless` comes for
    /// as long as somebody waits for it.
    fn pull<'a>(&'a self, name: &'a str, progress: &'a dyn PullProgress) -> HostFuture<'a, String> {
        Box::pin(async move {
            if name.starts_with("no-such") {
                return Err(ChatError::UnknownModel(format!("no model {name:?} anywhere")));
            }
            if name == "endless" {
                progress.start("endless.gguf", None, 0);
                while !progress.is_cancelled() {
                    progress.advance(1);
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.inner.lock().unwrap().left_pulls += 1;
                return Err(ChatError::Unavailable("nobody waits for it".to_owned()));
            }
            progress.start("model.gguf", Some(10), 0);
            progress.advance(4);
            progress.advance(6);
            progress.finish();
            self.inner.lock().unwrap().models.insert(name.to_owned(), Arc::new(ScriptedModel::named(name)));
            Ok(name.to_owned())
        })
    }

    /// One that is called `endless` is loaded for as long as somebody waits for it.
    fn load<'a>(
        &'a self,
        name: &'a str,
        keep_alive: Option<KeepAlive>,
        progress: &'a dyn PullProgress,
    ) -> HostFuture<'a, Arc<dyn ChatModel>> {
        Box::pin(async move {
            let model = self.find(name)?;
            if name == "endless" {
                while !progress.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.inner.lock().unwrap().left_loads += 1;
                return Err(ChatError::Unavailable("nobody waits for it".to_owned()));
            }
            let (is_loaded, load_time) = {
                let inner = self.inner.lock().unwrap();
                (inner.loaded.contains(name), inner.load_time)
            };
            if !is_loaded {
                std::thread::sleep(load_time);
            }
            let mut inner = self.inner.lock().unwrap();
            inner.loaded.insert(name.to_owned());
            inner.kept.push((name.to_owned(), keep_alive));
            Ok(model as Arc<dyn ChatModel>)
        })
    }

    fn unload<'a>(&'a self, name: &'a str) -> HostFuture<'a, bool> {
        Box::pin(async move { Ok(self.inner.lock().unwrap().loaded.remove(name)) })
    }

    fn unload_expired(&self) {}

    fn create<'a>(&'a self, request: CreateRequest, progress: &'a dyn PullProgress) -> HostFuture<'a, ()> {
        Box::pin(async move {
            if let Some(from) = &request.from {
                self.find(from)?;
            }
            progress.message("writing manifest");
            self.add(Arc::new(ScriptedModel::named(&request.name)));
            self.inner.lock().unwrap().created.push(request);
            Ok(())
        })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let model = self.find(from)?;
            self.inner.lock().unwrap().models.insert(to.to_owned(), model);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> HostFuture<'a, ()> {
        Box::pin(async move {
            self.find(name)?;
            self.inner.lock().unwrap().models.remove(name);
            Ok(())
        })
    }

    fn has_blob<'a>(&'a self, digest: &'a str) -> HostFuture<'a, bool> {
        Box::pin(async move { Ok(self.inner.lock().unwrap().blobs.contains_key(digest)) })
    }

    /// The digest `sha256:bad` is never that of the bytes.
    fn put_blob<'a>(
        &'a self,
        digest: &'a str,
        mut bytes: BoxStream<'a, std::io::Result<Vec<u8>>>,
    ) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let mut all = Vec::new();
            while let Some(piece) = bytes.next().await {
                all.extend(piece.map_err(|error| ChatError::Unavailable(error.to_string()))?);
            }
            if digest == "sha256:bad" {
                return Err(ChatError::InvalidRequest(format!("expected bytes of {digest}, got others")));
            }
            self.inner.lock().unwrap().blobs.insert(digest.to_owned(), all);
            Ok(())
        })
    }

    fn tokenize<'a>(&'a self, name: &'a str, text: &'a str) -> HostFuture<'a, Vec<u32>> {
        Box::pin(async move {
            self.find(name)?;
            Ok(text.bytes().map(u32::from).collect())
        })
    }

    fn detokenize<'a>(&'a self, name: &'a str, ids: &'a [u32]) -> HostFuture<'a, String> {
        Box::pin(async move {
            self.find(name)?;
            let byte = |(at, id): (usize, &u32)| {
                u8::try_from(*id).map_err(|_| {
                    ChatError::InvalidRequest(format!("tokens[{at}]: expected a token of 0 to 255, got {id}"))
                })
            };
            let bytes: Vec<u8> = ids.iter().enumerate().map(byte).collect::<Result<_, _>>()?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }
}
