//! What is logged of requests: one line each, when the last of its answer has gone, with what it took.
//!
//! A streamed answer has its status long before its end; the line waits for the end, so that counts and reason stand in
//! it. What people said is never in it unless `log_prompts` asks for it. Read next: `admit`, which opens a `Record`;
//! `metrics::Meter`, which tells it what happens.

use chat::{ChatRequest, CompletionRequest, FinishReason, Prompt, PullProgress, Usage};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tasks::{Input, Outcome};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::Subscriber;

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; with colour or without.
    Text {
        /// Whether to colour.
        colour: bool,
    },
    /// A JSON object a line.
    Json,
}

/// From this level on lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What went wrong here.
    Error,
    /// The same, and what was refused.
    Warn,
    /// The same, and every request.
    Info,
    /// The same, and connections that ended.
    Debug,
}

/// Logs to standard error from now on.
///
/// # Errors
/// Something in this process logs already.
pub fn start(format: LogFormat, level: LogLevel) -> Result<(), String> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines = Subscriber::builder().with_max_level(level).with_target(false).with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Text { colour } => tracing::subscriber::set_global_default(lines.with_ansi(colour).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
    outcome.map_err(|error| error.to_string())
}

/// Tells the log how a pull or a load goes.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

impl PullProgress for Logged {
    fn start(&self, file: &str, total_bytes: Option<u64>, done_bytes: u64) {
        tracing::info!(file, total_bytes, done_bytes, "fetching");
    }
    fn advance(&self, _: u64) {}
    fn message(&self, text: &str) {
        tracing::info!("{text}");
    }
    fn finish(&self) {}
}

/// What is known of one request, for the line that is written when this is dropped.
pub(crate) struct Record {
    id: Arc<str>,
    method: &'static str,
    path: &'static str,
    began: Instant,
    log_prompts: bool,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    key: Option<String>,
    status: Option<u16>,
    /// Why it was refused or broke off.
    trouble: Option<String>,
    model: Option<String>,
    /// Answers that were begun; a request may ask for several.
    answers: usize,
    finished: usize,
    reason: Option<&'static str>,
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    queue: Option<Duration>,
    first_token: Option<Duration>,
    prompt: Option<String>,
    text: String,
}

