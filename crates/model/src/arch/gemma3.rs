//! Gemma 3, its text part: norms before and after each branch and on the heads of query and key, five windowed layers to
//! one that sees everything, a rotary base for each of the two kinds.
//!
//! Norm weights are stored around 0 in safetensors and around 1 in GGUF files. Sources: `modular_gemma3.py` of
//! transformers; `src/models/gemma3.cpp` of llama.cpp for what GGUF files leave out.

use kernels::{Activation, RopePairing};

use super::{Family, gemma2};
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::rope::{RopeScaling, RopeSpec};
use crate::spec::{DecoderSpec, LayerStyle, field};

pub(super) static FAMILY: Family = Family {
    name: "gemma3",
    gguf: &["gemma3"],
    hf: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    yarn_on_request: false,
    hf_names: gemma2::HF_NAMES,
    gguf_pairing: RopePairing::Halves,
    from_gguf,
    from_hf,
};

const STYLE: LayerStyle = LayerStyle { bias: false, query_key_norm: true, post_norms: true };
/// Every sixth layer sees everything.
const PERIOD: usize = 6;
const WINDOW: usize = 4096;
const GLOBAL_BASE: f32 = 1_000_000.0;
const LOCAL_BASE: f32 = 10_000.0;
/// GGUF files do not hold the scale of queries; the 27B alone departs from the head width, and is told by its layers.
const LAYERS_27B: usize = 62;

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    let mut spec = keys.decoder(FAMILY.name, STYLE)?;
    if spec.layers.len() == LAYERS_27B {
        spec.attention_scale = 1.0 / ((spec.width / spec.heads) as f32).sqrt();
    }
    spec.activation = Activation::GeluTanh;
    spec.embedding_scale = Some((spec.width as f32).sqrt());
    spec.final_softcap = keys.f32("final_logit_softcapping")?;
    spec.ropes[0].base = keys.f32("rope.freq_base")?.unwrap_or(GLOBAL_BASE);
    // Scaling of positions applies to the layers that see everything alone.
    let local = keys.f32("rope.freq_base_swa")?.unwrap_or(LOCAL_BASE);
    spec.ropes.push(RopeSpec { dims: spec.ropes[0].dims, base: local, scaling: RopeScaling::None });
    if let Some(window) = keys.window()? {
        let windowed = keys.windowed_layers(spec.layers.len(), PERIOD)?;
        set_windows(&mut spec, &windowed, window);
    }
    Ok(spec)
}

fn from_hf(config: &HfConfig<'_>, _class: &str) -> Result<DecoderSpec, ModelError> {
    config.refuse("attention_bias")?;
    config.refuse("use_bidirectional_attention")?;
    let defaults = HfDefaults { tied_head: true, rope_base: GLOBAL_BASE, norm_eps: 1e-6 };
    let mut spec = config.decoder(FAMILY.name, STYLE, &defaults)?;
    spec.attention_scale = 1.0 / config.f32("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    spec.norm_shift = 1.0;
    spec.embedding_scale = Some((spec.width as f32).sqrt());
    spec.attention_softcap = config.f32("attn_logit_softcapping")?;
    spec.final_softcap = config.f32("final_logit_softcapping")?;
    let local_base = config.f32("rope_local_base_freq")?.unwrap_or(LOCAL_BASE);
    let local = config.rope_of_kind("sliding_attention", spec.head_dim, local_base)?;
    spec.ropes.push(local.unwrap_or(RopeSpec { dims: spec.head_dim, base: local_base, scaling: RopeScaling::None }));
    let period = config.usize("sliding_window_pattern")?.unwrap_or(PERIOD);
    if period == 0 {
        return Err(field("sliding_window_pattern", "1 or more".to_owned(), period));
    }
    let window = config.usize("sliding_window")?.unwrap_or(WINDOW);
    let windowed = config.windowed_layers(spec.layers.len(), |layer| !(layer + 1).is_multiple_of(period))?;
    set_windows(&mut spec, &windowed, window);
    Ok(spec)
}

/// A windowed layer rotates by the second base.
fn set_windows(spec: &mut DecoderSpec, windowed: &[bool], window: usize) {
    for (layer, &has) in spec.layers.iter_mut().zip(windowed) {
        layer.window = has.then_some(window);
        layer.rope = usize::from(has);
    }
}
