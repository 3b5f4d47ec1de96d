//! Turns of a conversation by a model that says what a test wants: calls of tools, thoughts with a bound, text filled in.

use crate::tiny::{Tiny, VOCABULARY};
use crate::worker::Decoder;
use crate::*;
use chat::*;
use futures::StreamExt;
use futures::executor::block_on;
use kernels::{Isa, Runtime};
use model::Batch;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The token that is likeliest at each position from `from` on; then the end.
#[derive(Default)]
struct Lines {
    from: usize,
    ids: Vec<u32>,
}

/// Computes what its lines say.
struct Actor {
    lines: Arc<Mutex<Lines>>,
    logits: Vec<f32>, // [rows, V]
}

impl Decoder for Actor {
    fn forward(&mut self, batch: &Batch) -> &[f32] {
        let lines = self.lines.lock().unwrap();
        self.logits.clear();
        for segment in &batch.segments {
            let end = segment.position + segment.len;
            for position in end - segment.logit_rows()..end {
                let line = (position + 1).checked_sub(lines.from).and_then(|index| lines.ids.get(index));
                let next = line.copied().unwrap_or(END);
                self.logits.extend((0..VOCABULARY as u32).map(|token| if token == next { 9.0 } else { 0.0 }));
            }
        }
        &self.logits
    }

    fn adapt(&mut self, _: model::AdapterId, _: Option<Arc<model::Adapter>>) {}

    fn reset(&mut self) {}
}

/// `</s>`.
const END: u32 = 2;

/// A model that says what it is told to.
struct Stage {
    _folder: TempDir,
    model: LocalModel,
    lines: Arc<Mutex<Lines>>,
}

impl Stage {
    fn new(template: &'static str, controls: [&'static str; 3]) -> Stage {
        let folder = TempDir::new().unwrap();
        let path = Tiny { template: Some(template), controls, context: 1024, ..Tiny::default() }.write(folder.path());
        let source = ModelSource { name: "tiny".to_owned(), path, ..ModelSource::default() };
        let runtime = Arc::new(Runtime::new(Isa::detect(), 1).unwrap());
        let model = LocalModel::load(&source, &LoadOptions::default(), runtime).unwrap();
        let lines = Arc::new(Mutex::new(Lines::default()));
        let model = model.computed_by(Box::new(Actor { lines: Arc::clone(&lines), logits: Vec::new() }));
        Stage { _folder: folder, model, lines }
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        script::trusted_ids(self.model.tokenizer(), text)
    }

    /// All that comes when the model says these tokens.
    fn say(&self, request: &ChatRequest, ids: Vec<u32>) -> Vec<Result<ChatEvent, ChatError>> {
        let from = self.model.render(request).unwrap().1.len();
        *self.lines.lock().unwrap() = Lines { from, ids };
        block_on(async { self.model.chat(request.clone()).await.unwrap().collect().await })
    }

    /// The same in short: text, `(thought)`, `[call]`, arguments, and how it ended.
    fn hear(&self, request: &ChatRequest, text: &str) -> String {
        let events = self.say(request, self.ids(text));
        check_counts(&events);
        events.iter().map(short).collect()
    }
}

fn short(event: &Result<ChatEvent, ChatError>) -> String {
    match event {
        Ok(ChatEvent::Text { text, .. }) => text.clone(),
        Ok(ChatEvent::Thought { text, .. }) => format!("({text})"),
        Ok(ChatEvent::ToolCall { name, .. }) => format!("[{name}]"),
        Ok(ChatEvent::ToolArguments { json, .. }) => json.clone(),
        Ok(ChatEvent::Finished { reason, .. }) => format!(" {reason:?}"),
        Ok(_) => String::new(),
        Err(ChatError::BadOutput(text)) => format!(" BAD {}", text.lines().next().unwrap().split_once(": ").unwrap().1),
        Err(other) => format!(" {other:?}"),
    }
}

/// No event tells of more tokens than came.
fn check_counts(events: &[Result<ChatEvent, ChatError>]) {
    let told = events.iter().map(|event| match event {
        Ok(
            ChatEvent::Text { tokens, .. }
            | ChatEvent::Thought { tokens, .. }
            | ChatEvent::ToolCall { tokens, .. }
            | ChatEvent::ToolArguments { tokens, .. },
        ) => *tokens,
        _ => 0,
    });
    if let Some(Ok(ChatEvent::Finished { usage, .. })) = events.last() {
        assert!(told.sum::<usize>() <= usage.completion_tokens, "{events:?}");
    }
}

