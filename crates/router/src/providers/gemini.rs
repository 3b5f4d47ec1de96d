//! Gemini's `generateContent` and `streamGenerateContent`.
//!
//! Source: "Generating content" in the reference of the Gemini API, v1beta. Cached tokens are a part of
//! `promptTokenCount` here; thought is counted apart from the answer and is added.

use super::turns::turns;
use super::{Asked, Outgoing, Reader, Wire, key_header, not_json};
use crate::Key;
use crate::answer::{Answer, Counts};
use crate::failure::{Said, Trouble};
use crate::format::sent;
use chat::{ChatError, ChatRequest, FinishReason, Message, Role, TokenLogprob, ToolChoice};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The protocol.
pub(super) struct Generate;

pub(super) static GENERATE: Generate = Generate;

/// The least thought of models that think, by the beginning of their names: the field and its value. The first that
/// fits counts; others do not think.
const LEAST_THOUGHT: [(&str, &str, &str); 5] = [
    ("gemini-2.5-pro", "thinkingBudget", "128"),
    ("gemini-2.5-flash-image", "", ""),
    ("gemini-2.5-flash", "thinkingBudget", "0"),
    ("gemini-3-pro", "thinkingLevel", "\"low\""),
    ("gemini-3", "thinkingLevel", "\"minimal\""),
];

impl Wire for Generate {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)> {
        key_header("x-goog-api-key", "", key).into_iter().collect()
    }

    fn outgoing(&self, asked: &Asked<'_>) -> Result<Outgoing, ChatError> {
        let model = asked.model.strip_prefix("models/").unwrap_or(asked.model);
        if !model.chars().all(|character| character.is_ascii_alphanumeric() || "-._".contains(character)) {
            return asked.refuse("expected a model's name of letters, digits and -._, got others");
        }
        let sent = sent(asked.name, asked.request.format.as_ref(), false)?;
        let before = |index: usize| &asked.request.messages[..index];
        let (system, turns) = turns(asked, "model", |index, message| parts(asked, index, message, before(index)))?;
        let content = |(role, parts): (&str, Vec<Value>)| json!({"role": role, "parts": parts});
        let contents: Vec<Value> = turns.into_iter().map(content).collect();
        let mut config = options(asked)?;
        if asked.request.format.is_some() {
            config.insert("responseMimeType".to_owned(), "application/json".into());
        }
        config.extend(sent.schema.map(|schema| ("responseJsonSchema".to_owned(), schema)));
        config.extend(thinking(asked, model)?.map(|thinking| ("thinkingConfig".to_owned(), thinking)));
        let mut body = Map::new();
        body.insert("contents".to_owned(), contents.into());
        body.extend(system.map(|text| ("systemInstruction".to_owned(), json!({"parts": [{"text": text}]}))));
        body.insert("generationConfig".to_owned(), config.into());
        tools(asked, &mut body)?;
        let method = if asked.streams { "streamGenerateContent?alt=sse" } else { "generateContent" };
        Ok(Outgoing { path: format!("/models/{model}:{method}"), body: body.into(), held: sent.held })
    }

    fn holds_tools(&self) -> bool {
        false
    }

    fn reader(&self, _: &ChatRequest) -> Box<dyn Reader> {
        Box::new(Candidates { has_called: false })
    }
}

