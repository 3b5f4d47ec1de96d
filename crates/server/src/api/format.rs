//! What an answer and its calls of tools must be: prepared before it is asked for, so that what cannot be held to is refused
//! by its field, and what has no effect is warned of.
//!
//! Each dialect reads its own fields into a [`chat::AnswerFormat`]. Read next: `openai/format`, `ollama/asked`.

use crate::admit::Context;
use crate::answering::within;
use crate::failure::Failure;
use chat::{AnswerFormat, ChatError, ChatModel, ChatRequest, FREE_CALLS_HINT};

/// What was asked for, and the field that asks it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AskedFormat {
    pub(crate) format: AnswerFormat,
    pub(crate) field: String,
}

/// Has a model get ready for a format; returns what of it has no effect.
pub(crate) async fn prepare(
    context: &Context,
    model: &dyn ChatModel,
    asked: Option<&AskedFormat>,
) -> Result<Vec<String>, Failure> {
    let Some(AskedFormat { format, field }) = asked else { return Ok(Vec::new()) };
    // The place within a schema goes on from the place of the schema.
    let at = |text: &str| if text.starts_with('#') { format!("{field}{text}") } else { format!("{field}: {text}") };
    match within(context, model.prepare_format(format)).await? {
        Ok(warnings) => Ok(warnings.iter().map(|warning| at(warning)).collect()),
        Err(ChatError::InvalidRequest(text)) => Err(Failure::field(field.clone(), at(&text))),
        Err(other) => Err(other.into()),
    }
}

/// Has a model get ready to hold calls to the schemas of their tools, where the request has it so; returns what of them has
/// no effect. `field` is the place of a tool's schema.
pub(crate) async fn prepare_tools(
    context: &Context,
    model: &dyn ChatModel,
    request: &ChatRequest,
    field: impl Fn(usize) -> String,
) -> Result<Vec<String>, Failure> {
    if request.tools.is_empty() {
        return Ok(Vec::new());
    }
    match within(context, model.prepare_tools(request)).await? {
        Ok(warnings) => {
            Ok(warnings.into_iter().map(|warning| format!("{}{}", field(warning.tool), warning.text)).collect())
        }
        Err(ChatError::ToolSchema { tool, reason }) => {
            let field = field(tool);
            let message = format!("{field}{reason}\n{FREE_CALLS_HINT}");
            Err(Failure::field(field, message))
        }
        Err(other) => Err(other.into()),
    }
}
