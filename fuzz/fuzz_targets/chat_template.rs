//! Any text as a chat template: it renders a conversation within its limits, or says why not.
#![no_main]

use std::sync::LazyLock;

use serde_json::{Value, json};
use tokenizer::{ChatTemplate, TemplateInput, Tokenizer};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(fuzz::byte_tokenizer);

libfuzzer_sys::fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let messages: [Value; 3] = [
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": "</s> hello"}),
        json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}),
    ];
    let tools = [json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})];
    let input = TemplateInput { messages: &messages, tools: &tools, add_generation_prompt: true, ..Default::default() };
    if let Ok(prompt) = template.render(&input, &TOKENIZER) {
        TOKENIZER.encode_prompt(&prompt);
    }
});
