//! What to expect of a model on this machine before it is loaded, or even here: does it fit, how fast will it be.
//!
//! Making one token reads every weight once, and small models do little arithmetic for each; so the speed is at most
//! the rate at which this machine reads memory divided by the bytes of the weights. That is an estimate and an upper
//! bound: it leaves out the reading of keys and values, and formats that take long to unpack stay below it.
//! Read next: `bench`, which measures.

use crate::memory::{MemoryPlan, human_bytes, workspace_bytes};
use crate::options::{LoadOptions, is_context_of};
use kernels::{PAGE_LEN, Runtime};
use model::DecoderSpec;
use serde::Serialize;
use std::cell::OnceCell;
use std::sync::Arc;

/// The dimensions of a decoder that memory and speed follow from, as a catalog row or a file tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Layers.
    pub layers: usize,
    /// `D`.
    pub width: usize,
    /// `H`.
    pub heads: usize,
    /// `Hkv`.
    pub kv_heads: usize,
    /// `Dh`.
    pub head_dim: usize,
    /// `F`.
    pub feed_forward: usize,
    /// `V`.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context: usize,
}

impl From<&DecoderSpec> for ModelShape {
    fn from(spec: &DecoderSpec) -> ModelShape {
        ModelShape {
            layers: spec.layers.len(),
            width: spec.width,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            feed_forward: spec.feed_forward,
            vocabulary: spec.vocabulary,
            context: spec.context,
        }
    }
}

/// What to expect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Forecast {
    /// Positions of a sequence that this is about.
    pub context: usize,
    /// Positions that the model was made for; loading refuses more.
    pub maximum_context: usize,
    /// What the model would take.
    pub memory: MemoryPlan,
    /// Bytes that are free, where the system tells.
    pub free: Option<u64>,
    /// Whether it can be loaded so: the context is one that the model was made for, and the memory suffices. Unknown
    /// where `free` is and the context is no obstacle.
    pub fits: Option<bool>,
    /// Tokens generated in a second, one sequence: an estimate and an upper bound.
    pub tokens_per_second: Option<f64>,
}

impl Forecast {
    /// The forecast for a model of this shape whose weights take `weight_bytes`.
    ///
    /// `bandwidth` is the rate of [`ReadRates`] for them, `None` to leave the speed out.
    pub fn of(shape: &ModelShape, weight_bytes: u64, options: &LoadOptions, bandwidth: Option<f64>) -> Forecast {
        let context = options.context_for(shape.context);
        let row_bytes = options.kv_element.row_bytes(shape.head_dim).unwrap_or(usize::MAX) as u64;
        let per_position = row_bytes.saturating_mul(2 * (shape.layers * shape.kv_heads) as u64);
        let pages = options.kv_pages(context, per_position.saturating_mul(PAGE_LEN as u64));
        let positions = pages.saturating_mul(PAGE_LEN) as u64;
        let heads = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
        let memory = MemoryPlan {
            weights: weight_bytes,
            kv: positions.saturating_mul(per_position),
            workspace: workspace_bytes(shape.width, heads, shape.feed_forward, shape.vocabulary),
        };
        let free = options.free_memory();
        let is_possible = is_context_of(context, shape.context);
        Forecast {
            context,
            maximum_context: shape.context,
            memory,
            free,
            fits: if is_possible { free.map(|free| memory.total() <= free) } else { Some(false) },
            tokens_per_second: bandwidth.filter(|_| weight_bytes > 0).map(|rate| rate / weight_bytes as f64),
        }
    }
}

impl Forecast {
    /// Why it does not fit, for people; `None` where it does, or where nobody knows.
    pub fn obstacle(&self) -> Option<String> {
        if !is_context_of(self.context, self.maximum_context) {
            return Some(format!(
                "context {} is outside what it was made for: 1 to {}",
                self.context, self.maximum_context
            ));
        }
        let free = self.free.filter(|_| self.fits == Some(false))?;
        let needed = human_bytes(self.memory.total());
        Some(format!("needs {needed} with context {}, free {}", self.context, human_bytes(free)))
    }
}

/// Bytes of a buffer to read in place of weights of that size: no more than a gibibyte, which no cache holds, and than a
/// quarter of the memory that is free, which others want too.
pub fn measured_bytes(weight_bytes: u64, options: &LoadOptions) -> usize {
    let most = options.free_memory().map_or(MOST_MEASURED_BYTES, |free| MOST_MEASURED_BYTES.min(free / 4));
    usize::try_from(weight_bytes.min(most)).unwrap_or(usize::MAX)
}

const MOST_MEASURED_BYTES: u64 = 1 << 30;

/// Sizes of buffers, each for the weights that are not larger; the last for those that are, too. Between them a cache of a
/// server may end: what it holds is read faster, the buffer as the weights.
const SIZES: [u64; 3] = [128 << 20, 512 << 20, MOST_MEASURED_BYTES];

