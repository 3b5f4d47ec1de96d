//! Counters and histograms for Prometheus, under vLLM's names where the meaning is the same, so that dashboards made for
//! it show this server too.
//!
//! What a model counts itself (`chat::Activity`) is asked of it when the page is asked for. Names:
//! docs.vllm.ai, "Production metrics". Read next: `answering`, which notes.

use crate::admit::Context;
use crate::failure::{Failure, FailureKind};
use crate::log::Record;
use axum::http::StatusCode;
use chat::{Activity, ChatEvent, ChatModel, FinishReason, RunningModel, Usage};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    model_name: String,
    finished_reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabel {
    path: &'static str,
    status: u16,
}

type Histograms = Family<ModelLabel, Histogram, fn() -> Histogram>;

/// Seconds, from a token of a small model to a long answer.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    ])
}

/// Counts of tokens.
fn counts() -> Histogram {
    Histogram::new([1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0])
}

/// All counters of a server.
pub(crate) struct Metrics {
    registry: Registry,
    families: Families,
    /// Of each model in memory, what of its own counts is in the counters already.
    followed: Mutex<HashMap<String, Followed>>,
    /// Milliseconds that recent requests took, as a moving average.
    recent_milliseconds: AtomicU64,
}

/// A model whose own counts the counters follow. It counts from 0 when it is loaded; the counters never go back.
struct Followed {
    model: Weak<dyn ChatModel>,
    activity: Activity,
}

#[derive(Clone)]
struct Families {
    ends: Family<EndLabel, Counter>,
    responses: Family<ResponseLabel, Counter>,
    prompt_tokens: Family<ModelLabel, Counter>,
    generation_tokens: Family<ModelLabel, Counter>,
    cached_tokens: Family<ModelLabel, Counter>,
    timeouts: Family<ModelLabel, Counter>,
    first_token: Histograms,
    each_token: Histograms,
    whole: Histograms,
    queue: Histograms,
    prefill: Histograms,
    decode: Histograms,
    prompt_lengths: Histograms,
    answer_lengths: Histograms,
    most_tokens: Histograms,
    running: Family<ModelLabel, Gauge>,
    waiting: Family<ModelLabel, Gauge>,
    pages_used: Family<ModelLabel, Gauge<f64, AtomicU64>>,
    prefix_queries: Family<ModelLabel, Counter>,
    prefix_hits: Family<ModelLabel, Counter>,
    preemptions: Family<ModelLabel, Counter>,
}

impl Default for Families {
    fn default() -> Families {
        let times = || Family::new_with_constructor(seconds as fn() -> Histogram);
        let lengths = || Family::new_with_constructor(counts as fn() -> Histogram);
        Families {
            ends: Family::default(),
            responses: Family::default(),
            prompt_tokens: Family::default(),
            generation_tokens: Family::default(),
            cached_tokens: Family::default(),
            timeouts: Family::default(),
            first_token: times(),
            each_token: times(),
            whole: times(),
            queue: times(),
            prefill: times(),
            decode: times(),
            prompt_lengths: lengths(),
            answer_lengths: lengths(),
            most_tokens: lengths(),
            running: Family::default(),
            waiting: Family::default(),
            pages_used: Family::default(),
            prefix_queries: Family::default(),
            prefix_hits: Family::default(),
            preemptions: Family::default(),
        }
    }
}

