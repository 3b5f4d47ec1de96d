//! The way in, the same for every endpoint: an id, who asks, how much they may ask, until when.
//!
//! ```text
//! request id -> is the server ending? -> key and scope -> the key's limits -> the server's limit -> deadline -> endpoint
//! ```
//!
//! Read next: `keys` for who may ask, `answering` for how an answer keeps to its deadline.

mod limits;

pub(crate) use limits::{Held, Limits};

use crate::api::{Dialect, DialectRow, Endpoint, Refused, Scope, put_retry_after, refuse};
use crate::app::{App, Place};
use crate::failure::{Failure, FailureKind};
use crate::keys::Key;
use crate::log::Record;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tower_service::Service;

/// The response's header with the id of its request, which a client may choose.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A request's header with the seconds that it may take.
pub(crate) static REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
/// Where clients of one dialect put the key.
static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Longest id that is taken from a client.
const LONGEST_ID: usize = 128;

/// What is known of a request beside its body.
#[derive(Clone)]
pub(crate) struct Context {
    /// Names the request in logs, in its response and in its errors.
    pub(crate) id: Arc<str>,
    /// When its headers had come.
    pub(crate) began: Instant,
    /// When it must have ended.
    pub(crate) deadline: Instant,
    /// Becomes true when it has to end before its deadline, because the server does. A line of a batch has none: the next
    /// server does it anew, and an error now would be its outcome.
    pub(crate) cut: Option<watch::Receiver<bool>>,
    /// Who asks, where a key is asked for.
    pub(crate) key: Option<Arc<Key>>,
    /// What it holds of limits, until its answer has ended.
    pub(crate) held: Arc<HeldByRequest>,
    /// What the log will say of it when its answer has ended.
    pub(crate) record: Arc<Record>,
}

/// What a request holds of limits: given back when the last part of its answer is dropped.
pub(crate) struct HeldByRequest {
    _place: Option<Place>,
    pub(crate) key: Option<Held>,
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Context, Infallible> {
        Ok(parts.extensions.get::<Context>().cloned().expect("every endpoint is behind `admit`; this is a bug"))
    }
}

/// Lets a request through to its endpoint, or refuses it.
pub(crate) async fn admit(
    app: Arc<App>,
    dialect: &'static DialectRow,
    endpoint: &'static Endpoint,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let (method, path) = (endpoint.method.as_str(), endpoint.path);
    let record = Arc::new(Record::new(Arc::clone(&id), method, path, began, app.options.log_prompts));
    let mut response = match enter(&app, endpoint, request.headers(), began, &record, &id) {
        Ok(context) => {
            // An endpoint may have no use for the context; its request has its place all the same.
            let _held = Arc::clone(&context.held);
            request.extensions_mut().insert(context);
            unless_it_panics(dialect, next.run(request)).await
        }
        Err(failure) => refuse(dialect, &failure),
    };
    put_id(&id, &mut response);
    note_response(&record, &response);
    if response.status() == StatusCode::TOO_MANY_REQUESTS && !response.headers().contains_key(RETRY_AFTER) {
        put_retry_after(&mut response, app.expected_wait());
    }
    app.metrics.note_response(endpoint.path, response.status());
    response
}

/// Answers a line of a batch as if it had come over a connection, and returns the id that it got. It takes no place
/// from those who wait for an answer, and counts for no key: how many lines are under way at once is bounded elsewhere.
pub(crate) async fn admit_line<D: Dialect>(
    app: &Arc<App>,
    endpoint: &'static Endpoint,
    body: String,
) -> (String, Response) {
    let began = Instant::now();
    let id = request_id(&HeaderMap::new());
    let record =
        Arc::new(Record::new(Arc::clone(&id), endpoint.method.as_str(), endpoint.path, began, app.options.log_prompts));
    let context = Context {
        id: Arc::clone(&id),
        began,
        deadline: began + app.options.request_timeout,
        cut: None,
        key: None,
        held: Arc::new(HeldByRequest { _place: None, key: None }),
        record: Arc::clone(&record),
    };
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = endpoint.method.clone();
    request.extensions_mut().insert(context);
    let mut route = (endpoint.route)().with_state(Arc::clone(app));
    let answered = async move { route.call(request).await.unwrap_or_else(|never: Infallible| match never {}) };
    let response = unless_it_panics(D::row(), answered).await;
    note_response(&record, &response);
    (id.to_string(), response)
}

