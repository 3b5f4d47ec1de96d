//! What lists say of a model.

use super::time::rfc3339;
use chat::ModelSummary;
use serde::Serialize;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// How a model is made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelDetails)]
pub(super) struct DetailsObject {
    /// The model that it is made from.
    parent_model: String,
    /// The kind of its file, where known.
    format: &'static str,
    family: String,
    families: Vec<String>,
    /// Number of weights, as `135.52M`; empty where unknown.
    parameter_size: String,
    /// How the weights are stored, as `Q4_K_M`; empty where unknown.
    quantization_level: String,
}

impl DetailsObject {
    pub(super) fn of(summary: &ModelSummary, format: &'static str) -> DetailsObject {
        DetailsObject {
            parent_model: summary.base.clone().unwrap_or_default(),
            format,
            family: summary.family.clone(),
            families: vec![summary.family.clone()],
            parameter_size: summary.parameters.map(parameter_size).unwrap_or_default(),
            quantization_level: summary.quantization.as_deref().unwrap_or_default().to_ascii_uppercase(),
        }
    }
}

/// When a model came into the store; the beginning of 1970 where nobody knows.
pub(super) fn modified_at(summary: &ModelSummary) -> String {
    rfc3339(summary.modified.unwrap_or(UNIX_EPOCH))
}

/// The SHA-256 of its file, without a prefix.
pub(super) fn digest(summary: &ModelSummary) -> String {
    let digest = summary.digest.as_deref().unwrap_or_default();
    digest.strip_prefix("sha256:").unwrap_or(digest).to_owned()
}

/// A count of weights for people.
fn parameter_size(count: u64) -> String {
    let of = |unit: f64, decimals: usize, letter: &str| {
        let number = count as f64 / unit;
        match number.fract() == 0.0 {
            true => format!("{number}{letter}"),
            false => format!("{number:.decimals$}{letter}"),
        }
    };
    match count {
        1_000_000_000.. => of(1e9, 1, "B"),
        1_000_000.. => of(1e6, 2, "M"),
        1_000.. => of(1e3, 0, "K"),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_weights_are_short() {
        for (count, text) in [
            (999, "999"),
            (22_600, "23K"),
            (134_515_008, "134.52M"),
            (268_000_000, "268M"),
            (7_615_616_512, "7.6B"),
            (2_000_000_000, "2B"),
        ] {
            assert_eq!(parameter_size(count), text);
        }
    }
}
