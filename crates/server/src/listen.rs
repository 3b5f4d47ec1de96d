//! The way from a port to the endpoints, and the way out: draining.
//!
//! Every connection has a bound on how long headers may take; there is a bound on connections. When the server is told to
//! end, it takes no more requests, lets answers under way go on for a while, and then ends.
//!
//! Read next: `admit`, the first that sees a request.

mod opening;
#[cfg(test)]
mod tests;

use crate::admit::{admit, with_id};
use crate::api::openai::batches::supervise;
use crate::api::{DIALECTS, Endpoint, dialect_of, refuse};
use crate::app::App;
use crate::cors::guard;
use crate::failure::{Failure, FailureKind};
use crate::keys::{Keys, KeysError};
use crate::options::{ServerOptions, TlsFiles};
use crate::served::check_names;
use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::response::Response;
use chat::{
    ChatError, ChatModel, CompletionRequest, EmbedRequest, GenerationOptions, ModelHost, Prompt, RelevanceRequest,
};
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use opening::Opening;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often an HTTP/2 connection is asked whether its peer is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long clients have to hear that their answers were cut, beyond the time to finish.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from elsewhere, and everybody could ask.
    #[error(
        "{0} can be reached from other machines, and no keys are set\n\
         hint: make a key with `bantam keys add NAME`, or serve everybody with --insecure"
    )]
    Public(SocketAddr),
    /// The system refuses the address.
    #[error("cannot listen on {address}: {error}\nhint: choose another with --host, or end what listens there")]
    Address {
        /// Where to listen.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("{0}\nhint: --tls-cert and --tls-key name files in PEM, and the key must belong to the certificate")]
    Tls(String),
    /// A task cannot be served.
    #[error("{0}")]
    Task(String),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// A server that has its port and waits to run.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Takes the port. A public address without keys is refused unless the options say otherwise.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn bind(host: Arc<dyn ModelHost>, options: ServerOptions) -> Result<Server, StartError> {
        let address = options.address;
        check_names(&options.tasks)?;
        let keys = Keys::open(&options.access)?;
        let are_keys_asked_for = keys.as_ref().is_some_and(Keys::are_asked_for);
        if !address.ip().is_loopback() && !are_keys_asked_for && !options.insecure {
            return Err(StartError::Public(address));
        }
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(|error| StartError::Address { address, error })?;
        Ok(Server { app: Arc::new(App::new(host, options, keys)), listener, tls })
    }

    /// To be told which models were loaded before anybody asked.
    pub fn preloading(&self) -> Preloading {
        Preloading { app: Arc::clone(&self.app) }
    }

    /// Whether a request needs a key, as of now.
    pub fn asks_for_keys(&self) -> bool {
        self.app.keys().is_some()
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.app.options.address)
    }

    /// Serves until `end` comes, and then until the answers under way have ended or had their time. True if all had ended.
    pub async fn run(self, end: impl Future<Output = ()>) -> bool {
        let Server { app, listener, tls } = self;
        let service = TowerToHyperService::new(router(&app));
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(app.options.max_connections));
        // Dropped with this future, and then what they do is left where it is.
        let mut sweeper = JoinSet::new();
        sweeper.spawn(sweep(Arc::clone(&app)));
        let mut batches = JoinSet::new();
        batches.spawn(supervise(Arc::clone(&app)));
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut end => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Of this connection, or of the system, which needs a moment then.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                tracing::warn!("a connection was closed: {} are open (--max-connections)", app.options.max_connections);
                continue;
            };
            let (service, tls, watcher) = (service.clone(), tls.clone(), graceful.watcher());
            let header_timeout = app.options.header_timeout;
            tokio::spawn(async move {
                let _permit = permit;
                let _ = stream.set_nodelay(true);
                let Some(tls) = tls else { return converse(stream, service, header_timeout, watcher).await };
                if let Ok(Ok(stream)) = tokio::time::timeout(header_timeout, tls.accept(stream)).await {
                    converse(stream, service, header_timeout, watcher).await;
                }
            });
        }
        app.drain();
        drop((sweeper, listener));
        let ended = futures::future::join(graceful.shutdown(), batches.join_next());
        tokio::pin!(ended);
        let has_drained = tokio::time::timeout(app.options.drain, &mut ended).await.is_ok();
        if !has_drained {
            app.cut();
            let _ = tokio::time::timeout(LAST_WORDS, ended).await;
        }
        has_drained
    }
}