/// A template that teaches calls as Hermes did.
const TOOLS: &str = "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}<tool_call>\n\
    {\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>{% endif %}\
    {% for message in messages %}{{ message.role }}: {{ message.content }}{% for call in message.tool_calls or [] %}\
    <tool_call>{{ call.id }} {{ call.function | tojson }}</tool_call>{% endfor %};{% endfor %}";

const CALL: &str = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": [1, \"b\"]}}\n</tool_call>";

fn asking(tool_choice: ToolChoice) -> ChatRequest {
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        definition: json!({"type": "function", "function": {"name": name, "parameters": {}}}),
        strict: false,
    };
    ChatRequest {
        messages: vec![Message::new(Role::User, "ab")],
        tools: vec![tool("add"), tool("add_all"), tool("get")],
        tool_choice,
        options: GenerationOptions { temperature: Some(0.0), seed: Some(5), ..GenerationOptions::default() },
        ..ChatRequest::default()
    }
}

#[test]
fn calls_stream_as_names_and_arguments() {
    for controls in [["<tool_call>", "</tool_call>", "<|odd|>"], ["<|a|>", "<|b|>", "<|c|>"]] {
        let stage = Stage::new(TOOLS, controls);
        assert!(stage.model.info().capabilities.tools);
        let auto = asking(ToolChoice::Auto);
        assert_eq!(
            stage.hear(&auto, &format!("So. {CALL}\n{CALL}")),
            "So.[add]{\"a\": [1, \"b\"]}[add]{\"a\": [1, \"b\"]} ToolCalls"
        );
        assert_eq!(stage.hear(&auto, "It is 4."), "It is 4. Stop");
        let one = ChatRequest { one_tool_call: true, ..auto.clone() };
        assert_eq!(stage.hear(&one, &format!("{CALL}\n{CALL}")), "[add]{\"a\": [1, \"b\"]} ToolCalls");
        let rain = CALL.replace("add", "rain");
        assert_eq!(stage.hear(&auto, &rain), " BAD \"rain\" is none of the tools (add, add_all, get)");
        assert_eq!(
            stage.hear(&auto, CALL.split("[1").next().unwrap()),
            "[add]{\"a\":  BAD the answer ends in the middle of a call"
        );
        let options = GenerationOptions { max_tokens: Some(20), ..auto.options.clone() };
        let cut = stage.hear(&ChatRequest { options, ..auto.clone() }, CALL);
        assert!(cut.ends_with(" BAD the answer ends in the middle of a call"), "{cut}");
        // Without tools the marks are what the model says, and the prompt does not hold the tools.
        let none = asking(ToolChoice::None);
        assert_eq!(stage.model.render(&none).unwrap().0, "user: ab;");
        assert!(!stage.hear(&none, CALL).contains("[add]"));
    }
}

#[test]
fn arguments_come_in_pieces_and_ids_are_told_apart() {
    let stage = Stage::new(TOOLS, ["<tool_call>", "</tool_call>", "<|odd|>"]);
    let events = stage.say(&asking(ToolChoice::Auto), stage.ids(&format!("{CALL}{CALL}")));
    let pieces = events.iter().filter(|event| matches!(event, Ok(ChatEvent::ToolArguments { index: 0, .. }))).count();
    assert!(pieces > 5, "{events:?}");
    let ids = |events: &[Result<ChatEvent, ChatError>]| -> Vec<String> {
        let id = |event: &Result<ChatEvent, ChatError>| match event {
            Ok(ChatEvent::ToolCall { id, .. }) => Some(id.clone()),
            _ => None,
        };
        events.iter().filter_map(id).collect()
    };
    let first = ids(&events);
    assert!(first[0] != first[1] && first.iter().all(|id| id.starts_with("call_") && id.len() == 29));
    assert_eq!(ids(&stage.say(&asking(ToolChoice::Auto), stage.ids(&format!("{CALL}{CALL}")))), first, "the same seed");
    let mut next = asking(ToolChoice::Auto);
    next.messages.push(Message::new(Role::Tool, "3"));
    assert_ne!(ids(&stage.say(&next, stage.ids(CALL)))[0], first[0], "the same seed, another turn");
}

