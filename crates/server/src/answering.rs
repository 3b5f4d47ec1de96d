//! An answer on its way: a model's events, watched by the request's deadline, the counters and the limits of its key.
//!
//! Dropping it drops the model's stream, so that a client who has gone costs nothing from the next step on. Read next:
//! `stream`, which sends events as they come; `Whole`, for those who want all at once.

use crate::admit::Context;
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use crate::metrics::Meter;
use crate::served::Spent;
use chat::{
    ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, CompletionRequest, FinishReason, PromptToken,
    TokenLogprob, Usage,
};
use futures::executor::block_on;
use futures::stream::unfold;
use futures::{Stream, StreamExt};
use std::sync::Arc;
use std::time::Instant;
use tasks::{Input, Outcome, Work};

/// An answer on its way.
pub(crate) struct Answering {
    events: ChatStream,
    context: Context,
    app: Arc<App>,
    meter: Meter,
    prompt_tokens: usize,
    /// Tokens generated so far.
    generated: usize,
    /// The tokens of the prompt were asked for and have not come.
    lacks_prompt: bool,
    is_finished: bool,
}

impl Answering {
    /// Asks a model to answer a conversation.
    pub(crate) async fn chat(
        app: &Arc<App>,
        context: &Context,
        model: &Arc<dyn ChatModel>,
        request: ChatRequest,
    ) -> Result<Answering, Failure> {
        context.record.note_chat(&request);
        let max_tokens = request.options.max_tokens;
        let asking = Arc::clone(model);
        let asked = beside(move || block_on(asking.chat(request)));
        Answering::begin(app, context, model, max_tokens, false, asked).await
    }

    /// Asks a model to go on from text.
    pub(crate) async fn complete(
        app: &Arc<App>,
        context: &Context,
        model: &Arc<dyn ChatModel>,
        request: CompletionRequest,
    ) -> Result<Answering, Failure> {
        context.record.note_completion(&request);
        let (max_tokens, lacks_prompt) = (request.options.max_tokens, request.prompt_logprobs.is_some());
        let asking = Arc::clone(model);
        let asked = beside(move || block_on(asking.complete(request)));
        Answering::begin(app, context, model, max_tokens, lacks_prompt, asked).await
    }

    async fn begin(
        app: &Arc<App>,
        context: &Context,
        model: &Arc<dyn ChatModel>,
        max_tokens: Option<usize>,
        lacks_prompt: bool,
        asked: impl Future<Output = Result<ChatStream, ChatError>>,
    ) -> Result<Answering, Failure> {
        let meter = || app.metrics.meter(context, &model.info().name, max_tokens);
        let events = within(context, asked).await.inspect_err(|why| meter().note_given_up(why))??;
        let mut answering = Answering {
            events,
            context: context.clone(),
            app: Arc::clone(app),
            meter: meter(),
            prompt_tokens: 0,
            generated: 0,
            lacks_prompt,
            is_finished: false,
        };
        // The first event tells how long the prompt is, before anything was computed.
        match answering.next().await.transpose()? {
            Some(ChatEvent::Started { prompt_tokens }) => {
                answering.prompt_tokens = prompt_tokens;
                check_prompt(app, prompt_tokens)?;
                Ok(answering)
            }
            other => Err(broken(&format!("an answer began with {other:?}"))),
        }
    }

