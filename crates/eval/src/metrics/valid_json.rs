//! Valid JSON: the share of generated texts that are JSON, with nothing around it.

use super::mean::share;
use super::{Metric, MetricError, MetricRow, texts};
use serde::de::IgnoredAny;
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "valid_json",
    about: "share of texts that are JSON, with nothing around it",
    kinds: &["generate"],
    main_of: &[],
    make,
};

fn make(_: &Task, _: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    // A `value` was read from JSON, and as text it is JSON again.
    Ok(share(|row| Some(texts::given(row).is_some_and(|text| is_json(&text)))))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stands_alone() {
        assert!(is_json(" {\"a\": [1, null]}\n") && is_json("5"));
        assert!(!is_json("```json\n{}\n```") && !is_json("{} {}") && !is_json(""));
    }
}
