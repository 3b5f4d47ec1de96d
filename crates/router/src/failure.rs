//! What a provider's refusals mean: which are worth another try, and what a user is told of the others.
//!
//! The words are the provider's own, with the status, and a hint. Read next: `retry.rs`.

use crate::Key;
use crate::retry::asked_pause;
use chat::ChatError;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// Characters of a provider's message that are shown.
const LONGEST_MESSAGE: usize = 1000;

/// A try that failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may go better next time; not sooner than the pause, where the provider named one.
    Passing {
        /// What happened.
        why: String,
        /// How long the provider wants to be left alone.
        pause: Option<Duration>,
        /// Whether it is too much at once, rather than a fault.
        is_limit: bool,
    },
    /// Trying again changes nothing.
    Lasting(ChatError),
}

impl Trouble {
    /// Something that may go better next time.
    pub(crate) fn passing(why: impl Into<String>) -> Trouble {
        Trouble::Passing { why: why.into(), pause: None, is_limit: false }
    }
}

impl From<ChatError> for Trouble {
    fn from(error: ChatError) -> Trouble {
        Trouble::Lasting(error)
    }
}

/// What an answer with another status than 200 is to whoever asked.
pub(crate) fn sort(name: &str, key: Option<&Key>, status: u16, headers: &HeaderMap, body: &[u8]) -> Trouble {
    let said = Said::of(body, key);
    let told = format!("{name}: status {status}: {}", said.message);
    let place = key.map_or("the key of the endpoint, of which there is none", Key::place);
    match status {
        _ if said.is_out_of_credit() || status == 402 => {
            let hint = "hint: the account there has no credit left; trying again changes nothing";
            ChatError::Unloadable(format!("{told}\n{hint}")).into()
        }
        408 | 409 | 429 | 500..=599 => {
            let why = format!("status {status}: {}", said.message);
            Trouble::Passing { why, pause: asked_pause(headers), is_limit: matches!(status, 429 | 529) }
        }
        401 | 403 => {
            let hint = format!("hint: check {place}, and whether its account may use this model");
            ChatError::Unloadable(format!("{told}\n{hint}")).into()
        }
        404 | 410 => {
            let hint = "hint: check the name of the model and the address of the provider";
            ChatError::UnknownModel(format!("{told}\n{hint}")).into()
        }
        300..=399 => {
            let got = format!("got status {status}, which sends on to another address");
            let hint = "hint: check the base URL; a key is sent to no other place than that";
            ChatError::Unloadable(format!("{name}: expected an answer, {got}\n{hint}")).into()
        }
        413 => ChatError::InvalidRequest(format!("{told}\nhint: shorten the prompt")).into(),
        _ => {
            let hint = "hint: the provider does not take this request as it is; see its own words above";
            ChatError::InvalidRequest(format!("{told}\n{hint}")).into()
        }
    }
}

/// What a provider says of an error, wherever it says it.
pub(crate) struct Said {
    pub(crate) message: String,
    codes: Vec<String>,
}

impl Said {
    fn of(body: &[u8], key: Option<&Key>) -> Said {
        let text = String::from_utf8_lossy(body);
        let said = match serde_json::from_slice::<Value>(body) {
            Ok(value) => Said::of_value(&value),
            Err(_) => Said { message: shortened(text.trim().to_owned()), codes: Vec::new() },
        };
        let message = if said.message.is_empty() { "(no message)".to_owned() } else { said.message };
        Said { message: key.map_or(message.clone(), |key| key.hidden_in(&message)), ..said }
    }

    /// What an error object says, which may come with status 200 in the middle of a stream.
    pub(crate) fn of_value(value: &Value) -> Said {
        let places = ["/error/message", "/0/error/message", "/message", "/error", "/detail"];
        let found = places.iter().find_map(|place| value.pointer(place).filter(|found| !found.is_null()));
        let message = match found {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => value.to_string(),
        };
        let codes = ["/error/code", "/error/type", "/error/status", "/code"];
        let text = |place: &&str| value.pointer(place).and_then(Value::as_str).map(str::to_owned);
        Said { message: shortened(message), codes: codes.iter().filter_map(text).collect() }
    }

    /// Whether the account has spent what it may.
    fn is_out_of_credit(&self) -> bool {
        self.codes.iter().any(|code| code == "insufficient_quota" || code == "billing_error")
    }

    /// What an error in the middle of a stream is: the provider began, so the request itself was taken.
    pub(crate) fn in_stream(self) -> Trouble {
        let is_limit = self.codes.iter().any(|code| code == "overloaded_error" || code == "rate_limit_error");
        Trouble::Passing { why: format!("the provider broke off: {}", self.message), pause: None, is_limit }
    }
}

/// A message as far as it is shown.
fn shortened(message: String) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{} [cut after {LONGEST_MESSAGE} characters]", &message[..end]),
        None => message,
    }
}

/// An error of the connection in words: its causes, without an address, which may hold secrets.
pub(crate) fn of_connection(name: &str, error: reqwest::Error) -> Trouble {
    let what = match () {
        () if error.is_timeout() => "the server was silent for too long",
        () if error.is_connect() => "no connection",
        () if error.is_body() || error.is_decode() => "the connection was cut",
        () => "the request failed",
    };
    let error = error.without_url();
    let mut innermost: &(dyn std::error::Error + 'static) = &error;
    loop {
        if let Some(rustls::Error::InvalidCertificate(why)) = innermost.downcast_ref::<rustls::Error>() {
            let hint = "hint: check the clock, and whether the system's certificate store knows a proxy that re-signs";
            let message = format!("{name}: the certificate of the server is not trusted: {why}\n{hint}");
            return Trouble::Lasting(ChatError::Unavailable(message));
        }
        // An I/O error hides the one that it wraps from `source`.
        let wrapped = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let wrapped = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static));
        match wrapped.or_else(|| innermost.source()) {
            Some(next) => innermost = next,
            None => break,
        }
    }
    Trouble::passing(format!("{what}: {innermost}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        let key = Key::of_variable("K", &|_| Some("sk-1".to_owned())).unwrap();
        let told = match sort("p/m", Some(&key), status, &HeaderMap::new(), body.as_bytes()) {
            Trouble::Passing { why, is_limit, .. } => format!("passing {is_limit} {why}"),
            Trouble::Lasting(error) => error.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn refusals_are_told_in_the_providers_words_with_a_hint() {
        let refused = "hint: the provider does not take this request as it is; see its own words above";
        check(400, r#"{"error": {"message": "bad top_p"}}"#, &format!("p/m: status 400: bad top_p\n{refused}"));
        check(422, r#"{"detail": [{"loc": ["x"]}]}"#, &format!("p/m: status 422: [{{\"loc\":[\"x\"]}}]\n{refused}"));
        check(
            401,
            r#"{"type": "error", "error": {"type": "authentication_error", "message": "no such key sk-1"}}"#,
            "p/m: status 401: no such key [key]\nhint: check K, and whether its account may use this model",
        );
        let hint = "hint: check the name of the model and the address of the provider";
        check(404, "<html>", &format!("p/m: status 404: <html>\n{hint}"));
        let hint = "hint: the account there has no credit left; trying again changes nothing";
        let quota = r#"{"error": {"message": "pay", "code": "insufficient_quota"}}"#;
        check(429, quota, &format!("p/m: status 429: pay\n{hint}"));
        check(429, r#"[{"error": {"message": "slow"}}]"#, "passing true status 429: slow");
        check(503, "", "passing false status 503: (no message)");
    }
}
