//! Asking a model: a prompt in, a whole answer or the scores of given ones out, with what it took.
//!
//! It knows whether a model has a template, and nothing of kinds of tasks.

use crate::frame::Frame;
use crate::leaves::leaves;
use crate::{Outcome, TaskError};
use chat::{
    AnswerFormat, ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, ChoiceContext, ChooseRequest,
    ChooseResponse, CompletionRequest, FinishReason, GenerationOptions, OptionScoring, Prompt, TokenLogprob, Usage,
};
use futures::StreamExt;
use std::ops::Range;
use std::sync::Arc;

/// Longer answers are not kept; no kind asks for as much.
const LONGEST_ANSWER: usize = 16 << 20;

/// A model with the options of a task.
#[derive(Clone)]
pub struct Asker {
    model: Arc<dyn ChatModel>,
    options: GenerationOptions,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The answer.
    pub text: String,
    /// Tokens with a log-probability and the bytes of the text that they made. What was forced has none.
    pub tokens: Vec<(Range<usize>, f32)>,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

impl Written {
    /// Adds what it took to an outcome.
    pub fn count(&self, outcome: &mut Outcome) {
        outcome.prompt_tokens += self.usage.prompt_tokens;
        outcome.cached_tokens += self.usage.cached_tokens;
        outcome.completion_tokens += self.usage.completion_tokens;
    }

    /// How sure the model is of the value at a JSON Pointer of its answer; none where it tells no probabilities.
    pub fn confidence_of(&self, pointer: &str) -> Option<f64> {
        let (_, place) = leaves(&self.text).into_iter().find(|(found, _)| found == pointer)?;
        self.confidence_at(&place)
    }

    /// As [`Written::confidence_of`], of the value at these bytes. The quotation mark that opens a text is no part of
    /// what the model is sure of: one that would have written a bare number had no choice.
    pub fn confidence_at(&self, place: &Range<usize>) -> Option<f64> {
        (!self.tokens.is_empty()).then(|| self.probability(&self.value_without_mark(place)))
    }

    fn value_without_mark(&self, place: &Range<usize>) -> Range<usize> {
        let is_text = self.text.get(place.clone()).is_some_and(|value| value.starts_with('"'));
        place.start + usize::from(is_text)..place.end
    }

    /// The mean probability of a token, by its logarithm, among those that made the value at these bytes: a measure of doubt
    /// that does not grow with the value's length. None where the model tells none or all of it was forced.
    pub fn mean_probability(&self, place: &Range<usize>) -> Option<f64> {
        let value = self.value_without_mark(place);
        let logprobs: Vec<f64> = self.logprobs_of(&value).collect();
        (!logprobs.is_empty()).then(|| (logprobs.iter().sum::<f64>() / logprobs.len() as f64).exp())
    }

    /// What is to be said of an answer that ended because it was long.
    pub fn warning_of_length(&self, what: &str) -> Option<String> {
        let tokens = self.usage.completion_tokens;
        (self.reason == FinishReason::Length).then(|| {
            format!("{what} may be incomplete: it ended after {tokens} tokens, at max_tokens or the end of the context")
        })
    }

    /// The product of the probabilities of the tokens that made a part of the text; 1 where all of it was forced.
    pub fn probability(&self, part: &Range<usize>) -> f64 {
        self.logprobs_of(part).sum::<f64>().exp()
    }

    fn logprobs_of(&self, part: &Range<usize>) -> impl Iterator<Item = f64> {
        let overlaps = |token: &Range<usize>| token.start < part.end && part.start < token.end;
        self.tokens.iter().filter(move |(token, _)| overlaps(token)).map(|(_, logprob)| f64::from(*logprob))
    }
}

/// Sees the text of an answer after each piece of it, and may say at which byte it is over.
pub type Watch<'w> = &'w mut (dyn FnMut(&str) -> Option<usize> + Send);

impl Asker {
    /// A model that takes a conversation or plain text.
    ///
    /// # Errors
    /// It takes neither: it turns texts into vectors, say.
    pub fn new(model: Arc<dyn ChatModel>, options: GenerationOptions) -> Result<Asker, TaskError> {
        let can = model.info().capabilities;
        if !can.template && !can.complete {
            let model = model.info().name.clone();
            return Err(TaskError::Model(ChatError::Unsupported { model, what: "tasks: it generates no text" }));
        }
        Ok(Asker { model, options })
    }

    pub fn model(&self) -> &dyn ChatModel {
        &*self.model
    }

