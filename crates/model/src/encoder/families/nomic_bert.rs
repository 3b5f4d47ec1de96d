//! Nomic's BERT (nomic-embed-text v1 and v1.5; Nussbaum et al. 2024): rotary positions, a gated network, no biases.
//!
//! Its published checkpoints have keys and names of their own; transformers reads them, and writes configurations in its
//! usual keys. Beyond the trained positions the authors stretch the rotation, which is not built: the context ends there.
//! Sources: `config.json` of the checkpoints; `modeling_nomic_bert.py` and `conversion_mapping.py` of transformers.

use kernels::Activation;

use super::EncoderFamily;
use crate::ModelError;
use crate::encoder::names::Names;
use crate::encoder::spec::{EncoderSpec, FeedForward, Outcome, Pooling, Positions};
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;
use crate::rope::{RopeScaling, RopeSpec};

const PUBLISHED: Names = Names {
    tokens: "embeddings.word_embeddings",
    positions: "",
    types: "embeddings.token_type_embeddings",
    norm: "emb_ln",
    layer: "encoder.layers.",
    query: "",
    key: "",
    value: "",
    fused: "attn.Wqkv",
    output: "attn.out_proj",
    output_norm: "norm1",
    gate: "mlp.fc12",
    up: "mlp.fc11",
    down: "mlp.fc2",
    layer_norm: "norm2",
    pooler: "pooler.dense",
    classifier: "classifier",
    prefix: "nomic_bert.",
};

pub(super) static FAMILY: EncoderFamily = EncoderFamily {
    name: "nomic-bert",
    gguf: &["nomic-bert"],
    hf: &["NomicBertModel"],
    hf_scores: &[],
    unused: &["cls.", "pooler.", "embeddings.position_ids", "rotary_emb.inv_freq"],
    names: &[PUBLISHED],
    from_gguf,
    from_hf,
};

fn spec(context: usize, rope: RopeSpec) -> EncoderSpec {
    EncoderSpec {
        family: FAMILY.name,
        layers: 0,
        width: 0,
        heads: 0,
        feed_forward: 0,
        vocabulary: 0,
        token_types: 2,
        context,
        norm_eps: 1e-12,
        positions: Positions::Rotary(rope),
        network: FeedForward::Gated(Activation::Silu),
        attention_bias: false,
        network_bias: false,
        fused: true,
        outcome: Outcome::Vector(Pooling::Mean),
    }
}

fn from_gguf(keys: &GgufKeys<'_>) -> Result<EncoderSpec, ModelError> {
    let number = |name: &str| keys.required(name, keys.usize(name)?);
    let (width, heads) = (number("embedding_length")?, number("attention.head_count")?);
    if let Some(experts) = keys.usize("expert_count")?.filter(|experts| *experts > 0) {
        return Err(unsupported("expert_count", "a model without experts", experts));
    }
    let rope = keys.rope(width / heads.max(1))?;
    Ok(EncoderSpec {
        layers: number("block_count")?,
        width,
        heads,
        feed_forward: number("feed_forward_length")?,
        vocabulary: keys.vocabulary()?,
        token_types: keys.token_types(),
        norm_eps: keys.required("attention.layer_norm_epsilon", keys.f32("attention.layer_norm_epsilon")?)?,
        fused: keys.tensor("blk.0.attn_q.weight").is_none(),
        ..spec(number("context_length")?, rope)
    })
}

fn from_hf(config: &HfConfig<'_>) -> Result<EncoderSpec, ModelError> {
    if config.usize("n_embd")?.is_some() { from_published(config) } else { from_native(config) }
}

fn from_published(config: &HfConfig<'_>) -> Result<EncoderSpec, ModelError> {
    let number = |name: &str| config.required(name, config.usize(name)?);
    let switches = ["prenorm", "causal", "use_rms_norm", "rotary_emb_interleaved", "parallel_block"];
    for switch in switches.into_iter().chain(["qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"]) {
        config.refuse(switch)?;
    }
    match config.str("activation_function")? {
        Some("swiglu") => {}
        other => return Err(unsupported("activation_function", "swiglu", other.unwrap_or("nothing"))),
    }
    if let Some(experts) = config.usize("num_experts")?.filter(|experts| *experts > 0) {
        return Err(unsupported("num_experts", "a model without experts", experts));
    }
    let (width, heads) = (number("n_embd")?, number("n_head")?);
    let fraction = config.f32("rotary_emb_fraction")?.unwrap_or(1.0);
    if fraction != 1.0 {
        return Err(unsupported("rotary_emb_fraction", "1", fraction));
    }
    let base = config.f32("rotary_emb_base")?.unwrap_or(10_000.0);
    let rope = RopeSpec { dims: width / heads.max(1), base, scaling: RopeScaling::None };
    let positions = number("n_positions")?;
    let trained = config.usize("max_trained_positions")?.unwrap_or(positions);
    Ok(EncoderSpec {
        layers: number("n_layer")?,
        width,
        heads,
        feed_forward: config.usize("n_inner")?.unwrap_or(4 * width.min(1 << 20)),
        vocabulary: number("vocab_size")?,
        token_types: config.usize("type_vocab_size")?.unwrap_or(0),
        norm_eps: config.f32("layer_norm_epsilon")?.unwrap_or(1e-12),
        ..spec(positions.min(trained), rope)
    })
}

fn from_native(config: &HfConfig<'_>) -> Result<EncoderSpec, ModelError> {
    let number = |name: &str| config.required(name, config.usize(name)?);
    match config.str("hidden_act")?.unwrap_or("silu") {
        "silu" => {}
        other => return Err(unsupported("hidden_act", "silu", other)),
    }
    let (width, heads) = (number("hidden_size")?, number("num_attention_heads")?);
    let head_dim = width / heads.max(1);
    if let Some(other) = config.usize("head_dim")?.filter(|width| *width != head_dim) {
        return Err(unsupported("head_dim", "the width by the number of heads", other));
    }
    let rope = config.rope(head_dim, 1_000.0)?;
    Ok(EncoderSpec {
        layers: number("num_hidden_layers")?,
        width,
        heads,
        feed_forward: number("intermediate_size")?,
        vocabulary: number("vocab_size")?,
        token_types: config.usize("type_vocab_size")?.unwrap_or(2),
        norm_eps: config.f32("layer_norm_eps")?.unwrap_or(1e-12),
        ..spec(number("max_position_embeddings")?, rope)
    })
}

fn unsupported(name: &str, expected: &str, got: impl ToString) -> ModelError {
    ModelError::Unsupported { field: name.to_owned(), expected: expected.to_owned(), got: got.to_string() }
}
