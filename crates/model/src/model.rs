//! A loaded model: its description and its weights, checked against each other.
//!
//! Everything that can be wrong with a checkpoint is found here; what `forward.rs` does afterwards cannot fail. Read
//! next: `arch.rs` for the families, `weights.rs` for the checks.

use std::ops::RangeInclusive;

use formats::{Bytes, Checkpoint, Gguf, SafetensorsDir};
use kernels::{KernelError, KvElement, KvShape, PAGE_LEN, RopeTable, Runtime};

use crate::arch::{FAMILIES, Family};
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;
use crate::rope::{RopeScaling, yarn_magnitude};
use crate::spec::{DecoderSpec, field};
use crate::weights::{Naming, Weights};
use crate::{ModelError, RopeRegime};

/// What a caller may ask for beyond what the checkpoint says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// Stretches the context by this factor with YaRN, in the families whose authors describe it as a switch.
    pub yarn: Option<f32>,
}

/// A model that can be run. Its weights are views on the checkpoint's mapped bytes until [`Model::interleave`].
#[derive(Debug)]
pub struct Model {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: Weights,
    /// The frequencies of each rotary embedding, in the short and in the long regime.
    pub(crate) rope_tables: Vec<[RopeTable; 2]>,
}

impl Model {
    /// Finds the checkpoint's family, describes the model and checks every tensor that it needs.
    ///
    /// # Errors
    /// An unknown family; metadata that is absent or absurd; tensors missing (all of them named), misshapen, of a type
    /// that cannot be computed with, or that the family's computation would pass over; YaRN where it does not apply.
    pub fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Model, ModelError> {
        let (family, mut spec) = match checkpoint {
            Checkpoint::Gguf(gguf) => describe_gguf(gguf)?,
            Checkpoint::Safetensors(folder) => describe_hf(folder)?,
        };
        if let Some(factor) = options.yarn {
            stretch(family, &mut spec, factor)?;
        }
        reach(&mut spec);
        spec.check()?;
        let weights = match checkpoint {
            Checkpoint::Gguf(gguf) => Weights::load(&gguf.tensors, &Naming::Gguf, &spec)?,
            Checkpoint::Safetensors(folder) => {
                Weights::load(&folder.tensors, &Naming::hf(family, &folder.tensors), &spec)?
            }
        };
        let rope_tables =
            spec.ropes.iter().map(|rope| [rope.table(RopeRegime::Short), rope.table(RopeRegime::Long)]).collect();
        Ok(Model { spec, weights, rope_tables })
    }

    /// Prepares for speed: moves the weights whose formats are multiplied in integers out of the mapped file into memory,
    /// their rows interleaved. Products with them round activations to eight bits from then on; without this call
    /// everything is computed in f32.
    ///
    /// # Errors
    /// When there is not the memory; the model is as it was then.
    pub fn interleave(&mut self, runtime: &Runtime) -> Result<(), KernelError> {
        self.weights.interleave(runtime)
    }

    /// As [`Model::interleave`], with the bytes of [`Model::interleaved`] that were kept for the same file and
    /// [`Model::interleaved_layout`]. False if they cannot be those; the model is as it was then.
    pub fn take_interleaved(&mut self, bytes: Bytes) -> bool {
        self.weights.take_interleaved(bytes)
    }

    /// The bytes of all interleaved weights, if there are any.
    pub fn interleaved(&self) -> Option<&[u8]> {
        self.weights.interleaved().map(|weights| weights.bytes())
    }

    /// What tells the bytes that [`Model::interleave`] will lead to from those of other models and other versions of this
    /// program. It is asked before.
    pub fn interleaved_layout(&mut self) -> u64 {
        self.weights.interleaved_layout()
    }

    /// What the model is made of.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Bytes of the tensors in use, which a machine should be able to hold in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes
    }

    /// Tensors of the file that a text model does not need, such as those of a vision encoder.
    pub fn unused_tensors(&self) -> &[String] {
        &self.weights.unused
    }

    /// The shape of an arena of `pages` pages for this model.
    pub fn kv_shape(&self, pages: usize, element: KvElement) -> KvShape {
        KvShape {
            layers: self.spec.layers.len(),
            pages,
            page_len: PAGE_LEN,
            kv_heads: self.spec.kv_heads,
            head_dim: self.spec.head_dim,
            element,
        }
    }

    /// Bytes of cached keys and values for one position, all layers together.
    pub fn kv_bytes_per_position(&self, element: KvElement) -> u64 {
        let spec = &self.spec;
        let row_bytes = element.row_bytes(spec.head_dim).expect("the shape was checked at load; this is a bug");
        2 * (spec.layers.len() * spec.kv_heads * row_bytes) as u64
    }
}

fn describe_gguf(gguf: &Gguf) -> Result<(&'static Family, DecoderSpec), ModelError> {
    let key = "general.architecture";
    let architecture = gguf.metadata.str(key)?.ok_or_else(|| field(key, "a family's name".to_owned(), "nothing"))?;
    let family = Family::of_gguf(architecture)?;
    Ok((family, (family.from_gguf)(&GgufKeys::new(gguf, architecture))?))
}

fn describe_hf(folder: &SafetensorsDir) -> Result<(&'static Family, DecoderSpec), ModelError> {
    let classes = folder.config.get("architectures").and_then(|classes| classes.as_array());
    let class = classes.and_then(|classes| classes.first()).and_then(|class| class.as_str());
    let class = class.ok_or_else(|| field("architectures", "a list with a class's name".to_owned(), "nothing"))?;
    let family = Family::of_hf(class)?;
    Ok((family, (family.from_hf)(&HfConfig::new(folder)?, class)?))
}

/// The factors by which YaRN may stretch a context on request.
pub const YARN_FACTORS: RangeInclusive<f32> = 1.0..=64.0;

/// Turns YaRN on, or sets another factor where it is on.
fn stretch(family: &Family, spec: &mut DecoderSpec, factor: f32) -> Result<(), ModelError> {
    let refused = |got: &str| {
        let made_for_it = FAMILIES.iter().filter(|family| family.yarn_on_request).map(|family| family.name);
        ModelError::NotStretchable { expected: made_for_it.collect::<Vec<_>>().join(" or "), got: got.to_owned() }
    };
    if !family.yarn_on_request {
        return Err(refused(family.name));
    }
    if !YARN_FACTORS.contains(&factor) {
        let (least, most) = (YARN_FACTORS.start(), YARN_FACTORS.end());
        return Err(field("yarn", format!("a factor of {least} to {most}"), factor));
    }
    let context = spec.context;
    for rope in &mut spec.ropes {
        let original_context = match &rope.scaling {
            RopeScaling::None => context,
            RopeScaling::Yarn { original_context, .. } => *original_context,
            _ => return Err(refused("another scaling in the file")),
        };
        let magnitude = yarn_magnitude(factor);
        rope.scaling = RopeScaling::Yarn { factor, original_context, beta_fast: 32.0, beta_slow: 1.0, magnitude };
    }
    Ok(())
}

/// YaRN's reach is its factor times the original context, whatever the metadata says of the context.
fn reach(spec: &mut DecoderSpec) {
    for rope in &spec.ropes {
        if let RopeScaling::Yarn { factor, original_context, .. } = rope.scaling
            && factor.is_finite()
        {
            // A float of any size turns into the nearest count; absurd ones are refused by the check that follows.
            spec.context = spec.context.max((original_context as f32 * factor) as usize);
        }
    }
}
