//! Calls held to their tools, in every format, by a tiny model that by itself says anything.

use super::*;
use chat::{Tool, ToolChoice, ToolWarning};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Templates, each with what tells its format, and the marks that may be tokens.
const FORMATS: [(&str, [&str; 3]); 6] = [
    ("<tool_call>\n{\"name\": 1}\n</tool_call>", ["<tool_call>", "</tool_call>", "<|odd|>"]),
    ("{\"name\": function name, \"parameters\": 1}", ["<|python_tag|>", "<|b|>", "<|odd|>"]),
    ("[TOOL_CALLS][", ["[TOOL_CALLS]", "<|b|>", "<|odd|>"]),
    ("[TOOL_CALLS]a[ARGS]", ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]),
    ("<|tool_call|> followed by a JSON list", ["<|tool_call|>", "<|b|>", "<|odd|>"]),
    ("<TOOLCALL>[]</TOOLCALL>", ["<TOOLCALL>", "</TOOLCALL>", "<|odd|>"]),
];

/// All formats, with marks that are tokens and with marks that are spelled out.
fn models() -> impl Iterator<Item = (String, TempDir, LocalModel)> {
    let spelled = ["<|a|>", "<|b|>", "<|c|>"];
    FORMATS.into_iter().flat_map(move |(taught, marks)| {
        [marks, spelled].map(|controls| {
            let tools = "{% for tool in tools %}{{ tool.function.name }} {% endfor %}{{ messages[0].content }}:";
            // A template lives as long as the tests.
            let template: &'static str =
                Box::leak(format!("{{% if 0 %}}{taught}{{% endif %}}{tools}").into_boxed_str());
            let tiny = Tiny { template: Some(template), controls, context: 1024, ..Tiny::default() };
            let (folder, model) = load(&tiny);
            (format!("{taught:?} {controls:?}"), folder, model)
        })
    })
}

/// Tools whose calls end soon, with what their arguments are valid against.
fn tools() -> Vec<Tool> {
    let color = json!({"type": "object", "properties": {"color": {"enum": ["red", "blue"]}, "deep": {"type": "boolean"}},
        "required": ["color", "deep"], "additionalProperties": false});
    let point = json!({"$ref": "#/$defs/point", "$defs": {"point": {"properties": {"x": {"$ref": "#/$defs/digit"},
        "y": {"$ref": "#/$defs/digit"}}, "required": ["x"], "additionalProperties": false},
        "digit": {"type": "integer", "minimum": -9, "maximum": 9}}});
    let nothing = json!({"type": "object", "additionalProperties": false});
    let tool = |(name, parameters): (&str, Value)| Tool {
        name: name.to_owned(),
        definition: json!({"type": "function", "function": {"name": name, "parameters": parameters}}),
        strict: false,
    };
    [("paint", color), ("paint_at", point), ("語/now", nothing)].map(tool).to_vec()
}

fn asking(tool_choice: ToolChoice, seed: u64) -> ChatRequest {
    let options = GenerationOptions {
        seed: Some(seed),
        temperature: Some(1.0),
        max_tokens: Some(300),
        ..GenerationOptions::default()
    };
    ChatRequest { tools: tools(), tool_choice, options, ..conversation("ab") }
}

/// The calls of an answer, and how it ended; each call is checked against its tool.
fn calls(model: &LocalModel, request: &ChatRequest, what: &str) -> (Vec<(String, String)>, FinishReason) {
    let events = block_on(async { listen(model.chat(request.clone()).await.unwrap()).await });
    let mut calls: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for event in &events {
        match event {
            ChatEvent::ToolCall { index, name, .. } => {
                calls.insert(*index, (name.clone(), String::new()));
            }
            ChatEvent::ToolArguments { index, json, .. } => calls.get_mut(index).unwrap().1.push_str(json),
            _ => {}
        }
    }
    let (reason, _) = end_of(&events);
    let calls: Vec<_> = calls.into_values().collect();
    let whole = if reason == FinishReason::Length { calls.len().saturating_sub(1) } else { calls.len() };
    for (name, arguments) in &calls[..whole] {
        let tool = request.tools.iter().find(|tool| tool.name == *name).expect("it is one of the tools");
        let value: Value =
            serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{what}: {error}: {arguments}"));
        let schema = &tool.definition["function"]["parameters"];
        assert!(jsonschema::is_valid(schema, &value), "{what}: {name} {arguments}");
    }
    (calls, reason)
}

#[test]
fn a_required_call_is_valid_in_every_format() {
    for (what, _folder, model) in models() {
        let mut names = BTreeMap::new();
        for seed in 0..8 {
            let (all, reason) = calls(&model, &asking(ToolChoice::Required, seed), &what);
            assert!(
                !all.is_empty() && matches!(reason, FinishReason::ToolCalls | FinishReason::Length),
                "{what}: {all:?}"
            );
            all.into_iter().for_each(|(name, _)| *names.entry(name).or_insert(0) += 1);
            let one = ChatRequest { one_tool_call: true, ..asking(ToolChoice::Required, seed) };
            let (one, reason) = calls(&model, &one, &what);
            assert_eq!((one.len(), reason), (1, FinishReason::ToolCalls), "{what}");
            let named = asking(ToolChoice::Named("paint_at".to_owned()), seed);
            let (named, reason) = calls(&model, &named, &what);
            assert_eq!((named.len(), reason, named[0].0.as_str()), (1, FinishReason::ToolCalls, "paint_at"), "{what}");
        }
        assert!(names.len() > 1, "{what}: {names:?}");
    }
}

