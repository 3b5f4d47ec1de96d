//! Counts of tokens and the reasons of an end, as the reference has them.

use chat::{FinishReason, Usage};
use serde::Serialize;
use utoipa::ToSchema;

/// Counts of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::api) struct UsageObject {
    pub(in crate::api) prompt_tokens: usize,
    pub(in crate::api) completion_tokens: usize,
    pub(in crate::api) total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
struct PromptDetails {
    /// Tokens of the prompt that were not computed, because an earlier request began with the same.
    cached_tokens: usize,
}

impl UsageObject {
    /// Adds what an answer took. The prompt of several answers to one prompt counts once.
    pub(in crate::api) fn add(&mut self, usage: &Usage) {
        let is_first = self.prompt_tokens == 0;
        self.prompt_tokens = self.prompt_tokens.max(usage.prompt_tokens);
        // What the first of them left is found by the others: that spared this request nothing that it would have paid alone.
        let cached = &mut self.prompt_tokens_details.cached_tokens;
        *cached = if is_first { usage.cached_tokens } else { usage.cached_tokens.min(*cached) };
        self.completion_tokens += usage.completion_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }

    /// The counts of several prompts together.
    pub(in crate::api) fn sum(parts: &[UsageObject]) -> UsageObject {
        let mut sum = UsageObject::default();
        for part in parts {
            sum.prompt_tokens += part.prompt_tokens;
            sum.completion_tokens += part.completion_tokens;
            sum.total_tokens += part.total_tokens;
            sum.prompt_tokens_details.cached_tokens += part.prompt_tokens_details.cached_tokens;
        }
        sum
    }
}

/// The reference's word for why an answer ended.
pub(in crate::api) fn finish_reason(reason: Option<FinishReason>) -> &'static str {
    match reason {
        Some(FinishReason::Stop) => "stop",
        Some(FinishReason::ToolCalls) => "tool_calls",
        // An answer that was cut off in another way is as incomplete.
        Some(FinishReason::Length | FinishReason::Cancelled) | None => "length",
    }
}
