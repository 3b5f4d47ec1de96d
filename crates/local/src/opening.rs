//! What stands before every conversation with a model: its system text, and messages that show it how to answer.
//!
//! Both come from whoever made the model out of another one. Read next: `local_model`, which renders the whole.

use chat::{Message, Role};
use std::borrow::Cow;

/// What stands before every conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opening {
    /// The system text of conversations that have none of their own.
    pub system: Option<String>,
    /// Messages between the system text and the conversation.
    pub messages: Vec<Message>,
}

impl Opening {
    /// The conversation as the model is to read it.
    pub(crate) fn before<'a>(&self, conversation: &'a [Message]) -> Cow<'a, [Message]> {
        let leading = conversation.iter().take_while(|message| message.role == Role::System).count();
        let system = self.system.as_ref().filter(|_| leading == 0).map(|text| Message::new(Role::System, text));
        if system.is_none() && self.messages.is_empty() {
            return Cow::Borrowed(conversation);
        }
        let (instructions, rest) = conversation.split_at(leading);
        let opening = system.iter().chain(instructions).chain(&self.messages);
        Cow::Owned(opening.chain(rest).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(opening: &Opening, conversation: &[Message]) -> Vec<String> {
        opening.before(conversation).iter().map(|message| format!("{:?} {}", message.role, message.content)).collect()
    }

    #[test]
    fn the_conversations_own_instructions_go_before_the_models() {
        let ask = Message::new(Role::User, "hi");
        let own = [Message::new(Role::System, "own"), ask.clone()];
        let mut opening = Opening::default();
        assert!(matches!(opening.before(&own), Cow::Borrowed(_)));
        opening.system = Some("be brief".to_owned());
        assert_eq!(said(&opening, std::slice::from_ref(&ask)), ["System be brief", "User hi"]);
        assert_eq!(said(&opening, &own), ["System own", "User hi"]);
        opening.messages = vec![Message::new(Role::User, "2+2"), Message::new(Role::Assistant, "4")];
        let expected = ["System be brief", "User 2+2", "Assistant 4", "User hi"];
        assert_eq!(said(&opening, std::slice::from_ref(&ask)), expected);
        assert_eq!(said(&opening, &own), ["System own", "User 2+2", "Assistant 4", "User hi"]);
    }
}
