//! The items of a conversation, as messages.
//!
//! What an assistant thought, said and called stands in items one after another; here it is one message.

use crate::failure::Failure;
use crate::shapes::by_shape;
use chat::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A text of the user, or items.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(super) enum InputField {
    Text(String),
    Items(Vec<ItemField>),
}

by_shape!(InputField, "a text or a list of items", text => InputField::Text, list => InputField::Items);

/// An item; which fields it has depends on its type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemField {
    /// `message` where absent.
    r#type: Option<ItemKind>,
    /// Of a message.
    role: Option<ItemRole>,
    /// Of a message, or of a thought.
    content: Option<ItemContent>,
    /// Of a call and of its result: what ties them together.
    call_id: Option<String>,
    /// Of a call: the function.
    name: Option<String>,
    /// Of a call: a JSON object, as text.
    arguments: Option<String>,
    /// Of a result.
    output: Option<ItemContent>,
    /// Of a thought: read where it has no `content`.
    summary: Option<Vec<ItemPart>>,
    /// Names the item in the response that it comes from.
    #[serde(rename = "id")]
    _id: Option<String>,
    /// How the item ended in the response that it comes from.
    #[serde(rename = "status")]
    _status: Option<String>,
    /// Of a thought: only null.
    encrypted_content: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ItemKind {
    Message,
    FunctionCall,
    FunctionCallOutput,
    Reasoning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ItemRole {
    System,
    Developer,
    User,
    Assistant,
}

#[derive(Debug, ToSchema)]
#[serde(untagged)]
enum ItemContent {
    Text(String),
    Parts(Vec<ItemPart>),
}

by_shape!(ItemContent, "a text or a list of parts", text => ItemContent::Text, list => ItemContent::Parts);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ItemPart {
    /// `input_text`, `output_text`, `summary_text` or `reasoning_text`: models here read nothing else.
    r#type: String,
    text: Option<String>,
    #[serde(rename = "annotations")]
    _annotations: Option<Vec<Value>>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<Vec<Value>>,
    #[serde(rename = "image_url")]
    _image_url: Option<Value>,
    #[serde(rename = "detail")]
    _detail: Option<Value>,
    #[serde(rename = "file_id")]
    _file_id: Option<Value>,
    #[serde(rename = "file_data")]
    _file_data: Option<Value>,
    #[serde(rename = "file_url")]
    _file_url: Option<Value>,
    #[serde(rename = "filename")]
    _filename: Option<Value>,
    #[serde(rename = "refusal")]
    _refusal: Option<Value>,
}

/// The conversation that the items stand for.
pub(super) fn messages(input: InputField) -> Result<Vec<Message>, Failure> {
    let items = match input {
        InputField::Text(text) => return Ok(vec![Message::new(Role::User, text)]),
        InputField::Items(items) => items,
    };
    if items.is_empty() {
        return Err(Failure::field("input", "input: expected at least one item, got none"));
    }
    let mut messages: Vec<Message> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let at = format!("input[{index}]");
        item.check(&at)?;
        match item.kind() {
            ItemKind::Message => message(&at, item, &mut messages)?,
            ItemKind::Reasoning => thought(&at, item, &mut messages)?,
            ItemKind::FunctionCall => call(&at, item, &mut messages)?,
            ItemKind::FunctionCallOutput => {
                let mut result = Message::new(Role::Tool, text(&format!("{at}.output"), item.output)?);
                result.tool_call_id = Some(required(&at, "call_id", item.call_id)?);
                messages.push(result);
            }
        }
    }
    Ok(messages)
}

impl ItemField {
    fn kind(&self) -> ItemKind {
        self.r#type.unwrap_or(ItemKind::Message)
    }

    /// Refuses fields that belong to items of other types.
    fn check(&self, at: &str) -> Result<(), Failure> {
        use ItemKind::{FunctionCall, FunctionCallOutput, Reasoning};
        let fields: [(&str, bool, &[ItemKind]); 8] = [
            ("role", self.role.is_some(), &[ItemKind::Message]),
            ("content", self.content.is_some(), &[ItemKind::Message, Reasoning]),
            ("call_id", self.call_id.is_some(), &[FunctionCall, FunctionCallOutput]),
            ("name", self.name.is_some(), &[FunctionCall]),
            ("arguments", self.arguments.is_some(), &[FunctionCall]),
            ("output", self.output.is_some(), &[FunctionCallOutput]),
            ("summary", self.summary.is_some(), &[Reasoning]),
            ("encrypted_content", self.encrypted_content.is_some(), &[]),
        ];
        let kind = self.kind();
        match fields.iter().find(|(_, is_set, kinds)| *is_set && !kinds.contains(&kind)) {
            Some((field, ..)) => {
                let path = format!("{at}.{field}");
                Err(Failure::field(path.clone(), format!("{path}: not a field of an item of the type {}", word(kind))))
            }
            None => Ok(()),
        }
    }
}

/// The word of a type in the reference.
fn word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Message => "message",
        ItemKind::FunctionCall => "function_call",
        ItemKind::FunctionCallOutput => "function_call_output",
        ItemKind::Reasoning => "reasoning",
    }
}

fn required<T>(at: &str, field: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| {
        let path = format!("{at}.{field}");
        Failure::field(path.clone(), format!("{path}: expected, got none"))
    })
}

