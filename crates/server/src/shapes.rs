//! Fields that may be a text, a list or an object.
//!
//! An untagged enum of serde would do, but its error says only that nothing matched, and forgets where. These say what was
//! expected and what came, and an error within the value names its place. Read next: `api::openai::inputs`, a use.

/// Implements `Deserialize` for an enum whose variants differ by the kind of JSON value.
///
/// ```text
/// by_shape!(Content, "a text or a list of parts", text => Content::Text, list => Content::Parts);
/// ```
macro_rules! by_shape {
    ($name:ty, $expected:literal, $($shape:ident => $variant:expr),+) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Shapes;
                impl<'de> serde::de::Visitor<'de> for Shapes {
                    type Value = $name;
                    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        out.write_str($expected)
                    }
                    $($crate::shapes::by_shape!(@$shape $variant);)+
                }
                deserializer.deserialize_any(Shapes)
            }
        }
    };
    (@text $variant:expr) => {
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
            let reader = serde::de::IntoDeserializer::<'_, E>::into_deserializer(value);
            serde::Deserialize::deserialize(reader).map($variant)
        }
    };
    (@id $variant:expr) => {
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
            let id = u32::try_from(value);
            id.map($variant).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
        }
    };
    (@list $variant:expr) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            serde::Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map($variant)
        }
    };
    (@object $variant:expr) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
            serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(object)).map($variant)
        }
    };
}

pub(crate) use by_shape;

#[cfg(test)]
mod tests {
    use crate::body::parse;
    use serde::Deserialize;

    #[derive(Debug, PartialEq)]
    enum Content {
        Text(String),
        Parts(Vec<Part>),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        text: String,
    }

    by_shape!(Content, "a text or a list of parts", text => Content::Text, list => Content::Parts);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Message {
        content: Content,
    }

    #[test]
    fn each_shape_is_read_and_others_are_named() {
        let read = |body: &str| parse::<Vec<Message>>(body.as_bytes());
        assert_eq!(read(r#"[{"content":"x"}]"#).unwrap()[0].content, Content::Text("x".to_owned()));
        let parts = Content::Parts(vec![Part { text: "x".to_owned() }]);
        assert_eq!(read(r#"[{"content":[{"text":"x"}]}]"#).unwrap()[0].content, parts);
        let refused = |body: &str| read(body).unwrap_err().message;
        assert!(
            refused(r#"[{"content":7}]"#)
                .starts_with("[0].content: invalid type: integer `7`, expected a text or a list of parts")
        );
        assert!(refused(r#"[{"content":[{"text":7}]}]"#).starts_with("[0].content[0].text: invalid type: integer `7`"));
        assert!(
            refused(r#"[{"content":[{"text":"x","colour":"red"}]}]"#)
                .starts_with("[0].content[0].colour: unknown field")
        );
    }
}
