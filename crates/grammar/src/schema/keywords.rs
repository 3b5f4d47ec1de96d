//! The keywords of JSON Schema, and what becomes of each. One line a kind.

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Held to as it is.
    Value,
    /// Its value is a schema.
    Schema,
    /// Its value is a schema, or a list of them.
    SchemaOrList,
    /// Its value is a list of schemas.
    List,
    /// Its value is an object of schemas.
    Map,
    /// A text's format, where that is known.
    Format,
    /// What a property needs beside itself.
    Dependencies,
    /// Says nothing of the text, or is reached by references alone.
    Annotation,
    /// Whether items must differ.
    Unique,
    /// A condition, which says nothing alone.
    If,
    /// Cannot be held to.
    Refused,
    /// In no draft: an annotation, unless it is a slip of the hand.
    Unknown,
}

static KEYWORDS: &[(Meaning, &[&str])] = &[
    (
        Meaning::Value,
        &[
            "type",
            "const",
            "enum",
            "required",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "minLength",
            "maxLength",
            "pattern",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
        ],
    ),
    (Meaning::Schema, &["additionalProperties", "additionalItems"]),
    (Meaning::SchemaOrList, &["items"]),
    (Meaning::List, &["allOf", "anyOf", "oneOf", "prefixItems"]),
    (Meaning::Map, &["properties", "patternProperties"]),
    (Meaning::Format, &["format"]),
    (Meaning::Dependencies, &["dependencies", "dependentRequired", "dependentSchemas"]),
    (
        Meaning::Annotation,
        &[
            "$ref",
            "$schema",
            "$id",
            "id",
            "$anchor",
            "$dynamicAnchor",
            "$recursiveAnchor",
            "$vocabulary",
            "$comment",
            "$defs",
            "definitions",
            "title",
            "description",
            "default",
            "examples",
            "example",
            "deprecated",
            "readOnly",
            "writeOnly",
            "contentEncoding",
            "contentMediaType",
            "contentSchema",
            "then",
            "else",
            "minContains",
            "maxContains",
        ],
    ),
    (Meaning::Unique, &["uniqueItems"]),
    (Meaning::If, &["if"]),
    (
        Meaning::Refused,
        &[
            "not",
            "contains",
            "propertyNames",
            "unevaluatedItems",
            "unevaluatedProperties",
            "$dynamicRef",
            "$recursiveRef",
        ],
    ),
];

pub(super) fn meaning(keyword: &str) -> Meaning {
    let row = KEYWORDS.iter().find(|(_, keywords)| keywords.contains(&keyword));
    row.map_or(Meaning::Unknown, |(meaning, _)| *meaning)
}
