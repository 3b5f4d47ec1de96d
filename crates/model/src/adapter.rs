//! Adapters (LoRA): two thin matrices beside a matrix of the model, for some rows of a batch.
//!
//! ```text
//! out = x · Wᵀ + scale · (x · Aᵀ) · Bᵀ        W [N, K], A [r, K], B [N, r]
//! ```
//!
//! Source: LoRA (Hu et al. 2021), section 4.1; `scale` is `alpha / r`, or `alpha / sqrt(r)` where the rank is stabilised
//! (Kalajdzievski 2023). An adapter is checked against the description of its base when it is loaded; running it cannot
//! fail. A base whose projections share a tensor has adapters of that tensor: one A, and a B whose rows are cut as the
//! base's are.
//!
//! This file knows no container. Read next: `adapter/peft.rs` and `adapter/gguf.rs` for the two, `adapter/apply.rs` for the
//! arithmetic.

mod apply;
mod gguf;
mod peft;

use std::collections::BTreeMap;
use std::sync::Arc;

use formats::{AdapterCheckpoint, Bytes, Tensor};
use kernels::{Format, Matrix, RopePairing};

pub(crate) use apply::{AdaptedRows, LowRankWork, apply, rows_of};

use crate::arch::Family;
use crate::spec::{DecoderSpec, LayerTensor};
use crate::weights::Naming;
use crate::{AdapterId, ModelError};

/// The largest rank that is taken; published adapters have at most an eighth of it.
const MOST_RANK: usize = 1 << 13;
/// How many names of tensors an error shows.
const SHOWN_NAMES: usize = 8;

const MADE_FOR_ANOTHER: &str = "the adapter was made for another base model";
const DAMAGED: &str = "the adapter is damaged or was cut short; fetch it or save it again";

/// A LoRA adapter that fits one model.
#[derive(Debug)]
pub struct Adapter {
    /// The pairs of each layer, by where they are applied. `[L]`
    layers: Vec<[Vec<LowRank>; Site::COUNT]>,
    bytes: u64,
    largest_rank: usize,
}

/// The adapters that passes may use, by the ids that segments name. Cloning copies no weights.
#[derive(Clone, Debug, Default)]
pub struct Adapters {
    table: BTreeMap<AdapterId, Arc<Adapter>>,
}

/// The operation of a layer that pairs belong to: the matrices that share an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Site {
    QueryKeyValue,
    AttentionOutput,
    GateUp,
    Down,
}

/// One pair.
#[derive(Debug)]
struct LowRank {
    /// `[r, K]`
    a: Factor,
    scale: f32,
    /// The outputs, each `[N, r]`: one, or several where the base's projections share a tensor.
    b: Vec<(LayerTensor, Factor)>,
}

/// A matrix as its file stores it.
#[derive(Debug)]
struct Factor {
    format: Format,
    rows: usize,
    cols: usize,
    bytes: Bytes,
}

/// The matrices of a base that an adapter may have pairs for, by the names of a container.
type Modules = BTreeMap<String, Module>;

/// A stored matrix of the base: the weights of one role, or of several.
struct Module {
    layer: usize,
    /// `[N, K]`
    shape: [usize; 2],
    /// Each role with its first row and its rows.
    parts: Vec<(LayerTensor, usize, usize)>,
}

/// What a container holds for one module.
#[derive(Default)]
struct Halves<'t> {
    a: Option<&'t Tensor>,
    b: Option<&'t Tensor>,
}

/// A whole pair of a container, before it is checked against the base.
struct Pair<'t> {
    module: &'t Module,
    a: &'t Tensor,
    b: &'t Tensor,
    /// The rank that the container states beside the tensors, if it does.
    rank: Option<usize>,
    /// The factor, by the rank.
    scale: Box<dyn Fn(usize) -> f32 + 't>,
}

impl Site {
    const COUNT: usize = Site::Down as usize + 1;

    fn of(tensor: LayerTensor) -> Option<Site> {
        match tensor {
            LayerTensor::Query | LayerTensor::Key | LayerTensor::Value => Some(Site::QueryKeyValue),
            LayerTensor::AttentionOutput => Some(Site::AttentionOutput),
            LayerTensor::Gate | LayerTensor::Up => Some(Site::GateUp),
            LayerTensor::Down => Some(Site::Down),
            _ => None,
        }
    }
}

impl Adapter {
    /// Finds where each tensor of an adapter belongs in a model of this description, and checks all of them.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a kind of adapter or a setting that is not built, a tensor of another shape, one without
    /// its other half, one that no part of the model uses, a factor that is no number. [`ModelError::Format`] for metadata
    /// of the wrong kind.
    pub fn load(checkpoint: &AdapterCheckpoint, spec: &DecoderSpec) -> Result<Adapter, ModelError> {
        let family = Family::named(spec.family)?;
        match checkpoint {
            AdapterCheckpoint::Gguf(file) => {
                let modules = modules(spec, &Naming::Gguf);
                Adapter::build(spec, family.gguf_pairing, gguf::pairs(file, family, &modules)?)
            }
            AdapterCheckpoint::Peft(folder) => {
                let modules = modules(spec, &Naming::Hf { family, decoder: "", head: "" });
                Adapter::build(spec, RopePairing::Halves, peft::pairs(folder, &modules)?)
            }
        }
    }

