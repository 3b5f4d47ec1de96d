//! Reads the metadata of a GGUF file that all families share; `hf_config.rs` is its twin for safetensors folders.
//!
//! Source of the keys: `gguf-py/gguf/constants.py` of llama.cpp. What one family alone has stands in its own file.

use formats::{Gguf, Tensor, Value};
use kernels::{Activation, RopePairing};

use crate::rope::{RopeScaling, RopeSpec, long_rope_magnitude, yarn_magnitude};
use crate::spec::{DecoderSpec, Fused, LayerSpec, LayerStyle, field, within};
use crate::{ModelError, weights};

/// More layers than this are refused before memory is taken for them; published models have at most a tenth of it.
pub(crate) const MOST_LAYERS: usize = 1 << 10;

/// A GGUF file, its keys read below the name of its architecture.
pub(crate) struct GgufKeys<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> GgufKeys<'a> {
    pub(crate) fn new(gguf: &'a Gguf, architecture: &'a str) -> GgufKeys<'a> {
        GgufKeys { gguf, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(crate) fn usize(&self, name: &str) -> Result<Option<usize>, ModelError> {
        Ok(self.gguf.metadata.usize(&self.key(name))?)
    }

    pub(crate) fn f32(&self, name: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.gguf.metadata.f32(&self.key(name))?)
    }

    pub(crate) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| field(&self.key(name), "a value".to_owned(), "nothing"))
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a Tensor> {
        self.gguf.tensors.get(name)
    }

    /// The window, `None` if the key is absent or 0.
    pub(crate) fn window(&self) -> Result<Option<usize>, ModelError> {
        Ok(self.usize("attention.sliding_window")?.filter(|window| *window > 0))
    }

    /// Which layers have the window: every `period`-th has none, or what the file says, as a number or layer by layer.
    pub(crate) fn windowed_layers(&self, layers: usize, period: usize) -> Result<Vec<bool>, ModelError> {
        let name = "attention.sliding_window_pattern";
        let by_period =
            |period: usize| (0..layers).map(|layer| period > 0 && !(layer + 1).is_multiple_of(period)).collect();
        match self.gguf.metadata.get(&self.key(name)) {
            None => Ok(by_period(period)),
            Some(Value::Array(_)) => {
                let flags = self.required(name, self.gguf.metadata.bools(&self.key(name))?)?;
                let fits = flags.len() == layers;
                if fits {
                    Ok(flags)
                } else {
                    Err(field(&self.key(name), format!("{layers} truth values"), flags.len()))
                }
            }
            Some(_) => Ok(by_period(self.required(name, self.usize(name)?)?)),
        }
    }

    /// A decoder of this style with what all families share; the family's file then says where it differs.
    pub(crate) fn decoder(&self, family: &'static str, style: LayerStyle) -> Result<DecoderSpec, ModelError> {
        if let Some(experts) = self.usize("expert_count")?.filter(|experts| *experts > 0) {
            return Err(ModelError::Unsupported {
                field: self.key("expert_count"),
                expected: "a model without experts".to_owned(),
                got: experts.to_string(),
            });
        }
        let number = |name: &str| self.required(name, self.usize(name)?);
        let width = number("embedding_length")?;
        let heads = number("attention.head_count")?;
        within(&self.key("attention.head_count"), heads, width)?;
        let head_dim = self.usize("attention.key_length")?.unwrap_or(width / heads);
        if let Some(value) = self.usize("attention.value_length")?.filter(|value| *value != head_dim) {
            return Err(field(&self.key("attention.value_length"), format!("{head_dim} as of keys"), value));
        }
        let layers = number("block_count")?;
        within(&self.key("block_count"), layers, MOST_LAYERS)?;
        let layer = LayerSpec { window: None, rope: 0, ops: style.ops() };
        Ok(DecoderSpec {
            family,
            layers: vec![layer; layers],
            width,
            heads,
            kv_heads: self.usize("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            feed_forward: number("feed_forward_length")?,
            vocabulary: self.vocabulary()?,
            context: number("context_length")?,
            norm_eps: self
                .required("attention.layer_norm_rms_epsilon", self.f32("attention.layer_norm_rms_epsilon")?)?,
            norm_shift: 0.0,
            embedding_scale: None,
            tied_head: self.tensor("output.weight").is_none(),
            final_softcap: None,
            attention_scale: self.f32("attention.scale")?.unwrap_or(1.0 / (head_dim.max(1) as f32).sqrt()),
            attention_softcap: None,
            activation: Activation::Silu,
            rope_pairing: RopePairing::Halves,
            ropes: vec![self.rope(head_dim)?],
            fused: Fused::default(),
        })
    }

    /// `V`: the rows of the embedding table.
    pub(crate) fn vocabulary(&self) -> Result<usize, ModelError> {
        let name = "token_embd.weight";
        let table = self.tensor(name).ok_or_else(|| ModelError::MissingTensors { names: vec![name.to_owned()] })?;
        Ok(table.shape.first().copied().unwrap_or(0))
    }

    /// The rows of an encoder's table of kinds of token; 0 without one.
    pub(crate) fn token_types(&self) -> usize {
        self.tensor("token_types.weight").and_then(|table| table.shape.first().copied()).unwrap_or(0)
    }

    /// The rotary embedding by `rope.*` and, where the file has them, the divisors of `rope_freqs.weight`.
    pub(crate) fn rope(&self, head_dim: usize) -> Result<RopeSpec, ModelError> {
        let dims = self.usize("rope.dimension_count")?.unwrap_or(head_dim);
        let base = self.f32("rope.freq_base")?.unwrap_or(10_000.0);
        let key = self.key("rope.scaling.type");
        let factor = self.f32("rope.scaling.factor")?;
        let kind = self.gguf.metadata.str(&key)?;
        let scaling = match (kind, self.tensor("rope_freqs.weight")) {
            (None | Some("none" | "longrope"), Some(tensor)) => RopeScaling::Divisors(weights::vector(tensor)?),
            (None | Some("none" | "longrope"), None) => match self.f32("rope.scale_linear")?.or(factor) {
                Some(factor) if kind.is_none() && factor != 1.0 => RopeScaling::Linear { factor },
                _ => RopeScaling::None,
            },
            (Some("linear"), None) => RopeScaling::Linear { factor: self.required("rope.scaling.factor", factor)? },
            (Some("yarn"), None) => self.yarn(self.required("rope.scaling.factor", factor)?)?,
            (Some(other), divisors) => {
                return Err(ModelError::Unsupported {
                    field: key,
                    expected: "none, linear, yarn or longrope, and no rope_freqs beside linear or yarn".to_owned(),
                    got: format!("{other:?}{}", if divisors.is_some() { " with rope_freqs.weight" } else { "" }),
                });
            }
        };
        Ok(RopeSpec { dims, base, scaling })
    }

    fn yarn(&self, factor: f32) -> Result<RopeScaling, ModelError> {
        let context = self.usize("context_length")?.unwrap_or(0);
        Ok(RopeScaling::Yarn {
            factor,
            original_context: self.usize("rope.scaling.original_context_length")?.unwrap_or(context),
            beta_fast: self.f32("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: self.f32("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            magnitude: self.f32("rope.scaling.yarn_attn_factor")?.unwrap_or_else(|| yarn_magnitude(factor)),
        })
    }

    /// LongRoPE by the tensors `rope_factors_short` and `rope_factors_long`; `None` without them.
    pub(crate) fn long_rope(&self) -> Result<Option<RopeScaling>, ModelError> {
        let (short, long) = ("rope_factors_short.weight", "rope_factors_long.weight");
        let (short, long) = match (self.tensor(short), self.tensor(long)) {
            (None, None) => return Ok(None),
            (Some(short), Some(long)) => (short, long),
            (Some(_), None) => return Err(ModelError::MissingTensors { names: vec![long.to_owned()] }),
            (None, Some(_)) => return Err(ModelError::MissingTensors { names: vec![short.to_owned()] }),
        };
        let context = self.usize("context_length")?.unwrap_or(0);
        let name = "rope.scaling.original_context_length";
        let original_context = self.required(name, self.usize(name)?)?;
        within(&self.key(name), original_context, context)?;
        let magnitude = self.f32("rope.scaling.attn_factor")?;
        Ok(Some(RopeScaling::LongRope {
            short: weights::vector(short)?,
            long: weights::vector(long)?,
            original_context,
            magnitude: magnitude.unwrap_or_else(|| long_rope_magnitude(context, original_context)),
        }))
    }
}
