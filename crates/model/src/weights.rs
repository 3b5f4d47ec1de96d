//! The weights of a model: matrices in the mapped file or interleaved in memory, decoded vectors for norms and biases.
//!
//! What a spec's operations name is looked up, checked for shape and type, and handed to the forward pass by role. This
//! file knows no family. Read next: `forward.rs`, the user.

use std::collections::HashSet;
use std::sync::Arc;

use formats::{Bytes, Tensor, Tensors};
use kernels::{Format, InterleavedMatrix, InterleavedWeights, KernelError, Matrix, Runtime};

use crate::ModelError;
use crate::arch::Family;
use crate::rope::RopeScaling;
use crate::spec::{DecoderSpec, LayerTensor};

/// A matrix, or some rows of one.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// The tensor's name in a GGUF file, whichever container it came from.
    pub(crate) gguf_name: String,
    storage: Storage,
}

/// Where the bytes of a matrix are.
#[derive(Debug, Clone)]
enum Storage {
    /// In the mapped file, as they are.
    Mapped { format: Format, rows: usize, cols: usize, bytes: Bytes },
    /// In memory, rearranged for integer products.
    Interleaved { weights: Arc<InterleavedWeights>, place: InterleavedMatrix },
}

impl Weight {
    /// The view that the kernels take. `[rows, cols]`
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        match &self.storage {
            Storage::Mapped { format, rows, cols, bytes } => Matrix::new(*format, *rows, *cols, bytes)
                .expect("a weight's length was checked when it was loaded; this is a bug"),
            Storage::Interleaved { weights, place } => weights.matrix(place),
        }
    }

    /// The mapped bytes, if the format is multiplied in integers and they are not interleaved yet.
    pub(crate) fn to_interleave(&self) -> Option<&Bytes> {
        match &self.storage {
            Storage::Mapped { format, bytes, .. } if format.can_interleave() => Some(bytes),
            _ => None,
        }
    }
}

/// The weights of one layer, by role.
#[derive(Debug, Default)]
pub(crate) struct LayerWeights {
    matrices: [Option<Weight>; LayerTensor::COUNT],
    vectors: [Option<Vec<f32>>; LayerTensor::COUNT],
}

impl LayerWeights {
    pub(crate) fn weight(&self, tensor: LayerTensor) -> &Weight {
        self.matrices[tensor as usize].as_ref().expect("every operation's weights are loaded; this is a bug")
    }

    pub(crate) fn vector(&self, tensor: LayerTensor) -> &[f32] {
        self.vectors[tensor as usize].as_deref().expect("every operation's weights are loaded; this is a bug")
    }
}

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// `[V, D]`
    pub(crate) embedding: Weight,
    /// `[D]`
    pub(crate) output_norm: Vec<f32>,
    /// `[V, D]`; `None` if the embedding table serves.
    pub(crate) head: Option<Weight>,
    pub(crate) layers: Vec<LayerWeights>,
    /// Bytes of the tensors in use, each counted once.
    pub(crate) bytes: u64,
    /// Tensors of the file that the computation does not need.
    pub(crate) unused: Vec<String>,
}

/// In which words a file names its tensors.
pub(crate) enum Naming {
    Gguf,
    /// The family amends the names; the prefixes stand before the decoder's tensors and before the head.
    Hf {
        family: &'static Family,
        decoder: &'static str,
        head: &'static str,
    },
}

/// The prefixes under which checkpoints of transformers hold a language model: alone, or inside a multimodal one.
pub(crate) const HF_PREFIXES: [(&str, &str); 3] =
    [("model.", ""), ("language_model.model.", "language_model."), ("model.language_model.", "")];

/// Parts of tensor names that the text path never reads.
const HARMLESS: [&str; 3] = ["rotary_emb.inv_freq", "vision_tower.", "multi_modal_projector."];

/// Where a weight stands: a tensor, of which it may be some rows.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) gguf_name: String,
    pub(crate) first_row: usize,
    /// The shape of the whole tensor.
    pub(crate) shape: Vec<usize>,
}

impl Naming {
    pub(crate) fn hf(family: &'static Family, tensors: &Tensors) -> Naming {
        let holds = |prefix: &str| tensors.get(&format!("{prefix}embed_tokens.weight")).is_some();
        let (decoder, head) = HF_PREFIXES.into_iter().find(|(prefix, _)| holds(prefix)).unwrap_or(HF_PREFIXES[0]);
        Naming::Hf { family, decoder, head }
    }

