//! The providers: one line of the table each, over three protocols of one file each.
//!
//! A model elsewhere is named `provider/model`; all after the first `/` is the provider's own name for it. Read next:
//! `openai.rs` for a protocol, `remote_model.rs` for what is done with it.

mod anthropic;
mod gemini;
mod openai;
mod turns;

use crate::Key;
use crate::answer::Answer;
use crate::failure::Trouble;
use crate::format::Held;
use chat::{ChatError, ChatRequest};
use reqwest::header::HeaderValue;
use serde_json::{Number, Value};
use std::fmt;

/// A provider that is known by name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name, before the first `/` of a model's.
    pub name: &'static str,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where.
    pub base_url: &'static str,
    /// The variable of the environment that has the key.
    pub key_variable: &'static str,
    /// What public catalogues of prices call it, where that is another name.
    pub other_names: &'static [&'static str],
}

/// All of them, each as its own documentation has it (November 2026). Anyscale keeps this address for accounts of its
/// former public endpoints; others have an address of their own, see [`Remote::custom`].
pub static PRESETS: [Preset; 8] = [
    preset("openai", Protocol(&openai::REFERENCE), "https://api.openai.com/v1", "OPENAI_API_KEY", &[]),
    preset("anthropic", Protocol(&anthropic::MESSAGES), "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", &[]),
    preset(
        "gemini",
        Protocol(&gemini::GENERATE),
        "https://generativelanguage.googleapis.com/v1beta",
        "GEMINI_API_KEY",
        &["google"],
    ),
    preset("together", Protocol(&openai::HOSTED), "https://api.together.xyz/v1", "TOGETHER_API_KEY", &["together_ai"]),
    preset(
        "fireworks",
        Protocol(&openai::HOSTED_LOGPROBS),
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        &["fireworks_ai"],
    ),
    preset("anyscale", Protocol(&openai::HOSTED), "https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY", &[]),
    preset("replicate", Protocol(&openai::HOSTED), "https://openai-proxy.replicate.com/v1", "REPLICATE_API_TOKEN", &[]),
    preset("mistral", Protocol(&openai::MISTRAL), "https://api.mistral.ai/v1", "MISTRAL_API_KEY", &[]),
];

/// The protocols that an endpoint of one's own may speak, by name.
static PROTOCOLS: [(&str, Protocol); 3] = [
    ("openai", Protocol(&openai::ENDPOINT)),
    ("anthropic", Protocol(&anthropic::MESSAGES)),
    ("gemini", Protocol(&gemini::GENERATE)),
];

const fn preset(
    name: &'static str,
    protocol: Protocol,
    base_url: &'static str,
    key_variable: &'static str,
    other_names: &'static [&'static str],
) -> Preset {
    Preset { name, protocol, base_url, key_variable, other_names }
}

/// The name that a provider has here, by the one that a catalogue of prices has for it.
pub(crate) fn own_name(catalogued: &str) -> &str {
    PRESETS.iter().find(|preset| preset.other_names.contains(&catalogued)).map_or(catalogued, |preset| preset.name)
}

/// How a provider is spoken to.
#[derive(Clone, Copy)]
pub struct Protocol(pub(crate) &'static dyn Wire);

impl Protocol {
    /// The protocol of that name: `openai`, `anthropic` or `gemini`.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Protocol, ChatError> {
        let found = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol);
        found.ok_or_else(|| {
            let known: Vec<&str> = PROTOCOLS.iter().map(|(known, _)| *known).collect();
            ChatError::InvalidRequest(format!("expected a protocol of {}, got {name:?}", known.join(", ")))
        })
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Protocol({})", self.0.name())
    }
}

/// An endpoint that answers.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its name, before the first `/` of a model's.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address that paths of the protocol are added to, as `https://host/v1`.
    pub base_url: String,
    /// The key, where it wants one.
    pub key: Option<Key>,
    /// Positions of its models' contexts, where they are known.
    pub context: Option<usize>,
    /// Whether answers are asked for piece by piece; else as a whole, for endpoints that cannot stream.
    pub streams: bool,
}

