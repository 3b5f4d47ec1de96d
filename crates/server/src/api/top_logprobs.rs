//! The likeliest tokens at each place, as several dialects ask for their log-probabilities.

use crate::failure::Failure;

/// Most alternatives a token (the bound of all references).
const MOST_TOP_LOGPROBS: usize = 20;

/// Alternatives to report; none: no log-probabilities at all. `wanted`: whether a request asks for log-probabilities, `how`:
/// what it would say then, `top`: its `top_logprobs`.
pub(crate) fn top_logprobs(wanted: bool, how: &str, top: Option<usize>) -> Result<Option<usize>, Failure> {
    let refuse = |message: String| Err(Failure::field("top_logprobs", format!("top_logprobs: expected {message}")));
    match top.unwrap_or(0) {
        top if top > MOST_TOP_LOGPROBS => refuse(format!("0 to {MOST_TOP_LOGPROBS}, got {top}")),
        1.. if !wanted => refuse(format!("only where {how}")),
        top => Ok(wanted.then_some(top)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_bounded_and_only_where_log_probabilities_are_asked_for() {
        let asked = |wanted, top| top_logprobs(wanted, "logprobs is true", top).map_err(|failure| failure.message);
        assert_eq!(asked(false, None), Ok(None));
        assert_eq!(asked(false, Some(0)), Ok(None));
        assert_eq!(asked(true, None), Ok(Some(0)));
        assert_eq!(asked(true, Some(20)), Ok(Some(20)));
        assert_eq!(asked(false, Some(1)), Err("top_logprobs: expected only where logprobs is true".to_owned()));
        assert_eq!(asked(true, Some(21)), Err("top_logprobs: expected 0 to 20, got 21".to_owned()));
    }
}
