//! A field that is a text or a list: what is neither is told so, and an error within the list names its place there.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;
use utoipa::ToSchema;

/// A text, or a list of `T`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOr<T> {
    Text(String),
    List(Vec<T>),
}

impl TextOr<String> {
    /// All texts.
    pub(crate) fn into_texts(self) -> Vec<String> {
        match self {
            TextOr::Text(text) => vec![text],
            TextOr::List(texts) => texts,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextOr<T>, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = TextOr<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<TextOr<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(TextOr::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_came_and_where() {
        let parse = |text: &str| crate::body::parse::<TextOr<u8>>(text.as_bytes()).map_err(|failure| failure.message);
        assert_eq!(parse("\"a\""), Ok(TextOr::Text("a".to_owned())));
        assert_eq!(parse("[1, 2]"), Ok(TextOr::List(vec![1, 2])));
        let refused = parse("5").unwrap_err();
        assert!(refused.contains("invalid type: integer `5`, expected a text or a list"), "{refused}");
        let refused = parse("[1, true]").unwrap_err();
        assert!(refused.starts_with("[1]: invalid type: boolean `true`, expected u8"), "{refused}");
    }
}
