//! What a text may be, said by a schema, an expression, a list or a grammar, as the set of tokens that may come next.
//!
//! ```text
//! JSON Schema --schema--> the part of it that can be held to ----+
//! GBNF --gbnf--> Lark -------------------------------------------+--vocabulary--> Grammar --> Matcher: mask, accept,
//! regular expression, choices, Lark, any JSON object ------------+                            forced tokens
//! words, tokens and JSON objects in a row --pattern--------------+
//! ```
//!
//! What cannot be held to is refused before a token is made, with the place where it stands: nothing is left out in
//! silence. The automaton is `llguidance`'s; this crate knows no model, engine, text generation or HTTP.
//!
//! Read next: `vocabulary`, where a grammar is made, then `matcher`, which follows a text; `schema` for what of JSON Schema
//! holds, `numerals` for what JSON leaves open.

#![forbid(unsafe_code)]

mod error;
mod gbnf;
mod matcher;
mod numerals;
mod pattern;
mod schema;
#[cfg(test)]
mod testing;
mod vocabulary;

pub use error::GrammarError;
pub use matcher::{Allowed, Matcher};
pub use pattern::Pattern;
pub use schema::is_held_format;
pub use vocabulary::{Grammar, Vocabulary};
