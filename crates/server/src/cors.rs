//! What pages of other sites may do with this server: nothing, until their origin is named.
//!
//! A browser lets any page send requests to any address that the browser can reach, this machine's own included, and only
//! keeps the answer from it. So a request that changes or costs something and that another site's page sent is refused
//! here, before anything happens. Programs send no `Origin` and see nothing of this.
//!
//! A page can also have a name of its own point to this machine (DNS rebinding); then it is asked for by that name, and reads
//! what it gets. So a server for this machine alone, without keys, answers only to names of this machine.
//! Source: WHATWG Fetch, "CORS protocol". Read next: `listen`, which puts this around all endpoints.

use crate::api::{dialect_of, refuse};
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// Around every request.
pub(crate) async fn guard(app: Arc<App>, request: Request, next: Next) -> Response {
    if let Some(host) = host_of(&request).filter(|host| is_foreign(&app, host)) {
        let message = format!(
            "this server is for this machine alone and goes by no name like {host}\nhint: ask for localhost; or name its \
             origin (--cors-origin http://{host}), or make keys (bantam keys add NAME)"
        );
        return refuse(dialect_of(request.uri().path()), &Failure::new(FailureKind::Forbidden, message));
    }
    let Some(origin) = request.headers().get(ORIGIN).cloned() else { return next.run(request).await };
    let is_named = origin.to_str().is_ok_and(|origin| is_named(&app.options.cors_origins, origin));
    let asks_first = request.method() == Method::OPTIONS;
    if is_named && asks_first && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return allow(origin, preflight(request.headers()));
    }
    if is_named {
        return allow(origin, next.run(request).await);
    }
    let is_harmless = asks_first || matches!(*request.method(), Method::GET | Method::HEAD);
    if is_harmless || is_own(&app, &origin, &request) {
        return next.run(request).await;
    }
    let origin = origin.to_str().unwrap_or("one that is no text");
    let message = format!(
        "pages of {origin} may not ask this server\nhint: --cors-origin {origin} lets them; programs send no Origin"
    );
    refuse(dialect_of(request.uri().path()), &Failure::new(FailureKind::Forbidden, message))
}

/// Whether whoever started the server named this origin.
fn is_named(named: &[String], origin: &str) -> bool {
    named.iter().any(|own| own == "*" || own.eq_ignore_ascii_case(origin))
}

/// Whether the page came from this server. Without keys the name must also be one that only this machine or its network
/// has: a foreign name that was made to point here (DNS rebinding) would be the page's own origin too.
fn is_own(app: &App, origin: &HeaderValue, request: &Request) -> bool {
    let host = host_of(request);
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    match (origin, host) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => app.keys().is_some() || is_local(host),
        _ => false,
    }
}

/// The name that the server is asked by.
fn host_of(request: &Request) -> Option<&str> {
    // HTTP/2 has the name in the URI.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// Whether a server for this machine alone, without keys, is asked by a name that is neither of this machine nor of an
/// origin that was named.
fn is_foreign(app: &App, host: &str) -> bool {
    let is_of = |origin: &String| {
        origin == "*" || origin.split_once("://").is_some_and(|(_, named)| named.eq_ignore_ascii_case(host))
    };
    let is_for_this_machine = app.keys().is_none() && app.options.address.ip().is_loopback();
    is_for_this_machine && !is_local(host) && !app.options.cors_origins.iter().any(is_of)
}

/// Whether a host is `localhost` or an address.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The answer to a browser that asks before it asks.
fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, DELETE"));
    if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        out.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    out.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets pages of this origin read a response.
fn allow(origin: HeaderValue, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_this_machine_are_told_from_others() {
        for own in
            ["localhost", "localhost:11434", "LOCALHOST:1", "127.0.0.1:11434", "[::1]:11434", "[::1]", "10.0.0.7"]
        {
            assert!(is_local(own), "{own}");
        }
        for other in
            ["example.com", "example.com:11434", "localhost.example.com:80", "127.0.0.1.example.com", "", "[x]"]
        {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let named = ["https://a.example".to_owned()];
        assert!(is_named(&named, "https://a.example") && is_named(&named, "HTTPS://A.EXAMPLE"));
        assert!(!is_named(&named, "http://a.example") && !is_named(&named, "https://a.example.evil"));
        assert!(is_named(&["*".to_owned()], "null") && !is_named(&[], "null"));
    }
}
