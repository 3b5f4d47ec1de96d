//! Perplexity of the right texts: how much a model is surprised by what it should have written, less is better.
//!
//! By bytes and not by tokens, so that models with different tokenizers can be compared: e to the negative mean of the
//! logarithm of the probability, over all bytes of all texts. 1 is a model that knew them all; log2 of it is bits per byte.
//! Nothing is generated for it: the candidates are asked how likely the texts are (`tasks::Likelihood`).

use super::{Counts, Judged, Metric, MetricError, MetricRow, texts};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: BYTE_PERPLEXITY,
    about: "perplexity of the right texts by byte, 1 where the model knew them; less is better, and nothing is generated",
    kinds: &["generate", "complete"],
    main_of: &[],
    make: |task, examples| {
        texts::check(ROW.name, task, examples)?;
        match examples.iter().zip(1..).find(|(example, _)| example.expected.is_array()) {
            None => Ok(Box::new(BytePerplexity)),
            Some((_, number)) => Err(MetricError::Data(format!(
                "metric `{}` is of one right text: expected a text in example {number} of {}, got a list\n\
                 hint: keep the best of them",
                ROW.name, task.name
            ))),
        }
    },
};

/// The name, which says that candidates are asked how likely texts are.
pub const BYTE_PERPLEXITY: &str = "byte_perplexity";

/// Slots: the sum of the logarithms, and the bytes.
struct BytePerplexity;

impl Metric for BytePerplexity {
    fn slots(&self) -> usize {
        2
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        let logprob = row.outcome.get("logprob")?.as_f64()?;
        let bytes = row.outcome.get("bytes")?.as_f64()?;
        Some(Counts(vec![(0, logprob), (1, bytes)]))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        let [logprob, bytes] = *sums else { return None };
        (bytes > 0.0).then(|| (-logprob / bytes).exp())
    }

    fn is_share(&self) -> bool {
        false
    }

    fn is_better_higher(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};
    use tasks::{Example, Generate, Input, Task};

    #[test]
    fn it_is_of_all_bytes_together() {
        let input = Input::text("");
        let count = |outcome: Value| {
            let outcome: Map<String, Value> = outcome.as_object().unwrap().clone();
            BytePerplexity.count(&Judged { input: &input, expected: &Value::Null, outcome: &outcome })
        };
        assert_eq!(count(json!({"logprob": -3.0, "bytes": 4})), Some(Counts(vec![(0, -3.0), (1, 4.0)])));
        assert_eq!(count(json!({})), None);
        let figure = BytePerplexity.figure(&[-8.0 * 2f64.ln(), 8.0]).unwrap();
        assert!((figure - 2.0).abs() < 1e-12, "a bit a byte: {figure}");
        assert_eq!(BytePerplexity.figure(&[0.0, 0.0]), None);
    }

    #[test]
    fn several_right_texts_are_refused() {
        let task = Task::new("t", Generate::default());
        let example = |expected: Value| Example { input: Input::text(""), expected };
        let make = |expected: Value| (ROW.make)(&task, &[example(expected)]).err().map(|error| error.to_string());
        assert_eq!(make(json!("one")), None);
        assert_eq!(
            make(json!(["one", "two"])).unwrap(),
            "metric `byte_perplexity` is of one right text: expected a text in example 1 of t, got a list\n\
             hint: keep the best of them"
        );
    }
}
