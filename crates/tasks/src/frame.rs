//! The shape of a prompt: first what all inputs of a task have in common, at the end the input.
//!
//! A model with a template gets a conversation, its head in the first message of the user, because some templates
//! refuse a message of the system. A model without one gets the same as plain text with headings, to go on from after
//! the last.

use chat::{ChatRequest, Message, Role};
use std::fmt::Write;

/// What all prompts of a task have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// What is asked, in full.
    pub head: String,
    /// The heading of an input: `Text`.
    pub asked: &'static str,
    /// The heading of an answer: `Label`.
    pub answered: &'static str,
    /// Inputs with their answers that the model is shown.
    pub shots: Vec<(String, String)>,
}

impl Frame {
    /// A frame without examples.
    pub fn new(head: String, asked: &'static str, answered: &'static str) -> Frame {
        Frame { head, asked, answered, shots: Vec::new() }
    }

    /// The conversation that asks about an input. The model does not think before it answers.
    pub fn chat(&self, input: &str) -> ChatRequest {
        let mut messages = Vec::with_capacity(2 * self.shots.len() + 1);
        let mut head = if self.head.is_empty() { String::new() } else { format!("{}\n\n", self.head) };
        for (shown, answer) in &self.shots {
            messages.push(Message::new(Role::User, std::mem::take(&mut head) + &self.heading(shown)));
            messages.push(Message::new(Role::Assistant, answer));
        }
        messages.push(Message::new(Role::User, head + &self.heading(input)));
        ChatRequest { messages, think: Some(false), ..ChatRequest::default() }
    }

    /// The text that ends where the answer to an input begins.
    pub fn plain(&self, input: &str) -> String {
        let mut text = if self.head.is_empty() { String::new() } else { format!("{}\n\n", self.head) };
        for (shown, answer) in &self.shots {
            let _ = write!(text, "{}\n\n{}: {answer}\n\n", self.heading(shown), self.answered);
        }
        let _ = write!(text, "{}\n\n{}:", self.heading(input), self.answered);
        text
    }

    fn heading(&self, input: &str) -> String {
        if self.asked.is_empty() { input.to_owned() } else { format!("{}:\n{input}", self.asked) }
    }

    /// The prompt for an input as a person reads it.
    pub fn shown(&self, input: &str, has_template: bool) -> String {
        if !has_template {
            return self.plain(input);
        }
        let mut text = String::new();
        for message in self.chat(input).messages {
            let role = if message.role == Role::User { "user" } else { "assistant" };
            let _ = writeln!(text, "[{role}]\n{}\n", message.content);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_two_inputs_have_all_in_common_but_their_end() {
        let shots = vec![("Where is it?".to_owned(), "shipping".to_owned())];
        let frame = Frame { shots, ..Frame::new("Which label?".to_owned(), "Text", "Label") };
        let expected = "Which label?\n\nText:\nWhere is it?\n\nLabel: shipping\n\nText:\nIt broke.\n\nLabel:";
        assert_eq!(frame.plain("It broke."), expected);
        let (one, other) = (frame.chat("a").messages, frame.chat("b").messages);
        assert_eq!(one[..2], other[..2]);
        assert_eq!(one[0].content, "Which label?\n\nText:\nWhere is it?");
        assert_eq!(one[2].content, "Text:\na");
        assert_eq!(
            frame.shown("a", true),
            "[user]\nWhich label?\n\nText:\nWhere is it?\n\n[assistant]\nshipping\n\n[user]\nText:\na"
        );
    }
}
