//! A model that is lent to a task: what is kept for the task does not hold it in memory.
//!
//! A host unloads a model once nobody holds it. A task that is ready holds its model for as long as it is kept, so it
//! is given this one, which borrows the real one for each question. Whoever asks the task holds the real one meanwhile.
//! What no task asks for (vectors, scores of given text) is declined.

use crate::answering::{beside, beyond_bound};
use chat::{
    Activity, AnswerFormat, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ChooseRequest,
    ChooseResponse, CompletionRequest, ModelInfo,
};
use futures::StreamExt;
use futures::executor::block_on;
use std::sync::{Arc, Weak};

/// A model that is lent to a task.
pub(super) struct LentModel {
    info: ModelInfo,
    model: Weak<dyn ChatModel>,
    /// Longer prompts are refused: the server's own bound.
    max_prompt_tokens: Option<usize>,
}

impl LentModel {
    pub(super) fn of(model: &Arc<dyn ChatModel>, max_prompt_tokens: Option<usize>) -> LentModel {
        LentModel { info: model.info().clone(), model: Arc::downgrade(model), max_prompt_tokens }
    }

    /// Whether it is this model, and not one that was loaded under the same name before.
    pub(super) fn is_of(&self, model: &Arc<dyn ChatModel>) -> bool {
        std::ptr::addr_eq(self.model.as_ptr(), Arc::as_ptr(model))
    }

    fn borrowed(&self) -> Result<Arc<dyn ChatModel>, ChatError> {
        let gone = || format!("the model {} was unloaded while it was asked\nhint: ask again", self.info.name);
        self.model.upgrade().ok_or_else(|| ChatError::Unavailable(gone()))
    }

    /// The answer, unless its prompt is beyond the bound.
    fn bounded(&self, events: ChatStream) -> ChatStream {
        let Some(most) = self.max_prompt_tokens else { return events };
        let checked = move |event| match event {
            Ok(ChatEvent::Started { prompt_tokens }) if prompt_tokens > most => {
                Err(ChatError::InvalidRequest(beyond_bound(prompt_tokens, most)))
            }
            other => other,
        };
        Box::pin(events.map(checked))
    }
}

impl ChatModel for LentModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn activity(&self) -> Activity {
        self.model.upgrade().map_or_else(Activity::default, |model| model.activity())
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let model = self.borrowed()?;
            Ok(self.bounded(beside(move || block_on(model.chat(request))).await?))
        })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, usize> {
        Box::pin(async move {
            let (model, request) = (self.borrowed()?, request.clone());
            beside(move || block_on(model.count_tokens(&request))).await
        })
    }

    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let model = self.borrowed()?;
            Ok(self.bounded(beside(move || block_on(model.complete(request))).await?))
        })
    }

    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        Box::pin(async move {
            let (model, format) = (self.borrowed()?, format.clone());
            beside(move || block_on(model.prepare_format(&format))).await
        })
    }

    fn choose(&self, request: ChooseRequest) -> ChatFuture<'_, ChooseResponse> {
        Box::pin(async move { self.borrowed()?.choose(request).await })
    }
}
