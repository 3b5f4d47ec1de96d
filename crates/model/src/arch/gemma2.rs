//! Gemma 2: norms before and after each branch, soft-caps on scores and logits, a window on every other layer.
//!
//! Norm weights are stored around 0 in safetensors and around 1 in GGUF files. Sources: `modular_gemma2.py` of
//! transformers; `src/models/gemma2.cpp` of llama.cpp for what GGUF files leave out.

use kernels::{Activation, RopePairing};

use super::Family;
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::spec::{DecoderSpec, LayerStyle, LayerTensor};

pub(super) static FAMILY: Family = Family {
    name: "gemma2",
    gguf: &["gemma2"],
    hf: &["Gemma2ForCausalLM"],
    yarn_on_request: false,
    hf_names: HF_NAMES,
    gguf_pairing: RopePairing::Halves,
    from_gguf,
    from_hf,
};

/// With norms after the branches, the one before the second branch has a name of its own.
pub(super) const HF_NAMES: &[(LayerTensor, &str)] =
    &[(LayerTensor::FeedForwardNorm, "pre_feedforward_layernorm.weight")];

const STYLE: LayerStyle = LayerStyle { bias: false, query_key_norm: false, post_norms: true };
const WINDOW: usize = 4096;
const ATTENTION_SOFTCAP: f32 = 50.0;
const FINAL_SOFTCAP: f32 = 30.0;
/// Every second layer sees everything.
const PERIOD: usize = 2;
/// GGUF files do not hold the scale of queries; the 27B alone departs from the head width, and is told by its layers.
const LAYERS_27B: usize = 46;

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    let mut spec = keys.decoder(FAMILY.name, STYLE)?;
    if spec.layers.len() == LAYERS_27B {
        spec.attention_scale = 1.0 / ((spec.width / spec.heads) as f32).sqrt();
    }
    spec.activation = Activation::GeluTanh;
    spec.embedding_scale = Some((spec.width as f32).sqrt());
    spec.attention_softcap = Some(keys.f32("attn_logit_softcapping")?.unwrap_or(ATTENTION_SOFTCAP));
    spec.final_softcap = Some(keys.f32("final_logit_softcapping")?.unwrap_or(FINAL_SOFTCAP));
    let window = keys.window()?.unwrap_or(WINDOW);
    let windowed = keys.windowed_layers(spec.layers.len(), PERIOD)?;
    spec.layers.iter_mut().zip(windowed).for_each(|(layer, has)| layer.window = has.then_some(window));
    Ok(spec)
}

fn from_hf(config: &HfConfig<'_>, _class: &str) -> Result<DecoderSpec, ModelError> {
    config.refuse("attention_bias")?;
    let defaults = HfDefaults { tied_head: true, rope_base: 10_000.0, norm_eps: 1e-6 };
    let mut spec = config.decoder(FAMILY.name, STYLE, &defaults)?;
    spec.attention_scale = 1.0 / config.f32("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    spec.norm_shift = 1.0;
    spec.embedding_scale = Some((spec.width as f32).sqrt());
    spec.attention_softcap = config.f32_or_null("attn_logit_softcapping", ATTENTION_SOFTCAP)?;
    spec.final_softcap = config.f32_or_null("final_logit_softcapping", FINAL_SOFTCAP)?;
    let window = config.usize("sliding_window")?.unwrap_or(WINDOW);
    let windowed = config.windowed_layers(spec.layers.len(), |layer| !(layer + 1).is_multiple_of(PERIOD))?;
    spec.layers.iter_mut().zip(windowed).for_each(|(layer, has)| layer.window = has.then_some(window));
    Ok(spec)
}
