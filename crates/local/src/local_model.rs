//! A model of this machine that answers: text to ids on the way in, and the engine's thread behind it.
//!
//! Read next: `loading` for where the parts come from, `worker` for the thread, `answer` for the way back.

use crate::adapters::{Adaptations, InUse};
use crate::answer::{Answer, Filters};
use crate::choose::Tries;
use crate::format::{Grammars, Held, Wanted};
use crate::generation::{or_else, random_seed, sampling};
use crate::insert::InsertTokens;
use crate::loading::{ModelSource, Parts, Template};
use crate::memory::{MemoryPlan, STEP_LOGIT_ROWS};
use crate::opening::Opening;
use crate::options::LoadOptions;
use crate::prepared::{self, Prepared};
use crate::prompt_report::PromptReport;
use crate::requests::{Counted, Requests};
use crate::scoring::{ScoreProgress, Scoring};
use crate::script::{Beginning, Script};
use crate::thought::{CLOSE, OPEN, ThoughtSplitter};
use crate::tools::{CallParser, Calls, Extent, Format, HeldCalls, calls_of, names_of};
use crate::watched::Watched;
use crate::worker::{Command, Decoder, Exclusive, Listener, ModelDecoder, SharedActivity, Worker};
use chat::{
    Activity, AnswerFormat, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ChooseRequest,
    ChooseResponse, CompletionRequest, GenerationOptions, Message, ModelInfo, Prompt, RankRequest, RankResponse, Role,
    ScoreRequest, ScoreResponse, ScoredToken, ToolCall, ToolChoice, ToolWarning,
};
use engine::{Constraint, Engine, EngineConfig, PromptScores, Refused, Sampling, SequenceRequest};
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use grammar::Grammar;
use kernels::{KvArena, PAGE_LEN, Runtime};
use model::{AdapterId, Adapters, DecoderSpec, PassCost, Workspace};
use serde_json::{Map, Value, json};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokenizer::{Encode, Prompt as TemplatePrompt, TemplateInput, Tokenizer};

/// Decides whether a model may take its memory: given the plan, and a check of it against what is free.
pub(crate) type Admit<'a> = dyn FnMut(&MemoryPlan, &dyn Fn() -> Result<(), ChatError>) -> Result<(), ChatError> + 'a;

/// A loaded model. Dropping it and all views on it ends its thread and frees its memory once the last answer has ended.
pub struct LocalModel {
    pub(crate) info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    grammars: Arc<Grammars>,
    pub(crate) tries: Arc<Tries>,
    template: Arc<Template>,
    /// What [`Template::tool_format`] found, once.
    tool_format: Option<&'static Format>,
    insert: Option<InsertTokens>,
    recommended: GenerationOptions,
    notes: Vec<String>,
    memory: MemoryPlan,
    config: EngineConfig,
    runtime: Arc<Runtime>,
    pass_cost: PassCost,
    prepared: Prepared,
    load_time: Duration,
    activity: SharedActivity,
    opening: Opening,
    /// There as long as the engine's thread holds memory.
    taken: Weak<()>,
    pub(crate) adaptations: Arc<Adaptations>,
    /// The adapter that all its requests go through.
    pub(crate) adapter: Option<Arc<InUse>>,
    /// The requests of this view alone; none for the model itself, whose thread counts them all.
    requests: Option<Arc<Requests>>,
    pub(crate) commands: std::sync::mpsc::Sender<Command>,
}

impl LocalModel {
    /// Loads a model and starts its thread. Whether it fits into memory is told before memory is taken.
    ///
    /// # Errors
    /// [`ChatError::Unloadable`] for a file that cannot be used or does not fit, [`ChatError::InvalidRequest`] for a
    /// context that the model was not made for.
    pub fn load(source: &ModelSource, options: &LoadOptions, runtime: Arc<Runtime>) -> Result<LocalModel, ChatError> {
        LocalModel::load_when(source, options, runtime, &mut |_, check| check())
    }

