//! How to generate, where the request leaves it open.
//!
//! ```text
//! the request  >  what came with the model in the store (an Ollama parameter layer)
//!              >  what the model's own file recommends  >  our defaults
//! ```
//!
//! Field by field: a request that sets only the temperature still takes the model's top-k. `max_tokens` and the seed
//! stand in no file, only in a parameter layer. A parameter without effect here is told by name, never passed over.
//! Read next: `answer`, which runs with the result.

use chat::{ChatError, GenerationOptions};
use engine::{Bound, Sampling};
use formats::{FormatError, Gguf};
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Tokens that count as recent for the repeat penalty.
const REPEAT_LAST_N: usize = 64;

/// What a GGUF file recommends under `general.sampling.` (the keys are llama.cpp's).
///
/// # Errors
/// A key whose value is of the wrong kind.
pub(crate) fn recommended_by_gguf(gguf: &Gguf) -> Result<GenerationOptions, FormatError> {
    let metadata = &gguf.metadata;
    Ok(GenerationOptions {
        temperature: metadata.f32("general.sampling.temp")?,
        top_k: metadata.usize("general.sampling.top_k")?,
        top_p: metadata.f32("general.sampling.top_p")?,
        min_p: metadata.f32("general.sampling.min_p")?,
        repeat_penalty: metadata.f32("general.sampling.penalty_repeat")?,
        ..GenerationOptions::default()
    })
}

/// What a `generation_config.json` recommends (the fields are transformers'). `do_sample: false` is greedy.
pub(crate) fn recommended_by_config(config: &Value) -> GenerationOptions {
    let number = |key: &str| config.get(key).and_then(Value::as_f64).map(|number| number as f32);
    let is_greedy = config.get("do_sample").and_then(Value::as_bool) == Some(false);
    GenerationOptions {
        temperature: if is_greedy { Some(0.0) } else { number("temperature") },
        top_k: count(config, "top_k"),
        top_p: number("top_p"),
        min_p: number("min_p"),
        repeat_penalty: number("repetition_penalty"),
        ..GenerationOptions::default()
    }
}

/// Leaves out what a file recommends and no answer can be made by; also tells of each, for people.
pub(crate) fn usable(mut options: GenerationOptions) -> (GenerationOptions, Vec<String>) {
    let mut notes = Vec::new();
    for (field, bound) in [
        (&mut options.temperature, Bound::TEMPERATURE),
        (&mut options.top_p, Bound::TOP_P),
        (&mut options.min_p, Bound::MIN_P),
        (&mut options.repeat_penalty, Bound::REPEAT_PENALTY),
    ] {
        if let Some(value) = field.take_if(|value| !bound.admits(*value)) {
            let Bound { field, expected, .. } = bound;
            notes.push(format!("its file recommends a {field} of {value}, which has no effect: expected {expected}"));
        }
    }
    (options, notes)
}

/// What a parameter layer of an Ollama model sets (the fields are those of a Modelfile's PARAMETER).
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) options: GenerationOptions,
    /// Positions that the model is to be loaded with (`num_ctx`).
    pub(crate) context: Option<usize>,
    /// The rest: each parameter that has no effect here, and why.
    pub(crate) not_applied: Vec<String>,
}

/// One known parameter.
struct Parameter {
    key: &'static str,
    /// What a value must be, for messages.
    expected: &'static str,
    /// Sets it; none if the value is not as expected.
    set: fn(&mut Parameters, &Value) -> Option<()>,
}

static PARAMETERS: &[Parameter] = &[
    Parameter {
        key: "temperature",
        expected: Bound::TEMPERATURE.expected,
        set: |into, v| set(&mut into.options.temperature, number(v, Bound::TEMPERATURE)),
    },
    Parameter { key: "top_k", expected: "a count", set: |into, v| set(&mut into.options.top_k, whole(v)) },
    Parameter {
        key: "top_p",
        expected: Bound::TOP_P.expected,
        set: |into, v| set(&mut into.options.top_p, number(v, Bound::TOP_P)),
    },
    Parameter {
        key: "min_p",
        expected: Bound::MIN_P.expected,
        set: |into, v| set(&mut into.options.min_p, number(v, Bound::MIN_P)),
    },
    Parameter {
        key: "repeat_penalty",
        expected: Bound::REPEAT_PENALTY.expected,
        set: |into, v| set(&mut into.options.repeat_penalty, number(v, Bound::REPEAT_PENALTY)),
    },
    Parameter {
        key: "presence_penalty",
        expected: Bound::PRESENCE_PENALTY.expected,
        set: |into, v| set(&mut into.options.presence_penalty, number(v, Bound::PRESENCE_PENALTY)),
    },
    Parameter {
        key: "frequency_penalty",
        expected: Bound::FREQUENCY_PENALTY.expected,
        set: |into, v| set(&mut into.options.frequency_penalty, number(v, Bound::FREQUENCY_PENALTY)),
    },
    Parameter { key: "seed", expected: "a count", set: |into, v| set(&mut into.options.seed, v.as_u64()) },
    Parameter { key: "stop", expected: "texts", set: |into, v| stops(v).map(|stop| into.options.stop = stop) },
    Parameter { key: "num_predict", expected: "1 or more, -1 or -2", set: set_num_predict },
    Parameter {
        key: "num_ctx",
        expected: "1 or more",
        set: |into, v| set(&mut into.context, whole(v).filter(|context| *context > 0)),
    },
    // These have one value here, which some models state.
    Parameter { key: "repeat_last_n", expected: "64, which is fixed here", set: |_, v| is(v, REPEAT_LAST_N as f64) },
    Parameter { key: "mirostat", expected: "0: it is not known here", set: |_, v| is(v, 0.0) },
    Parameter { key: "typical_p", expected: "1: it is not known here", set: |_, v| is(v, 1.0) },
    Parameter { key: "tfs_z", expected: "1: it is not known here", set: |_, v| is(v, 1.0) },
];

