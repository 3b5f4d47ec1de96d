//! Phi-3 and Phi-3.5: fused projections, a window on every layer, LongRoPE in the 128k variants.

use kernels::RopePairing;

use super::Family;
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::spec::{DecoderSpec, Fused, LayerStyle};

pub(super) static FAMILY: Family = Family {
    name: "phi3",
    gguf: &["phi3"],
    hf: &["Phi3ForCausalLM"],
    yarn_on_request: false,
    hf_names: &[],
    gguf_pairing: RopePairing::Halves,
    from_gguf,
    from_hf,
};

const FUSED: Fused = Fused { query_key_value: true, gate_up: true };

/// The window of the 4k variants, for GGUF files from before the key existed (llama.cpp of June 2024 and its successors
/// put it in likewise).
const WINDOW_4K: usize = 2047;

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    let mut spec = keys.decoder(FAMILY.name, LayerStyle::default())?;
    spec.fused = FUSED;
    let window = match keys.usize("attention.sliding_window")? {
        // 0 stands for none: Phi-4 has no window.
        Some(window) => Some(window).filter(|window| *window > 0),
        None => (spec.context == 4096).then_some(WINDOW_4K),
    };
    spec.layers.iter_mut().for_each(|layer| layer.window = window);
    if let Some(scaling) = keys.long_rope()? {
        spec.ropes[0].scaling = scaling;
    }
    Ok(spec)
}

fn from_hf(config: &HfConfig<'_>, _class: &str) -> Result<DecoderSpec, ModelError> {
    config.refuse("attention_bias")?;
    let defaults = HfDefaults { tied_head: false, rope_base: 10_000.0, norm_eps: 1e-5 };
    let mut spec = config.decoder(FAMILY.name, LayerStyle::default(), &defaults)?;
    spec.fused = FUSED;
    let window = config.usize("sliding_window")?;
    spec.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(spec)
}