#[test]
fn a_required_call_is_opened_for_the_model_and_is_one_of_the_tools() {
    let stage = Stage::new(TOOLS, ["<tool_call>", "</tool_call>", "<|odd|>"]);
    let named = asking(ToolChoice::Named("add_all".to_owned()));
    let call = |name: &str| format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {{\"a\": 1}}}}\n</tool_call>");
    assert_eq!(stage.hear(&named, &format!("{} more", call("add_all"))), "[add_all]{\"a\": 1} ToolCalls");
    let required = asking(ToolChoice::Required);
    for name in ["add", "add_all", "get"] {
        assert_eq!(stage.hear(&required, &call(name)), format!("[{name}]{{\"a\": 1}} ToolCalls"));
    }
    let both = format!("{}\n{}", call("get"), call("add"));
    assert_eq!(stage.hear(&required, &both), "[get]{\"a\": 1}[add]{\"a\": 1} ToolCalls");
    assert_eq!(stage.hear(&required, &format!("{}\n", call("get"))), "[get]{\"a\": 1} ToolCalls", "a line is no call");
    // What it wants to say is not allowed, outside of the arguments.
    let wrong = call("get").replace("get\"", "gxt'").replace("arguments", "parameter").replace("\n{", "{\n");
    assert_eq!(stage.hear(&required, &wrong), "[get]{\"a\": 1} ToolCalls");
    assert_eq!(stage.hear(&required, &call("get").replace("}\n", "]]")), "[get]{\"a\": 1} ToolCalls");
}

#[test]
fn calls_of_strict_tools_are_held_from_where_the_model_opens_them() {
    let schema = json!({"type": "object", "properties": {"unit": {"enum": ["aa", "bb"]}}, "required": ["unit"],
        "additionalProperties": false});
    let mut request = asking(ToolChoice::Auto);
    request.tools[2].definition["function"]["parameters"] = schema;
    request.tools[2].strict = true;
    for controls in [["<tool_call>", "</tool_call>", "<|odd|>"], ["<|a|>", "<|b|>", "<|c|>"]] {
        let stage = Stage::new(TOOLS, controls);
        assert_eq!(stage.hear(&request, "It is 4 <tool>."), "It is 4 <tool>. Stop", "{controls:?}");
        let get = "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"unit\": \"bb\"}}\n</tool_call>";
        let held = "[get]{\"unit\": \"bb\"}";
        assert_eq!(stage.hear(&request, &format!("So. {get} Then {get}")), format!("So.{held}Then{held} ToolCalls"));
        // A name, a field, a value and an end that are none.
        for (right, wrong) in [("get\"", "gxt'"), ("unit", "size"), ("bb\"", "bz'"), ("}}\n", "]]x"), ("\n{", "{\n")] {
            let told = stage.hear(&request, &format!("So. {}", get.replace(right, wrong)));
            assert_eq!(told, format!("So.{held} ToolCalls"), "{controls:?}: {wrong}");
        }
        // Without marks; a tool that is not strict is called with an object.
        let bare = "{\"name\": \"get\", \"arguments\": {\"unit\": \"bz\"}}";
        assert_eq!(stage.hear(&request, bare), format!("{held} ToolCalls"), "{controls:?}");
        let block = format!("```json\n{bare}\n```\nSo.");
        assert_eq!(stage.hear(&request, &block), format!("{held}So. ToolCalls"), "{controls:?}");
        assert_eq!(stage.hear(&request, CALL), "[add]{\"a\": [1, \"b\"]} ToolCalls", "{controls:?}");
        let list = CALL.replace("{\"a\": [1, \"b\"]}", "{}");
        assert_eq!(stage.hear(&request, &list.replace("{}", "[}")), "[add]{} ToolCalls", "{controls:?}");
        // What names a tool in another way is no call.
        let other = "{\"arguments\": {}, \"name\": \"get\"}";
        assert_eq!(stage.hear(&request, other), format!("{other} Stop"), "{controls:?}");
    }
}

#[test]
fn tools_that_the_model_would_not_see_or_could_not_call_are_refused() {
    let refusal = |template: &'static str| {
        let stage = Stage::new(template, ["<|a|>", "<|b|>", "<|c|>"]);
        match block_on(stage.model.chat(asking(ToolChoice::Auto))) {
            Ok(_) => panic!("was not refused"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(refusal("{{ messages[0].content }}"), "tiny does not support tools");
    let unknown = "{{ tools | tojson }}{{ messages[0].content }}";
    let told = "tiny does not support tools: the format in which its chat template has them called is not known here";
    assert_eq!(refusal(unknown), told);
    let blind = "{% if xml_tools %}{% endif %}<tool_call>\n{\"name\": 1}</tool_call>{{ messages[0].content }}";
    assert!(refusal(blind).starts_with("the chat template of tiny leaves out the tool \"add\"\nhint: "));
}

#[test]
fn calls_and_results_of_earlier_turns_are_rendered() {
    let stage = Stage::new(TOOLS, ["<|a|>", "<|b|>", "<|c|>"]);
    let arguments = json!({"a": 1}).as_object().unwrap().clone();
    let call = ToolCall { id: "call_1".to_owned(), name: "add".to_owned(), arguments: arguments.clone() };
    let assistant = Message { tool_calls: vec![call], ..Message::new(Role::Assistant, "") };
    let result = Message { tool_call_id: Some("call_1".to_owned()), ..Message::new(Role::Tool, "2") };
    let request = ChatRequest { messages: vec![assistant, result], ..ChatRequest::default() };
    let expected = "assistant: <tool_call>call_1 {\"name\": \"add\", \"arguments\": {\"a\": 1}}</tool_call>;tool: 2;";
    assert_eq!(stage.model.render(&request).unwrap().0, expected);
    // A template that wants ids of nine letters gets them, the same for call and result.
    let nine = "{{ tools }}[TOOL_CALLS][{{ messages[0].tool_calls[0].id }}={{ messages[1].tool_call_id }}";
    let stage = Stage::new(nine, ["<|a|>", "<|b|>", "<|c|>"]);
    let rendered = stage.model.render(&request).unwrap().0;
    let (call, result) = rendered.rsplit_once('[').unwrap().1.split_once('=').unwrap();
    assert!(call == result && call.len() == 9, "{rendered}");
}

const THINKS: &str = "{% if enable_thinking is defined and not enable_thinking %}{% endif %}{% if tools %}{{ tools | tojson }}\
    <tool_call>\n{\"name\": 1}</tool_call>{% endif %}{{ messages[0].content }}</think>:";
const OPENS_THOUGHT: &str = "{% if enable_thinking %}{% endif %}{{ messages[0].content }}<think>";

#[test]
fn a_thought_that_is_long_enough_is_closed() {
    let request = |thought_tokens| ChatRequest { thought_tokens, tools: vec![], ..asking(ToolChoice::Auto) };
    // As tokens of their own, and spelled out.
    for (template, controls) in [
        (THINKS, ["<think>", "</think>", "<|odd|>"]),
        (THINKS, ["<|a|>", "<|b|>", "<|c|>"]),
        (OPENS_THOUGHT, ["<think>", "</think>", "<|odd|>"]),
        (OPENS_THOUGHT, ["<|a|>", "<|b|>", "<|c|>"]),
    ] {
        let stage = Stage::new(template, controls);
        let open = if template == THINKS { "<think>" } else { "" };
        let thought_of = |budget, said: &str| {
            let events = stage.say(&request(budget), stage.ids(&format!("{open}{said}")));
            check_counts(&events);
            let piece = |event: &Result<ChatEvent, ChatError>| match event {
                Ok(ChatEvent::Thought { text, .. }) => Some(text.clone()),
                _ => None,
            };
            (
                events.iter().filter_map(piece).collect::<String>(),
                events
                    .iter()
                    .filter_map(|event| match event {
                        Ok(ChatEvent::Text { text, .. }) => Some(text.clone()),
                        _ => None,
                    })
                    .collect::<String>(),
            )
        };
        let close = stage.ids("</think>").len();
        for budget in [0, 1, 3] {
            // The closing mark takes the place of as many tokens of what the model wanted to say.
            let said = format!("{}{}yes", "a".repeat(budget), "b".repeat(close));
            assert_eq!(
                thought_of(Some(budget), &said),
                ("a".repeat(budget), "yes".to_owned()),
                "{controls:?} {budget}"
            );
        }
        assert_eq!(thought_of(Some(9), "aab</think>yes"), ("aab".to_owned(), "yes".to_owned()), "not forced");
        assert_eq!(thought_of(None, "aaaaaaaaaab</think>yes"), ("aaaaaaaaaab".to_owned(), "yes".to_owned()));
    }
    let stage = Stage::new("{{ messages[0].content }}", ["<|a|>", "<|b|>", "<|c|>"]);
    let refused = block_on(stage.model.chat(request(Some(5)))).err().unwrap();
    assert_eq!(refused.to_string(), "tiny does not support thinking");
}

#[test]
fn a_held_call_comes_after_the_thought() {
    let stage = Stage::new(
        "{% if enable_thinking %}{% endif %}{{ tools | tojson }}<tool_call>\n{\"name\": 1}</tool_call>{{ messages[0].content }}",
        ["<think>", "</think>", "<|odd|>"],
    );
    let call = "<tool_call>\n{\"name\": \"get\", \"arguments\": {}}\n</tool_call>";
    // What comes between a thought and a call is not what the model wants.
    let blank = "b".repeat(stage.ids("\n\n").len());
    let mut strict = asking(ToolChoice::Auto);
    strict.tools[2].strict = true;
    for request in [asking(ToolChoice::Required), strict.clone()] {
        let thinks = format!("<think>a{call}</think>{blank}{call}");
        let told = stage.hear(&request, &thinks).replace(")(", "");
        assert_eq!(told, format!("(a{call})[get]{{}} ToolCalls"), "a call in a thought is none");
        // Without a thought: the call opens at once.
        assert_eq!(stage.hear(&request, call), "[get]{} ToolCalls");
        // A thought that has to end first.
        let bounded = ChatRequest { thought_tokens: Some(1), ..request.clone() };
        assert_eq!(stage.hear(&bounded, &format!("<think>aa{blank}{call}")), "(a)[get]{} ToolCalls");
        let never = ChatRequest { think: Some(false), ..request };
        assert_eq!(stage.hear(&never, call), "[get]{} ToolCalls");
    }
    // The marks of the thought spelled out.
    let stage = Stage::new(THINKS, ["<|a|>", "<|b|>", "<|c|>"]);
    let bounded = ChatRequest { thought_tokens: Some(1), ..strict };
    let close = "b".repeat(stage.ids("</think>\n\n").len());
    assert_eq!(stage.hear(&bounded, &format!("<think>a{close}{call}")), "(a)[get]{} ToolCalls");
}

#[test]
fn what_stands_between_two_texts_is_filled_in() {
    let controls = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];
    let stage = Stage::new(tiny::TEMPLATE, controls);
    assert!(stage.model.info().capabilities.insert);
    let [prefix, suffix, middle] = controls.map(|text| stage.model.tokenizer().id_of(text).unwrap());
    let [a, b, yes] = ["a", "b", "yes"].map(|text| stage.model.tokenizer().id_of(text).unwrap());
    let insert = insert::InsertTokens::of(stage.model.tokenizer(), None).unwrap().unwrap();
    assert_eq!(insert.prompt(Some(1), &[1, a], &[b]), [1, prefix, a, suffix, b, middle]);
    assert_eq!(insert.prompt(Some(1), &[a], &[]), [prefix, a, suffix, middle]);
    let complete = |stage: &Stage, from: usize, ids: Vec<u32>| {
        *stage.lines.lock().unwrap() = Lines { from, ids };
        let options = GenerationOptions { temperature: Some(0.0), ..GenerationOptions::default() };
        let request = CompletionRequest {
            suffix: Some("b".to_owned()),
            ..CompletionRequest::new(Prompt::Text("a".to_owned()), options)
        };
        block_on(async { stage.model.complete(request).await.map(|stream| stream.collect::<Vec<_>>()) })
            .map(|events| block_on(events).iter().map(short).collect::<String>())
    };
    // A mark of a place ends it.
    assert_eq!(complete(&stage, 6, vec![yes, suffix, a]).unwrap(), "yes Stop");
    let plain = Stage::new(tiny::TEMPLATE, ["<|a|>", "<|b|>", "<|c|>"]);
    assert!(!plain.model.info().capabilities.insert);
    let refused = complete(&plain, 6, vec![]).unwrap_err().to_string();
    assert_eq!(refused, "tiny does not support a suffix (fill in the middle)");
}
