//! Schemas over a small vocabulary: what comes out is valid, what cannot be held to is named by its place.

use crate::testing::{accepts, vocabulary, write};
use serde_json::{Value, json};

fn refusal(schema: Value) -> String {
    vocabulary().json_schema(&schema).err().expect("it is refused").to_string()
}

fn takes(schema: &Value, text: &str) -> bool {
    accepts(&vocabulary().json_schema(schema).unwrap(), text)
}

/// Texts of a schema are valid by an independent validator.
fn check(schema: &Value) {
    let grammar = vocabulary().json_schema(schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
    let validator = jsonschema::validator_for(schema).unwrap();
    let mut finished = 0;
    for seed in 0..40 {
        let Some(text) = write(&grammar, seed, 40) else { continue };
        finished += 1;
        let instance: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}: {error}: {text}"));
        // The integer 0 by the specification, a fraction to the reader of numbers.
        if instance.as_f64() == Some(0.0) && text.starts_with('-') {
            continue;
        }
        assert!(validator.is_valid(&instance), "{schema}: {text}");
    }
    assert!(finished > 10, "{schema}: {finished} of 40 texts were finished");
}

#[test]
fn texts_of_a_schema_are_valid() {
    for schema in [
        json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "n": {"type": "integer"}},
            "required": ["name"], "additionalProperties": false}),
        json!({"enum": ["a", 1, null, {"k": [true]}]}),
        json!({"const": "only"}),
        json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4}),
        json!({"type": "string", "pattern": "^[a-c]{2,4}$"}),
        json!({"type": "string", "format": "date"}),
        json!({"type": "integer", "minimum": -3, "exclusiveMaximum": 12}),
        json!({"anyOf": [{"type": "null"}, {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": false,
            "minItems": 2}]}),
        json!({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "maxLength": 2}]}),
        json!({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"l": {"$ref": "#/$defs/tree"},
            "v": {"enum": [0, 1]}}, "required": ["v"], "additionalProperties": false}}}),
        json!({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}},
            "additionalProperties": false, "dependentRequired": {"a": ["b"]},
            "dependentSchemas": {"c": {"required": ["a"]}}}),
        json!({"type": "array", "items": {"type": "boolean"}, "maxItems": 1, "uniqueItems": true}),
    ] {
        check(&schema);
    }
}

#[test]
fn properties_come_in_the_order_of_the_schema_and_in_one_notation() {
    let schema = json!({"type": "object", "properties": {"b": {"const": 1}, "a": {"const": 2}}, "required": ["a", "b"],
        "additionalProperties": false});
    assert!(takes(&schema, "{\"b\": 1, \"a\": 2}"));
    for other in ["{\"a\": 2, \"b\": 1}", "{\"b\":1,\"a\":2}", "{ \"b\": 1, \"a\": 2}", "{\"b\": 1}"] {
        assert!(!takes(&schema, other), "{other}");
    }
}

#[test]
fn what_only_looks_valid_is_not_written() {
    let named = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    assert!(takes(&named, r#"{"a": 1, "b": "x"}"#));
    assert!(!takes(&named, r#"{"a": 1, "\u0061": "x"}"#), "the same key under another spelling");
    let closed =
        json!({"type": "array", "items": [{"const": 1}], "anyOf": [{"minItems": 1}], "additionalItems": false});
    assert!(takes(&closed, "[1]") && !takes(&closed, "[1, 2]") && !takes(&closed, "[]"));
    let first = json!({"type": "array", "prefixItems": [{"type": "string"}], "items": false, "minItems": 1});
    assert!(takes(&first, "[\"a\"]") && !takes(&first, "[1]"));
    let above = json!({"type": "integer", "exclusiveMinimum": true, "anyOf": [{"maximum": 9}], "minimum": 5});
    assert!(takes(&above, "6") && !takes(&above, "5") && !takes(&above, "10"));
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"const": 1}],
        "additionalItems": {"const": 2}});
    assert!(takes(&old, "[1, 2, 2]") && !takes(&old, "[2]"));
    let wide = json!({"type": "integer", "maximum": 9_223_372_036_854_775_807_u64, "minimum": 0});
    assert!(takes(&wide, "9223372036854774784") && !takes(&wide, "9223372036854775808"));
    let whole = json!(true);
    assert!(takes(&whole, "[1, 2]") && !takes(&whole, "[1 , 2]"), "one notation for anything, too");
}

