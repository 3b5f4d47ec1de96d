//! The `model` of a `tokenizer.json`: its vocabulary and merges as lists of borrowed texts, in the file's order.
//! It does not know what they are for. Next: `json_parts.rs`.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

use crate::error::TokenizerError;

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(crate) struct ModelFile<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default, deserialize_with = "vocabulary")]
    pub(crate) vocab: Vec<(Cow<'a, str>, u32)>,
    #[serde(borrow, default)]
    pub(crate) merges: Vec<MergesText<'a>>,
    pub(crate) unk_token: Option<String>,
    dropout: Option<f64>,
    pub(crate) continuing_subword_prefix: Option<String>,
    pub(crate) max_input_chars_per_word: Option<usize>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(crate) fuse_unk: bool,
    #[serde(default)]
    pub(crate) byte_fallback: bool,
    #[serde(default)]
    pub(crate) ignore_merges: bool,
}

impl ModelFile<'_> {
    /// Whether this is WordPiece; the other kind is BPE. Older files do not name the kind: WordPiece alone bounds words.
    pub(crate) fn is_word_piece(&self) -> bool {
        match self.kind.as_deref() {
            Some(kind) => kind == "WordPiece",
            None => self.max_input_chars_per_word.is_some(),
        }
    }

    /// Refuses what is not done here.
    pub(crate) fn check(&self) -> Result<(), TokenizerError> {
        let refuse = |component, name: &str, supported: &str| {
            Err(TokenizerError::Unsupported { component, name: name.to_owned(), supported: supported.to_owned() })
        };
        if self.is_word_piece() {
            return Ok(());
        }
        if let Some(kind) = self.kind.as_deref().filter(|&kind| kind != "BPE") {
            return refuse("model", kind, "BPE, WordPiece");
        }
        let parts = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        if let Some(part) = parts.into_iter().flatten().find(|part| !part.is_empty()) {
            return refuse("subword affix", part, "none");
        }
        match self.dropout {
            Some(dropout) if dropout != 0.0 => refuse("dropout", &dropout.to_string(), "none"),
            _ => Ok(()),
        }
    }
}

/// A merge, in either of the two ways that files write it.
pub(crate) enum MergesText<'a> {
    /// `"a b"`
    Joined(Cow<'a, str>),
    /// `["a", "b"]`
    Pair(Cow<'a, str>, Cow<'a, str>),
}

/// A text that is borrowed from the file unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for MergesText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = MergesText<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(MergesText::Joined(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(MergesText::Joined(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut next = || items.next_element::<Text<'de>>();
                match (next()?, next()?, next()?) {
                    (Some(left), Some(right), None) => Ok(MergesText::Pair(left.0, right.0)),
                    _ => Err(A::Error::custom("a merge has two parts")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

fn vocabulary<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Cow<'a, str>, u32)>, D::Error> {
    struct VocabularyVisitor;
    impl<'de> Visitor<'de> for VocabularyVisitor {
        type Value = Vec<(Cow<'de, str>, u32)>;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("tokens and their ids")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut out = Vec::new();
            while let Some((text, id)) = entries.next_entry::<Text<'de>, u32>()? {
                out.push((text.0, id));
            }
            Ok(out)
        }
        // The vocabulary of a Unigram model is a list; `ModelFile::check` then names the model.
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(Vec::new())
        }
    }
    deserializer.deserialize_any(VocabularyVisitor)
}
