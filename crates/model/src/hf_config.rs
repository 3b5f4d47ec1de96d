//! Reads the `config.json` of a safetensors folder; `gguf_keys.rs` is its twin for GGUF files.
//!
//! Source of the keys and of what absent ones mean: the configuration classes of transformers, in the older form
//! (`rope_theta`, `rope_scaling`) and the newer (`rope_parameters`, possibly one per kind of layer). `null` is absent.
//! What one family alone has stands in its own file.

use formats::SafetensorsDir;
use kernels::{Activation, RopePairing};
use serde_json::{Map, Value};

use crate::ModelError;
use crate::gguf_keys::MOST_LAYERS;
use crate::rope::{RopeScaling, RopeSpec, long_rope_magnitude, yarn_magnitude};
use crate::spec::{DecoderSpec, Fused, LayerSpec, LayerStyle, field, within};

/// A configuration: the whole of it, or the part that describes the language model of a multimodal one.
#[derive(Clone, Copy)]
pub(crate) struct HfConfig<'a> {
    config: &'a Map<String, Value>,
}

/// The family's defaults for keys that its configurations leave out.
pub(crate) struct HfDefaults {
    pub(crate) tied_head: bool,
    pub(crate) rope_base: f32,
    pub(crate) norm_eps: f32,
}

impl<'a> HfConfig<'a> {
    pub(crate) fn new(folder: &'a SafetensorsDir) -> Result<HfConfig<'a>, ModelError> {
        let root = &folder.config;
        let config = root.get("text_config").filter(|text| text.is_object()).unwrap_or(root);
        let config = config.as_object().ok_or_else(|| field("config.json", "an object".to_owned(), kind_of(config)))?;
        Ok(HfConfig { config })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.config.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| field(name, expected.to_owned(), kind_of(value)))
    }

    pub(crate) fn usize(&self, name: &str) -> Result<Option<usize>, ModelError> {
        self.read(name, "a count", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub(crate) fn f32(&self, name: &str) -> Result<Option<f32>, ModelError> {
        self.read(name, "a number", |value| Some(value.as_f64()? as f32))
    }

    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, ModelError> {
        self.read(name, "a truth value", Value::as_bool)
    }

    pub(crate) fn str(&self, name: &str) -> Result<Option<&'a str>, ModelError> {
        self.read(name, "a text", Value::as_str)
    }

    fn f32s(&self, name: &str) -> Result<Option<Vec<f32>>, ModelError> {
        self.read(name, "a list of numbers", |value| {
            value.as_array()?.iter().map(|number| Some(number.as_f64()? as f32)).collect()
        })
    }

    fn object(&self, name: &str) -> Result<Option<HfConfig<'a>>, ModelError> {
        Ok(self.read(name, "an object", Value::as_object)?.map(|config| HfConfig { config }))
    }

