//! Qwen 3, the dense sizes: norms on the heads of query and key, no biases, a head width of its own.

use kernels::RopePairing;

use super::{Family, qwen2};
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::spec::{DecoderSpec, LayerStyle};

pub(super) static FAMILY: Family = Family {
    name: "qwen3",
    gguf: &["qwen3"],
    hf: &["Qwen3ForCausalLM"],
    yarn_on_request: true,
    hf_names: &[],
    gguf_pairing: RopePairing::Halves,
    from_gguf,
    from_hf,
};

const STYLE: LayerStyle = LayerStyle { bias: false, query_key_norm: true, post_norms: false };

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    keys.decoder(FAMILY.name, STYLE)
}

fn from_hf(config: &HfConfig<'_>, _class: &str) -> Result<DecoderSpec, ModelError> {
    config.refuse("attention_bias")?;
    let defaults = HfDefaults { tied_head: false, rope_base: 10_000.0, norm_eps: 1e-6 };
    let mut spec = config.decoder(FAMILY.name, STYLE, &defaults)?;
    qwen2::set_windows(config, &mut spec)?;
    Ok(spec)
}
