//! A field that is one text or a list of them.

use crate::shapes::by_shape;
use utoipa::ToSchema;

/// One value or several.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

by_shape!(OneOrMany<String>, "a text or a list of texts", text => OneOrMany::One, list => OneOrMany::Many);

impl<T> OneOrMany<T> {
    /// All of them.
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}