/// Makes a server ready: has models answer before anybody asks them.
#[derive(Clone)]
pub struct Preloading {
    app: Arc<App>,
}

impl Preloading {
    /// Has a model answer once, as briefly as it can. After that `/ready` says so.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn ask(&self, model: &dyn ChatModel) -> Result<(), ChatError> {
        let input = || Prompt::Text("a".to_owned());
        let able = model.info().capabilities;
        if able.embed {
            model.embed(EmbedRequest { inputs: vec![input()], truncate: false, dimensions: None }).await?;
        } else if able.relevance {
            let (query, documents) = ("a".to_owned(), vec!["a".to_owned()]);
            model.relevance(RelevanceRequest { query, documents, truncate: false }).await?;
        } else {
            let options = GenerationOptions { max_tokens: Some(1), ..GenerationOptions::default() };
            let mut events = model.complete(CompletionRequest::new(input(), options)).await?;
            while let Some(event) = events.next().await {
                event?;
            }
        }
        self.app.note_answer();
        Ok(())
    }
}

/// Answers the requests of one connection.
async fn converse<S>(
    stream: S,
    service: TowerToHyperService<Router>,
    header_timeout: Duration,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    // A peer that is gone without a word is noticed by a ping without an answer.
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(header_timeout);
    let (stream, opened) = Opening::of(stream);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    tokio::select! {
        outcome = watcher.watch(connection) => {
            if let Err(error) = outcome {
                tracing::debug!("a connection ended: {error}");
            }
        }
        () = opened.too_late(header_timeout) => tracing::debug!("a connection sent nothing in time (--header-timeout)"),
    }
}

/// Unloads models whose time is over, as long as the server runs.
async fn sweep(app: Arc<App>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let app = Arc::clone(&app);
        let swept = tokio::task::spawn_blocking(move || {
            // What models have counted, before they go.
            app.metrics.follow(&app.host.running());
            app.host.unload_expired();
        });
        if let Err(error) = swept.await {
            tracing::error!("unloading models: {error}");
        }
    }
}

/// All endpoints of all dialects, each behind `admit`.
fn router(app: &Arc<App>) -> Router {
    let mut router: Router<Arc<App>> = Router::new();
    for dialect in DIALECTS {
        for endpoint in dialect.endpoints {
            let app = Arc::clone(app);
            let endpoint: &'static Endpoint = endpoint;
            let admitted = (endpoint.route)().layer(from_fn(move |request: Request, next| {
                admit(Arc::clone(&app), dialect, endpoint, request, next)
            }));
            router = router.route(endpoint.path, admitted);
        }
    }
    let router = router.fallback(unknown_path).method_not_allowed_fallback(unknown_method);
    let guarded = Arc::clone(app);
    let router = router.layer(from_fn(move |request: Request, next| guard(Arc::clone(&guarded), request, next)));
    router.with_state(Arc::clone(app))
}

async fn unknown_path(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("no endpoint {method} {path}\nhint: /docs lists all that there are");
    let response = refuse(dialect_of(path), &Failure::new(FailureKind::NotFound, message));
    with_id(request.headers(), response)
}

async fn unknown_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not know the method {method}\nhint: /docs lists what it knows");
    let response = refuse(dialect_of(path), &Failure::new(FailureKind::Method, message));
    with_id(request.headers(), response)
}

/// TLS by files.
fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let TlsFiles { certificates, key } = files;
    let read = |error: &dyn std::fmt::Display, path: &std::path::Path| {
        StartError::Tls(format!("cannot read {}: {error}", path.display()))
    };
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| read(&error, certificates))?;
    if chain.is_empty() {
        return Err(StartError::Tls(format!("{} holds no certificate", certificates.display())));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| read(&error, key))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|config| config.with_no_client_auth())
        .and_then(|config| config.with_single_cert(chain, key));
    let mut config = config.map_err(|error| StartError::Tls(format!("cannot use the certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
