//! What a name asks for: a model, or a model with an adapter (`base+adapter`).
//!
//! A name in the store may have a `+` of its own; it goes before a name that is taken apart. Knows names and where files
//! lie, not what is in them. Read next: `host.rs`.

use super::refusal;
use super::residents::Version;
use crate::loading::ModelSource;
use crate::opening::Opening;
use chat::{ChatError, Message, Role};
use hub::{Hub, Lookup, Manifest, ModelRef, OpeningMessage, Settings};
use std::path::PathBuf;
use std::time::SystemTime;

/// Longer than any path or name that means something.
const LONGEST_NAME: usize = 4096;
/// Plus signs of names and adapters together.
const MOST_PLUSES: usize = 8;

/// A model, with the adapter that it is asked for with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Its name among the models in memory.
    pub(crate) name: String,
    pub(crate) model: ModelRef,
    pub(crate) adapter: Option<ModelRef>,
}

impl Target {
    /// What a name asks for.
    ///
    /// # Errors
    /// Names of nothing, and parts of a name that are.
    pub(crate) fn of(hub: &Hub, name: &str) -> Result<Target, ChatError> {
        // Names come from clients too, and each part of one is compared with all that are known.
        if name.len() > LONGEST_NAME || name.matches('+').count() > MOST_PLUSES {
            let text =
                format!("no model of that name: expected at most {LONGEST_NAME} bytes and {MOST_PLUSES} plus signs");
            return Err(ChatError::UnknownModel(text));
        }
        if let Some(model) = known(hub, name) {
            return Ok(Target { name: model.store_name(), model, adapter: None });
        }
        for (position, _) in name.match_indices('+') {
            let Some(model) = known(hub, &name[..position]) else { continue };
            let adapter = hub.resolve(&name[position + 1..]).map_err(refusal)?;
            let name = format!("{}+{}", model.store_name(), adapter.store_name());
            return Ok(Target { name, model, adapter: Some(adapter) });
        }
        let model = hub.resolve(name).map_err(refusal)?;
        Ok(Target { name: model.store_name(), model, adapter: None })
    }

    /// The model without the adapter.
    pub(crate) fn base(&self) -> Target {
        Target { name: self.model.store_name(), model: self.model.clone(), adapter: None }
    }

    /// The state of its files now.
    pub(crate) fn version(&self, hub: &Hub) -> Version {
        [Some(&self.model), self.adapter.as_ref()].map(|reference| reference.and_then(|it| written(hub, it)))
    }
}

/// The model that a text names as a whole.
fn known(hub: &Hub, text: &str) -> Option<ModelRef> {
    match hub.look_up(text) {
        Lookup::Model(ModelRef::Path(path)) => path.exists().then_some(ModelRef::Path(path)),
        // No hub or registry has names with a +: what follows it is an adapter, unless the store has the whole name.
        Lookup::Model(reference) if text.contains('+') => {
            hub.store().modified(&reference.store_name()).map(|_| reference)
        }
        Lookup::Model(reference) => Some(reference),
        Lookup::NearMiss { .. } | Lookup::NotAModel => None,
    }
}

fn written(hub: &Hub, reference: &ModelRef) -> Option<SystemTime> {
    match reference {
        ModelRef::Path(path) => std::fs::metadata(path).and_then(|data| data.modified()).ok(),
        named => hub.store().modified(&named.store_name()),
    }
}

/// Where the adapter of a reference lies.
///
/// # Errors
/// A model that is none, or is not here: adapters are not fetched by asking for them.
pub(crate) fn adapter_path(hub: &Hub, reference: &ModelRef) -> Result<PathBuf, ChatError> {
    let path = match hub.manifest(reference).map_err(refusal)? {
        Some(manifest) if !manifest.is_adapter() => None,
        Some(manifest) => hub.store().locate_adapter(&manifest).map_err(refusal)?,
        None => Some(hub.locate(reference).map_err(refusal)?).filter(|path| hub::is_adapter(path)),
    };
    path.ok_or_else(|| {
        let name = reference.store_name();
        ChatError::InvalidRequest(format!(
            "{name} is no adapter, expected one after the + of a model's name\n\
             hint: an adapter is a GGUF file whose general.type is adapter, or a folder of the PEFT library"
        ))
    })
}

impl ModelSource {
    /// A model at a path, with what its manifest says of it.
    pub fn stored(hub: &Hub, name: String, path: PathBuf, manifest: Option<&Manifest>) -> ModelSource {
        let settings = manifest.and_then(|manifest| manifest.settings.as_ref());
        let digest = manifest.and_then(Manifest::sole_digest);
        ModelSource {
            name,
            path,
            parameters: manifest.and_then(Manifest::parameters).cloned(),
            prepared: digest.map(|digest| hub.store().prepared_path(&digest)),
            template: settings.and_then(|settings| settings.chat_template.clone()),
            opening: settings.map(Opening::from).unwrap_or_default(),
        }
    }
}

/// Roles of messages in a manifest.
const ROLES: [(&str, Role); 3] = [("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)];

impl From<&Settings> for Opening {
    fn from(settings: &Settings) -> Opening {
        let message = |message: &OpeningMessage| {
            // `create` writes these three alone; what somebody else wrote is said by the user.
            let role = ROLES.iter().find(|(name, _)| *name == message.role).map_or(Role::User, |(_, role)| *role);
            Message::new(role, &message.content)
        };
        Opening { system: settings.system.clone(), messages: settings.messages.iter().map(message).collect() }
    }
}

/// A message as a manifest keeps it; none for roles that cannot stand before a conversation.
pub(crate) fn opening_message(message: &Message) -> Option<OpeningMessage> {
    let (role, _) = ROLES.iter().find(|(_, role)| *role == message.role)?;
    Some(OpeningMessage { role: (*role).to_owned(), content: message.content.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_hub_is_taken_apart_too() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(hub::Home::at(folder.path()), hub::HubOptions::from_env()).unwrap();
        let target = Target::of(&hub, "hf:o/r:q8_0+hf:me/lora").unwrap();
        assert_eq!(target.name, "hf:o/r:q8_0+hf:me/lora");
        assert_eq!(
            (target.base().name.as_str(), target.adapter.unwrap().store_name().as_str()),
            ("hf:o/r:q8_0", "hf:me/lora")
        );
        assert_eq!(Target::of(&hub, "smollm2:135m").unwrap().adapter, None);
    }

    #[test]
    fn messages_keep_their_roles() {
        for role in [Role::System, Role::User, Role::Assistant] {
            let settings =
                Settings { messages: vec![opening_message(&Message::new(role, "x")).unwrap()], ..Settings::default() };
            assert_eq!(Opening::from(&settings).messages, [Message::new(role, "x")]);
        }
        assert_eq!(opening_message(&Message::new(Role::Tool, "x")), None);
    }
}
