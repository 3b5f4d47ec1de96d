//! A model whose requests are paid for out of a budget.

use crate::budget::estimate;
use crate::{Budget, Charge, Price};
use chat::{
    AnswerFormat, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ModelInfo, ToolWarning,
};
use futures::stream::{self, StreamExt};
use std::sync::Arc;

/// A model, its price and a budget that it may share with others. Every request is charged before it is sent.
pub struct Metered {
    model: Arc<dyn ChatModel>,
    price: Price,
    budget: Budget,
}

impl Metered {
    /// A model that spends of this budget.
    pub fn new(model: Arc<dyn ChatModel>, price: Price, budget: Budget) -> Metered {
        Metered { model, price, budget }
    }

    fn charge(&self, request: &ChatRequest) -> Result<Charge, ChatError> {
        let name = &self.model.info().name;
        let Some(estimate) = estimate(&self.price, request) else {
            return Err(ChatError::InvalidRequest(format!(
                "{name}: max_tokens: expected a number where a budget is set, got none\nhint: say how long an answer may be"
            )));
        };
        self.budget.charge(estimate).map_err(|error| ChatError::InvalidRequest(format!("{name}: {error}")))
    }
}

/// Whether a refusal cost nothing: the provider never began to answer.
fn is_free(error: &ChatError) -> bool {
    !matches!(error, ChatError::Unavailable(_) | ChatError::BadOutput(_) | ChatError::Internal(_))
}

impl ChatModel for Metered {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async move {
            let charge = self.charge(&request)?;
            let answer = match self.model.chat(request).await {
                Ok(answer) => answer,
                Err(error) => {
                    if is_free(&error) {
                        charge.release();
                    }
                    return Err(error);
                }
            };
            let (price, charge) = (self.price.clone(), Some(charge));
            let settled = stream::unfold((answer, price, charge), |(mut answer, price, mut charge)| async move {
                let event = answer.next().await?;
                if let Ok(ChatEvent::Finished { usage, .. }) = &event
                    && let Some(charge) = charge.take()
                {
                    charge.settle(price.cost(usage));
                }
                Some((event, (answer, price, charge)))
            });
            Ok(Box::pin(settled) as ChatStream)
        })
    }

    fn prepare_format<'a>(&'a self, format: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        self.model.prepare_format(format)
    }

    fn prepare_tools<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, Vec<ToolWarning>> {
        self.model.prepare_tools(request)
    }
}
