//! The trait of whoever keeps models.

use crate::{Capabilities, ChatError, ChatModel, Message};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The future that a [`ModelHost`] method returns. It may block the thread that polls it, for as long as a pull or a load
/// takes. Where it only waits for what others do it is pending, and needs no thread until it is woken.
pub type HostFuture<'a, T> = BoxFuture<'a, Result<T, ChatError>>;

/// One model that a host has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// The name to ask for it by.
    pub name: String,
    /// Architecture family, where known.
    pub family: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// SHA-256 of the model file in hexadecimal, where it has one.
    pub digest: Option<String>,
    /// Number of weights, where known without opening it.
    pub parameters: Option<u64>,
    /// How the weights are stored (`q4_k_m`), where known.
    pub quantization: Option<String>,
    /// When it came into the store.
    #[serde(skip)]
    pub modified: Option<SystemTime>,
    /// The model that it is made from, where it is only other parameters or an adapter.
    pub base: Option<String>,
    /// Whether it is in memory now.
    pub loaded: bool,
}

/// All that is known of a model, without loading it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDetails {
    /// As in the list.
    pub summary: ModelSummary,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Positions that it was trained for.
    pub maximum_context: usize,
    /// Components of its vectors, where it is an embedding model; else its width.
    pub width: usize,
    /// The chat template, empty where it has none.
    pub template: String,
    /// The system text that stands before every conversation that has none of its own.
    pub system: Option<String>,
    /// Texts of licences.
    pub licenses: Vec<String>,
    /// What it recommends where a request leaves something open, as it is kept: `temperature`, `stop`, `num_ctx`.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// The metadata of its file; long lists are left out, as null.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Name, shape and element type of each tensor.
    pub tensors: Vec<(String, Vec<usize>, String)>,
}

/// A model that is in memory.
#[derive(Clone)]
pub struct RunningModel {
    /// As in the list.
    pub summary: ModelSummary,
    /// Bytes of memory: weights, KV pages and buffers.
    pub memory_bytes: u64,
    /// The model in memory whose weights it uses, and whose activity tells of its requests too.
    pub shares: Option<String>,
    /// When it will be unloaded unless somebody asks it again; none: never.
    pub expires: Option<SystemTime>,
    /// The model.
    pub model: Arc<dyn ChatModel>,
}

/// How long a model stays in memory after its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; zero unloads it as soon as nobody uses it.
    For(Duration),
    /// Until it is unloaded, or until another one needs its memory.
    Forever,
}

/// A model made from another one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRequest {
    /// The name of the new model.
    pub name: String,
    /// The model that it is made from: a name or a path; or none, where `files` has its weights.
    pub from: Option<String>,
    /// Files that were put into the store before, by name: digest (`sha256:..`).
    pub files: BTreeMap<String, String>,
    /// Adapters (LoRA) by name: digest, or a path.
    pub adapters: BTreeMap<String, String>,
    /// The chat template, Jinja.
    pub template: Option<String>,
    /// The system text of conversations that have none.
    pub system: Option<String>,
    /// Messages that stand before every conversation.
    pub messages: Vec<Message>,
    /// Texts of licences.
    pub licenses: Vec<String>,
    /// What requests leave open, by the names of a Modelfile's PARAMETER.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Quantize the weights so (`q4_k_m`).
    pub quantize: Option<String>,
}

/// Told how a pull goes; called from the thread that downloads.
pub trait PullProgress: Send + Sync {
    /// A file of `total_bytes` starts (or goes on) at `done_bytes`.
    fn start(&self, file: &str, total_bytes: Option<u64>, done_bytes: u64);
    /// `bytes` more have arrived.
    fn advance(&self, bytes: u64);
    /// Something worth telling: the licence, a source that was skipped and why.
    fn message(&self, text: &str);
    /// The current file is complete and checked.
    fn finish(&self);
    /// Whether whoever asked has gone, so that the work may be left.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Whoever keeps models: lists, fetches, loads and removes them.
pub trait ModelHost: Send + Sync {
    /// The models in the store, by name.
    fn list(&self) -> HostFuture<'_, Vec<ModelSummary>>;
    /// All that is known of one of them.
    fn show<'a>(&'a self, name: &'a str) -> HostFuture<'a, ModelDetails>;
    /// The models that are in memory, by name. Does not wait for one that is being loaded.
    fn running(&self) -> Vec<RunningModel>;
    /// Fetches a model into the store unless it is there; returns its name in the store.
    fn pull<'a>(&'a self, name: &'a str, progress: &'a dyn PullProgress) -> HostFuture<'a, String>;
    /// Loads a model that is in the store or that is a path; a loaded one is shared, and stays for what is asked of it.
    /// `base+adapter` is a model with an adapter. Of those who ask for a model that is not in memory one loads it, the others
    /// wait for the same outcome. Where memory is short, models that nobody uses are unloaded, the longest unused first.
    fn load<'a>(
        &'a self,
        name: &'a str,
        keep_alive: Option<KeepAlive>,
        progress: &'a dyn PullProgress,
    ) -> HostFuture<'a, Arc<dyn ChatModel>>;
    /// Forgets a loaded model; its memory is freed when the last user lets go. True if it was loaded.
    fn unload<'a>(&'a self, name: &'a str) -> HostFuture<'a, bool>;
    /// Unloads what nobody has asked for as long as it was to be kept; to be called from time to time.
    fn unload_expired(&self);
    /// Makes a model from another one, or from files.
    fn create<'a>(&'a self, request: CreateRequest, progress: &'a dyn PullProgress) -> HostFuture<'a, ()>;
    /// Gives a model a second name.
    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> HostFuture<'a, ()>;
    /// Removes a name, and the bytes that no other name needs.
    fn delete<'a>(&'a self, name: &'a str) -> HostFuture<'a, ()>;
    /// Whether the store has these bytes (`sha256:..`).
    fn has_blob<'a>(&'a self, digest: &'a str) -> HostFuture<'a, bool>;
    /// Puts bytes into the store; refused where they are not of that digest.
    fn put_blob<'a>(&'a self, digest: &'a str, bytes: BoxStream<'a, std::io::Result<Vec<u8>>>) -> HostFuture<'a, ()>;
    /// Token ids of a text under a model's tokenizer; special tokens in it are plain text.
    fn tokenize<'a>(&'a self, name: &'a str, text: &'a str) -> HostFuture<'a, Vec<u32>>;
    /// The text of token ids under a model's tokenizer.
    fn detokenize<'a>(&'a self, name: &'a str, ids: &'a [u32]) -> HostFuture<'a, String>;
    /// The text of each token by itself; part of a character shows as U+FFFD.
    fn token_texts<'a>(&'a self, name: &'a str, ids: &'a [u32]) -> HostFuture<'a, Vec<String>> {
        Box::pin(async move {
            let mut texts = Vec::with_capacity(ids.len());
            for id in ids {
                texts.push(self.detokenize(name, std::slice::from_ref(id)).await?);
            }
            Ok(texts)
        })
    }
}
