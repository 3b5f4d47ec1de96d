//! The state of a chat: what was said, how to answer, and the slash commands that change it.
//!
//! Knows no terminal and no line editor: a command comes in as a line and a reply goes out as text, so that all of it
//! is tested without a screen. Read next: `repl.rs`, which shows it.

use chat::{AnswerFormat, ChatRequest, GenerationOptions, Message, ModelInfo, Role};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What was said and how to answer; this is also the file that `/save` writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Instructions that stand before everything said.
    pub system: Option<String>,
    /// What was said, oldest first; neither the system's message nor an unanswered one.
    pub messages: Vec<Message>,
    /// How to generate.
    #[serde(default)]
    pub options: GenerationOptions,
    /// Whether a thinking model should think.
    #[serde(default)]
    pub think: Option<bool>,
    /// Whether messages go to the model as plain text, each alone, because it has no template.
    #[serde(skip)]
    pub raw: bool,
    /// What answers must be.
    #[serde(skip)]
    pub format: Option<AnswerFormat>,
    /// Tokens of the context in use after the last answer.
    #[serde(skip)]
    pub used_tokens: usize,
}

/// How full a context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// So many tokens.
    Tokens(usize),
    /// Something was loaded that nobody has counted yet; the next answer tells.
    Unknown,
}

impl std::fmt::Display for Used {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Used::Tokens(count) => write!(out, "{count}"),
            Used::Unknown => out.write_str("?"),
        }
    }
}

/// What a line typed by the person leads to.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// Ask the model this.
    Ask(String),
    /// Show this text.
    Show(String),
    /// Show this complaint.
    Complain(String),
    /// Leave.
    Leave,
    /// Nothing was said.
    Nothing,
}

/// A slash command: one row of [`COMMANDS`].
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Conversation, &str, &ModelInfo) -> Result<Reply, String>,
}

/// The value that takes a setting back.
const UNSET: &str = "default";

const COMMANDS: &[Command] = &[
    Command { name: "help", arguments: "", help: "this list", run: |_, _, _| Ok(Reply::Show(help())) },
    Command { name: "system", arguments: "[TEXT]", help: "show or set the instructions; default: none", run: system },
    Command {
        name: "set",
        arguments: "[OPTION [VALUE]]",
        help: "show or set how answers are made; default: the model's own",
        run: set,
    },
    Command { name: "save", arguments: "FILE", help: "write this chat to a file", run: save },
    Command { name: "load", arguments: "FILE", help: "go on with a saved chat", run: load },
    Command { name: "clear", arguments: "", help: "forget what was said", run: clear },
    Command { name: "show", arguments: "", help: "the model, and how full its context is", run: show },
    Command { name: "bye", arguments: "", help: "leave (also Ctrl-D)", run: |_, _, _| Ok(Reply::Leave) },
];

impl Conversation {
    /// Takes a line of the person's, as the editor has it: with the backslashes that made it go on.
    pub fn line(&mut self, line: &str, info: &ModelInfo) -> Reply {
        let line = joined(line);
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return match unquote(line) {
                "" => Reply::Nothing,
                text => Reply::Ask(text.to_owned()),
            };
        };
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let name = if matches!(name, "quit" | "exit") { "bye" } else { name };
        match COMMANDS.iter().find(|row| row.name == name) {
            Some(row) => (row.run)(self, unquote(argument.trim()), info).unwrap_or_else(Reply::Complain),
            None => Reply::Complain(format!("no command /{name}\nhint: /help lists them")),
        }
    }

    /// The request that asks `text` after all that was said.
    pub fn request(&self, text: &str) -> ChatRequest {
        let system = self.system.iter().map(|text| Message::new(Role::System, text.as_str()));
        let asked = std::iter::once(Message::new(Role::User, text));
        ChatRequest {
            messages: system.chain(self.messages.iter().cloned()).chain(asked).collect(),
            think: self.think,
            format: self.format.clone(),
            options: self.options.clone(),
            ..ChatRequest::default()
        }
    }

    /// Refuses what only a template could hand to the model.
    fn needs_template(&self, what: &str) -> Result<(), String> {
        if self.raw {
            return Err(format!("{what} would not reach the model: it completes plain text, without a chat template"));
        }
        Ok(())
    }

    /// How full a context of this size is.
    pub fn used(&self, context: usize) -> Used {
        match (self.used_tokens, self.messages.is_empty()) {
            (0, false) => Used::Unknown,
            // The last token that was made needs no place of its own.
            (count, _) => Used::Tokens(count.min(context)),
        }
    }

    /// Keeps what was asked and answered. A half answer after Ctrl-C is kept as it stands.
    pub fn keep(&mut self, asked: &str, answer: &crate::answer::Answer) {
        self.messages.push(Message::new(Role::User, asked));
        let thought = (!answer.thought.is_empty()).then(|| answer.thought.clone());
        self.messages.push(Message { thought, ..Message::new(Role::Assistant, answer.text.as_str()) });
        // One that was stopped before it began told nothing of its tokens.
        if answer.usage.prompt_tokens > 0 {
            self.used_tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens;
        }
    }
}

