//! Tools, and whether they are to be called.

use super::conversation::Warnings;
use crate::api::check_tool_count;
use crate::api::ignored::Ignored;
use crate::failure::Failure;
use chat::{Tool, ToolChoice};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A tool that may be called.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Tool)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolField {
    /// `custom`, also where it is left out: tools run where the client runs.
    r#type: Option<String>,
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    input_schema: Option<Map<String, Value>>,
    /// Whether input is held to the schema also where the model decides to call; where a call is required it always is.
    strict: Option<bool>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    cache_control: Ignored,
    /// No effect: pieces are always sent as they come.
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    eager_input_streaming: Ignored,
}

/// Whether tools are to be called.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ToolChoice)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolChoiceField {
    r#type: ChoiceKind,
    /// The tool, where `type` is `tool`.
    name: Option<String>,
    /// Whether an answer calls one tool at most.
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ToolChoiceKind)]
#[serde(rename_all = "lowercase")]
enum ChoiceKind {
    Auto,
    Any,
    Tool,
    None,
}

pub(super) fn tools(fields: Vec<ToolField>, warnings: &mut Warnings) -> Result<Vec<Tool>, Failure> {
    check_tool_count(fields.len())?;
    let mut tools: Vec<Tool> = Vec::with_capacity(fields.len());
    for (index, field) in fields.into_iter().enumerate() {
        let refuse = |name: &str, text: String| {
            let path = format!("tools[{index}].{name}");
            Err(Failure::field(path.clone(), format!("{path}: {text}")))
        };
        if let Some(kind) = field.r#type.filter(|kind| kind != "custom") {
            return refuse("type", format!("expected custom, got {kind:?}: tools run where the client runs"));
        }
        if field.name.is_empty() || tools.iter().any(|tool| tool.name == field.name) {
            return refuse("name", format!("expected a name of its own, got {:?}", field.name));
        }
        let Some(schema) = field.input_schema else {
            return refuse("input_schema", "expected a JSON Schema, got none".to_owned());
        };
        warnings.of("cache_control", &field.cache_control);
        warnings.of("eager_input_streaming", &field.eager_input_streaming);
        let mut function = json!({"name": field.name});
        if let Some(description) = field.description {
            function["description"] = Value::String(description);
        }
        function["parameters"] = Value::Object(schema);
        let definition = json!({"type": "function", "function": function});
        tools.push(Tool { name: field.name, definition, strict: field.strict.unwrap_or(false) });
    }
    Ok(tools)
}

/// The choice, and whether an answer calls one tool at most.
pub(super) fn tool_choice(field: Option<ToolChoiceField>) -> Result<(ToolChoice, bool), Failure> {
    let Some(field) = field else { return Ok((ToolChoice::Auto, false)) };
    let one = field.disable_parallel_tool_use.unwrap_or(false);
    if one && field.r#type == ChoiceKind::None {
        let path = "tool_choice.disable_parallel_tool_use";
        return Err(Failure::field(path, format!("{path}: expected none where the type is none")));
    }
    let choice = match (field.r#type, field.name) {
        (ChoiceKind::Tool, Some(name)) => ToolChoice::Named(name),
        (ChoiceKind::Tool, None) => {
            return Err(Failure::field("tool_choice.name", "tool_choice.name: expected the name of a tool, got none"));
        }
        (_, Some(_)) => {
            let message = "tool_choice.name: expected only where the type is tool";
            return Err(Failure::field("tool_choice.name", message));
        }
        (ChoiceKind::Auto, None) => ToolChoice::Auto,
        (ChoiceKind::Any, None) => ToolChoice::Required,
        (ChoiceKind::None, None) => ToolChoice::None,
    };
    Ok((choice, one))
}
