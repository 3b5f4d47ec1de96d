//! What a task says of itself: in the list of tasks, and in the description of the API, where each task has a path of
//! its own with the schemas of its inputs and outcomes.

use super::PATH;
use super::input::MOST_INPUTS;
use crate::served::{INPUTS, Served};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tasks::Task;
use utoipa::ToSchema;

/// A list of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskList {
    /// Always `list`.
    pub(super) object: &'static str,
    pub(super) data: Vec<TaskObject>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskObject {
    /// The name to ask for it by.
    id: String,
    /// Always `task`.
    object: &'static str,
    /// What kind of task it is: `classify`, `extract`, `summarize`, `answer`, `complete`, `generate`.
    kind: &'static str,
    /// The model that does it.
    model: String,
    /// What the model is told to know or heed.
    instructions: Option<String>,
    /// The fields that an input must have.
    fields: Vec<String>,
    /// Fields that an input may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional_fields: Vec<String>,
    /// The JSON Schema of an input.
    #[schema(value_type = Object)]
    input_schema: Value,
    /// The JSON Schema of an outcome: labels and fields stand there.
    #[schema(value_type = Object)]
    outcome_schema: Value,
}

impl TaskObject {
    pub(super) fn of(served: &Served) -> TaskObject {
        let task = &served.task;
        let owned = |fields: Vec<&str>| fields.into_iter().map(str::to_owned).collect();
        TaskObject {
            id: task.name.clone(),
            object: "task",
            kind: task.kind(),
            model: served.model.clone(),
            instructions: task.instructions.clone(),
            fields: owned(task.fields()),
            optional_fields: owned(task.optional_fields()),
            input_schema: input_schema(task),
            outcome_schema: task.outcome_schema(),
        }
    }
}

/// Values are read as text: what is none, as its JSON.
fn input_schema(task: &Task) -> Value {
    let (needed, optional) = (task.fields(), task.optional_fields());
    let text = json!({
        "type": ["string", "number", "boolean", "object", "array", "null"],
        "description": "a text; null is an empty one, any other value is read as its JSON",
    });
    let properties: Map<String, Value> =
        needed.iter().chain(&optional).map(|field| ((*field).to_owned(), text.clone())).collect();
    json!({"type": "object", "properties": properties, "required": needed, "additionalProperties": false})
}

/// The path of a task, and its operations as OpenAPI has them.
pub(crate) fn described(served: &Served, tag: &str) -> (String, Value) {
    let task = &served.task;
    let name = &task.name;
    let input = input_schema(task);
    let several = json!({
        "type": "object",
        "properties": {INPUTS: {"type": "array", "items": input, "minItems": 1, "maxItems": MOST_INPUTS}},
        "required": [INPUTS],
        "additionalProperties": false,
    });
    let strings = json!({"type": "array", "items": {"type": "string"}});
    let outcome = task.outcome_schema();
    let one = json!({
        "type": "object",
        "properties": {"outcome": outcome, "warnings": strings, "usage": {"type": "object"}},
        "required": ["outcome", "usage"],
    });
    let numbered = json!({
        "type": "object",
        "properties": {
            "index": {"type": "integer"}, "outcome": outcome, "error": {"type": "object"}, "warnings": strings,
        },
        "required": ["index"],
    });
    let all = json!({
        "type": "object",
        "properties": {"data": {"type": "array", "items": numbered}, "usage": {"type": "object"}},
        "required": ["data", "usage"],
    });
    let content = |schema: Value| json!({"application/json": {"schema": schema}});
    let mut operation = json!({
        "tags": [tag],
        "summary": format!("Does the task {name} ({}) with {}", task.kind(), served.model),
        "operationId": format!("post_v1_tasks_{}", identifier(name)),
        "security": [{"key": []}],
        "requestBody": {"required": true, "content": content(json!({"oneOf": [input, several]}))},
        "responses": {
            "200": {"description": "as asked", "content": content(json!({"oneOf": [one, all]}))},
            "default": {"description": "refused, with the reason"},
        },
    });
    if let Some(instructions) = &task.instructions {
        operation["description"] = json!(instructions);
    }
    (PATH.replace("{name}", name), json!({"post": operation}))
}

/// A name as an identifier that no other name has: `_` leads what stands for another character, and for itself.
fn identifier(name: &str) -> String {
    name.replace('_', "__").replace('-', "_dash_").replace('.', "_dot_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_have_one_identifier() {
        let names = ["a-b", "a_b", "a.b", "a_dash_b", "a__b", "a_-b", "ab"];
        let identifiers: std::collections::BTreeSet<String> = names.into_iter().map(identifier).collect();
        assert_eq!(identifiers.len(), names.len(), "{identifiers:?}");
        assert_eq!(identifier("re-ply_2.1"), "re_dash_ply__2_dot_1");
    }
}
