//! A tokenizer from a `tokenizer.json` of the `tokenizers` library. What the file asks for is done or refused by
//! name; nothing is left out. The vocabulary and the merges, megabytes of text, are read without a tree of values
//! (`json_model.rs`). Next: `families.rs`.

use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

use crate::added::{AddedToken, AddedTokens};
use crate::bpe::{Alphabet, Bpe, MergeList, byte_alphabet, byte_tokens};
use crate::byte_level;
use crate::error::TokenizerError;
use crate::json_model::{MergesText, ModelFile};
use crate::json_parts;
use crate::pretokenizer::word_starts;
use crate::tokenizer::{Ends, Model, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary};
use crate::word_piece::{self, WordPiece};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<AddedFile>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    #[serde(borrow)]
    model: ModelFile<'a>,
}

#[derive(Deserialize)]
struct AddedFile {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl Tokenizer {
    /// Builds the tokenizer of a `tokenizer.json`. `tokenizer_config` is the file of that name beside it, which names
    /// BOS and EOS.
    pub fn from_json(tokenizer_json: &[u8], tokenizer_config: Option<&Value>) -> Result<Self, TokenizerError> {
        let file: File<'_> = serde_json::from_slice(tokenizer_json)?;
        file.model.check()?;
        let (pre_tokenizers, byte_level) = json_parts::pre_tokenizers(file.pre_tokenizer.as_ref())?;
        let mut pre_tokenizers = pre_tokenizers;
        let normalizers = json_parts::normalizers(file.normalizer.as_ref())?;
        let decoder = json_parts::decoder(file.decoder.as_ref())?;
        let vocabulary = read_vocabulary(&file, byte_level)?;
        let model = if file.model.is_word_piece() {
            Model::WordPiece(read_word_piece(&file.model, &vocabulary)?)
        } else {
            Model::Bpe(read_model(&file.model, &vocabulary, byte_level)?)
        };
        if !byte_level && matches!(model, Model::Bpe(_)) {
            pre_tokenizers.extend(word_starts(&vocabulary));
        }
        let added = file.added_tokens.iter().map(|token| AddedToken {
            id: token.id,
            text: token.content.clone(),
            special: token.special,
            normalized: token.normalized,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
        });
        let added = AddedTokens::new(added.collect(), &normalizers)?;
        let ends = read_ends(&file, tokenizer_config, &added, &vocabulary)?;
        let mut tokenizer = Self {
            vocabulary: Arc::new(vocabulary),
            added,
            normalizers,
            pre_tokenizers,
            model,
            decoder: Arc::new(decoder),
            ends,
        };
        tokenizer.add_known_stop_ids();
        Ok(tokenizer)
    }
}

fn invalid(field: &str, expected: &str, got: impl ToString) -> TokenizerError {
    TokenizerError::Invalid { field: field.to_owned(), expected: expected.to_owned(), got: got.to_string() }
}

fn read_vocabulary(file: &File<'_>, byte_level: bool) -> Result<Vocabulary, TokenizerError> {
    let entries = &file.model.vocab;
    let highest = entries.iter().map(|(_, id)| *id).chain(file.added_tokens.iter().map(|token| token.id)).max();
    let Some(highest) = highest else { return Err(TokenizerError::Missing { field: "model.vocab".into() }) };
    // A few ids may be unused; a file of a kilobyte must not take a gigabyte.
    let most = entries.len().saturating_add(file.added_tokens.len()).saturating_mul(2).saturating_add(1 << 16);
    if highest as usize >= most {
        return Err(invalid("model.vocab", &format!("ids below {most}, for the number of tokens there is"), highest));
    }
    let mut slots: Vec<Option<(&str, TokenKind)>> = vec![None; highest as usize + 1];
    let unknown = file.model.unk_token.as_deref();
    for (text, id) in entries {
        let slot = &mut slots[*id as usize];
        if let Some((other, _)) = slot {
            return Err(invalid("model.vocab", "one token for an id", format!("{other:?} and {text:?} for {id}")));
        }
        let is_byte = file.model.byte_fallback && crate::vocabulary::byte_of_text(text.as_bytes()).is_some();
        *slot = Some((text, if is_byte { TokenKind::Byte } else { TokenKind::Normal }));
        if Some(text.as_ref()) == unknown {
            *slot = Some((text, TokenKind::Unknown));
        }
    }
    for token in &file.added_tokens {
        let slot = &mut slots[token.id as usize];
        if let Some((other, _)) = slot
            && *other != token.content
        {
            return Err(invalid("added_tokens", "one token for an id", format!("{other:?} and {:?}", token.content)));
        }
        *slot = Some((&token.content, if token.special { TokenKind::Control } else { TokenKind::UserDefined }));
    }
    let mut vocabulary = Vocabulary::with_capacity(slots.len());
    for slot in slots {
        let (text, kind) = slot.unwrap_or(("", TokenKind::Unused));
        vocabulary.push(kind, |out| {
            if byte_level && kind == TokenKind::Normal {
                byte_level::push_bytes(text, out);
            } else {
                out.extend_from_slice(text.as_bytes());
            }
        })?;
    }
    Ok(vocabulary)
}

fn read_word_piece(file: &ModelFile<'_>, vocabulary: &Vocabulary) -> Result<WordPiece, TokenizerError> {
    let text = file.unk_token.as_deref().unwrap_or("[UNK]");
    let unknown = vocabulary.id(text.as_bytes());
    let unknown = unknown.ok_or_else(|| invalid("model.unk_token", "a token", format!("{text:?}")))?;
    let prefix = file.continuing_subword_prefix.as_deref().unwrap_or(word_piece::PREFIX);
    let longest = file.max_input_chars_per_word.unwrap_or(word_piece::LONGEST_WORD);
    WordPiece::new(vocabulary, Some(unknown), prefix, longest)
}

fn read_model(file: &ModelFile<'_>, vocabulary: &Vocabulary, byte_level: bool) -> Result<Bpe, TokenizerError> {
    let mut list = MergeList::new(vocabulary, file.merges.len());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for merge in &file.merges {
        let (first, second) = match merge {
            MergesText::Pair(first, second) => (first.as_ref(), second.as_ref()),
            MergesText::Joined(text) => text
                .split_once(' ')
                .ok_or_else(|| invalid("model.merges", "two tokens and a space between them", format!("{text:?}")))?,
        };
        if byte_level {
            left.clear();
            right.clear();
            byte_level::push_bytes(first, &mut left);
            byte_level::push_bytes(second, &mut right);
            list.push(&left, &right)?;
        } else {
            list.push(first.as_bytes(), second.as_bytes())?;
        }
    }
    let alphabet = if byte_level {
        // An `unk_token` that is no token is none; the library fails on it only when it is needed.
        let unknown = file.unk_token.as_deref().and_then(|text| vocabulary.id(text.as_bytes()));
        byte_alphabet(vocabulary, unknown, file.fuse_unk)
    } else {
        characters(file, vocabulary)?
    };
    Ok(Bpe::new(alphabet, list, file.ignore_merges))
}

fn characters(file: &ModelFile<'_>, vocabulary: &Vocabulary) -> Result<Alphabet, TokenizerError> {
    let unknown = match file.unk_token.as_deref() {
        Some(text) => Some(
            vocabulary.id(text.as_bytes()).ok_or_else(|| invalid("model.unk_token", "a token", format!("{text:?}")))?,
        ),
        None => None,
    };
    let (bytes, all) = if file.byte_fallback {
        let (bytes, all) = byte_tokens(vocabulary);
        (Some(bytes), all)
    } else {
        (None, false)
    };
    if unknown.is_none() && !all {
        return Err(TokenizerError::Missing { field: "model.unk_token".into() });
    }
    Ok(Alphabet::Characters { bytes, unknown, fuse_unknown: file.fuse_unk })
}

fn read_ends(
    file: &File<'_>,
    config: Option<&Value>,
    added: &AddedTokens,
    vocabulary: &Vocabulary,
) -> Result<Ends, TokenizerError> {
    let (mut prefix, suffix, between) = json_parts::ends(file.post_processor.as_ref())?;
    if let Some(&id) =
        prefix.iter().chain(&suffix).chain(between.iter().flatten()).find(|&&id| id as usize >= vocabulary.len())
    {
        return Err(invalid("post_processor", &format!("ids below {}", vocabulary.len()), id));
    }
    let named = |key: &str| -> Result<Option<u32>, TokenizerError> {
        let Some(text) = config.and_then(|config| named_token(config, key)) else { return Ok(None) };
        let found = added.all().iter().find(|token| token.text == text).map(|token| token.id);
        let id = found.or_else(|| vocabulary.id(text.as_bytes()));
        id.map(Some).ok_or_else(|| invalid(&format!("tokenizer_config.json: {key}"), "a token", format!("{text:?}")))
    };
    let bos = named("bos_token")?.or(prefix.first().copied());
    let eos = named("eos_token")?;
    let wants_bos = config.and_then(|config| config.get("add_bos_token")).and_then(Value::as_bool).unwrap_or(false);
    if wants_bos
        && prefix.is_empty()
        && let Some(bos) = bos
    {
        prefix.push(bos);
    }
    Ok(Ends { prefix, suffix, between, bos, eos, stop_ids: Vec::new() })
}

/// A token that the configuration names as text, or as an object with its `content`.
fn named_token<'c>(config: &'c Value, key: &str) -> Option<Cow<'c, str>> {
    let value = config.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str()).map(Cow::Borrowed)
}
