//! The table of model families. A family is one file here and one line in [`FAMILIES`].
//!
//! A family's file turns the metadata of either container into a [`DecoderSpec`]; the names of tensors follow from the
//! tables below, which a family amends where its checkpoints differ. What a family computes stands nowhere else.
//!
//! Read next: `arch/llama.rs`, the plainest.

mod gemma2;
mod gemma3;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;

use kernels::RopePairing;

use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;
use crate::spec::{DecoderSpec, LayerTensor};

/// One family of models.
pub struct Family {
    /// The name, as in [`DecoderSpec::family`].
    pub name: &'static str,
    /// The values of `general.architecture` in GGUF files.
    pub gguf: &'static [&'static str],
    /// The values of `architectures` in `config.json`.
    pub hf: &'static [&'static str],
    /// Whether the family's authors describe YaRN as a switch that its users may turn on.
    pub yarn_on_request: bool,
    /// Where its safetensors name a layer's tensors otherwise than [`HF_NAMES`].
    hf_names: &'static [(LayerTensor, &'static str)],
    /// The order of the rows of query and key in its GGUF files; in safetensors it is [`RopePairing::Halves`].
    pub(crate) gguf_pairing: RopePairing,
    pub(crate) from_gguf: fn(&GgufKeys<'_>) -> Result<DecoderSpec, ModelError>,
    /// The second argument is the class, one of `hf`.
    pub(crate) from_hf: fn(&HfConfig<'_>, &str) -> Result<DecoderSpec, ModelError>,
}

/// Every family, in the order in which they are listed to users.
pub static FAMILIES: &[&Family] =
    &[&llama::FAMILY, &phi3::FAMILY, &gemma2::FAMILY, &gemma3::FAMILY, &qwen2::FAMILY, &qwen3::FAMILY];

impl Family {
    /// The family of this GGUF architecture.
    ///
    /// # Errors
    /// [`ModelError::UnknownFamily`], with those that are known.
    pub fn of_gguf(architecture: &str) -> Result<&'static Family, ModelError> {
        find(architecture, |family| family.gguf)
    }

    /// The family of this class of transformers.
    ///
    /// # Errors
    /// [`ModelError::UnknownFamily`], with those that are known.
    pub fn of_hf(class: &str) -> Result<&'static Family, ModelError> {
        find(class, |family| family.hf)
    }

    /// The family of this name.
    ///
    /// # Errors
    /// [`ModelError::UnknownFamily`], with those that are known.
    pub(crate) fn named(name: &str) -> Result<&'static Family, ModelError> {
        FAMILIES.iter().copied().find(|family| family.name == name).ok_or_else(|| ModelError::UnknownFamily {
            got: name.to_owned(),
            known: FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", "),
        })
    }

    pub(crate) fn hf_name(&self, tensor: LayerTensor) -> &'static str {
        let own = self.hf_names.iter().find(|(role, _)| *role == tensor).map(|(_, name)| *name);
        own.unwrap_or(HF_NAMES[tensor as usize].1)
    }

    pub(crate) fn gguf_name(tensor: LayerTensor) -> &'static str {
        GGUF_NAMES[tensor as usize].1
    }
}

fn find(got: &str, names: fn(&Family) -> &'static [&'static str]) -> Result<&'static Family, ModelError> {
    FAMILIES.iter().copied().find(|family| names(family).contains(&got)).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().flat_map(|family| names(family)).copied().collect();
        ModelError::UnknownFamily { got: got.chars().take(80).collect(), known: known.join(", ") }
    })
}

/// The names after `blk.N.` in GGUF files, by role.
static GGUF_NAMES: [(LayerTensor, &str); LayerTensor::COUNT] = [
    (LayerTensor::AttentionNorm, "attn_norm.weight"),
    (LayerTensor::Query, "attn_q.weight"),
    (LayerTensor::Key, "attn_k.weight"),
    (LayerTensor::Value, "attn_v.weight"),
    (LayerTensor::QueryBias, "attn_q.bias"),
    (LayerTensor::KeyBias, "attn_k.bias"),
    (LayerTensor::ValueBias, "attn_v.bias"),
    (LayerTensor::QueryNorm, "attn_q_norm.weight"),
    (LayerTensor::KeyNorm, "attn_k_norm.weight"),
    (LayerTensor::AttentionOutput, "attn_output.weight"),
    (LayerTensor::PostAttentionNorm, "post_attention_norm.weight"),
    (LayerTensor::FeedForwardNorm, "ffn_norm.weight"),
    (LayerTensor::Gate, "ffn_gate.weight"),
    (LayerTensor::Up, "ffn_up.weight"),
    (LayerTensor::Down, "ffn_down.weight"),
    (LayerTensor::PostFeedForwardNorm, "post_ffw_norm.weight"),
];

/// The names after `model.layers.N.` in safetensors, by role.
static HF_NAMES: [(LayerTensor, &str); LayerTensor::COUNT] = [
    (LayerTensor::AttentionNorm, "input_layernorm.weight"),
    (LayerTensor::Query, "self_attn.q_proj.weight"),
    (LayerTensor::Key, "self_attn.k_proj.weight"),
    (LayerTensor::Value, "self_attn.v_proj.weight"),
    (LayerTensor::QueryBias, "self_attn.q_proj.bias"),
    (LayerTensor::KeyBias, "self_attn.k_proj.bias"),
    (LayerTensor::ValueBias, "self_attn.v_proj.bias"),
    (LayerTensor::QueryNorm, "self_attn.q_norm.weight"),
    (LayerTensor::KeyNorm, "self_attn.k_norm.weight"),
    (LayerTensor::AttentionOutput, "self_attn.o_proj.weight"),
    (LayerTensor::PostAttentionNorm, "post_attention_layernorm.weight"),
    // Families without norms after the branches give the name of one to the norm before the second branch.
    (LayerTensor::FeedForwardNorm, "post_attention_layernorm.weight"),
    (LayerTensor::Gate, "mlp.gate_proj.weight"),
    (LayerTensor::Up, "mlp.up_proj.weight"),
    (LayerTensor::Down, "mlp.down_proj.weight"),
    (LayerTensor::PostFeedForwardNorm, "post_feedforward_layernorm.weight"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_tables_stand_in_the_order_of_roles() {
        for table in [&GGUF_NAMES, &HF_NAMES] {
            for (position, (tensor, _)) in table.iter().enumerate() {
                assert_eq!(*tensor as usize, position);
            }
        }
    }

    #[test]
    fn an_unknown_family_is_refused_with_the_known_ones() {
        let message = Family::of_gguf("mamba").err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(
            message,
            "unknown model family: expected one of llama, phi3, gemma2, gemma3, qwen2, qwen3, got \"mamba\"\n\
             hint: convert or choose a model of one of these families"
        );
        assert!(Family::of_hf("MambaForCausalLM").is_err());
        assert_eq!(Family::of_hf("MistralForCausalLM").ok().map(|family| family.name), Some("llama"));
    }
}