impl Parameters {
    /// Reads a parameter layer, whatever is in it.
    pub(crate) fn of(layer: &Value) -> Parameters {
        let mut read = Parameters::default();
        let Some(fields) = layer.as_object() else {
            read.not_applied.push(format!("all parameters (expected an object, got {})", shown(layer)));
            return read;
        };
        for (key, value) in fields {
            let known = PARAMETERS.iter().find(|parameter| parameter.key == key);
            match known.map(|parameter| (parameter.expected, (parameter.set)(&mut read, value))) {
                Some((_, Some(()))) => {}
                Some((expected, None)) => {
                    read.not_applied.push(format!("{key} (expected {expected}, got {})", shown(value)));
                }
                None => read.not_applied.push(key.chars().take(LONGEST_SHOWN).collect()),
            }
        }
        read
    }
}

/// What to tell of a parameter layer: each parameter that has no effect here, with the reason where its value is wrong.
pub fn parameters_not_applied(layer: &Value) -> Vec<String> {
    Parameters::of(layer).not_applied
}

/// Refuses parameters that have no effect here, each by its name.
///
/// # Errors
/// [`ChatError::InvalidRequest`] with the reasons, and the names that are known.
pub fn check_parameters(layer: &Value) -> Result<(), ChatError> {
    let wrong = parameters_not_applied(layer);
    if wrong.is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.key).collect();
    let (wrong, known) = (wrong.join(", "), known.join(", "));
    Err(ChatError::InvalidRequest(format!(
        "parameters that have no effect here: {wrong}\nhint: leave them out; known are {known}"
    )))
}

/// The context that a parameter layer asks for.
pub(crate) fn context_asked_for(layer: &Value) -> Option<usize> {
    Parameters::of(layer).context
}

fn set<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    *field = Some(value?);
    Some(())
}