    /// Bytes of its tensors.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The largest rank among its pairs.
    pub fn largest_rank(&self) -> usize {
        self.largest_rank
    }

    /// `pairing` is the order of the rows of query and key in the container.
    fn build(spec: &DecoderSpec, pairing: RopePairing, pairs: Vec<Pair<'_>>) -> Result<Adapter, ModelError> {
        let layers = spec.layers.iter().map(|_| <[Vec<LowRank>; Site::COUNT]>::default()).collect();
        let mut adapter = Adapter { layers, bytes: 0, largest_rank: 0 };
        if pairs.is_empty() {
            return Err(wrong("adapter", "tensors of low-rank pairs", "none", DAMAGED));
        }
        for pair in pairs {
            let [rows, cols] = pair.module.shape;
            let rank = pair.rank.unwrap_or_else(|| pair.a.shape.first().copied().unwrap_or(0));
            if !(1..=MOST_RANK).contains(&rank) {
                let expected = format!("a rank of 1 to {MOST_RANK}");
                return Err(wrong(&tensor_name(pair.a), expected, rank, DAMAGED));
            }
            let scale = (pair.scale)(rank);
            if !scale.is_finite() {
                return Err(wrong(&tensor_name(pair.a), "a scale that is a finite number", scale, DAMAGED));
            }
            let a = Factor::new(pair.a, [rank, cols])?;
            let whole = Factor::new(pair.b, [rows, rank])?;
            adapter.bytes += (a.bytes.len() + whole.bytes.len()) as u64;
            adapter.largest_rank = adapter.largest_rank.max(rank);
            let part = |&(tensor, first, rows): &(LayerTensor, usize, usize)| {
                let part = whole.part(first, rows);
                let heads = match tensor {
                    LayerTensor::Query => spec.heads,
                    LayerTensor::Key => spec.kv_heads,
                    _ => return (tensor, part),
                };
                let is_ordered = pairing == spec.rope_pairing;
                (tensor, if is_ordered { part } else { part.reordered(heads, spec.head_dim, spec.rope_pairing) })
            };
            let site = Site::of(pair.module.parts[0].0).expect("modules are made of such roles; this is a bug");
            let b = pair.module.parts.iter().map(part).collect();
            adapter.layers[pair.module.layer][site as usize].push(LowRank { a, scale, b });
        }
        Ok(adapter)
    }

    fn pairs(&self, layer: usize, site: Site) -> &[LowRank] {
        &self.layers[layer][site as usize]
    }
}

impl Adapters {
    /// Gives an adapter an id; what had it before is forgotten.
    pub fn insert(&mut self, id: AdapterId, adapter: Arc<Adapter>) {
        self.table.insert(id, adapter);
    }

    /// Forgets an adapter. No segment may name it any more.
    pub fn remove(&mut self, id: AdapterId) {
        self.table.remove(&id);
    }

    /// The adapter of this id.
    pub fn get(&self, id: AdapterId) -> Option<&Adapter> {
        self.table.get(&id).map(Arc::as_ref)
    }
}

impl Factor {
    /// The matrix of a tensor, if it has this shape and can be computed with.
    fn new(tensor: &Tensor, shape: [usize; 2]) -> Result<Factor, ModelError> {
        if tensor.shape != shape {
            let (expected, got) = (format!("shape {shape:?}"), format!("{:?}", tensor.shape));
            return Err(wrong(&tensor_name(tensor), expected, got, MADE_FOR_ANOTHER));
        }
        let format = Format::from_name(tensor.element.name).ok_or_else(|| {
            let hint = "save the adapter in f32, f16 or bf16";
            wrong(&tensor_name(tensor), "element type f32, f16 or bf16", tensor.element.name.to_lowercase(), hint)
        })?;
        let [rows, cols] = shape;
        let kernel = |source| ModelError::Kernel { name: shown(&tensor.name), source };
        Matrix::new(format, rows, cols, &tensor.data).map_err(kernel)?;
        Ok(Factor { format, rows, cols, bytes: tensor.data.clone() })
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.format, self.rows, self.cols, &self.bytes)
            .expect("its length was checked when it was loaded; this is a bug")
    }

    /// Some adjacent rows, in the same memory.
    fn part(&self, first_row: usize, rows: usize) -> Factor {
        let row_bytes = self.bytes.len() / self.rows;
        let range = first_row * row_bytes..(first_row + rows) * row_bytes;
        let bytes = self.bytes.slice(range).expect("the rows of a part lie within the whole; this is a bug");
        Factor { format: self.format, rows, cols: self.cols, bytes }
    }

    /// A copy whose rows stand as this pairing wants them, made of the other's order. Within a head, row `2i + half` of
    /// adjacent pairs is row `half · Dh/2 + i` of halves.
    fn reordered(&self, heads: usize, head_dim: usize, to: RopePairing) -> Factor {
        let row_bytes = self.bytes.len() / self.rows;
        let pairs = head_dim / 2;
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for head in 0..heads {
            for row in 0..head_dim {
                let from = match to {
                    RopePairing::Adjacent => row % 2 * pairs + row / 2,
                    RopePairing::Halves => row % pairs * 2 + row / pairs,
                };
                bytes.extend_from_slice(&self.bytes[(head * head_dim + from) * row_bytes..][..row_bytes]);
            }
        }
        Factor { format: self.format, rows: self.rows, cols: self.cols, bytes: Bytes::from_vec(bytes) }
    }
}

