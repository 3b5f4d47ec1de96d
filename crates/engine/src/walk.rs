//! The seam for reading along several paths after one prompt: something that looks at the logits and says where to go on,
//! which may be back.
//!
//! ```text
//! prompt -> logits -> read a, b -> logits -> back to the prompt, read c -> logits -> ... -> done
//! ```
//!
//! Keys and values of what lies before the place gone back to are kept, those after it are written anew. The engine neither
//! knows nor cares what is looked for. Read next: `choice`, which asks it.

use crate::sampler::BrokenLogits;

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkStep {
    /// Forget all tokens after the prompt but the first `kept`, and read these: at least one.
    Read {
        /// Tokens after the prompt that stay; not more than there are.
        kept: usize,
        /// Tokens to read after them.
        tokens: Vec<u32>,
    },
    /// Nowhere; the sequence ends as [`crate::FinishReason::Complete`].
    Done,
}

/// Decides what a sequence reads after its prompt. It keeps what it learns to itself: the engine reports no tokens of it.
pub trait Walk: Send {
    /// Looks at the logits `[V]` of what may follow the last token read.
    ///
    /// # Errors
    /// Where the logits that it needs are no numbers; this ends the sequence.
    fn step(&mut self, logits: &[f32]) -> Result<WalkStep, BrokenLogits>;
}
