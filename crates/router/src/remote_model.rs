//! A model elsewhere, as a [`ChatModel`].
//!
//! ```text
//! ask -> post -> 200? -> events -> pieces -> end        each piece to the caller at once
//!          ^       no: worth another try? pause, again
//!          +------------- broke off before the first token
//! ```
//!
//! What came of an answer was paid for and shown; so after its first token it is not asked for again, and a break is an
//! error. Read next: `answer.rs`.

use crate::answer::Answer;
use crate::failure::{self, Trouble};
use crate::providers::{Asked, Remote, Wire};
use crate::retry::{Retry, random_fraction};
use crate::sse::Events;
use crate::{Key, Link, PriceBook};
use chat::{
    AnswerFormat, Capabilities, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, Message,
    ModelInfo, Role, ToolWarning, Usage,
};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{self, Stream, StreamExt};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout, timeout_at};

/// Positions of a model that nobody knows better: what current models of providers have at least. A prompt that is too
/// long all the same is refused by the provider.
const USUAL_CONTEXT: usize = 131_072;
/// Bytes of an answer on the wire: tokens with their alternatives are long.
const LONGEST_BODY: usize = 256 << 20;
/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: usize = 64 << 10;
/// How long the end of a connection's answer is waited for after the answer's own end.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// A model of a provider.
pub struct RemoteModel {
    link: Link,
    remote: Remote,
    /// The provider's own name for it.
    model: String,
    info: ModelInfo,
}

impl RemoteModel {
    /// A model of an endpoint by the endpoint's own name for it. Nothing is sent.
    pub fn new(link: Link, remote: Remote, model: &str) -> RemoteModel {
        let context = remote.context.unwrap_or(USUAL_CONTEXT);
        let info = ModelInfo {
            name: format!("{}/{model}", remote.name),
            family: remote.name.clone(),
            parameters: 0,
            weight_bytes: 0,
            quantization: String::new(),
            context,
            maximum_context: context,
            vocabulary: 0,
            capabilities: Capabilities { template: true, tools: true, ..Capabilities::default() },
        };
        RemoteModel { link, remote, model: model.to_owned(), info }
    }

    /// A model of a provider of the table, `provider/model`, with the key that the environment has. Nothing is sent.
    ///
    /// # Errors
    /// No such provider, or no key.
    pub fn open(link: Link, name: &str) -> Result<RemoteModel, ChatError> {
        let (mut remote, model) = Remote::of_name(name, &|variable| std::env::var(variable).ok())?;
        remote.context = PriceBook::built_in().context(&remote.name, model);
        Ok(RemoteModel::new(link, remote, model))
    }

    fn call(&self, request: &ChatRequest, events: UnboundedSender<Item>) -> Result<Call, ChatError> {
        let Remote { protocol, base_url, key, streams, .. } = &self.remote;
        let name = &self.info.name;
        if request.messages.is_empty() {
            return Err(ChatError::InvalidRequest(format!("{name}: expected at least one message, got none")));
        }
        let outgoing = protocol.0.outgoing(&Asked { name, model: &self.model, streams: *streams, request })?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (header, value) in protocol.0.headers(key.as_ref()) {
            headers.insert(HeaderName::from_static(header), value);
        }
        Ok(Call {
            link: self.link.clone(),
            name: name.clone(),
            key: key.clone(),
            url: format!("{base_url}{}", outgoing.path),
            headers,
            body: outgoing.body.to_string(),
            wire: protocol.0,
            request: request.clone(),
            answer: Answer::new(name, outgoing.held),
            events,
            began: Instant::now(),
            first_token: None,
            is_started: false,
        })
    }
}

