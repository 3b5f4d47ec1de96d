//! What `generate` and `chat` share: fields that mean the same in both, and the way from a checked request to its answer.
//!
//! ```text
//! nothing to answer -> load or unload      else -> the model -> num_ctx -> Answering -> lines | one object
//! ```
//!
//! Read next: `answer`, how it is written.

use super::answer::{Head, Lines, Shape, whole};
use super::options::{Chosen, options, without_effect};
use crate::admit::Context;
use crate::answering::{Answering, within};
use crate::api::format::{AskedFormat, prepare};
use crate::api::ignored::no_effect;
use crate::api::top_logprobs::top_logprobs;
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use crate::stream;
use axum::Json;
use axum::response::{IntoResponse, Response};
use chat::{
    AnswerFormat, ChatEvent, ChatModel, ChatRequest, CompletionRequest, GenerationOptions, KeepAlive, ModelInfo,
    Prompt, Role,
};
use futures::StreamExt;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a request bounds its positions.
const NUM_CTX: &str = "options.num_ctx";

/// What a request asks, checked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) stream: bool,
    pub(super) num_ctx: Option<usize>,
    pub(super) warnings: Vec<String>,
    pub(super) asking: Asking,
}

/// What a model is asked to do.
#[derive(Debug, Clone)]
pub(super) enum Asking {
    /// Only to come into memory, or to leave it.
    Nothing,
    /// To answer a conversation.
    Chat(ChatRequest),
    /// To answer a prompt; a model without a template goes on from it.
    Prompt(ChatRequest),
    /// To go on from a text.
    Completion(CompletionRequest),
}

/// Fields that both requests have, before they are checked.
pub(super) struct Shared<'a> {
    pub(super) format: Option<&'a Value>,
    pub(super) options: Option<&'a Map<String, Value>>,
    pub(super) think: Option<&'a Value>,
    pub(super) truncate: Option<bool>,
    pub(super) shift: Option<bool>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<usize>,
}

impl Shared<'_> {
    /// The options, with the warnings of all these fields; and whether to think.
    pub(super) fn check(&self) -> Result<(Chosen, Option<bool>), Failure> {
        let mut chosen = options("options", self.options)?;
        chosen.options.top_logprobs = top_logprobs(self.logprobs == Some(true), "logprobs is true", self.top_logprobs)?;
        let think = self.think(&mut chosen.warnings)?;
        for (name, sent) in [("truncate", self.truncate), ("shift", self.shift)] {
            if sent == Some(true) {
                chosen.warnings.push(format!("{name} has no effect here: what does not fit the context is refused"));
            }
        }
        Ok((chosen, think))
    }

    /// What the answer must be.
    pub(super) fn format(&self) -> Result<Option<AnswerFormat>, Failure> {
        match self.format {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text == "json" => Ok(Some(AnswerFormat::JsonObject)),
            Some(schema @ Value::Object(_)) => Ok(Some(AnswerFormat::JsonSchema(schema.clone()))),
            Some(other) => {
                let message = format!("format: expected \"json\" or a JSON Schema, got {other}");
                Err(Failure::field("format", message))
            }
        }
    }

    /// The warnings of a request that generates nothing: what was checked, and `others` that were sent, had no effect.
    pub(super) fn without_effect(&self, others: &[(&str, bool)]) -> Vec<String> {
        let shared = [
            ("think", self.think.is_some_and(|think| !think.is_null())),
            ("truncate", self.truncate == Some(true)),
            ("shift", self.shift == Some(true)),
            ("logprobs", self.logprobs == Some(true)),
            ("format", self.format.is_some_and(|format| !format.is_null() && format != "")),
        ];
        let mut warnings = without_effect("options", self.options);
        let fields = shared.iter().chain(others).filter(|(_, is_sent)| *is_sent);
        warnings.extend(fields.map(|(name, _)| no_effect(name)));
        warnings
    }

    fn think(&self, warnings: &mut Vec<String>) -> Result<Option<bool>, Failure> {
        match self.think {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(think)) => Ok(Some(*think)),
            Some(Value::String(level)) if ["low", "medium", "high", "max"].contains(&level.as_str()) => {
                warnings.push(format!("think: {level:?} is taken for true: there are no levels here"));
                Ok(Some(true))
            }
            Some(other) => {
                let message = format!("think: expected true, false, or low, medium, high or max, got {other}");
                Err(Failure::field("think", message))
            }
        }
    }
}

/// Answers a checked request.
pub(super) async fn answer(app: &Arc<App>, context: &Context, shape: Shape, asked: Asked) -> Result<Response, Failure> {
    if matches!(asked.asking, Asking::Nothing) {
        return only_load(app, context, shape, asked).await;
    }
    let began = Instant::now();
    let model = within(context, app.model(&asked.model, asked.keep_alive)).await??;
    let load = began.elapsed();
    let asking = asked.asking.for_model(model.info());
    let asking = limited(context, &model, asking, asked.num_ctx).await?;
    let mut warnings = asked.warnings;
    warnings.extend(prepare(context, model.as_ref(), asking.format().as_ref()).await?);
    let head = Head { shape, model: asked.model, began: context.began, load, warnings };
    let answering = match asking {
        Asking::Completion(request) => Answering::complete(app, context, &model, request).await?,
        Asking::Chat(request) | Asking::Prompt(request) => Answering::chat(app, context, &model, request).await?,
        Asking::Nothing => return Err(Failure::new(FailureKind::Internal, "internal error: nothing was asked")),
    };
    if asked.stream {
        return Ok(stream::lines(vec![answering], Lines::new(head)));
    }
    Ok(Json(whole(head, answering.whole().await?)?).into_response())
}

