//! A server in this process that answers what a test wrote down, and remembers what it was asked.

use crate::{Key, Link, Policy, Remote, RemoteModel};
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use chat::{ChatError, ChatEvent, ChatModel, ChatRequest, Message, Role, Usage};
use futures::StreamExt;
use futures::executor::block_on;
use futures::stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A part of a reply's body.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// The connection ends here.
    Cut,
}

/// One reply.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    parts: Vec<Part>,
}

impl Reply {
    pub(crate) fn new(status: u16, kind: &str, parts: Vec<Part>) -> Reply {
        Reply { status, headers: vec![("content-type", kind.to_owned())], parts }
    }

    /// Events with this data, each a part of its own.
    pub(crate) fn events(data: &[&str]) -> Reply {
        let part = |data: &&str| Part::Bytes(format!("data: {data}\n\n").into_bytes());
        Reply::new(200, "text/event-stream; charset=utf-8", data.iter().map(part).collect())
    }

    pub(crate) fn json(status: u16, body: &Value) -> Reply {
        Reply::new(status, "application/json", vec![Part::Bytes(body.to_string().into_bytes())])
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn then(mut self, part: Part) -> Reply {
        self.parts.push(part);
        self
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    /// Whose connection it came over.
    pub(crate) from: SocketAddr,
    pub(crate) path: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Value,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    came: Vec<Came>,
}

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    address: String,
    script: Arc<Mutex<Script>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn saying(replies: impl IntoIterator<Item = Reply>) -> Server {
        let script = Arc::new(Mutex::new(Script { replies: replies.into_iter().collect(), came: Vec::new() }));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(reply).with_state(Arc::clone(&script));
        runtime.spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap()
        });
        Server { address, script, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.script.lock().unwrap().came.clone()
    }

    /// What was asked, where it was asked once.
    pub(crate) fn body(&self) -> Value {
        let [came] = &self.came()[..] else { panic!("asked {} times", self.came().len()) };
        came.body.clone()
    }
}

async fn reply(
    State(script): State<Arc<Mutex<Script>>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = head.uri.path_and_query().unwrap().to_string();
    let came = Came { from, path, headers: head.headers, body: serde_json::from_slice(&body).unwrap() };
    let reply = {
        let mut script = script.lock().unwrap();
        script.came.push(came);
        script.replies.pop_front().unwrap_or_else(|| Reply::new(418, "text/plain", Vec::new()))
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let parts = stream::iter(reply.parts).then(|part| async move {
        match part {
            Part::Bytes(bytes) => Ok(Bytes::from(bytes)),
            Part::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(Bytes::new())
            }
            Part::Cut => {
                // What was sent is to arrive before the end does.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut"))
            }
        }
    });
    response.body(Body::from_stream(parts)).unwrap()
}

/// A policy for tests: pauses that nobody waits for.
pub(crate) fn quick() -> Policy {
    let millisecond = Duration::from_millis(1);
    Policy { attempts: 3, first_pause: millisecond, longest_pause: millisecond, ..Policy::default() }
}

pub(crate) fn model(server: &Server, protocol: &str) -> RemoteModel {
    let remote = Remote::custom("p", protocol, server.address(), Some(Key::of_secret("sk-1").unwrap())).unwrap();
    RemoteModel::new(Link::direct(quick()).unwrap(), remote, "m")
}

/// A model of a provider of the table, at this server.
pub(crate) fn preset(server: &Server, name: &str) -> RemoteModel {
    let (mut remote, model) = Remote::of_name(name, &|_| Some("sk-1".to_owned())).unwrap();
    remote.base_url = server.address().to_owned();
    RemoteModel::new(Link::direct(quick()).unwrap(), remote, model)
}

pub(crate) fn ask(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::new(Role::User, text)], ..ChatRequest::default() }
}

/// The events of an answer, and the error that it ended with.
pub(crate) fn answer(model: &dyn ChatModel, request: ChatRequest) -> (Vec<ChatEvent>, Option<ChatError>) {
    block_on(async {
        let mut events = Vec::new();
        let mut stream = match model.chat(request).await {
            Ok(stream) => stream,
            Err(error) => return (events, Some(error)),
        };
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => events.push(event),
                Err(error) => return (events, Some(error)),
            }
        }
        (events, None)
    })
}

/// The events of an answer that ends well, each in a word; the last has counts and no times.
pub(crate) fn told(model: &dyn ChatModel, request: ChatRequest) -> Vec<String> {
    let (events, error) = answer(model, request);
    assert!(error.is_none(), "{}", error.unwrap());
    events.iter().map(word).collect()
}

pub(crate) fn word(event: &ChatEvent) -> String {
    match event {
        ChatEvent::Started { prompt_tokens } => format!("started {prompt_tokens}"),
        ChatEvent::Text { text, .. } => format!("text {text}"),
        ChatEvent::Thought { text, .. } => format!("thought {text}"),
        ChatEvent::ToolCall { index, id, name, .. } => format!("call {index} {id} {name}"),
        ChatEvent::ToolArguments { index, json, .. } => format!("arguments {index} {json}"),
        ChatEvent::Finished { reason, usage } => {
            let Usage { prompt_tokens, cached_tokens, completion_tokens, stop, .. } = usage;
            let stop = stop.map(|stop| format!(" stop {stop}")).unwrap_or_default();
            format!("finished {reason:?} {prompt_tokens} ({cached_tokens}) {completion_tokens}{stop}")
        }
        other => format!("{other:?}"),
    }
}

/// The text of the error that a question ends with.
pub(crate) fn refused(model: &dyn ChatModel, request: ChatRequest) -> String {
    answer(model, request).1.expect("it is refused").to_string()
}

/// How long something took.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (what(), began.elapsed())
}
