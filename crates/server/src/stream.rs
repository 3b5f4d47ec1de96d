//! Answers sent as they come: server-sent events, and lines of JSON.
//!
//! A writer turns each event of the model into bytes; what it makes of an error ends the stream, visibly for the client.
//! While nothing comes for long, a comment keeps proxies from closing the connection. Read next: an endpoint that streams.

use crate::answering::Answering;
use crate::failure::Failure;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Response;
use chat::ChatEvent;
use futures::stream::{BoxStream, select_all, unfold};
use futures::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout_at;

/// Pieces that may wait for a client that reads slowly.
const PIECES_AHEAD: usize = 16;

/// How long a stream may be silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Turns the events of an answer into what a dialect sends. A request may ask for several answers: `choice` counts them.
pub(crate) trait Writer: Send + 'static {
    /// What is sent before anything else.
    fn begin(&mut self, _prompt_tokens: usize, _out: &mut String) {}
    /// What is sent for an event.
    fn event(&mut self, choice: usize, event: ChatEvent, out: &mut String);
    /// What is sent after all answers have ended.
    fn end(&mut self, _out: &mut String) {}
    /// What is sent instead of the rest.
    fn failure(&mut self, failure: &Failure, out: &mut String);
}

/// A response of server-sent events (WHATWG HTML, section 9.2).
pub(crate) fn events(answers: Vec<Answering>, writer: impl Writer) -> Response {
    respond("text/event-stream; charset=utf-8", Some(": still here\n\n"), answers, writer)
}

/// A response of one JSON value a line.
pub(crate) fn lines(answers: Vec<Answering>, writer: impl Writer) -> Response {
    respond("application/x-ndjson", None, answers, writer)
}

fn respond(
    content_type: &'static str,
    keep_alive: Option<&'static str>,
    answers: Vec<Answering>,
    writer: impl Writer,
) -> Response {
    let deadline = answers.iter().map(Answering::deadline).max().unwrap_or_else(Instant::now);
    let (sender, receiver) = channel(PIECES_AHEAD);
    tokio::spawn(send(pieces(answers, writer, keep_alive), sender, deadline));
    let received = unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut response = Response::new(Body::from_stream(received));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // A proxy that collects what it passes on would hold a stream back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Hands pieces to the connection until all are sent or its client has gone. A client that does not read holds the answer,
/// and what the request holds, no longer than the request may take.
async fn send(
    pieces: impl Stream<Item = Result<Bytes, Infallible>>,
    sender: Sender<Result<Bytes, Infallible>>,
    deadline: Instant,
) {
    let mut pieces = pin!(pieces);
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = sender.closed() => return,
        };
        let Some(piece) = piece else { return };
        if !matches!(timeout_at(deadline.into(), sender.send(piece)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What is left of a response.
struct Rest<W> {
    answers: BoxStream<'static, (usize, Result<ChatEvent, Failure>)>,
    writer: W,
    out: String,
}

fn pieces<W: Writer>(
    answers: Vec<Answering>,
    mut writer: W,
    keep_alive: Option<&'static str>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let mut out = String::new();
    writer.begin(answers.first().map_or(0, Answering::prompt_tokens), &mut out);
    let numbered = |(choice, answer): (usize, Answering)| answer.events().map(move |event| (choice, event)).boxed();
    let answers = select_all(answers.into_iter().enumerate().map(numbered)).boxed();
    unfold(Some(Rest { answers, writer, out }), move |rest| async move {
        let mut rest = rest?;
        while rest.out.is_empty() {
            match tokio::time::timeout(KEEP_ALIVE, rest.answers.next()).await {
                Ok(Some((choice, Ok(event)))) => rest.writer.event(choice, event, &mut rest.out),
                Ok(Some((_, Err(failure)))) => {
                    rest.writer.failure(&failure, &mut rest.out);
                    return Some((Ok(Bytes::from(rest.out)), None));
                }
                Ok(None) => {
                    rest.writer.end(&mut rest.out);
                    return (!rest.out.is_empty()).then(|| (Ok(Bytes::from(rest.out)), None));
                }
                Err(_) => rest.out.push_str(keep_alive.unwrap_or_default()),
            }
        }
        Some((Ok(Bytes::from(std::mem::take(&mut rest.out))), Some(rest)))
    })
}

/// Writes a value as the data of an event, after its name where it has one.
pub(crate) fn put_event(out: &mut String, name: Option<&str>, value: &impl Serialize) {
    if let Some(name) = name {
        out.push_str("event: ");
        out.push_str(name);
        out.push('\n');
    }
    out.push_str("data: ");
    put_json(out, value);
    out.push_str("\n\n");
}

/// Writes a value as a line.
pub(crate) fn put_line(out: &mut String, value: &impl Serialize) {
    put_json(out, value);
    out.push('\n');
}

fn put_json(out: &mut String, value: &impl Serialize) {
    out.push_str(&serde_json::to_string(value).expect("our own types are always JSON; this is a bug"));
}