    fn embedding(&self) -> String {
        match self {
            Naming::Gguf => "token_embd.weight".to_owned(),
            Naming::Hf { decoder, .. } => format!("{decoder}embed_tokens.weight"),
        }
    }

    fn output_norm(&self) -> String {
        match self {
            Naming::Gguf => "output_norm.weight".to_owned(),
            Naming::Hf { decoder, .. } => format!("{decoder}norm.weight"),
        }
    }

    fn head(&self) -> String {
        match self {
            Naming::Gguf => "output.weight".to_owned(),
            Naming::Hf { head, .. } => format!("{head}lm_head.weight"),
        }
    }

    /// Where the weight of this role and layer stands.
    pub(crate) fn place(&self, spec: &DecoderSpec, layer: usize, tensor: LayerTensor) -> Place {
        let (query, key) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let mut shape = tensor.shape(spec);
        let mut gguf = Family::gguf_name(tensor);
        let mut first_row = 0;
        let mut hf_fused = None;
        match tensor {
            LayerTensor::Query | LayerTensor::Key | LayerTensor::Value if spec.fused.query_key_value => {
                first_row = match tensor {
                    LayerTensor::Query => 0,
                    LayerTensor::Key => query,
                    _ => query + key,
                };
                shape[0] = query + 2 * key;
                gguf = "attn_qkv.weight";
                hf_fused = Some("self_attn.qkv_proj.weight");
            }
            LayerTensor::Gate | LayerTensor::Up if spec.fused.gate_up => {
                first_row = if tensor == LayerTensor::Gate { 0 } else { spec.feed_forward };
                shape[0] = 2 * spec.feed_forward;
                gguf = "ffn_up.weight";
                hf_fused = Some("mlp.gate_up_proj.weight");
            }
            _ => {}
        }
        let gguf_name = format!("blk.{layer}.{gguf}");
        let name = match self {
            Naming::Gguf => gguf_name.clone(),
            Naming::Hf { family, decoder, .. } => {
                format!("{decoder}layers.{layer}.{}", hf_fused.unwrap_or_else(|| family.hf_name(tensor)))
            }
        };
        Place { name, gguf_name, first_row, shape }
    }
}

impl Weights {
    /// Moves every matrix whose format is multiplied in integers from the mapped file into memory, interleaved. What was
    /// read of the file is given back piece by piece, so that there are never two copies.
    ///
    /// An embedding table that is not the head too stays in the file: of it only the rows of the tokens are read.
    pub(crate) fn interleave(&mut self, runtime: &Runtime) -> Result<(), KernelError> {
        interleave_all(self.targets(), runtime)
    }

    /// As [`Weights::interleave`], with the bytes that it led to before, for the same weights; false if they cannot be those,
    /// and nothing is changed then.
    pub(crate) fn take_interleaved(&mut self, bytes: Bytes) -> bool {
        let mut targets = self.targets();
        let matrices: Vec<Matrix<'_>> = targets.iter().map(|weight| weight.matrix()).collect();
        let kept = InterleavedWeights::kept(bytes, &matrices);
        let Some((weights, places)) = kept.filter(|_| !targets.is_empty()) else { return false };
        settle(&mut targets, weights, places);
        true
    }

    /// The weights that [`Weights::interleave`] moves, in its order.
    fn targets(&mut self) -> Vec<&mut Weight> {
        let tables = self.head.is_none().then_some(&mut self.embedding).into_iter().chain(&mut self.head);
        let layers = self.layers.iter_mut().flat_map(|layer| layer.matrices.iter_mut().flatten());
        tables.chain(layers).filter(|weight| weight.to_interleave().is_some()).collect()
    }

    /// All interleaved weights; `None` if there are none.
    pub(crate) fn interleaved(&self) -> Option<&InterleavedWeights> {
        let layers = self.layers.iter().flat_map(|layer| layer.matrices.iter().flatten());
        let mut all = [&self.embedding].into_iter().chain(&self.head).chain(layers);
        all.find_map(|weight| match &weight.storage {
            Storage::Interleaved { weights, .. } => Some(weights.as_ref()),
            Storage::Mapped { .. } => None,
        })
    }

