//! Qwen 2 and 2.5, Coder included: biases on query, key and value; YaRN on request or where the metadata says so.

use kernels::RopePairing;

use super::Family;
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::spec::{DecoderSpec, LayerStyle};

pub(super) static FAMILY: Family = Family {
    name: "qwen2",
    gguf: &["qwen2"],
    hf: &["Qwen2ForCausalLM"],
    yarn_on_request: true,
    hf_names: &[],
    gguf_pairing: RopePairing::Halves,
    from_gguf,
    from_hf,
};

const STYLE: LayerStyle = LayerStyle { bias: true, query_key_norm: false, post_norms: false };

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    keys.decoder(FAMILY.name, STYLE)
}

fn from_hf(config: &HfConfig<'_>, _class: &str) -> Result<DecoderSpec, ModelError> {
    let defaults = HfDefaults { tied_head: false, rope_base: 10_000.0, norm_eps: 1e-6 };
    let mut spec = config.decoder(FAMILY.name, STYLE, &defaults)?;
    set_windows(config, &mut spec)?;
    Ok(spec)
}

/// The window is off unless switched on, and then on the upper layers alone.
pub(super) fn set_windows(config: &HfConfig<'_>, spec: &mut DecoderSpec) -> Result<(), ModelError> {
    if !config.bool("use_sliding_window")?.unwrap_or(false) {
        return Ok(());
    }
    let window = config.usize("sliding_window")?.unwrap_or(4096);
    let first = config.usize("max_window_layers")?.unwrap_or(28);
    let windowed = config.windowed_layers(spec.layers.len(), |layer| layer >= first)?;
    spec.layers.iter_mut().zip(windowed).for_each(|(layer, has)| layer.window = has.then_some(window));
    Ok(())
}
