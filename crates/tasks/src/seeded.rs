//! Choices that are the same on every machine and every day: which examples are shown, which rows are kept for the
//! test.
//!
//! A thing's rank is the hash of a seed and of its own text, so it does not change when other rows come or go.

use sha2::{Digest, Sha256};

/// Where a text stands in the order of a seed: uniform, and the same for the same text.
pub fn rank(seed: u64, text: &str) -> u64 {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(text).finalize();
    digest.iter().take(8).fold(0, |rank, &byte| rank << 8 | u64::from(byte))
}

/// The SHA-256 of a text in hexadecimal.
pub fn hex_digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_depends_on_seed_and_text_alone() {
        assert_eq!(rank(0, "a"), rank(0, "a"));
        assert_ne!(rank(0, "a"), rank(1, "a"));
        assert_ne!(rank(0, "a"), rank(0, "b"));
        assert_eq!(&hex_digest("")[..8], "e3b0c442");
    }
}