    pub(crate) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| field(name, "a value".to_owned(), "nothing"))
    }

    /// A number that may be switched off by `null`, and has a default where it is not spoken of.
    pub(crate) fn f32_or_null(&self, name: &str, default: f32) -> Result<Option<f32>, ModelError> {
        if self.config.contains_key(name) { self.f32(name) } else { Ok(Some(default)) }
    }

    /// A count that may be switched off by `null`, and has a default where it is not spoken of.
    pub(crate) fn usize_or_null(&self, name: &str, default: usize) -> Result<Option<usize>, ModelError> {
        if self.config.contains_key(name) { self.usize(name) } else { Ok(Some(default)) }
    }

    /// Refuses the configuration if a switch is on whose effect is not built.
    pub(crate) fn refuse(&self, switch: &str) -> Result<(), ModelError> {
        if self.bool(switch)?.unwrap_or(false) {
            return Err(ModelError::Unsupported {
                field: switch.to_owned(),
                expected: "false".to_owned(),
                got: "true".to_owned(),
            });
        }
        Ok(())
    }

    /// Which layers have the window: by `layer_types`, else by the family's rule.
    pub(crate) fn windowed_layers(&self, layers: usize, rule: impl Fn(usize) -> bool) -> Result<Vec<bool>, ModelError> {
        let name = "layer_types";
        let Some(types) = self.read(name, "a list of kinds of layer", Value::as_array)? else {
            return Ok((0..layers).map(rule).collect());
        };
        if types.len() != layers {
            return Err(field(name, format!("{layers} kinds of layer"), types.len()));
        }
        let windowed = |kind: &Value| match kind.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(field(name, "sliding_attention or full_attention".to_owned(), kind)),
        };
        types.iter().map(windowed).collect()
    }

    /// A decoder of this style with what all families share; the family's file then says where it differs.
    pub(crate) fn decoder(
        &self,
        family: &'static str,
        style: LayerStyle,
        defaults: &HfDefaults,
    ) -> Result<DecoderSpec, ModelError> {
        let number = |name: &str| self.required(name, self.usize(name)?);
        let width = number("hidden_size")?;
        let heads = number("num_attention_heads")?;
        within("num_attention_heads", heads, width)?;
        let head_dim = self.usize("head_dim")?.unwrap_or(width / heads);
        let layers = number("num_hidden_layers")?;
        within("num_hidden_layers", layers, MOST_LAYERS)?;
        let layer = LayerSpec { window: None, rope: 0, ops: style.ops() };
        Ok(DecoderSpec {
            family,
            layers: vec![layer; layers],
            width,
            heads,
            kv_heads: self.usize("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            feed_forward: number("intermediate_size")?,
            vocabulary: number("vocab_size")?,
            context: number("max_position_embeddings")?,
            norm_eps: self.f32("rms_norm_eps")?.unwrap_or(defaults.norm_eps),
            norm_shift: 0.0,
            embedding_scale: None,
            tied_head: self.bool("tie_word_embeddings")?.unwrap_or(defaults.tied_head),
            final_softcap: None,
            attention_scale: 1.0 / (head_dim.max(1) as f32).sqrt(),
            attention_softcap: None,
            activation: self.activation()?,
            rope_pairing: RopePairing::Halves,
            ropes: vec![self.rope(head_dim, defaults.rope_base)?],
            fused: Fused::default(),
        })
    }

    fn activation(&self) -> Result<Activation, ModelError> {
        let name = if self.get("hidden_activation").is_some() { "hidden_activation" } else { "hidden_act" };
        match self.str(name)? {
            Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            other => Err(ModelError::Unsupported {
                field: name.to_owned(),
                expected: "silu or gelu_pytorch_tanh".to_owned(),
                got: other.unwrap_or("nothing").to_owned(),
            }),
        }
    }

    /// The rotary embedding of the layers that see everything, by `rope_parameters` or the older `rope_scaling`.
    pub(crate) fn rope(&self, head_dim: usize, default_base: f32) -> Result<RopeSpec, ModelError> {
        if let Some(own) = self.rope_of_kind("full_attention", head_dim, default_base)? {
            return Ok(own);
        }
        let parameters = match self.object("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => self.object("rope_scaling")?,
        };
        let scaling = parameters.unwrap_or(HfConfig { config: self.config });
        let either = |name: &str| Ok::<_, ModelError>(scaling.f32(name)?.or(self.f32(name)?));
        let base = either("rope_theta")?.unwrap_or(default_base);
        let rotated = either("partial_rotary_factor")?.unwrap_or(1.0);
        if !(rotated > 0.0 && rotated <= 1.0) {
            return Err(field("partial_rotary_factor", "more than 0, at most 1".to_owned(), rotated));
        }
        let dims = (head_dim.min(1 << 20) as f32 * rotated) as usize;
        let scaling = match parameters {
            None => RopeScaling::None,
            Some(parameters) => self.rope_scaling(parameters)?,
        };
        Ok(RopeSpec { dims, base, scaling })
    }

    /// The rotary embedding that `rope_parameters` holds for one kind of layer alone; `None` if it does not tell kinds
    /// apart.
    pub(crate) fn rope_of_kind(
        &self,
        kind: &str,
        head_dim: usize,
        default_base: f32,
    ) -> Result<Option<RopeSpec>, ModelError> {
        let parameters = self.object("rope_parameters")?;
        let Some(own) = parameters.map(|parameters| parameters.object(kind)).transpose()?.flatten() else {
            return Ok(None);
        };
        let base = own.f32("rope_theta")?.unwrap_or(default_base);
        Ok(Some(RopeSpec { dims: head_dim, base, scaling: self.rope_scaling(own)? }))
    }

    fn rope_scaling(&self, parameters: HfConfig<'_>) -> Result<RopeScaling, ModelError> {
        let kind = match parameters.str("rope_type")? {
            Some(kind) => Some(kind),
            None => parameters.str("type")?,
        };
        let number = |name: &str| parameters.required(name, parameters.f32(name)?);
        match kind {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_frequency: number("low_freq_factor")?,
                high_frequency: number("high_freq_factor")?,
                original_context: self.original_context(parameters)?,
            }),
            // Phi-3 configurations have called LongRoPE by each of these names; its two lists tell it from YaRN.
            Some("longrope" | "su" | "yarn") if parameters.get("short_factor").is_some() => self.long_rope(parameters),
            Some("yarn") => {
                let factor = number("factor")?;
                Ok(RopeScaling::Yarn {
                    factor,
                    original_context: self.original_context(parameters)?,
                    beta_fast: parameters.f32("beta_fast")?.unwrap_or(32.0),
                    beta_slow: parameters.f32("beta_slow")?.unwrap_or(1.0),
                    magnitude: parameters.f32("attention_factor")?.unwrap_or_else(|| yarn_magnitude(factor)),
                })
            }
            Some(other) => Err(ModelError::Unsupported {
                field: "rope_type".to_owned(),
                expected: "default, linear, llama3, yarn or longrope".to_owned(),
                got: other.to_owned(),
            }),
        }
    }

    /// The context of the first training; a value beside the parameters overrides the one among them.
    fn original_context(&self, parameters: HfConfig<'_>) -> Result<usize, ModelError> {
        let name = "original_max_position_embeddings";
        let context = match self.usize(name)? {
            Some(context) => context,
            None => match parameters.usize(name)? {
                Some(context) => context,
                None => self.required("max_position_embeddings", self.usize("max_position_embeddings")?)?,
            },
        };
        within(name, context, 1 << 30)?;
        Ok(context)
    }

    fn long_rope(&self, parameters: HfConfig<'_>) -> Result<RopeScaling, ModelError> {
        let list = |name: &str| parameters.required(name, parameters.f32s(name)?);
        let context = self.required("max_position_embeddings", self.usize("max_position_embeddings")?)?;
        let original_context = self.original_context(parameters)?;
        let magnitude = parameters.f32("attention_factor")?;
        Ok(RopeScaling::LongRope {
            short: list("short_factor")?,
            long: list("long_factor")?,
            original_context,
            magnitude: magnitude.unwrap_or_else(|| long_rope_magnitude(context, original_context)),
        })
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
