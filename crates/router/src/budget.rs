//! How much may be spent: a request is charged before it is sent, by an estimate, and corrected when it has answered.
//!
//! ```text
//! charge(estimate) -> Charge -> settle(true cost)      or dropped: the estimate stays spent
//!        no room: refused, nothing was sent            or released: it cost nothing
//! ```
//!
//! Sums are whole numbers, so that the order in which answers come changes nothing. It knows no model and no clock.

use crate::Price;
use chat::{ChatRequest, Usage};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of a dollar that are counted: the cheapest tokens cost some thousands of them.
const PARTS: f64 = 1e12;
/// The largest budget; more has no room in the counter.
const LARGEST: f64 = 1e6;
/// Bytes of a prompt that are taken for a token, which is less than most texts have: the estimate is to be high.
const BYTES_OF_TOKEN: usize = 3;
/// Tokens that a template adds to each message, at most.
const TOKENS_OF_MESSAGE: usize = 8;

/// Why nothing more may be spent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// No amount of money.
    #[error("expected a budget above 0 and at most {LARGEST} USD, got {0}")]
    Amount(f64),
    /// The next request might pass it.
    #[error(
        "the budget of {max_cost:.4} USD would be passed: {spent:.4} USD are spent or under way, and the next request \
         may cost {estimate:.6} USD\nhint: raise it with --max-cost, or lower max_tokens"
    )]
    Spent {
        /// The budget.
        max_cost: f64,
        /// What was spent, and what requests under way may cost.
        spent: f64,
        /// What the refused request might have cost.
        estimate: f64,
    },
}

/// An amount of money that several threads spend. Copies are the same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What answers cost.
    spent: u64,
    /// What requests under way may cost.
    reserved: u64,
    refused: usize,
}

impl Budget {
    /// A budget of so many USD.
    ///
    /// # Errors
    /// No amount of money.
    pub fn new(max_cost: f64) -> Result<Budget, BudgetError> {
        if !(max_cost > 0.0 && max_cost <= LARGEST) {
            return Err(BudgetError::Amount(max_cost));
        }
        Ok(Budget(Arc::new(Shared { most: parts(max_cost), state: Mutex::default() })))
    }

    /// Sets aside what a request may cost.
    ///
    /// # Errors
    /// It would pass the budget, together with all that was spent and may yet be.
    pub fn charge(&self, estimate: f64) -> Result<Charge, BudgetError> {
        let wanted = parts(estimate);
        let mut state = self.lock();
        let taken = state.spent.saturating_add(state.reserved);
        if taken.saturating_add(wanted) > self.0.most {
            state.refused += 1;
            return Err(BudgetError::Spent { max_cost: dollars(self.0.most), spent: dollars(taken), estimate });
        }
        state.reserved += wanted;
        Ok(Charge { budget: self.clone(), reserved: wanted })
    }

    /// What was spent, in USD; requests under way are not in it.
    pub fn spent(&self) -> f64 {
        dollars(self.lock().spent)
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reserved: u64, spent: u64) {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(reserved);
        state.spent = state.spent.saturating_add(spent);
    }
}

/// What was set aside for one request. Dropped, it is taken for spent: nobody knows better.
#[derive(Debug)]
#[must_use = "a charge that is dropped is spent"]
pub struct Charge {
    budget: Budget,
    reserved: u64,
}

impl Charge {
    /// The request has answered and cost so many USD, which may be more than was set aside.
    pub fn settle(mut self, cost: f64) {
        self.budget.close(std::mem::take(&mut self.reserved), parts(cost));
    }

    /// The request was not taken and cost nothing.
    pub fn release(mut self) {
        self.budget.close(std::mem::take(&mut self.reserved), 0);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.close(self.reserved, self.reserved);
    }
}

/// Parts of a dollar, rounded up: a budget is not to be passed by rounding.
fn parts(dollars: f64) -> u64 {
    // In the range of u64 by `LARGEST`, and a cast saturates beyond; a cost that is no number counts as the largest.
    if dollars.is_nan() { u64::MAX } else { (dollars * PARTS).ceil() as u64 }
}