    /// The same, where `admit` has the last word before memory is taken: it is told what the model will take, and how to
    /// check that so much is free.
    ///
    /// # Errors
    /// As [`LocalModel::load`], and what `admit` says.
    pub(crate) fn load_when(
        source: &ModelSource,
        options: &LoadOptions,
        runtime: Arc<Runtime>,
        admit: &mut Admit<'_>,
    ) -> Result<LocalModel, ChatError> {
        let began = Instant::now();
        let mut parts = Parts::open(source, options)?;
        let tokenizer = parts.tokenizer?;
        let context = parts.info.context;
        let page_bytes = parts.model.kv_bytes_per_position(options.kv_element).saturating_mul(PAGE_LEN as u64);
        let pages = options.kv_pages(context, page_bytes);
        let kv_shape = parts.model.kv_shape(pages, options.kv_element);
        let memory = MemoryPlan::of(parts.model.spec(), parts.model.weight_bytes(), &kv_shape);
        let advice = match (options.kv_memory, options.context) {
            (Some(_), _) => "less memory for keys and values (--kv-memory)".to_owned(),
            (None, Some(context)) => format!("a smaller --context than {context}"),
            (None, None) => "a smaller --context".to_owned(),
        };
        admit(&memory, &|| memory.check(&source.name, options, &advice))?;
        let refuse = |error| ChatError::Unloadable(format!("cannot load {}: {error}", source.name));
        let arena = KvArena::new(kv_shape).map_err(refuse)?;
        let prepared = prepared::arrange(&mut parts.model, source.prepared.as_deref(), &runtime).map_err(refuse)?;
        let config = engine_config(&parts.info, parts.model.spec(), options, pages);
        let pass_cost = parts.model.pass_cost(options.kv_element);
        let adaptations = Arc::new(Adaptations::new(parts.model.spec().clone()));
        let model = Arc::new(parts.model);
        let tokenizer = Arc::new(tokenizer);
        let alive = Arc::new(());
        let taken = Arc::downgrade(&alive);
        let (workspace, adapters) = (Workspace::default(), Adapters::default());
        let engine = Engine::new(config.clone(), Arc::clone(&runtime));
        let decoder = ModelDecoder { model, runtime: Arc::clone(&runtime), arena, workspace, adapters, alive };
        let activity = SharedActivity::default();
        let commands = start(engine, Box::new(decoder), Arc::clone(&activity))?;
        Ok(LocalModel {
            info: parts.info,
            grammars: Arc::new(Grammars::new(Arc::clone(&tokenizer))),
            tries: Arc::default(),
            tokenizer,
            tool_format: parts.template.tool_format(),
            template: Arc::new(parts.template),
            insert: parts.insert,
            recommended: parts.recommended,
            notes: parts.notes,
            memory,
            config,
            runtime,
            pass_cost,
            prepared,
            load_time: began.elapsed(),
            activity,
            opening: source.opening.clone(),
            taken,
            adaptations,
            adapter: None,
            requests: None,
            commands,
        })
    }

    /// The same with something else that computes.
    #[cfg(test)]
    pub(crate) fn computed_by(mut self, decoder: Box<dyn Decoder>) -> LocalModel {
        self.commands =
            start(Engine::new(self.config.clone(), Arc::clone(&self.runtime)), decoder, Arc::clone(&self.activity))
                .unwrap();
        self
    }

    /// Another handle on it, with requests of its own.
    pub(crate) fn view(&self) -> LocalModel {
        LocalModel {
            info: self.info.clone(),
            tokenizer: Arc::clone(&self.tokenizer),
            grammars: Arc::clone(&self.grammars),
            tries: Arc::clone(&self.tries),
            template: Arc::clone(&self.template),
            tool_format: self.tool_format,
            insert: self.insert.clone(),
            recommended: self.recommended.clone(),
            notes: self.notes.clone(),
            memory: self.memory,
            config: self.config.clone(),
            runtime: Arc::clone(&self.runtime),
            pass_cost: self.pass_cost.clone(),
            prepared: self.prepared,
            load_time: self.load_time,
            activity: Arc::clone(&self.activity),
            opening: self.opening.clone(),
            taken: Weak::clone(&self.taken),
            adaptations: Arc::clone(&self.adaptations),
            adapter: self.adapter.clone(),
            requests: Some(Arc::default()),
            commands: self.commands.clone(),
        }
    }

