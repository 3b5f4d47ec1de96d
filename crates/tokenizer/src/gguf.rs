//! A tokenizer from the metadata of a GGUF file. The keys are those of the GGUF specification (`tokenizer.ggml.*`);
//! where it is silent, defaults are llama.cpp's, and each is named below. Next: `json.rs`, the other source.

mod word_piece;

use formats::Metadata;
use std::sync::Arc;

use crate::added::{AddedToken, AddedTokens};
use crate::bpe::{Bpe, MergeList, byte_alphabet, byte_tokens};
use crate::byte_level;
use crate::decoder::Decoder;
use crate::error::TokenizerError;
use crate::families;
use crate::normalizer::Normalizer;
use crate::pattern::Pattern;
use crate::pieces::Pieces;
use crate::pretokenizer::{Behavior, MARK, PreTokenizer, word_starts};
use crate::tokenizer::{Ends, Model, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
const MODEL: &str = "tokenizer.ggml.model";
const MERGES: &str = "tokenizer.ggml.merges";

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file describes; [`TokenizerError::Absent`] where it describes none.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = metadata.str(MODEL)?.ok_or(TokenizerError::Absent)?;
        let mut tokenizer = match model {
            // What the converters of llama.cpp write for a model without a vocabulary.
            "none" | "no_vocab" => return Err(TokenizerError::Absent),
            "gpt2" => byte_level_model(metadata)?,
            "llama" => sentence_piece_model(metadata)?,
            "bert" => word_piece::word_piece_model(metadata)?,
            other => {
                return Err(TokenizerError::Unsupported {
                    component: "model",
                    name: other.to_owned(),
                    supported: "gpt2, llama, bert".into(),
                });
            }
        };
        tokenizer.add_known_stop_ids();
        let mut stops = Vec::new();
        for name in ["eot", "eom"] {
            stops.extend(token_id(metadata, &tokenizer.vocabulary, name)?);
        }
        tokenizer.add_stop_ids(&stops);
        Ok(tokenizer)
    }
}

fn missing(field: &str) -> TokenizerError {
    TokenizerError::Missing { field: field.to_owned() }
}

fn byte_level_model(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    const PRE: &str = "tokenizer.ggml.pre";
    let family = families::find(metadata.str(PRE)?.ok_or_else(|| missing(PRE))?)?;
    let vocabulary = read_vocabulary(metadata, true)?;
    let merges = metadata.strings(MERGES)?.ok_or_else(|| missing(MERGES))?;
    let mut list = MergeList::new(&vocabulary, merges.len());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for merge in merges {
        let (first, second) = split_merge(merge)?;
        left.clear();
        right.clear();
        byte_level::push_bytes(first, &mut left);
        byte_level::push_bytes(second, &mut right);
        list.push(&left, &right)?;
    }
    // `unknown_token_id` is not asked: converters write it for models whose merges never make it, and llama.cpp does not
    // use it with merges.
    let alphabet = byte_alphabet(&vocabulary, None, false);
    let model = Model::Bpe(Bpe::new(alphabet, list, family.whole_words));
    let mut pre_tokenizers = Vec::new();
    for pattern in family.patterns {
        let pattern = Pattern::compile(pattern)?;
        pre_tokenizers.push(PreTokenizer::Split { pattern, behavior: Behavior::Isolated, invert: false });
    }
    if metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(false) {
        pre_tokenizers.insert(0, PreTokenizer::PrefixSpace);
    }
    let normalizers = if family.composes { vec![Normalizer::Nfc] } else { Vec::new() };
    assemble(metadata, vocabulary, normalizers, pre_tokenizers, model, Decoder::default(), family.adds_bos)
}

fn sentence_piece_model(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let extra = "tokenizer.ggml.remove_extra_whitespaces";
    if metadata.bool(extra)?.unwrap_or(false) {
        return Err(TokenizerError::Unsupported {
            component: "normalizer",
            name: "remove_extra_whitespaces".into(),
            supported: "models that keep white space as it is".into(),
        });
    }
    let vocabulary = read_vocabulary(metadata, false)?;
    let scores = metadata.f32s(SCORES)?.ok_or_else(|| missing(SCORES))?;
    let unknown = token_id(metadata, &vocabulary, "unknown")?;
    let pieces = {
        let (bytes, all) = byte_tokens(&vocabulary);
        Pieces::new(&vocabulary, &scores, all.then_some(bytes), unknown)?
    };
    // llama.cpp's default for this model.
    let add_space = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let mark = MARK.to_string();
    let mut normalizers = vec![Normalizer::Replace(" ".into(), mark.clone())];
    if add_space {
        normalizers.insert(0, Normalizer::Prepend(mark.clone()));
    }
    let pre_tokenizers = word_starts(&vocabulary).into_iter().collect();
    let decoder = Decoder {
        replace: vec![(mark, " ".into())],
        byte_tokens: true,
        word_piece: None,
        strip: add_space.then_some((' ', 1)),
    };
    assemble(metadata, vocabulary, normalizers, pre_tokenizers, Model::Pieces(pieces), decoder, true)
}

