//! How files name an encoder's tensors. GGUF has one way for all families; a family says its own for safetensors.

use formats::Checkpoint;

use super::families::EncoderFamily;

/// Names without `.weight` and `.bias`; empty for what the family does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) tokens: &'static str,
    pub(super) positions: &'static str,
    pub(super) types: &'static str,
    pub(super) norm: &'static str,
    /// Before the number of a layer and a dot.
    pub(super) layer: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    /// Query, key and value in one.
    pub(super) fused: &'static str,
    pub(super) output: &'static str,
    pub(super) output_norm: &'static str,
    pub(super) gate: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) layer_norm: &'static str,
    pub(super) pooler: &'static str,
    pub(super) classifier: &'static str,
    /// Stands before all but the classifier in some files.
    pub(super) prefix: &'static str,
}

/// Source: `gguf-py/gguf/constants.py` and `tensor_mapping.py` of llama.cpp.
static GGUF: Names = Names {
    tokens: "token_embd",
    positions: "position_embd",
    types: "token_types",
    norm: "token_embd_norm",
    layer: "blk.",
    query: "attn_q",
    key: "attn_k",
    value: "attn_v",
    fused: "attn_qkv",
    output: "attn_output",
    output_norm: "attn_output_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
    layer_norm: "layer_output_norm",
    pooler: "cls",
    classifier: "cls.output",
    prefix: "",
};

/// The names of one file.
pub(super) struct Naming {
    pub(super) names: Names,
    /// What stands before names, as this file has it.
    pub(super) prefix: &'static str,
    /// Prefixes of names that are not needed.
    pub(super) unused: &'static [&'static str],
}

/// The names that a checkpoint of this family uses.
pub(super) fn of(family: &'static EncoderFamily, checkpoint: &Checkpoint) -> Naming {
    let Checkpoint::Safetensors(folder) = checkpoint else {
        return Naming { names: GGUF, prefix: "", unused: &["cls."] };
    };
    let holds = |prefix: &str, names: &Names| folder.tensors.get(&format!("{prefix}{}.weight", names.tokens)).is_some();
    let ways = family.names.iter().flat_map(|names| ["", names.prefix].map(|prefix| (*names, prefix)));
    let (names, prefix) = ways.clone().find(|(names, prefix)| holds(prefix, names)).unwrap_or((family.names[0], ""));
    Naming { names, prefix, unused: family.unused }
}
