//! What a conversation may hold: a system text, and messages of text or of blocks.
//!
//! A user's message with results of tools becomes a message of each result, and one of the text around them; the order
//! stays. A block is read with all fields that any kind of block has, so that one field too many is refused by name.

use crate::api::ignored::{Ignored, no_effect};
use crate::api::others::refuse_others;
use crate::api::text_or::TextOr;
use crate::failure::Failure;
use chat::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One message.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MessageField)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageField {
    role: RoleField,
    content: TextOr<BlockField>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "lowercase")]
enum RoleField {
    User,
    Assistant,
}

/// A block of a message: `text`, `tool_use`, `tool_result` or `thinking`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Block)]
#[serde(deny_unknown_fields)]
struct BlockField {
    r#type: String,
    /// Of `text`.
    text: Option<String>,
    /// Of `tool_use`: names the call.
    id: Option<String>,
    /// Of `tool_use`: the tool.
    name: Option<String>,
    /// Of `tool_use`: what it is called with.
    input: Option<Map<String, Value>>,
    /// Of `tool_result`: the call that it is the result of.
    tool_use_id: Option<String>,
    /// Of `tool_result`.
    content: Option<TextOr<TextBlockField>>,
    /// Of `tool_result`: the model is told that the call failed.
    is_error: Option<bool>,
    /// Of `thinking`.
    thinking: Option<String>,
    /// Of `thinking`: clients send it back. Ours are empty, others have no effect.
    signature: Option<String>,
    /// Only null.
    citations: Option<Value>,
    /// Only null.
    caller: Option<Value>,
    /// Only null.
    toolset_name: Option<Value>,
    /// Refused: models here read text alone.
    source: Option<Value>,
    /// Refused.
    data: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    cache_control: Ignored,
}

/// A block of text alone.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TextBlock)]
#[serde(deny_unknown_fields)]
pub(super) struct TextBlockField {
    /// Only `text`: models here read nothing else.
    r#type: String,
    text: Option<String>,
    /// Only null.
    citations: Option<Value>,
    /// Refused: models here read text alone.
    source: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    cache_control: Ignored,
}

/// What of a request had no effect, each named once.
#[derive(Debug, Default)]
pub(super) struct Warnings(pub(super) Vec<String>);

impl Warnings {
    pub(super) fn of(&mut self, name: &str, field: &Ignored) {
        if field.was_sent() {
            self.no_effect(name);
        }
    }

    fn no_effect(&mut self, name: &str) {
        let warning = no_effect(name);
        if !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }
}

/// The conversation that the fields stand for.
pub(super) fn conversation(
    system: Option<TextOr<TextBlockField>>,
    fields: Vec<MessageField>,
    warnings: &mut Warnings,
) -> Result<Vec<Message>, Failure> {
    let mut reading = Reading { messages: Vec::new(), calls: Vec::new(), warnings };
    if let Some(system) = system {
        let text = reading.text("system", system)?;
        if !text.is_empty() {
            reading.messages.push(Message::new(Role::System, text));
        }
    }
    let Some(last) = fields.len().checked_sub(1) else {
        return Err(Failure::field("messages", "messages: expected at least one message, got none"));
    };
    if fields[last].role == RoleField::Assistant {
        let path = format!("messages[{last}].role");
        let message = format!("{path}: expected the last message to be the user's: it would be gone on with");
        return Err(Failure::field(path, message));
    }
    for (index, field) in fields.into_iter().enumerate() {
        reading.message(&format!("messages[{index}]"), field)?;
    }
    Ok(reading.messages)
}

struct Reading<'a> {
    messages: Vec<Message>,
    /// Ids and tools of the calls so far.
    calls: Vec<(String, String)>,
    warnings: &'a mut Warnings,
}

fn refuse<T>(path: String, text: impl std::fmt::Display) -> Result<T, Failure> {
    let message = format!("{path}: {text}");
    Err(Failure::field(path, message))
}

