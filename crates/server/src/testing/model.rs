//! A model that says what a test tells it, and remembers what it was asked.
//!
//! What is not scripted has simple rules: a word is a token, a vector counts vowels, relevance counts shared words.

use chat::{
    AnswerFormat, Capabilities, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ChoiceContext,
    ChooseRequest, ChooseResponse, CompletionRequest, EmbedRequest, EmbedResponse, FinishReason, ModelInfo,
    OptionScore, Prompt, PromptToken, RankRequest, RankResponse, RelevanceRequest, RelevanceResponse, ScoreRequest,
    ScoreResponse, ScoredToken, TokenLogprob, ToolWarning, Usage,
};
use futures::stream::unfold;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a scripted model answers to one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// Refuses the request at once.
    refusal: Option<ChatError>,
    /// Waits so long before it accepts or refuses.
    delay: Duration,
    /// Waits so long before each event but `Started`.
    pause: Duration,
    events: Vec<Result<ChatEvent, ChatError>>,
    /// After its events it says nothing, and does not end.
    hangs: bool,
}

impl Reply {
    /// These events, as they are.
    pub(crate) fn events(events: Vec<Result<ChatEvent, ChatError>>) -> Reply {
        Reply { events, ..Reply::default() }
    }

    /// A short answer: `Started`, these pieces, each a token, `Finished`.
    pub(crate) fn text(pieces: &[&str]) -> Reply {
        let mut events = vec![Ok(started(3))];
        events.extend(pieces.iter().map(|piece| Ok(text(piece))));
        events.push(Ok(finished(FinishReason::Stop, 3, pieces.len())));
        Reply::events(events)
    }

    /// These pieces, then an error.
    pub(crate) fn breaking(pieces: &[&str], error: ChatError) -> Reply {
        let mut reply = Reply::text(pieces);
        reply.events.pop();
        reply.events.push(Err(error));
        reply
    }

    /// These pieces, then nothing for ever.
    pub(crate) fn hanging(pieces: &[&str]) -> Reply {
        let mut reply = Reply::text(pieces);
        reply.events.pop();
        Reply { hangs: true, ..reply }
    }

    /// A refusal.
    pub(crate) fn refusing(error: ChatError) -> Reply {
        Reply { refusal: Some(error), ..Reply::default() }
    }

    /// The same, this much later.
    pub(crate) fn after(self, delay: Duration) -> Reply {
        Reply { delay, ..self }
    }

    /// The same, with a pause before each event.
    pub(crate) fn pausing(self, pause: Duration) -> Reply {
        Reply { pause, ..self }
    }
}

/// The event that a request was admitted.
pub(crate) fn started(prompt_tokens: usize) -> ChatEvent {
    ChatEvent::Started { prompt_tokens }
}

/// A piece of text that is one token.
pub(crate) fn text(piece: &str) -> ChatEvent {
    ChatEvent::Text { text: piece.to_owned(), tokens: 1, logprobs: Vec::new() }
}

/// The end.
pub(crate) fn finished(reason: FinishReason, prompt_tokens: usize, completion_tokens: usize) -> ChatEvent {
    ChatEvent::Finished { reason, usage: Usage { prompt_tokens, completion_tokens, ..Usage::default() } }
}

/// A token with its log-probability and the likeliest in its place.
pub(crate) fn logprob(piece: &str, logprob: f32, top: &[(&str, f32)]) -> TokenLogprob {
    let one = |piece: &str, logprob| TokenLogprob {
        id: piece.len() as u32,
        text: piece.to_owned(),
        bytes: piece.as_bytes().to_vec(),
        logprob,
        top: Vec::new(),
    };
    let top = top.iter().map(|(piece, logprob)| one(piece, *logprob)).collect();
    TokenLogprob { top, ..one(piece, logprob) }
}

/// A request that a scripted model got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    Chat(ChatRequest),
    Count(ChatRequest),
    Complete(CompletionRequest),
    Score(ScoreRequest),
    Rank(RankRequest),
    Embed(EmbedRequest),
    Relevance(RelevanceRequest),
    Choose(ChooseRequest),
}

/// A model that says what a test tells it.
pub(crate) struct ScriptedModel {
    pub(crate) info: ModelInfo,
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    streams: Arc<Streams>,
}

/// What became of streams.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    /// Dropped before their last event was taken.
    left: AtomicUsize,
}

