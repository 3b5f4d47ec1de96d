//! HTTP as the hub needs it: one GET, redirects followed by hand, failures sorted into those worth another try.
//!
//! A token goes to the server that it was meant for and to no other, redirects included. This file knows no source's
//! protocol and writes no file. Read next: `download.rs`.

use crate::HubError;
use reqwest::blocking::{Client, Response};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use std::io::Read;
use std::time::Duration;

/// Redirects followed at most.
const MOST_REDIRECTS: usize = 10;
/// Tries to reach a server that has never answered.
const MOST_KNOCKS: u32 = 2;
/// Where packets are dropped rather than refused, the next source should not wait long for its turn.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// A server that asks for a longer pause is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Bytes that must arrive for failures to be forgotten.
const WORTH_ANOTHER_ROUND: u64 = 1 << 20;

/// How often and how soon to try again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Tries without much progress between them, the first included.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long a server may be silent.
    pub stall: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(16),
            stall: Duration::from_secs(30),
        }
    }
}

/// A token, and the only server that may see it.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub(crate) token: String,
    pub(crate) server: Url,
}

/// What to get.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) url: Url,
    pub(crate) bearer: Option<Bearer>,
    pub(crate) accept: Option<&'static str>,
}

impl Request {
    pub(crate) fn new(address: &str) -> Result<Request, HubError> {
        let wrong = |reason: String| HubError::Refused {
            what: address.split(['?', '#']).next().unwrap_or_default().to_string(),
            reason,
            hint: "addresses look like https://host/path".to_string(),
        };
        let url = Url::parse(address).map_err(|error| wrong(format!("not an address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(format!("expected an http or https address, got {}:", url.scheme())));
        }
        Ok(Request { url, bearer: None, accept: None })
    }

    /// The address without what may be secret.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// An address without query, fragment and credentials: those may be secrets.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// A failed try.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server could not be reached.
    Unreachable { host: String, reason: String },
    /// It may go better next time; not sooner than the pause, if the server named one.
    Passing { reason: String, pause: Option<Duration> },
    /// The server has another version of the file than the one that was begun. What has arrived is worth nothing.
    Changed,
    /// Trying again changes nothing.
    Lasting(HubError),
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Trouble {
        Trouble::Lasting(error)
    }
}

/// Has this process's TLS be ring, as ours is everywhere. Whoever installed a provider first keeps it; any will do.
pub fn use_our_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client.
pub(crate) struct Http {
    client: Client,
    pub(crate) policy: RetryPolicy,
}

impl Http {
    /// `proxies`: whether the environment's proxies are used.
    pub(crate) fn new(policy: RetryPolicy, proxies: bool) -> Result<Http, HubError> {
        use_our_tls();
        let mut builder = Client::builder()
            .user_agent(concat!("bantam/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(policy.stall.min(LONGEST_CONNECT))
            // In the blocking client this bounds each read, not the whole download.
            .timeout(policy.stall);
        if !proxies {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| HubError::Refused {
            what: "the HTTP client".to_string(),
            reason: reason(&error),
            hint: "check the system's certificate store and the proxy variables".to_string(),
        })?;
        Ok(Http { client, policy })
    }

    /// One try; answers 200, 206 and 416 come back, all others are troubles.
    pub(crate) fn open(&self, request: &Request, extra: &HeaderMap) -> Result<Response, Trouble> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(request, &url, extra)?;
            let status = response.status();
            if !status.is_redirection() {
                return sort_out(response, &url);
            }
            let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
            let next = place.and_then(|place| url.join(place).ok());
            let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                return Err(refused(&url, format!("{status}, but no address to go on to")).into());
            };
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(refused(&url, "redirects from https to http, which anybody could read".to_string()).into());
            }
            url = next;
        }
        Err(refused(&request.url, format!("more than {MOST_REDIRECTS} redirects")).into())
    }

