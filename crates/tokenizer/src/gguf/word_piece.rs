//! BERT's tokenizer from GGUF metadata (`tokenizer.ggml.model` is `bert`).
//!
//! llama.cpp's converter (`BertModel.set_vocab` of `convert_hf_to_gguf.py`) writes a word's first token with a mark `▁` in
//! front, what goes on within a word without its `##`, and texts in brackets as they are; here they become BERT's own texts
//! again. Most files do not say whether letters become small (`tokenizer.ggml.normalizer.lowercase`): then a vocabulary
//! without any capital was made for text without them.

use std::sync::Arc;

use formats::Metadata;

use super::{missing, read_vocabulary, token_id};
use crate::added::{AddedToken, AddedTokens};
use crate::bert::BertNormalizer;
use crate::decoder::{Decoder, WordPieceText};
use crate::error::TokenizerError;
use crate::normalizer::Normalizer;
use crate::pretokenizer::{MARK, PreTokenizer};
use crate::tokenizer::{Ends, Model, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary};
use crate::word_piece::{LONGEST_WORD, PREFIX, WordPiece};

pub(super) fn word_piece_model(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let marked = read_vocabulary(metadata, false)?;
    let mut vocabulary = Vocabulary::with_capacity(marked.len());
    let (mut mark, mut has_capitals) = ([0; 4], false);
    let mark = MARK.encode_utf8(&mut mark).as_bytes();
    for id in marked.ids() {
        let (bytes, kind) = (marked.bytes(id), marked.kind(id));
        let starts_word = bytes.strip_prefix(mark);
        has_capitals |= starts_word.is_some_and(|text| text.iter().any(u8::is_ascii_uppercase));
        let is_bracketed = bytes.starts_with(b"[") && bytes.ends_with(b"]");
        vocabulary.push(kind, |out| match starts_word {
            Some(text) => out.extend_from_slice(text),
            None if is_bracketed || kind != TokenKind::Normal => out.extend_from_slice(bytes),
            None => {
                out.extend_from_slice(PREFIX.as_bytes());
                out.extend_from_slice(bytes);
            }
        })?;
    }
    let unknown = token_id(metadata, &vocabulary, "unknown")?;
    let unknown = unknown.ok_or_else(|| missing("tokenizer.ggml.unknown_token_id"))?;
    let model = WordPiece::new(&vocabulary, Some(unknown), PREFIX, LONGEST_WORD)?;
    let lowercase = metadata.bool("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(!has_capitals);
    let normalizer = BertNormalizer {
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: metadata.bool("tokenizer.ggml.normalizer.strip_accents")?.unwrap_or(lowercase),
        lowercase,
    };
    let normalizers = vec![Normalizer::Bert(normalizer)];
    let special = |id: &u32| vocabulary.kind(*id).is_special();
    let added = vocabulary.ids().filter(special).map(|id| {
        let text = String::from_utf8_lossy(vocabulary.bytes(id)).into_owned();
        AddedToken { id, text, special: true, ..AddedToken::default() }
    });
    let added = AddedTokens::new(added.collect(), &normalizers)?;
    let ends = ends(metadata, &vocabulary)?;
    Ok(Tokenizer {
        added,
        normalizers,
        pre_tokenizers: vec![PreTokenizer::Bert],
        model: Model::WordPiece(model),
        decoder: Arc::new(Decoder {
            word_piece: Some(WordPieceText { prefix: PREFIX.to_owned(), cleanup: true }),
            strip: Some((' ', 1)),
            ..Decoder::default()
        }),
        ends,
        vocabulary: Arc::new(vocabulary),
    })
}

/// `[CLS]` before a text and `[SEP]` behind it, unless the file says that one of them is not added.
fn ends(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Ends, TokenizerError> {
    let first_of = |names: &[&str]| -> Result<Option<u32>, TokenizerError> {
        for name in names {
            if let Some(id) = token_id(metadata, vocabulary, name)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    };
    // The key's spelling is the format's own.
    let class = first_of(&["cls", "bos"])?.ok_or_else(|| missing("tokenizer.ggml.cls_token_id"))?;
    let separator = first_of(&["seperator", "eos"])?.ok_or_else(|| missing("tokenizer.ggml.seperator_token_id"))?;
    let adds = |name: &str| Ok::<_, TokenizerError>(metadata.bool(&format!("tokenizer.ggml.{name}"))?.unwrap_or(true));
    Ok(Ends {
        prefix: if adds("add_bos_token")? { vec![class] } else { Vec::new() },
        suffix: if adds("add_sep_token")? { vec![separator] } else { Vec::new() },
        between: Some(vec![separator]),
        bos: Some(class),
        eos: Some(separator),
        stop_ids: Vec::new(),
    })
}
