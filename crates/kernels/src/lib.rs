//! Numbers only: block formats, matrix products, attention, norms, rotary positions, softmax and activations, with a
//! path for each instruction set and one pool of threads. Safe slices go in and come out.
//!
//! It deliberately knows no model, file, tensor name, token or sequence; `model` composes these ops. Start reading at
//! [`matmul`] (`ops/matmul.rs`), then `isa.rs` for how one kernel serves every instruction set, [`quant`] for the block
//! formats, and [`reference`](mod@reference) for what each op means.
//!
//! Two promises hold for every op. Each output element adds its terms in one fixed order, whatever the number of rows,
//! the tile or the number of threads, so a batch equals its parts bit for bit. And every path is tested against the plain
//! loops of the reference within a bound that stands beside the op.
#![expect(unsafe_code, reason = "vector instructions, worker threads and disjoint writes live here and nowhere else")]
#![deny(unsafe_op_in_unsafe_fn)]

mod disjoint;
mod error;
mod interleave;
mod isa;
mod kv;
mod limits;
mod math;
mod matrix;
mod memory;
mod ops;
mod pool;
pub mod quant;
pub mod reference;
mod runtime;
mod threads;

pub use error::KernelError;
pub use interleave::{INTERLEAVED_VERSION, InterleavedMatrix, InterleavedWeights, ROW_GROUP};
pub use isa::Isa;
pub use kv::{KvArena, KvElement, KvShape, KvSpan, PAGE_LEN};
pub use limits::{Limits, measure_limits, measure_read_rate};
pub use matrix::Matrix;
pub use memory::Buffer;
pub use ops::activation::{Activation, gated, gated_fused};
pub use ops::attention::{AttentionShape, attention};
pub use ops::bidirectional::{BidirectionalShape, attention_bidirectional};
pub use ops::elementwise::{add, add_bias, scale, softcap};
pub use ops::embed::embed;
pub use ops::gelu::{Gelu, gelu};
pub use ops::kv_store::kv_store;
pub use ops::layer_norm::layer_norm;
pub use ops::matmul::{MatMul, matmul, matmul_gated};
pub use ops::rms_norm::{rms_norm, rms_norm_in_place};
pub use ops::rope::{RopePairing, RopeTable, RopeTurns, rope};
pub use ops::softmax::log_sum_exp;
pub use quant::{FORMATS, Format, FormatRow, dequantize, quantize};
pub use runtime::Runtime;
pub use threads::default_threads;
