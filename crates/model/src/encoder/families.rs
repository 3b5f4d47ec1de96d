//! The table of encoder families. A family is one file here and one line in [`ENCODER_FAMILIES`].
//!
//! A family's file turns the metadata of either container into an [`EncoderSpec`] and says how its safetensors name their
//! tensors. How a text's rows are pooled is told beside the model, in one way for all; see `pooling.rs`.
//! Read next: `families/bert.rs`.

mod bert;
mod nomic_bert;

use super::names::Names;
use super::spec::EncoderSpec;
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;

/// One family of encoders.
pub struct EncoderFamily {
    /// The name, as in [`EncoderSpec::family`].
    pub name: &'static str,
    /// The values of `general.architecture` in GGUF files.
    pub gguf: &'static [&'static str],
    /// The values of `architectures` in `config.json` whose models make vectors.
    pub hf: &'static [&'static str],
    /// Those whose models judge pairs.
    pub hf_scores: &'static [&'static str],
    /// Prefixes of tensor names, and names, that a vector or a score does not need.
    pub(super) unused: &'static [&'static str],
    /// The ways in which its safetensors name tensors.
    pub(super) names: &'static [Names],
    /// The outcome is filled in afterwards.
    pub(super) from_gguf: fn(&GgufKeys<'_>) -> Result<EncoderSpec, ModelError>,
    /// Likewise.
    pub(super) from_hf: fn(&HfConfig<'_>) -> Result<EncoderSpec, ModelError>,
}

/// Every family, in the order in which they are listed to users.
pub static ENCODER_FAMILIES: &[&EncoderFamily] = &[&bert::FAMILY, &nomic_bert::FAMILY];

impl EncoderFamily {
    /// The family of this GGUF architecture, if it is an encoder's.
    pub fn of_gguf(architecture: &str) -> Option<&'static EncoderFamily> {
        ENCODER_FAMILIES.iter().copied().find(|family| family.gguf.contains(&architecture))
    }

    /// The family of this class of transformers, if it is an encoder's.
    pub fn of_hf(class: &str) -> Option<&'static EncoderFamily> {
        ENCODER_FAMILIES.iter().copied().find(|family| family.classes().any(|known| known == class))
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = &'static str> {
        self.hf.iter().chain(self.hf_scores).copied()
    }

    /// Whether models of this class judge pairs.
    pub(super) fn scores(&self, class: &str) -> bool {
        self.hf_scores.contains(&class)
    }
}
