//! The normalizers, pre-tokenizers, post-processors and decoders of a `tokenizer.json`: one row of a `match` each,
//! and an error that names any other. Source: the `tokenizers` library's documentation of components.
//! Next: `normalizer.rs`, `pretokenizer.rs`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bert::BertNormalizer;
use crate::decoder::{Decoder, WordPieceText};
use crate::error::TokenizerError;
use crate::normalizer::Normalizer;
use crate::pattern::Pattern;
use crate::pretokenizer::{Behavior, MARK, PreTokenizer, Prepend, gpt2_split};

fn unsupported(component: &'static str, name: &str, supported: &str) -> TokenizerError {
    TokenizerError::Unsupported { component, name: name.to_owned(), supported: supported.to_owned() }
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or("without a type")
}

/// A field that must be there and have its type.
fn field<T: DeserializeOwned>(part: &Value, name: &str) -> Result<T, TokenizerError> {
    let value = part.get(name).ok_or_else(|| TokenizerError::Missing { field: format!("{}.{name}", kind(part)) })?;
    T::deserialize(value).map_err(|error| TokenizerError::Invalid {
        field: format!("{}.{name}", kind(part)),
        expected: "another value".into(),
        got: format!("{value}: {error}"),
    })
}

fn flag(part: &Value, name: &str, default: bool) -> Result<bool, TokenizerError> {
    if part.get(name).is_none() { Ok(default) } else { field(part, name) }
}

/// The parts of a sequence, or the part itself; nested sequences are flattened.
fn flatten<'v>(part: Option<&'v Value>, list: &str, depth: usize) -> Result<Vec<&'v Value>, TokenizerError> {
    let Some(part) = part.filter(|part| !part.is_null()) else { return Ok(Vec::new()) };
    if kind(part) != "Sequence" {
        return Ok(vec![part]);
    }
    if depth > 8 {
        return Err(unsupported("component", "Sequence", "eight levels of sequences"));
    }
    let parts = part.get(list).and_then(Value::as_array);
    let parts = parts.ok_or_else(|| TokenizerError::Missing { field: format!("Sequence.{list}") })?;
    let mut out = Vec::new();
    for part in parts {
        out.extend(flatten(Some(part), list, depth + 1)?);
    }
    Ok(out)
}

/// `{"String": …}` or `{"Regex": …}`.
enum PatternText {
    Literal(String),
    Regex(String),
}

fn pattern(part: &Value) -> Result<PatternText, TokenizerError> {
    let value = part.get("pattern");
    let text = |name: &str| value?.get(name)?.as_str().map(str::to_owned);
    match (text("String"), text("Regex")) {
        (Some(text), _) => Ok(PatternText::Literal(text)),
        (None, Some(text)) => Ok(PatternText::Regex(text)),
        (None, None) => Err(TokenizerError::Missing { field: format!("{}.pattern", kind(part)) }),
    }
}

pub(crate) fn normalizers(part: Option<&Value>) -> Result<Vec<Normalizer>, TokenizerError> {
    let step = |part: &Value| {
        Ok(match kind(part) {
            "NFC" => Normalizer::Nfc,
            "NFD" => Normalizer::Nfd,
            "NFKC" => Normalizer::Nfkc,
            "NFKD" => Normalizer::Nfkd,
            "Lowercase" => Normalizer::Lowercase,
            "StripAccents" => Normalizer::StripAccents,
            "BertNormalizer" => Normalizer::Bert(bert_normalizer(part)?),
            "Prepend" => Normalizer::Prepend(field(part, "prepend")?),
            "Strip" => Normalizer::Strip(flag(part, "strip_left", true)?, flag(part, "strip_right", true)?),
            "Replace" => match pattern(part)? {
                PatternText::Literal(from) if !from.is_empty() => Normalizer::Replace(from, field(part, "content")?),
                PatternText::Literal(_) => return Err(unsupported("normalizer", "Replace of nothing", "a text")),
                PatternText::Regex(pattern) => {
                    let regex = regex::Regex::new(&pattern)
                        .map_err(|error| TokenizerError::Pattern { pattern, reason: error.to_string() })?;
                    Normalizer::ReplaceRegex(regex, field(part, "content")?)
                }
            },
            other => {
                let supported =
                    "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, BertNormalizer, Prepend, Strip, Replace, Sequence";
                return Err(unsupported("normalizer", other, supported));
            }
        })
    };
    flatten(part, "normalizers", 0)?.into_iter().map(step).collect()
}

