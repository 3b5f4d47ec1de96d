//! The tokenizer itself: text to ids and back, through the parts that `gguf.rs` and `json.rs` assemble.
//! It does not know what a message is; `template.rs` does. Next: `prompt.rs`.
//!
//! ```text
//! text -> cut at added tokens -> normalise -> cut at normalised added tokens -> words -> merges -> ids
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use crate::added::{AddedTokens, Piece};
use crate::bpe::Bpe;
use crate::cache::WordCache;
use crate::decoder::{Decoder, StreamDecoder};
use crate::merge::{MergeBuffers, Symbol};
use crate::normalizer::{Normalizer, normalize};
use crate::pieces::Pieces;
use crate::pretokenizer::{PreTokenizer, for_each_word};
use crate::prompt::Prompt;
use crate::vocabulary::Vocabulary;
use crate::word_piece::WordPiece;

/// How a text is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encode {
    /// Put the tokens at the ends that the model was trained with: BOS, EOS, where the file asks for them.
    pub add_bos_eos: bool,
    /// Read the texts of special tokens as these tokens. Only for text that its reader trusts: a user's text must be
    /// encoded without.
    pub parse_special: bool,
}

/// The algorithm between words and ids.
#[derive(Debug)]
pub(crate) enum Model {
    /// Merges in a list.
    Bpe(Bpe),
    /// Merges by score.
    Pieces(Pieces),
    /// The longest tokens from the left.
    WordPiece(WordPiece),
}

/// The tokens around a text and those that end an answer.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) prefix: Vec<u32>,
    pub(crate) suffix: Vec<u32>,
    /// What stands between two texts that are read together, where the model reads pairs.
    pub(crate) between: Option<Vec<u32>>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) stop_ids: Vec<u32>,
}

/// A model's tokenizer. Immutable but for [`Tokenizer::add_stop_ids`]; share it between threads.
#[derive(Debug)]
pub struct Tokenizer {
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) added: AddedTokens,
    pub(crate) normalizers: Vec<Normalizer>,
    pub(crate) pre_tokenizers: Vec<PreTokenizer>,
    pub(crate) model: Model,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) ends: Ends,
}

/// Tokens that end an answer wherever they exist, whether or not the file names them as its end: the ends of turns of
/// the supported families' templates.
const END_OF_TURN: &[&str] =
    &["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"];

/// What receives the parts that a text is cut into, in order.
trait Sink {
    fn token(&mut self, id: u32);
    fn word(&mut self, word: &str);
}

/// What one call of encode carries along.
struct Encoding<'t> {
    tokenizer: &'t Tokenizer,
    symbols: Vec<Symbol>,
    buffers: MergeBuffers,
    bytes: Vec<u8>,
    cache: WordCache,
    out: &'t mut Vec<u32>,
}

impl Sink for Encoding<'_> {
    fn token(&mut self, id: u32) {
        self.out.push(id);
    }

    #[inline]
    fn word(&mut self, word: &str) {
        let Self { tokenizer, symbols, buffers, bytes, cache, out } = self;
        cache.encode(word.as_bytes(), out, |out| match &tokenizer.model {
            Model::Bpe(bpe) => bpe.encode(&tokenizer.vocabulary, word, symbols, buffers, out),
            Model::Pieces(pieces) => pieces.encode(&tokenizer.vocabulary, word, symbols, buffers, out),
            Model::WordPiece(pieces) => pieces.encode(&tokenizer.vocabulary, word, bytes, out),
        });
    }
}

/// Looks for the first character that encode leaves out.
struct Search<'t> {
    vocabulary: &'t Vocabulary,
    bpe: &'t Bpe,
    found: Option<char>,
}

impl Sink for Search<'_> {
    fn token(&mut self, _id: u32) {}

    fn word(&mut self, word: &str) {
        self.found = self.found.or_else(|| self.bpe.unencodable(self.vocabulary, word));
    }
}

impl Tokenizer {
    /// The number of ids; every id that encoding gives is below.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// The ids of a text. A character without a token becomes its bytes, or else the model's unknown token; where the
    /// model has neither it is left out, as the library that the model was trained with does.
    /// [`Tokenizer::unencodable`] tells before whether that happens.
    pub fn encode(&self, text: &str, options: Encode) -> Vec<u32> {
        let mut out = Vec::with_capacity(text.len() / 3 + 2);
        if options.add_bos_eos {
            out.extend_from_slice(&self.ends.prefix);
        }
        self.encode_into(text, options.parse_special, None, &mut out);
        if options.add_bos_eos {
            out.extend_from_slice(&self.ends.suffix);
        }
        out
    }

    /// The ids of a rendered template: special tokens are read where the template wrote them and nowhere else. BOS
    /// comes once, from the template or, if it writes none and the model wants one, from here.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Vec<u32> {
        let mut out = Vec::with_capacity(prompt.guarded().len() / 3 + 2);
        self.encode_into(prompt.guarded(), true, prompt.sentinel(), &mut out);
        let missing = match (self.ends.prefix.first(), out.first()) {
            (Some(bos), Some(first)) => bos != first,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if missing {
            out.splice(0..0, self.ends.prefix.iter().copied());
        }
        out
    }

    /// The first character of `text` that [`Tokenizer::encode`] with these options leaves out, because the vocabulary
    /// can express it in no way. Most vocabularies express every text; for them this costs nothing.
    pub fn unencodable(&self, text: &str, options: Encode) -> Option<char> {
        self.search(text, options.parse_special, None)
    }

    /// As [`Tokenizer::unencodable`], for [`Tokenizer::encode_prompt`].
    pub fn unencodable_in_prompt(&self, prompt: &Prompt) -> Option<char> {
        self.search(prompt.guarded(), true, prompt.sentinel())
    }

