//! `bantam run`: asks a model once, or chats with it.

use crate::answer::{self, Answer, Show};
use crate::conversation::Conversation;
use crate::failure::UsedWrongly;
use crate::format::FormatArgs;
use crate::generation::{GenerationArgs, LoadArgs};
use crate::session::{Loaded, Session, load_options};
use chat::{ChatModel, ChatStream, CompletionRequest, FinishReason, GenerationOptions, Prompt, Usage};
use futures::executor::block_on;
use hub::Home;
use local::LoadOptions;
use serde::Serialize;

/// Ask a model once, or chat with it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam run \"Name the three primary colours.\"      the default model answers
  bantam run smollm2:360m                            a chat; /help lists its commands
  git diff | bantam run \"Write a commit message.\"    piped text follows the prompt
  bantam run --schema person.json \"Invent one.\"      JSON that is valid against the schema
  bantam run --choices yes,no \"Is 7 a prime?\"       one of these texts
  bantam run ./model.gguf --raw \"Once upon a time\"   plain completion, without a template")]
pub struct Args {
    /// A model (catalog name, hf:owner/repo[:file or quant], ollama:name[:tag], name in the store, path); if it
    /// names none, this is the prompt and the default model answers
    #[arg(value_name = "MODEL")]
    model_or_prompt: Option<String>,
    /// What to ask; without it, a chat on a terminal
    prompt: Option<String>,
    /// What follows the prompt when it was not quoted
    #[arg(hide = true)]
    more_words: Vec<String>,
    /// Instructions that stand before the prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Let a thinking model think (shown dimmed, on standard error)
    #[arg(long, overrides_with = "no_think", conflicts_with = "raw")]
    think: bool,
    /// Keep a thinking model from thinking
    #[arg(long, conflicts_with = "raw")]
    no_think: bool,
    /// Complete the prompt as plain text, without the model's template
    #[arg(long)]
    raw: bool,
    /// Print one JSON object when the answer is complete (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    /// Do not guess tokens to try several in a step; the answer is the same, where texts repeat themselves it takes longer
    #[arg(long)]
    no_speculate: bool,
    /// Tell how long things took and how much memory was used
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// Leaves 53 bits: what JSON numbers keep exactly in every language.
const SEED_SHIFT: u32 = 11;

#[derive(Serialize)]
struct Output<'a> {
    model: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thought: &'a str,
    finish_reason: FinishReason,
    seed: u64,
    usage: Usage,
    load_seconds: f64,
    peak_memory_bytes: Option<u64>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let options = args.generation.options()?;
    let format = args.format.format()?;
    check_quotes(&args)?;
    let (model, prompt) = model_and_prompt(&args, session)?;
    let prompt = join(prompt, piped(session)?);
    if prompt.as_deref().is_some_and(|prompt| prompt.trim().is_empty()) {
        let text =
            "the prompt is empty\nhint: bantam run MODEL \"PROMPT\"; without a prompt, on a terminal, it is a chat";
        return Err(UsedWrongly(text.to_owned()).into());
    }
    if prompt.is_none() && args.json {
        return Err(UsedWrongly("--json needs a prompt\nhint: bantam run MODEL \"PROMPT\" --json".to_owned()).into());
    }
    if prompt.is_none() && format.is_some() {
        let text = "what the answer must be is said of one answer\nhint: bantam run MODEL \"PROMPT\" --schema FILE";
        return Err(UsedWrongly(text.to_owned()).into());
    }
    if prompt.is_none() && !(session.terminal.stdin && session.terminal.stdout) {
        let text = "no prompt, and no terminal to chat on\nhint: bantam run MODEL \"PROMPT\", or pipe text in";
        return Err(UsedWrongly(text.to_owned()).into());
    }
    let load = LoadOptions { speculate: !args.no_speculate, ..load_options(&args.load)? };
    let loaded = session.load(&model, load)?;
    let raw = args.raw || !loaded.model.info().capabilities.template;
    if raw && !args.raw {
        let flags = [("--system", args.system.is_some()), ("--think", args.think), ("--no-think", args.no_think)];
        if let Some((flag, _)) = flags.iter().find(|(_, is_given)| *is_given) {
            anyhow::bail!("{model} has no chat template, so {flag} has no place\nhint: say it in the prompt");
        }
        session.terminal.note(&format!("{model} has no chat template: completing plain text"));
    }
    let mut conversation =
        Conversation { system: args.system.clone(), options, think: think(&args), format, ..Conversation::default() };
    match prompt {
        Some(prompt) => once(&args, session, &loaded, conversation, &prompt, raw),
        None => {
            let history = Home::from_env()?.root().join("history.txt");
            conversation.raw = raw;
            crate::repl::chat(session, loaded.model.as_ref(), conversation, &history, args.verbose)
        }
    }
}

