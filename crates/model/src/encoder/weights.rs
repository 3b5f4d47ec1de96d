//! The weights of an encoder, found by name and checked against the spec. It knows no family.
//! Read next: `forward.rs`, the user.

use std::collections::HashSet;

use formats::Tensors;
use kernels::{KernelError, Runtime};

use super::names::Naming;
use super::spec::{EncoderSpec, FeedForward, Outcome, Positions};
use crate::ModelError;
use crate::weights::{Place, Weight, interleave_all, matrix, require, shifted};

/// A matrix and what is added to its product.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[N, K]`
    pub(super) weight: Weight,
    /// `[N]`
    pub(super) bias: Option<Vec<f32>>,
}

/// A layer norm: both `[D]`.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    pub(super) output_norm: Norm,
    pub(super) gate: Option<Linear>,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) layer_norm: Norm,
}

#[derive(Debug)]
pub(super) struct EncoderWeights {
    /// `[V, D]`
    pub(super) tokens: Weight,
    /// `[positions, D]`
    pub(super) positions: Option<Weight>,
    /// `[token types, D]`
    pub(super) types: Weight,
    pub(super) norm: Norm,
    pub(super) layers: Vec<LayerWeights>,
    /// `[D, D]`
    pub(super) pooler: Option<Linear>,
    /// `[1, D]`
    pub(super) classifier: Option<Linear>,
    /// Bytes of the tensors in use.
    pub(super) bytes: u64,
}

/// A tensor's name, and its shape outermost length first.
struct Sought {
    name: String,
    shape: Vec<usize>,
}

/// Looks weights up. With `names` it only lists what is sought, so that all that is missing can be told at once.
struct Reader<'a> {
    tensors: &'a Tensors,
    naming: &'a Naming,
}

impl Reader<'_> {
    /// A name within the layer of that number, or outside of layers.
    fn stem(&self, layer: Option<usize>, stem: &str) -> String {
        // The classifier stands beside the encoder.
        let prefix = if stem == self.naming.names.classifier { "" } else { self.naming.prefix };
        match layer {
            Some(layer) => format!("{prefix}{}{layer}.{stem}", self.naming.names.layer),
            None => format!("{prefix}{stem}"),
        }
    }

    fn place(&self, name: String, shape: &[usize], first_row: usize) -> Place {
        Place { gguf_name: name.clone(), name, first_row, shape: shape.to_vec() }
    }

    fn table(&self, stem: &str, shape: [usize; 2]) -> Result<Weight, ModelError> {
        matrix(self.tensors, &self.place(format!("{}.weight", self.stem(None, stem)), &shape, 0), shape[0])
    }

    fn norm(&self, layer: Option<usize>, stem: &str, width: usize) -> Result<Norm, ModelError> {
        let read = |kind| shifted(self.tensors, &self.place(self.stem(layer, stem) + kind, &[width], 0), 0.0);
        Ok(Norm { weight: read(".weight")?, bias: read(".bias")? })
    }

    /// Rows `part` of `parts` equal ones of a matrix whose shape is `[parts * rows, cols]`.
    fn linear(
        &self,
        layer: Option<usize>,
        stem: &str,
        [rows, cols]: [usize; 2],
        (part, parts): (usize, usize),
        has_bias: bool,
    ) -> Result<Linear, ModelError> {
        let (stem, whole) = (self.stem(layer, stem), parts * rows);
        let place = self.place(format!("{stem}.weight"), &[whole, cols], part * rows);
        let bias = has_bias.then(|| {
            let all = shifted(self.tensors, &self.place(format!("{stem}.bias"), &[whole], 0), 0.0)?;
            Ok::<_, ModelError>(all[part * rows..(part + 1) * rows].to_vec())
        });
        Ok(Linear { weight: matrix(self.tensors, &place, rows)?, bias: bias.transpose()? })
    }
}

impl EncoderWeights {
    /// Finds and checks every weight that the spec needs.
    ///
    /// # Errors
    /// Missing tensors, all of them named; a tensor of another shape, or of a type that cannot be computed with; tensors
    /// that the computation would pass over.
    pub(super) fn load(tensors: &Tensors, naming: &Naming, spec: &EncoderSpec) -> Result<EncoderWeights, ModelError> {
        let reader = Reader { tensors, naming };
        let sought: Vec<Place> = sought(&reader, spec).into_iter().map(|s| reader.place(s.name, &s.shape, 0)).collect();
        let used = require(tensors, sought.iter())?;
        check_rest(tensors, &used, naming, spec)?;
        let bytes = used.iter().filter_map(|name| tensors.get(name)).map(|tensor| tensor.data.len() as u64).sum();
        let (names, width, one) = (&naming.names, spec.width, (0, 1));
        let positions = match spec.positions {
            Positions::Learned { rows } => Some(reader.table(names.positions, [rows, width])?),
            Positions::Rotary(_) => None,
        };
        let (has_pooler, has_classifier) = match spec.outcome {
            Outcome::Vector(_) => (false, false),
            Outcome::Score { has_pooler } => (has_pooler, true),
        };
        let pooler = has_pooler.then(|| reader.linear(None, names.pooler, [width, width], one, true));
        let classifier = has_classifier.then(|| reader.linear(None, names.classifier, [1, width], one, true));
        Ok(EncoderWeights {
            tokens: reader.table(names.tokens, [spec.vocabulary, width])?,
            positions,
            types: reader.table(names.types, [spec.token_types, width])?,
            norm: reader.norm(None, names.norm, width)?,
            layers: (0..spec.layers).map(|layer| layer_weights(&reader, spec, layer)).collect::<Result<_, _>>()?,
            pooler: pooler.transpose()?,
            classifier: classifier.transpose()?,
            bytes,
        })
    }