    /// Tokens of the prompt.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// When its request must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.context.deadline
    }

    /// The next event, or why there is none; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<ChatEvent, Failure>> {
        let event = match within(&self.context, self.events.next()).await {
            Ok(Some(event)) => event.map_err(Failure::from).and_then(|event| self.check(event)),
            Ok(None) if self.is_finished => return None,
            Ok(None) => Err(broken("an answer broke off without an end")),
            Err(why) => {
                self.meter.note_given_up(&why);
                Err(why)
            }
        };
        if let Err(failure) = &event {
            self.meter.note_failure(failure);
        }
        if let Ok(event) = &event {
            self.note(event);
        }
        Some(event)
    }

    /// What was asked for must have come before the answer: a reader would take its place for something else.
    fn check(&mut self, event: ChatEvent) -> Result<ChatEvent, Failure> {
        match &event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } => {}
            ChatEvent::Prompt { .. } => self.lacks_prompt = false,
            _ if self.lacks_prompt => return Err(broken("the tokens of the prompt did not come")),
            _ => {}
        }
        Ok(event)
    }

    fn note(&mut self, event: &ChatEvent) {
        self.meter.note(event, Instant::now());
        if let ChatEvent::Text { tokens, .. }
        | ChatEvent::Thought { tokens, .. }
        | ChatEvent::ToolCall { tokens, .. }
        | ChatEvent::ToolArguments { tokens, .. } = event
        {
            self.generated += tokens;
        }
        if let ChatEvent::Finished { usage, .. } = event {
            self.is_finished = true;
            note_end(&self.app, &self.context, usage.prompt_tokens + usage.completion_tokens);
        }
    }

    /// Its events, up to the first failure.
    pub(crate) fn events(self) -> impl Stream<Item = Result<ChatEvent, Failure>> + Send {
        unfold(Some(self), |answering| async move {
            let mut answering = answering?;
            let event = answering.next().await?;
            let rest = event.is_ok().then_some(answering);
            Some((event, rest))
        })
    }

    /// All of it.
    pub(crate) async fn whole(mut self) -> Result<Whole, Failure> {
        let mut whole = Whole::default();
        while let Some(event) = self.next().await {
            whole.take(event?);
        }
        Ok(whole)
    }
}

impl Drop for Answering {
    /// What was read and generated is spent, also where nobody waited for the end.
    fn drop(&mut self) {
        if let Some(held) = self.context.held.key.as_ref().filter(|_| !self.is_finished) {
            held.spend((self.prompt_tokens + self.generated) as u64, Instant::now());
        }
    }
}

/// Runs what computes for a while (templates, tokenizers) beside the threads that serve connections.
pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChatError> + Send + 'static,
) -> Result<T, ChatError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ChatError::Internal("the request broke off".to_owned())),
    }
}

/// Refuses a prompt beyond the server's own bound.
fn check_prompt(app: &App, prompt_tokens: usize) -> Result<(), Failure> {
    match app.options.max_prompt_tokens.filter(|most| prompt_tokens > *most) {
        Some(most) => {
            let message = beyond_bound(prompt_tokens, most);
            Err(Failure { code: Some("context_length_exceeded"), ..Failure::new(FailureKind::Invalid, message) })
        }
        None => Ok(()),
    }
}

/// What is said of a prompt beyond the server's own bound.
pub(crate) fn beyond_bound(prompt_tokens: usize, most: usize) -> String {
    format!(
        "the prompt has {prompt_tokens} tokens, this server takes {most} (--max-prompt-tokens)\nhint: shorten it, or have \
         whoever runs the server allow more"
    )
}

/// An answer has come to its end: counts its tokens for its key, and how long it took.
fn note_end(app: &App, context: &Context, tokens: usize) {
    let now = Instant::now();
    app.note_answer();
    app.metrics.note_duration(now.saturating_duration_since(context.began));
    if let Some(held) = &context.held.key {
        held.spend(tokens as u64, now);
    }
}

/// A model that does not keep to what `ChatEvent` promises.
fn broken(what: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("internal error: {what}"))
}

/// Asks a model for what comes in one piece, within the request's deadline; `tokens` says how many were read for it.
pub(crate) async fn at_once<T>(
    app: &Arc<App>,
    context: &Context,
    model: &Arc<dyn ChatModel>,
    asked: ChatFuture<'_, T>,
    tokens: impl FnOnce(&T) -> usize,
) -> Result<T, Failure> {
    let meter = || app.metrics.meter(context, &model.info().name, None);
    let answer = within(context, asked).await.inspect_err(|why| meter().note_given_up(why))??;
    let tokens = tokens(&answer);
    meter().note_read(tokens, Instant::now());
    note_end(app, context, tokens);
    Ok(answer)
}

