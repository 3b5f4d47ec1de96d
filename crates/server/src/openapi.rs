//! The description of the API for programs (OpenAPI 3.1), made from the table of endpoints and the types that they read and
//! write.
//!
//! Read next: `api`, the table.

use crate::admit::may_infer;
use crate::api::own::{self, tasks::schema::described};
use crate::api::{DIALECTS, DialectRow, Endpoint, Scope};
use crate::app::App;
use crate::served::Tasks;
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The schema of a type, with those that it refers to.
pub(crate) type SchemaOf = fn(&mut Vec<(String, RefOr<Schema>)>) -> (String, RefOr<Schema>);

/// The schema of `T`.
pub(crate) fn schema_of<T: ToSchema + PartialSchema>(
    others: &mut Vec<(String, RefOr<Schema>)>,
) -> (String, RefOr<Schema>) {
    T::schemas(others);
    (T::name().into_owned(), T::schema())
}

/// The dialects that programs speak; pages are for people.
fn documented() -> impl Iterator<Item = &'static DialectRow> {
    DIALECTS.iter().copied().filter(|dialect| dialect.name != crate::pages::DIALECT.name)
}

/// The tasks, for those who may ask them: what they are called and told is nobody else's business.
pub(crate) fn shown_tasks<'a>(app: &'a App, headers: &HeaderMap) -> Option<&'a Tasks> {
    may_infer(app, headers).then_some(&app.tasks)
}

/// The whole document; each task has a path of its own.
pub(crate) fn document(tasks: Option<&Tasks>) -> Value {
    let mut schemas = Map::new();
    let mut paths: Map<String, Value> = Map::new();
    for dialect in documented() {
        // Dialects share words (usage, message) for different things: each has a name space of its own.
        let mut own = Map::new();
        let mut operations = Vec::new();
        for endpoint in dialect.endpoints {
            operations.push((endpoint, operation(dialect.name, endpoint, &mut own)));
        }
        for (endpoint, mut operation) in operations {
            qualify(dialect.name, &mut operation);
            let path = paths.entry(documented_path(endpoint.path)).or_insert_with(|| json!({}));
            path[endpoint.method.as_str().to_ascii_lowercase()] = operation;
        }
        for (name, mut schema) in own {
            qualify(dialect.name, &mut schema);
            schemas.insert(format!("{}.{name}", dialect.name), schema);
        }
    }
    paths.extend(tasks.into_iter().flat_map(Tasks::iter).map(|served| described(served, own::DIALECT.name)));
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Bantam", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// A path as OpenAPI writes it: it has no sign for a parameter that may hold slashes.
fn documented_path(path: &str) -> String {
    path.replace("{*", "{")
}

/// Puts the dialect's name into every reference.
fn qualify(dialect: &str, value: &mut Value) {
    const PREFIX: &str = "#/components/schemas/";
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| qualify(dialect, value)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().and_then(|reference| reference.strip_prefix(PREFIX)).filter(|_| name == "$ref") {
                    Some(schema) => *value = json!(format!("{PREFIX}{dialect}.{schema}")),
                    None => qualify(dialect, value),
                }
            }
        }
        _ => {}
    }
}

fn operation(dialect: &str, endpoint: &Endpoint, schemas: &mut Map<String, Value>) -> Value {
    let mut operation = json!({
        "tags": [dialect],
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "responses": {"200": {"description": "as asked"}, "default": {"description": "refused, with the reason"}},
    });
    if endpoint.scope != Scope::Open {
        operation["security"] = json!([{"key": []}]);
    }
    let parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(request) = endpoint.request {
        let content = json!({"application/json": {"schema": reference(request, schemas)}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    if let Some(response) = endpoint.response {
        operation["responses"]["200"]["content"] =
            json!({"application/json": {"schema": reference(response, schemas)}});
    }
    operation
}

/// Puts a schema, and those that it refers to, among all; returns the reference to it.
fn reference(schema: SchemaOf, schemas: &mut Map<String, Value>) -> Value {
    let mut all = Vec::new();
    let (name, own) = schema(&mut all);
    all.push((name.clone(), own));
    for (name, schema) in all {
        let value = serde_json::to_value(schema).expect("a schema is always JSON; this is a bug");
        schemas.insert(name, value);
    }
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}_{}", endpoint.method.as_str().to_ascii_lowercase(), words.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references<'a>(value: &'a Value, out: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| references(value, out)),
            Value::Object(fields) => {
                out.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, out));
            }
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves_and_every_endpoint_is_there() {
        let document = document(None);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for endpoint in documented().flat_map(|dialect| dialect.endpoints) {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][documented_path(endpoint.path)][&method];
            assert_eq!(operation["summary"], endpoint.summary, "{method} {}", endpoint.path);
        }
    }

    #[test]
    fn within_a_dialect_a_name_has_one_schema() {
        for dialect in DIALECTS {
            let mut known: Map<String, Value> = Map::new();
            for schema in dialect.endpoints.iter().flat_map(|one| [one.request, one.response]).flatten() {
                let mut all = Vec::new();
                let own = schema(&mut all);
                for (name, schema) in all.into_iter().chain([own]) {
                    let schema = serde_json::to_value(schema).unwrap();
                    let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
                    assert_eq!(*before, schema, "{}: two schemas are called {name}", dialect.name);
                }
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut known = BTreeSet::new();
        for endpoint in DIALECTS.iter().flat_map(|dialect| dialect.endpoints) {
            assert!(known.insert(operation_id(endpoint)), "{}", endpoint.path);
        }
    }
}