impl ChatModel for RemoteModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let (sender, receiver) = unbounded();
            let call = self.call(&request, sender)?;
            let abort = self.link.spawn(call.run());
            let mut answer = Receiving { receiver, abort };
            match answer.next().await {
                Some(Ok(first)) => Ok(Box::pin(stream::iter([Ok(first)]).chain(answer)) as ChatStream),
                Some(Err(error)) => Err(error),
                None => Err(ChatError::Internal("a request to a provider ended without an answer".to_owned())),
            }
        })
    }

    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        // As it would be asked with it.
        let request = ChatRequest {
            messages: vec![Message::new(Role::User, String::new())],
            format: Some(format.clone()),
            ..ChatRequest::default()
        };
        let asked = Asked { name: &self.info.name, model: &self.model, streams: true, request: &request };
        let outcome = self.remote.protocol.0.outgoing(&asked).map(|_| Vec::new());
        Box::pin(std::future::ready(outcome))
    }

    fn prepare_tools<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, Vec<ToolWarning>> {
        let is_strict = request.tools.iter().any(|tool| tool.strict);
        let outcome = if is_strict && !self.remote.protocol.0.holds_tools() {
            let what = "calls that are held to the schemas of their tools";
            Err(ChatError::Unsupported { model: self.info.name.clone(), what })
        } else {
            Ok(Vec::new())
        };
        Box::pin(std::future::ready(outcome))
    }
}

type Item = Result<ChatEvent, ChatError>;

/// An answer as it arrives. Dropping it ends the connection.
struct Receiving {
    receiver: UnboundedReceiver<Item>,
    abort: AbortHandle,
}

impl Stream for Receiving {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.receiver.poll_next_unpin(context)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// One question with all its tries; runs on the network's thread.
struct Call {
    link: Link,
    name: String,
    key: Option<Key>,
    url: String,
    headers: HeaderMap,
    body: String,
    wire: &'static dyn Wire,
    request: ChatRequest,
    answer: Answer,
    events: UnboundedSender<Item>,
    began: Instant,
    first_token: Option<Instant>,
    is_started: bool,
}

impl Call {
    async fn run(mut self) {
        let mut retry = Retry::new(self.link.policy(), self.began);
        let deadline = retry.deadline();
        let error = loop {
            let total = self.link.policy().total.as_secs_f64();
            let trouble = match timeout_at(deadline.into(), self.ask()).await {
                Ok(Ok(())) => return,
                Ok(Err(trouble)) => trouble,
                Err(_) => {
                    let hint = "hint: ask for a shorter answer, or allow more time";
                    let message = format!("{}: expected a whole answer within {total} s, got none\n{hint}", self.name);
                    ChatError::Unavailable(message).into()
                }
            };
            // What came may be of use, as the cost of it is.
            self.send();
            match trouble {
                Trouble::Passing { why, .. } if self.answer.has_begun() => break self.broken(&why),
                trouble => match retry.pause(&self.name, trouble, Instant::now(), random_fraction()) {
                    Ok(pause) => sleep(pause).await,
                    Err(error) => break error,
                },
            }
        };
        // Whoever asked may have gone.
        let _ = self.events.unbounded_send(Err(self.without_key(error)));
    }

    /// An error of a provider may say anything, the key that it was sent among it.
    fn without_key(&self, error: ChatError) -> ChatError {
        let Some(key) = &self.key else { return error };
        match error {
            ChatError::InvalidRequest(text) => ChatError::InvalidRequest(key.hidden_in(&text)),
            ChatError::UnknownModel(text) => ChatError::UnknownModel(key.hidden_in(&text)),
            ChatError::Unloadable(text) => ChatError::Unloadable(key.hidden_in(&text)),
            ChatError::BadOutput(text) => ChatError::BadOutput(key.hidden_in(&text)),
            ChatError::Overloaded(text) => ChatError::Overloaded(key.hidden_in(&text)),
            ChatError::Unavailable(text) => ChatError::Unavailable(key.hidden_in(&text)),
            ChatError::Internal(text) => ChatError::Internal(key.hidden_in(&text)),
            other @ (ChatError::BadOption { .. }
            | ChatError::ToolSchema { .. }
            | ChatError::ContextTooLong { .. }
            | ChatError::Unsupported { .. }) => other,
        }
    }

    fn broken(&self, why: &str) -> ChatError {
        let hint = "hint: a part of it had come, so it was not asked for again by itself; ask again";
        ChatError::Unavailable(format!("{}: the answer was cut short: {why}\n{hint}", self.name))
    }

