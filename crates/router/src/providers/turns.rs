//! A conversation in which two take turns, as protocols have it that keep the system's text apart.

use super::Asked;
use chat::{ChatError, Message, Role};
use serde_json::Value;

/// The system's text, and who says which pieces.
pub(super) type Turns = (Option<String>, Vec<(&'static str, Vec<Value>)>);

/// Takes a conversation apart. Messages of one side that follow each other are one turn; a result of a tool is said by
/// the user. `pieces` has a message, by its place among all of them, in the words of the protocol.
///
/// # Errors
/// A message of the system after others, a field that no protocol here has, and those of `pieces`.
pub(super) fn turns(
    asked: &Asked<'_>,
    assistant: &'static str,
    pieces: impl Fn(usize, &Message) -> Result<Vec<Value>, ChatError>,
) -> Result<Turns, ChatError> {
    let mut system: Option<String> = None;
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (index, message) in asked.request.messages.iter().enumerate() {
        // The tool of a result is known by the call.
        let is_known = |key: &str| message.role == Role::Tool && key == "name";
        if let Some(key) = message.extra.keys().find(|key| !is_known(key)) {
            return asked.refuse(format_args!("messages[{index}].{key}: there is no such field"));
        }
        let role = match message.role {
            Role::System if turns.is_empty() => {
                let system = system.get_or_insert_default();
                system.push_str(if system.is_empty() { "" } else { "\n\n" });
                system.push_str(&message.content);
                continue;
            }
            Role::System => {
                let expected = "expected messages of the system only at the beginning";
                return asked.refuse(format_args!("messages[{index}].role: {expected}"));
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => assistant,
        };
        let pieces = pieces(index, message)?;
        match turns.last_mut().filter(|(last, _)| *last == role) {
            Some((_, last)) => last.extend(pieces),
            None => turns.push((role, pieces)),
        }
    }
    Ok((system, turns))
}
