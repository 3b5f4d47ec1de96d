//! A model that is lent to a task: what is kept for the task does not hold it in memory.
//!
//! A host unloads a model once nobody holds it. A task that is ready holds its model for as long as it is kept, so it
//! is given this one, which borrows the real one for each question. Whoever asks the task holds the real one meanwhile.
//! What no task asks for (vectors, scores of given text) is declined.

use super::spent::Spent;
use crate::answering::{beside, beyond_bound};
use chat::{
    Activity, AnswerFormat, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ChoiceContext,
    ChooseRequest, ChooseResponse, CompletionRequest, GenerationOptions, ModelInfo, Prompt,
};
use futures::StreamExt;
use futures::executor::block_on;
use futures::future::{Either, select};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// A model that is lent to a task.
pub(super) struct LentModel {
    info: ModelInfo,
    model: Weak<dyn ChatModel>,
    /// Longer prompts are refused: the server's own bound.
    max_prompt_tokens: Option<usize>,
}

impl LentModel {
    pub(super) fn of(model: &Arc<dyn ChatModel>, max_prompt_tokens: Option<usize>) -> LentModel {
        // A kind that splits what is too long heeds the context: the bound is one.
        let context = max_prompt_tokens.unwrap_or(usize::MAX).min(model.info().context);
        let info = ModelInfo { context, ..model.info().clone() };
        LentModel { info, model: Arc::downgrade(model), max_prompt_tokens }
    }

    /// Whether it is this model, and not one that was loaded under the same name before.
    pub(super) fn is_of(&self, model: &Arc<dyn ChatModel>) -> bool {
        std::ptr::addr_eq(self.model.as_ptr(), Arc::as_ptr(model))
    }

    fn borrowed(&self) -> Result<Arc<dyn ChatModel>, ChatError> {
        let gone = || format!("the model {} was unloaded while it was asked\nhint: ask again", self.info.name);
        self.model.upgrade().ok_or_else(|| ChatError::Unavailable(gone()))
    }

    /// The answer, unless its prompt is beyond the bound, its tokens counted for whoever asks.
    fn bounded(&self, events: ChatStream) -> ChatStream {
        let (most, spent) = (self.max_prompt_tokens, Spent::of_asker());
        let checked = move |event: Result<ChatEvent, ChatError>| {
            let event = event?;
            if let (ChatEvent::Started { prompt_tokens }, Some(most)) = (&event, most) {
                check(*prompt_tokens, most)?;
            }
            spent.note(&event);
            Ok(event)
        };
        Box::pin(events.map(checked))
    }

    /// Refuses a choice whose prompt is beyond the bound, before it is computed.
    async fn check_choice(
        &self,
        model: &Arc<dyn ChatModel>,
        request: &ChooseRequest,
        most: usize,
    ) -> Result<(), ChatError> {
        let prompt_tokens = match request.context.clone() {
            ChoiceContext::Chat(request) => self.count_tokens(&request).await?,
            ChoiceContext::Plain(Prompt::Ids(ids)) => ids.len(),
            // The first event tells how long the prompt is, before anything was computed; the rest is given up.
            ChoiceContext::Plain(prompt) => {
                let options = GenerationOptions { max_tokens: Some(1), ..GenerationOptions::default() };
                let (model, request) = (Arc::clone(model), CompletionRequest::new(prompt, options));
                match beside(move || block_on(model.complete(request))).await?.next().await.transpose()? {
                    Some(ChatEvent::Started { prompt_tokens }) => prompt_tokens,
                    other => return Err(ChatError::Internal(format!("an answer began with {other:?}"))),
                }
            }
        };
        check(prompt_tokens, most)
    }
}

fn check(prompt_tokens: usize, most: usize) -> Result<(), ChatError> {
    match prompt_tokens > most {
        true => Err(ChatError::InvalidRequest(beyond_bound(prompt_tokens, most))),
        false => Ok(()),
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
        Box::pin(async move {
            let model = self.borrowed()?;
            if let Some(most) = self.max_prompt_tokens {
                self.check_choice(&model, &request, most).await?;
            }
            // Dropped with this future, so that nothing is computed for whoever has gone.
            let (_stays, left) = oneshot::channel::<()>();
            let choosing = move || match block_on(select(model.choose(request), left)) {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => Err(ChatError::Internal("whoever asked has gone".to_owned())),
            };
            let answer = beside(choosing).await?;
            Spent::of_asker().add(answer.prompt_tokens + answer.option_tokens);
            Ok(answer)
        })
    }
}
