//! A model whose requests are paid for out of a budget.

use crate::budget::estimated_cost;
use crate::{Budget, Charge, Price};
use chat::{
    AnswerFormat, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ModelInfo, ToolWarning,
};
use futures::stream::{self, StreamExt};
use std::sync::Arc;

/// A model, its price and a budget that it may share with others. Every request is charged before it is sent; one that
/// failed in a way that may have cost something, or that nobody waited for, counts as it was estimated.
///
/// A request that would pass the budget is refused as [`ChatError::InvalidRequest`]; [`Budget::refused`] tells that
/// there were some.
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
        let Some(estimate) = estimated_cost(&self.price, request) else {
            let expected = "expected a number where a budget is set, got none";
            let hint = "hint: say how long an answer may be";
            return Err(ChatError::InvalidRequest(format!("{name}: max_tokens: {expected}\n{hint}")));
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
