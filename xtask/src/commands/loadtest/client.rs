//! One client of a load: a streamed chat completion, read to its end, with the time of its first token.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// About 512 tokens, which all prompts share.
const SYSTEM_SENTENCES: usize = 27;
/// About 25 tokens, which only one prompt has.
const OWN_WORDS: usize = 6;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(600);

const WORDS: [&str; 32] = [
    "harbour", "winter", "engine", "letter", "garden", "river", "teacher", "copper", "market", "bridge", "island",
    "doctor", "window", "silver", "forest", "captain", "mountain", "village", "paper", "music", "summer", "station",
    "kitchen", "planet", "soldier", "castle", "farmer", "ocean", "library", "thunder", "candle", "desert",
];

/// Prompts that are the same in every run with the same seed.
pub(super) struct Prompts {
    seed: u64,
    system: String,
}

/// One prompt.
pub(super) struct Prompt<'a> {
    system: &'a str,
    own: String,
}

impl Prompts {
    /// `system` chooses the text that they share, from its first words on.
    pub(super) fn new(seed: u64, system: u64) -> Prompts {
        let sentence = |index: usize| {
            let word = |step: usize| WORDS[(index * step + step + system as usize) % WORDS.len()];
            format!(
                "Rule {index}.{system}: when the {} asks about the {}, answer in full sentences. ",
                word(7),
                word(11)
            )
        };
        let system = (0..SYSTEM_SENTENCES).map(sentence).collect();
        Prompts { seed, system }
    }

    pub(super) fn of(&self, index: usize) -> Prompt<'_> {
        // The increment and the multipliers of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
        // generators, 2014).
        let mut state = self.seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            WORDS[(mixed >> 40) as usize % WORDS.len()]
        };
        let words: Vec<&str> = (0..OWN_WORDS).map(|_| word()).collect();
        Prompt { system: &self.system, own: format!("Write a long story with these words: {}.", words.join(", ")) }
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) first_token: Duration,
    pub(super) tokens: usize,
    pub(super) prompt_tokens: usize,
}

/// Whom to ask.
pub(super) struct Asking {
    client: reqwest::Client,
    url: String,
    model: String,
    generate: usize,
}

impl Asking {
    pub(super) fn of(url: &str, model: &str, generate: usize) -> anyhow::Result<Asking> {
        // No connection is used twice, as those of many people are not.
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().pool_max_idle_per_host(0);
        Ok(Asking { client: client.build()?, url: url.to_owned(), model: model.to_owned(), generate })
    }

    /// Asks once, on a connection of its own.
    pub(super) async fn ask(&self, prompt: &Prompt<'_>) -> anyhow::Result<Answer> {
        let body = json!({
            "model": self.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.own}],
            "max_tokens": self.generate,
            "temperature": 0.8,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let mut answer = Reading::new();
        let mut response = self
            .client
            .post(format!("{}/v1/chat/completions", self.url))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await?;
        let status = response.status();
        if !status.is_success() {
            bail!("{status}: {}", response.text().await.unwrap_or_default());
        }
        while let Some(piece) = response.chunk().await.context("the answer broke off")? {
            answer.feed(&piece)?;
        }
        answer.end()
    }
}

/// A stream of chunks, read as it comes.
struct Reading {
    began: Instant,
    /// A line that has not ended yet.
    rest: Vec<u8>,
    first_token: Option<Duration>,
    usage: Option<Value>,
}

impl Reading {
    /// Begins now.
    fn new() -> Reading {
        Reading { began: Instant::now(), rest: Vec::new(), first_token: None, usage: None }
    }

    fn feed(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end())?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { return Ok(()) };
        // What has nothing to tell is not parsed: clients and server share the machine.
        if self.first_token.is_some() && !data.contains("\"usage\":{") && !data.contains("\"error\"") {
            return Ok(());
        }
        let chunk: Value = serde_json::from_str(data).with_context(|| format!("expected JSON, got {data}"))?;
        if let Some(error) = chunk.get("error") {
            bail!("the answer broke off: {error}");
        }
        let delta = &chunk["choices"][0]["delta"];
        let says = |field: &str| delta[field].as_str().is_some_and(|text| !text.is_empty());
        if self.first_token.is_none() && (says("content") || says("reasoning_content")) {
            self.first_token = Some(self.began.elapsed());
        }
        if chunk["usage"].is_object() {
            self.usage = Some(chunk["usage"].clone());
        }
        Ok(())
    }

    fn end(self) -> anyhow::Result<Answer> {
        let usage = self.usage.context("the answer came without counts of tokens")?;
        let count = |field: &str| usage[field].as_u64().with_context(|| format!("usage.{field}: expected a count"));
        Ok(Answer {
            first_token: self.first_token.unwrap_or_else(|| self.began.elapsed()),
            tokens: count("completion_tokens")? as usize,
            prompt_tokens: count("prompt_tokens")? as usize,
        })
    }
}

/// Whether a server answers.
pub(super) fn is_alive(url: &str) -> bool {
    reqwest::blocking::get(format!("{url}/health")).is_ok_and(|response| response.status().is_success())
}

/// What a server says that it is: llama.cpp under `/props`, vLLM under `/version`.
pub(super) fn version(url: &str) -> Option<String> {
    let told = |path: &str, field: &str| {
        let text = reqwest::blocking::get(format!("{url}{path}")).ok()?.text().ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        value[field].as_str().map(str::to_owned)
    };
    told("/props", "build_info").or_else(|| told("/version", "version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_to_its_counts() {
        let text = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
                    : still here\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
        let read = |text: &str| {
            let mut reading = Reading::new();
            // In pieces that end anywhere.
            text.as_bytes().chunks(7).try_for_each(|piece| reading.feed(piece))?;
            reading.end()
        };
        let answer = read(text).unwrap();
        assert_eq!((answer.prompt_tokens, answer.tokens), (7, 3));
        let error = read("data: {\"error\":{\"message\":\"no\"}}\n").err().unwrap();
        assert_eq!(error.to_string(), "the answer broke off: {\"message\":\"no\"}");
        let error = read("data: {\"choices\":[]}\n").err().unwrap();
        assert_eq!(error.to_string(), "the answer came without counts of tokens");
    }

    #[test]
    fn prompts_share_the_system_text_and_nothing_else() {
        let prompts = Prompts::new(1, 0);
        let (one, other) = (prompts.of(0), prompts.of(1));
        assert_eq!(one.system, other.system);
        assert_ne!(one.own, other.own);
        assert_eq!(one.own, Prompts::new(1, 0).of(0).own);
        assert_ne!(one.own, Prompts::new(2, 0).of(0).own);
        assert_ne!(one.system[..20], Prompts::new(1, 1).of(0).system[..20]);
    }
}