impl Reading<'_> {
    fn message(&mut self, at: &str, field: MessageField) -> Result<(), Failure> {
        let blocks = match (field.role, field.content) {
            (RoleField::User, TextOr::Text(text)) => {
                self.messages.push(Message::new(Role::User, text));
                return Ok(());
            }
            (RoleField::Assistant, TextOr::Text(text)) => {
                self.messages.push(Message::new(Role::Assistant, text));
                return Ok(());
            }
            (_, TextOr::List(blocks)) => blocks,
        };
        if blocks.is_empty() {
            return refuse(format!("{at}.content"), "expected at least one block, got none");
        }
        let at = format!("{at}.content");
        match field.role {
            RoleField::User => self.user(&at, blocks),
            RoleField::Assistant => self.assistant(&at, blocks),
        }
    }

    fn user(&mut self, at: &str, blocks: Vec<BlockField>) -> Result<(), Failure> {
        let mut text: Option<String> = None;
        for (index, block) in blocks.into_iter().enumerate() {
            match self.block(format!("{at}[{index}]"), block, &["text", "tool_result"])? {
                Block::Result(result) => {
                    self.messages.extend(text.take().map(|text| Message::new(Role::User, text)));
                    self.messages.push(result);
                }
                Block::Text(piece) => text.get_or_insert_default().push_str(&piece),
                Block::Thought(_) | Block::Call(_) => {}
            }
        }
        self.messages.extend(text.map(|text| Message::new(Role::User, text)));
        Ok(())
    }

    fn assistant(&mut self, at: &str, blocks: Vec<BlockField>) -> Result<(), Failure> {
        let mut message = Message::new(Role::Assistant, "");
        for (index, block) in blocks.into_iter().enumerate() {
            match self.block(format!("{at}[{index}]"), block, &["text", "thinking", "tool_use"])? {
                Block::Text(piece) => message.content.push_str(&piece),
                Block::Thought(piece) => message.thought.get_or_insert_default().push_str(&piece),
                Block::Call(call) => {
                    self.calls.push((call.id.clone(), call.name.clone()));
                    message.tool_calls.push(call);
                }
                Block::Result(_) => {}
            }
        }
        self.messages.push(message);
        Ok(())
    }

    /// A block, if it is of a kind that its message may hold and has no field of another kind.
    fn block(&mut self, at: String, mut field: BlockField, kinds: &[&str]) -> Result<Block, Failure> {
        self.warnings.of("cache_control", &field.cache_control);
        let kind = std::mem::take(&mut field.r#type);
        if !kinds.contains(&kind.as_str()) {
            let why = match kind.as_str() {
                "image" | "document" => ": models here read text alone",
                _ => "",
            };
            return refuse(format!("{at}.type"), format!("expected {}, got {kind:?}{why}", kinds.join(" or ")));
        }
        let missing = |name: &str| refuse(format!("{at}.{name}"), "expected a value, got none");
        let block = match kind.as_str() {
            "text" => match field.text.take() {
                Some(text) => Block::Text(text),
                None => return missing("text"),
            },
            "thinking" => match field.thinking.take() {
                Some(thinking) => {
                    if field.signature.take().is_some_and(|signature| !signature.is_empty()) {
                        self.warnings.no_effect("signature");
                    }
                    Block::Thought(thinking)
                }
                None => return missing("thinking"),
            },
            "tool_use" => match (field.id.take(), field.name.take(), field.input.take()) {
                (None, ..) => return missing("id"),
                (_, None, _) => return missing("name"),
                (.., None) => return missing("input"),
                (Some(id), Some(name), Some(arguments)) => Block::Call(ToolCall { id, name, arguments }),
            },
            _ => Block::Result(self.result(&at, &mut field)?),
        };
        refuse_others(&at, format_args!("a block of the type {kind}"), &field.left_over())?;
        Ok(block)
    }

    /// The result of a call that came before.
    fn result(&mut self, at: &str, field: &mut BlockField) -> Result<Message, Failure> {
        let path = format!("{at}.tool_use_id");
        let Some(id) = field.tool_use_id.take() else { return refuse(path, "expected a value, got none") };
        let Some((_, tool)) = self.calls.iter().rev().find(|(known, _)| *known == id) else {
            return refuse(path, format!("expected the id of a tool_use block before it, got {id:?}"));
        };
        let tool = tool.clone();
        let mut text = match field.content.take() {
            Some(content) => self.text(&format!("{at}.content"), content)?,
            None => String::new(),
        };
        if field.is_error.take() == Some(true) {
            text.insert_str(0, "Error: ");
        }
        let mut message = Message::new(Role::Tool, text);
        message.tool_call_id = Some(id);
        message.extra.insert("name".to_owned(), Value::String(tool));
        Ok(message)
    }

    /// A text, or blocks of text alone.
    fn text(&mut self, at: &str, content: TextOr<TextBlockField>) -> Result<String, Failure> {
        let blocks = match content {
            TextOr::Text(text) => return Ok(text),
            TextOr::List(blocks) => blocks,
        };
        let mut whole = String::new();
        for (index, block) in blocks.into_iter().enumerate() {
            let at = format!("{at}[{index}]");
            if block.r#type != "text" {
                let text = format!("expected text, got {:?}: models here read text alone", block.r#type);
                return refuse(format!("{at}.type"), text);
            }
            let others = [("citations", block.citations.is_some()), ("source", block.source.is_some())];
            refuse_others(&at, "a block of the type text", &others)?;
            let Some(text) = block.text else { return refuse(format!("{at}.text"), "expected a value, got none") };
            self.warnings.of("cache_control", &block.cache_control);
            whole.push_str(&text);
        }
        Ok(whole)
    }
}

/// What a block stands for.
enum Block {
    Text(String),
    Thought(String),
    Call(ToolCall),
    Result(Message),
}

impl BlockField {
    /// Its fields, and whether each was sent and nobody took it.
    fn left_over(&self) -> [(&'static str, bool); 14] {
        [
            ("text", self.text.is_some()),
            ("id", self.id.is_some()),
            ("name", self.name.is_some()),
            ("input", self.input.is_some()),
            ("tool_use_id", self.tool_use_id.is_some()),
            ("content", self.content.is_some()),
            ("is_error", self.is_error.is_some()),
            ("thinking", self.thinking.is_some()),
            ("signature", self.signature.is_some()),
            ("citations", self.citations.is_some()),
            ("caller", self.caller.is_some()),
            ("toolset_name", self.toolset_name.is_some()),
            ("source", self.source.is_some()),
            ("data", self.data.is_some()),
        ]
    }
}
