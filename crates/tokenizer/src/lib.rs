//! Text to token ids and back, and chat templates: the part of a model that is not arithmetic.
//!
//! [`Tokenizer`] is built from the metadata of a GGUF file or from a `tokenizer.json`; what either asks for and this
//! crate does not do is an error at load, never an approximation. [`ChatTemplate`] renders a conversation into a
//! [`Prompt`], in which the tokens that the template wrote stay apart from text that merely looks like them.
//! This crate knows no model, no sampling and no network. Read `tokenizer.rs` next.
#![forbid(unsafe_code)]

mod tokenizer;

mod gguf;

mod json;
mod json_model;
mod json_parts;

mod added;
mod bert;
mod families;
mod normalizer;
mod pattern;
mod pretokenizer;
mod scanner;
mod unicode;

mod bpe;
mod byte_level;
mod cache;
mod merge;
mod pieces;
mod vocabulary;
mod word_piece;

mod decoder;

mod prompt;
mod python;
mod template;

mod error;

pub use decoder::StreamDecoder;
pub use error::{TemplateError, TokenizerError};
pub use prompt::Prompt;
pub use template::{ChatTemplate, TemplateInput};
pub use tokenizer::{Encode, Tokenizer};
pub use vocabulary::TokenKind;
