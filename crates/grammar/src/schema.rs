//! What of a JSON Schema a text can be held to: each keyword is kept, rewritten, an annotation, or refused by its place.
//!
//! ```text
//! references    point into one list of definitions, wherever and however they were written
//! oneOf         is `anyOf` where its branches are proved to exclude one another
//! lists         of items become `prefixItems`, bounds that are true or false become numbers
//! dependencies  become alternatives: the property is absent, or what it needs is there
//! format        is held to where it is known, else an annotation and a warning
//! unknown       keywords are annotations, as the specification has it, with a warning
//! ```
//!
//! Written for drafts 2020-12 and 7; what 4, 6 and 2019-09 have beside these is understood as far as it means the same.
//! Read next: `schema/keywords`, the table; `schema/formats`; `schema/disjoint`, the proof; `schema/references`, what a `$ref` may name.

mod disjoint;
mod formats;
mod keywords;
mod references;
#[cfg(test)]
mod tests;

pub use formats::is_held_format;

use crate::GrammarError;
use disjoint::tell_apart;
use keywords::{Meaning, meaning};
use references::References;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// Deepest nesting of schemas.
const DEEPEST: usize = 64;

/// Deepest nesting of all documents together, the root and what is pointed at: the automaton's compiler recurses through both.
const DEEPEST_IN_ALL: usize = 2_000;

/// Longest pointer, in bytes.
const LONGEST_POINTER: usize = 2_000;

/// Most schemas in a schema.
const MOST_SCHEMAS: usize = 20_000;

/// Most warnings that are told one by one.
const MOST_WARNINGS: usize = 20;

/// Most values in all of `const` and `enum`: alternatives are compared with one another.
const MOST_VALUES: usize = 10_000;

/// Largest whole number that the automaton's doubles tell from its neighbours.
const LARGEST_EXACT: u64 = 1 << 53;

/// Largest divisor of `multipleOf`: what is left of a division, ten times, must fit 32 bits.
const LARGEST_DIVISOR: f64 = 400_000_000.0;

/// Most steps of a divisor, in units of its last digit, whose multiples are given bounds.
const MOST_STEPS: f64 = 1_000.0;

/// Most parts that are tried alone when it is asked which one cannot be held to, and for how long.
const MOST_TRIED: usize = 200;
const LONGEST_TRIED: Duration = Duration::from_secs(1);

/// How the text is written: as Python's `json.dumps` does and models have mostly read it.
fn notation() -> Value {
    // Without `\\u` no key can be written in two ways, so that a named property cannot come again under another spelling.
    json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "json_allowed_escapes": "nrbtf\\\""})
}

/// A schema that the automaton can be asked for.
#[derive(Debug)]
pub(crate) struct Prepared {
    schema: Value,
    definitions: Map<String, Value>,
    /// What was asked for and has no effect, each with its place.
    pub(crate) warnings: Vec<String>,
    /// The schemas of each document, the root and the definitions, inner ones first: where each stood, and where it stands
    /// in `schema` or `definitions`.
    places: Vec<Vec<(String, String)>>,
}

impl Prepared {
    /// All of it as one document.
    pub(crate) fn whole(&self) -> Value {
        self.document(&self.schema)
    }

    fn document(&self, schema: &Value) -> Value {
        let mut keywords = match schema {
            Value::Object(keywords) => keywords.clone(),
            // Anything, in the one notation.
            Value::Bool(true) => Map::new(),
            other => return other.clone(),
        };
        if !self.definitions.is_empty() {
            keywords.insert("$defs".to_owned(), Value::Object(self.definitions.clone()));
        }
        keywords.insert("x-guidance".to_owned(), notation());
        Value::Object(keywords)
    }

    /// The error for a document that the automaton refuses, at the innermost part that it refuses alone.
    pub(crate) fn blame(&self, reason: String, fails: impl Fn(Value) -> Option<String>) -> GrammarError {
        let began = Instant::now();
        // What was pointed at last is what others point at.
        let tried = self.places.iter().rev().flatten().take(MOST_TRIED);
        for (original, place) in tried.take_while(|_| began.elapsed() < LONGEST_TRIED) {
            let part = match place.strip_prefix("/$defs/") {
                Some(rest) => {
                    let (name, inner) =
                        rest.split_once('/').map_or((rest, String::new()), |(name, inner)| (name, format!("/{inner}")));
                    self.definitions.get(name).and_then(|definition| definition.pointer(&inner))
                }
                None => self.schema.pointer(place),
            };
            if let Some(reason) = part.and_then(|part| fails(self.document(part))) {
                return GrammarError::schema(original.clone(), reason);
            }
        }
        GrammarError::schema("#", reason)
    }
}

