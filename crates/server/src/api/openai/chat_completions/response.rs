//! A chat completion, whole and in chunks.

use crate::admit::random_text;
use crate::answering::Whole;
use crate::api::openai::usage::{UsageObject, finish_reason};
use crate::api::openai::{error, now};
use crate::failure::Failure;
use crate::stream::{Writer, put_event};
use chat::{ChatEvent, TokenLogprob};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What whole and chunks begin with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Head {
    id: String,
    /// `chat.completion`, or `chat.completion.chunk`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    /// What of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Head {
    pub(super) fn new(model: &str, warnings: Vec<String>) -> Head {
        let id = format!("chatcmpl-{}", random_text(24));
        Head { id, object: "chat.completion", created: now(), model: model.to_owned(), warnings }
    }
}

/// An answered conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChatCompletion {
    #[serde(flatten)]
    head: Head,
    choices: Vec<ChoiceObject>,
    usage: UsageObject,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
struct ChoiceObject {
    index: usize,
    message: MessageObject,
    logprobs: Option<LogprobsObject>,
    /// `stop`, `length` or `tool_calls`.
    finish_reason: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct MessageObject {
    role: &'static str,
    /// Null where there are calls alone.
    content: Option<String>,
    /// What the model thought before it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallObject>,
    refusal: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallObject {
    id: String,
    r#type: &'static str,
    function: FunctionObject,
}

#[derive(Debug, Serialize, ToSchema)]
struct FunctionObject {
    name: String,
    /// A JSON object, as text.
    arguments: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct LogprobsObject {
    content: Vec<LogprobObject>,
    refusal: Option<Vec<LogprobObject>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LogprobObject {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    top_logprobs: Vec<TopLogprobObject>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TopLogprobObject {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl LogprobsObject {
    fn of(tokens: Vec<TokenLogprob>) -> LogprobsObject {
        let one = |token: TokenLogprob| LogprobObject {
            token: token.text,
            logprob: token.logprob,
            bytes: token.bytes,
            top_logprobs: token
                .top
                .into_iter()
                .map(|top| TopLogprobObject { token: top.text, logprob: top.logprob, bytes: top.bytes })
                .collect(),
        };
        LogprobsObject { content: tokens.into_iter().map(one).collect(), refusal: None }
    }
}

impl ChatCompletion {
    pub(super) fn of(head: Head, answers: Vec<Whole>, logprobs: bool) -> ChatCompletion {
        let mut usage = UsageObject::default();
        for answer in &answers {
            usage.add(&answer.usage);
        }
        let choice = |(index, answer): (usize, Whole)| ChoiceObject {
            index,
            logprobs: logprobs.then(|| LogprobsObject::of(answer.logprobs)),
            finish_reason: finish_reason(answer.reason),
            message: MessageObject {
                role: "assistant",
                content: (!answer.text.is_empty() || answer.calls.is_empty()).then_some(answer.text),
                reasoning_content: (!answer.thought.is_empty()).then_some(answer.thought),
                tool_calls: answer
                    .calls
                    .into_iter()
                    .map(|call| CallObject {
                        id: call.id,
                        r#type: "function",
                        function: FunctionObject { name: call.name, arguments: call.arguments },
                    })
                    .collect(),
                refusal: None,
            },
        };
        ChatCompletion { head, choices: answers.into_iter().enumerate().map(choice).collect(), usage }
    }
}

/// Writes the chunks of a streamed completion.
pub(super) struct Chunks {
    head: Head,
    choices: usize,
    include_usage: bool,
    logprobs: bool,
    usage: UsageObject,
}

impl Chunks {
    pub(super) fn new(head: Head, choices: usize, include_usage: bool, logprobs: bool) -> Chunks {
        let head = Head { object: "chat.completion.chunk", ..head };
        Chunks { head, choices, include_usage, logprobs, usage: UsageObject::default() }
    }

    fn put(&self, choices: Value, usage: Value, out: &mut String) {
        let mut chunk = serde_json::to_value(&self.head).expect("our own types are always JSON; this is a bug");
        chunk["choices"] = choices;
        if self.include_usage {
            chunk["usage"] = usage;
        }
        put_event(out, None, &chunk);
    }

    fn delta(&self, choice: usize, delta: Value, logprobs: Value, reason: Option<&str>, out: &mut String) {
        let choices = json!([{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]);
        self.put(choices, Value::Null, out);
    }
}

impl Writer for Chunks {
    fn begin(&mut self, _: usize, out: &mut String) {
        for choice in 0..self.choices {
            self.delta(choice, json!({"role": "assistant", "content": ""}), Value::Null, None, out);
        }
        // Told once.
        self.head.warnings.clear();
    }

    fn event(&mut self, choice: usize, event: ChatEvent, out: &mut String) {
        match event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } | ChatEvent::Prompt { .. } => {}
            ChatEvent::Text { text, logprobs, .. } => {
                let logprobs = match self.logprobs {
                    true => json!(LogprobsObject::of(logprobs)),
                    false => Value::Null,
                };
                self.delta(choice, json!({"content": text}), logprobs, None, out);
            }
            ChatEvent::Thought { text, .. } => {
                self.delta(choice, json!({"reasoning_content": text}), Value::Null, None, out);
            }
            ChatEvent::ToolCall { index, id, name, .. } => {
                let function = json!({"name": name, "arguments": ""});
                let call = json!({"index": index, "id": id, "type": "function", "function": function});
                self.delta(choice, json!({"tool_calls": [call]}), Value::Null, None, out);
            }
            ChatEvent::ToolArguments { index, json, .. } => {
                let call = json!({"index": index, "function": {"arguments": json}});
                self.delta(choice, json!({"tool_calls": [call]}), Value::Null, None, out);
            }
            ChatEvent::Finished { reason, usage } => {
                self.usage.add(&usage);
                self.delta(choice, json!({}), Value::Null, Some(finish_reason(Some(reason))), out);
            }
        }
    }

    fn end(&mut self, out: &mut String) {
        if self.include_usage {
            self.put(json!([]), json!(self.usage), out);
        }
        out.push_str("data: [DONE]\n\n");
    }

    fn failure(&mut self, failure: &Failure, out: &mut String) {
        put_event(out, None, &error(failure));
    }
}