/// One question, one answer.
fn once(
    args: &Args,
    session: &Session,
    loaded: &Loaded,
    mut conversation: Conversation,
    prompt: &str,
    raw: bool,
) -> anyhow::Result<()> {
    let seed = seed(&conversation.options, loaded.model.recommended());
    conversation.options.seed = Some(seed);
    conversation.raw = raw;
    if let Some(format) = &conversation.format {
        for warning in block_on(loaded.model.prepare_format(format))? {
            session.terminal.warn(&warning);
        }
    }
    let stream = ask(loaded.model.as_ref(), &conversation, prompt)?;
    let show = if args.json { Show::Nothing } else { Show::Streaming };
    let mut interrupts = session.interrupts.listen();
    let answer = answer::receive(&session.terminal, &mut interrupts, stream, show)?.completed()?;
    if args.json {
        session.terminal.json(&output(loaded, &answer, seed))?;
    }
    if args.verbose {
        session.terminal.note(&format!("{:<21}{:.2} s", "load", loaded.load_time.as_secs_f64()));
        session.terminal.note(&times(&answer.usage));
        session.terminal.note(&format!("{:<21}{seed}", "seed"));
    }
    if answer.reason == FinishReason::Length && conversation.format.is_some() {
        anyhow::bail!(
            "the answer is incomplete: its limit came before the end of what it must be\n\
             hint: allow more tokens (--max-tokens, --context), or ask for less"
        );
    }
    if answer.reason == FinishReason::Length && !args.json {
        session.terminal.warn("the answer ended at its limit and may be incomplete (--max-tokens, --context)");
    }
    Ok(())
}

/// Refuses a prompt that the shell has taken apart.
fn check_quotes(args: &Args) -> Result<(), UsedWrongly> {
    if args.more_words.is_empty() {
        return Ok(());
    }
    Err(UsedWrongly(format!(
        "expected a model and a prompt, got {} arguments\nhint: put the prompt into quotes: bantam run \"PROMPT\"",
        2 + args.more_words.len()
    )))
}

/// The caller's seed, else the model's own, else one that is drawn here, so that it can be told and an answer one liked
/// can be had again.
fn seed(options: &GenerationOptions, recommended: &GenerationOptions) -> u64 {
    options.seed.or(recommended.seed).unwrap_or_else(|| local::random_seed() >> SEED_SHIFT)
}

/// Sends a prompt after what was said, through the template or, raw, alone and as it is.
pub fn ask(model: &dyn ChatModel, conversation: &Conversation, prompt: &str) -> anyhow::Result<ChatStream> {
    let options: GenerationOptions = conversation.options.clone();
    Ok(block_on(if conversation.raw {
        let format = conversation.format.clone();
        model.complete(CompletionRequest { format, ..CompletionRequest::new(Prompt::Text(prompt.to_owned()), options) })
    } else {
        model.chat(conversation.request(prompt))
    })?)
}

fn output<'a>(loaded: &'a Loaded, answer: &'a Answer, seed: u64) -> Output<'a> {
    Output {
        model: &loaded.model.info().name,
        text: &answer.text,
        thought: &answer.thought,
        finish_reason: answer.reason,
        seed,
        usage: answer.usage,
        load_seconds: loaded.load_time.as_secs_f64(),
        peak_memory_bytes: local::peak_memory(),
    }
}