fn split_merge(merge: &str) -> Result<(&str, &str), TokenizerError> {
    merge.split_once(' ').ok_or_else(|| TokenizerError::Invalid {
        field: MERGES.into(),
        expected: "two tokens and a space between them".into(),
        got: format!("{merge:?}"),
    })
}

fn read_vocabulary(metadata: &Metadata, byte_level: bool) -> Result<Vocabulary, TokenizerError> {
    let tokens = metadata.strings(TOKENS)?.ok_or_else(|| missing(TOKENS))?;
    let types = metadata.i32s(TOKEN_TYPE)?;
    if let Some(types) = &types
        && types.len() != tokens.len()
    {
        return Err(TokenizerError::Invalid {
            field: TOKEN_TYPE.into(),
            expected: format!("{} entries, one for each token", tokens.len()),
            got: types.len().to_string(),
        });
    }
    let mut vocabulary = Vocabulary::with_capacity(tokens.len());
    for (index, text) in tokens.enumerate() {
        let code = types.as_ref().and_then(|types| types.get(index)).copied().unwrap_or(1);
        let kind = TokenKind::from_gguf(code).ok_or_else(|| TokenizerError::Invalid {
            field: format!("{TOKEN_TYPE}[{index}]"),
            expected: "a type from 1 to 6".into(),
            got: code.to_string(),
        })?;
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

/// The value of `tokenizer.ggml.<name>_token_id`, which must be a token.
fn token_id(metadata: &Metadata, vocabulary: &Vocabulary, name: &str) -> Result<Option<u32>, TokenizerError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = metadata.u32(&key)? else { return Ok(None) };
    if (id as usize) < vocabulary.len() {
        return Ok(Some(id));
    }
    Err(TokenizerError::Invalid {
        field: key,
        expected: format!("an id below {}", vocabulary.len()),
        got: id.to_string(),
    })
}

fn assemble(
    metadata: &Metadata,
    vocabulary: Vocabulary,
    normalizers: Vec<Normalizer>,
    pre_tokenizers: Vec<PreTokenizer>,
    model: Model,
    decoder: Decoder,
    adds_bos: bool,
) -> Result<Tokenizer, TokenizerError> {
    let bos = token_id(metadata, &vocabulary, "bos")?;
    let eos = token_id(metadata, &vocabulary, "eos")?;
    let adds_bos = metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos);
    let adds_eos = metadata.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    if adds_bos && bos.is_none() {
        return Err(missing("tokenizer.ggml.bos_token_id"));
    }
    if adds_eos && eos.is_none() {
        return Err(missing("tokenizer.ggml.eos_token_id"));
    }
    let takes_white_space = special_takes_white_space(metadata)?;
    let mut added = Vec::new();
    for id in vocabulary.ids() {
        let kind = vocabulary.kind(id);
        if kind.is_special() || kind == TokenKind::UserDefined {
            let text = String::from_utf8_lossy(vocabulary.bytes(id)).into_owned();
            let rstrip = takes_white_space && !matches!(text.as_str(), "<unk>" | "<s>" | "<|endoftext|>");
            added.push(AddedToken { id, text, special: kind.is_special(), rstrip, ..AddedToken::default() });
        }
    }
    let ends = Ends {
        prefix: bos.filter(|_| adds_bos).into_iter().collect(),
        suffix: eos.filter(|_| adds_eos).into_iter().collect(),
        between: None,
        bos,
        eos,
        stop_ids: Vec::new(),
    };
    Ok(Tokenizer {
        added: AddedTokens::new(added, &normalizers)?,
        vocabulary: Arc::new(vocabulary),
        normalizers,
        pre_tokenizers,
        model,
        decoder: Arc::new(decoder),
        ends,
    })
}

/// GGUF has no key for the `rstrip` of special tokens, which Phi-3 was trained with; like llama.cpp, it is told by the
/// model's name. Source: `llama-vocab.cpp` of llama.cpp and Phi-3's `tokenizer.json`.
fn special_takes_white_space(metadata: &Metadata) -> Result<bool, TokenizerError> {
    let name = metadata.str("general.name")?.unwrap_or_default().to_lowercase();
    let sentence_piece = metadata.str(MODEL)? == Some("llama");
    Ok(sentence_piece && ["phi-3", "phi3"].iter().any(|part| name.contains(part)))
}