/// Whether a line still waits for its end: an open `"""`, or a backslash at its end.
pub fn is_incomplete(text: &str) -> bool {
    text.matches("\"\"\"").count() % 2 == 1 || text.ends_with('\\')
}

/// The text without the backslashes that let its lines go on. Between `"""` lines go on by themselves, and a backslash
/// there is part of the text.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for (index, part) in text.split("\"\"\"").enumerate() {
        if index > 0 {
            joined.push_str("\"\"\"");
        }
        let is_quoted = index % 2 == 1;
        joined.push_str(&if is_quoted { part.to_owned() } else { part.replace("\\\n", "\n") });
    }
    joined
}

/// Text between `"""` and `"""` means the text.
fn unquote(text: &str) -> &str {
    text.strip_prefix("\"\"\"").and_then(|text| text.strip_suffix("\"\"\"")).map_or(text, str::trim)
}

fn help() -> String {
    let mut text = String::new();
    for row in COMMANDS {
        let left = format!("/{} {}", row.name, row.arguments);
        text.push_str(&format!("  {left:<22} {}\n", row.help));
    }
    text.push_str(
        "  \"\"\"several lines\"\"\"    a message of several lines; a backslash at a line's end also goes on\n\
         \x20 Ctrl-C                 stop the answer; Ctrl-D leaves\n",
    );
    text
}

fn system(conversation: &mut Conversation, text: &str, _: &ModelInfo) -> Result<Reply, String> {
    if text.is_empty() {
        let current = conversation.system.as_deref().unwrap_or("no instructions are set");
        return Ok(Reply::Show(format!("{current}\n")));
    }
    if text == UNSET {
        conversation.system = None;
        return Ok(Reply::Show("no instructions are set\n".to_owned()));
    }
    conversation.needs_template("instructions")?;
    conversation.system = Some(text.to_owned());
    Ok(Reply::Show("instructions set\n".to_owned()))
}

fn clear(conversation: &mut Conversation, _: &str, _: &ModelInfo) -> Result<Reply, String> {
    conversation.messages.clear();
    conversation.used_tokens = 0;
    Ok(Reply::Show("forgotten; instructions and settings stay\n".to_owned()))
}

fn show(conversation: &mut Conversation, _: &str, info: &ModelInfo) -> Result<Reply, String> {
    Ok(Reply::Show(format!(
        "model    {} ({}, {}, {})\ncontext  {} of {} tokens used by {} messages\n",
        info.name,
        info.family,
        crate::table::parameters(info.parameters),
        info.quantization,
        conversation.used(info.context),
        info.context,
        conversation.messages.len(),
    )))
}

fn save(conversation: &mut Conversation, file: &str, _: &ModelInfo) -> Result<Reply, String> {
    let file = named_file("save", file)?;
    let json = serde_json::to_string_pretty(conversation).map_err(|error| error.to_string())?;
    let is_chat = |text: Vec<u8>| serde_json::from_slice::<Conversation>(&text).is_ok();
    if file.exists() && !std::fs::read(file).is_ok_and(is_chat) {
        let file = file.display();
        return Err(format!("{file}: exists and is no saved chat; it was left as it is\nhint: take another name"));
    }
    std::fs::write(file, json + "\n").map_err(|error| {
        format!("{}: cannot write: {error}\nhint: name a file in a folder of yours", file.display())
    })?;
    Ok(Reply::Show(format!("saved {} messages to {}\n", conversation.messages.len(), file.display())))
}