    /// One try.
    async fn ask(&mut self) -> Result<(), Trouble> {
        self.answer.begin_again();
        let idle = self.link.policy().idle;
        let silent = |_| Trouble::passing(format!("the server was silent for {} s", idle.as_secs_f64()));
        let post = self.link.client().post(&self.url).headers(self.headers.clone()).body(self.body.clone());
        let response = timeout(idle, post.send()).await.map_err(silent)?;
        let mut response = response.map_err(|error| failure::of_connection(&self.name, error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let headers = response.headers().clone();
            let body = timeout(idle, refusal(response)).await.unwrap_or_default();
            return Err(failure::sort(&self.name, self.key.as_ref(), status, &headers, &body));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            self.read_events(&mut response).await?;
        } else if kind.starts_with("application/json") {
            self.read_whole(&mut response).await?;
        } else {
            let expected = "expected an answer as text/event-stream or application/json";
            let message = format!("{}: {expected}, got {kind:?}\nhint: check the base URL", self.name);
            return Err(ChatError::Unloadable(message).into());
        }
        let now = Instant::now();
        let first = self.first_token.unwrap_or(now);
        self.answer.finish(Usage {
            first_token_seconds: first - self.began,
            generation_seconds: now - first,
            ..Usage::default()
        })?;
        self.start();
        self.send();
        // Whoever has the last event lets go of this task.
        drop(self.link.spawn(async move { drop(timeout(LONGEST_REST, rest(response)).await) }));
        Ok(())
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, Trouble> {
        let idle = self.link.policy().idle;
        match timeout(idle, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| failure::of_connection(&self.name, error)),
            Err(_) => Err(Trouble::passing(format!("the server was silent for {} s", idle.as_secs_f64()))),
        }
    }

    async fn read_events(&mut self, response: &mut Response) -> Result<(), Trouble> {
        let (mut events, mut bytes) = (Events::default(), 0);
        let mut reader = self.wire.reader(&self.request);
        while let Some(chunk) = self.chunk(response).await? {
            bytes += chunk.as_ref().len();
            if bytes > LONGEST_BODY {
                return Err(too_long(&self.name));
            }
            events.push(chunk.as_ref());
            while let Some(data) = events.next()? {
                let outcome = reader.event(&data, &mut self.answer).map_err(|trouble| self.named(trouble));
                self.start();
                self.send();
                outcome?;
                if self.answer.is_over {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn read_whole(&mut self, response: &mut Response) -> Result<(), Trouble> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response).await? {
            body.extend_from_slice(chunk.as_ref());
            if body.len() > LONGEST_BODY {
                return Err(too_long(&self.name));
            }
        }
        let body = String::from_utf8(body)
            .map_err(|_| Trouble::passing("expected an answer as UTF-8 text, got other bytes"))?;
        let mut reader = self.wire.reader(&self.request);
        reader.whole(&body, &mut self.answer).map_err(|trouble| self.named(trouble))
    }

    /// A protocol does not know the model's name.
    fn named(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Lasting(ChatError::BadOutput(text)) if !text.starts_with(&self.name) => {
                ChatError::BadOutput(format!("{}: {text}", self.name)).into()
            }
            trouble => trouble,
        }
    }

    /// Tells once that the request was taken.
    fn start(&mut self) {
        if !std::mem::replace(&mut self.is_started, true) {
            let prompt_tokens = self.answer.counts.map_or(0, |counts| counts.prompt);
            let _ = self.events.unbounded_send(Ok(ChatEvent::Started { prompt_tokens }));
        }
    }

    fn send(&mut self) {
        if self.answer.has_begun() && self.first_token.is_none() {
            self.first_token = Some(Instant::now());
        }
        for event in self.answer.take() {
            // Whoever asked may have gone; then this task is about to be ended.
            let _ = self.events.unbounded_send(Ok(event));
        }
    }
}

fn too_long(name: &str) -> Trouble {
    ChatError::BadOutput(format!("{name}: expected an answer of at most {LONGEST_BODY} bytes, got more")).into()
}

/// Reads on after the answer's last word to the end, so that the connection serves the next question.
async fn rest(mut response: Response) {
    let mut bytes = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes += chunk.len();
        if bytes > LONGEST_REFUSAL {
            break;
        }
    }
}

/// The beginning of what a provider says with a refusal.
async fn refusal(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_REFUSAL {
            body.truncate(LONGEST_REFUSAL);
            break;
        }
    }
    body
}

#[cfg(test)]
#[path = "remote_model_tests.rs"]
mod tests;
