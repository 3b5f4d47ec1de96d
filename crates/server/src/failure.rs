//! Why a request is refused or broken off, before any dialect gives it its shape.
//!
//! Read next: `api`, where each dialect turns it into its own error body.

use axum::http::StatusCode;
use chat::ChatError;
use eval::EvalError;
use std::time::Duration;
use tasks::TaskError;

/// What kind of trouble: one for each status that a client can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The request is wrong.
    Invalid,
    /// No key, or one that nobody has.
    Unauthorized,
    /// The key does not allow it.
    Forbidden,
    /// No such path, model or blob.
    NotFound,
    /// The path exists, for another method.
    Method,
    /// What was asked about is another one by now.
    Conflict,
    /// The deadline passed.
    Timeout,
    /// The body is larger than allowed.
    TooLarge,
    /// Too much at once.
    Limited,
    /// The model generated what it was not asked for.
    BadOutput,
    /// A fault in this program.
    Internal,
    /// Something outside failed, or the server is about to end.
    Unavailable,
}

impl FailureKind {
    /// The status of a response with it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            FailureKind::Invalid => StatusCode::BAD_REQUEST,
            FailureKind::Unauthorized => StatusCode::UNAUTHORIZED,
            FailureKind::Forbidden => StatusCode::FORBIDDEN,
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::Method => StatusCode::METHOD_NOT_ALLOWED,
            FailureKind::Conflict => StatusCode::CONFLICT,
            FailureKind::Timeout => StatusCode::REQUEST_TIMEOUT,
            FailureKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            FailureKind::Limited => StatusCode::TOO_MANY_REQUESTS,
            FailureKind::BadOutput => StatusCode::BAD_GATEWAY,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            FailureKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people: what was expected, what came, what to do.
    pub(crate) message: String,
    /// The field of the request that is wrong, as a path (`messages[1].content`).
    pub(crate) field: Option<String>,
    /// A word that programs can match on, where the field of APIs has one.
    pub(crate) code: Option<&'static str>,
    /// When to try again, where the refusal itself tells; what it does not tell, `admit` adds.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), field: None, code: None, retry_after: None }
    }

    /// A field with a wrong value.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { field: Some(field.into()), ..Failure::new(FailureKind::Invalid, message) }
    }

    /// Adds what a client may do, behind what is said to whoever runs the server.
    #[must_use]
    pub(crate) fn or_try(mut self, hint: &str) -> Failure {
        self.message += if self.message.contains("\nhint: ") { "; " } else { "\nhint: " };
        self.message += hint;
        self
    }

    /// Refused for this long.
    pub(crate) fn limited_for(message: impl Into<String>, retry_after: Duration) -> Failure {
        Failure { retry_after: Some(retry_after), ..Failure::new(FailureKind::Limited, message) }
    }
}

/// Longest name, in bytes, that is compared with others: it comes from a client.
const LONGEST_COMPARED: usize = 64;

/// The hint that a name is near to one that is known, if it is: a slip of the hand, or its beginning or end.
pub(crate) fn nearest_hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    if name.len() > LONGEST_COMPARED {
        return None;
    }
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let is_part = |other: &str| name.len() >= 4 && (other.starts_with(name) || other.ends_with(name));
    let near = |other: &&str| distance(other) <= name.chars().count() / 4 || is_part(other);
    let nearest = known.filter(near).min_by_key(|other| distance(other))?;
    Some(format!("\nhint: did you mean `{nearest}`?"))
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Failure {
        let message = error.to_string();
        match error {
            ChatError::InvalidRequest(_) | ChatError::Unsupported { .. } | ChatError::Unloadable(_) => {
                Failure::new(FailureKind::Invalid, message)
            }
            ChatError::BadOption { field, .. } => Failure::field(field, message),
            ChatError::ToolSchema { .. } => Failure::field("tools", message),
            ChatError::ContextTooLong { .. } => {
                Failure { code: Some("context_length_exceeded"), ..Failure::new(FailureKind::Invalid, message) }
            }
            ChatError::UnknownModel(_) => Failure {
                code: Some("model_not_found"),
                field: Some("model".to_owned()),
                ..Failure::new(FailureKind::NotFound, message)
            },
            ChatError::BadOutput(_) => Failure::new(FailureKind::BadOutput, message),
            ChatError::Overloaded(_) => Failure::new(FailureKind::Limited, message),
            ChatError::Unavailable(_) => Failure::new(FailureKind::Unavailable, message),
            ChatError::Internal(_) => Failure::new(FailureKind::Internal, message),
        }
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Failure {
        let kind = match error {
            // The request has no field with the model: the task names it.
            TaskError::Model(error) => return Failure { field: None, ..Failure::from(error) },
            TaskError::Data(_) | TaskError::Input(_) => FailureKind::Invalid,
            TaskError::Output(_) => FailureKind::BadOutput,
            TaskError::Changed(_) => FailureKind::Conflict,
            TaskError::File(_) => FailureKind::Internal,
            TaskError::Storage(_) => FailureKind::Unavailable,
        };
        Failure::new(kind, error.to_string())
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Failure {
        let kind = match error {
            EvalError::Task(error) => return Failure::from(error),
            EvalError::Run(_) => FailureKind::NotFound,
            EvalError::Test(_)
            | EvalError::Goal(_)
            | EvalError::Metric(_)
            | EvalError::Earlier(_)
            | EvalError::Interchange(_) => FailureKind::Invalid,
            EvalError::Ledger(_) | EvalError::Grader(_) => FailureKind::Unavailable,
            EvalError::Statistics(_) | EvalError::Stopped => FailureKind::Internal,
        };
        let code = (kind == FailureKind::NotFound).then_some("evaluation_not_found");
        Failure { code, ..Failure::new(kind, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_joins_the_one_that_is_there() {
        let unknown = |text: &str| Failure::new(FailureKind::NotFound, text).or_try("look").message;
        assert_eq!(unknown("no model"), "no model\nhint: look");
        assert_eq!(unknown("no model\nhint: pull it"), "no model\nhint: pull it; look");
    }

    #[test]
    fn a_number_out_of_range_is_a_field() {
        let cold = ChatError::BadOption { field: "temperature", value: "-1".to_owned(), expected: "0 or more" };
        assert_eq!(Failure::from(cold), Failure::field("temperature", "temperature is -1, expected 0 or more"));
    }

    #[test]
    fn slips_and_parts_are_near() {
        let known = ["max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "n"];
        let near = |name: &str| nearest_hint(name, known.into_iter());
        let hint = |name: &str| Some(format!("\nhint: did you mean `{name}`?"));
        assert_eq!(near("temprature"), hint("temperature"));
        assert_eq!(near("max_token"), hint("max_tokens"));
        assert_eq!(near("completion_tokens"), hint("max_completion_tokens"));
        assert_eq!(near("topp"), hint("top_p"));
        for other in ["colour", "verbosity", "stop_words", "m", "", &"stop".repeat(17)] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
