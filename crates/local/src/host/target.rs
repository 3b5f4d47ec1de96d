//! What a name asks for: a model, or a model with an adapter (`base+adapter`).
//!
//! A name in the store may have a `+` of its own; it goes before a name that is taken apart. Knows names and where files
//! lie, not what is in them. Read next: `host.rs`.

use super::refusal;
use super::residents::{Reach, Version};
use crate::file_state::FileState;
use crate::loading::ModelSource;
use crate::opening::Opening;
use chat::{ChatError, Message, Role};
use hub::{Hub, Lookup, Manifest, ModelRef, OpeningMessage, Settings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Longer than any path or name that means something.
const LONGEST_NAME: usize = 4096;
/// Plus signs of names and adapters together.
const MOST_PLUSES: usize = 8;

/// What names of the command line ask for. What is named and is nothing is told by
/// [`super::LocalHost::check_known`], or by whoever loads it.
pub(crate) fn targets(hub: &Hub, names: &[String]) -> impl Iterator<Item = Target> {
    names.iter().filter_map(|name| Target::of(hub, &Reached::Everything, name).ok())
}

/// What names reach: [`Reach`], with the names of the command line taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    Everything,
    /// The store, and these files.
    Store(BTreeSet<PathBuf>),
}

impl Reached {
    pub(crate) fn of(hub: &Hub, reach: &Reach) -> Reached {
        let Reach::Store { named } = reach else { return Reached::Everything };
        let parts = targets(hub, named).flat_map(|target| [Some(target.model), target.adapter]);
        let files = parts.filter_map(|part| match part {
            Some(ModelRef::Path(path)) => Some(path),
            _ => None,
        });
        Reached::Store(files.collect())
    }

    /// Whether a file of this machine may be asked for.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        match self {
            Reached::Everything => true,
            Reached::Store(files) => files.contains(path),
        }
    }

    /// What a text names as a whole, among all that is reached.
    fn find(&self, hub: &Hub, text: &str) -> Option<ModelRef> {
        let found = match self {
            Reached::Everything => Some(hub.look_up(text)),
            Reached::Store(_) => hub.look_up_name(text),
        };
        match (found, self) {
            (Some(Lookup::Model(reference)), _) => Some(reference),
            (None, Reached::Store(files)) => files.get(Path::new(text)).cloned().map(ModelRef::Path),
            _ => None,
        }
    }

    /// The same, or what is wrong with it. `name` is what was asked for, which the text may be a part of.
    fn resolve(&self, hub: &Hub, text: &str, name: &str) -> Result<ModelRef, ChatError> {
        match (self.find(hub, text), self) {
            (Some(reference), _) => Ok(reference),
            (None, Reached::Everything) => hub.resolve(text).map_err(refusal),
            // The same whether it is there or not: nobody has looked.
            (None, Reached::Store(_)) if begins_or_ends_as_path(text) => {
                let hint = "only files that the server was started with can be asked for";
                Err(ChatError::UnknownModel(format!("no model {name:?} in the store\nhint: {hint}")))
            }
            (None, Reached::Store(_)) => hub.resolve_name(text).map_err(refusal),
        }
    }
}

/// What is said of an adapter's name that nobody knows, in place of what is said of a model's.
fn no_adapter(text: &str, error: ChatError) -> ChatError {
    match error {
        ChatError::UnknownModel(_) if !begins_or_ends_as_path(text) => ChatError::UnknownModel(format!(
            "no adapter {text:?}\nhint: `bantam list` shows those in the store; `bantam import FILE --name NAME` adds one"
        )),
        other => other,
    }
}

fn begins_or_ends_as_path(text: &str) -> bool {
    let is_gguf = Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    is_gguf || text.starts_with(['/', '.', '~'])
}

/// A model, with the adapter that it is asked for with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Its name among the models in memory.
    pub(crate) name: String,
    pub(crate) model: ModelRef,
    pub(crate) adapter: Option<ModelRef>,
}

impl Target {
    /// What a name asks for, among what names reach.
    ///
    /// # Errors
    /// Names of nothing, and parts of a name that are.
    pub(crate) fn of(hub: &Hub, reached: &Reached, name: &str) -> Result<Target, ChatError> {
        // Names come from clients too, and each part of one is compared with all that are known.
        if name.len() > LONGEST_NAME || name.matches('+').count() > MOST_PLUSES {
            let text =
                format!("no model of that name: expected at most {LONGEST_NAME} bytes and {MOST_PLUSES} plus signs");
            return Err(ChatError::UnknownModel(text));
        }
        if let Some(model) = known(hub, reached, name) {
            return Ok(Target { name: model.store_name(), model, adapter: None });
        }
        for (position, _) in name.match_indices('+') {
            let Some(model) = known(hub, reached, &name[..position]) else { continue };
            let text = &name[position + 1..];
            let adapter = reached.resolve(hub, text, name).map_err(|error| no_adapter(text, error))?;
            let name = format!("{}+{}", model.store_name(), adapter.store_name());
            return Ok(Target { name, model, adapter: Some(adapter) });
        }
        let model = reached.resolve(hub, name, name)?;
        Ok(Target { name: model.store_name(), model, adapter: None })
    }

    /// The model without the adapter.
    pub(crate) fn base(&self) -> Target {
        Target { name: self.model.store_name(), model: self.model.clone(), adapter: None }
    }

    /// The state of its files now.
    pub(crate) fn version(&self, hub: &Hub) -> Version {
        [Some(&self.model), self.adapter.as_ref()].map(|reference| reference.and_then(|it| state(hub, it)))
    }
}

/// The model that a text names as a whole.
fn known(hub: &Hub, reached: &Reached, text: &str) -> Option<ModelRef> {
    match reached.find(hub, text)? {
        ModelRef::Path(path) => path.exists().then_some(ModelRef::Path(path)),
        // No hub or registry has names with a +: what follows it is an adapter, unless the store has the whole name.
        reference if text.contains('+') => hub.store().modified(&reference.store_name()).map(|_| reference),
        reference => Some(reference),
    }
}

fn state(hub: &Hub, reference: &ModelRef) -> Option<FileState> {
    match reference {
        ModelRef::Path(path) => FileState::of(path),
        // Bytes in the store are never replaced: what is under a name changes with its manifest.
        named => hub.store().modified(&named.store_name()).map(FileState::written),
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
        let target = Target::of(&hub, &Reached::Everything, "hf:o/r:q8_0+hf:me/lora").unwrap();
        assert_eq!(target.name, "hf:o/r:q8_0+hf:me/lora");
        assert_eq!(
            (target.base().name.as_str(), target.adapter.unwrap().store_name().as_str()),
            ("hf:o/r:q8_0", "hf:me/lora")
        );
        assert_eq!(Target::of(&hub, &Reached::Everything, "smollm2:135m").unwrap().adapter, None);
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
