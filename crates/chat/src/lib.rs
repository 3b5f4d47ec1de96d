//! The vocabulary between whoever asks a language model and whatever answers.
//!
//! Everything that answers is a [`ChatModel`]: the engine on this machine today, remote providers and the router
//! between them later. Whoever keeps models (lists, loads, pulls, removes) is a [`ModelHost`]. This crate holds the
//! types and the two traits, and nothing that runs: it knows no file, no wire format, no thread and no model family.
//!
//! Read next: `local`, the implementation over the engine of this machine.
#![forbid(unsafe_code)]

mod choose;
mod embed;
mod error;
mod event;
mod host;
mod model;
mod request;
mod score;

pub use choose::{ChoiceContext, ChooseRequest, ChooseResponse, OptionScore, OptionScoring};
pub use embed::{EmbedRequest, EmbedResponse, RelevanceRequest, RelevanceResponse};
pub use error::{ChatError, FREE_CALLS_HINT};
pub use event::{ChatEvent, ChatStream, FinishReason, PromptToken, TokenLogprob, Usage};
pub use host::{
    CreateRequest, HostFuture, KeepAlive, ModelDetails, ModelHost, ModelSummary, PullProgress, RunningModel,
};
pub use model::{Activity, Capabilities, ChatFuture, ChatModel, ModelInfo};
pub use request::{
    AnswerFormat, ChatRequest, CompletionRequest, GenerationOptions, Message, Prompt, Role, Tool, ToolCall, ToolChoice,
    ToolWarning,
};
pub use score::{RankRequest, RankResponse, ScoreRequest, ScoreResponse, ScoredToken};