    /// The adapter that all its requests go through.
    pub(crate) fn adapter_id(&self) -> Option<AdapterId> {
        self.adapter.as_ref().map(|adapter| adapter.id())
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

    /// An engine beside its own, for the one who borrows its memory.
    pub(crate) fn engine_beside(&self) -> Engine {
        Engine::new(self.config.clone(), Arc::clone(&self.runtime))
    }

    /// What passes through it cost.
    pub(crate) fn pass_cost(&self) -> &PassCost {
        &self.pass_cost
    }

    /// Tells, also once the model was dropped, whether its memory is taken: the last answer may go on for a while.
    pub(crate) fn is_taken(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let taken = self.taken.clone();
        move || taken.strong_count() > 0
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
        let turn = self.turn(request)?;
        Ok((turn.prompt.text().into_owned(), turn.ids))
    }

    /// A request as the model reads it, and how its answer is to be read.
    fn turn(&self, request: &ChatRequest) -> Result<Turn, ChatError> {
        let names = self.tools_of(request)?;
        if names.is_some() && request.format.is_some() {
            return Err(ChatError::InvalidRequest(
                "expected a format or tools, got both: an answer is held to the one or calls the others".to_owned(),
            ));
        }
        let prompt = self.prompt(request, names.is_some())?;
        let text = prompt.text();
        if let Some(lost) = names.iter().flatten().find(|name| !text.contains(name.as_str())) {
            return Err(ChatError::InvalidRequest(format!(
                "the chat template of {} leaves out the tool {lost:?}\nhint: the template takes tools in another way; use another model",
                self.info.name
            )));
        }
        let mut beginning = self.beginning(&prompt, request.think);
        let ids = self.tokenizer.encode_prompt(&prompt);
        let seed = request.options.seed.or(self.recommended.seed).unwrap_or_else(random_seed);
        let calls = names.zip(self.tool_format).map(|(names, format)| calls_of(format, names, request, seed, &ids));
        let (calls, held) = calls.map_or((None, None), |Calls { parser, held }| (Some(parser), held));
        let wanted = request.format.clone().map(Wanted::Format).or(held.map(Wanted::Calls));
        let is_held = wanted.as_ref().is_some_and(|wanted| !may_say_anything(wanted));
        if is_held && beginning == Beginning::MayThink && self.tokenizer.id_of(OPEN).is_none() {
            // Nothing could be masked until the mark is whole.
            beginning = Beginning::Answer;
        }
        Ok(Turn { prompt, ids, beginning, calls, wanted })
    }

    /// The ids of a conversation up to where its answer begins, without tools; a thought comes first only where the template
    /// leaves no other way.
    pub(crate) fn ids_without_thought(&self, request: &ChatRequest) -> Result<Vec<u32>, ChatError> {
        let can_leave_it = self.template.thinks() && self.template.has_thinking_switch();
        let think = request.think.or(can_leave_it.then_some(false));
        let prompt = self.prompt(&ChatRequest { think, ..request.clone() }, false)?;
        let prompt = match self.beginning(&prompt, think) {
            // The prompt opened a thought: it stays empty.
            Beginning::Thinking => prompt.followed_by(&format!("{CLOSE}\n\n")),
            Beginning::Answer | Beginning::MayThink => prompt,
        };
        Ok(self.tokenizer.encode_prompt(&prompt))
    }

    /// The names of the tools that the prompt is to hold; none where there are none or none may be called.
    fn tools_of(&self, request: &ChatRequest) -> Result<Option<Vec<String>>, ChatError> {
        let names = names_of(request)?;
        if names.is_empty() || request.tool_choice == ToolChoice::None {
            return Ok(None);
        }
        let what = match (self.tool_format, self.template.takes_tools()) {
            (Some(_), _) => return Ok(Some(names)),
            (None, true) => "tools: the format in which its chat template has them called is not known here",
            (None, false) => "tools",
        };
        Err(ChatError::Unsupported { model: self.info.name.clone(), what })
    }

    /// Whether the answer to a prompt begins with a thought.
    fn beginning(&self, prompt: &TemplatePrompt, think: Option<bool>) -> Beginning {
        let text = prompt.text();
        match text.trim_end() {
            _ if !self.template.thinks() => Beginning::Answer,
            text if text.ends_with(OPEN) => Beginning::Thinking,
            text if think == Some(false) || text.ends_with(CLOSE) => Beginning::Answer,
            _ => Beginning::MayThink,
        }
    }

    fn prompt(&self, request: &ChatRequest, with_tools: bool) -> Result<TemplatePrompt, ChatError> {
        let name = &self.info.name;
        let hint = "hint: ask for a plain completion instead (--raw, /v1/completions)";
        let template = match &*self.template {
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
        if request.thought_tokens.is_some() && !self.template.thinks() {
            return Err(ChatError::Unsupported { model: name.clone(), what: "thinking" });
        }
        let conversation = self.opening.before(&request.messages);
        let messages: Vec<Value> =
            conversation.iter().map(|message| message_value(message, self.tool_format)).collect();
        let tools = request.tools.iter().filter(|_| with_tools);
        let tools: Vec<Value> = tools.map(|tool| tool.definition.clone()).collect();
        let input = TemplateInput { messages: &messages, tools: &tools, add_generation_prompt: true, variables };
        let prompt = template
            .render(&input, &self.tokenizer)
            .map_err(|error| ChatError::InvalidRequest(format!("the chat template of {name} refuses: {error}")))?;
        if let Some(lost) = self.tokenizer.unencodable_in_prompt(&prompt) {
            return Err(unencodable(name, lost, &prompt.text()));
        }
        Ok(prompt)
    }

    /// The constraint that holds an answer to what is wanted.
    async fn hold(
        &self,
        wanted: &Wanted,
        beginning: Beginning,
        thought_tokens: Option<usize>,
        max_tokens: Option<usize>,
    ) -> Result<Box<dyn Constraint>, ChatError> {
        let grammar = self.grammars.of(wanted).await?;
        let script = Script::until_answer(&self.tokenizer, beginning, thought_tokens);
        if let Wanted::Calls(calls) = wanted
            && may_say_anything(wanted)
        {
            return Ok(Box::new(Watched {
                tokenizer: Arc::clone(&self.tokenizer),
                script,
                watch: calls.watch(),
                borders: self.grammars.borders(calls.format()),
                grammar,
                call: None,
            }));
        }
        check_limit(&grammar, max_tokens)?;
        let ends = self.tokenizer.stop_ids().to_vec();
        Ok(Box::new(Held::new(script, self.tokenizer.id_of(OPEN), &grammar, ends)))
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
    pub(crate) fn plain_ids(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let ids = text_ids(&self.info.name, &self.tokenizer, text)?;
        let bos = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        Ok(bos.into_iter().chain(ids).collect())
    }

    /// Submits a sequence that answers, and returns its stream once it is taken.
    async fn answer(
        &self,
        prompt: Vec<u32>,
        options: GenerationOptions,
        way: Way<'_>,
    ) -> Result<ChatStream, ChatError> {
        let mut options = or_else(options, &self.recommended);
        if way.is_held {
            // What the model's files recommend; a request that has some is refused.
            options.stop.clear();
        }
        let (events, stream) = mpsc::unbounded();
        let prompt_tokens = prompt.len();
        let filters = Filters { stops: options.stop.clone(), ..way.filters };
        let report = way.prompt_logprobs.map(|_| PromptReport::new(Arc::clone(&self.tokenizer), prompt.clone()));
        let answer = Answer::new(Arc::clone(&self.tokenizer), filters, prompt_tokens, events.clone()).reporting(report);
        let request = SequenceRequest {
            prompt,
            max_tokens: options.max_tokens,
            sampling: sampling(&options),
            stop_ids: [self.tokenizer.stop_ids(), way.stop_ids].concat(),
            top_logprobs: options.top_logprobs,
            prompt_scores: match way.prompt_logprobs {
                Some(top) => PromptScores::Tokens { from: 1, top },
                None => PromptScores::None,
            },
            constraint: way.constraint,
            walk: None,
            adapter: None,
        };
        // Before the sequence is submitted, so that it is the first event whatever the thread does.
        let _ = events.unbounded_send(Ok(ChatEvent::Started { prompt_tokens }));
        drop(events);
        self.submit(request, Box::new(answer)).await?;
        Ok(stream.boxed())
    }

    pub(crate) async fn submit(&self, request: SequenceRequest, listener: Box<dyn Listener>) -> Result<(), ChatError> {
        let request = SequenceRequest { adapter: self.adapter_id(), ..request };
        let (admitted, outcome) = oneshot::channel();
        let counted = self.requests.as_ref().map(Counted::new);
        let command = Command::Run { request: Box::new(request), listener, admitted, counted };
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
            Refused::QueueFull { .. } => ChatError::Overloaded(refused.to_string()),
            Refused::BadSampling { field, value, expected } => ChatError::BadOption { field, value, expected },
            other => ChatError::InvalidRequest(other.to_string()),
        }
    }

    /// The ids of a prompt without a template.
    pub(crate) fn prompt_ids(&self, input: Prompt) -> Result<Vec<u32>, ChatError> {
        match input {
            Prompt::Text(text) => self.plain_ids(&text),
            Prompt::Ids(ids) => Ok(ids),
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
            walk: None,
            adapter: None,
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
        let ids = self.prompt_ids(request.input)?;
        let (reply, outcome) = oneshot::channel();
        let sequence = Self::score_request(ids.clone(), PromptScores::Tokens { from: 1, top: 0 });
        self.submit(sequence, Box::new(Scoring::new(begin(ids.len()), reply))).await?;
        let logprobs = outcome.await.map_err(|_| thread_gone())??;
        Ok(ScoreResponse { tokens: self.scored_tokens(&ids, &logprobs) })
    }
}

/// What the engine of a model is made for, with so many pages of KV memory.
fn engine_config(info: &ModelInfo, spec: &DecoderSpec, options: &LoadOptions, pages: usize) -> EngineConfig {
    EngineConfig {
        pages,
        page_len: PAGE_LEN,
        context: info.context,
        vocabulary: info.vocabulary,
        // One row of logits each: every running sequence can have its token in every step.
        max_sequences: STEP_LOGIT_ROWS,
        max_waiting: options.max_waiting,
        logit_rows: STEP_LOGIT_ROWS,
        long_rope_after: spec.long_rope_after(),
        speculate: options.speculate,
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
fn start(
    engine: Engine,
    decoder: Box<dyn Decoder>,
    activity: SharedActivity,
) -> Result<std::sync::mpsc::Sender<Command>, ChatError> {
    let (commands, received) = std::sync::mpsc::channel();
    let worker = Worker::new(engine, decoder, received, activity);
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || worker.run());
    match thread {
        Ok(_) => Ok(commands),
        Err(error) => Err(ChatError::Unavailable(format!("cannot start the engine's thread: {error}"))),
    }
}

pub(crate) fn thread_gone() -> ChatError {
    ChatError::Internal("the engine's thread has ended".to_owned())
}

/// A conversation that is ready to be answered.
struct Turn {
    prompt: TemplatePrompt,
    ids: Vec<u32>,
    beginning: Beginning,
    calls: Option<CallParser>,
    /// What it is held to; none where it is free.
    wanted: Option<Wanted>,
}

/// Whether an answer is free outside of its calls.
fn may_say_anything(wanted: &Wanted) -> bool {
    matches!(wanted, Wanted::Calls(calls) if calls.extent() == Extent::Opened)
}

/// Refuses a limit that no answer can keep that is what was asked for.
fn check_limit(grammar: &Grammar, max_tokens: Option<usize>) -> Result<(), ChatError> {
    let Some(limit) = max_tokens else { return Ok(()) };
    // A grammar that gives up here will do so when it is followed, and is told of then.
    match grammar.least_tokens() {
        Ok(least) if least > limit => Err(ChatError::InvalidRequest(format!(
            "at most {limit} tokens are allowed, what the answer must be takes {least} at least\n\
             hint: allow more (max_tokens, --max-tokens)"
        ))),
        _ => Ok(()),
    }
}

/// Refuses texts that would end an answer before its format does.
fn check_no_stop(options: &GenerationOptions) -> Result<(), ChatError> {
    if options.stop.is_empty() {
        return Ok(());
    }
    Err(ChatError::InvalidRequest("stop: expected none beside a format, which says where the answer ends".to_owned()))
}

/// How an answer is made and read.
#[derive(Default)]
struct Way<'a> {
    filters: Filters,
    constraint: Option<Box<dyn Constraint>>,
    /// Whether it is held to a format, which says where it ends.
    is_held: bool,
    /// Tokens that end it, beside the model's own.
    stop_ids: &'a [u32],
    /// Report the prompt, with so many alternatives for each of its tokens.
    prompt_logprobs: Option<usize>,
}

/// A message as templates read it.
fn message_value(message: &Message, tool_format: Option<&Format>) -> Value {
    let id = |id: &str| tool_format.map_or_else(|| id.to_owned(), |format| format.id_for_template(id));
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
    if !message.tool_calls.is_empty() {
        object.insert(
            "tool_calls".to_owned(),
            message.tool_calls.iter().map(|call| tool_call_value(call, &id(&call.id))).collect(),
        );
    }
    if let Some(result_of) = &message.tool_call_id {
        object.insert("tool_call_id".to_owned(), json!(id(result_of)));
    }
    Value::Object(object)
}

/// A call as templates read it: the arguments as an object, not as text.
fn tool_call_value(call: &ToolCall, id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

impl ChatModel for LocalModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let Turn { ids, beginning, calls, wanted, .. } = self.turn(&request)?;
            if request.format.is_some() {
                check_no_stop(&request.options)?;
            }
            let thought_tokens = request.thought_tokens;
            let constraint: Option<Box<dyn Constraint>> = match &wanted {
                Some(wanted) => Some(self.hold(wanted, beginning, thought_tokens, request.options.max_tokens).await?),
                None => Script::new(&self.tokenizer, beginning, thought_tokens)
                    .map(|script| -> Box<dyn Constraint> { Box::new(script) }),
            };
            let thinks = self.template.thinks();
            let thoughts = thinks.then(|| ThoughtSplitter::on(beginning == Beginning::Thinking));
            let filters = Filters { thoughts, calls, ..Filters::default() };
            self.answer(
                ids,
                request.options,
                Way { filters, constraint, is_held: request.format.is_some(), ..Way::default() },
            )
            .await
        })
    }

    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let ids = self.prompt_ids(request.prompt)?;
            let way = Way { prompt_logprobs: request.prompt_logprobs, ..Way::default() };
            let way = match &request.format {
                Some(_) if request.suffix.is_some() => {
                    let text = "expected a format or a suffix, got both: what fills in is not held to a format";
                    return Err(ChatError::InvalidRequest(text.to_owned()));
                }
                Some(format) => {
                    check_no_stop(&request.options)?;
                    let wanted = Wanted::Format(format.clone());
                    let constraint =
                        Some(self.hold(&wanted, Beginning::Answer, None, request.options.max_tokens).await?);
                    Way { constraint, is_held: true, ..way }
                }
                None => way,
            };
            let Some(suffix) = request.suffix else {
                return self.answer(ids, request.options, way).await;
            };
            let what = "a suffix (fill in the middle)";
            let insert = self.insert.as_ref();
            let insert = insert.ok_or_else(|| ChatError::Unsupported { model: self.info.name.clone(), what })?;
            let suffix = text_ids(&self.info.name, &self.tokenizer, &suffix)?;
            let ids = insert.prompt(self.tokenizer.bos(), &ids, &suffix);
            self.answer(ids, request.options, Way { stop_ids: &insert.stop_ids, ..way }).await
        })
    }

    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        Box::pin(async move {
            let grammar = self.grammars.of(&Wanted::Format(format.clone())).await?;
            Ok(grammar.warnings().to_vec())
        })
    }

    fn prepare_tools<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, Vec<ToolWarning>> {
        Box::pin(async move {
            let names = self.tools_of(request)?;
            let held = names.and(self.tool_format).and_then(|format| HeldCalls::of(format, request));
            let Some(held) = held else { return Ok(Vec::new()) };
            let grammar = self.grammars.of(&Wanted::Calls(held)).await?;
            let warning = |(tool, text): &(usize, String)| ToolWarning { tool: *tool, text: text.clone() };
            Ok(grammar.object_warnings().iter().map(warning).collect())
        })
    }

    fn choose(&self, request: ChooseRequest) -> ChatFuture<'_, ChooseResponse> {
        Box::pin(self.choose_option(request))
    }

    fn rank(&self, request: RankRequest) -> ChatFuture<'_, RankResponse> {
        Box::pin(self.rank_continuations(request))
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, usize> {
        Box::pin(async move { Ok(self.turn(request)?.ids.len()) })
    }

    fn activity(&self) -> Activity {
        match &self.requests {
            Some(requests) => requests.activity(),
            None => *self.activity.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn score(&self, request: ScoreRequest) -> ChatFuture<'_, ScoreResponse> {
        Box::pin(self.score_watched(request, |_| Box::new(|_| {})))
    }
}