    /// A number that tells the interleaved bytes of these weights from those of others, and of other versions of this
    /// program: a hash of the arrangement and of what is arranged, in its order.
    pub(crate) fn interleaved_layout(&mut self) -> u64 {
        let mut hash = Fnv::default();
        hash.add(&kernels::INTERLEAVED_VERSION.to_le_bytes());
        for weight in self.targets() {
            let matrix = weight.matrix();
            hash.add(weight.gguf_name.as_bytes());
            hash.add(matrix.format().name().as_bytes());
            hash.add(&[matrix.rows() as u64, matrix.cols() as u64].map(u64::to_le_bytes).concat());
        }
        hash.0
    }

    /// Finds and checks every weight that the spec's operations take.
    ///
    /// # Errors
    /// Missing tensors, all of them named; a tensor of another shape, or of a type that cannot be computed with;
    /// tensors that the family's computation would pass over.
    pub(crate) fn load(tensors: &Tensors, naming: &Naming, spec: &DecoderSpec) -> Result<Weights, ModelError> {
        let vocabulary = vec![spec.vocabulary, spec.width];
        let whole = |name: String, gguf: &str, shape: &[usize]| Place {
            name,
            gguf_name: gguf.to_owned(),
            first_row: 0,
            shape: shape.to_vec(),
        };
        let embedding = whole(naming.embedding(), "token_embd.weight", &vocabulary);
        let output_norm = whole(naming.output_norm(), "output_norm.weight", &[spec.width]);
        let head = (!spec.tied_head).then(|| whole(naming.head(), "output.weight", &vocabulary));
        let layers: Vec<Vec<(LayerTensor, Place)>> = (spec.layers.iter().enumerate())
            .map(|(index, layer)| {
                let roles = layer.ops.iter().flat_map(|op| op.tensors());
                roles.map(|tensor| (tensor, naming.place(spec, index, tensor))).collect()
            })
            .collect();

        let places = [&embedding, &output_norm].into_iter().chain(&head);
        let places = places.chain(layers.iter().flatten().map(|(_, place)| place));
        let used = require(tensors, places)?;
        let bytes = used.iter().filter_map(|name| tensors.get(name)).map(|tensor| tensor.data.len() as u64).sum();
        let unused = unused(tensors, &used, spec, naming)?;

        let load = |places: &Vec<(LayerTensor, Place)>| {
            let mut weights = LayerWeights::default();
            for (tensor, place) in places {
                let rows = tensor.shape(spec);
                if let [rows, _] = rows[..] {
                    weights.matrices[*tensor as usize] = Some(matrix(tensors, place, rows)?);
                } else {
                    let shift = if tensor.is_norm() { spec.norm_shift } else { 0.0 };
                    weights.vectors[*tensor as usize] = Some(shifted(tensors, place, shift)?);
                }
            }
            Ok(weights)
        };
        Ok(Weights {
            output_norm: shifted(tensors, &output_norm, spec.norm_shift)?,
            head: head.map(|place| matrix(tensors, &place, spec.vocabulary)).transpose()?,
            embedding: matrix(tensors, &embedding, spec.vocabulary)?,
            layers: layers.iter().map(load).collect::<Result<_, ModelError>>()?,
            bytes,
            unused,
        })
    }
}

/// Moves weights, all of formats that are multiplied in integers, into one piece of memory, interleaved.
pub(crate) fn interleave_all(mut targets: Vec<&mut Weight>, runtime: &Runtime) -> Result<(), KernelError> {
    if targets.is_empty() {
        return Ok(());
    }
    let matrices: Vec<Matrix<'_>> = targets.iter().map(|weight| weight.matrix()).collect();
    let (weights, places) = InterleavedWeights::new(runtime, &matrices, |index, read| {
        targets[index].to_interleave().expect("only such weights were taken; this is a bug").release(read);
    })?;
    settle(&mut targets, weights, places);
    Ok(())
}

/// Points weights to their interleaved bytes.
fn settle(targets: &mut [&mut Weight], weights: InterleavedWeights, places: Vec<InterleavedMatrix>) {
    let weights = Arc::new(weights);
    for (weight, place) in targets.iter_mut().zip(places) {
        weight.storage = Storage::Interleaved { weights: Arc::clone(&weights), place };
    }
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo).
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The names in use, if the file has them all.
pub(crate) fn require<'p>(
    tensors: &Tensors,
    places: impl Iterator<Item = &'p Place>,
) -> Result<HashSet<&'p str>, ModelError> {
    let mut used = HashSet::new();
    let mut missing = Vec::new();
    for place in places {
        if used.insert(place.name.as_str()) && tensors.get(&place.name).is_none() {
            missing.push(place.name.clone());
        }
    }
    if missing.is_empty() { Ok(used) } else { Err(ModelError::MissingTensors { names: missing }) }
}