impl Record {
    /// Of a request whose headers came at `began`.
    pub(crate) fn new(
        id: Arc<str>,
        method: &'static str,
        path: &'static str,
        began: Instant,
        log_prompts: bool,
    ) -> Record {
        Record { id, method, path, began, log_prompts, noted: Mutex::default() }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose key it came with.
    pub(crate) fn note_key(&self, id: &str) {
        self.noted().key = Some(id.to_owned());
    }

    /// The status that its response began with.
    pub(crate) fn note_status(&self, status: u16) {
        self.noted().status = Some(status);
    }

    /// Why it was refused, or why its answer broke off. The first reason stays.
    pub(crate) fn note_trouble(&self, reason: &str) {
        self.noted().trouble.get_or_insert_with(|| reason.to_owned());
    }

    /// A conversation is to be answered.
    pub(crate) fn note_chat(&self, request: &ChatRequest) {
        if self.log_prompts {
            let messages = serde_json::to_string(&request.messages);
            self.noted().prompt = Some(messages.expect("messages are always JSON; this is a bug"));
        }
    }

    /// A text is to be gone on from.
    pub(crate) fn note_completion(&self, request: &CompletionRequest) {
        if self.log_prompts {
            self.noted().prompt = Some(match &request.prompt {
                Prompt::Text(text) => text.clone(),
                Prompt::Ids(ids) => format!("{ids:?}"),
            });
        }
    }

    /// An input of a task is to be done; a request may bring several.
    pub(crate) fn note_input(&self, input: &Input) {
        if self.log_prompts {
            let fields = serde_json::to_string(&input.fields).expect("fields are always JSON; this is a bug");
            let prompt = &mut self.noted().prompt;
            prompt.get_or_insert_default().push_str(&fields);
        }
    }

    /// What came of an input of a task.
    pub(crate) fn note_outcome(&self, outcome: &Outcome) {
        if self.log_prompts {
            let fields = serde_json::to_string(&outcome.fields).expect("fields are always JSON; this is a bug");
            self.noted().text.push_str(&fields);
        }
    }

    /// A model begins an answer.
    pub(crate) fn note_model(&self, model: &str) {
        let mut noted = self.noted();
        noted.answers += 1;
        noted.model = Some(model.to_owned());
    }

    /// A piece of an answer.
    pub(crate) fn note_text(&self, text: &str) {
        if self.log_prompts {
            self.noted().text.push_str(text);
        }
    }

    /// The first token of an answer has come.
    pub(crate) fn note_first_token(&self) {
        let mut noted = self.noted();
        noted.first_token.get_or_insert_with(|| self.began.elapsed());
    }

    /// An answer is complete.
    pub(crate) fn note_finished(&self, reason: FinishReason, usage: &Usage) {
        let mut noted = self.noted();
        noted.finished += 1;
        noted.reason = Some(match reason {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::Cancelled => "cancelled",
        });
        noted.prompt_tokens += usage.prompt_tokens;
        noted.cached_tokens += usage.cached_tokens;
        noted.completion_tokens += usage.completion_tokens;
        noted.queue = Some(usage.first_token_seconds.saturating_sub(usage.prompt_seconds));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (request, method, path) = (&*self.id, self.method, self.path);
        let milliseconds = milliseconds(self.began.elapsed());
        let noted = std::mem::take(self.noted.get_mut().unwrap_or_else(PoisonError::into_inner));
        let (key, model, status) = (noted.key.as_deref(), noted.model.as_deref(), noted.status);
        let prompt_tokens = (noted.finished > 0).then_some(noted.prompt_tokens);
        let cached_tokens = (noted.finished > 0).then_some(noted.cached_tokens);
        let completion_tokens = (noted.finished > 0).then_some(noted.completion_tokens);
        let queue_milliseconds = noted.queue.map(self::milliseconds);
        let first_token_milliseconds = noted.first_token.map(self::milliseconds);
        let prompt = noted.prompt.as_deref();
        let text = prompt.is_some().then_some(noted.text.as_str());
        let finish = noted.reason;
        macro_rules! line {
            ($level:ident, $what:literal, $reason:expr) => {
                tracing::$level!(
                    request,
                    method,
                    path,
                    status,
                    milliseconds,
                    reason = $reason,
                    key,
                    model,
                    finish,
                    prompt_tokens,
                    cached_tokens,
                    completion_tokens,
                    queue_milliseconds,
                    first_token_milliseconds,
                    prompt,
                    text,
                    $what
                )
            };
        }
        let trouble = noted.trouble.as_deref();
        let is_whole = noted.finished == noted.answers;
        match (status, trouble) {
            (Some(500..), Some(_)) => line!(error, "failed", trouble),
            (Some(200..300), Some(_)) => line!(warn, "broke off", trouble),
            (_, Some(_)) => line!(warn, "refused", trouble),
            (None, None) => line!(info, "left", Some("the client went before its answer")),
            (Some(200..300), None) if !is_whole => line!(info, "left", Some("the client went before the end")),
            (Some(_), None) => line!(info, "answered", None::<&str>),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::{Message, Role};
    use serde_json::Value;
    use std::io::Write;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The line of a request that this is done to.
    fn line(log_prompts: bool, work: impl FnOnce(&Record)) -> Value {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = Subscriber::builder().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(lines, || {
            let record = Record::new(Arc::from("req_1"), "POST", "/v1/chat/completions", Instant::now(), log_prompts);
            work(&record);
        });
        let bytes = kept.0.lock().unwrap().clone();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
    }

    fn conversation() -> ChatRequest {
        ChatRequest { messages: vec![Message::new(Role::User, "a secret")], ..ChatRequest::default() }
    }

    fn answer(record: &Record) {
        record.note_key("key_1");
        record.note_chat(&conversation());
        record.note_model("tiny");
        record.note_status(200);
        record.note_first_token();
        record.note_text("an answer");
        let usage = Usage { prompt_tokens: 9, cached_tokens: 4, completion_tokens: 2, ..Usage::default() };
        record.note_finished(FinishReason::Length, &usage);
    }

    #[test]
    fn the_line_of_an_answer_has_its_counts_and_not_its_words() {
        let line = line(false, answer);
        for (field, expected) in [
            ("message", "answered".into()),
            ("level", "INFO".into()),
            ("request", "req_1".into()),
            ("key", "key_1".into()),
            ("model", "tiny".into()),
            ("status", Value::from(200)),
            ("finish", "length".into()),
            ("prompt_tokens", 9.into()),
            ("cached_tokens", 4.into()),
            ("completion_tokens", 2.into()),
        ] {
            assert_eq!(line[field], expected, "{field} of {line}");
        }
        assert!(line["first_token_milliseconds"].is_u64(), "{line}");
        assert!(!line.to_string().contains("secret") && !line.to_string().contains("an answer"), "{line}");
    }

    #[test]
    fn prompts_are_logged_when_asked_for() {
        let line = line(true, answer);
        assert!(line["prompt"].as_str().unwrap().contains("a secret"), "{line}");
        assert_eq!(line["text"], "an answer");
    }

    #[test]
    fn refusals_breaks_and_clients_who_left_are_told_apart() {
        let refused = line(false, |record| {
            record.note_trouble("no key");
            record.note_status(401);
        });
        assert_eq!((&refused["message"], &refused["reason"]), (&"refused".into(), &"no key".into()), "{refused}");
        let broken = line(false, |record| {
            record.note_model("tiny");
            record.note_status(200);
            record.note_trouble("late");
        });
        assert_eq!((&broken["message"], &broken["level"]), (&"broke off".into(), &"WARN".into()), "{broken}");
        let left = line(false, |record| {
            record.note_model("tiny");
            record.note_status(200);
        });
        assert_eq!((&left["message"], &left["level"]), (&"left".into(), &"INFO".into()), "{left}");
        let failed = line(false, |record| {
            record.note_trouble("internal error");
            record.note_status(500);
        });
        assert_eq!((&failed["message"], &failed["level"]), (&"failed".into(), &"ERROR".into()), "{failed}");
    }
}