/// Counts a stream until it is dropped.
struct Open {
    streams: Arc<Streams>,
    is_over: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::AcqRel);
        if !self.is_over {
            self.streams.left.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl ScriptedModel {
    /// A model that can do everything but judge relevance.
    pub(crate) fn named(name: &str) -> ScriptedModel {
        let all = Capabilities {
            template: true,
            complete: true,
            score: true,
            think: true,
            tools: true,
            insert: true,
            embed: true,
            relevance: false,
            choose: false,
        };
        ScriptedModel::able(name, all)
    }

    /// A model that can do this.
    pub(crate) fn able(name: &str, capabilities: Capabilities) -> ScriptedModel {
        let info = ModelInfo {
            name: name.to_owned(),
            family: "scripted".to_owned(),
            parameters: 1000,
            weight_bytes: 4000,
            quantization: "f32".to_owned(),
            context: 1024,
            maximum_context: 2048,
            vocabulary: 256,
            capabilities,
        };
        ScriptedModel { info, replies: Mutex::default(), asked: Mutex::default(), streams: Arc::default() }
    }

    /// What it answers to the next request that has no reply yet. Without any, it answers `Hello world` and the rules.
    pub(crate) fn will(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Streams that are neither at their end nor dropped.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.open.load(Ordering::Acquire)
    }

    /// Streams that were dropped before their end.
    pub(crate) fn left_streams(&self) -> usize {
        self.streams.left.load(Ordering::Acquire)
    }

    fn take(&self, asked: Asked) -> Option<Reply> {
        // Held, so that of requests that come at once the first that was asked gets the first reply.
        let mut all = self.asked.lock().unwrap();
        all.push(asked);
        self.replies.lock().unwrap().pop_front()
    }

    fn stream(&self, asked: Asked) -> ChatFuture<'_, ChatStream> {
        let reply = self.take(asked).unwrap_or_else(|| Reply::text(&["Hello", " world"]));
        Box::pin(async move {
            tokio::time::sleep(reply.delay).await;
            if let Some(refusal) = reply.refusal {
                return Err(refusal);
            }
            self.streams.open.fetch_add(1, Ordering::AcqRel);
            let open = Open { streams: Arc::clone(&self.streams), is_over: false };
            let events = VecDeque::from(reply.events);
            let stream = unfold((events, open), move |(mut events, mut open)| async move {
                let Some(event) = events.pop_front() else {
                    if reply.hangs {
                        std::future::pending::<()>().await;
                    }
                    return None;
                };
                if !matches!(event, Ok(ChatEvent::Started { .. })) {
                    tokio::time::sleep(reply.pause).await;
                }
                open.is_over = events.is_empty() && !reply.hangs;
                Some((event, (events, open)))
            });
            Ok(Box::pin(stream) as ChatStream)
        })
    }

    /// An answer by the rules, unless the script refuses or delays it.
    fn by_rule<T: Send + 'static>(&self, asked: Asked, answer: T) -> ChatFuture<'_, T> {
        let reply = self.take(asked).unwrap_or_default();
        Box::pin(async move {
            tokio::time::sleep(reply.delay).await;
            reply.refusal.map_or(Ok(answer), Err)
        })
    }
}

