//! Llama and what shares its shape: Mistral (with its window), SmolLM2, TinyLlama.
//!
//! GGUF files of this architecture hold the rows of query and key permuted so that adjacent values rotate together;
//! safetensors hold them so that the halves of a head do (llama.cpp, `conversion/llama.py`).

use kernels::RopePairing;

use super::Family;
use crate::ModelError;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::{HfConfig, HfDefaults};
use crate::spec::{DecoderSpec, LayerStyle};

pub(super) static FAMILY: Family = Family {
    name: "llama",
    gguf: &["llama"],
    hf: &["LlamaForCausalLM", MISTRAL],
    yarn_on_request: false,
    hf_names: &[],
    gguf_pairing: RopePairing::Adjacent,
    from_gguf,
    from_hf,
};

const MISTRAL: &str = "MistralForCausalLM";

/// The window of configurations that do not speak of it; later versions of Mistral switch it off by `null`.
const WINDOW_V0_1: usize = 4096;

fn from_gguf(keys: &GgufKeys<'_>) -> Result<DecoderSpec, ModelError> {
    let mut spec = keys.decoder(FAMILY.name, LayerStyle::default())?;
    spec.rope_pairing = FAMILY.gguf_pairing;
    // Mistral v0.1 needs its window beyond 4096 positions; converters write the key for it alone.
    let window = keys.window()?;
    spec.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(spec)
}

fn from_hf(config: &HfConfig<'_>, class: &str) -> Result<DecoderSpec, ModelError> {
    config.refuse("attention_bias")?;
    config.refuse("mlp_bias")?;
    let defaults = HfDefaults { tied_head: false, rope_base: 10_000.0, norm_eps: 1e-6 };
    let mut spec = config.decoder(FAMILY.name, LayerStyle::default(), &defaults)?;
    if class == MISTRAL {
        let window = config.usize_or_null("sliding_window", WINDOW_V0_1)?;
        spec.layers.iter_mut().for_each(|layer| layer.window = window);
    }
    Ok(spec)
}