impl Remote {
    /// The provider of a model's name, and the name that it gives the model. `lookup` reads the environment.
    ///
    /// # Errors
    /// No such provider, or no key in the environment; the variable is named.
    pub fn of_name<'n>(name: &'n str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(Remote, &'n str), ChatError> {
        let known = || PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
        let Some((provider, model)) = name.split_once('/').filter(|(_, model)| !model.is_empty()) else {
            return Err(ChatError::UnknownModel(format!(
                "expected provider/model, got {name:?}\nhint: providers are {}",
                known()
            )));
        };
        let Some(preset) = PRESETS.iter().find(|preset| preset.name == provider) else {
            return Err(ChatError::UnknownModel(format!(
                "there is no provider {provider:?} for {name}\nhint: providers are {}; an endpoint of your own is \
                 described with its protocol and address",
                known()
            )));
        };
        let key = Key::of_variable(preset.key_variable, lookup)?;
        let remote = Remote::new(preset.name, preset.protocol, preset.base_url, Some(key))?;
        Ok((remote, model))
    }

    /// An endpoint of one's own.
    ///
    /// # Errors
    /// An address that is none, or that holds what may be secret.
    pub fn custom(name: &str, protocol: &str, base_url: &str, key: Option<Key>) -> Result<Remote, ChatError> {
        Remote::new(name, Protocol::named(protocol)?, base_url, key)
    }

    fn new(name: &str, protocol: Protocol, base_url: &str, key: Option<Key>) -> Result<Remote, ChatError> {
        let wrong = |why: &str| {
            Err(ChatError::InvalidRequest(format!("{name}: expected a base URL as https://host/v1, got {why}")))
        };
        let Ok(url) = reqwest::Url::parse(base_url) else { return wrong(&format!("{base_url:?}")) };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return wrong(&format!("one of the scheme {}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return wrong("one with credentials, a query or a fragment\nhint: a key belongs into the environment");
        }
        Ok(Remote {
            name: name.to_owned(),
            protocol,
            base_url: base_url.trim_end_matches('/').to_owned(),
            key,
            context: None,
            streams: true,
        })
    }
}

/// A question on its way out.
pub(crate) struct Asked<'a> {
    /// The model's full name, for people.
    pub(crate) name: &'a str,
    /// The provider's own name for it.
    pub(crate) model: &'a str,
    /// Whether the answer is wanted piece by piece.
    pub(crate) streams: bool,
    pub(crate) request: &'a ChatRequest,
}

/// A question as a protocol has it.
pub(crate) struct Outgoing {
    /// Added to the base URL.
    pub(crate) path: String,
    pub(crate) body: Value,
    /// What the answer is held to.
    pub(crate) held: Held,
}

/// A protocol.
pub(crate) trait Wire: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Headers beside the content's type; the key's value is marked as secret.
    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)>;

    /// A question in its words.
    ///
    /// # Errors
    /// What the protocol has no words for, by name.
    fn outgoing(&self, asked: &Asked<'_>) -> Result<Outgoing, ChatError>;

    /// Whether calls are held to the schemas of their tools where a tool wants that.
    fn holds_tools(&self) -> bool;

    /// Reads one answer to such a question.
    fn reader(&self, request: &ChatRequest) -> Box<dyn Reader>;
}

/// Reads the answer to one question.
pub(crate) trait Reader: Send {
    /// Takes the data of one event of a stream.
    fn event(&mut self, data: &str, answer: &mut Answer) -> Result<(), Trouble>;

    /// Takes an answer that came as a whole.
    fn whole(&mut self, body: &str, answer: &mut Answer) -> Result<(), Trouble>;
}