fn options(asked: &Asked<'_>) -> Result<Map<String, Value>, ChatError> {
    let options = &asked.request.options;
    asked.decline_any(&[
        ("min_p", options.min_p.is_some()),
        ("repeat_penalty", options.repeat_penalty.is_some()),
        ("logit_bias", !options.logit_bias.is_empty()),
        ("variables of a chat template", !asked.request.template_variables.is_empty()),
    ])?;
    let mut config = Map::new();
    let numbers = [
        ("temperature", options.temperature),
        ("topP", options.top_p),
        ("presencePenalty", options.presence_penalty),
        ("frequencyPenalty", options.frequency_penalty),
    ];
    for (field, number) in numbers {
        if let Some(number) = number {
            config.insert(field.to_owned(), asked.number(field, number)?);
        }
    }
    let seed = options.seed.map(|seed| match i32::try_from(seed) {
        Ok(seed) => Ok(Value::from(seed)),
        Err(_) => asked.refuse(format_args!("seed: expected at most {}, got {seed}", i32::MAX)),
    });
    let mut insert = |field: &str, value: Option<Value>| config.extend(value.map(|value| (field.to_owned(), value)));
    insert("maxOutputTokens", options.max_tokens.map(Value::from));
    insert("topK", options.top_k.map(Value::from));
    insert("seed", seed.transpose()?);
    insert("stopSequences", (!options.stop.is_empty()).then(|| options.stop.clone().into()));
    // With no alternatives they are a report beside the answer, and only some models tell them.
    let top = options.top_logprobs.filter(|top| *top > 0);
    insert("responseLogprobs", top.map(|_| true.into()));
    insert("logprobs", top.map(Value::from));
    Ok(config)
}

fn thinking(asked: &Asked<'_>, model: &str) -> Result<Option<Value>, ChatError> {
    let request = asked.request;
    match (request.think, request.thought_tokens) {
        (Some(true), None) => Ok(Some(json!({"includeThoughts": true}))),
        (Some(true) | None, Some(budget)) => Ok(Some(json!({"includeThoughts": true, "thinkingBudget": budget}))),
        (Some(false), _) => {
            let least = LEAST_THOUGHT.iter().find(|(beginning, ..)| model.starts_with(beginning));
            let least = least.filter(|(_, field, _)| !field.is_empty());
            let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
            Ok(least.map(|(_, field, text)| Map::from_iter([((*field).to_owned(), value(text))]).into()))
        }
        (None, None) => Ok(None),
    }
}

