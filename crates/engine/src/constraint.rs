//! The seam for constrained output: something that says, before each token, which tokens may come.
//!
//! The engine neither knows nor cares whether a grammar, a JSON Schema or a list of choices stands behind it.
//! Read next: `sampler`, which honours the mask.

/// The set of tokens that may come next: one bit for each token of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    vocabulary: usize,
    words: Vec<u64>, // bit i % 64 of word i / 64 is token i
}

impl TokenMask {
    /// A mask that allows nothing.
    pub fn none(vocabulary: usize) -> TokenMask {
        TokenMask { vocabulary, words: vec![0; vocabulary.div_ceil(64)] }
    }

    /// Number of tokens that the mask speaks of.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Forbids every token.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Allows every token.
    pub fn allow_all(&mut self) {
        self.words.fill(u64::MAX);
        if let (Some(last), used @ 1..) = (self.words.last_mut(), self.vocabulary % 64) {
            *last = (1 << used) - 1;
        }
    }

    /// Allows a token. One outside the vocabulary is ignored: it could never be chosen.
    pub fn allow(&mut self, token: u32) {
        let (word, bit) = place(token);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Forbids a token.
    pub fn forbid(&mut self, token: u32) {
        let (word, bit) = place(token);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Allows the tokens whose bits are set: bit `i % 32` of word `i / 32` is token `i`. Those outside the vocabulary are
    /// ignored.
    pub fn allow_words(&mut self, words: &[u32]) {
        for (own, pair) in self.words.iter_mut().zip(words.chunks(2)) {
            *own |= u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32;
        }
        if let (Some(last), used @ 1..) = (self.words.last_mut(), self.vocabulary % 64) {
            *last &= (1 << used) - 1;
        }
    }

    /// Whether a token may come.
    pub fn allows(&self, token: u32) -> bool {
        let (word, bit) = place(token);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Index of the word and the bit in it.
fn place(token: u32) -> (usize, u64) {
    (token as usize / 64, 1 << (token % 64))
}

/// Why a constraint gave up; it ends its sequence with [`crate::FinishReason::Constraint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConstraintError(pub String);

/// Restricts what a sequence may say.
pub trait Constraint: Send {
    /// Sets in `allowed`, which comes cleared, every token that may come next; stop tokens too, where the text may end.
    ///
    /// # Errors
    /// Ends the sequence.
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError>;

    /// Whether one token, no stop token, may come next, where that is found out sooner than by a mask; none where only the
    /// mask tells. The mask says the same. It is asked where [`Constraint::forced`] has nothing to say.
    ///
    /// # Errors
    /// Ends the sequence.
    fn allows(&mut self, token: u32) -> Result<Option<bool>, ConstraintError> {
        let _ = token;
        Ok(None)
    }

    /// Is told the token that was chosen. Not called for a stop token.
    ///
    /// # Errors
    /// Ends the sequence.
    fn accept(&mut self, token: u32) -> Result<(), ConstraintError>;

    /// Appends to `forced`, which comes empty, the tokens that must come next whatever the logits are; none where there is a
    /// choice. The mask says the same: as long as tokens are forced it allows the next of them alone. They are taken without
    /// a pass for each, told to [`Constraint::accept`] one by one, and read at once.
    fn forced(&mut self, forced: &mut Vec<u32>) {
        let _ = forced;
    }

    /// Whether nothing may follow. The sequence ends as [`crate::FinishReason::Complete`], and no end token is waited for.
    fn is_complete(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_allows_exactly_what_was_set() {
        for vocabulary in [1_usize, 63, 64, 65, 200] {
            let mut mask = TokenMask::none(vocabulary);
            let chosen: Vec<u32> = (0..vocabulary as u32).filter(|token| token % 7 == 0).collect();
            chosen.iter().for_each(|&token| mask.allow(token));
            mask.allow(10_000);
            for token in 0..vocabulary as u32 {
                assert_eq!(mask.allows(token), chosen.contains(&token), "token {token} of {vocabulary}");
            }
            assert!(!mask.allows(10_000));
            mask.clear();
            assert_eq!(mask, TokenMask::none(vocabulary));
            (0..vocabulary as u32).for_each(|token| mask.allow(token));
            let mut all = TokenMask::none(vocabulary);
            all.allow_all();
            assert_eq!(mask, all);
            mask.forbid(0);
            assert!(!mask.allows(0));
            let mut by_words = TokenMask::none(vocabulary);
            by_words.allow_words(&[u32::MAX; 9]);
            assert_eq!(by_words, all);
            let mut third = TokenMask::none(vocabulary);
            third.allow_words(&[0, 1 << 8]);
            assert!((0..vocabulary as u32).all(|token| third.allows(token) == (token == 40)));
        }
    }
}
