//! Filling in the middle: the ids of a prompt for models that were trained to write what stands between two texts.
//!
//! ```text
//! begin prefix end-of-prefix suffix middle -> what stands between them
//! ```
//!
//! The order is that of prefix, suffix, middle (Bavarian et al., "Efficient Training of Language Models to Fill in the
//! Middle", 2022). Which tokens mark the places stands in a GGUF file; else they are known by their texts. This file knows
//! no models. Read next: `local_model`, the user.

use formats::{FormatError, Metadata};
use tokenizer::Tokenizer;

/// The tokens that mark the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InsertTokens {
    prefix: u32,
    suffix: u32,
    middle: u32,
    /// Tokens that end what is filled in, beside the model's own ends.
    pub(crate) stop_ids: Vec<u32>,
}

/// Texts of the tokens for prefix, suffix and middle.
static TEXTS: [[&str; 3]; 5] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["\u{2581}<PRE>", "\u{2581}<SUF>", "\u{2581}<MID>"],
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
];

/// The keys of GGUF's specification for the same, and those of older files.
static KEYS: [[&str; 3]; 2] = [["fim_pre", "fim_suf", "fim_mid"], ["prefix", "suffix", "middle"]];

/// Keys of tokens that end what is filled in: padding, the next repository, the next file.
static END_KEYS: [&str; 3] = ["fim_pad", "fim_rep", "fim_sep"];

/// Texts of such tokens.
static END_TEXTS: [&str; 5] = ["<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>", "\u{2581}<EOT>"];

impl InsertTokens {
    /// The tokens of a model; none if it has not all three.
    ///
    /// # Errors
    /// A key of a GGUF file that holds no token of the vocabulary.
    pub(crate) fn of(tokenizer: &Tokenizer, metadata: Option<&Metadata>) -> Result<Option<InsertTokens>, FormatError> {
        let key = |name: &str| -> Result<Option<u32>, FormatError> {
            let Some(metadata) = metadata else { return Ok(None) };
            let id = metadata.u32(&format!("tokenizer.ggml.{name}_token_id"))?;
            Ok(id.filter(|&id| (id as usize) < tokenizer.vocabulary_len()))
        };
        let special = |text: &str| tokenizer.id_of(text).filter(|&id| tokenizer.is_special(id));
        let mut places = None;
        for [prefix, suffix, middle] in KEYS {
            if let (None, Some(prefix), Some(suffix), Some(middle)) = (places, key(prefix)?, key(suffix)?, key(middle)?)
            {
                places = Some([prefix, suffix, middle]);
            }
        }
        let by_text = |texts: &[&str; 3]| Some([special(texts[0])?, special(texts[1])?, special(texts[2])?]);
        let Some([prefix, suffix, middle]) = places.or_else(|| TEXTS.iter().find_map(by_text)) else { return Ok(None) };
        let mut stop_ids = vec![prefix, suffix, middle];
        for name in END_KEYS {
            stop_ids.extend(key(name)?);
        }
        stop_ids.extend(END_TEXTS.iter().filter_map(|text| special(text)));
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Ok(Some(InsertTokens { prefix, suffix, middle, stop_ids }))
    }

    /// The prompt for what stands between `prefix`, which may begin with the model's `bos`, and `suffix`.
    pub(crate) fn prompt(&self, bos: Option<u32>, prefix: &[u32], suffix: &[u32]) -> Vec<u32> {
        let (bos, prefix) = match (bos, prefix.split_first()) {
            (Some(bos), Some((&first, rest))) if first == bos => (Some(bos), rest),
            _ => (None, prefix),
        };
        let mut ids: Vec<u32> = bos.into_iter().chain([self.prefix]).collect();
        ids.extend_from_slice(prefix);
        ids.push(self.suffix);
        ids.extend_from_slice(suffix);
        ids.push(self.middle);
        ids
    }
}
