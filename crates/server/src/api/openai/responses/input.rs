//! The items of a conversation, as messages.
//!
//! What an assistant thought, said and called stands in items one after another; here it is one message.

use crate::api::others::refuse_others;
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
    /// Of a message: only null.
    phase: Option<Value>,
    /// Of a call: only null.
    caller: Option<Value>,
    /// Of a call: only null.
    namespace: Option<Value>,
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
    /// Of `output_text`: clients send back what they were sent.
    annotations: Option<Vec<Value>>,
    /// Of `output_text`, as `annotations`.
    logprobs: Option<Vec<Value>>,
    image_url: Option<Value>,
    detail: Option<Value>,
    file_id: Option<Value>,
    file_data: Option<Value>,
    file_url: Option<Value>,
    filename: Option<Value>,
    refusal: Option<Value>,
}

impl ItemPart {
    /// Its text, if it is a text and has no field of another kind. `at`: where it stands.
    fn into_text(self, at: &str) -> Result<String, Failure> {
        let kind = self.r#type.as_str();
        if !matches!(kind, "input_text" | "output_text" | "summary_text" | "reasoning_text" | "text") {
            let message = format!("{at}.type: expected a text, got {kind:?}: models here read text alone");
            return Err(Failure::field(at, message));
        }
        let is_output = kind == "output_text";
        let others = [
            ("annotations", self.annotations.is_some() && !is_output),
            ("logprobs", self.logprobs.is_some() && !is_output),
            ("image_url", self.image_url.is_some()),
            ("detail", self.detail.is_some()),
            ("file_id", self.file_id.is_some()),
            ("file_data", self.file_data.is_some()),
            ("file_url", self.file_url.is_some()),
            ("filename", self.filename.is_some()),
            ("refusal", self.refusal.is_some()),
        ];
        refuse_others(at, format_args!("a part of the type {kind}"), &others)?;
        self.text.ok_or_else(|| Failure::field(at, format!("{at}.text: expected a text, got none")))
    }
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
        let fields: [(&str, bool, &[ItemKind]); 11] = [
            ("role", self.role.is_some(), &[ItemKind::Message]),
            ("content", self.content.is_some(), &[ItemKind::Message, Reasoning]),
            ("call_id", self.call_id.is_some(), &[FunctionCall, FunctionCallOutput]),
            ("name", self.name.is_some(), &[FunctionCall]),
            ("arguments", self.arguments.is_some(), &[FunctionCall]),
            ("output", self.output.is_some(), &[FunctionCallOutput]),
            ("summary", self.summary.is_some(), &[Reasoning]),
            ("encrypted_content", self.encrypted_content.is_some(), &[]),
            ("phase", self.phase.is_some(), &[]),
            ("caller", self.caller.is_some(), &[]),
            ("namespace", self.namespace.is_some(), &[]),
        ];
        let kind = self.kind();
        let others = fields.map(|(field, is_sent, kinds)| (field, is_sent && !kinds.contains(&kind)));
        refuse_others(at, format_args!("an item of the type {}", word(kind)), &others)
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
        whole.push_str(&part.into_text(&format!("{at}[{index}]"))?);
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
    let summary = joined(&format!("{at}.summary"), item.summary.unwrap_or_default())?;
    let thought = match item.content {
        Some(content) => text(&format!("{at}.content"), Some(content))?,
        None => summary,
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
    fn a_field_of_another_kind_beside_text_is_refused_and_not_passed_over() {
        let refused = |part: Value| read(&json!([{"role": "user", "content": [part]}])).unwrap_err();
        for field in ["image_url", "detail", "file_id", "file_data", "file_url", "filename", "refusal"] {
            let mut part = json!({"type": "input_text", "text": "a"});
            part[field] = json!("x");
            let expected = format!("input[0].content[0].{field}: expected none in a part of the type input_text");
            assert_eq!(refused(part), expected);
        }
        for field in ["annotations", "logprobs"] {
            let mut part = json!({"type": "input_text", "text": "a"});
            part[field] = json!([]);
            let expected = format!("input[0].content[0].{field}: expected none in a part of the type input_text");
            assert_eq!(refused(part), expected);
        }
        let unknown = refused(json!({"type": "input_text", "text": "a", "foo": 1}));
        assert!(unknown.starts_with("[0].content[0].foo: unknown field"), "{unknown}");
        let thought = json!([{
            "type": "reasoning", "content": "b", "summary": [{"type": "summary_text", "text": "a", "file_id": "x"}],
        }]);
        let expected = "input[0].summary[0].file_id: expected none in a part of the type summary_text";
        assert_eq!(read(&thought).unwrap_err(), expected);
    }

    #[test]
    fn what_clients_send_back_as_null_is_taken() {
        let items = json!([
            {"role": "user", "content": "weather?"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "phase": null, "content": [
                {"type": "output_text", "text": "a", "annotations": [], "logprobs": null, "refusal": null},
            ]},
            {"type": "function_call", "call_id": "c", "name": "w", "arguments": "{}", "caller": null, "namespace": null},
        ]);
        assert_eq!(read(&items).unwrap().len(), 2);
        let phase = json!([{"role": "assistant", "content": "a", "phase": "commentary"}]);
        assert_eq!(read(&phase).unwrap_err(), "input[0].phase: expected none in an item of the type message");
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
            "input[0].output: expected none in an item of the type message"
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