    fn search(&self, text: &str, special: bool, sentinel: Option<char>) -> Option<char> {
        let bpe = match &self.model {
            Model::Bpe(bpe) if !bpe.is_complete() => bpe,
            // Pieces have all bytes or an unknown token.
            Model::Bpe(_) | Model::Pieces(_) | Model::WordPiece(_) => return None,
        };
        let mut search = Search { vocabulary: &self.vocabulary, bpe, found: None };
        self.cut(text, special, sentinel, &mut search);
        search.found
    }

    /// Appends the ids of `text`, in which `sentinel` means nothing but that a special token ends before it.
    fn encode_into(&self, text: &str, special: bool, sentinel: Option<char>, out: &mut Vec<u32>) {
        let mut encoding = Encoding {
            tokenizer: self,
            symbols: Vec::new(),
            buffers: MergeBuffers::default(),
            bytes: Vec::new(),
            cache: WordCache::for_text(text.len()),
            out,
        };
        self.cut(text, special, sentinel, &mut encoding);
    }

    fn cut(&self, text: &str, special: bool, sentinel: Option<char>, sink: &mut impl Sink) {
        let mut at_start = true;
        self.added.split(text, special, |piece| {
            match piece {
                Piece::Token(id) => sink.token(id),
                Piece::Text(text) => self.cut_piece(text, at_start, sentinel, sink),
            }
            at_start = false;
        });
    }

    fn cut_piece(&self, text: &str, at_start: bool, sentinel: Option<char>, sink: &mut impl Sink) {
        let whole = |text: &str| match sentinel {
            Some(sentinel) if text.contains(sentinel) => Some(text.replace(sentinel, "")),
            _ => None,
        };
        if !self.added.any_normalized() {
            let plain = whole(text);
            let text = normalize(&self.normalizers, plain.as_deref().unwrap_or(text));
            return self.cut_words(&text, at_start, sink);
        }
        let text = normalize(&self.normalizers, text);
        let mut at_start = at_start;
        self.added.split_normalized(&text, |piece| {
            match piece {
                Piece::Token(id) => sink.token(id),
                Piece::Text(text) => match whole(text) {
                    Some(text) => self.cut_words(&text, at_start, sink),
                    None => self.cut_words(text, at_start, sink),
                },
            }
            at_start = false;
        });
    }

    fn cut_words(&self, text: &str, at_start: bool, sink: &mut impl Sink) {
        for_each_word(&self.pre_tokenizers, text, at_start, &mut |word| sink.word(word));
    }

    /// The bytes that a token stands for in text: a space for a space mark, one byte for a byte token. They need not
    /// be whole characters. Empty for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Cow<'_, [u8]> {
        self.decoder.bytes(&self.vocabulary, id)
    }

    /// A token for people to read: what is no whole character is shown as U+FFFD.
    pub fn token_text(&self, id: u32) -> String {
        String::from_utf8_lossy(&self.token_bytes(id)).into_owned()
    }

    /// The text of `ids`; bytes that are no character are shown as U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut decoder = self.decoder();
        if !skip_special {
            decoder = decoder.keep_special();
        }
        let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// A decoder for ids that come one by one.
    pub fn decoder(&self) -> StreamDecoder {
        StreamDecoder::new(Arc::clone(&self.vocabulary), Arc::clone(&self.decoder))
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.ends.bos
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.ends.eos
    }

    /// Whether [`Tokenizer::encode`] with `add_bos_eos` begins with BOS.
    pub fn adds_bos(&self) -> bool {
        !self.ends.prefix.is_empty()
    }

    /// The tokens around a text that [`Encode::add_bos_eos`] puts there: those before it and those behind it.
    pub fn ends(&self) -> (&[u32], &[u32]) {
        (&self.ends.prefix, &self.ends.suffix)
    }

    /// The tokens between two texts that are read together, with [`Tokenizer::ends`] around both; `None` where the model
    /// reads no pairs.
    pub fn between_pair(&self) -> Option<&[u32]> {
        self.ends.between.as_deref()
    }

    /// The tokens that end an answer, ascending.
    pub fn stop_ids(&self) -> &[u32] {
        &self.ends.stop_ids
    }

    /// Adds tokens that end an answer, for instance those of `generation_config.json`. Ids outside the vocabulary
    /// are left out: no model can give them.
    pub fn add_stop_ids(&mut self, ids: &[u32]) {
        let stops = &mut self.ends.stop_ids;
        stops.extend(ids.iter().copied().filter(|&id| (id as usize) < self.vocabulary.len()));
        stops.sort_unstable();
        stops.dedup();
    }

    /// Adds EOS and the ends of turns that the vocabulary has as special tokens. Called once, at load.
    pub(crate) fn add_known_stop_ids(&mut self) {
        let mut ids: Vec<u32> = self.ends.eos.into_iter().collect();
        for token in self.added.all() {
            if token.special && END_OF_TURN.contains(&token.text.as_str()) {
                ids.push(token.id);
            }
        }
        self.add_stop_ids(&ids);
    }

    /// The token whose text is `text`: an added token as written, else the token of these very bytes.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        if let Some(token) = self.added.all().iter().find(|token| token.text == text) {
            return Some(token.id);
        }
        let id = self.vocabulary.id(text.as_bytes());
        id.or_else(|| {
            let marked = self.decoder.replace.iter().fold(text.to_owned(), |text, (from, to)| text.replace(to, from));
            self.vocabulary.id(marked.as_bytes())
        })
    }

    /// Whether `id` is a special token, which only a template writes and which answers are shown without.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id).is_special()
    }
}
