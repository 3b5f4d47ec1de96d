//! Token F1: how far the words of an answer are those of the right one, whatever their order.
//!
//! Words as SQuAD counts them (`squad.rs`); of several right answers the best counts.

use super::mean::mean;
use super::{Judged, Metric, MetricError, MetricRow, Tally, squad, texts};
use tasks::{Example, Task};

/// Its line of the table.
pub(crate) static ROW: MetricRow = MetricRow {
    name: "token_f1",
    about: "mean F1 of the words of an answer, as SQuAD counts it",
    kinds: &["answer", "generate"],
    main_of: &["answer"],
    make,
};

fn make(task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    texts::check(ROW.name, task, examples)?;
    Ok(mean(|row| Some(score(row))))
}

fn score(row: &Judged<'_>) -> f64 {
    let Some(given) = texts::given(row).map(|given| squad::normalized(&given)) else { return 0.0 };
    squad::right(row.expected).iter().map(|right| f1(right, &given)).fold(0.0, f64::max)
}

/// That of two normalized texts; two without words are the same.
fn f1(right: &str, given: &str) -> f64 {
    Tally::matched(right.split_whitespace(), given.split_whitespace()).f1().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tasks::Input;

    #[test]
    fn words_count_as_often_as_they_come() {
        assert_eq!(f1("b b c", "b c c c"), 4.0 / 7.0);
        assert_eq!((f1("b", "c"), f1("", ""), f1("b", ""), f1("", "b")), (0.0, 1.0, 0.0, 0.0));
    }

    #[test]
    fn no_answer_is_right_where_there_is_none() {
        let check = |expected: Value, outcome: Value, expected_score: f64| {
            let input = Input::text("");
            let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
            assert_eq!(score(&row), expected_score, "{expected} {outcome}");
        };
        check(json!([]), json!({"answer": null}), 1.0);
        check(json!(null), json!({"answer": "Denver"}), 0.0);
        check(json!("Denver"), json!({"answer": null}), 0.0);
        check(json!(null), json!({}), 0.0);
        check(json!(["x y", "Denver Broncos"]), json!({"answer": "the Broncos"}), 2.0 / 3.0);
    }
}