/// Does one input of a task within the request's deadline. What concerns this input alone is within; the outer failure
/// would meet the next input too.
pub(crate) async fn outcome(
    app: &Arc<App>,
    context: &Context,
    model: &str,
    work: &dyn Work,
    input: &Input,
) -> Result<Result<Outcome, Failure>, Failure> {
    context.record.note_input(input);
    let mut meter = app.metrics.meter(context, model, None);
    let mut charge = Charge { context, spent: Arc::default(), is_counted: false };
    let asked = Arc::clone(&charge.spent);
    match within(context, asked.counting(work.ask(input))).await.inspect_err(|why| meter.note_given_up(why))? {
        Ok(outcome) => {
            let Outcome { prompt_tokens, cached_tokens, completion_tokens, .. } = outcome;
            let usage = Usage { prompt_tokens, cached_tokens, completion_tokens, ..Usage::default() };
            context.record.note_outcome(&outcome);
            meter.note_at_once(&usage, Instant::now());
            charge.is_counted = true;
            note_end(app, context, prompt_tokens + completion_tokens);
            Ok(Ok(outcome))
        }
        Err(error) => {
            let is_fatal = error.is_fatal();
            let failure = Failure::from(error);
            meter.note_failure(&failure);
            if is_fatal { Err(failure) } else { Ok(Err(failure)) }
        }
    }
}

/// Counts for the key what an input took that has no outcome: it failed, was late, or its client has gone.
struct Charge<'a> {
    context: &'a Context,
    spent: Arc<Spent>,
    /// Its outcome said what it took.
    is_counted: bool,
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.context.held.key.as_ref().filter(|_| !self.is_counted) {
            held.spend(self.spent.tokens(), Instant::now());
        }
    }
}

/// What a future gives, unless the request's deadline comes first, or the end of the server.
pub(crate) async fn within<F: Future>(context: &Context, future: F) -> Result<F::Output, Failure> {
    let timed = before_deadline(context, future);
    let Some(mut cut) = context.cut.clone() else { return timed.await };
    tokio::select! {
        biased;
        outcome = timed => outcome,
        _ = cut.wait_for(|is_cut| *is_cut) => {
            let message = "the answer was cut: the server ends, and the time to finish is over (--drain-seconds)\n\
                           hint: ask again, of the server that comes after it";
            Err(Failure { code: Some("server_ended"), ..Failure::new(FailureKind::Unavailable, message) })
        }
    }
}

/// What a future gives, unless the request's deadline comes first.
async fn before_deadline<F: Future>(context: &Context, future: F) -> Result<F::Output, Failure> {
    let late = |_| {
        let seconds = context.deadline.duration_since(context.began).as_secs_f64();
        let message = format!(
            "the request was not answered within {seconds} s\nhint: ask for fewer tokens, or allow more time \
             (x-request-timeout, --request-timeout)"
        );
        Failure { code: Some("timeout"), ..Failure::new(FailureKind::Timeout, message) }
    };
    tokio::time::timeout_at(context.deadline.into(), future).await.map_err(late)
}

/// A call of a tool, complete.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WholeCall {
    pub(crate) id: String,
    pub(crate) name: String,
    /// A JSON object, as text.
    pub(crate) arguments: String,
}

/// A complete answer.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) thought: String,
    pub(crate) calls: Vec<WholeCall>,
    pub(crate) logprobs: Vec<TokenLogprob>,
    pub(crate) prompt: Vec<PromptToken>,
    /// Why it ended; none where the model's stream broke off without saying so.
    pub(crate) reason: Option<FinishReason>,
    pub(crate) usage: Usage,
}

impl Whole {
    /// Adds an event.
    pub(crate) fn take(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } => {}
            ChatEvent::Prompt { tokens } => self.prompt = tokens,
            ChatEvent::Text { text, logprobs, .. } => {
                self.text.push_str(&text);
                self.logprobs.extend(logprobs);
            }
            ChatEvent::Thought { text, .. } => self.thought.push_str(&text),
            ChatEvent::ToolCall { id, name, .. } => {
                self.calls.push(WholeCall { id, name, arguments: String::new() });
            }
            ChatEvent::ToolArguments { index, json, .. } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.arguments.push_str(&json);
                }
            }
            ChatEvent::Finished { reason, usage } => {
                self.reason = Some(reason);
                self.usage = usage;
            }
        }
    }
}
