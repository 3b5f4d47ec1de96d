//! Tools that a request offers, and which of them are to be called.
//!
//! Both ways to ask for an answer have them, with other objects around. Read next: `chat_completions::request`.

use crate::api::check_tool_count;
use crate::failure::Failure;
use chat::{Tool, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The kinds of tools: functions alone.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolKind {
    Function,
}

/// A function that may be called.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionField {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// A JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<Value>,
    /// Whether arguments are held to the schema also where the model decides to call; where a call is required they always
    /// are.
    #[serde(skip_serializing)]
    pub(super) strict: Option<bool>,
}

/// Whether tools are to be called, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolMode {
    None,
    Auto,
    Required,
}

impl ToolMode {
    /// What it means for these tools.
    pub(super) fn choice(self, tools: &[Tool]) -> Result<ToolChoice, Failure> {
        match self {
            ToolMode::None => Ok(ToolChoice::None),
            ToolMode::Auto => Ok(ToolChoice::Auto),
            ToolMode::Required if tools.is_empty() => {
                Err(Failure::field("tool_choice", "tool_choice: expected required only where there are tools"))
            }
            ToolMode::Required => Ok(ToolChoice::Required),
        }
    }
}

/// The choice of one tool by its name, which stands in this field.
pub(super) fn named_choice(field: &str, name: String, tools: &[Tool]) -> Result<ToolChoice, Failure> {
    if tools.iter().any(|tool| tool.name == name) {
        return Ok(ToolChoice::Named(name));
    }
    let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Failure::field(field, format!("{field}: expected a function of tools ({known}), got {name:?}")))
}

/// The tools of a request, each with the path of its function.
pub(super) fn tools(fields: impl Iterator<Item = (String, FunctionField)>) -> Result<Vec<Tool>, Failure> {
    let mut tools: Vec<Tool> = Vec::new();
    for (path, function) in fields {
        check_tool_count(tools.len() + 1)?;
        if function.name.is_empty() || tools.iter().any(|tool| tool.name == function.name) {
            let field = format!("{path}.name");
            let message = format!("{field}: expected a name of its own, got {:?}", function.name);
            return Err(Failure::field(field, message));
        }
        let (name, strict) = (function.name.clone(), function.strict.unwrap_or(false));
        tools.push(Tool { name, definition: json!({"type": "function", "function": function}), strict });
    }
    Ok(tools)
}