fn number(value: &Value, bound: Bound) -> Option<f32> {
    value.as_f64().map(|number| number as f32).filter(|number| bound.admits(*number))
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn is(value: &Value, only: f64) -> Option<()> {
    value.as_f64().filter(|number| *number == only).map(|_| ())
}

/// One text or several; an empty one would end every answer before it began.
fn stops(value: &Value) -> Option<Vec<String>> {
    let one = std::slice::from_ref(value);
    let texts = value.as_array().map_or(one, Vec::as_slice);
    texts.iter().map(|text| text.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect()
}

/// -1 (no limit) and -2 (what the context leaves) are the same here: an answer always ends with the context.
fn set_num_predict(into: &mut Parameters, value: &Value) -> Option<()> {
    match value.as_i64()? {
        -1 | -2 => Some(()),
        _ => set(&mut into.options.max_tokens, whole(value).filter(|tokens| *tokens > 0)),
    }
}

/// More of a value is not shown.
const LONGEST_SHOWN: usize = 40;

fn shown(value: &Value) -> String {
    value.to_string().chars().take(LONGEST_SHOWN).collect()
}

fn count(object: &Value, key: &str) -> Option<usize> {
    object.get(key).and_then(whole)
}

/// Fills what `options` leaves open from `fallback`.
pub(crate) fn or_else(options: GenerationOptions, fallback: &GenerationOptions) -> GenerationOptions {
    GenerationOptions {
        max_tokens: options.max_tokens.or(fallback.max_tokens),
        temperature: options.temperature.or(fallback.temperature),
        top_k: options.top_k.or(fallback.top_k),
        top_p: options.top_p.or(fallback.top_p),
        min_p: options.min_p.or(fallback.min_p),
        repeat_penalty: options.repeat_penalty.or(fallback.repeat_penalty),
        presence_penalty: options.presence_penalty.or(fallback.presence_penalty),
        frequency_penalty: options.frequency_penalty.or(fallback.frequency_penalty),
        seed: options.seed.or(fallback.seed),
        stop: if options.stop.is_empty() { fallback.stop.clone() } else { options.stop },
        logit_bias: options.logit_bias,
        top_logprobs: options.top_logprobs,
    }
}

/// The sampling of a request whose open fields are filled; what is still open gets our defaults.
pub(crate) fn sampling(options: &GenerationOptions) -> Sampling {
    Sampling {
        temperature: options.temperature.unwrap_or(0.8),
        top_k: options.top_k.unwrap_or(40),
        top_p: options.top_p.unwrap_or(0.95),
        min_p: options.min_p.unwrap_or(0.05),
        repeat_penalty: options.repeat_penalty.unwrap_or(1.0),
        repeat_last_n: REPEAT_LAST_N,
        presence_penalty: options.presence_penalty.unwrap_or(0.0),
        frequency_penalty: options.frequency_penalty.unwrap_or(0.0),
        logit_bias: options.logit_bias.clone(),
        seed: options.seed.unwrap_or_else(random_seed),
    }
}

/// A seed that nobody could foresee, for requests that set none. Whoever wants to report the seed of an answer draws
/// it here and puts it into the request.
pub fn random_seed() -> u64 {
    // The standard library seeds this hasher from the system's random numbers.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_request_goes_before_the_model_and_the_model_before_us() {
        let model = recommended_by_config(&json!({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20}));
        let request = GenerationOptions { temperature: Some(0.1), seed: Some(7), ..GenerationOptions::default() };
        let sampling = sampling(&or_else(request, &model));
        assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.1, 0.9, 20));
        assert_eq!((sampling.min_p, sampling.repeat_penalty, sampling.seed), (0.05, 1.0, 7));
    }

    #[test]
    fn a_model_that_does_not_sample_is_greedy() {
        let model = recommended_by_config(&json!({"do_sample": false, "temperature": 0.6}));
        assert_eq!(sampling(&or_else(GenerationOptions::default(), &model)).temperature, 0.0);
    }

    #[test]
    fn what_no_answer_can_be_made_by_is_left_out_and_told() {
        let (options, notes) = usable(recommended_by_config(&json!({"temperature": -1.0, "top_p": 0.9})));
        assert_eq!((options.temperature, options.top_p), (None, Some(0.9)));
        let expected =
            "its file recommends a temperature of -1, which has no effect: expected a finite number from 0 up";
        assert_eq!(notes, [expected]);
        let read = Parameters::of(&json!({"top_p": 0, "min_p": 0.1}));
        assert_eq!((read.options.top_p, read.options.min_p), (None, Some(0.1)));
        assert_eq!(read.not_applied, ["top_p (expected a number above 0, at most 1, got 0)"]);
    }

    #[test]
    fn parameters_bring_stop_strings_unless_the_request_has_its_own() {
        let model = Parameters::of(&json!({"stop": ["<|im_end|>"], "temperature": 0.2})).options;
        assert_eq!(or_else(GenerationOptions::default(), &model).stop, ["<|im_end|>"]);
        let request = GenerationOptions { stop: vec!["x".to_owned()], ..GenerationOptions::default() };
        assert_eq!(or_else(request, &model).stop, ["x"]);
    }

    #[test]
    fn every_parameter_has_an_effect_or_is_told() {
        let read = Parameters::of(&json!({
            "num_predict": 100, "num_ctx": 4096, "seed": 7, "top_k": 20, "stop": "x", "repeat_last_n": 64, "mirostat": 0,
        }));
        assert_eq!((read.options.max_tokens, read.context, read.options.seed), (Some(100), Some(4096), Some(7)));
        assert_eq!((read.options.top_k, read.options.stop.as_slice()), (Some(20), ["x".to_owned()].as_slice()));
        assert_eq!(read.not_applied, Vec::<String>::new());
        let filled = or_else(GenerationOptions::default(), &read.options);
        assert_eq!((filled.max_tokens, filled.seed), (Some(100), Some(7)));
        let request = GenerationOptions { max_tokens: Some(5), seed: Some(1), ..GenerationOptions::default() };
        let filled = or_else(request, &read.options);
        assert_eq!((filled.max_tokens, filled.seed), (Some(5), Some(1)));

        let wrong = parameters_not_applied(&json!({
            "mirostat": 2, "num_gpu": 1, "num_predict": 0, "repeat_last_n": 128, "stop": ["a", 1], "temperature": "warm",
            "top_k": -1, "num_ctx": 0,
        }));
        let expected = [
            "mirostat (expected 0: it is not known here, got 2)",
            "num_ctx (expected 1 or more, got 0)",
            "num_gpu",
            "num_predict (expected 1 or more, -1 or -2, got 0)",
            "repeat_last_n (expected 64, which is fixed here, got 128)",
            "stop (expected texts, got [\"a\",1])",
            "temperature (expected a finite number from 0 up, got \"warm\")",
            "top_k (expected a count, got -1)",
        ];
        let mut wrong = wrong;
        wrong.sort();
        assert_eq!(wrong, expected);
        assert_eq!(parameters_not_applied(&json!({"num_predict": -1})), Vec::<String>::new());
        assert_eq!(parameters_not_applied(&json!([1])), ["all parameters (expected an object, got [1])"]);
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