/// Prepares a schema.
///
/// # Errors
/// The first place with what cannot be held to.
pub(crate) fn prepare(root: &Value) -> Result<Prepared, GrammarError> {
    let mut walk = Walk {
        references: References::of(root)?,
        are_siblings_ignored: has_lonely_references(root),
        places: Vec::new(),
        count: 0,
        values: 0,
        deepest: 0,
        warnings: Vec::new(),
    };
    if root == &Value::Bool(false) {
        return Err(GrammarError::schema("#", "nothing is valid against `false`"));
    }
    let mut schema = walk.schema(root, "#", "", 0)?;
    let mut depth = std::mem::take(&mut walk.deepest);
    let mut places = vec![std::mem::take(&mut walk.places)];
    let mut definitions = Map::new();
    // Whatever is pointed at may point at more.
    while let Some((index, target)) = walk.references.next(definitions.len()) {
        let value = walk.references.target(&target)?;
        let prepared = walk.schema(value, &target, &format!("/$defs/{index}"), 0)?;
        definitions.insert(index.to_string(), prepared);
        places.push(std::mem::take(&mut walk.places));
        depth += 1 + std::mem::take(&mut walk.deepest);
        if depth > DEEPEST_IN_ALL {
            let reason = format!("with all that is pointed at, schemas are nested more than {DEEPEST_IN_ALL} deep");
            return Err(GrammarError::schema(target, reason));
        }
    }
    for (definition, places) in definitions.values().zip(&places[1..]) {
        if is_a_circle(definition, &definitions) {
            let at = places.last().map_or("#", |(at, _)| at);
            return Err(GrammarError::schema(format!("{at}/$ref"), "the reference comes back to itself"));
        }
    }
    let originals = definitions.clone();
    std::iter::once(&mut schema).chain(definitions.values_mut()).for_each(|value| tell_apart(value, &originals));
    let mut warnings = walk.warnings;
    if warnings.len() > MOST_WARNINGS {
        let rest = warnings.split_off(MOST_WARNINGS).len();
        warnings.push(format!("and {rest} more keywords have no effect"));
    }
    Ok(Prepared { schema, definitions, warnings, places })
}

/// Prepares a schema of which only objects are wanted.
///
/// # Errors
/// As [`prepare`]; a schema against which no object is valid by its type.
pub(crate) fn prepare_object(root: &Value) -> Result<Prepared, GrammarError> {
    let mut keywords = match root {
        Value::Object(keywords) => keywords.clone(),
        Value::Bool(true) => Map::new(),
        other => return prepare(other),
    };
    let is_object = |kind: &Value| kind == "object";
    match keywords.get("type") {
        Some(Value::Array(kinds)) if kinds.iter().any(is_object) => {}
        Some(kind) if !is_object(kind) => {
            return Err(GrammarError::schema("#/type", format!("expected \"object\", got {kind}")));
        }
        _ => {}
    }
    keywords.insert("type".to_owned(), Value::from("object"));
    if keywords.contains_key("$ref") {
        // Until draft 7 the type beside it would not count.
        keywords.shift_remove("$schema");
    }
    prepare(&Value::Object(keywords))
}

/// Whether a definition points at another one, and that at another, without an end.
fn is_a_circle(definition: &Value, definitions: &Map<String, Value>) -> bool {
    let follow = |definition: &&Value| definitions.get(definition.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?);
    let chain = std::iter::successors(Some(definition), follow);
    chain.take(definitions.len() + 1).count() > definitions.len()
}

/// Values in a value.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(size).sum(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

/// Whether nothing beside a `$ref` counts: until draft 7.
fn has_lonely_references(root: &Value) -> bool {
    let draft = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
    ["draft-07", "draft-06", "draft-04", "draft-03"].iter().any(|old| draft.contains(old))
}

