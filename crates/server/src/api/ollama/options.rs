//! `options`: how to generate, by the names of the reference; also the parameters of a model that is created.
//!
//! One line an option: what it sets, or the one value that changes nothing, or that it has no effect here and is named in
//! the response's `warnings`.

use crate::api::ignored::no_effect;
use crate::failure::{Failure, nearest_hint};
use chat::GenerationOptions;
use serde_json::{Map, Value};

/// What options stand for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chosen {
    pub(super) options: GenerationOptions,
    /// Positions that prompt and answer of this request may take.
    pub(super) num_ctx: Option<usize>,
    /// The options that had no effect.
    pub(super) warnings: Vec<String>,
}

enum Effect {
    /// Sets something, unless the value is not what is expected.
    Sets { expected: &'static str, set: fn(&mut Chosen, &Value) -> Option<()> },
    /// A way of choosing tokens that there is none of here: only the value that turns it off.
    Off(f64),
    /// Tells how another engine is to run: nothing here.
    Nothing,
}

const NUMBER: &str = "a number";
const COUNT: &str = "a whole number of 0 or more";

static OPTIONS: &[(&str, Effect)] = &[
    ("num_ctx", sets("a whole number of 1 or more", |chosen, value| put(&mut chosen.num_ctx, at_least_one(value)))),
    ("num_predict", sets("a whole number of 1 or more, or -1 or -2 for as many as fit", num_predict)),
    ("seed", sets("a whole number", seed)),
    ("temperature", sets(NUMBER, |chosen, value| put(&mut chosen.options.temperature, number(value)))),
    ("top_k", sets(COUNT, |chosen, value| put(&mut chosen.options.top_k, count(value)))),
    ("top_p", sets(NUMBER, |chosen, value| put(&mut chosen.options.top_p, number(value)))),
    ("min_p", sets(NUMBER, |chosen, value| put(&mut chosen.options.min_p, number(value)))),
    ("repeat_penalty", sets(NUMBER, |chosen, value| put(&mut chosen.options.repeat_penalty, number(value)))),
    ("presence_penalty", sets(NUMBER, |chosen, value| put(&mut chosen.options.presence_penalty, number(value)))),
    ("frequency_penalty", sets(NUMBER, |chosen, value| put(&mut chosen.options.frequency_penalty, number(value)))),
    ("stop", sets("a text or a list of texts, none empty", stop)),
    ("typical_p", Effect::Off(1.0)),
    ("tfs_z", Effect::Off(1.0)),
    ("mirostat", Effect::Off(0.0)),
    ("mirostat_tau", Effect::Nothing),
    ("mirostat_eta", Effect::Nothing),
    ("penalize_newline", Effect::Nothing),
    ("repeat_last_n", Effect::Nothing),
    ("num_keep", Effect::Nothing),
    ("num_batch", Effect::Nothing),
    ("num_gpu", Effect::Nothing),
    ("main_gpu", Effect::Nothing),
    ("num_thread", Effect::Nothing),
    ("numa", Effect::Nothing),
    ("low_vram", Effect::Nothing),
    ("f16_kv", Effect::Nothing),
    ("logits_all", Effect::Nothing),
    ("vocab_only", Effect::Nothing),
    ("embedding_only", Effect::Nothing),
    ("use_mmap", Effect::Nothing),
    ("use_mlock", Effect::Nothing),
    ("draft_num_predict", Effect::Nothing),
];

const fn sets(expected: &'static str, set: fn(&mut Chosen, &Value) -> Option<()>) -> Effect {
    Effect::Sets { expected, set }
}

/// Reads the options that stand in the field `at`.
pub(super) fn options(at: &str, fields: Option<&Map<String, Value>>) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    for (name, value) in fields.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let path = format!("{at}.{name}");
        let refuse = |text: String| Err(Failure::field(path.clone(), format!("{path}: {text}")));
        match effect(name) {
            Some(Effect::Sets { expected, set }) => {
                if set(&mut chosen, value).is_none() {
                    return refuse(format!("expected {expected}, got {value}"));
                }
            }
            Some(Effect::Off(off)) if value.as_f64() == Some(*off) => {}
            Some(Effect::Off(off)) => return refuse(format!("expected {off}, which turns it off, got {value}")),
            Some(Effect::Nothing) => chosen.warnings.push(no_effect(&path)),
            None => {
                let near = nearest_hint(name, OPTIONS.iter().map(|(known, _)| *known));
                return refuse(format!("unknown option{}", near.unwrap_or_default()));
            }
        }
    }
    Ok(chosen)
}

/// Warnings for options that are known but cannot matter where nothing is generated.
pub(super) fn none_has_effect(at: &str, fields: Option<&Map<String, Value>>) -> Result<Vec<String>, Failure> {
    options(at, fields)?;
    Ok(without_effect(at, fields))
}

