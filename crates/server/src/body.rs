//! A request's body, read within its bounds and checked field by field.
//!
//! What a type does not know is an error that names it: nothing is accepted and ignored.

use crate::api::{Dialect, Reject};
use crate::app::App;
use crate::failure::{Failure, FailureKind, nearest_hint};
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// A JSON body of type `T`; a refusal has the shape of the dialect `D`.
pub(crate) struct JsonBody<D, T>(pub(crate) T, pub(crate) PhantomData<D>);

impl<D: Dialect, T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<D, T> {
    type Rejection = Reject<D>;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<JsonBody<D, T>, Reject<D>> {
        let bytes = read(request.into_body(), app).await?;
        Ok(JsonBody(parse(&bytes)?, PhantomData))
    }
}

/// All of a body, within the bounds of its size and its time.
pub(crate) async fn read(body: Body, app: &App) -> Result<Vec<u8>, Failure> {
    let most = app.options.max_body_bytes;
    let within = app.options.body_timeout;
    let collected = tokio::time::timeout(within, Limited::new(body, most).collect()).await;
    let late = |_| {
        let message = format!("the body of the request did not arrive within {} s (--body-timeout)", within.as_secs());
        Failure::new(FailureKind::Timeout, message)
    };
    match collected.map_err(late)? {
        Ok(bytes) => Ok(bytes.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {most} bytes (--max-body-bytes)");
            Err(Failure::new(FailureKind::TooLarge, message))
        }
        Err(error) => Err(Failure::new(FailureKind::Invalid, format!("the body broke off: {error}"))),
    }
}

/// A body as a value; an error names the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let is_syntax = inner.is_syntax() || inner.is_eof();
        let path = (path != ".").then_some(path);
        let field = if is_syntax { None } else { missing_field(path.as_deref(), &inner).or(path) };
        let shown = match &field {
            Some(field) => format!("{field}: {}{}", plain(&inner), unknown_field_hint(&inner).unwrap_or_default()),
            None if is_syntax => format!("the body is not JSON: {inner}"),
            None => format!("the body is not the JSON that was expected: {}", plain(&inner)),
        };
        Failure { field, ..Failure::new(FailureKind::Invalid, shown) }
    })?;
    let rest = reader.end();
    rest.map_err(|error| Failure::new(FailureKind::Invalid, format!("there is more after the JSON body: {error}")))?;
    Ok(value)
}

/// The path of a field that is missing: the error itself stands at the object that lacks it.
fn missing_field(path: Option<&str>, error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let name = text.strip_prefix("missing field `")?.split('`').next()?;
    Some(path.map_or(name.to_owned(), |path| format!("{path}.{name}")))
}

/// What the parser expected, in words for people, and in its own.
const EXPECTED: &[(&str, &[&str])] = &[
    ("a whole number of 0 or more", &["usize", "u64", "u32"]),
    ("a whole number", &["i64", "i32"]),
    ("a number", &["f64", "f32"]),
    ("true or false", &["a boolean"]),
    ("a text", &["a string"]),
    ("a list", &["a sequence"]),
    ("an object", &["a map"]),
];

/// An error about a value that can be read, without the place in the text: the field is named.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let Some((said, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    let words = EXPECTED.iter().find(|(_, own)| own.contains(&expected)).map(|(words, _)| *words);
    let words = words.unwrap_or(if expected.starts_with("struct ") { "an object" } else { expected });
    format!("{said}, expected {words}")
}

/// The hint at a known field that an unknown one is near to.
fn unknown_field_hint(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let mut names = text.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    nearest_hint(unknown, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "text")]
        _text: String,
    }

    #[test]
    fn an_error_names_the_field_by_its_path() {
        let refused = |body: &str| parse::<Outer>(body.as_bytes()).unwrap_err();
        let check = |body: &str, field: Option<&str>, message: &str| {
            let failure = refused(body);
            assert_eq!(failure.field.as_deref(), field, "{failure:?}");
            assert_eq!(failure.message, message);
        };
        check("{}", Some("inner"), "inner: missing field `inner`");
        check(r#"{"inner":[{}]}"#, Some("inner[0].text"), "inner[0].text: missing field `text`");
        check(
            r#"{"inner":[{"text":1}]}"#,
            Some("inner[0].text"),
            "inner[0].text: invalid type: integer `1`, expected a text",
        );
        check(r#"{"inner":[],"colour":1}"#, Some("colour"), "colour: unknown field `colour`, expected `inner`");
        check(
            r#"{"inner":[],"iner":1}"#,
            Some("iner"),
            "iner: unknown field `iner`, expected `inner`\nhint: did you mean `inner`?",
        );
        check(r#"{"inner":[}"#, None, "the body is not JSON: expected value at line 1 column 11");
        let array = "the body is not the JSON that was expected: invalid type: integer `1`, expected an object";
        assert!(refused("1").message.starts_with(array), "{:?}", refused("1"));
    }
}