struct Walk<'a> {
    references: References<'a>,
    are_siblings_ignored: bool,
    /// Of the document that is walked through.
    places: Vec<(String, String)>,
    /// Schemas so far.
    count: usize,
    /// Values of `const` and `enum` so far.
    values: usize,
    /// Deepest nesting in it.
    deepest: usize,
    warnings: Vec<String>,
}

impl<'a> Walk<'a> {
    /// Prepares the schema that stood at the pointer `at` and goes to the pointer `to`.
    fn schema(&mut self, value: &'a Value, at: &str, to: &str, depth: usize) -> Result<Value, GrammarError> {
        let keywords = match value {
            Value::Bool(_) => return Ok(value.clone()),
            Value::Object(keywords) => keywords,
            other => return Err(GrammarError::schema(at, format!("expected a schema, got {}", kind_of(other)))),
        };
        if depth >= DEEPEST {
            return Err(GrammarError::schema(at, format!("schemas are nested more than {DEEPEST} deep")));
        }
        if at.len() > LONGEST_POINTER {
            let start: String = at.chars().take(80).collect();
            return Err(GrammarError::schema(
                start,
                format!("its place takes more than {LONGEST_POINTER} bytes to name"),
            ));
        }
        self.deepest = self.deepest.max(depth);
        self.count += 1;
        if self.count > MOST_SCHEMAS {
            return Err(GrammarError::schema(at, format!("there are more than {MOST_SCHEMAS} schemas")));
        }
        // What is said in one object is read together only where no applicator stands in between.
        let (mut out, mut applied) = (Map::new(), Map::new());
        let reference = keywords.get("$ref");
        if let Some(reference) = reference {
            let name = self.references.name(reference, &format!("{at}/$ref"))?;
            applied.insert("$ref".to_owned(), Value::from(format!("#/$defs/{name}")));
        }
        if reference.is_none() || !self.are_siblings_ignored {
            let mut needed = Vec::new();
            for (key, value) in keywords {
                let place = Place { at: &below(at, key), to: &below(to, key), depth };
                let Some(kept) = self.keyword(keywords, key, value, &place, &mut needed)? else { continue };
                let into = if is_applicator(key) { &mut applied } else { &mut out };
                into.insert(key.clone(), kept);
            }
            add_conditions(&mut applied, needed);
            self.arrays(&mut out, at)?;
            exclusive_bounds(&mut out);
            bound_multiples(&mut out);
            check_fewest_properties(&out, at)?;
        }
        out.append(&mut applied);
        self.places.push((at.to_owned(), to.to_owned()));
        Ok(Value::Object(out))
    }

    fn keyword(
        &mut self,
        beside: &Map<String, Value>,
        key: &str,
        value: &'a Value,
        place: &Place<'_>,
        needed: &mut Vec<Value>,
    ) -> Result<Option<Value>, GrammarError> {
        let kept = match meaning(key) {
            Meaning::Value => match tightened(key, value) {
                Some(bound) => bound,
                None => {
                    self.check_value(key, value, place.at)?;
                    value.clone()
                }
            },
            Meaning::Schema => self.schema(value, place.at, place.to, place.depth + 1)?,
            Meaning::SchemaOrList if value.is_array() => self.list(value, place)?,
            Meaning::SchemaOrList => self.schema(value, place.at, place.to, place.depth + 1)?,
            Meaning::List => self.list(value, place)?,
            Meaning::Map => self.map(value, place)?,
            Meaning::Format => return Ok(self.format(beside, value, place.at, needed)),
            Meaning::Dependencies => {
                self.dependencies(value, place, needed)?;
                return Ok(None);
            }
            Meaning::Annotation => return Ok(None),
            Meaning::Unique if value == &Value::Bool(false) || at_most_one_item(beside) => return Ok(None),
            Meaning::If if !beside.contains_key("then") && !beside.contains_key("else") => return Ok(None),
            Meaning::Unique | Meaning::If | Meaning::Refused => {
                let reason = format!("a text cannot be held to `{key}` while it is written");
                return Err(GrammarError::schema(place.at, reason));
            }
            Meaning::Unknown => {
                self.warnings.push(format!("{}: the keyword has no effect", place.at));
                return Ok(None);
            }
        };
        Ok(Some(kept))
    }

