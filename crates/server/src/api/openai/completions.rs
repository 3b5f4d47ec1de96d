//! `POST /v1/completions`: text that goes on from text, without a template.
//!
//! Read next: `request` for the fields, `logprobs` for the classic format, `response` for both ways of answering.

mod logprobs;
mod request;
mod response;
#[cfg(test)]
mod tests;

use super::OpenAi;
use crate::admit::Context;
use crate::answering::{Answering, Whole, within};
use crate::api::format::prepare;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chat::Prompt;
use futures::future::try_join_all;
use request::{Asked, CompletionFields};
use response::{Chunks, Completion, Head};
use std::sync::Arc;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/completions",
    scope: Scope::Infer,
    summary: "Continues plain text",
    request: Some(schema_of::<CompletionFields>),
    response: Some(schema_of::<Completion>),
    route: || post(answer),
};

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<OpenAi, CompletionFields>,
) -> Result<Response, Reject<OpenAi>> {
    let mut asked = Asked::of(request)?;
    let model = within(&context, app.model(&asked.model, asked.keep_alive)).await??;
    asked.warnings.extend(prepare(&context, model.as_ref(), asked.format.as_ref()).await?);
    let echoes = within(&context, echoes(&app, &asked)).await??;
    let one = |choice| Answering::complete(&app, &context, &model, asked.choice(choice));
    let answers = try_join_all((0..asked.prompts.len() * asked.choices).map(one)).await?;
    let head = Head::new(&model.info().name, asked.warnings.clone());
    if asked.stream {
        return Ok(stream::events(answers, Chunks::new(head, &asked, echoes)));
    }
    let answers: Vec<Whole> = try_join_all(answers.into_iter().map(Answering::whole)).await?;
    Ok(Json(Completion::of(head, &asked, &echoes, answers)).into_response())
}

/// The text of each prompt, where it is to come first in its choices.
async fn echoes(app: &Arc<App>, asked: &Asked) -> Result<Vec<String>, Failure> {
    if !asked.echo {
        return Ok(Vec::new());
    }
    try_join_all(asked.prompts.iter().map(async |prompt| match prompt {
        Prompt::Text(text) => Ok(text.clone()),
        Prompt::Ids(ids) => {
            let (name, ids) = (asked.model.clone(), ids.clone());
            app.on_host(move |host| Box::pin(async move { host.detokenize(&name, &ids).await })).await
        }
    }))
    .await
}
