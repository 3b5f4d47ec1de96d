//! BERT (Devlin et al. 2018) and the many sentence encoders of its shape: all-MiniLM, BGE, E5, and cross-encoders.
//!
//! Sources: `configuration_bert.py` and `modeling_bert.py` of transformers; `gguf-py/gguf/constants.py` of llama.cpp.

use kernels::Gelu;

use super::EncoderFamily;
use crate::ModelError;
use crate::encoder::names::Names;
use crate::encoder::spec::{EncoderSpec, FeedForward, Outcome, Pooling, Positions};
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;

pub(super) static FAMILY: EncoderFamily = EncoderFamily {
    name: "bert",
    gguf: &["bert"],
    hf: &["BertModel", "BertForMaskedLM"],
    hf_scores: &["BertForSequenceClassification"],
    // The head of its training, the pooler of sentences in a row, and a list of numbers from 0 on.
    unused: &["cls.", "pooler.", "embeddings.position_ids"],
    names: &[Names {
        tokens: "embeddings.word_embeddings",
        positions: "embeddings.position_embeddings",
        types: "embeddings.token_type_embeddings",
        norm: "embeddings.LayerNorm",
        layer: "encoder.layer.",
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        fused: "",
        output: "attention.output.dense",
        output_norm: "attention.output.LayerNorm",
        gate: "",
        up: "intermediate.dense",
        down: "output.dense",
        layer_norm: "output.LayerNorm",
        pooler: "pooler.dense",
        classifier: "classifier",
        prefix: "bert.",
    }],
    from_gguf,
    from_hf,
};

fn from_gguf(keys: &GgufKeys<'_>) -> Result<EncoderSpec, ModelError> {
    let number = |name: &str| keys.required(name, keys.usize(name)?);
    let context = number("context_length")?;
    let rows = keys.tensor("position_embd.weight").and_then(|tensor| tensor.shape.first().copied());
    Ok(EncoderSpec {
        family: FAMILY.name,
        layers: number("block_count")?,
        width: number("embedding_length")?,
        heads: number("attention.head_count")?,
        feed_forward: number("feed_forward_length")?,
        vocabulary: keys.vocabulary()?,
        token_types: keys.token_types(),
        context,
        norm_eps: keys.required("attention.layer_norm_epsilon", keys.f32("attention.layer_norm_epsilon")?)?,
        positions: Positions::Learned { rows: rows.unwrap_or(context) },
        // The file does not say; those of its models that were trained with the tanh form differ by less than 5e-4.
        network: FeedForward::Plain(Gelu::Erf),
        attention_bias: true,
        network_bias: true,
        fused: keys.tensor("blk.0.attn_qkv.weight").is_some(),
        outcome: Outcome::Vector(Pooling::Mean),
    })
}

fn from_hf(config: &HfConfig<'_>) -> Result<EncoderSpec, ModelError> {
    let number = |name: &str| config.required(name, config.usize(name)?);
    let unsupported = |name: &str, expected: &str, got: &str| ModelError::Unsupported {
        field: name.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    };
    let network = match config.str("hidden_act")?.unwrap_or("gelu") {
        "gelu" => Gelu::Erf,
        "gelu_new" | "gelu_pytorch_tanh" => Gelu::Tanh,
        other => return Err(unsupported("hidden_act", "gelu, gelu_new or gelu_pytorch_tanh", other)),
    };
    if let Some(other) = config.str("position_embedding_type")?.filter(|kind| *kind != "absolute") {
        return Err(unsupported("position_embedding_type", "absolute", other));
    }
    for switch in ["is_decoder", "add_cross_attention"] {
        config.refuse(switch)?;
    }
    let context = number("max_position_embeddings")?;
    Ok(EncoderSpec {
        family: FAMILY.name,
        layers: number("num_hidden_layers")?,
        width: number("hidden_size")?,
        heads: number("num_attention_heads")?,
        feed_forward: number("intermediate_size")?,
        vocabulary: number("vocab_size")?,
        token_types: config.usize("type_vocab_size")?.unwrap_or(2),
        context,
        norm_eps: config.f32("layer_norm_eps")?.unwrap_or(1e-12),
        positions: Positions::Learned { rows: context },
        network: FeedForward::Plain(network),
        attention_bias: true,
        network_bias: true,
        fused: false,
        outcome: Outcome::Vector(Pooling::Mean),
    })
}