impl Families {
    fn register(&self, registry: &mut Registry) {
        macro_rules! register {
            ($($field:ident: $name:literal, $help:literal;)+) => {
                $(registry.register($name, $help, self.$field.clone());)+
            };
        }
        register! {
            ends: "vllm:request_success", "Requests that ended, by why";
            prompt_tokens: "vllm:prompt_tokens", "Tokens of prompts";
            generation_tokens: "vllm:generation_tokens", "Tokens generated";
            first_token: "vllm:time_to_first_token_seconds", "From a request's headers to its first token";
            each_token: "vllm:time_per_output_token_seconds", "Of each token after the first, averaged over its request";
            whole: "vllm:e2e_request_latency_seconds", "From a request's headers to the end of its answer";
            queue: "vllm:request_queue_time_seconds", "Until a request's prompt was first read";
            prefill: "vllm:request_prefill_time_seconds", "Reading a prompt";
            decode: "vllm:request_decode_time_seconds", "From the first token to the last";
            prompt_lengths: "vllm:request_prompt_tokens", "Tokens of a prompt";
            answer_lengths: "vllm:request_generation_tokens", "Tokens of an answer";
            most_tokens: "vllm:request_params_max_tokens", "Tokens that a request allows its answer";
            running: "vllm:num_requests_running", "Requests that are computed now, those through an adapter under its name";
            waiting: "vllm:num_requests_waiting", "Requests that wait, those through an adapter under its name";
            pages_used: "vllm:kv_cache_usage_perc", "Share of the KV pages in use, from 0 to 1";
            prefix_queries: "vllm:prefix_cache_queries", "Tokens of prompts looked up in the prefix cache";
            prefix_hits: "vllm:prefix_cache_hits", "Those of them that were found";
            preemptions: "vllm:num_preemptions", "Times that a request gave its pages to others and began again";
            cached_tokens: "bantam_cached_tokens", "Tokens of prompts that were not computed, as requests reported them";
            timeouts: "bantam_request_timeouts", "Requests that passed their deadline";
            responses: "bantam_http_responses", "Responses by path and status";
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let families = Families::default();
        let mut registry = Registry::default();
        families.register(&mut registry);
        Metrics { registry, families, followed: Mutex::default(), recent_milliseconds: AtomicU64::new(0) }
    }
}

impl Metrics {
    /// Counts for one request of a model.
    pub(crate) fn meter(&self, context: &Context, model: &str, max_tokens: Option<usize>) -> Meter {
        context.record.note_model(model);
        Meter {
            families: self.families.clone(),
            label: ModelLabel { model_name: model.to_owned() },
            record: Arc::clone(&context.record),
            began: context.began,
            max_tokens,
            first_token: None,
            state: MeterState::Asked,
        }
    }

    /// Counts a response.
    pub(crate) fn note_response(&self, path: &'static str, status: StatusCode) {
        self.families.responses.get_or_create(&ResponseLabel { path, status: status.as_u16() }).inc();
    }

    /// Notes how long a request took.
    pub(crate) fn note_duration(&self, took: Duration) {
        let took = took.as_millis() as u64;
        let next = |old: u64| if old == 0 { took } else { (old * 7 + took) / 8 };
        let _ = self.recent_milliseconds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(next(old)));
    }

    /// How long a client that finds no place had better wait, where these models are in memory.
    pub(crate) fn expected_wait(&self, models: &[RunningModel]) -> Duration {
        let (mut running, mut waiting) = (0, 0);
        // What a model does through an adapter is in its base's counts.
        for one in models.iter().filter(|one| one.shares.is_none()) {
            let now = one.model.activity();
            running += now.running;
            waiting += now.waiting;
        }
        expected_wait(Duration::from_millis(self.recent_milliseconds.load(Ordering::Relaxed)), running, waiting)
    }

    /// Takes over what these models, all that are in memory, have counted since the last time. To be called often enough
    /// that little is lost when a model is unloaded.
    pub(crate) fn follow(&self, models: &[RunningModel]) {
        let families = &self.families;
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|name, _| {
            let is_here = models.iter().any(|one| one.model.info().name == *name);
            if !is_here {
                families.forget(&ModelLabel { model_name: name.clone() });
            }
            is_here
        });
        let activities: Vec<Activity> = models.iter().map(|one| one.model.activity()).collect();
        for (one, now) in models.iter().zip(&activities) {
            let (model, name) = (&one.model, &one.model.info().name);
            let own_name = Some(&one.summary.name);
            // What it does through its adapters is under their names, so that the sum over all models is right.
            let through = models.iter().zip(&activities).filter(|(other, _)| other.shares.as_ref() == own_name);
            let (running, waiting) = through.fold((0, 0), |sum, (_, its)| (sum.0 + its.running, sum.1 + its.waiting));
            let (running, waiting) = (now.running.saturating_sub(running), now.waiting.saturating_sub(waiting));
            let now = Activity { running, waiting, ..*now };
            let known = followed.get(name).filter(|known| known.model.ptr_eq(&Arc::downgrade(model)));
            let before = known.map_or(Activity::default(), |known| known.activity);
            families.take(&ModelLabel { model_name: name.clone() }, &before, &now);
            followed.insert(name.clone(), Followed { model: Arc::downgrade(model), activity: now });
        }
    }

    /// The page, with what these models do now.
    pub(crate) fn page(&self, models: &[RunningModel]) -> String {
        self.follow(models);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry)
            .expect("a text is always written; this is a bug");
        page
    }
}

