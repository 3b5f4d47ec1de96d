//! How text is cleaned and cut for BERT's vocabularies. Which characters are control characters, accents and punctuation
//! is told by the tables of the `tokenizers` library (the crate `unicode_categories`), for models are trained with it.
//! Source: `normalizers/bert.rs` and `pre_tokenizers/bert.rs` of that library, after `tokenization.py` of BERT's release.
//! Next: `word_piece.rs`.

use std::borrow::Cow;

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

/// What is done to text before it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BertNormalizer {
    /// Control characters go, all white space becomes spaces.
    pub(crate) clean_text: bool,
    /// Chinese characters become words of their own.
    pub(crate) handle_chinese_chars: bool,
    /// Letters lose their accents.
    pub(crate) strip_accents: bool,
    /// Letters become small.
    pub(crate) lowercase: bool,
}

impl BertNormalizer {
    pub(crate) fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let mut text = text;
        if self.clean_text || self.handle_chinese_chars {
            let mut out = String::with_capacity(text.len());
            for character in text.chars() {
                if self.clean_text && is_dropped(character) {
                    continue;
                }
                if self.handle_chinese_chars && is_chinese(character) {
                    out.extend([' ', character, ' ']);
                } else if self.clean_text && character.is_whitespace() {
                    out.push(' ');
                } else {
                    out.push(character);
                }
            }
            text = Cow::Owned(out);
        }
        if self.strip_accents && !text.is_ascii() {
            let decomposed = text.nfd().map(|(character, _)| character);
            text = Cow::Owned(decomposed.filter(|character| !character.is_mark_nonspacing()).collect());
        }
        if self.lowercase {
            text = Cow::Owned(text.chars().flat_map(char::to_lowercase).collect());
        }
        text
    }
}

/// Control characters, of which three are white space to BERT; the rest of what is both (a vertical tab) is dropped.
fn is_dropped(character: char) -> bool {
    !matches!(character, '\t' | '\n' | '\r') && (character == char::REPLACEMENT_CHARACTER || character.is_other())
}

/// The blocks of CJK ideographs as BERT's release lists them, with the library's own start of extension E.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B73F
            | 0x2_B740..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0xF900..=0xFAFF
            | 0x2_F800..=0x2_FA1F
    )
}

/// Calls `word` with each run of characters between white space and punctuation, and with each punctuation mark.
pub(crate) fn for_each_word(text: &str, word: &mut dyn FnMut(&str)) {
    let mut start = 0;
    for (at, character) in text.char_indices() {
        let is_mark = character.is_ascii_punctuation() || character.is_punctuation();
        if !is_mark && !character.is_whitespace() {
            continue;
        }
        let end = at + character.len_utf8();
        if at > start {
            word(&text[start..at]);
        }
        if is_mark {
            word(&text[at..end]);
        }
        start = end;
    }
    if start < text.len() {
        word(&text[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNCASED: BertNormalizer =
        BertNormalizer { clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true };

    fn apply(normalizer: BertNormalizer, text: &str) -> String {
        normalizer.apply(Cow::Borrowed(text)).into_owned()
    }

    #[test]
    fn text_is_cleaned_as_configured() {
        assert_eq!(apply(UNCASED, "Ünïcode\u{0}\u{200b}\tİ 中x"), "unicode i  中 x");
        let cased = BertNormalizer { strip_accents: false, lowercase: false, ..UNCASED };
        assert_eq!(apply(cased, "Ü\u{ad}x\u{a0}y"), "Üx y");
        let nothing = BertNormalizer { clean_text: false, handle_chinese_chars: false, ..cased };
        assert_eq!(apply(nothing, "Ü\u{0}\t中"), "Ü\u{0}\t中");
        assert_eq!(apply(BertNormalizer { strip_accents: true, ..nothing }, "éA"), "eA");
    }

    #[test]
    fn words_end_at_white_space_and_punctuation() {
        let mut words = Vec::new();
        for_each_word("  it's «fine»…\u{3000}$5 a_b ", &mut |word| words.push(word.to_owned()));
        assert_eq!(words, ["it", "'", "s", "«", "fine", "»", "…", "$", "5", "a", "_", "b"]);
    }
}
