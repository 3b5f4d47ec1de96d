//! A model of this machine that answers: text to ids on the way in, and the engine's thread behind it.
//!
//! Read next: `loading` for where the parts come from, `worker` for the thread, `answer` for the way back.

use crate::answer::Answer;
use crate::generation::{or_else, sampling};
use crate::loading::{ModelSource, Parts, Template};
use crate::memory::{MemoryPlan, STEP_LOGIT_ROWS};
use crate::options::LoadOptions;
use crate::prepared::{self, Prepared};
use crate::scoring::{ScoreProgress, Scoring};
use crate::thought::{OPEN, ThoughtSplitter};
use crate::worker::{Command, Decoder, Exclusive, Listener, ModelDecoder, Worker};
use chat::{
    ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, CompletionRequest, GenerationOptions,
    Message, ModelInfo, Role, ScoreInput, ScoreRequest, ScoreResponse, ScoredToken,
};
use engine::{Engine, EngineConfig, PromptScores, Refused, Sampling, SequenceRequest};
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use kernels::{KvArena, PAGE_LEN, Runtime};
use model::{PassCost, Workspace};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenizer::{Encode, TemplateInput, Tokenizer};

/// A loaded model. Dropping it ends its thread and frees its memory once the last answer has ended.
pub struct LocalModel {
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    template: Template,
    recommended: GenerationOptions,
    notes: Vec<String>,
    memory: MemoryPlan,
    config: EngineConfig,
    pass_cost: PassCost,
    prepared: Prepared,
    load_time: Duration,
    commands: std::sync::mpsc::Sender<Command>,
}

impl LocalModel {
    /// Loads a model and starts its thread. Whether it fits into memory is told before memory is taken.
    ///
    /// # Errors
    /// [`ChatError::Unloadable`] for a file that cannot be used or does not fit, [`ChatError::InvalidRequest`] for a
    /// context that the model was not made for.
    pub fn load(source: &ModelSource, options: &LoadOptions, runtime: Arc<Runtime>) -> Result<LocalModel, ChatError> {
        let began = Instant::now();
        let mut parts = Parts::open(source, options)?;
        let tokenizer = parts.tokenizer?;
        let context = parts.info.context;
        let pages = context.div_ceil(PAGE_LEN).saturating_mul(options.sequences.max(1));
        let kv_shape = parts.model.kv_shape(pages, options.kv_element);
        let memory = MemoryPlan::of(parts.model.spec(), parts.model.weight_bytes(), &kv_shape);
        let advice = match options.context {
            Some(context) => format!("a smaller --context than {context}"),
            None => "a smaller --context".to_owned(),
        };
        memory.check(&source.name, options, &advice)?;
        let refuse = |error| ChatError::Unloadable(format!("cannot load {}: {error}", source.name));
        let arena = KvArena::new(kv_shape).map_err(refuse)?;
        let prepared = prepared::arrange(&mut parts.model, source.prepared.as_deref(), &runtime).map_err(refuse)?;
        let config = EngineConfig {
            pages,
            page_len: PAGE_LEN,
            context,
            vocabulary: parts.info.vocabulary,
            // One row of logits each: every running sequence can have its token in every step.
            max_sequences: STEP_LOGIT_ROWS,
            logit_rows: STEP_LOGIT_ROWS,
            long_rope_after: parts.model.spec().long_rope_after(),
            speculate: options.speculate,
        };
        let pass_cost = parts.model.pass_cost(options.kv_element);
        let decoder = ModelDecoder { model: Arc::new(parts.model), runtime, arena, workspace: Workspace::default() };
        let commands = start(Engine::new(config.clone()), Box::new(decoder))?;
        Ok(LocalModel {
            info: parts.info,
            tokenizer: Arc::new(tokenizer),
            template: parts.template,
            recommended: parts.recommended,
            notes: parts.notes,
            memory,
            config,
            pass_cost,
            prepared,
            load_time: began.elapsed(),
            commands,
        })
    }

    /// What it takes of memory.
    pub fn memory(&self) -> MemoryPlan {
        self.memory
    }