/// What a prompt says; ids are bytes.
fn said(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Ids(ids) => ids.iter().map(|id| char::from_u32(*id).unwrap_or('?')).collect(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// Counts of a, e, i and o, as a vector of length 1.
fn vowels(text: &str) -> Vec<f32> {
    let count = |vowel: char| text.chars().filter(|letter| *letter == vowel).count() as f32;
    let mut vector: Vec<f32> = ['a', 'e', 'i', 'o'].into_iter().map(count).collect();
    let length = vector.iter().map(|one| one * one).sum::<f32>().sqrt().max(1.0);
    vector.iter_mut().for_each(|one| *one /= length);
    vector
}

/// A word is a token, its log-probability minus its length.
fn scored(text: &str) -> Vec<ScoredToken> {
    let one = |word: &str| ScoredToken {
        id: word.len() as u32,
        text: word.to_owned(),
        logprob: Some(-(word.trim().chars().count() as f32)),
    };
    text.split_inclusive(' ').map(one).collect()
}

/// The tokens of a prompt, the first without a log-probability.
pub(super) fn prompt_tokens(prompt: &Prompt, top: usize) -> Vec<PromptToken> {
    let one = |(index, token): (usize, ScoredToken)| {
        let logprob = token.logprob.filter(|_| index > 0);
        let most = logprob.map(|logprob| {
            let all = [super::logprob(&token.text, logprob, &[]), super::logprob("other", logprob - 1.0, &[])];
            all.into_iter().take(top).collect()
        });
        PromptToken { id: token.id, text: token.text, logprob, top: most.unwrap_or_default() }
    };
    scored(&said(prompt)).into_iter().enumerate().map(one).collect()
}

impl ChatModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        self.stream(Asked::Chat(request))
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, usize> {
        let count = request.messages.iter().map(|message| words(&message.content).len()).sum();
        self.by_rule(Asked::Count(request.clone()), count)
    }

    /// With `prompt_logprobs` and no script: the prompt's tokens, then as many tokens ` x` as are asked for.
    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        let is_scripted = !self.replies.lock().unwrap().is_empty();
        if let (Some(top), false) = (request.prompt_logprobs, is_scripted) {
            let tokens = prompt_tokens(&request.prompt, top);
            let (read, most) = (tokens.len(), request.options.max_tokens.unwrap_or(1));
            let mut events = vec![Ok(started(read)), Ok(ChatEvent::Prompt { tokens })];
            let piece = || ChatEvent::Text {
                text: " x".to_owned(),
                tokens: 1,
                logprobs: request.options.top_logprobs.map(|_| logprob(" x", -0.5, &[])).into_iter().collect(),
            };
            events.extend((0..most).map(|_| Ok(piece())));
            events.push(Ok(finished(FinishReason::Length, read, most)));
            self.will(Reply::events(events));
        }
        self.stream(Asked::Complete(request))
    }

    /// Knows every format but regular expressions; a schema with `x-warn` has something without effect.
    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        let outcome = match format {
            AnswerFormat::Regex(_) => Err(ChatError::InvalidRequest("regex: unclosed group".to_owned())),
            AnswerFormat::JsonSchema(schema) if schema.get("not").is_some() => {
                Err(ChatError::InvalidRequest("#/not: cannot be held to".to_owned()))
            }
            AnswerFormat::JsonSchema(schema) if schema.get("x-warn").is_some() => {
                Ok(vec!["#/x-warn: the keyword has no effect".to_owned()])
            }
            _ => Ok(Vec::new()),
        };
        Box::pin(std::future::ready(outcome))
    }

    /// Refuses a schema with `not`; one with `x-warn` has something without effect. Only strict tools are held.
    fn prepare_tools<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, Vec<ToolWarning>> {
        let mut warnings = Vec::new();
        for (tool, given) in request.tools.iter().enumerate().filter(|(_, tool)| tool.strict) {
            let has = |key: &str| given.definition["function"]["parameters"].get(key).is_some();
            if has("not") {
                let reason = "#/not: cannot be held to".to_owned();
                return Box::pin(std::future::ready(Err(ChatError::ToolSchema { tool, reason })));
            }
            if has("x-warn") {
                warnings.push(ToolWarning { tool, text: "#/x-warn: the keyword has no effect".to_owned() });
            }
        }
        Box::pin(std::future::ready(Ok(warnings)))
    }

    fn score(&self, request: ScoreRequest) -> ChatFuture<'_, ScoreResponse> {
        let mut tokens = scored(&said(&request.input));
        if let Some(first) = tokens.first_mut() {
            first.logprob = None;
        }
        self.by_rule(Asked::Score(request), ScoreResponse { tokens })
    }

    fn rank(&self, request: RankRequest) -> ChatFuture<'_, RankResponse> {
        let continuations = request.continuations.iter().map(|text| scored(text)).collect();
        let prompt_tokens = scored(&said(&request.prompt)).len();
        self.by_rule(Asked::Rank(request), RankResponse { continuations, prompt_tokens })
    }

    fn embed(&self, request: EmbedRequest) -> ChatFuture<'_, EmbedResponse> {
        let texts: Vec<String> = request.inputs.iter().map(said).collect();
        let keep = request.dimensions.unwrap_or(4).min(4);
        let answer = EmbedResponse {
            vectors: texts.iter().map(|text| vowels(text)[..keep].to_vec()).collect(),
            prompt_tokens: texts.iter().map(|text| words(text).len()).sum(),
            truncated: Vec::new(),
        };
        self.by_rule(Asked::Embed(request), answer)
    }

    /// The first option is the best by far.
    fn choose(&self, request: ChooseRequest) -> ChatFuture<'_, ChooseResponse> {
        let prompt_tokens = match &request.context {
            ChoiceContext::Chat(chat) => chat.messages.iter().map(|message| words(&message.content).len()).sum(),
            ChoiceContext::Plain(prompt) => scored(&said(prompt)).len(),
        };
        let score = |option| OptionScore { option, logprob: -9.0 * option as f64 };
        let scores = (0..request.options.len()).map(score).collect();
        let answer = ChooseResponse { scores, prompt_tokens, ..ChooseResponse::default() };
        self.by_rule(Asked::Choose(request), answer)
    }

    fn relevance(&self, request: RelevanceRequest) -> ChatFuture<'_, RelevanceResponse> {
        let query = words(&request.query);
        let shared = |text: &String| words(text).iter().filter(|word| query.contains(word)).count() as f32;
        let answer = RelevanceResponse {
            scores: request.documents.iter().map(shared).collect(),
            prompt_tokens: request.documents.iter().map(|text| query.len() + words(text).len()).sum(),
            truncated: Vec::new(),
        };
        self.by_rule(Asked::Relevance(request), answer)
    }
}