fn tools(asked: &Asked<'_>, body: &mut Map<String, Value>) -> Result<(), ChatError> {
    let request = asked.request;
    if request.tools.is_empty() || request.tool_choice == ToolChoice::None {
        return Ok(());
    }
    asked.decline_any(&[
        ("calls that are held to the schemas of their tools", request.tools.iter().any(|tool| tool.strict)),
        ("one call of a tool at most", request.one_tool_call),
    ])?;
    let tool = |tool: &chat::Tool| {
        let function = &tool.definition["function"];
        let mut object = json!({"name": tool.name});
        for (field, from) in [("description", "description"), ("parametersJsonSchema", "parameters")] {
            if let Some(value) = function.get(from) {
                object[field] = value.clone();
            }
        }
        object
    };
    let declarations: Value = request.tools.iter().map(tool).collect();
    body.insert("tools".to_owned(), json!([{"functionDeclarations": declarations}]));
    let config = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => json!({"mode": "AUTO"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    body.insert("toolConfig".to_owned(), json!({"functionCallingConfig": config}));
    Ok(())
}

/// The parts of a message. Results are known by the name of their tool; a thought has no way back.
fn parts(asked: &Asked<'_>, index: usize, message: &Message, before: &[Message]) -> Result<Vec<Value>, ChatError> {
    if message.role == Role::Tool {
        let calls = before.iter().rev().flat_map(|message| &message.tool_calls);
        let call = calls.into_iter().find(|call| Some(&call.id) == message.tool_call_id.as_ref());
        let Some(call) = call else {
            return asked.refuse(format_args!("messages[{index}].tool_call_id: expected the id of a call before it"));
        };
        let response = json!({"name": call.name, "response": {"result": message.content}});
        return Ok(vec![json!({"functionResponse": response})]);
    }
    let mut parts = Vec::new();
    if !message.content.is_empty() || message.tool_calls.is_empty() {
        parts.push(json!({"text": message.content}));
    }
    for call in &message.tool_calls {
        parts.push(json!({"functionCall": {"name": call.name, "args": call.arguments}}));
    }
    Ok(parts)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<UsageField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    logprobs_result: Option<LogprobsField>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    function_call: Option<CallField>,
}

#[derive(Deserialize)]
struct CallField {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageField {
    #[serde(default)]
    prompt_token_count: usize,
    #[serde(default)]
    tool_use_prompt_token_count: usize,
    #[serde(default)]
    cached_content_token_count: usize,
    #[serde(default)]
    candidates_token_count: usize,
    #[serde(default)]
    thoughts_token_count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogprobsField {
    #[serde(default)]
    chosen_candidates: Vec<LogprobField>,
    #[serde(default)]
    top_candidates: Vec<TopField>,
}

#[derive(Deserialize)]
struct TopField {
    #[serde(default)]
    candidates: Vec<LogprobField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogprobField {
    token: String,
    #[serde(default)]
    token_id: u32,
    log_probability: f32,
}

impl LogprobField {
    fn read(self) -> TokenLogprob {
        let bytes = self.token.clone().into_bytes();
        TokenLogprob { id: self.token_id, text: self.token, bytes, logprob: self.log_probability, top: Vec::new() }
    }
}

impl LogprobsField {
    fn read(self) -> Vec<TokenLogprob> {
        let mut tops = self.top_candidates.into_iter();
        let chosen = self.chosen_candidates.into_iter().map(|chosen| {
            let top = tops.next().map(|top| top.candidates).unwrap_or_default();
            TokenLogprob { top: top.into_iter().map(LogprobField::read).collect(), ..chosen.read() }
        });
        chosen.collect()
    }
}

/// Reads an answer. Pieces of a stream and a whole one have the same shape.
struct Candidates {
    has_called: bool,
}

impl Reader for Candidates {
    fn event(&mut self, data: &str, answer: &mut Answer) -> Result<(), Trouble> {
        let value: Value = serde_json::from_str(data).map_err(|error| not_json(&error, data))?;
        if value.get("error").is_some() {
            return Err(Said::of_value(&value).in_stream());
        }
        let response: Response = serde_json::from_value(value).map_err(|error| not_json(&error, data))?;
        if let Some(usage) = response.usage_metadata {
            answer.counts = Some(Counts {
                prompt: usage.prompt_token_count.saturating_add(usage.tool_use_prompt_token_count),
                cached: usage.cached_content_token_count,
                completion: usage.candidates_token_count.saturating_add(usage.thoughts_token_count),
            });
        }
        if let Some(reason) = response.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            return Err(ChatError::BadOutput(format!("the provider blocked the prompt ({reason})")).into());
        }
        match response.candidates.into_iter().next() {
            Some(candidate) => self.candidate(candidate, answer),
            None => Ok(()),
        }
    }

    fn whole(&mut self, body: &str, answer: &mut Answer) -> Result<(), Trouble> {
        self.event(body, answer)
    }
}

impl Candidates {
    fn candidate(&mut self, candidate: Candidate, answer: &mut Answer) -> Result<(), Trouble> {
        let mut logprobs = candidate.logprobs_result.map(LogprobsField::read).unwrap_or_default();
        for part in candidate.content.map(|content| content.parts).unwrap_or_default() {
            let text = part.text.as_deref().unwrap_or_default();
            if part.thought {
                answer.thought(text)?;
            } else {
                answer.text(text, std::mem::take(&mut logprobs))?;
            }
            if let Some(call) = part.function_call {
                let index = answer.call(call.id.as_deref(), &call.name)?;
                answer.arguments(index, &call.args.unwrap_or_else(|| json!({})).to_string())?;
                self.has_called = true;
            }
        }
        match candidate.finish_reason.as_deref() {
            None | Some("FINISH_REASON_UNSPECIFIED") => Ok(()),
            Some("STOP") => {
                answer.reason = Some(if self.has_called { FinishReason::ToolCalls } else { FinishReason::Stop });
                Ok(())
            }
            Some("MAX_TOKENS") => {
                answer.reason = Some(FinishReason::Length);
                Ok(())
            }
            Some(other) => Err(ChatError::BadOutput(format!("the provider ended the answer with {other}")).into()),
        }
    }
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