fn think(args: &Args) -> Option<bool> {
    match (args.think, args.no_think) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Which model, and what to ask it: the first argument is the model if it names one.
fn model_and_prompt(args: &Args, session: &Session) -> anyhow::Result<(String, Option<String>)> {
    let hub = session.hub()?;
    let default = || hub.catalog().default_model().name.clone();
    match (&args.model_or_prompt, &args.prompt) {
        (None, _) => Ok((default(), None)),
        (Some(model), Some(prompt)) => match (hub.resolve(model), hub.look_up(model)) {
            (Ok(_), _) => Ok((model.clone(), Some(prompt.clone()))),
            // Near to no name: perhaps a word of the prompt.
            (Err(error), hub::Lookup::NotAModel) => {
                let whole = format!("{model} {prompt}");
                anyhow::bail!("{error}\nhint: if it is part of the prompt, put that into quotes: bantam run {whole:?}")
            }
            (Err(error), _) => Err(error.into()),
        },
        (Some(text), None) => match hub.look_up(text) {
            hub::Lookup::Model(_) => Ok((text.clone(), None)),
            hub::Lookup::NotAModel => {
                if !text.contains(char::is_whitespace) {
                    session.terminal.note(&format!("no model is called {text:?}: asking {}", default()));
                }
                Ok((default(), Some(text.clone())))
            }
            // The command line is in order, the name is of nothing: exit code 1, as in every other command.
            hub::Lookup::NearMiss { nearest } => anyhow::bail!(
                "no model {text:?}; the nearest names are {}\n\
                 hint: to ask the default model this, name it: bantam run {} {text:?}",
                nearest.join(", "),
                default(),
            ),
        },
    }
}

/// The text that another program pipes in, if any.
fn piped(session: &Session) -> anyhow::Result<Option<String>> {
    if session.terminal.stdin {
        return Ok(None);
    }
    Ok(Some(crate::input::standard()?).filter(|text| !text.trim().is_empty()))
}

fn join(prompt: Option<String>, piped: Option<String>) -> Option<String> {
    match (prompt, piped) {
        (Some(prompt), Some(piped)) => Some(format!("{prompt}\n\n{piped}")),
        (prompt, piped) => prompt.or(piped),
    }
}

/// What an answer took, for people.
pub fn times(usage: &Usage) -> String {
    let speed = |tokens: usize, seconds: f64| if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
    let prompt = usage.prompt_seconds.as_secs_f64();
    let generation = usage.generation_seconds.as_secs_f64();
    let after_first = usage.completion_tokens.saturating_sub(1);
    let computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
    let cached = match usage.cached_tokens {
        0 => String::new(),
        cached => format!(" ({cached} known from before)"),
    };
    let mut text = format!(
        "{:<21}{} tokens{cached}, {prompt:.2} s, {:.1} tokens/s\n{:<21}{} tokens, {generation:.2} s, {:.1} tokens/s\n{:<21}{:.2} s",
        "prompt",
        usage.prompt_tokens,
        speed(computed, prompt),
        "generation",
        usage.completion_tokens,
        speed(after_first, generation),
        "time to first token",
        usage.first_token_seconds.as_secs_f64(),
    );
    if usage.drafted_tokens > 0 {
        let (name, drafted, accepted) = ("guessed", usage.drafted_tokens, usage.accepted_tokens);
        text.push_str(&format!("\n{name:<21}{drafted} tokens, {accepted} of them right"));
    }
    if let Some(bytes) = local::peak_memory() {
        text.push_str(&format!("\n{:<21}{}", "peak memory", crate::table::bytes(bytes)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piped_text_follows_the_prompt() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(join(some("Sum up:"), some("text")), some("Sum up:\n\ntext"));
        assert_eq!(join(None, some("text")), some("text"));
        assert_eq!(join(some("ask"), None), some("ask"));
        assert_eq!(join(None, None), None);
    }

    #[test]
    fn the_speed_of_a_prompt_is_that_of_what_was_computed() {
        let prompt_seconds = std::time::Duration::from_secs(2);
        let usage = Usage { prompt_tokens: 100, cached_tokens: 60, prompt_seconds, ..Usage::default() };
        assert!(
            times(&usage)
                .starts_with("prompt               100 tokens (60 known from before), 2.00 s, 20.0 tokens/s\n")
        );
        let whole = times(&Usage { cached_tokens: 0, ..usage });
        assert!(whole.starts_with("prompt               100 tokens, 2.00 s, 50.0 tokens/s\n"), "{whole}");
    }

    #[test]
    fn guessed_tokens_are_told_where_there_were_any() {
        let usage = Usage { drafted_tokens: 30, accepted_tokens: 12, ..Usage::default() };
        assert!(times(&usage).contains("\nguessed              30 tokens, 12 of them right"), "{}", times(&usage));
        assert!(!times(&Usage::default()).contains("guessed"));
    }

    #[test]
    fn the_models_own_seed_stands_unless_the_caller_has_one() {
        let of = |seed| GenerationOptions { seed, ..GenerationOptions::default() };
        assert_eq!(seed(&of(Some(1)), &of(Some(7))), 1);
        assert_eq!(seed(&of(None), &of(Some(7))), 7);
        assert_ne!(seed(&of(None), &of(None)), seed(&of(None), &of(None)), "drawn anew");
        assert!(seed(&of(None), &of(None)) < 1 << 53);
    }
}
