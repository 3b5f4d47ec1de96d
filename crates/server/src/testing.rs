//! For tests: a host and a model that say what a test tells them, and a real server over them to speak HTTP with.
//!
//! ```text
//! let server = Running::start().await;
//! server.model.will(Reply::text(&["Hel", "lo"]));
//! let answer = server.post("/v1/chat/completions", json!({..})).await;
//! assert_eq!(answer.status, 200, "{}", answer.text);
//! ```
//!
//! Read next: `host` and `model`, the two scripted parts.

mod host;
mod model;

pub(crate) use host::ScriptedHost;
pub(crate) use model::{Asked, Reply, ScriptedModel, finished, logprob, started, text};

use crate::{FilesOptions, Server, ServerOptions};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on a free port of this machine, with one model `small` in memory. It ends when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) host: Arc<ScriptedHost>,
    /// The model `small`.
    pub(crate) model: Arc<ScriptedModel>,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<bool>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The data of its server-sent events, those that are JSON, and whether `[DONE]` came last.
    pub(crate) fn events(&self) -> (Vec<Value>, bool) {
        let data: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let is_done = data.last() == Some(&"[DONE]");
        let json = data.iter().filter(|data| **data != "[DONE]");
        (json.map(|data| serde_json::from_str(data).unwrap()).collect(), is_done)
    }

    /// Its lines of JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers)).to_str().unwrap()
    }
}

/// A response whose body comes piece by piece; dropping it closes the connection.
pub(crate) struct Streaming {
    pub(crate) status: u16,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Streaming {
    /// The next piece; none after the last.
    pub(crate) async fn piece(&mut self) -> Option<String> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Running {
    /// With the default options.
    pub(crate) async fn start() -> Running {
        Running::with(|_| ()).await
    }

    /// With options that a test changes.
    pub(crate) async fn with(change: impl FnOnce(&mut ServerOptions)) -> Running {
        let mut options = ServerOptions::at("127.0.0.1:0".parse().unwrap());
        change(&mut options);
        let model = Arc::new(ScriptedModel::named("small"));
        let host = Arc::new(ScriptedHost::of(Arc::clone(&model)));
        let server = Server::bind(Arc::clone(&host) as Arc<dyn chat::ModelHost>, options).await.unwrap();
        let address = server.address();
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = ended.await;
        }));
        Running { address, host, model, end: Some(end), task }
    }

    /// A server that keeps files in a folder of its own, `files` of the folder that comes with it.
    pub(crate) async fn keeping() -> (Running, TempDir) {
        Running::keeping_with(|_| ()).await
    }

    /// The same, with options that a test changes.
    pub(crate) async fn keeping_with(change: impl FnOnce(&mut ServerOptions)) -> (Running, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let files = FilesOptions::in_folder(folder.path().join("files"));
        let server = Running::with(|options| {
            options.files = Some(files);
            change(options);
        });
        (server.await, folder)
    }

    /// Another server over the folder of one that has ended.
    pub(crate) async fn over(folder: &TempDir) -> Running {
        let files = FilesOptions::in_folder(folder.path().join("files"));
        Running::with(|options| options.files = Some(files)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], body.to_string()).await
    }

    /// Any request, with headers, answered whole.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, connection) = self.exchange(request.body(Body::from(body.into())).unwrap()).await;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        connection.abort();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// A request whose answer is read piece by piece.
    pub(crate) async fn stream(&self, path: &str, body: Value) -> Streaming {
        let request = Request::builder().method(Method::POST).uri(path).header("host", "localhost");
        let (response, connection) = self.exchange(request.body(Body::from(body.to_string())).unwrap()).await;
        Streaming { status: response.status().as_u16(), body: response.into_body(), connection }
    }

    /// A connection of its own for a test that sends bytes as it likes.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn exchange(&self, request: Request<Body>) -> (hyper::Response<Incoming>, JoinHandle<()>) {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        (sender.send_request(request).await.unwrap(), connection)
    }

    /// Tells the server to end. True if all answers had ended in time.
    pub(crate) async fn end(mut self) -> bool {
        self.tell_to_end();
        (&mut self.task).await.unwrap()
    }

    /// Tells the server to end and does not wait.
    pub(crate) fn tell_to_end(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A form of several parts, each with its name, the name of its file, and its text: the content type and the body.
pub(crate) fn form(parts: &[(&str, Option<&str>, &str)]) -> (String, String) {
    let boundary = "a-boundary-that-no-text-has";
    let mut body = String::new();
    for (name, file, text) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body += &format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{text}\r\n");
    }
    (format!("multipart/form-data; boundary={boundary}"), format!("{body}--{boundary}--\r\n"))
}

/// Waits until something holds; fails a test in which it never does.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited 5 s in vain until {what}");
}
