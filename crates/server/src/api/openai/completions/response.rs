//! A completion, whole and in chunks.

use super::logprobs::{ClassicLogprobs, Places};
use super::request::Asked;
use crate::admit::random_text;
use crate::answering::Whole;
use crate::api::openai::usage::{UsageObject, finish_reason};
use crate::api::openai::{error, now};
use crate::failure::Failure;
use crate::stream::{Writer, put_event};
use chat::ChatEvent;
use serde::Serialize;
use utoipa::ToSchema;

/// What whole and chunks begin with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CompletionHead)]
pub(super) struct Head {
    id: String,
    /// Always `text_completion`.
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
        let id = format!("cmpl-{}", random_text(24));
        Head { id, object: "text_completion", created: now(), model: model.to_owned(), warnings }
    }
}

/// Continued text; in a stream, a piece of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Completion {
    #[serde(flatten)]
    head: Head,
    choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageObject>,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
struct CompletionChoice {
    index: usize,
    text: String,
    logprobs: Option<ClassicLogprobs>,
    /// `stop` or `length`; in a stream, null until the end.
    finish_reason: Option<&'static str>,
}

impl Completion {
    pub(super) fn of(head: Head, asked: &Asked, echoes: &[String], answers: Vec<Whole>) -> Completion {
        let mut usages = vec![UsageObject::default(); asked.prompts.len()];
        let mut choices = Vec::with_capacity(answers.len());
        for (index, answer) in answers.into_iter().enumerate() {
            let prompt = asked.prompt_of(index);
            usages[prompt].add(&answer.usage);
            let echo = echoes.get(prompt).map_or("", String::as_str);
            let logprobs = asked.logprobs.map(|_| {
                let (mut logprobs, mut places) = (ClassicLogprobs::default(), Places::default());
                places.prompt(echo, answer.prompt, &mut logprobs);
                places.piece(&answer.text, answer.logprobs, &mut logprobs);
                places.rest(answer.usage.completion_tokens, &mut logprobs);
                logprobs
            });
            let text = format!("{echo}{}", answer.text);
            choices.push(CompletionChoice { index, text, logprobs, finish_reason: Some(finish_reason(answer.reason)) });
        }
        Completion { head, choices, usage: Some(UsageObject::sum(&usages)) }
    }
}

/// Writes the chunks of a streamed completion.
pub(super) struct Chunks {
    head: Head,
    /// The prompt of each choice, where it comes first.
    echoes: Vec<Option<String>>,
    /// Of each choice, where log-probabilities are asked for.
    places: Vec<Option<Places>>,
    /// Which prompt each choice answers.
    prompts: Vec<usize>,
    /// Of each prompt.
    usages: Vec<UsageObject>,
    include_usage: bool,
}

impl Chunks {
    pub(super) fn new(head: Head, asked: &Asked, echoes: Vec<String>) -> Chunks {
        let prompts: Vec<usize> =
            (0..asked.prompts.len() * asked.choices).map(|choice| asked.prompt_of(choice)).collect();
        Chunks {
            head,
            echoes: prompts.iter().map(|prompt| echoes.get(*prompt).cloned()).collect(),
            places: vec![asked.logprobs.map(|_| Places::default()); prompts.len()],
            usages: vec![UsageObject::default(); asked.prompts.len()],
            prompts,
            include_usage: asked.include_usage,
        }
    }

    fn put(&mut self, choices: Vec<CompletionChoice>, usage: Option<UsageObject>, out: &mut String) {
        put_event(out, None, &Completion { head: self.head.clone(), choices, usage });
        // Told once.
        self.head.warnings.clear();
    }

    /// A chunk of one choice; `entries` adds its log-probabilities where they are asked for.
    fn choice(
        &mut self,
        index: usize,
        text: String,
        finish_reason: Option<&'static str>,
        entries: impl FnOnce(&mut Places, &str, &mut ClassicLogprobs),
        out: &mut String,
    ) {
        let logprobs = self.places[index].as_mut().map(|places| {
            let mut logprobs = ClassicLogprobs::default();
            entries(places, &text, &mut logprobs);
            logprobs
        });
        self.put(vec![CompletionChoice { index, text, logprobs, finish_reason }], None, out);
    }
}

impl Writer for Chunks {
    fn begin(&mut self, _: usize, out: &mut String) {
        // With log-probabilities the prompt comes when those of its tokens do.
        for index in 0..self.echoes.len() {
            if self.places[index].is_none()
                && let Some(echo) = self.echoes[index].take()
            {
                self.choice(index, echo, None, |_, _, _| (), out);
            }
        }
    }

    fn event(&mut self, choice: usize, event: ChatEvent, out: &mut String) {
        match event {
            ChatEvent::Prompt { tokens } => {
                let echo = self.echoes[choice].take().unwrap_or_default();
                self.choice(choice, echo, None, |places, text, all| places.prompt(text, tokens, all), out);
            }
            ChatEvent::Text { text, logprobs, .. } => {
                self.choice(choice, text, None, |places, text, all| places.piece(text, logprobs, all), out);
            }
            ChatEvent::Finished { reason, usage } => {
                self.usages[self.prompts[choice]].add(&usage);
                let reason = Some(finish_reason(Some(reason)));
                let rest = |places: &mut Places, _: &str, all: &mut ClassicLogprobs| {
                    places.rest(usage.completion_tokens, all);
                };
                self.choice(choice, String::new(), reason, rest, out);
            }
            // Plain completion has no thought and no tools, and tells nothing of reading.
            ChatEvent::Started { .. }
            | ChatEvent::Reading { .. }
            | ChatEvent::Thought { .. }
            | ChatEvent::ToolCall { .. }
            | ChatEvent::ToolArguments { .. } => {}
        }
    }

    fn end(&mut self, out: &mut String) {
        if self.include_usage {
            let usage = UsageObject::sum(&self.usages);
            self.put(Vec::new(), Some(usage), out);
        }
        out.push_str("data: [DONE]\n\n");
    }

    fn failure(&mut self, failure: &Failure, out: &mut String) {
        put_event(out, None, &error(failure));
    }
}
