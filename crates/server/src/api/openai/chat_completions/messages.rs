//! The messages of a conversation, as the reference has them.

use crate::api::openai::tools::ToolKind;
use crate::api::others::refuse_others;
use crate::failure::Failure;
use crate::shapes::by_shape;
use chat::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageField {
    role: RoleField,
    content: Option<ContentField>,
    /// Who speaks, for templates that read it.
    name: Option<String>,
    /// Calls of an assistant's message.
    tool_calls: Option<Vec<ToolCallField>>,
    /// The call that a tool's message is the result of.
    tool_call_id: Option<String>,
    /// The thought that led to an assistant's message.
    reasoning_content: Option<String>,
    /// Only null: clients send back what they were sent.
    refusal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RoleField {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// Text, or parts of it.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
enum ContentField {
    Text(String),
    Parts(Vec<PartField>),
}

by_shape!(ContentField, "a text or a list of parts", text => ContentField::Text, list => ContentField::Parts);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PartField {
    /// Only `text`: models here read nothing else.
    r#type: String,
    text: Option<String>,
    image_url: Option<Value>,
    input_audio: Option<Value>,
    file: Option<Value>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToolCallField {
    id: String,
    /// `function`, also where it is left out.
    #[serde(rename = "type")]
    _type: Option<ToolKind>,
    function: CalledFunction,
    /// Its place among the calls of a stream: clients send back what they were sent.
    #[serde(rename = "index")]
    _index: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CalledFunction {
    name: String,
    /// A JSON object, as text.
    arguments: String,
}

/// The conversation that the fields stand for.
pub(super) fn messages(fields: Vec<MessageField>) -> Result<Vec<Message>, Failure> {
    if fields.is_empty() {
        return Err(Failure::field("messages", "messages: expected at least one message, got none"));
    }
    fields.into_iter().enumerate().map(|(index, field)| message(&format!("messages[{index}]"), field)).collect()
}

fn message(at: &str, field: MessageField) -> Result<Message, Failure> {
    let role = match field.role {
        RoleField::System | RoleField::Developer => Role::System,
        RoleField::User => Role::User,
        RoleField::Assistant => Role::Assistant,
        RoleField::Tool => Role::Tool,
    };
    let calls = field.tool_calls.unwrap_or_default();
    let only_for = |name: &str, owner: Role| {
        let path = format!("{at}.{name}");
        Failure::field(path.clone(), format!("{path}: expected only in a message of the role {}", word(owner)))
    };
    if !calls.is_empty() && role != Role::Assistant {
        return Err(only_for("tool_calls", Role::Assistant));
    }
    if field.tool_call_id.is_some() && role != Role::Tool {
        return Err(only_for("tool_call_id", Role::Tool));
    }
    if field.reasoning_content.is_some() && role != Role::Assistant {
        return Err(only_for("reasoning_content", Role::Assistant));
    }
    if field.refusal.is_some() {
        let path = format!("{at}.refusal");
        return Err(Failure::field(path.clone(), format!("{path}: expected null")));
    }
    let content = match field.content {
        Some(content) => text(at, content)?,
        None if role == Role::Assistant => String::new(),
        None => {
            let path = format!("{at}.content");
            return Err(Failure::field(path.clone(), format!("{path}: expected a text, got none")));
        }
    };
    let mut message = Message::new(role, content);
    message.thought = field.reasoning_content;
    message.tool_call_id = field.tool_call_id;
    message.tool_calls =
        calls.into_iter().enumerate().map(|(call, field)| tool_call(at, call, field)).collect::<Result<_, _>>()?;
    if let Some(name) = field.name {
        message.extra.insert("name".to_owned(), Value::String(name));
    }
    Ok(message)
}

/// The word of a role in the reference.
fn word(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

fn text(at: &str, content: ContentField) -> Result<String, Failure> {
    let parts = match content {
        ContentField::Text(text) => return Ok(text),
        ContentField::Parts(parts) => parts,
    };
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let path = format!("{at}.content[{index}]");
        if part.r#type != "text" {
            let message = format!("{path}.type: expected text, got {:?}: models here read text alone", part.r#type);
            return Err(Failure::field(path, message));
        }
        let others = [
            ("image_url", part.image_url.is_some()),
            ("input_audio", part.input_audio.is_some()),
            ("file", part.file.is_some()),
        ];
        refuse_others(&path, "a part of the type text", &others)?;
        match part.text {
            Some(text) => whole.push_str(&text),
            None => return Err(Failure::field(path.clone(), format!("{path}.text: expected a text, got none"))),
        }
    }
    Ok(whole)
}

fn tool_call(at: &str, call: usize, field: ToolCallField) -> Result<ToolCall, Failure> {
    let path = format!("{at}.tool_calls[{call}].function.arguments");
    let arguments = serde_json::from_str(&field.function.arguments).map_err(|error| {
        Failure::field(path.clone(), format!("{path}: expected the text of a JSON object: {error}"))
    })?;
    Ok(ToolCall { id: field.id, name: field.function.name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_beside_text_is_refused_and_not_passed_over() {
        let part = json!({"type": "text", "text": "what is this?", "image_url": {"url": "data:,"}});
        let field = serde_json::from_value(json!({"role": "user", "content": [part]})).unwrap();
        let refused = messages(vec![field]).unwrap_err();
        assert_eq!(refused.message, "messages[0].content[0].image_url: expected none in a part of the type text");
    }
}