fn bert_normalizer(part: &Value) -> Result<BertNormalizer, TokenizerError> {
    let lowercase = flag(part, "lowercase", true)?;
    let strip_accents = match part.get("strip_accents") {
        None | Some(Value::Null) => lowercase,
        Some(_) => field(part, "strip_accents")?,
    };
    Ok(BertNormalizer {
        clean_text: flag(part, "clean_text", true)?,
        handle_chinese_chars: flag(part, "handle_chinese_chars", true)?,
        strip_accents,
        lowercase,
    })
}

/// The steps, and whether words are bytes from there on.
pub(crate) fn pre_tokenizers(part: Option<&Value>) -> Result<(Vec<PreTokenizer>, bool), TokenizerError> {
    let mut steps = Vec::new();
    let mut byte_level = false;
    for part in flatten(part, "pretokenizers", 0)? {
        if byte_level {
            return Err(unsupported("pre-tokenizer", kind(part), "nothing behind ByteLevel"));
        }
        match kind(part) {
            "ByteLevel" => {
                byte_level = true;
                if flag(part, "add_prefix_space", true)? {
                    steps.push(PreTokenizer::PrefixSpace);
                }
                if flag(part, "use_regex", true)? {
                    steps.push(gpt2_split());
                }
            }
            "Split" => {
                let pattern = match pattern(part)? {
                    PatternText::Literal(text) => Pattern::Literal(text),
                    PatternText::Regex(text) => Pattern::compile(&text)?,
                };
                let behavior = field(part, "behavior")?;
                steps.push(PreTokenizer::Split { pattern, behavior, invert: flag(part, "invert", false)? });
            }
            "Digits" => {
                let single = flag(part, "individual_digits", false)?;
                let pattern = Pattern::compile(if single { r"\p{N}" } else { r"\p{N}+" })?;
                steps.push(PreTokenizer::Split { pattern, behavior: Behavior::Isolated, invert: false });
            }
            "Metaspace" => steps.push(metaspace(part)?),
            "BertPreTokenizer" => steps.push(PreTokenizer::Bert),
            other => {
                let supported = "ByteLevel, Split, Digits, Metaspace, BertPreTokenizer, Sequence";
                return Err(unsupported("pre-tokenizer", other, supported));
            }
        }
    }
    Ok((steps, byte_level))
}

/// The mark and scheme of a Metaspace; older files say `add_prefix_space` where newer ones say `prepend_scheme`.
fn metaspace_prepend(part: &Value) -> Result<(char, Prepend), TokenizerError> {
    let mark = if part.get("replacement").is_some() { field(part, "replacement")? } else { MARK };
    let prepend = match part.get("prepend_scheme").and_then(Value::as_str) {
        Some("first") => Prepend::First,
        Some("never") => Prepend::Never,
        Some("always") => Prepend::Always,
        Some(other) => return Err(unsupported("prepend_scheme", other, "first, never, always")),
        None if flag(part, "add_prefix_space", true)? => Prepend::Always,
        None => Prepend::Never,
    };
    Ok((mark, prepend))
}

fn metaspace(part: &Value) -> Result<PreTokenizer, TokenizerError> {
    let (mark, prepend) = metaspace_prepend(part)?;
    Ok(PreTokenizer::Metaspace { mark, prepend, split: flag(part, "split", true)? })
}

/// The ids before a text, behind it, and between two texts that are read together.
type EndIds = (Vec<u32>, Vec<u32>, Option<Vec<u32>>);