    /// Moves every matrix whose format is multiplied in integers into memory, interleaved. Of the tables only the rows of
    /// the tokens at hand are read: they stay where they are.
    pub(super) fn interleave(&mut self, runtime: &Runtime) -> Result<(), KernelError> {
        let layers = self.layers.iter_mut().flat_map(|layer| {
            let LayerWeights { query, key, value, output, gate, up, down, .. } = layer;
            [query, key, value, output, up, down].into_iter().chain(gate)
        });
        let all = layers.chain(&mut self.pooler).map(|linear| &mut linear.weight);
        interleave_all(all.filter(|weight| weight.to_interleave().is_some()).collect(), runtime)
    }
}

fn layer_weights(reader: &Reader<'_>, spec: &EncoderSpec, layer: usize) -> Result<LayerWeights, ModelError> {
    let (names, width, inner, at) = (&reader.naming.names, spec.width, spec.feed_forward, Some(layer));
    let heads = |stem: &'static str, part| {
        let (stem, part) = if spec.fused { (names.fused, (part, 3)) } else { (stem, (0, 1)) };
        reader.linear(at, stem, [width, width], part, spec.attention_bias)
    };
    let one = (0, 1);
    let gate = match spec.network {
        FeedForward::Plain(_) => None,
        FeedForward::Gated(_) => Some(reader.linear(at, names.gate, [inner, width], one, spec.network_bias)?),
    };
    Ok(LayerWeights {
        query: heads(names.query, 0)?,
        key: heads(names.key, 1)?,
        value: heads(names.value, 2)?,
        output: reader.linear(at, names.output, [width, width], one, spec.attention_bias)?,
        output_norm: reader.norm(at, names.output_norm, width)?,
        gate,
        up: reader.linear(at, names.up, [inner, width], one, spec.network_bias)?,
        down: reader.linear(at, names.down, [width, inner], one, spec.network_bias)?,
        layer_norm: reader.norm(at, names.layer_norm, width)?,
    })
}

/// Every tensor that the spec needs.
fn sought(reader: &Reader<'_>, spec: &EncoderSpec) -> Vec<Sought> {
    let (names, width, inner) = (&reader.naming.names, spec.width, spec.feed_forward);
    let mut sought = Vec::new();
    let mut seek = |layer, stem: &str, shape: &[usize], has_bias: bool| {
        let stem = reader.stem(layer, stem);
        if has_bias {
            sought.push(Sought { name: format!("{stem}.bias"), shape: vec![shape[0]] });
        }
        sought.push(Sought { name: format!("{stem}.weight"), shape: shape.to_vec() });
    };
    seek(None, names.tokens, &[spec.vocabulary, width], false);
    seek(None, names.types, &[spec.token_types, width], false);
    if let Positions::Learned { rows } = spec.positions {
        seek(None, names.positions, &[rows, width], false);
    }
    seek(None, names.norm, &[width], true);
    for layer in (0..spec.layers).map(Some) {
        let (attention, network) = (spec.attention_bias, spec.network_bias);
        if spec.fused {
            seek(layer, names.fused, &[3 * width, width], attention);
        } else {
            for stem in [names.query, names.key, names.value] {
                seek(layer, stem, &[width, width], attention);
            }
        }
        seek(layer, names.output, &[width, width], attention);
        seek(layer, names.output_norm, &[width], true);
        if let FeedForward::Gated(_) = spec.network {
            seek(layer, names.gate, &[inner, width], network);
        }
        seek(layer, names.up, &[inner, width], network);
        seek(layer, names.down, &[width, inner], network);
        seek(layer, names.layer_norm, &[width], true);
    }
    if let Outcome::Score { has_pooler } = spec.outcome {
        if has_pooler {
            seek(None, names.pooler, &[width, width], true);
        }
        seek(None, names.classifier, &[1, width], true);
    }
    sought
}

/// Refuses tensors that the computation would pass over: leaving out a bias, say, would change every vector in silence.
fn check_rest(tensors: &Tensors, used: &HashSet<&str>, naming: &Naming, spec: &EncoderSpec) -> Result<(), ModelError> {
    let is_harmless = |name: &str| {
        let bare = name.strip_prefix(naming.prefix).unwrap_or(name);
        naming.unused.iter().any(|unused| bare.starts_with(unused) || bare.ends_with(unused))
    };
    let rest = tensors.names().filter(|name| !used.contains(name) && !is_harmless(name));
    let names: Vec<String> = rest.map(|name| name.chars().take(80).collect()).collect();
    if names.is_empty() { Ok(()) } else { Err(ModelError::UnexpectedTensors { family: spec.family, names }) }
}