    fn send(&self, request: &Request, url: &Url, extra: &HeaderMap) -> Result<Response, Trouble> {
        let mut builder = self.client.get(url.clone()).headers(extra.clone());
        // Compressed transfer would make lengths and ranges those of other bytes.
        builder = builder.header(header::ACCEPT_ENCODING, "identity");
        if let Some(accept) = request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some(bearer) = request.bearer.as_ref().filter(|bearer| same_server(&bearer.server, url)) {
            let value = HeaderValue::from_str(&format!("Bearer {}", bearer.token)).map_err(|_| {
                refused(url, "the token holds characters that no token has; check HF_TOKEN".to_string())
            })?;
            builder = builder.header(header::AUTHORIZATION, value);
        }
        builder.send().map_err(|error| {
            let reason = reason(&error);
            if is_distrust(&error) {
                let host = url.host_str().unwrap_or_default().to_string();
                Trouble::Lasting(HubError::Distrusted { host, reason })
            } else if error.is_connect() {
                Trouble::Unreachable { host: url.host_str().unwrap_or_default().to_string(), reason }
            } else {
                Trouble::Passing { reason, pause: None }
            }
        })
    }

    /// A short text, tried again as the policy says. More than `limit` bytes are an error.
    pub(crate) fn text(&self, request: &Request, limit: u64) -> Result<(String, HeaderMap), HubError> {
        let mut retry = Retry::new(self.policy, request.shown());
        loop {
            match self.text_once(request, limit) {
                Ok(text) => return Ok(text),
                Err(trouble) => retry.after(trouble)?,
            }
        }
    }

    fn text_once(&self, request: &Request, limit: u64) -> Result<(String, HeaderMap), Trouble> {
        let response = self.open(request, &HeaderMap::new())?;
        if response.status() != StatusCode::OK {
            return Err(refused(&request.url, format!("expected status 200, got {}", response.status())).into());
        }
        let headers = response.headers().clone();
        let mut bytes = Vec::new();
        let passing = |error: std::io::Error| Trouble::Passing { reason: reason(&error), pause: None };
        response.take(limit + 1).read_to_end(&mut bytes).map_err(passing)?;
        if bytes.len() as u64 > limit {
            return Err(refused(&request.url, format!("expected at most {limit} bytes, got more")).into());
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| refused(&request.url, "expected UTF-8 text, got other bytes".to_string()))?;
        Ok((text, headers))
    }
}

/// Counts failures in a row, pauses after each, and gives up in the end.
pub(crate) struct Retry {
    policy: RetryPolicy,
    what: String,
    failures: u32,
    reached: bool,
    /// Bytes since the count began.
    bytes: u64,
}

impl Retry {
    pub(crate) fn new(policy: RetryPolicy, what: String) -> Retry {
        Retry { policy, what, failures: 0, reached: false, bytes: 0 }
    }

    /// The same for a server that was reached before.
    pub(crate) fn of_reached(self) -> Retry {
        Retry { reached: true, ..self }
    }

    /// Bytes arrived that were not here before. After enough of them the count begins anew; a server that cuts every connection after a few
    /// bytes must not keep us for ever.
    pub(crate) fn progressed(&mut self, bytes: u64) {
        self.reached = true;
        self.bytes += bytes;
        if self.bytes >= WORTH_ANOTHER_ROUND {
            self.bytes = 0;
            self.failures = 0;
        }
    }

    /// Pauses, or says that it is over.
    pub(crate) fn after(&mut self, trouble: Trouble) -> Result<(), HubError> {
        self.failures += 1;
        let (error, asked) = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Changed => {
                let hint = "it differs from one request to the next; pull again later, or use another source";
                let reason = format!("the file keeps changing at its source ({} tries)", self.failures);
                (HubError::Refused { what: self.what.clone(), reason, hint: hint.to_string() }, None)
            }
            Trouble::Unreachable { host, reason } => (HubError::Offline { host, reason }, None),
            Trouble::Passing { reason, pause } => {
                self.reached = true;
                let hint = "the server has trouble, or the network; pull again later, what has arrived is kept";
                let reason = format!("{reason} ({} tries)", self.failures);
                (HubError::Refused { what: self.what.clone(), reason, hint: hint.to_string() }, pause)
            }
        };
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = asked.unwrap_or(doubled.min(self.policy.longest_pause));
        // A server never reached is most likely a missing network: do not keep the user waiting.
        let attempts = if self.reached { self.policy.attempts } else { self.policy.attempts.min(MOST_KNOCKS) };
        if self.failures >= attempts || pause > LONGEST_PAUSE {
            return Err(error);
        }
        std::thread::sleep(pause);
        Ok(())
    }
}