    pub fn has_template(&self) -> bool {
        self.model.info().capabilities.template
    }

    pub fn can_choose(&self) -> bool {
        self.model.info().capabilities.choose
    }

    /// The task's options, with so many tokens where it sets no limit of its own.
    pub fn options(&self, max_tokens: usize) -> GenerationOptions {
        let options = self.options.clone();
        GenerationOptions { max_tokens: options.max_tokens.or(Some(max_tokens)), ..options }
    }

    /// Makes a format ready; what of it has no effect is the answer.
    pub async fn prepare(&self, format: &AnswerFormat) -> Result<Vec<String>, TaskError> {
        self.model.prepare_format(format).await.map_err(refusal)
    }

    /// Asks about an input and waits for the whole answer.
    pub async fn write(
        &self,
        frame: &Frame,
        input: &str,
        format: Option<&AnswerFormat>,
        options: GenerationOptions,
    ) -> Result<Written, TaskError> {
        let format = format.cloned();
        if self.has_template() {
            let request = ChatRequest { format, options, ..frame.chat(input) };
            return whole(self.model.chat(request).await.map_err(refusal)?).await;
        }
        let mut options = options;
        if format.is_none() && !frame.asked.is_empty() {
            // Nothing else tells a model without a template that its answer is over.
            options.stop.push(format!("\n\n{}:", frame.asked));
        }
        let prompt = Prompt::Text(frame.plain(input));
        let request = CompletionRequest { format, ..CompletionRequest::new(prompt, options) };
        let mut written = self.complete(request, &mut |_| None).await?;
        // The blank between the heading and the answer belongs to neither.
        let blank = written.text.len() - written.text.trim_start().len();
        written.text.drain(..blank);
        for (token, _) in &mut written.tokens {
            *token = token.start.saturating_sub(blank)..token.end.saturating_sub(blank);
        }
        Ok(written)
    }

    /// Continues plain text; `watch` sees the text after each piece and may say at which byte it is over.
    pub async fn complete(&self, request: CompletionRequest, watch: Watch<'_>) -> Result<Written, TaskError> {
        collect(self.model.complete(request).await.map_err(refusal)?, watch).await
    }