#[test]
fn a_model_that_calls_by_itself_is_held_where_tools_are_strict() {
    let mut called = 0;
    for (what, _folder, model) in models() {
        // What opens a call is likelier than anything else; of marks that are spelled out, a letter is.
        let marks = FORMATS.iter().flat_map(|(_, marks)| marks).chain(&["{"]);
        let logit_bias = marks.filter_map(|mark| Some((model.tokenizer().id_of(mark)?, 9.0))).collect::<Vec<_>>();
        for seed in 0..8 {
            let mut request = asking(ToolChoice::Auto, seed);
            request.tools.iter_mut().for_each(|tool| tool.strict = true);
            request.options.logit_bias = logit_bias.clone();
            request.options.max_tokens = Some(120);
            called += calls(&model, &request, &what).0.len();
        }
    }
    assert!(called > 40, "{called}");
}

#[test]
fn a_call_without_room_is_told_as_such() {
    for (what, _folder, model) in models() {
        let request = |max_tokens: usize| {
            let mut request = asking(ToolChoice::Named("paint".to_owned()), 3);
            request.options.max_tokens = Some(max_tokens);
            request
        };
        let whole = calls(&model, &request(300), &what).0.remove(0);
        let text = refusal(block_on(model.chat(request(1))));
        let least = text.strip_prefix("at most 1 tokens are allowed, what the answer must be takes ");
        let least = least.and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        let least = least.unwrap_or_else(|| panic!("{what}: {text}"));
        let mut seen = 0;
        for max_tokens in (least..least + 40).step_by(3) {
            let (cut, reason) = calls(&model, &request(max_tokens), &what);
            let Some((name, arguments)) = cut.first() else {
                assert_eq!(reason, FinishReason::Length, "{what} {max_tokens}");
                continue;
            };
            assert!(*name == whole.0 && whole.1.starts_with(arguments), "{what} {max_tokens}: {cut:?}");
            seen += usize::from(reason == FinishReason::Length);
            assert!(reason == FinishReason::Length || arguments == &whole.1, "{what} {max_tokens}: {reason:?}");
        }
        assert!(seen > 1, "{what}: {seen}");
    }
}

#[test]
fn what_is_forced_of_a_call_spares_passes() {
    let (_, _folder, model) = models().next().unwrap();
    let mut request = asking(ToolChoice::Named("paint".to_owned()), 3);
    let mut steps = |top_logprobs: Option<usize>| {
        request.options.top_logprobs = top_logprobs;
        let before = model.activity().steps;
        let calls = calls(&model, &request, "").0;
        (calls, model.activity().steps - before)
    };
    let (forced, one_by_one) = (steps(None), steps(Some(0)));
    assert_eq!(forced.0, one_by_one.0);
    assert!(3 * forced.1 < one_by_one.1, "{} of {} passes", forced.1, one_by_one.1);
}

#[test]
fn a_tool_that_cannot_be_held_to_is_refused_before_any_token() {
    let (_, _folder, model) = models().next().unwrap();
    let unfit = |tool_choice: ToolChoice, strict: bool| {
        let mut request = asking(tool_choice, 1);
        request.tools[1].definition["function"]["parameters"] = json!({"properties": {"a": {"not": {}}}});
        request.tools[1].strict = strict;
        request
    };
    let said = "tools[1].function.parameters#/properties/a/not: a text cannot be held to `not` while it is written\n\
                hint: leave it out of the schema, or let the model call freely: tool_choice auto, and strict false";
    for request in [
        unfit(ToolChoice::Required, false),
        unfit(ToolChoice::Named("paint_at".to_owned()), false),
        unfit(ToolChoice::Auto, true),
    ] {
        assert_eq!(refusal(block_on(model.chat(request.clone()))), said);
        assert_eq!(refusal(block_on(model.prepare_tools(&request))), said);
    }
    // Nothing is held, or nothing of that tool.
    let mut other_strict = unfit(ToolChoice::Auto, false);
    other_strict.tools[0].strict = true;
    for request in [unfit(ToolChoice::Auto, false), unfit(ToolChoice::Named("paint".to_owned()), false), other_strict] {
        assert!(block_on(model.chat(request.clone())).is_ok() && block_on(model.prepare_tools(&request)).is_ok());
    }
    let mut many = asking(ToolChoice::Required, 1);
    many.tools[0].definition["function"]["parameters"] = json!({"title": "a".repeat(2 << 20)});
    let said = refusal(block_on(model.prepare_tools(&many)));
    assert!(said.starts_with("the tools have ") && said.ends_with(" bytes, expected at most 1048576"), "{said}");
}

#[test]
fn what_of_a_tools_schema_has_no_effect_is_told_with_its_place() {
    let (_, _folder, model) = models().next().unwrap();
    let mut request = asking(ToolChoice::Required, 1);
    request.tools[2].definition["function"]["parameters"]["propertys"] = json!({});
    let told = block_on(model.prepare_tools(&request)).unwrap();
    let text = "#/propertys: the keyword has no effect".to_owned();
    assert_eq!(told, [ToolWarning { tool: 2, text }]);
    request.tool_choice = ToolChoice::Named("paint".to_owned());
    assert_eq!(block_on(model.prepare_tools(&request)).unwrap(), []);
    request.tool_choice = ToolChoice::Auto;
    assert_eq!(block_on(model.prepare_tools(&request)).unwrap(), [], "nothing is held");
}