#[test]
fn branches_of_references_are_told_apart() {
    let tagged = |tag: &str| {
        json!({"type": "object", "properties": {"kind": {"const": tag}}, "required": ["kind"],
        "additionalProperties": false})
    };
    let schema = json!({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {"a": tagged("a"), "b": tagged("b")}});
    assert!(takes(&schema, r#"{"kind": "a"}"#) && takes(&schema, r#"{"kind": "b"}"#));
    assert!(!takes(&schema, r#"{"kind": "c"}"#));
    // One within the other, and one that comes back to itself.
    let nested = json!({"oneOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/s"}], "$defs": {
        "n": {"type": "array", "items": {"oneOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/s"}]}},
        "s": {"const": "x"}}});
    assert!(takes(&nested, r#"[["x"], "x"]"#) && !takes(&nested, r#"["y"]"#));
}

#[test]
fn references_are_found_however_they_are_written() {
    for reference in ["#/$defs/a~1b", "#/%24defs/a~1b", "#here", "https://s.example/part", "https://s.example/part#"] {
        let schema = json!({"$ref": reference, "$defs": {"a/b": {"$id": "https://s.example/part", "$anchor": "here",
            "const": 7}}});
        assert!(takes(&schema, "7") && !takes(&schema, "8"), "{reference}");
    }
    let whole = json!({"type": "array", "items": {"$ref": "#"}, "maxItems": 1});
    assert!(takes(&whole, "[[[]]]") && !takes(&whole, "[1]"));
    // Until draft 7 nothing beside a reference counts.
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "not": {},
        "definitions": {"a": {"const": 7}}});
    assert!(takes(&old, "7"));
    let pointer = "#/properties/a/$ref: ";
    let schema = |reference: Value| json!({"properties": {"a": {"$ref": reference}}});
    assert_eq!(
        refusal(schema(json!("https://s.example/other"))),
        format!("{pointer}\"https://s.example/other\" is in no part of this document, and nothing is fetched")
    );
    assert_eq!(refusal(schema(json!("#/nothing"))), format!("{pointer}\"#/nothing\" names nothing in this document"));
    assert_eq!(refusal(schema(json!(1))), format!("{pointer}expected a text, got 1"));
}

