//! What is asked of a model: a conversation, or plain text to go on from, and how to generate.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Text only; it can never become a special token.
    pub content: String,
    /// The thought that led to an assistant's message, for templates that want it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thought: Option<String>,
    /// Tools that an assistant's message calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's message is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Fields that only some templates read (`name`), as they came.
    #[serde(flatten, skip_serializing_if = "serde_json::Map::is_empty")]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Message {
    /// A plain message.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message {
            role,
            content: content.into(),
            thought: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            extra: serde_json::Map::new(),
        }
    }
}

/// A call of a tool, as an assistant's message holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call within its conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with: a JSON object.
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The whole definition as templates read it: OpenAI's JSON shape, `{"type": "function", "function": {"name", ..}}`.
    pub definition: serde_json::Value,
    /// Whether what it is called with is valid against its `parameters` also where the model decides to call it. Where calls
    /// are required it always is.
    pub strict: bool,
}

/// What of a tool's `parameters` has no effect where its calls are held to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolWarning {
    /// The tool's place among those of the request.
    pub tool: usize,
    /// The place within the schema, as a URI fragment (`#/properties/a`), and what is there.
    pub text: String,
}

/// Whether tools are to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// None: the tools are left out of the prompt.
    None,
    /// At least one of them.
    Required,
    /// The one of this name.
    Named(String),
}

/// How to choose tokens and when to end. `None` means: the model's own recommendation
/// (its generation config), else the default named with each field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationOptions {
    /// Most tokens to generate; default: what the context leaves.
    pub max_tokens: Option<usize>,
    /// 0 is greedy; default 0.8, or what the model recommends.
    pub temperature: Option<f32>,
    /// Keep the k most likely tokens; 0 keeps all; default 40.
    pub top_k: Option<usize>,
    /// Keep the smallest set of tokens whose probability reaches this, in (0, 1]; default 0.95.
    pub top_p: Option<f32>,
    /// Keep tokens at least this fraction as likely as the likeliest, in [0, 1); default 0.05.
    pub min_p: Option<f32>,
    /// Divide positive and multiply negative logits of recent tokens by this; 1 is off; default 1.
    pub repeat_penalty: Option<f32>,
    /// Subtract this from the logit of every token that was generated; default 0.
    pub presence_penalty: Option<f32>,
    /// Subtract this for each time that a token was generated; default 0.
    pub frequency_penalty: Option<f32>,
    /// The same seed, request and model give the same answer; default: random, reported.
    pub seed: Option<u64>,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Report log-probabilities of the generated tokens with this many alternatives.
    pub top_logprobs: Option<usize>,
}

/// What an answer must be. A model that cannot hold its answers to it refuses the request.
///
/// An answer that ends for want of tokens is the beginning of what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// A JSON object.
    JsonObject,
    /// JSON that is valid against this JSON Schema.
    JsonSchema(serde_json::Value),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choices(Vec<String>),
    /// Text of this grammar in Lark's notation.
    Lark(String),
    /// Text of this grammar in GBNF.
    Gbnf(String),
}

impl AnswerFormat {
    /// The format of a grammar: GBNF where a rule is defined as that has it, else Lark.
    pub fn of_grammar(grammar: String) -> AnswerFormat {
        let is_rule = |line: &str| {
            let name = line.trim_start().split("::=").next().filter(|name| name.len() < line.trim_start().len());
            name.is_some_and(|name| name.trim_end().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)))
        };
        if grammar.lines().any(is_rule) { AnswerFormat::Gbnf(grammar) } else { AnswerFormat::Lark(grammar) }
    }
}

/// A conversation to answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// Whether they are to be called.
    pub tool_choice: ToolChoice,
    /// Whether an answer calls one tool at most.
    pub one_tool_call: bool,
    /// Whether a thinking model should think; `None` leaves it to the template.
    pub think: Option<bool>,
    /// Most tokens of thought; then the model is made to close it and to answer.
    pub thought_tokens: Option<usize>,
    /// What the answer must be; a thought before it is free.
    pub format: Option<AnswerFormat>,
    /// Further variables for the template.
    pub template_variables: serde_json::Map<String, serde_json::Value>,
    /// How to generate.
    pub options: GenerationOptions,
}

/// What is read without a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text, tokenized with the model's beginning-of-sequence token where it has one; special tokens are plain text.
    Text(String),
    /// Token ids, taken as they are.
    Ids(Vec<u32>),
}

/// Plain text to continue, without a template.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// What to go on from.
    pub prompt: Prompt,
    /// What is to follow the completion, for models that know how to fill in the middle.
    pub suffix: Option<String>,
    /// Report each token of the prompt with its log-probability and so many of the likeliest in its place.
    pub prompt_logprobs: Option<usize>,
    /// What the completion must be.
    pub format: Option<AnswerFormat>,
    /// How to generate. `max_tokens` of 0 only reads the prompt.
    pub options: GenerationOptions,
}

impl CompletionRequest {
    /// A plain one.
    pub fn new(prompt: Prompt, options: GenerationOptions) -> CompletionRequest {
        CompletionRequest { prompt, suffix: None, prompt_logprobs: None, format: None, options }
    }
}
