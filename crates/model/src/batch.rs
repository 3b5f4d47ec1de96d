//! What one forward pass is asked: tokens of several sequences, where they stand, and which logits are wanted.
//!
//! The engine fills it, `forward.rs` runs it. Nothing here knows a weight or a reason for the choice of tokens.

/// Which set of rotary frequencies a sequence uses, in families with LongRoPE; the others ignore it.
///
/// A sequence is in the long regime once the whole of it is longer than
/// [`DecoderSpec::long_rope_after`](crate::DecoderSpec::long_rope_after); its cached keys belong to one regime, so
/// crossing over means to compute them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RopeRegime {
    /// Within the original context.
    #[default]
    Short,
    /// Beyond it.
    Long,
}

/// For which rows of a segment logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogitRows {
    /// For none: an earlier piece of a prompt.
    None,
    /// For the last row: what comes next.
    Last,
    /// For every row: scoring.
    All,
}

/// Names an adapter among those that a [`Model`](crate::Model) was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(pub u32);

/// Adjacent tokens of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The position of the first token in its sequence.
    pub position: usize,
    /// How many rows of [`Batch::tokens`] are its.
    pub len: usize,
    /// The pages of the sequence from position 0 on, `ceil((position + len) / page_len)` or more of them.
    pub pages: Vec<u32>,
    /// The rotary frequencies of the whole sequence.
    pub regime: RopeRegime,
    /// Which logits are wanted.
    pub logits: LogitRows,
    /// The adapter that its rows go through beside the model's own weights.
    pub adapter: Option<AdapterId>,
}

impl Segment {
    /// How many rows of logits this segment yields.
    pub fn logit_rows(&self) -> usize {
        match self.logits {
            LogitRows::None => 0,
            LogitRows::Last => self.len.min(1),
            LogitRows::All => self.len,
        }
    }
}

/// A page whose keys and values, in all layers, are to be had in another one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCopy {
    /// The page that is read.
    pub from: u32,
    /// The page that is written, whole.
    pub to: u32,
}

/// The input of one forward pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The token ids, segment after segment. `[T]`
    pub tokens: Vec<u32>,
    /// Whose they are, in order; the lengths add up to `tokens.len()`.
    pub segments: Vec<Segment>,
    /// Copied in this order, before anything is computed.
    pub copies: Vec<PageCopy>,
}

impl Batch {
    /// How many rows of logits the pass yields.
    pub fn logit_rows(&self) -> usize {
        self.segments.iter().map(Segment::logit_rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logit_rows_add_up() {
        let segment = |len, logits| Segment {
            position: 0,
            len,
            pages: vec![0],
            regime: RopeRegime::Short,
            logits,
            adapter: None,
        };
        let segments = vec![segment(3, LogitRows::None), segment(2, LogitRows::Last), segment(4, LogitRows::All)];
        assert_eq!(Batch { tokens: vec![0; 9], segments, ..Batch::default() }.logit_rows(), 5);
    }
}