/// The matrices of all layers under the names of a container, without `.weight` in safetensors.
fn modules(spec: &DecoderSpec, naming: &Naming) -> Modules {
    let mut modules = Modules::new();
    for (layer, description) in spec.layers.iter().enumerate() {
        let roles = description.ops.iter().flat_map(|op| op.tensors()).filter(|tensor| Site::of(*tensor).is_some());
        for tensor in roles {
            let place = naming.place(spec, layer, tensor);
            let name = match naming {
                Naming::Gguf => place.name.as_str(),
                Naming::Hf { .. } => place.name.strip_suffix(".weight").unwrap_or(&place.name),
            };
            let shape = [place.shape[0], place.shape[1]];
            let module = modules.entry(name.to_owned()).or_insert(Module { layer, shape, parts: Vec::new() });
            module.parts.push((tensor, place.first_row, tensor.shape(spec)[0]));
        }
    }
    modules
}

/// Refuses tensors that no matrix of the layers uses, the first few by name.
fn refuse_unused(names: &[&str]) -> Result<(), ModelError> {
    /// Parts of the names of the embedding table and of the head.
    const TABLES: [&str; 5] = ["embed_tokens", "lora_embedding", "lm_head", "token_embd", "output.weight"];
    if names.is_empty() {
        return Ok(());
    }
    let is_table = |name: &str| TABLES.iter().any(|table| name.contains(table) && !name.contains("attn_output"));
    let hint = if names.iter().any(|name| is_table(name)) {
        "adapters of the embedding table and of the output head are not supported; train the projections of the layers alone"
    } else {
        MADE_FOR_ANOTHER
    };
    let mut list: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| shown(name)).collect();
    if names.len() > SHOWN_NAMES {
        list.push(format!("and {} more", names.len() - SHOWN_NAMES));
    }
    Err(wrong("adapter", "tensors for the projections of the base's layers alone", list.join(", "), hint))
}

/// Both halves of a module's pair.
fn both<'t>(halves: &Halves<'t>, names: [&str; 2]) -> Result<(&'t Tensor, &'t Tensor), ModelError> {
    match (halves.a, halves.b) {
        (Some(a), Some(b)) => Ok((a, b)),
        (a, _) => {
            let missing = names[usize::from(a.is_some())];
            Err(wrong(&format!("tensor {}", shown(missing)), "it beside its other half", "nothing", DAMAGED))
        }
    }
}

fn tensor_name(tensor: &Tensor) -> String {
    format!("tensor {}", shown(&tensor.name))
}

/// A text of a file as a message shows it.
fn shown(text: &str) -> String {
    /// Names of tensors are shorter.
    const CHARACTERS: usize = 100;
    let mut shown: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

fn wrong(subject: &str, expected: impl Into<String>, got: impl ToString, hint: &'static str) -> ModelError {
    ModelError::Adapter { subject: subject.to_owned(), expected: expected.into(), got: got.to_string(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_rows_is_turned_and_turned_back() {
        // Two heads of six rows, a row being one number.
        let values: Vec<u8> = (0..12).flat_map(|row| (row as f32).to_le_bytes()).collect();
        let halves = Factor { format: Format::F32, rows: 12, cols: 1, bytes: Bytes::from_vec(values.clone()) };
        let adjacent = halves.reordered(2, 6, RopePairing::Adjacent);
        let rows: Vec<f32> =
            adjacent.bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        // Pair i of a head is (i, i + 3) in halves.
        assert_eq!(rows, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        assert_eq!(&*adjacent.reordered(2, 6, RopePairing::Halves).bytes, &values);
    }

    #[test]
    fn names_from_files_cannot_drive_a_terminal_or_flood_it() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 101);
        let names: Vec<String> = (0..1000).map(|index| format!("blk.{index}.odd")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = refuse_unused(&names).unwrap_err().to_string();
        assert!(error.contains("blk.7.odd, and 992 more\nhint: the adapter was made for another base"), "{error}");
    }
}
