//! Asks a running server: the one of `BANTAM_HOST`, with the key of `BANTAM_API_KEY`.
//!
//! Knows HTTP and how errors look, no endpoint. Read next: `commands/ps.rs`.

use crate::address::{Address, VARIABLE};
use anyhow::{Context, bail};
use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use std::time::Duration;

/// The variable with the key.
const KEY_VARIABLE: &str = "BANTAM_API_KEY";

/// How long a server may take to be reached, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
pub struct ServerClient {
    client: Client,
    url: String,
    key: Option<String>,
}

impl ServerClient {
    /// The server of the environment; it is not asked yet.
    ///
    /// # Errors
    /// A `BANTAM_HOST` that names no place.
    pub fn from_env() -> anyhow::Result<ServerClient> {
        let url = Address::from_env()?.url();
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
            Err(error) if error.is_connect() => {
                bail!("no server listens at {url}\nhint: `bantam serve` starts one; {VARIABLE} tells where another is")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot ask {url}")),
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
