//! `POST /v1/score`: how likely each of several continuations of one prompt is.

use super::Own;
use crate::admit::Context;
use crate::answering::{at_once, within};
use crate::api::keep_alive::keep_alive;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use crate::shapes::by_shape;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::{Prompt, RankRequest, RankResponse, ScoredToken};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Most continuations a request.
const MOST_CONTINUATIONS: usize = 1024;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/v1/score",
    scope: Scope::Infer,
    summary: "How likely each of several continuations of one prompt is",
    request: Some(schema_of::<ScoreFields>),
    response: Some(schema_of::<Scores>),
    route: || post(answer),
};

/// A prompt and what may follow it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ScoreFields {
    /// The model to ask.
    model: String,
    /// Text or token ids.
    prompt: PromptField,
    /// Texts that may follow; none is empty. Nothing is put between the prompt and them: a space is part of one or the other.
    continuations: Vec<String>,
    /// How long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
}

#[derive(Debug, ToSchema)]
#[serde(untagged)]
enum PromptField {
    Text(String),
    Ids(Vec<u32>),
}

by_shape!(PromptField, "a text or a list of token ids", text => PromptField::Text, list => PromptField::Ids);

/// The continuations, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
struct Scores {
    model: String,
    continuations: Vec<Score>,
    usage: ScoreUsage,
}

#[derive(Debug, Serialize, ToSchema)]
struct Score {
    index: usize,
    text: String,
    /// Natural logarithm of its probability: the sum over its tokens.
    logprob: f64,
    /// Its probability if one of the continuations follows for certain.
    probability: f64,
    tokens: Vec<ScoreToken>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ScoreToken {
    id: u32,
    /// Part of a character shows as U+FFFD.
    text: String,
    /// Natural logarithm of its probability given all before it.
    logprob: f32,
}

/// Counts of tokens.
#[derive(Debug, Serialize, ToSchema)]
struct ScoreUsage {
    /// Of the prompt.
    prompt_tokens: usize,
    /// Of all continuations.
    continuation_tokens: usize,
    total_tokens: usize,
}

async fn answer(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(fields, ..): JsonBody<Own, ScoreFields>,
) -> Result<Json<Scores>, Reject<Own>> {
    check(&fields.continuations)?;
    let keep_alive = keep_alive(fields.keep_alive.as_ref())?;
    let model = within(&context, app.model(&fields.model, keep_alive)).await??;
    let prompt = match fields.prompt {
        PromptField::Text(text) => Prompt::Text(text),
        PromptField::Ids(ids) => Prompt::Ids(ids),
    };
    let request = RankRequest { prompt, continuations: fields.continuations.clone() };
    let ranked = at_once(&app, &context, &model, model.rank(request), total_tokens).await?;
    let (prompt_tokens, total_tokens) = (ranked.prompt_tokens, total_tokens(&ranked));
    Ok(Json(Scores {
        model: model.info().name.clone(),
        continuations: scores(fields.continuations, ranked.continuations)?,
        usage: ScoreUsage { prompt_tokens, continuation_tokens: total_tokens - prompt_tokens, total_tokens },
    }))
}

fn check(continuations: &[String]) -> Result<(), Failure> {
    let count = continuations.len();
    if !(1..=MOST_CONTINUATIONS).contains(&count) {
        let message = format!("continuations: expected 1 to {MOST_CONTINUATIONS}, got {count}");
        return Err(Failure::field("continuations", message));
    }
    match continuations.iter().position(String::is_empty) {
        Some(at) => {
            let path = format!("continuations[{at}]");
            Err(Failure::field(path.clone(), format!("{path}: expected a text, got an empty one")))
        }
        None => Ok(()),
    }
}

fn total_tokens(ranked: &RankResponse) -> usize {
    ranked.prompt_tokens + ranked.continuations.iter().map(Vec::len).sum::<usize>()
}

/// The sums, and the probabilities that they stand for (a softmax, beginning at the largest so that nothing overflows).
fn scores(texts: Vec<String>, continuations: Vec<Vec<ScoredToken>>) -> Result<Vec<Score>, Failure> {
    let mut scores = Vec::with_capacity(texts.len());
    for (index, (text, tokens)) in texts.into_iter().zip(continuations).enumerate() {
        let token = |token: ScoredToken| match token.logprob {
            Some(logprob) => Ok(ScoreToken { id: token.id, text: token.text, logprob }),
            None => {
                let path = format!("continuations[{index}]");
                let message = format!("{path}: its first token has nothing before it\nhint: give a prompt");
                Err(Failure::field(path, message))
            }
        };
        let tokens: Vec<ScoreToken> = tokens.into_iter().map(token).collect::<Result<_, _>>()?;
        let logprob = tokens.iter().map(|token| f64::from(token.logprob)).sum();
        scores.push(Score { index, text, logprob, probability: 0.0, tokens });
    }
    let largest = scores.iter().map(|score| score.logprob).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score.logprob - largest).exp()).sum();
    for score in &mut scores {
        score.probability = (score.logprob - largest).exp() / total;
    }
    Ok(scores)
}
