//! WordPiece: a word becomes the longest token that it begins with, then the longest that goes on from there, and so on;
//! a word that cannot be covered so is one unknown token as a whole. Source: `WordpieceTokenizer` of BERT's release
//! (Devlin et al. 2018; `tokenization.py`). It does not know how text is cut into words. Next: `bert.rs`.

use crate::error::TokenizerError;
use crate::vocabulary::Vocabulary;

/// The longest word, in characters, where a file does not say.
pub(crate) const LONGEST_WORD: usize = 100;
/// The mark of tokens that go on within a word, where a file does not say.
pub(crate) const PREFIX: &str = "##";

/// The rule by which words become tokens.
#[derive(Debug)]
pub(crate) struct WordPiece {
    unknown: u32,
    prefix: Vec<u8>,
    /// Characters; longer words are unknown.
    longest_word: usize,
    /// Bytes of the longest token: longer text need not be looked up.
    longest_token: usize,
}

impl WordPiece {
    /// `unknown` is the text of the token that stands for what cannot be covered.
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
        prefix: &str,
        longest_word: usize,
    ) -> Result<Self, TokenizerError> {
        let unknown = unknown.ok_or_else(|| TokenizerError::Missing { field: "the unknown token".into() })?;
        let longest_token = vocabulary.ids().map(|id| vocabulary.bytes(id).len()).max().unwrap_or(0);
        Ok(Self { unknown, prefix: prefix.as_bytes().to_vec(), longest_word, longest_token })
    }

    /// Appends the tokens of one word. `buffer` is for its use.
    pub(crate) fn encode(&self, vocabulary: &Vocabulary, word: &str, buffer: &mut Vec<u8>, out: &mut Vec<u32>) {
        let before = out.len();
        // Every character has a byte at least, and four at most.
        if word.len() > self.longest_word && word.chars().count() > self.longest_word {
            return out.push(self.unknown);
        }
        let mut start = 0;
        while start < word.len() {
            match self.longest_from(vocabulary, word, start, buffer) {
                Some((id, end)) => {
                    out.push(id);
                    start = end;
                }
                None => {
                    out.truncate(before);
                    return out.push(self.unknown);
                }
            }
        }
    }

    /// The longest token of the word at `start`, and where it ends. Special tokens are none: no text becomes one.
    fn longest_from(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        start: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<(u32, usize)> {
        let prefix: &[u8] = if start == 0 { &[] } else { &self.prefix };
        let mut end = word.len().min(start + self.longest_token.saturating_sub(prefix.len()));
        while end > start {
            if word.is_char_boundary(end) {
                buffer.clear();
                buffer.extend_from_slice(prefix);
                buffer.extend_from_slice(&word.as_bytes()[start..end]);
                if let Some(id) = vocabulary.id(buffer).filter(|&id| !vocabulary.kind(id).is_special()) {
                    return Some((id, end));
                }
            }
            end -= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TokenKind;

    #[test]
    fn the_longest_token_comes_first_and_what_is_not_covered_is_unknown() {
        let mut vocabulary = Vocabulary::with_capacity(8);
        for text in ["[UNK]", "un", "##aff", "##able", "##a", "una", "é"] {
            let kind = if text == "[UNK]" { TokenKind::Control } else { TokenKind::Normal };
            vocabulary.push(kind, |out| out.extend_from_slice(text.as_bytes())).unwrap();
        }
        let model = WordPiece::new(&vocabulary, Some(0), PREFIX, 8).unwrap();
        let encode = |word: &str| {
            let mut out = vec![9];
            model.encode(&vocabulary, word, &mut Vec::new(), &mut out);
            out.split_off(1)
        };
        assert_eq!(encode("unaffable"), [0], "nine characters are one too many");
        assert_eq!(encode("unable"), [0], "`una` is taken, and nothing goes on with `ble`");
        assert_eq!(encode("unaaff"), [5, 2]);
        assert_eq!(encode("unaa"), [5, 4]);
        assert_eq!(encode("ééé"), [0]);
        assert_eq!(encode("é"), [6]);
        assert_eq!(encode("[UNK]"), [0]);
        assert!(WordPiece::new(&vocabulary, None, PREFIX, 8).is_err());
    }
}