/// How long until those who wait, and one more, have had their turn, where requests took so long from their headers to their
/// end: 1 s to 60 s. As many as there are end within the time that one takes (Little's law).
fn expected_wait(recent: Duration, running: usize, waiting: usize) -> Duration {
    let there = (running + waiting).max(1);
    let turns = (waiting + 1) as f64 / there as f64;
    recent.mul_f64(turns).clamp(Duration::from_secs(1), Duration::from_secs(60))
}

impl Families {
    /// What a model does now, and what it has counted since `before`.
    fn take(&self, label: &ModelLabel, before: &Activity, now: &Activity) {
        let count = |family: &Family<ModelLabel, Counter>, before: u64, now: u64| {
            family.get_or_create(label).inc_by(now.saturating_sub(before));
        };
        count(&self.prefix_queries, before.prefix_queries, now.prefix_queries);
        count(&self.prefix_hits, before.prefix_hits, now.prefix_hits);
        count(&self.preemptions, before.preemptions, now.preemptions);
        let set = |family: &Family<ModelLabel, Gauge>, value: usize| {
            family.get_or_create(label).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.running, now.running);
        set(&self.waiting, now.waiting);
        self.pages_used.get_or_create(label).set(share_of_pages(now));
    }

    /// A model is not in memory any more: it has no state to show. What was counted stays.
    fn forget(&self, label: &ModelLabel) {
        self.running.remove(label);
        self.waiting.remove(label);
        self.pages_used.remove(label);
    }
}

