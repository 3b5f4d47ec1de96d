//! How long a model is to stay in memory, as clients of several dialects write it.

use crate::failure::Failure;
use chat::KeepAlive;
use serde_json::Value;
use std::time::Duration;

/// How long the model is to stay in memory: seconds, or a text such as `5m`; negative: for ever.
pub(crate) fn keep_alive(value: Option<&Value>) -> Result<Option<KeepAlive>, Failure> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => duration_seconds(text),
        _ => None,
    };
    match seconds.filter(|seconds| seconds.is_finite()) {
        Some(seconds) if seconds < 0.0 => Ok(Some(KeepAlive::Forever)),
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(duration) => Ok(Some(KeepAlive::For(duration))),
            Err(_) => Ok(Some(KeepAlive::Forever)),
        },
        None => {
            let message = format!("keep_alive: expected seconds or a text such as \"5m\", got {value}");
            Err(Failure::field("keep_alive", message))
        }
    }
}

/// Seconds of `1h30m`, `300ms`, `-1` or `10`.
fn duration_seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds);
    }
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|letter: char| letter.is_ascii_digit()).unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &unit[end..];
    }
    Some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keep_alive_takes_what_clients_send() {
        let seconds = |value: Value| keep_alive(Some(&value)).unwrap();
        let of = |seconds| Some(KeepAlive::For(Duration::from_secs_f64(seconds)));
        assert_eq!(seconds(json!(10)), of(10.0));
        assert_eq!(seconds(json!("10")), of(10.0));
        assert_eq!(seconds(json!("1h30m")), of(5400.0));
        assert_eq!(seconds(json!("250ms")), of(0.25));
        assert_eq!(seconds(json!(0)), of(0.0));
        assert_eq!(seconds(json!(-1)), Some(KeepAlive::Forever));
        assert_eq!(seconds(json!("-1m")), Some(KeepAlive::Forever));
        assert_eq!(seconds(Value::Null), None);
        let refused = keep_alive(Some(&json!("soon"))).unwrap_err();
        assert_eq!(refused.message, "keep_alive: expected seconds or a text such as \"5m\", got \"soon\"");
    }
}