/// Bytes that this machine reads from memory in a second, each rate measured when it is first asked for: a fifth of a
/// second for the smallest buffer, about half a second for the largest.
pub struct ReadRates {
    options: LoadOptions,
    runtime: OnceCell<Option<Arc<Runtime>>>,
    /// Of each of the [`SIZES`].
    rates: [OnceCell<Option<f64>>; SIZES.len()],
}

impl ReadRates {
    /// Those with the threads and the instruction set of these options. Nothing is measured yet.
    pub fn new(options: &LoadOptions) -> ReadRates {
        ReadRates { options: options.clone(), runtime: OnceCell::new(), rates: Default::default() }
    }

    /// The rate for weights of so many bytes; `None` if the system refuses the threads or the memory.
    pub fn of(&self, weight_bytes: u64) -> Option<f64> {
        let size = size_for(weight_bytes);
        *self.rates[size].get_or_init(|| {
            let runtime = self.runtime.get_or_init(|| self.options.runtime().ok()).as_ref()?;
            kernels::measure_read_rate(runtime, measured_bytes(SIZES[size], &self.options)).ok()
        })
    }
}

/// The index of the size for weights of so many bytes.
fn size_for(weight_bytes: u64) -> usize {
    SIZES.iter().position(|&size| weight_bytes <= size).unwrap_or(SIZES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::KvElement;

    #[test]
    fn a_forecast_adds_up() {
        // SmolLM2 135M.
        let shape = ModelShape {
            layers: 30,
            width: 576,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            feed_forward: 1536,
            vocabulary: 49152,
            context: 8192,
        };
        let options = LoadOptions { context: Some(1024), memory: Some(150_000_000), ..LoadOptions::default() };
        let forecast = Forecast::of(&shape, 98_000_000, &options, Some(9.8e9));
        assert_eq!(forecast.memory.kv, 2 * 30 * 3 * (64 * 2 + 4) * 1024);
        let bytes = LoadOptions { kv_element: KvElement::Q8_0, ..options.clone() };
        assert_eq!(Forecast::of(&shape, 98_000_000, &bytes, None).memory.kv, 2 * 30 * 3 * (64 + 2 * 2) * 1024);
        assert_eq!(forecast.memory.weights, 98_000_000);
        assert_eq!(forecast.tokens_per_second, Some(100.0));
        assert_eq!((forecast.free, forecast.fits), (Some(150_000_000), Some(false)));
        let roomy = LoadOptions { memory: Some(forecast.memory.total()), ..options };
        assert_eq!(Forecast::of(&shape, 98_000_000, &roomy, None).fits, Some(true));
        assert_eq!(Forecast::of(&shape, 1, &LoadOptions::default(), None).context, 8192);
    }

    #[test]
    fn a_context_that_loading_refuses_does_not_fit() {
        // TinyLlama 1.1B.
        let shape = ModelShape {
            layers: 22,
            width: 2048,
            heads: 32,
            kv_heads: 4,
            head_dim: 64,
            feed_forward: 5632,
            vocabulary: 32000,
            context: 2048,
        };
        let forecast = |context, memory| {
            let options = LoadOptions { context: Some(context), memory: Some(memory), ..LoadOptions::default() };
            Forecast::of(&shape, 600_000_000, &options, None)
        };
        assert_eq!((forecast(2048, u64::MAX).fits, forecast(2048, u64::MAX).obstacle()), (Some(true), None));
        let long = forecast(2049, u64::MAX);
        assert_eq!(long.fits, Some(false), "whatever the memory");
        assert_eq!(long.obstacle().unwrap(), "context 2049 is outside what it was made for: 1 to 2048");
        let small = forecast(2048, 1 << 20).obstacle().unwrap();
        assert!(small.starts_with("needs ") && small.contains("with context 2048, free "), "{small}");
    }

    #[test]
    fn a_measurement_takes_a_quarter_of_free_memory_at_most() {
        let bytes =
            |weights, memory| measured_bytes(weights, &LoadOptions { memory: Some(memory), ..LoadOptions::default() });
        assert_eq!(bytes(100 << 20, 1 << 30), 100 << 20, "as many as the weights");
        assert_eq!(bytes(300 << 20, 1 << 30), 256 << 20);
        assert_eq!(bytes(5 << 30, 64 << 30), 1 << 30);
        assert_eq!(bytes(5 << 30, 0), 0);
    }

    #[test]
    fn memory_is_read_at_some_rate() {
        let rates = ReadRates::new(&LoadOptions { threads: Some(2), memory: Some(64 << 20), ..LoadOptions::default() });
        let rate = rates.of(5 << 30).unwrap();
        assert!(rate > 1e6);
        assert_eq!(rates.of(70 << 30), Some(rate), "measured once");
        let sizes = [0, 128 << 20, (128 << 20) + 1, 1 << 30, u64::MAX].map(size_for);
        assert_eq!(sizes, [0, 0, 1, 2, 2]);
    }
}
