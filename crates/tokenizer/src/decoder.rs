//! Ids to text. A token is bytes; characters may be split between tokens, so that a stream holds back bytes until
//! they are a character. It does not know which tokens end an answer. Next: `tokenizer.rs`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::vocabulary::{TokenKind, Vocabulary, byte_of_text};

/// How the bytes of the vocabulary become text.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Texts inside tokens that stand for others, for instance a mark for a space.
    pub(crate) replace: Vec<(String, String)>,
    /// Tokens `<0x0A>` are bytes.
    pub(crate) byte_tokens: bool,
    /// Tokens are words and parts of words.
    pub(crate) word_piece: Option<WordPieceText>,
    /// The number of these characters that the start of a text loses, because encoding adds one.
    pub(crate) strip: Option<(char, usize)>,
}

/// How WordPiece's tokens become text: a space before each word, and what goes on within one without its mark.
#[derive(Debug)]
pub(crate) struct WordPieceText {
    /// The mark.
    pub(crate) prefix: String,
    /// Whether some punctuation loses the space before it.
    pub(crate) cleanup: bool,
}

/// What the `tokenizers` library calls cleanup, as far as it can apply to one token: texts and what they become.
const CLEANUP: [(&str, &str); 9] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

impl WordPieceText {
    fn text(&self, token: &str) -> String {
        let text = token.strip_prefix(self.prefix.as_str()).map_or_else(|| format!(" {token}"), str::to_owned);
        if self.cleanup { CLEANUP.iter().fold(text, |text, (from, to)| text.replace(from, to)) } else { text }
    }
}

impl Decoder {
    /// The bytes that a token stands for.
    pub(crate) fn bytes<'v>(&self, vocabulary: &'v Vocabulary, id: u32) -> Cow<'v, [u8]> {
        let bytes = vocabulary.bytes(id);
        let kind = vocabulary.kind(id);
        if self.byte_tokens
            && matches!(kind, TokenKind::Byte | TokenKind::Normal)
            && let Some(byte) = byte_of_text(bytes)
        {
            return Cow::Owned(vec![byte]);
        }
        match (std::str::from_utf8(bytes), &self.word_piece) {
            (Ok(text), Some(words)) if !text.is_empty() => Cow::Owned(words.text(text).into_bytes()),
            (Ok(text), None) if self.replace.iter().any(|(from, _)| text.contains(from.as_str())) => {
                let replaced = self.replace.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
                Cow::Owned(replaced.into_bytes())
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    /// `text` without what its start loses.
    fn strip_start<'t>(&self, text: &'t str, left: &mut usize) -> &'t str {
        let Some((character, _)) = self.strip else { return text };
        let mut text = text;
        while *left > 0 && !text.is_empty() {
            match text.strip_prefix(character) {
                Some(rest) => (text, *left) = (rest, *left - 1),
                None => *left = 0,
            }
        }
        text
    }
}

/// Turns ids into text as they come, holding back what is not yet a whole character.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    vocabulary: Arc<Vocabulary>,
    decoder: Arc<Decoder>,
    pending: Vec<u8>,
    strip_left: usize,
    skip_special: bool,
}

impl StreamDecoder {
    pub(crate) fn new(vocabulary: Arc<Vocabulary>, decoder: Arc<Decoder>) -> Self {
        let strip_left = decoder.strip.map_or(0, |(_, count)| count);
        Self { vocabulary, decoder, pending: Vec::new(), strip_left, skip_special: true }
    }

    /// The same, with the texts of special tokens shown; without this they are left out.
    #[must_use]
    pub fn keep_special(mut self) -> Self {
        self.skip_special = false;
        self
    }

    /// The text that `id` completes; empty while a character is incomplete. Bytes that can never become a character
    /// are shown as U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        if !(self.skip_special && self.vocabulary.kind(id).is_special()) {
            self.pending.extend_from_slice(&self.decoder.bytes(&self.vocabulary, id));
        }
        let mut text = String::new();
        let mut rest: &[u8] = &self.pending;
        loop {
            let (valid, error) = match std::str::from_utf8(rest) {
                Ok(valid) => (valid.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            text.push_str(&String::from_utf8_lossy(&rest[..valid]));
            rest = &rest[valid..];
            match error {
                Some(Some(wrong)) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[wrong..];
                }
                // The end of the text, or a character whose last bytes are still to come.
                Some(None) | None => break,
            }
        }
        let kept = rest.len();
        self.pending.drain(..self.pending.len() - kept);
        self.decoder.strip_start(&text, &mut self.strip_left).to_owned()
    }

    /// What is left at the end: U+FFFD for an incomplete character, else nothing.
    pub fn finish(mut self) -> String {
        let left = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&left).into_owned()
    }
}
