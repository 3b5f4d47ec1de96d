//! `/docs`: every endpoint with its fields and a line for the shell, from the OpenAPI document.

use super::page;
use crate::api::{Endpoint, Scope};
use crate::app::App;
use crate::openapi::{document, shown_tasks};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use minijinja::context;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) static PAGE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/docs",
    scope: Scope::Open,
    summary: "Every endpoint",
    request: None,
    response: None,
    route: || get(docs),
};

async fn docs(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let document = document(shown_tasks(&app, &headers));
    page("docs.html", context! { groups => templated(groups(&document)) })
}

/// The digest of nothing, which a blob may have.
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Fields that belong into an example although a body may do without: without them little happens.
const TELLING: &[&str] = &["model", "messages", "prompt", "input", "from"];

/// How deep an example goes into a body.
const DEPTH_MAX: usize = 4;

/// The endpoints of a dialect.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    needs_key: bool,
    curl: String,
    fields: Vec<Field>,
}

/// A field of a request's body.
struct Field {
    name: String,
    kind: String,
    is_required: bool,
    meaning: String,
}

/// The endpoints as the template reads them.
fn templated(groups: Vec<Group>) -> Vec<minijinja::Value> {
    let field = |field: Field| {
        let Field { name, kind, is_required, meaning } = field;
        context! { name, kind, is_required, meaning }
    };
    let operation = |operation: Operation| {
        let Operation { id, method, path, summary, needs_key, curl, fields } = operation;
        let fields: Vec<_> = fields.into_iter().map(field).collect();
        context! { id, method, path, summary, needs_key, curl, fields }
    };
    let group = |group: Group| {
        let operations: Vec<_> = group.operations.into_iter().map(operation).collect();
        context! { name => group.name, operations }
    };
    groups.into_iter().map(group).collect()
}

fn groups(document: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let name = operation["tags"][0].as_str().unwrap_or_default();
            let operation = describe(document, path, method, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name: name.to_owned(), operations: vec![operation] }),
            }
        }
    }
    groups
}

fn describe(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let body = (!body.is_null()).then(|| resolve(document, body));
    let needs_key = !operation["security"].is_null();
    let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
    Operation {
        id: text("operationId"),
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: text("summary"),
        needs_key,
        curl: curl(document, path, method, body, needs_key),
        fields: body.map(|body| fields(document, body)).unwrap_or_default(),
    }
}

/// A schema, or the one that it refers to.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| &document["components"]["schemas"][name])
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().into_iter().flatten().any(|required| required == name)
}

fn fields(document: &Value, body: &Value) -> Vec<Field> {
    // Of several bodies that it may have, the first is the plainest.
    let body = body["oneOf"].get(0).unwrap_or(body);
    let properties = body["properties"].as_object().into_iter().flatten();
    let field = |(name, schema): (&String, &Value)| {
        let meaning = schema["description"].as_str().or_else(|| resolve(document, schema)["description"].as_str());
        Field {
            name: name.clone(),
            kind: kind(document, schema),
            is_required: is_required(body, name),
            meaning: meaning.unwrap_or_default().to_owned(),
        }
    };
    properties.map(field).collect()
}

/// What a field holds, in a few words.
fn kind(document: &Value, schema: &Value) -> String {
    let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array());
    if let Some(choices) = choices {
        let kinds: Vec<String> =
            choices.iter().map(|choice| kind(document, choice)).filter(|kind| kind != "null").collect();
        return kinds.join(" or ");
    }
    if schema["$ref"].is_string() {
        let target = resolve(document, schema);
        return if target["$ref"].is_null() { kind(document, target) } else { "object".to_owned() };
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    let own = match &schema["type"] {
        Value::String(own) => own.clone(),
        Value::Array(own) => {
            own.iter().filter_map(Value::as_str).find(|own| *own != "null").unwrap_or("any").to_owned()
        }
        _ => "any".to_owned(),
    };
    if own == "array" { format!("array of {}", kind(document, &schema["items"])) } else { own }
}

/// A line that can be pasted into a shell.
fn curl(document: &Value, path: &str, method: &str, body: Option<&Value>, needs_key: bool) -> String {
    let path = path
        .replace("{id}", "MODEL")
        .replace("{digest}", DIGEST)
        .replace("{name}", "TASK")
        .replace(['{', '}', '*'], "");
    let mut line = "curl".to_owned();
    if method == "head" {
        line.push_str(" -I");
    } else if !matches!((method, body), ("get", _) | ("post", Some(_))) {
        line.push_str(&format!(" -X {}", method.to_ascii_uppercase()));
    }
    line.push_str(&format!(" $BANTAM{path}"));
    if needs_key {
        line.push_str(" \\\n  -H \"authorization: Bearer $BANTAM_API_KEY\"");
    }
    if let Some(body) = body {
        let body = example(document, "", body, 0).to_string();
        line.push_str(&format!(" \\\n  -H 'content-type: application/json' \\\n  -d '{body}'"));
    }
    line
}

/// The least that a field takes.
fn example(document: &Value, name: &str, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    let known = match name {
        "model" | "from" => Some(json!("MODEL")),
        "role" => Some(json!("user")),
        "messages" => Some(json!([{"role": "user", "content": "Hello"}])),
        "max_tokens" => Some(json!(64)),
        _ => None,
    };
    if let Some(known) = known {
        return known;
    }
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema[key].as_array()?.first()) {
        return example(document, name, first, depth + 1);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let own = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match own {
        "string" => json!("Hello"),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([example(document, name, &schema["items"], depth + 1)]),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let is_telling = |name: &String| depth == 0 && TELLING.contains(&name.as_str());
            let least = properties.filter(|(name, _)| is_required(schema, name) || is_telling(name));
            let fields = least.map(|(name, field)| (name.clone(), example(document, name, field, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_there_with_a_line_for_the_shell() {
        let groups = groups(&document(None));
        let operations: Vec<&Operation> = groups.iter().flat_map(|group| &group.operations).collect();
        let chat = operations.iter().find(|operation| operation.path == "/v1/chat/completions").unwrap();
        assert_eq!(
            chat.curl,
            "curl $BANTAM/v1/chat/completions \\\n  -H \"authorization: Bearer $BANTAM_API_KEY\" \\\n  \
             -H 'content-type: application/json' \\\n  \
             -d '{\"model\":\"MODEL\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'"
        );
        assert!(chat.fields.iter().any(|field| field.name == "messages" && field.is_required));
        let one = operations.iter().find(|operation| operation.path.starts_with("/v1/models/")).unwrap();
        assert!(one.curl.starts_with("curl $BANTAM/v1/models/MODEL"), "{}", one.curl);
        assert!(operations.iter().all(|operation| !operation.summary.is_empty() && !operation.id.is_empty()));
        assert!(operations.iter().all(|operation| operation.path != "/"), "pages are not for programs");
    }
}
