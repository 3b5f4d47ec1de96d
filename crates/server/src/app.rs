//! What all requests share: the host of models, the options, the keys, the counters, and whether the server is about to end.
//!
//! Read next: `admit` for the way in, `answering` for the way out.

use crate::admit::Limits;
use crate::apart::apart;
use crate::api::openai::files::keeps_none;
use crate::evaluations::Evaluations;
use crate::failure::{Failure, FailureKind};
use crate::kept::Kept;
use crate::keys::Keys;
use crate::log::Logged;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::served::Tasks;
use chat::{ChatModel, HostFuture, KeepAlive, ModelHost, PullProgress};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Shared by all requests.
pub(crate) struct App {
    pub(crate) host: Arc<dyn ModelHost>,
    pub(crate) options: ServerOptions,
    keys: Option<Keys>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    /// Files and batches, where they are kept.
    pub(crate) kept: Option<Arc<Kept>>,
    /// The tasks that the server was started with.
    pub(crate) tasks: Tasks,
    /// The evaluations of the ledger.
    evaluations: Arc<Evaluations>,
    /// No request is taken any more.
    draining: AtomicBool,
    /// Whether answers that are still under way have to end.
    cut: watch::Sender<bool>,
    /// Requests under way.
    under_way: AtomicUsize,
    /// Whether a model has answered since the start.
    answered: AtomicBool,
    started: Instant,
}

/// A request under way, counted until it is dropped.
pub(crate) struct Place(Arc<App>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells the log how a load goes, and the load whether the request that asked for it has gone.
struct LoadProgress {
    /// Held by the request as long as it waits.
    asking: Weak<()>,
}

impl PullProgress for LoadProgress {
    fn start(&self, file: &str, total_bytes: Option<u64>, done_bytes: u64) {
        Logged.start(file, total_bytes, done_bytes);
    }
    fn advance(&self, bytes: u64) {
        Logged.advance(bytes);
    }
    fn message(&self, text: &str) {
        Logged.message(text);
    }
    fn finish(&self) {
        Logged.finish();
    }
    fn is_cancelled(&self) -> bool {
        self.asking.strong_count() == 0
    }
}

impl App {
    pub(crate) fn new(host: Arc<dyn ModelHost>, mut options: ServerOptions, keys: Option<Keys>) -> App {
        App {
            host,
            kept: options.files.clone().map(|files| Arc::new(Kept::of(files))),
            tasks: Tasks::of(std::mem::take(&mut options.tasks)),
            evaluations: Arc::new(Evaluations::of(options.ledger.take())),
            options,
            keys,
            limits: Limits::default(),
            metrics: Metrics::default(),
            draining: AtomicBool::new(false),
            cut: watch::Sender::new(false),
            under_way: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// The keys, where a request needs one.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref().filter(|keys| keys.are_asked_for())
    }

    /// Takes no request from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        if let Some(kept) = &self.kept {
            kept.changed.notify_one();
        }
    }

    /// Ends the answers that are still under way: each tells its client that it was cut.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Becomes true when answers under way have to end.
    pub(crate) fn when_cut(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether a model has answered, so that the next request can expect an answer too.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    pub(crate) fn note_answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// How long the server has been there.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// How long a client that finds no place had better wait.
    pub(crate) fn expected_wait(&self) -> Duration {
        self.metrics.expected_wait(&self.host.running())
    }

    /// A place for a request, or the refusal that all are taken.
    pub(crate) fn place(self: &Arc<App>) -> Result<Place, Failure> {
        let before = self.under_way.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        let most = self.options.max_requests;
        if before >= most {
            let message = format!("{before} requests are under way, at most {most} may be\nhint: try again later");
            return Err(Failure::new(FailureKind::Limited, message));
        }
        Ok(place)
    }

    /// The model of a name, loaded where it is not in memory. Waiting for it stops no other request. Where nobody waits for
    /// it any more, a load that has not got its memory yet is left.
    pub(crate) async fn model(
        self: &Arc<App>,
        name: &str,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Arc<dyn ChatModel>, Failure> {
        if name.is_empty() {
            return Err(Failure::field("model", "expected the name of a model, got none"));
        }
        let (owned, asking) = (name.to_owned(), Arc::new(()));
        let progress = LoadProgress { asking: Arc::downgrade(&asking) };
        let loaded = self.on_host(move |host| Box::pin(async move { host.load(&owned, keep_alive, &progress).await }));
        loaded.await.map_err(App::or_list)
    }

    /// Tells whoever asked for a model that is not there where to look.
    pub(crate) fn or_list(failure: Failure) -> Failure {
        match failure.kind {
            FailureKind::NotFound => failure.or_try("`GET /v1/models` lists what this server has"),
            _ => failure,
        }
    }

    /// Files and batches, or the refusal that there are none.
    pub(crate) fn kept(&self) -> Result<&Arc<Kept>, Failure> {
        self.kept.as_ref().ok_or_else(keeps_none)
    }

    /// Does something with files and batches, apart from the threads that serve connections.
    pub(crate) async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let kept = Arc::clone(self.kept()?);
        let outcome = tokio::task::spawn_blocking(move || work(&kept)).await;
        outcome.unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "internal error: the request broke off")))
    }

    /// Does something with evaluations or the tables of tasks, apart from the threads that serve connections. Both hold
    /// private texts: without keys they are for this machine alone.
    pub(crate) async fn on_evaluations<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Evaluations) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if self.keys().is_none() && !self.options.address.ip().is_loopback() {
            let message = "evaluations and labels hold private texts: without keys they are for this machine alone\n\
                           hint: `bantam keys add NAME --scope admin` makes a key";
            return Err(Failure::new(FailureKind::Forbidden, message));
        }
        let evaluations = Arc::clone(&self.evaluations);
        let outcome = tokio::task::spawn_blocking(move || work(&evaluations)).await;
        outcome.unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "internal error: the request broke off")))
    }

    /// Runs what may block for long on threads of its own; while it waits for others it holds none.
    pub(crate) async fn on_host<T, F>(self: &Arc<App>, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn ModelHost>) -> HostFuture<'static, T> + Send + 'static,
    {
        let host = Arc::clone(&self.host);
        match apart(work(host)).await {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => Err(Failure::new(FailureKind::Internal, "internal error: the request broke off")),
        }
    }
}