fn text(at: &str, content: Option<ItemContent>) -> Result<String, Failure> {
    match content {
        None => Err(Failure::field(at, format!("{at}: expected a text, got none"))),
        Some(ItemContent::Text(text)) => Ok(text),
        Some(ItemContent::Parts(parts)) => joined(at, parts),
    }
}

fn joined(at: &str, parts: Vec<ItemPart>) -> Result<String, Failure> {
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let path = format!("{at}[{index}]");
        let is_text =
            matches!(part.r#type.as_str(), "input_text" | "output_text" | "summary_text" | "reasoning_text" | "text");
        match part.text {
            Some(text) if is_text => whole.push_str(&text),
            None if is_text => {
                return Err(Failure::field(path.clone(), format!("{path}.text: expected a text, got none")));
            }
            _ => {
                let kind = part.r#type;
                let message = format!("{path}.type: expected a text, got {kind:?}: models here read text alone");
                return Err(Failure::field(path, message));
            }
        }
    }
    Ok(whole)
}

/// The assistant's message that an item of its turn belongs to. `is_open`: whether the last message can take it.
fn turn(messages: &mut Vec<Message>, is_open: impl FnOnce(&Message) -> bool) -> &mut Message {
    let goes_on = messages.last().is_some_and(|last| last.role == Role::Assistant && is_open(last));
    if !goes_on {
        messages.push(Message::new(Role::Assistant, ""));
    }
    let last = messages.len() - 1;
    &mut messages[last]
}

fn message(at: &str, item: ItemField, messages: &mut Vec<Message>) -> Result<(), Failure> {
    let said = text(&format!("{at}.content"), item.content)?;
    let role = match required(at, "role", item.role)? {
        ItemRole::System | ItemRole::Developer => Role::System,
        ItemRole::User => Role::User,
        ItemRole::Assistant => {
            // A thought before it is of the same turn; what was said or called before is not.
            let own = turn(messages, |last| last.content.is_empty() && last.tool_calls.is_empty());
            own.content = said;
            return Ok(());
        }
    };
    messages.push(Message::new(role, said));
    Ok(())
}

fn thought(at: &str, item: ItemField, messages: &mut Vec<Message>) -> Result<(), Failure> {
    let thought = match item.content {
        Some(content) => text(&format!("{at}.content"), Some(content))?,
        None => joined(&format!("{at}.summary"), item.summary.unwrap_or_default())?,
    };
    if !thought.is_empty() {
        turn(messages, |_| false).thought = Some(thought);
    }
    Ok(())
}

fn call(at: &str, item: ItemField, messages: &mut Vec<Message>) -> Result<(), Failure> {
    let path = format!("{at}.arguments");
    let arguments = required(at, "arguments", item.arguments)?;
    let arguments = serde_json::from_str(&arguments).map_err(|error| {
        Failure::field(path.clone(), format!("{path}: expected the text of a JSON object: {error}"))
    })?;
    let call =
        ToolCall { id: required(at, "call_id", item.call_id)?, name: required(at, "name", item.name)?, arguments };
    turn(messages, |_| true).tool_calls.push(call);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use serde_json::json;

    fn read(items: &Value) -> Result<Vec<Message>, String> {
        let input: InputField = parse(items.to_string().as_bytes()).map_err(|failure| failure.message)?;
        messages(input).map_err(|failure| failure.message)
    }

    #[test]
    fn a_turn_of_many_items_is_one_message() {
        let conversation = read(&json!([
            {"role": "developer", "content": "be brief"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "look"}]},
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{\"city\":\"Bern\"}", "id": "fc_1", "status": "completed"},
            {"type": "function_call", "call_id": "c2", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sun"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "sunny", "annotations": [], "logprobs": []}]},
        ]))
        .unwrap();
        let roles: Vec<Role> = conversation.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant]);
        assert_eq!(conversation[2].thought.as_deref(), Some("look"));
        assert_eq!(conversation[2].tool_calls.len(), 2);
        assert_eq!(conversation[2].tool_calls[0].arguments["city"], "Bern");
        assert_eq!(conversation[3].tool_call_id.as_deref(), Some("c1"));
        assert_eq!(conversation[4].content, "sunny");
    }

    #[test]
    fn what_does_not_belong_is_named() {
        let refused = |items: Value| read(&items).unwrap_err();
        assert_eq!(refused(json!([])), "input: expected at least one item, got none");
        assert_eq!(refused(json!([{"role": "user"}])), "input[0].content: expected a text, got none");
        assert_eq!(
            refused(json!([{"type": "function_call", "call_id": "c", "name": "w", "arguments": "{", }])),
            "input[0].arguments: expected the text of a JSON object: EOF while parsing an object at line 1 column 1"
        );
        assert_eq!(
            refused(json!([{"role": "user", "content": "x", "output": "y"}])),
            "input[0].output: not a field of an item of the type message"
        );
        assert_eq!(
            refused(json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}])),
            "input[0].content[0].type: expected a text, got \"input_image\": models here read text alone"
        );
        assert!(
            refused(json!([{"type": "web_search_call"}])).starts_with("[0].type: unknown variant `web_search_call`")
        );
        assert!(refused(json!([{"role": "user", "content": 7}])).contains("expected a text or a list of parts"));
    }
}
