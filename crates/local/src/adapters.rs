//! Adapters of a loaded model: opened by whoever asks, used by the engine's thread, forgotten when nobody asks any more.
//!
//! ```text
//! the caller's thread: open and check the files -> Command::Adapt(id) -> requests that name the id
//! the last user goes:  Command::Retire(id) -> the thread forgets it after the last of its sequences
//! ```
//!
//! An id is never given twice, so pages that an adapter left in the prefix cache are never taken for another's. Read next:
//! `worker`, which keeps them.

use crate::LocalModel;
use crate::file_state::FileState;
use crate::worker::Command;
use chat::ChatError;
use formats::AdapterCheckpoint;
use model::{Adapter, AdapterId, DecoderSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The adapters of one loaded model, shared by all views on it.
pub(crate) struct Adaptations {
    /// What adapters are checked against.
    spec: DecoderSpec,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of those that somebody uses, by where they lie and the state of the files there that they were read from.
    in_use: BTreeMap<(PathBuf, Option<FileState>), Weak<InUse>>,
    next: u32,
}

/// An adapter that the engine's thread has. Dropping the last reference tells the thread to forget it.
pub(crate) struct InUse {
    id: AdapterId,
    commands: Sender<Command>,
}

impl InUse {
    /// What requests name it by.
    pub(crate) fn id(&self) -> AdapterId {
        self.id
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // Without the thread there is nothing to be forgotten.
        let _ = self.commands.send(Command::Retire(self.id));
    }
}

impl Adaptations {
    pub(crate) fn new(spec: DecoderSpec) -> Adaptations {
        Adaptations { spec, known: Mutex::default() }
    }

    /// The adapter at a path, opened and handed to the thread unless it has it. Whoever asks meanwhile waits; no step does.
    fn get(&self, name: &str, path: &Path, commands: &Sender<Command>) -> Result<Arc<InUse>, ChatError> {
        let refuse = |error: &dyn std::fmt::Display| ChatError::Unloadable(format!("cannot load {name}: {error}"));
        // A path that leads nowhere is refused below, by the words of whoever opens it.
        // Looked at before it is opened: what is written in between is read once more by who asks next.
        let place = (path.canonicalize().unwrap_or_else(|_| path.to_owned()), FileState::of(path));
        // What it holds is whole whenever the lock is free.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_use) = known.in_use.get(&place).and_then(Weak::upgrade) {
            return Ok(in_use);
        }
        let checkpoint = AdapterCheckpoint::open(path).map_err(|error| refuse(&error))?;
        let adapter = Adapter::load(&checkpoint, &self.spec).map_err(|error| refuse(&error))?;
        let id = AdapterId(known.next);
        let too_many = || refuse(&"more adapters were loaded than can be told apart\nhint: load the model again");
        known.next = known.next.checked_add(1).ok_or_else(too_many)?;
        let gone = |_| ChatError::Internal("the engine's thread has ended".to_owned());
        commands.send(Command::Adapt(id, Arc::new(adapter))).map_err(gone)?;
        let in_use = Arc::new(InUse { id, commands: commands.clone() });
        known.in_use.retain(|_, one| one.strong_count() > 0);
        known.in_use.insert(place, Arc::downgrade(&in_use));
        Ok(in_use)
    }
}

impl LocalModel {
    /// This model with an adapter, as one of its own: a view that shares the weights, the thread, the KV memory and the
    /// batches, and goes by `name`. Views with the adapter at one path share it, as long as its files are not replaced; it is forgotten when the last of them and
    /// of its answers is gone. The model stays in memory as long as any view does.
    ///
    /// `adapter` is a GGUF file or a folder as PEFT saves it. It takes the place of an adapter that this view has.
    ///
    /// # Errors
    /// [`ChatError::Unloadable`] for an adapter that cannot be read, is of a kind that is not supported, or was made for
    /// another model.
    pub fn adapted(&self, name: &str, adapter: &Path) -> Result<LocalModel, ChatError> {
        self.view().with_adapter(name, adapter)
    }

    /// This very model, with an adapter from now on.
    ///
    /// # Errors
    /// As [`LocalModel::adapted`].
    pub(crate) fn with_adapter(mut self, name: &str, adapter: &Path) -> Result<LocalModel, ChatError> {
        self.adapter = Some(self.adaptations.get(name, adapter, &self.commands)?);
        self.info.name = name.to_owned();
        Ok(self)
    }
}
