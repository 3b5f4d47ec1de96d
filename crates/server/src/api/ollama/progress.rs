//! Work of the host that takes long, told line by line: `pull` and `create`.
//!
//! The host tells its progress from the thread that works; lines wait until the client reads them. Of one file only the
//! newest state waits, so that a slow reader makes nothing grow. When the client goes, the work is told to end.

use super::Ollama;
use crate::admit::Context;
use crate::api::Dialect;
use crate::app::App;
use crate::failure::Failure;
use crate::stream::put_line;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chat::{HostFuture, ModelHost, PullProgress};
use futures::stream::unfold;
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use utoipa::ToSchema;

/// How long a response waits for the first line, so that what is refused at once is refused with its own status.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// How often the state of a file is sent at most.
const PAUSE: Duration = Duration::from_millis(50);

/// A line about how it goes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Progress)]
pub(super) struct ProgressLine {
    /// What is done; `success` at the end.
    status: String,
    /// The file's, where it is known by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Bytes of the file, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Bytes that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u64>,
}

impl ProgressLine {
    fn status(status: impl Into<String>) -> ProgressLine {
        ProgressLine { status: status.into(), digest: None, total: None, completed: None }
    }

    fn is_of_file(&self) -> bool {
        self.completed.is_some()
    }
}

#[derive(Default)]
struct State {
    /// What the client has not read.
    lines: VecDeque<ProgressLine>,
    /// The file under way.
    file: Option<ProgressLine>,
    outcome: Option<Result<(), Failure>>,
}

/// How the work goes, between the thread that works and the response.
#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    news: Notify,
    gone: AtomicBool,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.news.notify_one();
    }

    /// Waits until there is something to tell.
    async fn wait(&self) {
        loop {
            {
                let state = self.state();
                if !state.lines.is_empty() || state.outcome.is_some() {
                    return;
                }
            }
            self.news.notified().await;
        }
    }
}

impl State {
    /// Tells the state of the file under way, in place of an older one that nobody has read.
    fn tell_file(&mut self) {
        let Some(file) = &self.file else { return };
        match self.lines.back_mut() {
            Some(last) if last.is_of_file() && last.status == file.status => *last = file.clone(),
            _ => self.lines.push_back(file.clone()),
        }
    }
}

impl PullProgress for Progress {
    fn start(&self, file: &str, total_bytes: Option<u64>, done_bytes: u64) {
        let digest = is_digest(file).then(|| file.to_owned());
        let line =
            ProgressLine { status: format!("pulling {file}"), digest, total: total_bytes, completed: Some(done_bytes) };
        self.change(|state| {
            state.file = Some(line);
            state.tell_file();
        });
    }

    fn advance(&self, bytes: u64) {
        self.change(|state| {
            if let Some(completed) = state.file.as_mut().and_then(|file| file.completed.as_mut()) {
                *completed += bytes;
            }
            state.tell_file();
        });
    }

    fn message(&self, text: &str) {
        self.change(|state| state.lines.push_back(ProgressLine::status(text)));
    }

    fn finish(&self) {
        self.change(|state| {
            if let Some(file) = &mut state.file {
                file.completed = file.total.or(file.completed);
            }
            state.tell_file();
            state.file = None;
        });
    }

    fn is_cancelled(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Whether a text is `sha256:` and 64 hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:");
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whoever waits for the work; when it goes, the work may be left. It holds the request's place as long.
struct Waiting {
    progress: Arc<Progress>,
    _context: Context,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.progress.gone.store(true, Ordering::Release);
    }
}

/// Work of a host.
pub(super) trait Work: Send + Sync + 'static {
    fn begin<'a>(&'a self, host: &'a dyn ModelHost, progress: &'a dyn PullProgress) -> HostFuture<'a, ()>;
}

/// Lets the host work and tells how it goes: line by line, or only how it ended. The request's deadline does not bound
/// it: a model may take hours to come.
pub(super) async fn work(app: &Arc<App>, context: Context, stream: bool, work: impl Work) -> Result<Response, Failure> {
    let progress = Arc::new(Progress::default());
    let waiting = Waiting { progress: Arc::clone(&progress), _context: context };
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let telling = Arc::clone(&progress);
        let outcome = app.on_host(move |host| Box::pin(async move { work.begin(&*host, &*telling).await })).await;
        progress.change(|state| state.outcome = Some(outcome));
    });
    if !stream {
        while waiting.progress.state().outcome.is_none() {
            waiting.progress.news.notified().await;
        }
        let outcome = waiting.progress.state().outcome.take();
        outcome.unwrap_or(Ok(()))?;
        return Ok(Json(ProgressLine::status("success")).into_response());
    }
    let _ = tokio::time::timeout(FIRST_LINE, waiting.progress.wait()).await;
    {
        let mut state = waiting.progress.state();
        if let (true, Some(Err(failure))) = (state.lines.is_empty(), &mut state.outcome) {
            return Err(failure.clone());
        }
    }
    let mut response = Response::new(Body::from_stream(lines(waiting)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

fn lines(waiting: Waiting) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send {
    unfold(Some(waiting), |waiting| async move {
        let waiting = waiting?;
        waiting.progress.wait().await;
        // What comes within the pause goes out together.
        if waiting.progress.state().outcome.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        let mut out = String::new();
        let ended = {
            let mut state = waiting.progress.state();
            for line in state.lines.drain(..) {
                put_line(&mut out, &line);
            }
            state.outcome.take()
        };
        match ended {
            None => Some((Ok(Bytes::from(out)), Some(waiting))),
            Some(outcome) => {
                match outcome {
                    Ok(()) => put_line(&mut out, &ProgressLine::status("success")),
                    Err(failure) => {
                        tracing::warn!(reason = failure.message, "work broke off");
                        put_line(&mut out, &(Ollama::row().error)(&failure));
                    }
                }
                Some((Ok(Bytes::from(out)), None))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_sees_the_newest_state_of_each_file() {
        let progress = Progress::default();
        let digest = format!("sha256:{}", "a".repeat(64));
        progress.message("found");
        progress.start("weights", Some(10), 2);
        for _ in 0..3 {
            progress.advance(1);
        }
        progress.finish();
        progress.start(&digest, None, 0);
        progress.advance(7);
        progress.finish();
        let file = |status: &str, digest: Option<&String>, total, completed| ProgressLine {
            status: status.to_owned(),
            digest: digest.cloned(),
            total,
            completed: Some(completed),
        };
        let expected = [
            ProgressLine::status("found"),
            file("pulling weights", None, Some(10), 10),
            file(&format!("pulling {digest}"), Some(&digest), None, 7),
        ];
        assert_eq!(progress.state().lines, expected);
    }
}