#[test]
fn what_cannot_be_held_to_is_named_by_its_place() {
    let refused = "a text cannot be held to";
    assert_eq!(
        refusal(json!({"properties": {"a/b": {"not": {}}}})),
        format!("#/properties/a~1b/not: {refused} `not` while it is written")
    );
    assert_eq!(
        refusal(json!({"anyOf": [{"type": "null"}, {"items": {"if": {}, "then": {}}}]})),
        format!("#/anyOf/1/items/if: {refused} `if` while it is written")
    );
    assert_eq!(
        refusal(json!({"uniqueItems": true})),
        format!("#/uniqueItems: {refused} `uniqueItems` while it is written")
    );
    assert_eq!(refusal(json!(1)), "#: expected a schema, got a number");
    assert_eq!(refusal(json!(false)), "#: nothing is valid against `false`");
    assert!(
        refusal(json!({"items": {"enum": [9_007_199_254_740_993_u64]}}))
            .starts_with("#/items/enum: 9007199254740993 is")
    );
    assert_eq!(refusal(json!({"multipleOf": 1e9})), "#/multipleOf: expected at most 400000000, got 1000000000.0");
    assert!(refusal(json!({"minProperties": 2})).starts_with("#/minProperties: expected at most 1, one more than"));
    let mixed = json!({"prefixItems": [{}], "items": [{}]});
    assert_eq!(refusal(mixed), "#/items: expected a schema beside prefixItems, got a list");
    let inner = json!({"properties": {"a": {"$id": "https://s.example/a", "items": {"$ref": "#/$defs/x"}}}, "$defs": {"x": {}}});
    assert!(refusal(inner).starts_with("#/properties/a/items/$ref: a reference to its own document"));
    assert_eq!(refusal(json!({"items": {"allOf": {}}})), "#/items/allOf: expected a list of schemas, got an object");
    assert_eq!(refusal(json!({"properties": []})), "#/properties: expected an object of schemas, got a list");
    // What the automaton itself refuses is found by trying the parts.
    let overlapping = json!({"properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}});
    assert!(refusal(overlapping).starts_with("#/properties/a: oneOf"), "{:?}", refusal(json!({})));
    let pattern = json!({"$ref": "#/$defs/p", "$defs": {"p": {"items": {"type": "string", "pattern": "(?=a)b"}}}});
    assert!(refusal(pattern.clone()).starts_with("#/$defs/p/items: "), "{}", refusal(pattern));
    assert!(refusal(json!({"type": "any"})).starts_with("#: "));
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let warnings = |schema: Value| vocabulary().json_schema(&schema).unwrap().warnings().to_vec();
    assert_eq!(
        warnings(json!({"type": "string", "format": "phone", "minLenght": 2, "title": "T"})),
        ["#/format: the format \"phone\" is not known, and not held to", "#/minLenght: the keyword has no effect"]
    );
    assert!(warnings(json!({"type": "integer", "format": "int32", "default": 1, "if": {}})).is_empty());
    let many: serde_json::Map<String, Value> = (0..30).map(|n| (format!("x{n}"), Value::Null)).collect();
    let told = warnings(Value::Object(many));
    assert_eq!((told.len(), told[20].as_str()), (21, "and 10 more keywords have no effect"));
}

#[test]
fn hostile_schemas_are_errors() {
    let mut deep = json!({"type": "null"});
    for _ in 0..100 {
        deep = json!({"items": deep});
    }
    assert!(refusal(deep).contains("nested more than 64 deep"));
    let wide: Vec<Value> = (0..30_000).map(|_| json!({})).collect();
    assert!(refusal(json!({"anyOf": wide})).contains("more than 20000 schemas"));
    // Each is shallow, and all together are deep.
    let chain: serde_json::Map<String, Value> = (0..2_000)
        .map(|n| (format!("d{n}"), json!({"items": {"items": {"$ref": format!("#/$defs/d{}", n + 1)}}})))
        .chain([("d2000".to_owned(), json!({}))])
        .collect();
    let chain = json!({"$ref": "#/$defs/d0", "$defs": chain});
    assert!(refusal(chain).contains("nested more than 2000 deep"));
    let long = json!({"properties": {"n".repeat(5_000): {"properties": {"a": {}}}}});
    assert!(refusal(long).ends_with("its place takes more than 2000 bytes to name"));
    let many: Vec<Value> = (0..11_000).map(Value::from).collect();
    assert_eq!(refusal(json!({"enum": many})), "#/enum: there are more than 10000 values to choose from");
    // A circle of references that never comes to anything.
    let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    assert_eq!(refusal(circle), "#/$defs/a/$ref: the reference comes back to itself");
    let mine = json!({"x-guidance": {"lenient": true}, "not": {}});
    assert!(refusal(mine).starts_with("#/not: "), "options of the automaton are no keywords");
}

#[test]
fn changed_schemas_never_panic() {
    let seeds = [
        r##"{"type":"object","properties":{"a":{"type":["string","null"],"maxLength":3,"format":"date"},"b":{"$ref":"#/$defs/t"}},"required":["a"],"additionalProperties":false,"$defs":{"t":{"oneOf":[{"const":1},{"type":"array","items":{"$ref":"#/$defs/t"},"minItems":1,"maxItems":2}]}}}"##,
        r##"{"$schema":"http://json-schema.org/draft-04/schema#","items":[{"enum":["x",2]}],"additionalItems":{"minimum":1,"exclusiveMinimum":true},"dependencies":{"a":["b"]},"allOf":[{"$ref":"#/definitions/p"}],"definitions":{"p":{"pattern":"^a+$","patternProperties":{"^x":{}}}}}"##,
        r##"{"anyOf":[{"multipleOf":0.5,"maximum":10},{"prefixItems":[true,false],"items":false}],"uniqueItems":false,"$id":"u","x-guidance":{"lenient":true}}"##,
    ];
    let pieces = [
        "{}",
        "[]",
        "true",
        "false",
        "null",
        "-1",
        "1e400",
        "9007199254740993",
        "\"#\"",
        "\"$ref\"",
        "\"oneOf\"",
        "\"(\"",
        "\\u0000",
    ];
    let mut random = 7_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound
    };
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..6_000 {
        let mut text = seeds[round % seeds.len()].to_owned();
        for _ in 0..=below(3) {
            let start = below(text.len());
            let end = (start + below(12)).min(text.len());
            text.replace_range(start..end, pieces[below(pieces.len())]);
        }
        let Ok(schema) = serde_json::from_str::<Value>(&text) else { continue };
        match vocabulary().json_schema(&schema) {
            Ok(grammar) => {
                // Whatever was accepted can begin, or says why not.
                let _ = grammar.matcher().allowed();
                accepted += 1;
            }
            Err(error) => {
                let told = error.to_string();
                assert!(told.starts_with('#') && !told.contains("panic"), "{told}: {text}");
                refused += 1;
            }
        }
    }
    assert!(accepted > 50 && refused > 50, "{accepted} {refused}");
}