/// Loads a model, or unloads it where it is not to be kept.
async fn only_load(app: &Arc<App>, context: &Context, shape: Shape, asked: Asked) -> Result<Response, Failure> {
    let unload = asked.keep_alive == Some(KeepAlive::For(Duration::ZERO));
    let began = Instant::now();
    if unload {
        let name = asked.model.clone();
        let was_loaded = app.on_host(move |host| Box::pin(async move { host.unload(&name).await })).await?;
        if !was_loaded {
            // One that was not in memory may not be there at all.
            let name = asked.model.clone();
            app.on_host(move |host| Box::pin(async move { host.show(&name).await })).await?;
        }
    } else {
        // No option matters to it, `num_ctx` neither: the warnings say so.
        within(context, app.model(&asked.model, asked.keep_alive)).await??;
    }
    let head =
        Head { shape, model: asked.model, began: context.began, load: began.elapsed(), warnings: asked.warnings };
    let reason = if unload { "unload" } else { "load" };
    Ok(Json(head.nothing_said(reason)).into_response())
}

impl Asking {
    /// A prompt for a model without a template is text to go on from, unless it needs a template's roles.
    fn for_model(self, info: &ModelInfo) -> Asking {
        match self {
            Asking::Prompt(mut request) if !info.capabilities.template => match &mut request.messages[..] {
                [message] if message.role == Role::User => {
                    let prompt = Prompt::Text(std::mem::take(&mut message.content));
                    let format = request.format;
                    Asking::Completion(CompletionRequest { format, ..CompletionRequest::new(prompt, request.options) })
                }
                _ => Asking::Chat(request),
            },
            other => other,
        }
    }

    /// What the answer must be.
    fn format(&self) -> Option<AskedFormat> {
        let format = match self {
            Asking::Nothing => None,
            Asking::Chat(request) | Asking::Prompt(request) => request.format.clone(),
            Asking::Completion(request) => request.format.clone(),
        };
        format.map(|format| AskedFormat { format, field: "format".to_owned() })
    }

    fn options(&mut self) -> Option<&mut GenerationOptions> {
        match self {
            Asking::Nothing => None,
            Asking::Chat(request) | Asking::Prompt(request) => Some(&mut request.options),
            Asking::Completion(request) => Some(&mut request.options),
        }
    }
}

/// Refuses more positions than the model has.
fn check_num_ctx(info: &ModelInfo, num_ctx: Option<usize>) -> Result<(), Failure> {
    let most = info.context;
    match num_ctx.filter(|num_ctx| *num_ctx > most) {
        Some(num_ctx) => {
            let hint = if num_ctx <= info.maximum_context {
                format!("`bantam serve --context {num_ctx}` loads it with more")
            } else {
                format!("it was made for {}", info.maximum_context)
            };
            let message = format!("{NUM_CTX}: the context of {} holds {most}, got {num_ctx}\nhint: {hint}", info.name);
            Err(Failure::field(NUM_CTX, message))
        }
        None => Ok(()),
    }
}

/// Holds a request to `num_ctx` positions. The context is not reserved, so that a smaller one saves nothing and a larger
/// one reloads nothing.
async fn limited(
    context: &Context,
    model: &Arc<dyn ChatModel>,
    mut asking: Asking,
    num_ctx: Option<usize>,
) -> Result<Asking, Failure> {
    check_num_ctx(model.info(), num_ctx)?;
    let most = model.info().context;
    let Some(num_ctx) = num_ctx.filter(|num_ctx| *num_ctx != most) else { return Ok(asking) };
    let prompt = within(context, prompt_tokens(model, &asking)).await??;
    if prompt >= num_ctx {
        let message = format!(
            "the prompt has {prompt} tokens, {NUM_CTX} is {num_ctx}, which leaves no room for an answer\n\
             hint: shorten it, or raise num_ctx: the model holds {most}"
        );
        let failure = Failure { code: Some("context_length_exceeded"), ..Failure::field(NUM_CTX, message) };
        return Err(failure);
    }
    if let Some(options) = asking.options() {
        let room = num_ctx - prompt;
        options.max_tokens = Some(options.max_tokens.map_or(room, |most| most.min(room)));
    }
    Ok(asking)
}

/// How many tokens the model would read.
async fn prompt_tokens(model: &Arc<dyn ChatModel>, asking: &Asking) -> Result<usize, Failure> {
    match asking {
        Asking::Nothing => Ok(0),
        Asking::Chat(request) | Asking::Prompt(request) => Ok(model.count_tokens(request).await?),
        // Only an answer that has begun tells how a plain text is read; it is let go before anything is computed.
        Asking::Completion(request) => match model.complete(request.clone()).await?.next().await.transpose()? {
            Some(ChatEvent::Started { prompt_tokens }) => Ok(prompt_tokens),
            _ => Err(Failure::new(FailureKind::Internal, "internal error: an answer began without its beginning")),
        },
    }
}
