//! Fields that clients send and that have no effect here: accepted, and named in the response's `warnings`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A field that clients send and that has no effect here; the response's `warnings` name it.
#[derive(Debug, Default)]
pub(crate) struct Ignored(bool);

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ignored, D::Error> {
        Ok(Ignored(!Value::deserialize(deserializer)?.is_null()))
    }
}

impl Ignored {
    /// Whether there was anything but null.
    pub(crate) fn was_sent(&self) -> bool {
        self.0
    }
}

/// The warnings of those that were sent.
pub(crate) fn warnings(fields: &[(&str, &Ignored)]) -> Vec<String> {
    fields.iter().filter(|(_, field)| field.was_sent()).map(|(name, _)| no_effect(name)).collect()
}

/// The warning of a field.
pub(crate) fn no_effect(name: &str) -> String {
    format!("{name} has no effect here")
}