/// The share of a model's pages that requests hold, from 0 to 1.
pub(crate) fn share_of_pages(activity: &Activity) -> f64 {
    let used = activity.pages.saturating_sub(activity.free_pages).saturating_sub(activity.cached_pages);
    if activity.pages == 0 { 0.0 } else { used as f64 / activity.pages as f64 }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MeterState {
    /// Nothing has come yet: what is refused now is none of the model's requests.
    Asked,
    /// The model has taken it.
    Begun,
    /// Its end is counted.
    Ended,
}

/// Counts one request.
pub(crate) struct Meter {
    families: Families,
    label: ModelLabel,
    record: Arc<Record>,
    began: Instant,
    max_tokens: Option<usize>,
    first_token: Option<Instant>,
    state: MeterState,
}

impl Meter {
    /// Takes note of an event that came at this time.
    pub(crate) fn note(&mut self, event: &ChatEvent, now: Instant) {
        if self.state == MeterState::Asked {
            self.state = MeterState::Begun;
            if let Some(most) = self.max_tokens {
                self.families.most_tokens.get_or_create(&self.label).observe(most as f64);
            }
        }
        let is_token = match event {
            ChatEvent::Text { text, .. } | ChatEvent::Thought { text, .. } => {
                self.record.note_text(text);
                true
            }
            ChatEvent::ToolArguments { json, .. } => {
                self.record.note_text(json);
                true
            }
            ChatEvent::ToolCall { .. } => true,
            _ => false,
        };
        if is_token && self.first_token.is_none() {
            self.first_token = Some(now);
            self.record.note_first_token();
            self.observe(&self.families.first_token, now - self.began);
        }
        if let ChatEvent::Finished { reason, usage } = event {
            self.note_finished(*reason, usage, now);
        }
    }

    fn note_finished(&mut self, reason: FinishReason, usage: &Usage, now: Instant) {
        self.record.note_finished(reason, usage);
        self.end(match reason {
            FinishReason::Stop | FinishReason::ToolCalls => "stop",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "abort",
        });
        let families = &self.families;
        let count = |family: &Family<ModelLabel, Counter>, tokens: usize| {
            family.get_or_create(&self.label).inc_by(tokens as u64);
        };
        count(&families.prompt_tokens, usage.prompt_tokens);
        count(&families.generation_tokens, usage.completion_tokens);
        count(&families.cached_tokens, usage.cached_tokens);
        self.observe(&families.whole, now - self.began);
        self.observe(&families.prefill, usage.prompt_seconds);
        self.observe(&families.decode, usage.generation_seconds);
        self.observe(&families.queue, usage.first_token_seconds.saturating_sub(usage.prompt_seconds));
        if usage.completion_tokens > 1 {
            let intervals = (usage.completion_tokens - 1) as f64;
            self.observe(&families.each_token, usage.generation_seconds.div_f64(intervals));
        }
        families.prompt_lengths.get_or_create(&self.label).observe(usage.prompt_tokens as f64);
        families.answer_lengths.get_or_create(&self.label).observe(usage.completion_tokens as f64);
    }

    /// Takes note of an answer that came in one piece after so many tokens were read, and generated none.
    pub(crate) fn note_read(&mut self, tokens: usize, now: Instant) {
        self.note_at_once(&Usage { prompt_tokens: tokens, ..Usage::default() }, now);
    }

    /// Takes note of an answer that came in one piece and took this.
    pub(crate) fn note_at_once(&mut self, usage: &Usage, now: Instant) {
        self.record.note_finished(FinishReason::Stop, usage);
        self.end("stop");
        let families = &self.families;
        let count = |family: &Family<ModelLabel, Counter>, tokens: usize| {
            family.get_or_create(&self.label).inc_by(tokens as u64);
        };
        count(&families.prompt_tokens, usage.prompt_tokens);
        count(&families.generation_tokens, usage.completion_tokens);
        count(&families.cached_tokens, usage.cached_tokens);
        families.prompt_lengths.get_or_create(&self.label).observe(usage.prompt_tokens as f64);
        self.observe(&families.whole, now - self.began);
    }

    /// Takes note of why an answer is not waited for any longer: a deadline that passed is counted.
    pub(crate) fn note_given_up(&mut self, why: &Failure) {
        if why.kind == FailureKind::Timeout {
            self.families.timeouts.get_or_create(&self.label).inc();
        }
    }

    /// Takes note that the answer broke off.
    pub(crate) fn note_failure(&mut self, failure: &Failure) {
        self.record.note_trouble(&failure.message);
        if self.state == MeterState::Begun {
            self.end("error");
        }
    }

    fn observe(&self, family: &Histograms, duration: Duration) {
        family.get_or_create(&self.label).observe(duration.as_secs_f64());
    }

    fn end(&mut self, finished_reason: &'static str) {
        self.state = MeterState::Ended;
        let label = EndLabel { model_name: self.label.model_name.clone(), finished_reason };
        self.families.ends.get_or_create(&label).inc();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.state == MeterState::Begun {
            self.end("abort");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Reply, Running, ScriptedHost, ScriptedModel};
    use chat::{ChatFuture, ChatRequest, ChatStream, ModelHost, ModelInfo};
    use serde_json::json;

    /// A model that only counts.
    struct Counting {
        info: ModelInfo,
        activity: Activity,
    }

    impl ChatModel for Counting {
        fn info(&self) -> &ModelInfo {
            &self.info
        }
        fn activity(&self) -> Activity {
            self.activity
        }
        fn chat(&self, _: ChatRequest) -> ChatFuture<'_, ChatStream> {
            panic!("nobody asks it")
        }
    }

    fn running(name: &str, shares: Option<&str>, activity: Activity) -> RunningModel {
        let info = ScriptedModel::named(name).info.clone();
        let [one] = &ScriptedHost::of(Arc::new(ScriptedModel::named(name))).running()[..] else {
            panic!("one is there")
        };
        let shares = shares.map(str::to_owned);
        RunningModel { shares, model: Arc::new(Counting { info, activity }), ..one.clone() }
    }

    fn counting(prefix_hits: u64, preemptions: u64) -> RunningModel {
        let pages = Activity { pages: 10, free_pages: 3, cached_pages: 2, running: 4, ..Activity::default() };
        running("small", None, Activity { prefix_hits, preemptions, prefix_queries: 100, ..pages })
    }

    fn value(page: &str, sample: &str) -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn who_finds_no_place_waits_for_those_before_it() {
        let wait = |seconds, running, waiting| expected_wait(Duration::from_secs(seconds), running, waiting).as_secs();
        assert_eq!(wait(0, 0, 0), 1, "nothing has ended yet");
        assert_eq!(wait(20, 0, 0), 20, "nobody is there: as long as a request takes");
        assert_eq!(wait(20, 4, 0), 5, "the first of four to end");
        assert_eq!(wait(20, 4, 15), 16, "sixteen of nineteen");
        assert_eq!(wait(20, 1, 39), 20, "behind a long queue: as long as the others waited");
        assert_eq!(wait(2, 8, 0), 1);
        assert_eq!(wait(600, 1, 9), 60);
    }

    #[test]
    fn counters_follow_a_model_over_being_loaded_anew() {
        let metrics = Metrics::default();
        let hits = "vllm:prefix_cache_hits_total{model_name=\"small\"}";
        let running = "vllm:num_requests_running{model_name=\"small\"}";
        let first = counting(40, 1);
        let page = metrics.page(std::slice::from_ref(&first));
        assert_eq!((value(&page, hits), value(&page, running)), (Some(40.0), Some(4.0)), "{page}");
        assert_eq!(value(&page, "vllm:kv_cache_usage_perc{model_name=\"small\"}"), Some(0.5));
        let page = metrics.page(&[first]);
        assert_eq!(value(&page, hits), Some(40.0), "what was taken over is not taken again");
        let second = counting(7, 0);
        let page = metrics.page(&[second]);
        assert_eq!(value(&page, hits), Some(47.0), "another model of the name counts from 0");
        assert_eq!(value(&page, "vllm:num_preemptions_total{model_name=\"small\"}"), Some(1.0));
        let page = metrics.page(&[]);
        assert_eq!((value(&page, hits), value(&page, running)), (Some(47.0), None), "it has no state any more");
    }

    #[test]
    fn a_request_through_an_adapter_is_counted_once() {
        let doing = |running, waiting| Activity { running, waiting, ..Activity::default() };
        let models = [
            running("base", None, doing(7, 2)),
            running("base+a", Some("base"), doing(4, 2)),
            running("base+b", Some("base"), doing(1, 0)),
            running("other", None, doing(1, 1)),
        ];
        let metrics = Metrics::default();
        metrics.note_duration(Duration::from_secs(20));
        let (turns, there) = (4.0, 11.0);
        assert_eq!(metrics.expected_wait(&models), Duration::from_secs(20).mul_f64(turns / there));
        let page = metrics.page(&models);
        let of = |what: &str| {
            let value = |one: &RunningModel| {
                let name = &one.model.info().name;
                value(&page, &format!("vllm:num_requests_{what}{{model_name=\"{name}\"}}")).unwrap()
            };
            models.iter().map(value).collect::<Vec<_>>()
        };
        assert_eq!((of("running"), of("waiting")), (vec![2.0, 4.0, 1.0, 1.0], vec![0.0, 2.0, 0.0, 1.0]));
    }

    #[tokio::test]
    async fn the_page_has_what_dashboards_of_vllm_look_for() {
        let server = Running::start().await;
        let ask = || json!({"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9});
        assert_eq!(server.post("/v1/chat/completions", ask()).await.status, 200);
        server.model.will(Reply::breaking(&["a"], chat::ChatError::Internal("broken".to_owned())));
        assert_eq!(server.post("/v1/chat/completions", ask()).await.status, 500);
        server.model.will(Reply::refusing(chat::ChatError::InvalidRequest("no".to_owned())));
        assert_eq!(server.post("/v1/chat/completions", ask()).await.status, 400);
        let answer = server.get("/metrics").await;
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let page = answer.text;
        assert!(page.ends_with("# EOF\n"), "{page}");
        let of_model = "{model_name=\"small\"}";
        for (sample, expected) in [
            ("vllm:request_success_total{model_name=\"small\",finished_reason=\"stop\"}".to_owned(), 1.0),
            ("vllm:request_success_total{model_name=\"small\",finished_reason=\"error\"}".to_owned(), 1.0),
            (format!("vllm:time_to_first_token_seconds_count{of_model}"), 2.0),
            (format!("vllm:e2e_request_latency_seconds_count{of_model}"), 1.0),
            (format!("vllm:request_queue_time_seconds_count{of_model}"), 1.0),
            (format!("vllm:request_params_max_tokens_count{of_model}"), 2.0),
            (format!("vllm:num_requests_waiting{of_model}"), 0.0),
            ("bantam_http_responses_total{path=\"/v1/chat/completions\",status=\"400\"}".to_owned(), 1.0),
        ] {
            assert_eq!(value(&page, &sample), Some(expected), "{sample} of\n{page}");
        }
        assert!(value(&page, &format!("vllm:generation_tokens_total{of_model}")).is_some_and(|tokens| tokens > 0.0));
        assert!(!page.contains("finished_reason=\"abort\""), "what is refused is no answer that was left:\n{page}");
    }
}
