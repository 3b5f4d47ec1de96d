//! What a caller may choose when a model is loaded.
//!
//! Read next: `loading`.

use crate::memory::free_memory;
use kernels::{Isa, KernelError, KvElement, PAGE_LEN, Runtime};
use std::sync::Arc;

/// Positions of a sequence where the caller names none and the model allows as many: enough for a long conversation,
/// little enough that keys and values fit into the memory of a small machine.
pub(crate) const DEFAULT_CONTEXT: usize = 8192;

/// How to load a model.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadOptions {
    /// Positions that one sequence may use; default: the model's own, at most 8,192.
    pub context: Option<usize>,
    /// Threads that compute; default: what [`kernels::default_threads`] finds.
    pub threads: Option<usize>,
    /// Instruction set; default: the best that this CPU has.
    pub isa: Option<Isa>,
    /// How keys and values are stored; default: integers of sixteen bits.
    pub kv_element: KvElement,
    /// How many sequences of the full context have a place in memory at once; default 1. Shorter ones share the same
    /// memory, so more of them run together.
    pub sequences: usize,
    /// Bytes of memory for keys and values, shared by all sequences; default: what `sequences` of the full context take.
    pub kv_memory: Option<u64>,
    /// Most requests that wait while others are answered; more are refused as [`chat::ChatError::Overloaded`]. Default: any
    /// number.
    pub max_waiting: Option<usize>,
    /// Whether to guess tokens and try several in a step, where few sequences are answered at once. It changes no token.
    pub speculate: bool,
    /// Stretch the context by this factor with YaRN, where the model's family knows it.
    pub yarn: Option<f32>,
    /// Bytes of memory that may be taken; default: what [`free_memory`] finds.
    pub memory: Option<u64>,
}

/// Whether a model that was made for `maximum` positions can be loaded with this context.
pub(crate) fn is_context_of(context: usize, maximum: usize) -> bool {
    (1..=maximum).contains(&context)
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            context: None,
            threads: None,
            isa: None,
            kv_element: KvElement::I16,
            sequences: 1,
            kv_memory: None,
            max_waiting: None,
            speculate: true,
            yarn: None,
            memory: None,
        }
    }
}

impl LoadOptions {
    /// The threads and the instruction set to compute with. One runtime serves every model of a process.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn runtime(&self) -> Result<Arc<Runtime>, KernelError> {
        let threads = self.threads.unwrap_or_else(kernels::default_threads);
        Runtime::new(self.isa.unwrap_or_else(Isa::detect), threads).map(Arc::new)
    }

    /// Bytes that a model may take. `None` where neither the caller nor the system tells.
    pub(crate) fn free_memory(&self) -> Option<u64> {
        self.memory.or_else(free_memory)
    }

    /// The context for a model that was made for `maximum` positions.
    pub(crate) fn context_for(&self, maximum: usize) -> usize {
        self.context.unwrap_or(maximum.min(DEFAULT_CONTEXT))
    }

    /// Pages of KV memory for this context, where a page takes `page_bytes` bytes.
    pub(crate) fn kv_pages(&self, context: usize, page_bytes: u64) -> usize {
        match self.kv_memory {
            Some(bytes) => usize::try_from(bytes / page_bytes.max(1)).unwrap_or(usize::MAX),
            None => context.div_ceil(PAGE_LEN).saturating_mul(self.sequences.max(1)),
        }
    }
}