/// A response, also where whoever makes it panics: that ends its request alone.
async fn unless_it_panics(dialect: &'static DialectRow, response: impl Future<Output = Response>) -> Response {
    let answered = AssertUnwindSafe(response).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        refuse(dialect, &Failure::new(FailureKind::Internal, "internal error: the request broke off"))
    })
}

fn note_response(record: &Record, response: &Response) {
    if let Some(Refused(reason)) = response.extensions().get::<Refused>() {
        record.note_trouble(reason);
    }
    record.note_status(response.status().as_u16());
}

/// The response to a request that no endpoint takes, with the request's id.
pub(crate) fn with_id(headers: &HeaderMap, mut response: Response) -> Response {
    put_id(&request_id(headers), &mut response);
    response
}

fn put_id(id: &str, response: &mut Response) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
}

fn enter(
    app: &Arc<App>,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    began: Instant,
    record: &Arc<Record>,
    id: &Arc<str>,
) -> Result<Context, Failure> {
    if app.is_draining() && endpoint.scope != Scope::Open {
        return Err(Failure::new(FailureKind::Unavailable, "the server is about to end; it takes no more requests"));
    }
    let key = authorize(app, endpoint.scope, headers)?;
    if let Some(key) = &key {
        record.note_key(&key.id);
    }
    // Whether the server lives can be asked however much it has to do.
    let place = (endpoint.scope != Scope::Open).then(|| app.place()).transpose()?;
    let held = key.as_ref().map(|key| app.limits.enter(key, began)).transpose()?;
    let deadline = began + timeout(headers, app.options.request_timeout)?;
    let held = HeldByRequest { _place: place, key: held };
    let (id, record) = (Arc::clone(id), Arc::clone(record));
    Ok(Context { id, began, deadline, cut: Some(app.when_cut()), key, held: Arc::new(held), record })
}

/// Who asks, if they may ask that.
fn authorize(app: &App, scope: Scope, headers: &HeaderMap) -> Result<Option<Arc<Key>>, Failure> {
    let (Some(keys), false) = (app.keys(), scope == Scope::Open) else { return Ok(None) };
    let missing = || {
        let message =
            "expected an API key, got none\nhint: send it as `Authorization: Bearer KEY`, or as `x-api-key: KEY`";
        Failure { code: Some("invalid_api_key"), ..Failure::new(FailureKind::Unauthorized, message) }
    };
    let secret = secret(headers).ok_or_else(missing)?;
    let unknown = || {
        let message = "expected an API key of this server, got another\nhint: keys are shown once, when they are made; whoever runs the server makes one with `bantam keys add NAME`";
        Failure { code: Some("invalid_api_key"), ..Failure::new(FailureKind::Unauthorized, message) }
    };
    let key = keys.find(secret).ok_or_else(unknown)?;
    if !key.allows(scope) {
        let message = format!(
            "the key {} does not allow this: it needs the scope admin\nhint: `bantam keys add NAME --scope admin` makes \
             one that does",
            key.name
        );
        return Err(Failure::new(FailureKind::Forbidden, message));
    }
    Ok(Some(key))
}

/// Whether a request to an endpoint that is open to everybody comes from somebody who may ask models.
pub(crate) fn may_infer(app: &App, headers: &HeaderMap) -> bool {
    authorize(app, Scope::Infer, headers).is_ok()
}

/// The key that a request carries, wherever its dialect puts it.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    bearer.or_else(|| headers.get(&API_KEY).and_then(|value| value.to_str().ok()))
}

/// How long a request may take: what it asks for, at most what the server allows.
fn timeout(headers: &HeaderMap, most: Duration) -> Result<Duration, Failure> {
    let Some(value) = headers.get(&REQUEST_TIMEOUT) else { return Ok(most) };
    let seconds = value.to_str().ok().and_then(|text| text.parse::<f64>().ok());
    match seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0) {
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(most).min(most)),
        None => {
            Err(Failure::field(REQUEST_TIMEOUT.as_str(), "x-request-timeout: expected a number of seconds above 0"))
        }
    }
}

/// The client's own id where it is printable and short, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let own = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    match own.filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(id) => Arc::from(id),
        None => Arc::from(format!("req_{}", random_text(24))),
    }
}

/// So many letters and digits that nobody can guess.
pub(crate) fn random_text(len: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).expect("the system has no randomness; nothing can be done without");
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}