    /// What is left to the automaton of a format; what is said in patterns is needed beside.
    fn format(
        &mut self,
        beside: &Map<String, Value>,
        value: &Value,
        at: &str,
        needed: &mut Vec<Value>,
    ) -> Option<Value> {
        match value.as_str() {
            Some(format) if is_held_format(format) => {
                let patterns = formats::patterns(format);
                let is_left = patterns.is_empty();
                needed.extend(patterns.into_iter().map(|pattern| json!({"pattern": pattern})));
                is_left.then(|| value.clone())
            }
            _ if !may_be_string(beside) => None,
            _ => {
                self.warnings.push(format!("{at}: the format {value} is not known, and not held to"));
                None
            }
        }
    }

    /// Refuses numbers that the automaton would take for others, and more alternatives than it may compare.
    fn check_value(&mut self, key: &str, value: &Value, at: &str) -> Result<(), GrammarError> {
        if let Some(number) = inexact(value) {
            let reason = format!("{number} is beyond {LARGEST_EXACT}, where whole numbers are no longer told apart");
            return Err(GrammarError::schema(at, reason));
        }
        if key == "multipleOf" && value.as_f64().is_some_and(|divisor| divisor.abs() > LARGEST_DIVISOR) {
            return Err(GrammarError::schema(at, format!("expected at most {LARGEST_DIVISOR}, got {value}")));
        }
        if matches!(key, "const" | "enum") {
            self.values += size(value);
            if self.values > MOST_VALUES {
                return Err(GrammarError::schema(
                    at,
                    format!("there are more than {MOST_VALUES} values to choose from"),
                ));
            }
        }
        Ok(())
    }

    /// A list of `items` is what `prefixItems` has become, and `additionalItems` the `items` after it.
    fn arrays(&mut self, out: &mut Map<String, Value>, at: &str) -> Result<(), GrammarError> {
        let others = out.shift_remove("additionalItems");
        if !out.get("items").is_some_and(Value::is_array) {
            if others.is_some() {
                self.warnings.push(format!("{at}/additionalItems: the keyword has no effect: items is no list"));
            }
            return Ok(());
        }
        if out.contains_key("prefixItems") {
            return Err(GrammarError::schema(
                format!("{at}/items"),
                "expected a schema beside prefixItems, got a list",
            ));
        }
        let list = out.shift_remove("items");
        out.extend(list.map(|list| ("prefixItems".to_owned(), list)));
        out.extend(others.map(|others| ("items".to_owned(), others)));
        Ok(())
    }

    fn list(&mut self, value: &'a Value, place: &Place<'_>) -> Result<Value, GrammarError> {
        let Value::Array(schemas) = value else {
            return Err(GrammarError::schema(place.at, format!("expected a list of schemas, got {}", kind_of(value))));
        };
        let one = |(index, schema)| {
            let (at, to) = (format!("{}/{index}", place.at), format!("{}/{index}", place.to));
            self.schema(schema, &at, &to, place.depth + 1)
        };
        schemas.iter().enumerate().map(one).collect::<Result<_, _>>().map(Value::Array)
    }

    fn map(&mut self, value: &'a Value, place: &Place<'_>) -> Result<Value, GrammarError> {
        let Value::Object(schemas) = value else {
            return Err(GrammarError::schema(
                place.at,
                format!("expected an object of schemas, got {}", kind_of(value)),
            ));
        };
        let one = |(name, schema): (&String, &'a Value)| {
            let (at, to) = (below(place.at, name), below(place.to, name));
            Ok((name.clone(), self.schema(schema, &at, &to, place.depth + 1)?))
        };
        schemas.iter().map(one).collect::<Result<_, _>>().map(Value::Object)
    }

    /// `{"a": ["b"]}` and `{"a": {..}}`: without `a`, or with what it needs.
    fn dependencies(
        &mut self,
        value: &'a Value,
        place: &Place<'_>,
        needed: &mut Vec<Value>,
    ) -> Result<(), GrammarError> {
        let Value::Object(dependencies) = value else {
            return Err(GrammarError::schema(place.at, format!("expected an object, got {}", kind_of(value))));
        };
        for (name, needs) in dependencies {
            let with = match needs {
                Value::Array(others) => {
                    let names = std::iter::once(Value::from(name.as_str())).chain(others.iter().cloned());
                    json!({"required": names.collect::<Vec<_>>()})
                }
                schema => {
                    // What it is rewritten to stands elsewhere; its parts are not tried alone.
                    let places = self.places.len();
                    let schema = self.schema(schema, &below(place.at, name), "", place.depth + 1)?;
                    self.places.truncate(places);
                    json!({"allOf": [{"required": [name]}, schema]})
                }
            };
            needed.push(json!({"anyOf": [{"properties": {name: false}}, with]}));
        }
        Ok(())
    }
}