pub(crate) fn ends(part: Option<&Value>) -> Result<EndIds, TokenizerError> {
    let mut ends = (Vec::new(), Vec::new(), None);
    for part in flatten(part, "processors", 0)? {
        match kind(part) {
            // It moves offsets alone.
            "ByteLevel" => {}
            "TemplateProcessing" => ends = template_ends(part)?,
            "BertProcessing" => {
                let (_, separator): (String, u32) = field(part, "sep")?;
                let (_, class): (String, u32) = field(part, "cls")?;
                ends = (vec![class], vec![separator], Some(vec![separator]));
            }
            other => {
                let supported = "ByteLevel, TemplateProcessing, BertProcessing, Sequence";
                return Err(unsupported("post-processor", other, supported));
            }
        }
    }
    Ok(ends)
}

fn template_ends(part: &Value) -> Result<EndIds, TokenizerError> {
    let single = template_ids(part, field(part, "single")?)?;
    let Ok([before, behind]) = <[Vec<u32>; 2]>::try_from(single) else {
        return Err(unsupported("TemplateProcessing.single", "another number of texts", "one text"));
    };
    // A pair with other ends is one that nobody here reads.
    let pair = match part.get("pair") {
        Some(Value::Array(pair)) => template_ids(part, pair.clone())?,
        _ => Vec::new(),
    };
    let between = <[Vec<u32>; 3]>::try_from(pair).ok().filter(|pair| pair[0] == before && pair[2] == behind);
    Ok((before, behind, between.map(|[_, between, _]| between)))
}

/// The ids before, between and behind the texts of a template.
fn template_ids(part: &Value, pieces: Vec<Value>) -> Result<Vec<Vec<u32>>, TokenizerError> {
    let mut ids = vec![Vec::new()];
    for piece in &pieces {
        if piece.get("Sequence").is_some() {
            ids.push(Vec::new());
            continue;
        }
        let name = piece.get("SpecialToken").and_then(|token| token.get("id")).and_then(Value::as_str);
        let name = name.ok_or_else(|| TokenizerError::Missing { field: "TemplateProcessing: id".into() })?;
        let found = part.get("special_tokens").and_then(|tokens| tokens.get(name)).and_then(|token| token.get("ids"));
        let found = found.and_then(|ids| Vec::<u32>::deserialize(ids).ok());
        let found =
            found.ok_or_else(|| TokenizerError::Missing { field: format!("TemplateProcessing: ids of {name}") })?;
        if let Some(last) = ids.last_mut() {
            last.extend(found);
        }
    }
    Ok(ids)
}

pub(crate) fn decoder(part: Option<&Value>) -> Result<Decoder, TokenizerError> {
    let parts = flatten(part, "decoders", 0)?;
    if parts.is_empty() {
        return Err(TokenizerError::Missing { field: "decoder".into() });
    }
    let mut decoder = Decoder::default();
    let mut fused = false;
    for part in parts {
        match kind(part) {
            "ByteLevel" => {}
            "ByteFallback" => decoder.byte_tokens = true,
            "Fuse" => fused = true,
            "Replace" => match pattern(part)? {
                PatternText::Literal(from) if !from.is_empty() => decoder.replace.push((from, field(part, "content")?)),
                _ => return Err(unsupported("decoder", "Replace of a pattern", "Replace of a text")),
            },
            "Metaspace" => {
                let (mark, prepend) = metaspace_prepend(part)?;
                decoder.replace.push((mark.to_string(), " ".into()));
                decoder.strip = (prepend != Prepend::Never).then_some((' ', 1));
            }
            "WordPiece" => {
                decoder.word_piece =
                    Some(WordPieceText { prefix: field(part, "prefix")?, cleanup: flag(part, "cleanup", true)? });
                decoder.strip = Some((' ', 1));
            }
            "Strip" if fused && field::<usize>(part, "stop")? == 0 => {
                decoder.strip = Some((field(part, "content")?, field(part, "start")?));
            }
            other => {
                let supported = "ByteLevel, ByteFallback, Fuse, Replace, Metaspace, WordPiece, Strip at the start behind Fuse, Sequence";
                return Err(unsupported("decoder", other, supported));
            }
        }
    }
    Ok(decoder)
}
