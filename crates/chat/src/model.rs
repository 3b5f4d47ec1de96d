//! The one trait that everything which answers implements.

use crate::{
    AnswerFormat, ChatError, ChatRequest, ChatStream, ChooseRequest, ChooseResponse, CompletionRequest, EmbedRequest,
    EmbedResponse, RankRequest, RankResponse, RelevanceRequest, RelevanceResponse, ScoreRequest, ScoreResponse,
    ToolWarning,
};
use futures::future::BoxFuture;
use serde::Serialize;

/// The future that a [`ChatModel`] method returns.
pub type ChatFuture<'a, T> = BoxFuture<'a, Result<T, ChatError>>;

/// What a model can do beside chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Has a chat template of its own; without one, only completion is sensible.
    pub template: bool,
    /// Plain completion.
    pub complete: bool,
    /// Log-probabilities of given text.
    pub score: bool,
    /// Its template knows thinking.
    pub think: bool,
    /// Its template takes tools, in a format whose calls are understood.
    pub tools: bool,
    /// Fills in the middle: completion with a suffix.
    pub insert: bool,
    /// Turns texts into vectors.
    pub embed: bool,
    /// Judges documents together with a query.
    pub relevance: bool,
    /// Scores given answers to a question.
    pub choose: bool,
}

/// What is known of a model before it is asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name by which it was asked for.
    pub name: String,
    /// Architecture family, as its file names it.
    pub family: String,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of the weights as stored.
    pub weight_bytes: u64,
    /// How the weights are stored (`q4_k_m`, `f32`).
    pub quantization: String,
    /// Positions that one sequence may use as loaded.
    pub context: usize,
    /// Positions that the model was trained for.
    pub maximum_context: usize,
    /// Number of tokens it knows.
    pub vocabulary: usize,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a model is doing now and has done since it was loaded. All zero where nobody knows, as of a remote. A model with
/// adapters tells of all that it does, requests through an adapter among them; one of its adapters tells of its own requests
/// and nothing else, so that pages and tokens are counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Requests that are being computed.
    pub running: usize,
    /// Requests that wait for a place or for memory.
    pub waiting: usize,
    /// Pages of the KV memory.
    pub pages: usize,
    /// Those of them that nobody holds, not even the prefix cache.
    pub free_pages: usize,
    /// Those of them that the prefix cache alone holds.
    pub cached_pages: usize,
    /// Positions in a page.
    pub page_len: usize,
    /// Tokens of prompts that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Those of them that were found.
    pub prefix_hits: u64,
    /// Times that a request had to give up its pages to others and begin again.
    pub preemptions: u64,
    /// Steps that were computed.
    pub steps: u64,
    /// Tokens that were read in them.
    pub prompt_tokens: u64,
    /// Tokens that were generated in them.
    pub generated_tokens: u64,
}

/// Something that answers. Methods return once the request is admitted or refused; the answer streams after that.
pub trait ChatModel: Send + Sync {
    /// What is known of the model.
    fn info(&self) -> &ModelInfo;

    /// What it is doing now.
    fn activity(&self) -> Activity {
        Activity::default()
    }

    /// Answers a conversation.
    ///
    /// # Errors
    /// What cannot be answered is refused here, before any token: an invalid request, a prompt past the context.
    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream>;

    /// Tokens of a conversation as the model would read it, template included.
    ///
    /// # Errors
    /// As [`ChatModel::chat`], but for the context.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, usize> {
        let _ = request;
        decline(self.info(), "counting tokens")
    }

    /// Continues plain text.
    ///
    /// # Errors
    /// As [`ChatModel::chat`]; `Unsupported` where the model declines.
    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        drop(request);
        decline(self.info(), "completion of plain text")
    }

    /// Makes ready to hold answers to a format, and tells what of it has no effect, each with its place. Whoever asks for an
    /// answer need not call it before.
    ///
    /// # Errors
    /// What cannot be held to, with its place; `Unsupported` where the model declines.
    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        let _ = format;
        decline(self.info(), "answers held to a format")
    }

    /// Makes ready to hold calls to the schemas of their tools, where the request has it so, and tells what of them has no
    /// effect. Whoever asks for an answer need not call it before.
    ///
    /// # Errors
    /// [`crate::ChatError::ToolSchema`] for what cannot be held to; `Unsupported` where the model declines.
    fn prepare_tools<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, Vec<ToolWarning>> {
        if request.tools.iter().any(|tool| tool.strict) {
            return decline(self.info(), "calls that are held to the schemas of their tools");
        }
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Log-probabilities of a given text.
    ///
    /// # Errors
    /// As [`ChatModel::chat`]; `Unsupported` where the model declines.
    fn score(&self, request: ScoreRequest) -> ChatFuture<'_, ScoreResponse> {
        drop(request);
        decline(self.info(), "log-probabilities of a given text")
    }

    /// Log-probabilities of several continuations of one prompt.
    ///
    /// # Errors
    /// As [`ChatModel::score`].
    fn rank(&self, request: RankRequest) -> ChatFuture<'_, RankResponse> {
        drop(request);
        decline(self.info(), "log-probabilities of continuations")
    }

    /// Which of several texts it would answer with.
    ///
    /// # Errors
    /// As [`ChatModel::chat`]; `Unsupported` where the model declines: then ask for an answer held to
    /// [`AnswerFormat::Choices`].
    fn choose(&self, request: ChooseRequest) -> ChatFuture<'_, ChooseResponse> {
        drop(request);
        decline(self.info(), "scores of given answers")
    }

    /// Texts as vectors.
    ///
    /// # Errors
    /// As [`ChatModel::score`].
    fn embed(&self, request: EmbedRequest) -> ChatFuture<'_, EmbedResponse> {
        drop(request);
        decline(self.info(), "embeddings")
    }

    /// Documents by how well they answer a query.
    ///
    /// # Errors
    /// As [`ChatModel::score`].
    fn relevance(&self, request: RelevanceRequest) -> ChatFuture<'_, RelevanceResponse> {
        drop(request);
        decline(self.info(), "judging documents together with a query")
    }
}

/// The refusal of something that a model does not do.
fn decline<T: Send + 'static>(info: &ModelInfo, what: &'static str) -> ChatFuture<'static, T> {
    let model = info.name.clone();
    Box::pin(std::future::ready(Err(ChatError::Unsupported { model, what })))
}
