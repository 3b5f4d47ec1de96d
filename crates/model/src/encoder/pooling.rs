//! What becomes of an encoder's rows: told by a key in GGUF files, and in folders by what sentence-transformers keeps there.
//!
//! A folder without such files is pooled by the mean, which is what sentence-transformers itself does then. Vectors are
//! always given with length 1, so a step that does only that changes nothing.

use formats::{Gguf, SafetensorsDir};
use serde_json::Value;

use super::spec::{EncoderSpec, Outcome, Pooling};
use crate::ModelError;
use crate::spec::{field, within};

/// By `<architecture>.pooling_type`: the values of llama.cpp's `llama_pooling_type`.
pub(super) fn of_gguf(gguf: &Gguf, architecture: &str) -> Result<Outcome, ModelError> {
    let key = format!("{architecture}.pooling_type");
    let outcome = match gguf.metadata.u32(&key)? {
        None | Some(1) => Outcome::Vector(Pooling::Mean),
        Some(2) => Outcome::Vector(Pooling::Cls),
        Some(4) => Outcome::Score { has_pooler: gguf.tensors.get("cls.weight").is_some() },
        Some(other) => return Err(unsupported(&key, "1 (mean), 2 (first token) or 4 (rank)", other)),
    };
    let causal = format!("{architecture}.attention.causal");
    match gguf.metadata.bool(&causal)? {
        Some(true) => Err(unsupported(&causal, "false", "true")),
        _ => Ok(outcome),
    }
}

/// By `modules.json` and the configuration of its pooling; a class that judges pairs has neither.
pub(super) fn of_folder(folder: &SafetensorsDir, is_judge: bool) -> Result<Outcome, ModelError> {
    if is_judge {
        let labels = folder.config.get("id2label").and_then(Value::as_object).map(|labels| labels.len());
        let counted = || usize::try_from(folder.config.get("num_labels")?.as_u64()?).ok();
        let labels = labels.or_else(counted);
        return match labels {
            // Where nobody says, transformers means two.
            Some(1) => Ok(Outcome::Score { has_pooler: true }),
            other => Err(unsupported("num_labels", "1, for a model that judges pairs", other.unwrap_or(2))),
        };
    }
    for module in folder.sentence.modules.iter().flatten() {
        if !["Transformer", "Pooling", "Normalize"].contains(&module.as_str()) {
            let shown: String = module.chars().take(80).collect();
            return Err(unsupported("modules.json", "Transformer, Pooling or Normalize", shown));
        }
    }
    let pooling = folder.sentence.pooling.as_ref();
    let is_listed = folder.sentence.modules.iter().flatten().any(|module| module == "Pooling");
    match pooling {
        Some(pooling) => Ok(Outcome::Vector(of_config(pooling)?)),
        None if is_listed => {
            Err(field("1_Pooling/config.json", "the file, which modules.json asks for".to_owned(), "nothing"))
        }
        None => Ok(Outcome::Vector(Pooling::Mean)),
    }
}

/// The older switches, one of which is on, or the newer `pooling_mode`.
fn of_config(config: &Value) -> Result<Pooling, ModelError> {
    let switched = |(name, value): (&String, &Value)| {
        let mode = name.strip_prefix("pooling_mode_")?;
        (value == &Value::Bool(true)).then(|| mode.trim_end_matches("_token").trim_end_matches("_tokens").to_owned())
    };
    let modes: Vec<String> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.clone()],
        Some(Value::Array(modes)) => modes.iter().map(|mode| mode.as_str().unwrap_or("?").to_owned()).collect(),
        Some(other) => return Err(field("pooling_mode", "a text or a list of texts".to_owned(), other)),
        None => config.as_object().into_iter().flatten().filter_map(switched).collect(),
    };
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // By the square root of the length instead of the length: the same direction.
        [] | ["mean"] | ["mean_sqrt_len"] | ["mean_sqrt_len_tokens"] => Ok(Pooling::Mean),
        ["cls"] => Ok(Pooling::Cls),
        ref other => {
            let shown: String = other.join(" and ").chars().take(80).collect();
            Err(unsupported("1_Pooling: pooling_mode", "mean or cls", shown))
        }
    }
}

/// sentence-transformers may read less of a text than the model could.
pub(super) fn limit_context(folder: &SafetensorsDir, spec: &mut EncoderSpec) -> Result<(), ModelError> {
    let Some(limit) = folder.sentence.transformer.as_ref().and_then(|config| config.get("max_seq_length")) else {
        return Ok(());
    };
    if limit.is_null() {
        return Ok(());
    }
    let name = "sentence_bert_config.json: max_seq_length";
    let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.ok_or_else(|| field(name, "a count".to_owned(), "another value"))?;
    within(name, limit, usize::MAX)?;
    spec.context = spec.context.min(limit);
    Ok(())
}

fn unsupported(name: &str, expected: &str, got: impl ToString) -> ModelError {
    ModelError::Unsupported { field: name.to_owned(), expected: expected.to_owned(), got: got.to_string() }
}