fn sort_out(response: Response, url: &Url) -> Result<Response, Trouble> {
    let status = response.status();
    let pause = || {
        let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    };
    match status.as_u16() {
        200 | 206 | 416 => Ok(response),
        401 | 403 => {
            // The Hugging Face hub answers 401 for repositories that are not there, and says so in this header.
            let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
            if code.is_some_and(|code| code.ends_with("NotFound")) {
                return Err(not_found(url).into());
            }
            Err(HubError::Denied { what: shown(url), status: status.as_u16() }.into())
        }
        404 | 410 => Err(not_found(url).into()),
        408 | 425 | 429 | 500..=599 => Err(Trouble::Passing { reason: format!("status {status}"), pause: pause() }),
        _ => Err(refused(url, format!("expected status 200, got {status}")).into()),
    }
}

fn not_found(url: &Url) -> HubError {
    let hint = "check the name; it may be misspelt, renamed or private".to_string();
    HubError::NotFound { what: shown(url), hint }
}

fn refused(url: &Url, reason: String) -> HubError {
    HubError::Refused {
        what: shown(url),
        reason,
        hint: "the server is not what it should be; use another source".into(),
    }
}

fn same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

/// An error with its causes, the innermost last, and of a connection that failed only that one; never with an address, which may hold secrets.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    let unconnected = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
    while let Some(error) = next {
        // An I/O error that wraps another says the same, and hides that other from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(wrapped) = wrapped {
            next = Some(wrapped);
            continue;
        }
        let text = match error.downcast_ref::<reqwest::Error>() {
            Some(http) if http.is_timeout() => "the server was silent for too long".to_string(),
            Some(http) if http.is_connect() => "no connection".to_string(),
            Some(http) if http.is_body() || http.is_decode() => "the connection was cut".to_string(),
            Some(http) if http.is_request() => "the request failed".to_string(),
            Some(_) => "the transfer failed".to_string(),
            None => error.to_string(),
        };
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    match (texts.pop(), unconnected) {
        (Some(innermost), true) => innermost,
        (last, _) => {
            texts.extend(last);
            texts.join(": ")
        }
    }
}

/// Whether a connection failed because of the server's certificate.
fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An I/O error hides the one that it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_no_missing_network() {
        let wrapped = |error: rustls::Error| std::io::Error::other(std::io::Error::other(error));
        assert!(is_distrust(&wrapped(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))));
        assert!(!is_distrust(&wrapped(rustls::Error::DecryptError)));
        assert!(!is_distrust(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    }

    fn tries(trouble: impl Fn() -> Trouble, before: impl FnOnce(&mut Retry)) -> u32 {
        let pause = Duration::from_millis(1);
        let policy = RetryPolicy { attempts: 5, first_pause: pause, longest_pause: pause, stall: pause };
        let mut retry = Retry::new(policy, "x".to_string());
        before(&mut retry);
        (1..).find(|_| retry.after(trouble()).is_err()).unwrap()
    }

    #[test]
    fn a_server_never_reached_is_tried_less_than_one_that_was() {
        let unreachable = || Trouble::Unreachable { host: "h".into(), reason: "r".into() };
        let passing = || Trouble::Passing { reason: "r".into(), pause: None };
        assert_eq!(tries(unreachable, |_| ()), 2);
        assert_eq!(tries(unreachable, |retry| retry.progressed(1)), 5);
        assert_eq!(tries(passing, |_| ()), 5);
        assert_eq!(tries(|| Trouble::Passing { reason: "r".into(), pause: Some(LONGEST_PAUSE * 2) }, |_| ()), 1);
    }

    #[test]
    fn failures_are_forgotten_after_enough_bytes_only() {
        let passing = || Trouble::Passing { reason: "r".into(), pause: None };
        let after = |bytes: u64| {
            tries(passing, |retry| {
                retry.after(passing()).unwrap();
                retry.progressed(bytes);
            })
        };
        assert_eq!(after(WORTH_ANOTHER_ROUND - 1), 4);
        assert_eq!(after(WORTH_ANOTHER_ROUND), 5);
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        let request = Request::new("https://user:key@host.example:8443/a/b?token=key#key").unwrap();
        assert_eq!(request.shown(), "https://host.example:8443/a/b");
        for wrong in ["ftp://a/b", "a/b", "file:///etc/passwd", ""] {
            assert!(Request::new(wrong).is_err(), "{wrong}");
        }
    }
}