fn load(conversation: &mut Conversation, file: &str, _: &ModelInfo) -> Result<Reply, String> {
    let file = named_file("load", file)?;
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: cannot read: {error}\nhint: /save writes a chat to a file", file.display()))?;
    let saved: Conversation = serde_json::from_str(&text)
        .map_err(|error| format!("{}: not a saved chat: {error}\nhint: /save writes one", file.display()))?;
    if !saved.messages.is_empty() || saved.system.is_some() || saved.think.is_some() {
        conversation.needs_template("what was said in a saved chat")?;
    }
    *conversation = Conversation { raw: conversation.raw, ..saved };
    let count = conversation.messages.len();
    Ok(Reply::Show(format!("loaded {count} messages, with their instructions and settings, from {}\n", file.display())))
}

fn named_file<'a>(command: &str, file: &'a str) -> Result<&'a Path, String> {
    if file.is_empty() {
        Err(format!("/{command} needs a file\nhint: /{command} chat.json"))
    } else {
        Ok(Path::new(file))
    }
}

/// The options that `/set` knows: the flags of `bantam run`, by the same names.
const OPTIONS: &[&str] = &[
    "max-tokens",
    "temperature",
    "top-k",
    "top-p",
    "min-p",
    "repeat-penalty",
    "presence-penalty",
    "frequency-penalty",
    "seed",
    "stop",
];

fn set(conversation: &mut Conversation, text: &str, info: &ModelInfo) -> Result<Reply, String> {
    let (name, value) = text.split_once(char::is_whitespace).map_or((text, ""), |(name, value)| (name, value.trim()));
    let name = name.trim_start_matches('-');
    let known = || OPTIONS.iter().copied().chain(["think"]);
    if !name.is_empty() && !known().any(|option| option == name) {
        return Err(format!("no option {name}\nhint: the options are {}", known().collect::<Vec<_>>().join(", ")));
    }
    match (name, value) {
        ("", _) => known().map(|name| Ok(format!("  {name:<18} {}\n", setting(conversation, name)?))).collect(),
        (name, "") => Ok(format!("{name}: {}\n", setting(conversation, name)?)),
        ("think", value) => {
            set_think(conversation, value, info)?;
            Ok(format!("think: {}\n", setting(conversation, "think")?))
        }
        (name, value) => {
            set_option(conversation, name, value)?;
            Ok(format!("{name}: {}\n", setting(conversation, name)?))
        }
    }
    .map(Reply::Show)
}

/// The value of an option, for people.
fn setting(conversation: &Conversation, name: &str) -> Result<String, String> {
    let value = match name {
        "think" => conversation.think.map(|think| if think { "on" } else { "off" }.to_owned()),
        name => {
            let options = serde_json::to_value(&conversation.options).map_err(|error| error.to_string())?;
            let value = &options[name.replace('-', "_")];
            let is_set = !value.is_null() && value.as_array().is_none_or(|texts| !texts.is_empty());
            // Options are f32; written as f64 they have digits that nobody set.
            let float = value.as_f64().filter(|_| value.is_f64()).map(|number| (number as f32).to_string());
            is_set.then(|| float.unwrap_or_else(|| value.to_string()))
        }
    };
    Ok(value.unwrap_or_else(|| "the model's own".to_owned()))
}

fn set_think(conversation: &mut Conversation, value: &str, info: &ModelInfo) -> Result<(), String> {
    conversation.needs_template("/set think")?;
    conversation.think = match value {
        "on" if !info.capabilities.think => return Err(format!("{} does not think before it answers", info.name)),
        "on" => Some(true),
        "off" => Some(false),
        UNSET => None,
        other => return Err(format!("/set think: expected on, off or {UNSET}, got {other}")),
    };
    Ok(())
}