    /// What its files recommend and no answer can be made by, for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether its prepared weights are in use.
    pub fn prepared(&self) -> Prepared {
        self.prepared
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// What its engine is made for.
    pub(crate) fn engine_config(&self) -> &EngineConfig {
        &self.config
    }

    /// What passes through it cost.
    pub(crate) fn pass_cost(&self) -> &PassCost {
        &self.pass_cost
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What its files recommend where a request leaves something open.
    pub fn recommended(&self) -> &GenerationOptions {
        &self.recommended
    }

    /// The rendered conversation as the model will read it, and its ids.
    ///
    /// # Errors
    /// As [`ChatModel::chat`].
    pub fn render(&self, request: &ChatRequest) -> Result<(String, Vec<u32>), ChatError> {
        let (prompt, ids) = self.prompt(request)?;
        Ok((prompt.text().into_owned(), ids))
    }

    fn prompt(&self, request: &ChatRequest) -> Result<(tokenizer::Prompt, Vec<u32>), ChatError> {
        let name = &self.info.name;
        let hint = "hint: ask for a plain completion (--raw) instead";
        let template = match &self.template {
            Template::Ready(template) => template,
            Template::Missing => {
                return Err(ChatError::InvalidRequest(format!("{name} has no chat template\n{hint}")));
            }
            Template::Broken(reason) => {
                return Err(ChatError::InvalidRequest(format!(
                    "the chat template of {name} cannot be used: {reason}\n{hint}"
                )));
            }
        };
        if request.messages.is_empty() {
            return Err(ChatError::InvalidRequest(
                "the conversation is empty, expected at least one message".to_owned(),
            ));
        }
        let mut variables = request.template_variables.clone();
        if let Some(think) = request.think {
            self.check_think(think)?;
            variables.insert("enable_thinking".to_owned(), Value::Bool(think));
        }
        if !request.tools.is_empty() && !self.info.capabilities.tools {
            return Err(ChatError::Unsupported { model: name.clone(), what: "tools" });
        }
        let messages: Vec<Value> = request.messages.iter().map(message_value).collect();
        let input =
            TemplateInput { messages: &messages, tools: &request.tools, add_generation_prompt: true, variables };
        let prompt = template
            .render(&input, &self.tokenizer)
            .map_err(|error| ChatError::InvalidRequest(format!("the chat template of {name} refuses: {error}")))?;
        if let Some(lost) = self.tokenizer.unencodable_in_prompt(&prompt) {
            return Err(unencodable(name, lost, &prompt.text()));
        }
        let ids = self.tokenizer.encode_prompt(&prompt);
        Ok((prompt, ids))
    }

    fn check_think(&self, think: bool) -> Result<(), ChatError> {
        if think && !self.template.thinks() {
            return Err(ChatError::Unsupported { model: self.info.name.clone(), what: "thinking" });
        }
        if !think && self.template.thinks() && !self.template.has_thinking_switch() {
            return Err(ChatError::Unsupported { model: self.info.name.clone(), what: "answering without thinking" });
        }
        Ok(())
    }

    /// The ids of text that is no conversation: BOS where the model wants one, never an end.
    fn plain_ids(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let ids = text_ids(&self.info.name, &self.tokenizer, text)?;
        let bos = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        Ok(bos.into_iter().chain(ids).collect())
    }

    /// Submits a sequence that answers, and returns its stream once it is taken.
    async fn answer(
        &self,
        prompt: Vec<u32>,
        options: GenerationOptions,
        thoughts: Option<ThoughtSplitter>,
    ) -> Result<ChatStream, ChatError> {
        let options = or_else(options, &self.recommended);
        let (events, stream) = mpsc::unbounded();
        let prompt_tokens = prompt.len();
        let answer =
            Answer::new(Arc::clone(&self.tokenizer), thoughts, options.stop.clone(), prompt_tokens, events.clone());
        let request = SequenceRequest {
            prompt,
            max_tokens: options.max_tokens,
            sampling: sampling(&options),
            stop_ids: self.tokenizer.stop_ids().to_vec(),
            top_logprobs: options.top_logprobs,
            prompt_scores: PromptScores::None,
            constraint: None,
        };
        // Before the sequence is submitted, so that it is the first event whatever the thread does.
        let _ = events.unbounded_send(Ok(ChatEvent::Started { prompt_tokens }));
        drop(events);
        self.submit(request, Box::new(answer)).await?;
        Ok(stream.boxed())
    }

    async fn submit(&self, request: SequenceRequest, listener: Box<dyn Listener>) -> Result<(), ChatError> {
        let (admitted, outcome) = oneshot::channel();
        let command = Command::Run { request: Box::new(request), listener, admitted };
        self.commands.send(command).map_err(|_| thread_gone())?;
        outcome.await.map_err(|_| thread_gone())?.map_err(|refused| self.refusal(refused))
    }

    /// Lends the decoder to `work`, which gets `None` while sequences are under way.
    pub(crate) fn lend(&self, work: Exclusive) -> Result<(), ChatError> {
        self.commands.send(Command::Lend(work)).map_err(|_| thread_gone())
    }

    pub(crate) fn refusal(&self, refused: Refused) -> ChatError {
        match refused {
            Refused::PromptTooLong { tokens, context } => {
                ChatError::ContextTooLong { prompt_tokens: tokens, context, maximum_context: self.info.maximum_context }
            }
            other => ChatError::InvalidRequest(other.to_string()),
        }
    }

    /// The ids that a text is scored by.
    pub(crate) fn score_ids(&self, input: ScoreInput) -> Result<Vec<u32>, ChatError> {
        match input {
            ScoreInput::Text(text) => self.plain_ids(&text),
            ScoreInput::Ids(ids) => Ok(ids),
        }
    }

    /// A sequence that is read and not answered.
    pub(crate) fn score_request(ids: Vec<u32>, prompt_scores: PromptScores) -> SequenceRequest {
        SequenceRequest {
            prompt: ids,
            max_tokens: Some(0),
            sampling: Sampling::default(),
            stop_ids: Vec::new(),
            top_logprobs: None,
            prompt_scores,
            constraint: None,
        }
    }

    /// Tokens with their texts. `logprobs` are those of all but the first, which has nothing before it.
    pub fn scored_tokens(&self, ids: &[u32], logprobs: &[f32]) -> Vec<ScoredToken> {
        let logprobs = std::iter::once(None).chain(logprobs.iter().copied().map(Some));
        let token = |(&id, logprob): (&u32, _)| ScoredToken { id, text: self.tokenizer.token_text(id), logprob };
        ids.iter().zip(logprobs).map(token).collect()
    }

    /// As [`ChatModel::score`], telling how far it is; `begin` is given the number of tokens first.
    ///
    /// # Errors
    /// As [`ChatModel::score`].
    pub async fn score_watched(
        &self,
        request: ScoreRequest,
        begin: impl FnOnce(usize) -> ScoreProgress,
    ) -> Result<ScoreResponse, ChatError> {
        let ids = self.score_ids(request.input)?;
        let (reply, outcome) = oneshot::channel();
        let sequence = Self::score_request(ids.clone(), PromptScores::Tokens);
        self.submit(sequence, Box::new(Scoring::new(begin(ids.len()), reply))).await?;
        let logprobs = outcome.await.map_err(|_| thread_gone())??;
        Ok(ScoreResponse { tokens: self.scored_tokens(&ids, &logprobs) })
    }
}

/// The ids of text without its ends.
///
/// # Errors
/// Where the vocabulary of the model has no way to write a character: left out in silence, it would be missing from
/// what the model reads.
pub(crate) fn text_ids(model: &str, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, ChatError> {
    let options = Encode { add_bos_eos: false, parse_special: false };
    match tokenizer.unencodable(text, options) {
        Some(lost) => Err(unencodable(model, lost, text)),
        None => Ok(tokenizer.encode(text, options)),
    }
}

fn unencodable(model: &str, lost: char, text: &str) -> ChatError {
    // A normaliser may have made the character; then the text itself does not hold it.
    let at = text.find(lost).map(|at| format!(" at byte {at} of the text")).unwrap_or_default();
    ChatError::InvalidRequest(format!(
        "expected text that the vocabulary of {model} can express, got the character U+{:04X}{at}\nhint: remove the character, or use another model",
        u32::from(lost)
    ))
}

/// Starts the engine's thread; it ends when the sender is dropped.
fn start(engine: Engine, decoder: Box<dyn Decoder>) -> Result<std::sync::mpsc::Sender<Command>, ChatError> {
    let (commands, received) = std::sync::mpsc::channel();
    let worker = Worker::new(engine, decoder, received);
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || worker.run());
    match thread {
        Ok(_) => Ok(commands),
        Err(error) => Err(ChatError::Unavailable(format!("cannot start the engine's thread: {error}"))),
    }
}

fn thread_gone() -> ChatError {
    ChatError::Internal("the engine's thread has ended".to_owned())
}

/// A message as templates read it.
fn message_value(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut object: Map<String, Value> = message.extra.clone();
    object.insert("role".to_owned(), json!(role));
    object.insert("content".to_owned(), json!(message.content));
    if let Some(thought) = &message.thought {
        object.insert("reasoning_content".to_owned(), json!(thought));
    }
    Value::Object(object)
}

impl ChatModel for LocalModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let (prompt, ids) = self.prompt(&request)?;
            let is_open = prompt.text().trim_end().ends_with(OPEN);
            let thoughts = self.template.thinks().then(|| ThoughtSplitter::on(is_open));
            self.answer(ids, request.options, thoughts).await
        })
    }

    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move { self.answer(self.plain_ids(&request.prompt)?, request.options, None).await })
    }

    fn score(&self, request: ScoreRequest) -> ChatFuture<'_, ScoreResponse> {
        Box::pin(self.score_watched(request, |_| Box::new(|_| {})))
    }
}