/// Whether a keyword applies schemas or values to the whole, beside what the others say.
fn is_applicator(key: &str) -> bool {
    matches!(key, "const" | "enum" | "allOf" | "anyOf" | "oneOf")
}

/// Until draft 4 a bound was said to be exclusive by true.
fn exclusive_bounds(out: &mut Map<String, Value>) {
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        let Some(is_exclusive) = out.get(exclusive).and_then(Value::as_bool) else { continue };
        out.shift_remove(exclusive);
        if is_exclusive && let Some(value) = out.shift_remove(bound) {
            out.insert(exclusive.to_owned(), value);
        }
    }
}

/// Multiples lie where whole numbers are told apart, unless other bounds are said: the automaton has to see early enough how a
/// numeral becomes one before it is too long. Its states are as many as the divisor has steps; with many, none are added.
fn bound_multiples(out: &mut Map<String, Value>) {
    let is_small = |divisor: f64| (0..=9).any(|digits| is_whole_up_to(divisor * 10_f64.powi(digits), MOST_STEPS));
    if !out.get("multipleOf").and_then(Value::as_f64).is_some_and(is_small) {
        return;
    }
    let largest = LARGEST_EXACT as f64;
    for (bound, exclusive, value) in
        [("minimum", "exclusiveMinimum", -largest), ("maximum", "exclusiveMaximum", largest)]
    {
        if !out.contains_key(bound) && !out.contains_key(exclusive) {
            out.insert(bound.to_owned(), Value::from(value));
        }
    }
}

fn is_whole_up_to(number: f64, most: f64) -> bool {
    number.fract() == 0.0 && number.abs() <= most
}

/// Properties beside the named ones may be written twice, and count once.
fn check_fewest_properties(out: &Map<String, Value>, at: &str) -> Result<(), GrammarError> {
    let fewest = out.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
    let required = out.get("required").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let is_closed =
        out.get("additionalProperties") == Some(&Value::Bool(false)) && !out.contains_key("patternProperties");
    if is_closed || fewest <= required + 1 {
        return Ok(());
    }
    let reason =
        format!("expected at most {}, one more than are required, where others than the named may come", required + 1);
    Err(GrammarError::schema(format!("{at}/minProperties"), reason))
}

/// A bound that no double holds, as the next one that does and lets nothing more through.
fn tightened(key: &str, value: &Value) -> Option<Value> {
    let is_upper = match key {
        "maximum" | "exclusiveMaximum" => true,
        "minimum" | "exclusiveMinimum" => false,
        _ => return None,
    };
    let Value::Number(number) = inexact(value).map(|_| value)? else { return None };
    let exact = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))?;
    let nearest = exact as f64;
    let bound = match (nearest as i128).cmp(&exact) {
        Ordering::Greater if is_upper => nearest.next_down(),
        Ordering::Less if !is_upper => nearest.next_up(),
        _ => nearest,
    };
    Some(Value::from(bound))
}

/// A whole number in a value that a double does not hold.
fn inexact(value: &Value) -> Option<&serde_json::Number> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            magnitude.is_some_and(|magnitude| magnitude > LARGEST_EXACT).then_some(number)
        }
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(members) => members.values().find_map(inexact),
        _ => None,
    }
}

/// Where a keyword stands, where it goes, and how deep.
struct Place<'a> {
    at: &'a str,
    to: &'a str,
    depth: usize,
}

fn add_conditions(out: &mut Map<String, Value>, needed: Vec<Value>) {
    if needed.is_empty() {
        return;
    }
    // Last, so that properties keep the order of `properties`.
    let mut all = match out.remove("allOf") {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    all.extend(needed);
    out.insert("allOf".to_owned(), Value::Array(all));
}

fn may_be_string(keywords: &Map<String, Value>) -> bool {
    match keywords.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => true,
    }
}

fn at_most_one_item(keywords: &Map<String, Value>) -> bool {
    keywords.get("maxItems").and_then(Value::as_u64).is_some_and(|most| most <= 1)
}

/// The pointer of a member (RFC 6901).
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