fn dollars(parts: u64) -> f64 {
    parts as f64 / PARTS
}

/// What a request may cost in USD: a token for three bytes of the prompt, and as many tokens of answer and thought as
/// it allows. None where it allows any number, which no budget can cover.
pub fn estimated_cost(price: &Price, request: &ChatRequest) -> Option<f64> {
    let completion_tokens = request.options.max_tokens?.saturating_add(request.thought_tokens.unwrap_or(0));
    let mut bytes = 0;
    for message in &request.messages {
        bytes += message.content.len();
        for call in &message.tool_calls {
            bytes += call.name.len() + serde_json::Value::from(call.arguments.clone()).to_string().len();
        }
    }
    bytes += request.tools.iter().map(|tool| tool.definition.to_string().len()).sum::<usize>();
    bytes += request.format.as_ref().map_or(0, |format| serde_json::to_string(format).map_or(0, |text| text.len()));
    let prompt_tokens = bytes.div_ceil(BYTES_OF_TOKEN) + TOKENS_OF_MESSAGE * request.messages.len();
    Some(price.cost(&Usage { prompt_tokens, completion_tokens, ..Usage::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::{Date, Terms};
    use chat::{GenerationOptions, Message, Role};

    #[test]
    fn a_request_that_might_pass_the_budget_is_refused_before_it_is_sent() {
        let budget = Budget::new(1.0).unwrap();
        let first = budget.charge(0.6).unwrap();
        let told = "the budget of 1.0000 USD would be passed: 0.6000 USD are spent or under way, and the next request \
                    may cost 0.500000 USD\nhint: raise it with --max-cost, or lower max_tokens";
        assert_eq!(budget.charge(0.5).unwrap_err().to_string(), told);
        first.settle(0.1);
        budget.charge(0.5).unwrap().release();
        assert_eq!((budget.spent(), budget.refused()), (0.1, 1));
        drop(budget.charge(0.9).unwrap());
        assert_eq!(budget.spent(), 1.0, "what nobody settled is spent");
        assert!(budget.charge(1e-9).is_err());
        assert!(budget.charge(f64::NAN).is_err());
    }

    #[test]
    fn the_order_of_answers_changes_nothing() {
        let costs: Vec<f64> = (1..2000).map(|n| 1e-7 * f64::from(n) / 3.0).collect();
        let spent = |costs: &mut dyn Iterator<Item = &f64>| {
            let budget = Budget::new(100.0).unwrap();
            costs.for_each(|cost| budget.charge(0.001).unwrap().settle(*cost));
            budget.spent()
        };
        assert_eq!(spent(&mut costs.iter()).to_bits(), spent(&mut costs.iter().rev()).to_bits());
    }

    #[test]
    fn threads_never_pass_it_together() {
        let budget = Budget::new(1.0).unwrap();
        let taken: usize = std::thread::scope(|scope| {
            let thread = || scope.spawn(|| (0..100).filter(|_| budget.charge(0.01).map(drop).is_ok()).count());
            let threads: Vec<_> = (0..4).map(|_| thread()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((taken, budget.spent(), budget.refused()), (100, 1.0, 300));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for odd in [0.0, -1.0, f64::NAN, 1e9] {
            let told = format!("expected a budget above 0 and at most 1000000 USD, got {odd}");
            assert_eq!(Budget::new(odd).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn an_estimate_counts_all_that_is_sent_and_all_that_may_come() {
        let price =
            Price { terms: Terms::flat(1.0, 2.0), source: String::new(), seen: Date::of("2026-01-01").unwrap() };
        let mut request =
            ChatRequest { messages: vec![Message::new(Role::User, "x".repeat(276))], ..ChatRequest::default() };
        assert_eq!(estimated_cost(&price, &request), None, "no limit, no estimate");
        request.options = GenerationOptions { max_tokens: Some(50), ..GenerationOptions::default() };
        assert_eq!(estimated_cost(&price, &request), Some((100.0 + 50.0 * 2.0) / 1e6));
    }
}
