//! Asks a running server: the one of `--host` or `BANTAM_HOST`, with the key of `BANTAM_API_KEY`.
//!
//! Knows HTTP and how errors look, no endpoint. Read next: `commands/ps.rs`.

use crate::address::{Address, VARIABLE};
use crate::failure::UsedWrongly;
use anyhow::{Context, bail};
use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

/// The variable with the key.
const KEY_VARIABLE: &str = "BANTAM_API_KEY";

/// How long a server may take to be reached, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to ask.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// Where the server is [default: BANTAM_HOST, else 127.0.0.1:11434]; https:// before it asks by TLS
    #[arg(long, value_name = "HOST:PORT")]
    host: Option<String>,
}

/// A running server.
pub struct ServerClient {
    client: Client,
    url: String,
    key: Option<String>,
}

impl ServerClient {
    /// The server that is named, or that of the environment; it is not asked yet.
    ///
    /// # Errors
    /// A `--host` or `BANTAM_HOST` that names no place.
    pub fn new(args: &ServerArgs) -> anyhow::Result<ServerClient> {
        let address = match &args.host {
            Some(text) => Address::parse(text).map_err(|error| UsedWrongly(format!("--host: {error}")))?,
            None => Address::from_env()?,
        };
        let url = address.url();
        let key = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
        hub::use_our_tls();
        // The server is on this machine or in this network: no proxy stands before it.
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).no_proxy().build();
        Ok(ServerClient { client: client.context("cannot make an HTTP client")?, url, key })
    }

    /// What `GET path` answers.
    ///
    /// # Errors
    /// No server, one that refuses, or an answer that is no JSON.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(path, self.client.get(format!("{}{path}", self.url)))
    }

    /// What `POST path` with this body answers.
    ///
    /// # Errors
    /// As [`ServerClient::get`].
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        self.ask(path, request.body(body.to_string()))
    }

    fn ask(&self, path: &str, mut request: RequestBuilder) -> anyhow::Result<Value> {
        let url = &self.url;
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = match request.send() {
            Ok(response) => response,
            Err(error) => bail!("{}", unreachable(url, &error)),
        };
        let status = response.status();
        let text = response.text().with_context(|| format!("the answer of {url}{path} broke off"))?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return value.with_context(|| format!("{url}{path}: expected JSON; is this another program's server?"));
        }
        bail!("{url} refuses: {}", refusal(status, value.as_ref()))
    }
}

/// Why a server does not answer, with what may be done.
fn unreachable(url: &str, error: &reqwest::Error) -> String {
    let causes: Vec<&(dyn Error + 'static)> = successors(error.source(), |&cause| cause.source()).collect();
    let is_refused = causes
        .iter()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused);
    if is_refused {
        return format!(
            "no server listens at {url}\nhint: `bantam serve` starts one; --host or {VARIABLE} tells where another is"
        );
    }
    let cause = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    format!("cannot ask {url}: {cause}\nhint: {}", what_to_do(url, &cause, error.is_timeout() && !error.is_connect()))
}

/// Reasons, as rustls has them, that a server signed its certificate itself: that it is met as an authority's, that its
/// signature is of none that is known, or that none is known at all.
const UNTRUSTED: [&str; 3] = ["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"];

/// What may be done about a server that was reached, or was not, for this cause.
fn what_to_do(url: &str, cause: &str, is_slow: bool) -> String {
    match url.split_once("://") {
        Some(("http", place)) if cause.contains("HTTP version") => {
            format!("a server with TLS is asked at https://{place}")
        }
        Some(("https", place)) if cause.contains("InvalidContentType") => {
            format!("a server without TLS is asked at http://{place}")
        }
        _ if UNTRUSTED.iter().any(|reason| cause.contains(reason)) => {
            "the certificate is of no authority that this system trusts; SSL_CERT_FILE names a file of others, such as \
             the server's own certificate"
                .to_owned()
        }
        _ if cause.contains("not valid for name") => {
            format!("--host or {VARIABLE} must have the name that the certificate is for")
        }
        _ if cause.contains("certificate") => {
            "whoever runs the server has to give it another certificate (--tls-cert)".to_owned()
        }
        _ if is_slow => "it may have much to do; ask again later".to_owned(),
        _ => format!("--host or {VARIABLE} tells where the server is"),
    }
}

/// Why a server refuses, as it says it.
fn refusal(status: StatusCode, body: Option<&Value>) -> String {
    let error = body.and_then(|body| body.get("error"));
    let said = error.and_then(|error| error.as_str().or_else(|| error["message"].as_str()));
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("\nhint: {KEY_VARIABLE} holds the key to ask with"),
        _ => String::new(),
    };
    match said {
        Some(said) => format!("{}{hint}", said.split("\nhint: send it").next().unwrap_or(said)),
        None => format!("status {status}{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn certificates_that_are_not_taken_end_in_what_to_do() {
        let hint = |reason: &str| what_to_do("https://a", &format!("invalid peer certificate: {reason}"), false);
        for reason in ["UnknownIssuer", "BadSignature", "Other(OtherError(CaUsedAsEndEntity))"] {
            assert!(hint(reason).contains("SSL_CERT_FILE names a file of others"), "{reason}");
        }
        let name = "certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")";
        assert_eq!(hint(name), "--host or BANTAM_HOST must have the name that the certificate is for");
        assert_eq!(hint("Expired"), "whoever runs the server has to give it another certificate (--tls-cert)");
    }

    #[test]
    fn refusals_are_told_as_the_server_says_them() {
        let told = |status: StatusCode, body: Value| refusal(status, Some(&body));
        assert_eq!(told(StatusCode::NOT_FOUND, json!({"error": "no model x"})), "no model x");
        assert_eq!(told(StatusCode::BAD_REQUEST, json!({"error": {"message": "bad"}})), "bad");
        assert_eq!(
            told(StatusCode::UNAUTHORIZED, json!({"error": "expected an API key, got none\nhint: send it as .."})),
            "expected an API key, got none\nhint: BANTAM_API_KEY holds the key to ask with"
        );
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, None), "status 502 Bad Gateway");
    }
}