    /// As [`Asker::complete`]; a prompt past the context gives its tokens and the context's, so that it can be made
    /// shorter.
    pub async fn complete_or_measure(
        &self,
        request: CompletionRequest,
        watch: Watch<'_>,
    ) -> Result<Result<Written, (usize, usize)>, TaskError> {
        match self.model.complete(request).await {
            Ok(stream) => Ok(Ok(collect(stream, watch).await?)),
            Err(ChatError::ContextTooLong { prompt_tokens, context, .. }) => Ok(Err((prompt_tokens, context))),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Scores given answers to an input.
    pub async fn choose(
        &self,
        frame: &Frame,
        input: &str,
        options: &[String],
        scoring: OptionScoring,
        all: bool,
    ) -> Result<ChooseResponse, TaskError> {
        let (context, options) = if self.has_template() {
            (ChoiceContext::Chat(frame.chat(input)), options.to_vec())
        } else {
            let options = options.iter().map(|option| format!(" {option}\n")).collect();
            (ChoiceContext::Plain(Prompt::Text(frame.plain(input))), options)
        };
        self.model.choose(ChooseRequest { context, options, scoring, all }).await.map_err(refusal)
    }

    /// Scores one text that goes on from another.
    pub async fn likelihood_after(&self, prompt: String, text: &str) -> Result<ChooseResponse, TaskError> {
        let (context, options) = (ChoiceContext::Plain(Prompt::Text(prompt)), vec![text.to_owned()]);
        let scoring = OptionScoring::Likelihood;
        self.model.choose(ChooseRequest { context, options, scoring, all: true }).await.map_err(refusal)
    }

    /// Tokens of the prompt that asks about an input; none where the model does not count.
    pub async fn prompt_tokens(&self, frame: &Frame, input: &str) -> Result<Option<usize>, TaskError> {
        if !self.has_template() {
            return Ok(None);
        }
        match self.model.count_tokens(&frame.chat(input)).await {
            Ok(tokens) => Ok(Some(tokens)),
            Err(ChatError::Unsupported { .. }) => Ok(None),
            Err(error) => Err(refusal(error)),
        }
    }
}

/// What a model refuses, in the words of a task: an input that is too long concerns that input alone.
pub fn refusal(error: ChatError) -> TaskError {
    match error {
        ChatError::ContextTooLong { .. } => TaskError::Input(error.to_string()),
        error => TaskError::Model(error),
    }
}

/// The whole answer of a stream.
///
/// # Errors
/// What the stream ends with, or an answer that is longer than any is kept.
pub async fn whole(stream: ChatStream) -> Result<Written, TaskError> {
    collect(stream, &mut |_| None).await
}

/// Reads a stream to its end, or to where `watch` says that the text is over; dropping the stream then stops the model.
async fn collect(mut stream: ChatStream, watch: Watch<'_>) -> Result<Written, TaskError> {
    let mut written =
        Written { text: String::new(), tokens: Vec::new(), reason: FinishReason::Cancelled, usage: Usage::default() };
    let mut aligned = 0;
    while let Some(event) = stream.next().await {
        match event.map_err(refusal)? {
            ChatEvent::Started { prompt_tokens } => written.usage.prompt_tokens = prompt_tokens,
            ChatEvent::Text { text, tokens, logprobs } => {
                if written.text.len() + text.len() > LONGEST_ANSWER {
                    return Err(TaskError::Output(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
                }
                written.text.push_str(&text);
                written.usage.completion_tokens += tokens;
                align(&written.text, &mut aligned, logprobs, &mut written.tokens);
                if let Some(end) = watch(&written.text) {
                    written.text.truncate(end);
                    written.reason = FinishReason::Stop;
                    return Ok(written);
                }
            }
            ChatEvent::Thought { tokens, .. } => written.usage.completion_tokens += tokens,
            ChatEvent::Finished { reason, usage } => {
                (written.reason, written.usage) = (reason, usage);
                return Ok(written);
            }
            ChatEvent::Prompt { .. } | ChatEvent::Reading { .. } => {}
            ChatEvent::ToolCall { .. } | ChatEvent::ToolArguments { .. } => {
                return Err(TaskError::Output("the model called a tool, and it was given none".to_owned()));
            }
        }
    }
    Err(TaskError::Model(ChatError::Internal("the answer broke off without an end".to_owned())))
}

/// Finds where in the text each token stands. Forced tokens lie between those that are reported, so each is looked
/// for from the end of the one before; the last of a piece may end in a character whose rest comes with the next.
fn align(text: &str, from: &mut usize, tokens: Vec<TokenLogprob>, places: &mut Vec<(Range<usize>, f32)>) {
    let bytes = text.as_bytes();
    for token in tokens.into_iter().filter(|token| !token.bytes.is_empty()) {
        let stands = |&at: &usize| {
            let rest = &bytes[at..];
            rest.starts_with(&token.bytes) || (!rest.is_empty() && rest.len() < 4 && token.bytes.starts_with(rest))
        };
        let Some(start) = (*from..bytes.len()).find(stands) else { continue };
        let end = start + token.bytes.len();
        places.push((start..end, token.logprob));
        *from = end.min(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, logprob: f32) -> TokenLogprob {
        TokenLogprob { id: 0, text: text.to_owned(), bytes: text.as_bytes().to_vec(), logprob, top: Vec::new() }
    }

    #[test]
    fn tokens_find_their_bytes_with_forced_ones_between_them() {
        let (mut from, mut places) = (0, Vec::new());
        let text = r#"{"a": "bb", "a": 12}"#;
        align(text, &mut from, vec![token("b", -1.0), token("b\"", -2.0), token(" 12", -3.0)], &mut places);
        let found: Vec<_> = places.iter().map(|(range, _)| &text[range.clone()]).collect();
        assert_eq!(found, ["b", "b\"", " 12"]);
        let written =
            Written { text: text.into(), tokens: places, reason: FinishReason::Stop, usage: Usage::default() };
        assert!((written.probability(&(7..9)).ln() + 3.0).abs() < 1e-6);
        assert_eq!(written.probability(&(1..4)), 1.0);
    }

    #[test]
    fn the_mark_that_opens_a_text_says_nothing_of_how_sure_a_model_is_of_it() {
        let text = r#"{"a": "xy", "b": 12}"#.to_owned();
        let tokens = vec![(6..7, -9.0), (7..10, -1.0), (17..19, -2.0)];
        let written = Written { text, tokens, reason: FinishReason::Stop, usage: Usage::default() };
        let confidence = |pointer: &str| written.confidence_of(pointer).unwrap().ln();
        assert!((confidence("/a") + 1.0).abs() < 1e-6, "{}", confidence("/a"));
        assert!((confidence("/b") + 2.0).abs() < 1e-6, "{}", confidence("/b"));
    }
}