impl Asked<'_> {
    /// The refusal of what the protocol has no words for.
    pub(crate) fn decline<T>(&self, what: &'static str) -> Result<T, ChatError> {
        Err(ChatError::Unsupported { model: self.name.to_owned(), what })
    }

    /// Refuses the first of these that was asked for.
    pub(crate) fn decline_any(&self, all: &[(&'static str, bool)]) -> Result<(), ChatError> {
        all.iter().find(|(_, is_asked)| *is_asked).map_or(Ok(()), |(what, _)| self.decline(what))
    }

    /// The refusal of a field of the request by its place.
    pub(crate) fn refuse<T>(&self, text: impl fmt::Display) -> Result<T, ChatError> {
        Err(ChatError::InvalidRequest(format!("{}: {text}", self.name)))
    }

    /// A number as people write it: 0.1 rather than the nearest f64 of an f32.
    pub(crate) fn number(&self, field: &str, number: f32) -> Result<Value, ChatError> {
        let found = number.to_string().parse::<f64>().ok().and_then(Number::from_f64);
        found.map_or_else(
            || self.refuse(format_args!("{field}: expected a number, got {number}")),
            |number| Ok(number.into()),
        )
    }
}

/// The headers of a key; `prefix` comes before it.
pub(crate) fn key_header(name: &'static str, prefix: &str, key: Option<&Key>) -> Option<(&'static str, HeaderValue)> {
    let value = HeaderValue::from_str(&format!("{prefix}{}", key?.secret()));
    let mut value = value.expect("a key is checked when it is made; this is a bug");
    value.set_sensitive(true);
    Some((name, value))
}

/// What is wrong with JSON that came.
pub(crate) fn not_json(error: &serde_json::Error, data: &str) -> Trouble {
    let beginning: String = data.chars().take(80).collect();
    Trouble::passing(format!("expected JSON of the protocol, got {beginning:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        Remote::of_name(name, &|_| None).unwrap_err().to_string()
    }

    #[test]
    fn a_model_is_named_by_its_provider_and_its_own_name_there() {
        let lookup = |variable: &str| (variable == "TOGETHER_API_KEY").then(|| "sk-1".to_owned());
        let (remote, model) = Remote::of_name("together/meta-llama/Llama-3", &lookup).unwrap();
        assert_eq!((remote.name.as_str(), model), ("together", "meta-llama/Llama-3"));
        assert_eq!(remote.base_url, "https://api.together.xyz/v1");
        assert!(!format!("{remote:?}").contains("sk-1"), "{remote:?}");
        let known = "hint: providers are openai, anthropic, gemini, together, fireworks, anyscale, replicate, mistral";
        assert_eq!(refused("gpt-4o"), format!("expected provider/model, got \"gpt-4o\"\n{known}"));
        assert_eq!(
            refused("nobody/x"),
            format!(
                "there is no provider \"nobody\" for nobody/x\n{known}; an endpoint of your own is described with its \
                 protocol and address"
            )
        );
        assert!(
            refused("openai/gpt-4o").starts_with("expected a key in the environment variable OPENAI_API_KEY, got none")
        );
    }

    #[test]
    fn every_preset_has_an_address_and_a_key_of_its_own() {
        for (index, preset) in PRESETS.iter().enumerate() {
            assert!(preset.base_url.starts_with("https://") && !preset.base_url.ends_with('/'), "{}", preset.name);
            assert!(PRESETS[..index].iter().all(|other| other.key_variable != preset.key_variable), "{}", preset.name);
            assert_eq!(preset.other_names.iter().map(|name| own_name(name)).find(|own| *own != preset.name), None);
        }
        assert_eq!(own_name("groq"), "groq");
    }

    #[test]
    fn an_address_that_is_none_or_holds_a_secret_is_refused() {
        let refused = |url: &str| Remote::custom("mine", "openai", url, None).unwrap_err().to_string();
        let expected = "mine: expected a base URL as https://host/v1, got ";
        assert_eq!(refused("nowhere"), format!("{expected}\"nowhere\""));
        assert_eq!(refused("ftp://host/v1"), format!("{expected}one of the scheme ftp"));
        let secret =
            format!("{expected}one with credentials, a query or a fragment\nhint: a key belongs into the environment");
        assert_eq!(refused("https://me:sk-1@host/v1"), secret);
        assert_eq!(refused("https://host/v1?key=sk-1"), secret);
        let Err(error) = Remote::custom("mine", "soap", "https://host", None) else { panic!() };
        assert_eq!(error.to_string(), "expected a protocol of openai, anthropic, gemini, got \"soap\"");
    }
}