/// Goes through the options' JSON form, so that a new option needs its name in [`OPTIONS`] and nothing else.
fn set_option(conversation: &mut Conversation, name: &str, value: &str) -> Result<(), String> {
    let mut options = serde_json::to_value(&conversation.options).map_err(|error| error.to_string())?;
    options[name.replace('-', "_")] = match (name, value) {
        ("stop", UNSET) => serde_json::json!([]),
        ("stop", text) => serde_json::json!([text]),
        (_, UNSET) => serde_json::Value::Null,
        (_, number) => serde_json::from_str(number)
            .map_err(|_| format!("/set {name}: expected a number or {UNSET}, got {number}"))?,
    };
    let options: GenerationOptions =
        serde_json::from_value(options).map_err(|error| format!("/set {name} {value}: {error}"))?;
    crate::generation::check(&options).map_err(|error| error.to_string())?;
    conversation.options = options;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;
    use chat::{Capabilities, FinishReason, Usage};

    fn info() -> ModelInfo {
        ModelInfo {
            name: "smollm2:135m".to_owned(),
            family: "llama".to_owned(),
            parameters: 134_515_008,
            weight_bytes: 98_000_000,
            quantization: "q4_1".to_owned(),
            context: 8192,
            maximum_context: 8192,
            vocabulary: 49_152,
            capabilities: Capabilities::default(),
        }
    }

    fn say(conversation: &mut Conversation, line: &str) -> Reply {
        conversation.line(line, &info())
    }

    fn answered(text: &str) -> Answer {
        let usage = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        Answer { text: text.to_owned(), thought: String::new(), reason: FinishReason::Stop, usage }
    }

    #[test]
    fn lines_are_asked_and_slashes_are_commands() {
        let mut conversation = Conversation::default();
        assert_eq!(say(&mut conversation, "  hi "), Reply::Ask("hi".to_owned()));
        assert_eq!(say(&mut conversation, "\"\"\"a\nb\"\"\""), Reply::Ask("a\nb".to_owned()));
        assert_eq!(say(&mut conversation, " "), Reply::Nothing);
        for word in ["/bye", "/quit", "/exit"] {
            assert_eq!(say(&mut conversation, word), Reply::Leave);
        }
        assert_eq!(
            say(&mut conversation, "/stop"),
            Reply::Complain("no command /stop\nhint: /help lists them".to_owned())
        );
        let Reply::Show(help) = say(&mut conversation, "/help") else { panic!("help is shown") };
        for name in ["/system", "/set", "/save", "/load", "/clear", "/show", "/bye"] {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn history_and_system_reach_the_next_request() {
        let mut conversation = Conversation::default();
        say(&mut conversation, "/system Be brief.");
        conversation.keep("hi", &answered("hello"));
        let roles: Vec<Role> = conversation.request("more").messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
        assert_eq!(conversation.used_tokens, 15);
        let Reply::Show(shown) = say(&mut conversation, "/show") else { panic!("shown") };
        assert!(shown.contains("15 of 8192 tokens used by 2 messages"), "{shown}");
        conversation.keep("stopped at once", &Answer { usage: Usage::default(), ..answered("") });
        assert_eq!(conversation.used_tokens, 15, "nobody told another number");
        say(&mut conversation, "/clear");
        assert_eq!(conversation.request("again").messages.len(), 2, "the instructions stay");
    }

    #[test]
    fn set_takes_the_flags_of_run_and_refuses_what_they_refuse() {
        let mut conversation = Conversation::default();
        let complaint = |reply| match reply {
            Reply::Complain(text) => text,
            other => panic!("expected a complaint, got {other:?}"),
        };
        let temperature = |shown: &str| Reply::Show(format!("temperature: {shown}\n"));
        assert_eq!(say(&mut conversation, "/set temperature 0.4"), temperature("0.4"));
        assert_eq!(say(&mut conversation, "/set temperature"), temperature("0.4"), "looking changes nothing");
        assert_eq!(say(&mut conversation, "/set temperature default"), temperature("the model's own"));
        assert_eq!(say(&mut conversation, "/set temperature 0.2"), temperature("0.2"));
        assert_eq!(complaint(say(&mut conversation, "/set think on")), "smollm2:135m does not think before it answers");
        say(&mut conversation, "/system Be brief.");
        say(&mut conversation, "/system default");
        assert_eq!(conversation.system, None);
        assert_eq!(conversation.options.temperature, Some(0.2));
        say(&mut conversation, "/set stop END");
        assert_eq!(conversation.options.stop, ["END"]);
        assert_eq!(
            complaint(say(&mut conversation, "/set top-p 7")),
            "--top-p: expected a number above 0, at most 1, got 7"
        );
        assert_eq!(
            complaint(say(&mut conversation, "/set top-k few")),
            "/set top-k: expected a number or default, got few"
        );
        assert!(complaint(say(&mut conversation, "/set colour red")).starts_with("no option colour\nhint: "));
        assert_eq!(conversation.options.top_p, None, "a refused value changes nothing");
        let Reply::Show(settings) = say(&mut conversation, "/set") else { panic!("shown") };
        assert!(settings.contains("temperature        0.2"), "{settings}");
        assert!(settings.contains("seed               the model's own"), "{settings}");
    }

    #[test]
    fn plain_completion_refuses_what_only_a_template_could_carry() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chat.json");
        let mut chat = Conversation { system: Some("Be brief.".to_owned()), ..Conversation::default() };
        say(&mut chat, &format!("/save {}", file.display()));
        let mut raw = Conversation { raw: true, ..Conversation::default() };
        for line in ["/system Be brief.", "/set think on", "/set think off", &format!("/load {}", file.display())] {
            let Reply::Complain(complaint) = say(&mut raw, line) else { panic!("{line} is taken") };
            assert!(complaint.contains("would not reach the model"), "{line}: {complaint}");
        }
        assert_eq!(raw, Conversation { raw: true, ..Conversation::default() }, "a refusal changes nothing");
        assert!(matches!(say(&mut raw, "/set temperature 0.5"), Reply::Show(_)), "what holds for both is taken");
    }

    #[test]
    fn a_chat_is_saved_and_loaded_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chat.json");
        let mut conversation = Conversation { think: Some(true), ..Conversation::default() };
        conversation.keep("hi", &answered("hello"));
        say(&mut conversation, &format!("/save {}", file.display()));
        let mut other = Conversation::default();
        say(&mut other, &format!("/load {}", file.display()));
        assert_eq!(other.messages, conversation.messages);
        assert_eq!(other.think, Some(true));
        assert_eq!(other.used(8192), Used::Unknown, "nobody has counted what was loaded");
        let Reply::Show(shown) = say(&mut other, "/show") else { panic!("shown") };
        assert!(shown.contains("? of 8192 tokens used by 2 messages"), "{shown}");
        assert!(
            matches!(say(&mut other, &format!("/save {}", file.display())), Reply::Show(_)),
            "a chat may be saved again"
        );
        std::fs::write(&file, "my precious notes").unwrap();
        let Reply::Complain(complaint) = say(&mut other, &format!("/save {}", file.display())) else { panic!("lost") };
        assert!(complaint.contains("exists and is no saved chat; it was left as it is\nhint: "), "{complaint}");
        assert_eq!(std::fs::read(&file).unwrap(), b"my precious notes");
        std::fs::write(&file, "{}").unwrap();
        let Reply::Complain(complaint) = say(&mut other, &format!("/load {}", file.display())) else {
            panic!("not a chat")
        };
        assert!(complaint.contains("not a saved chat"), "{complaint}");
        assert_eq!(other.messages.len(), 2, "a failed load changes nothing");
    }

    #[test]
    fn a_backslash_at_a_lines_end_is_kept_between_quotes_and_taken_off_outside() {
        let asked = |line: &str| match say(&mut Conversation::default(), line) {
            Reply::Ask(text) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(asked("one \\\ntwo"), "one \ntwo");
        assert_eq!(asked("\"\"\"#define A \\\n  1\"\"\""), "#define A \\\n  1");
        assert_eq!(asked("see \\\n\"\"\"a \\\nb\"\"\" and \\\nc"), "see \n\"\"\"a \\\nb\"\"\" and \nc");
    }

    #[test]
    fn a_line_goes_on_until_its_quotes_close() {
        assert!(is_incomplete("\"\"\"first line"));
        assert!(!is_incomplete("\"\"\"first\nsecond\"\"\""));
        assert!(is_incomplete("goes on \\"));
        assert!(!is_incomplete("a whole line"));
    }
}