/// The warnings of all options, where nothing is generated.
pub(super) fn without_effect(at: &str, fields: Option<&Map<String, Value>>) -> Vec<String> {
    let names = fields.into_iter().flatten().filter(|(_, value)| !value.is_null());
    names.map(|(name, _)| no_effect(&format!("{at}.{name}"))).collect()
}

fn effect(name: &str) -> Option<&'static Effect> {
    OPTIONS.iter().find(|(known, _)| *known == name).map(|(_, effect)| effect)
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

/// A whole number, also where the client's language only has floats.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    let of_float = |number: f64| (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(of_float))
}

fn count(value: &Value) -> Option<usize> {
    whole(value).and_then(|whole| usize::try_from(whole).ok())
}

fn at_least_one(value: &Value) -> Option<usize> {
    count(value).filter(|count| *count > 0)
}

fn num_predict(chosen: &mut Chosen, value: &Value) -> Option<()> {
    chosen.options.max_tokens = match whole(value)? {
        -1 | -2 => None,
        _ => Some(at_least_one(value)?),
    };
    Some(())
}

/// The reference's default of -1 stands for a random seed.
fn seed(chosen: &mut Chosen, value: &Value) -> Option<()> {
    let seed = whole(value)?;
    chosen.options.seed = (seed != -1).then_some(seed.cast_unsigned());
    Some(())
}

fn stop(chosen: &mut Chosen, value: &Value) -> Option<()> {
    let texts: Vec<&str> = match value {
        Value::Array(texts) => texts.iter().map(Value::as_str).collect::<Option<_>>()?,
        one => vec![one.as_str()?],
    };
    if texts.iter().any(|text| text.is_empty()) {
        return None;
    }
    chosen.options.stop = texts.into_iter().map(str::to_owned).collect();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Chosen, String> {
        options("options", value.as_object()).map_err(|failure| failure.message)
    }

    #[test]
    fn each_option_is_set_warned_of_or_refused() {
        let all = json!({
            "num_ctx": 2048, "num_predict": 10.0, "seed": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.5, "min_p": 0,
            "repeat_penalty": 1.5, "presence_penalty": 0.25, "frequency_penalty": 0.75, "stop": ["a", "b"],
            "typical_p": 1.0, "mirostat": 0, "num_gpu": 99, "use_mmap": null, "num_thread": 4,
        });
        let chosen = read(all).unwrap();
        assert_eq!(chosen.num_ctx, Some(2048));
        assert_eq!(chosen.warnings, ["options.num_gpu has no effect here", "options.num_thread has no effect here"]);
        let expected = GenerationOptions {
            max_tokens: Some(10),
            temperature: Some(0.5),
            top_k: Some(3),
            top_p: Some(0.5),
            min_p: Some(0.0),
            repeat_penalty: Some(1.5),
            presence_penalty: Some(0.25),
            frequency_penalty: Some(0.75),
            seed: Some(7),
            stop: vec!["a".to_owned(), "b".to_owned()],
            logit_bias: Vec::new(),
            top_logprobs: None,
        };
        assert_eq!(chosen.options, expected);
        let open = read(json!({"num_predict": -1, "seed": -1, "stop": "x"})).unwrap().options;
        assert_eq!((open.max_tokens, open.seed, open.stop), (None, None, vec!["x".to_owned()]));
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_was_expected() {
        for (value, expected) in [
            (json!({"num_ctx": 0}), "options.num_ctx: expected a whole number of 1 or more, got 0"),
            (json!({"num_ctx": 1.5}), "options.num_ctx: expected a whole number of 1 or more, got 1.5"),
            (
                json!({"num_predict": 0}),
                "options.num_predict: expected a whole number of 1 or more, or -1 or -2 for as many as fit, got 0",
            ),
            (json!({"top_k": -1}), "options.top_k: expected a whole number of 0 or more, got -1"),
            (json!({"seed": 1e300}), "options.seed: expected a whole number, got 1e+300"),
            (json!({"temperature": "hot"}), "options.temperature: expected a number, got \"hot\""),
            (
                json!({"stop": ["a", ""]}),
                "options.stop: expected a text or a list of texts, none empty, got [\"a\",\"\"]",
            ),
            (json!({"typical_p": 0.5}), "options.typical_p: expected 1, which turns it off, got 0.5"),
            (json!({"mirostat": 2}), "options.mirostat: expected 0, which turns it off, got 2"),
            (json!({"temprature": 1}), "options.temprature: unknown option\nhint: did you mean `temperature`?"),
            (json!({"heat": 1}), "options.heat: unknown option"),
        ] {
            assert_eq!(read(value).unwrap_err(), expected);
        }
    }

    #[test]
    fn no_option_stands_in_the_table_twice() {
        for (at, (name, _)) in OPTIONS.iter().enumerate() {
            assert!(OPTIONS[..at].iter().all(|(other, _)| other != name), "{name}");
        }
    }
}
