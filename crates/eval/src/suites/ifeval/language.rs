//! Which language a text is in, by the n-grams of letters that are frequent in it.
//!
//! The method and the profiles are those of langdetect, which the published checks use; it draws by chance there, and with a
//! fixed seed here.

use langdetect_rs::detector_factory::DetectorFactory;
use std::sync::LazyLock;

/// Any number does; the same one always tells the same.
const SEED: u64 = 0;

/// Whether a text is in a language, by its code of ISO 639-1. A text without letters, of which no language can be told, is
/// in any, as in the published checks.
pub fn is(text: &str, language: &str) -> bool {
    static PROFILES: LazyLock<DetectorFactory> =
        LazyLock::new(|| DetectorFactory::default().with_seed(Some(SEED)).build());
    PROFILES.detect(text, None).map_or(true, |told| told == language)
}
