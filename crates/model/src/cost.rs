//! What a pass over a model has to compute and to read at the least: counted from its shapes, nothing measured.
//!
//! Set against what a machine can do, it says how fast the model could be there. This file knows no machine. Read next:
//! `spec.rs`, where the shapes come from.

use kernels::KvElement;

use crate::model::Model;
use crate::spec::LayerTensor;
use crate::weights::Weight;

/// What passes through a model cost, whatever the number of their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassCost {
    /// Weights of the matrices of all layers; each is multiplied and added once for each row.
    pub layer_weights: u64,
    /// Weights of the head, once for each row of logits.
    pub head_weights: u64,
    /// Bytes of all weights but the head's and those of an embedding table, of which only rows are read.
    pub layer_bytes: u64,
    /// Bytes of the head, the embedding table if that serves.
    pub head_bytes: u64,
    /// How many positions a query sees in each layer; all before it if `None`.
    windows: Vec<Option<usize>>,
    /// Bytes of the keys and values of one position in one layer.
    kv_bytes: u64,
}

impl PassCost {
    /// Bytes of the keys and values, of all layers, that a query at `position` sees.
    pub fn kv_bytes_at(&self, position: usize) -> u64 {
        let seen = |window: &Option<usize>| window.map_or(position + 1, |window| window.min(position + 1)) as u64;
        self.windows.iter().map(seen).sum::<u64>() * self.kv_bytes
    }
}

impl Model {
    /// What its passes cost.
    pub fn pass_cost(&self, element: KvElement) -> PassCost {
        let spec = self.spec();
        let tensors = spec.layers.iter().flat_map(|layer| layer.ops.iter().flat_map(|op| op.tensors()));
        let weights = |tensor: LayerTensor| match tensor.shape(spec)[..] {
            [rows, cols] => (rows * cols) as u64,
            _ => 0,
        };
        let table_bytes = if spec.tied_head { 0 } else { stored_bytes(&self.weights.embedding) };
        let head_bytes = stored_bytes(self.weights.head.as_ref().unwrap_or(&self.weights.embedding));
        PassCost {
            layer_weights: tensors.map(weights).sum(),
            head_weights: (spec.vocabulary * spec.width) as u64,
            layer_bytes: self.weight_bytes() - table_bytes - head_bytes,
            head_bytes,
            windows: spec.layers.iter().map(|layer| layer.window).collect(),
            kv_bytes: self.kv_bytes_per_position(element) / spec.layers.len() as u64,
        }
    }
}

/// Bytes of a matrix in its file.
fn stored_bytes(weight: &Weight) -> u64 {
    let matrix = weight.matrix();
    let row_bytes = matrix.format().row_bytes(matrix.cols());
    (matrix.rows() * row_bytes.expect("rows were found to be whole blocks when it was loaded; this is a bug")) as u64
}
