//! One encoder for every family: texts of any lengths, one behind the other, become vectors or scores in one pass.
//!
//! Like a decoder, an architecture is data: `families/<family>.rs` turns metadata into an [`EncoderSpec`], and `forward.rs`
//! executes whatever spec it is given. Unlike a decoder it keeps nothing from one pass to the next: every position sees the
//! whole of its text, so there is no cache and no schedule.
//!
//! Read next: `spec.rs`, then one family, then `forward.rs`.

mod families;
mod forward;
mod names;
mod pooling;
mod spec;
mod weights;

pub use families::{ENCODER_FAMILIES, EncoderFamily};
pub use forward::{EncoderBatch, EncoderWorkspace};
pub use spec::{EncoderSpec, FeedForward, Outcome, Pooling, Positions};

use formats::Checkpoint;
use kernels::{KernelError, RopeTable, Runtime};

use crate::ModelError;
use crate::batch::RopeRegime;
use crate::gguf_keys::GgufKeys;
use crate::hf_config::HfConfig;
use crate::spec::field;
use weights::EncoderWeights;

/// An encoder that can be run. Its weights are views on the checkpoint's mapped bytes until [`Encoder::interleave`].
#[derive(Debug)]
pub struct Encoder {
    spec: EncoderSpec,
    weights: EncoderWeights,
    rope: Option<RopeTable>,
}

/// Whether a checkpoint is an encoder, by the architecture that it names; nothing else of it is looked at.
pub fn is_encoder(checkpoint: &Checkpoint) -> bool {
    find(checkpoint).is_some()
}

fn find(checkpoint: &Checkpoint) -> Option<&'static EncoderFamily> {
    match checkpoint {
        Checkpoint::Gguf(gguf) => EncoderFamily::of_gguf(gguf.metadata.str("general.architecture").ok()??),
        Checkpoint::Safetensors(folder) => EncoderFamily::of_hf(class_of(&folder.config)?),
    }
}

/// The class that a configuration names first.
fn class_of(config: &serde_json::Value) -> Option<&str> {
    config.get("architectures")?.as_array()?.first()?.as_str()
}

impl Encoder {
    /// Finds the checkpoint's family, describes the model and checks every tensor that it needs.
    ///
    /// # Errors
    /// An unknown family; metadata that is absent or absurd; a way of pooling, or a step after it, that is not built; tensors
    /// missing (all of them named), misshapen, of a type that cannot be computed with, or that would be passed over.
    pub fn load(checkpoint: &Checkpoint) -> Result<Encoder, ModelError> {
        let Some(family) = find(checkpoint) else { return Err(unknown(checkpoint)) };
        let spec = match checkpoint {
            Checkpoint::Gguf(gguf) => {
                let name = gguf.metadata.str("general.architecture")?.unwrap_or_default();
                let mut spec = (family.from_gguf)(&GgufKeys::new(gguf, name))?;
                spec.outcome = pooling::of_gguf(gguf, name)?;
                spec
            }
            Checkpoint::Safetensors(folder) => {
                let class = class_of(&folder.config).unwrap_or_default();
                let config = HfConfig::new(folder)?;
                let mut spec = (family.from_hf)(&config)?;
                spec.outcome = pooling::of_folder(folder, family.scores(class))?;
                pooling::limit_context(folder, &mut spec)?;
                spec
            }
        };
        spec.check()?;
        let (tensors, names) = (checkpoint.tensors(), names::of(family, checkpoint));
        let weights = EncoderWeights::load(tensors, &names, &spec)?;
        let rope = match &spec.positions {
            Positions::Rotary(rope) => Some(rope.table(RopeRegime::Short)),
            Positions::Learned { .. } => None,
        };
        Ok(Encoder { spec, weights, rope })
    }

    /// Prepares for speed, as [`Model::interleave`](crate::Model::interleave) does.
    ///
    /// # Errors
    /// When there is not the memory; the model is as it was then.
    pub fn interleave(&mut self, runtime: &Runtime) -> Result<(), KernelError> {
        self.weights.interleave(runtime)
    }

    /// What the model is made of.
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// Bytes of the tensors in use.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes
    }
}

fn unknown(checkpoint: &Checkpoint) -> ModelError {
    let (got, names): (_, fn(&EncoderFamily) -> Vec<&'static str>) = match checkpoint {
        Checkpoint::Gguf(gguf) => {
            (gguf.metadata.str("general.architecture").ok().flatten(), |family| family.gguf.to_vec())
        }
        Checkpoint::Safetensors(folder) => (class_of(&folder.config), |family| family.classes().collect()),
    };
    let Some(got) = got else { return field("architecture", "the name of a family".to_owned(), "nothing") };
    let known: Vec<&str> = ENCODER_FAMILIES.iter().flat_map(|family| names(family)).collect();
    ModelError::UnknownFamily { got: got.chars().take(80).collect(), known: known.join(", ") }
}