/// The names that the computation does not need. One that it should need is an error: passing over a bias, say, would
/// change every answer in silence.
fn unused(
    tensors: &Tensors,
    used: &HashSet<&str>,
    spec: &DecoderSpec,
    naming: &Naming,
) -> Result<Vec<String>, ModelError> {
    let head = naming.head();
    // The description was made of these.
    let divisors = spec.ropes.iter().any(|rope| matches!(rope.scaling, RopeScaling::Divisors(_)));
    let factors = spec.long_rope_after().is_some();
    let described =
        |name: &str| (divisors && name == "rope_freqs.weight") || (factors && name.starts_with("rope_factors_"));
    let harmless = |name: &str| HARMLESS.iter().any(|part| name.contains(part)) || (spec.tied_head && name == head);
    let rest = tensors.names().filter(|name| !used.contains(name) && !described(name));
    let (harmless, unexpected): (Vec<&str>, Vec<&str>) = rest.partition(|name| harmless(name));
    if unexpected.is_empty() {
        return Ok(harmless.into_iter().map(str::to_owned).collect());
    }
    Err(ModelError::UnexpectedTensors {
        family: spec.family,
        names: unexpected.into_iter().map(|name| name.chars().take(80).collect()).collect(),
    })
}

fn find<'t>(tensors: &'t Tensors, place: &Place) -> Result<&'t Tensor, ModelError> {
    let tensor =
        tensors.get(&place.name).ok_or_else(|| ModelError::MissingTensors { names: vec![place.name.clone()] })?;
    if tensor.shape != place.shape {
        return Err(ModelError::TensorShape {
            name: place.name.clone(),
            expected: place.shape.clone(),
            got: tensor.shape.clone(),
        });
    }
    Ok(tensor)
}

pub(crate) fn matrix(tensors: &Tensors, place: &Place, rows: usize) -> Result<Weight, ModelError> {
    let tensor = find(tensors, place)?;
    let format = Format::from_name(tensor.element.name).ok_or_else(|| ModelError::TensorType {
        name: place.name.clone(),
        expected: kernels::FORMATS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
        got: tensor.element.name.to_lowercase(),
    })?;
    let kernel = |source| ModelError::Kernel { name: place.name.clone(), source };
    let (whole, cols) = (place.shape[0], place.shape[1]);
    Matrix::new(format, whole, cols, &tensor.data).map_err(kernel)?;
    let row_bytes = tensor.data.len() / whole;
    let range = place.first_row * row_bytes..(place.first_row + rows) * row_bytes;
    let bytes = tensor.data.slice(range).expect("the rows of a part lie within the whole; this is a bug");
    Ok(Weight { gguf_name: place.gguf_name.clone(), storage: Storage::Mapped { format, rows, cols, bytes } })
}

pub(crate) fn shifted(tensors: &Tensors, place: &Place, shift: f32) -> Result<Vec<f32>, ModelError> {
    let mut values = vector(find(tensors, place)?)?;
    values.iter_mut().for_each(|value| *value += shift);
    Ok(values)
}

/// The values of a tensor stored as plain numbers.
pub(crate) fn vector(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    let format = Format::from_name(tensor.element.name).filter(|format| format.block_len() == 1);
    let format = format.ok_or_else(|| ModelError::TensorType {
        name: tensor.name.clone(),
        expected: "f32, f16 or bf16".to_owned(),
        got: tensor.element.name.to_lowercase(),
    })?;
    let mut values = vec![0.0; tensor.data.len() / format.block_bytes()];
    kernels::dequantize(format, &tensor.data, &mut values)
        .map_err(|source| ModelError::Kernel { name: tensor.name.clone(), source })?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_crates_agree_on_every_shared_format() {
        for row in kernels::FORMATS {
            let element = formats::ElementType::from_name(row.name);
            let sizes = element.map(|element| (element.block_len, element.block_bytes));
            assert_eq!(sizes, Some((row.block_len, row.block_bytes)), "{}", row.name);
        }
    }
}
