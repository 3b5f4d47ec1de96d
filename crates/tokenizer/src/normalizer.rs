//! What is done to text before it is cut: composing, replacing, prepending. One variant per normalizer of
//! `tokenizer.json` that the supported families use; others are refused at load (`json.rs`). Next: `pretokenizer.rs`.

use std::borrow::Cow;
use unicode_normalization_alignments::char::is_combining_mark;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use crate::bert::BertNormalizer;

/// One step of normalisation.
#[derive(Debug)]
pub(crate) enum Normalizer {
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
    /// Combining marks removed.
    StripAccents,
    /// Everything that BERT's text is put through.
    Bert(BertNormalizer),
    /// Each character's lower case.
    Lowercase,
    /// Every occurrence of a text by another.
    Replace(String, String),
    /// Every match of a regular expression by a literal text.
    ReplaceRegex(regex::Regex, String),
    /// A text in front, unless the text is empty.
    Prepend(String),
    /// White space removed at the start, at the end.
    Strip(bool, bool),
}

impl Normalizer {
    fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let composed = |quick: IsNormalized| quick == IsNormalized::Yes;
        match self {
            Self::Nfc | Self::Nfd | Self::Nfkc | Self::Nfkd if text.is_ascii() => text,
            Self::Nfc if composed(is_nfc_quick(text.chars())) => text,
            Self::Nfkc if composed(is_nfkc_quick(text.chars())) => text,
            Self::Nfc => Cow::Owned(text.nfc().map(|(character, _)| character).collect()),
            Self::Nfd => Cow::Owned(text.nfd().map(|(character, _)| character).collect()),
            Self::Nfkc => Cow::Owned(text.nfkc().map(|(character, _)| character).collect()),
            Self::Nfkd => Cow::Owned(text.nfkd().map(|(character, _)| character).collect()),
            Self::StripAccents if text.is_ascii() => text,
            Self::StripAccents => Cow::Owned(text.chars().filter(|&character| !is_combining_mark(character)).collect()),
            Self::Bert(bert) => bert.apply(text),
            Self::Lowercase => Cow::Owned(text.chars().flat_map(char::to_lowercase).collect()),
            Self::Replace(from, to) if text.contains(from.as_str()) => Cow::Owned(text.replace(from.as_str(), to)),
            Self::Replace(..) => text,
            Self::ReplaceRegex(pattern, to) => {
                Cow::Owned(pattern.replace_all(&text, regex::NoExpand(to.as_str())).into_owned())
            }
            Self::Prepend(prefix) if !text.is_empty() => Cow::Owned(format!("{prefix}{text}")),
            Self::Prepend(_) => text,
            Self::Strip(start, end) => {
                let mut kept: &str = &text;
                if *start {
                    kept = kept.trim_start();
                }
                if *end {
                    kept = kept.trim_end();
                }
                if kept.len() == text.len() { text } else { Cow::Owned(kept.to_owned()) }
            }
        }
    }
}

/// Applies `steps` in order; text that no step changes is not copied.
pub(crate) fn normalize<'t>(steps: &[Normalizer], text: &'t str) -> Cow<'t, str> {
    steps.iter().fold(Cow::Borrowed(text), |text, step| step.apply(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_apply_in_order() {
        let steps = [Normalizer::Prepend("▁".into()), Normalizer::Replace(" ".into(), "▁".into())];
        assert_eq!(normalize(&steps, "a b"), "▁a▁b");
        assert_eq!(normalize(&steps, ""), "");
        assert_eq!(normalize(&[Normalizer::Nfc], "e\u{301}"), "é");
        assert!(matches!(normalize(&[Normalizer::Nfc], "été"), Cow::Borrowed(_)));
        assert_eq!(normalize(&[Normalizer::Strip(true, false)], "  a "), "a ");
    }
}
