//! The messages of a conversation, as the reference has them.
//!
//! Calls and their results carry no ids in most of them: calls are numbered, and a result belongs to the oldest call of
//! its tool that has none yet.

use super::ToolKind;
use crate::failure::Failure;
use chat::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use utoipa::ToSchema;

/// One message.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MessageField)]
#[serde(deny_unknown_fields)]
pub(in crate::api::ollama) struct MessageField {
    role: RoleField,
    content: Option<String>,
    /// The thought that led to an assistant's message.
    thinking: Option<String>,
    /// Only empty: models here read text alone.
    images: Option<Vec<Value>>,
    /// Calls of an assistant's message.
    tool_calls: Option<Vec<CallField>>,
    /// The tool that a tool's message is the result of.
    #[serde(alias = "name")]
    tool_name: Option<String>,
    /// The call that a tool's message is the result of.
    tool_call_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "lowercase")]
enum RoleField {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CallField)]
#[serde(deny_unknown_fields)]
struct CallField {
    id: Option<String>,
    /// `function`, also where it is left out.
    #[serde(rename = "type")]
    _type: Option<ToolKind>,
    function: CalledField,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CalledField)]
#[serde(deny_unknown_fields)]
struct CalledField {
    #[serde(rename = "index")]
    _index: Option<usize>,
    #[serde(rename = "description")]
    _description: Option<String>,
    name: String,
    /// An object.
    arguments: Map<String, Value>,
}

/// A call that has no result yet.
struct Open {
    id: String,
    tool: String,
}

/// The conversation that the fields stand for.
pub(super) fn messages(fields: Vec<MessageField>) -> Result<Vec<Message>, Failure> {
    let messages = opening(fields)?;
    if let Some(last) = messages.len().checked_sub(1).filter(|last| messages[*last].role == Role::Assistant) {
        let path = format!("messages[{last}].role");
        let message = format!("{path}: expected the last message to be no assistant's: it would be gone on with");
        return Err(Failure::field(path, message));
    }
    Ok(messages)
}

/// The messages that the fields stand for, whoever speaks last: what stands before every conversation.
pub(in crate::api::ollama) fn opening(fields: Vec<MessageField>) -> Result<Vec<Message>, Failure> {
    let mut reading = Reading { calls: 0, open: VecDeque::new() };
    let message = |(index, field)| reading.message(&format!("messages[{index}]"), field);
    fields.into_iter().enumerate().map(message).collect()
}

/// What is known of the messages so far.
struct Reading {
    /// How many calls there were.
    calls: usize,
    open: VecDeque<Open>,
}

impl Reading {
    fn message(&mut self, at: &str, field: MessageField) -> Result<Message, Failure> {
        let role = match field.role {
            RoleField::System => Role::System,
            RoleField::User => Role::User,
            RoleField::Assistant => Role::Assistant,
            RoleField::Tool => Role::Tool,
        };
        let refuse = |name: &str, expected: &str| {
            let path = format!("{at}.{name}");
            Err(Failure::field(path.clone(), format!("{path}: expected {expected}")))
        };
        if field.images.is_some_and(|images| !images.is_empty()) {
            return refuse("images", "none: models here read text alone");
        }
        let calls = field.tool_calls.unwrap_or_default();
        let thought = field.thinking.filter(|thought| !thought.is_empty());
        let tool = field.tool_name.filter(|tool| !tool.is_empty());
        let id = field.tool_call_id.filter(|id| !id.is_empty());
        if role != Role::Assistant {
            if !calls.is_empty() {
                return refuse("tool_calls", "only in a message of the role assistant");
            }
            if thought.is_some() {
                return refuse("thinking", "only in a message of the role assistant");
            }
        }
        if role != Role::Tool {
            if tool.is_some() {
                return refuse("tool_name", "only in a message of the role tool");
            }
            if id.is_some() {
                return refuse("tool_call_id", "only in a message of the role tool");
            }
        }
        let mut message = match field.content {
            Some(content) => Message::new(role, content),
            None if role == Role::Assistant => Message::new(role, ""),
            None => return refuse("content", "a text, got none"),
        };
        message.thought = thought;
        message.tool_calls = calls.into_iter().map(|call| self.call(call)).collect();
        if role == Role::Tool {
            self.result(&mut message, tool, id);
        }
        Ok(message)
    }

    fn call(&mut self, field: CallField) -> ToolCall {
        // Nine letters and digits: some templates take no other ids.
        let id = field.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call{:05}", self.calls));
        self.calls += 1;
        self.open.push_back(Open { id: id.clone(), tool: field.function.name.clone() });
        ToolCall { id, name: field.function.name, arguments: field.function.arguments }
    }

    /// Ties a result to its call, where there is one.
    fn result(&mut self, message: &mut Message, tool: Option<String>, id: Option<String>) {
        let is_its = |open: &Open| match (&id, &tool) {
            (Some(id), _) => open.id == *id,
            (None, Some(tool)) => open.tool == *tool,
            (None, None) => true,
        };
        let open = self.open.iter().position(is_its).and_then(|at| self.open.remove(at));
        let (open_id, open_tool) = open.map(|open| (open.id, open.tool)).unzip();
        message.tool_call_id = id.or(open_id);
        if let Some(tool) = tool.or(open_tool) {
            message.extra.insert("name".to_owned(), Value::String(tool));
        }
    }
}
