//! Every format on answers as models of its kind write them, whole and broken, cut into pieces in every way.

use super::*;
use chat::Tool;
use proptest::prelude::*;
use serde_json::json;

/// Calls as `name(arguments)`, text between them as it is, joined; an error's first line.
fn told(format: &'static Format, choice: ToolChoice, pieces: &[&str]) -> String {
    let (said, error) = read(format, choice, pieces);
    let mut told = String::new();
    for one in &said {
        match one {
            Said::Text(text) => told.push_str(text),
            Said::Call { name, .. } => told.push_str(&format!("[{name}]")),
            Said::Arguments { json, .. } => told.push_str(json),
        }
    }
    match error {
        Some(error) => format!("{told} ERROR {}", error.lines().next().unwrap().split_once(": ").unwrap().1),
        None => told,
    }
}

fn request(choice: ToolChoice) -> ChatRequest {
    let tool = |name: &str| Tool { name: name.to_owned(), definition: json!({}), strict: false };
    ChatRequest {
        tools: vec![tool("get_weather"), tool("get_weather_in"), tool("add")],
        tool_choice: choice,
        ..ChatRequest::default()
    }
}

fn read(format: &'static Format, choice: ToolChoice, pieces: &[&str]) -> (Vec<Said>, Option<String>) {
    read_as(format, &request(choice), pieces)
}

fn read_as(format: &'static Format, request: &ChatRequest, pieces: &[&str]) -> (Vec<Said>, Option<String>) {
    let mut parser = calls_of(format, names_of(request).unwrap(), request, 7, &[1, 2]).parser;
    let mut said = Vec::new();
    let mut outcome = Ok(());
    for piece in pieces {
        outcome = outcome.and_then(|()| parser.push(piece, &mut said));
    }
    let outcome = outcome.and_then(|()| parser.finish(&mut said));
    (said, outcome.err())
}

fn format(name: &str) -> &'static Format {
    FORMATS.into_iter().find(|format| format.name == name).unwrap()
}

fn check(name: &str, answer: &str, expected: &str) {
    let letters: Vec<String> = answer.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(told(format(name), ToolChoice::Auto, &[answer]), expected, "{name}: {answer}");
    assert_eq!(told(format(name), ToolChoice::Auto, &letters), expected, "{name}, letter by letter: {answer}");
}

const ARGUMENTS: &str = r#"{"city": "São \"P\" {}", "days": [1, -2.5e3, true, null]}"#;

#[test]
fn hermes_calls_are_read() {
    let call = |name: &str| format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {ARGUMENTS}}}\n</tool_call>");
    let (weather, add) = (call("get_weather"), call("add"));
    let whole = format!("[get_weather]{ARGUMENTS}");
    check("hermes", &weather, &whole);
    check("hermes", &format!("I will look.\n\n{weather}\n{add}"), &format!("I will look.{whole}[add]{ARGUMENTS}"));
    check("hermes", &format!("\n{weather}\n\nDone. <tool"), &format!("{whole}Done. <tool"));
    check("hermes", "No <tool> and no\n<tool_cal", "No <tool> and no\n<tool_cal");
    // Without marks, and an answer that is JSON of another kind.
    let bare = weather.replace("<tool_call>\n", "").replace("\n</tool_call>", "");
    check("hermes", &bare, &whole);
    check("hermes", &format!("{bare}\n</tool_call>\nDone."), &format!("{whole}Done."));
    check("hermes", &format!("{bare} Done."), &format!("{whole}Done."));
    check("hermes", &format!("\n{bare}\n{add}"), &format!("{whole}[add]{ARGUMENTS}"));
    // In a block of code, as Qwen 2.5 Coder has it.
    check("hermes", &format!("```json\n{bare}\n```"), &whole);
    check("hermes", &format!("\n```\n{bare}\n```\nDone."), &format!("{whole}Done."));
    check("hermes", &format!("```json\n{bare}\n{add}"), &format!("{whole}[add]{ARGUMENTS}"));
    check("hermes", &format!("```json\n{bare}\n{bare}\n```\n\n```json\n{bare}\n```"), &whole.repeat(3));
    for text in [
        "```json\n{\"name\": \"Ann\", \"arguments\": {}}\n```",
        "```json\n",
        "```js",
        "```rust\n{",
        "``` {}",
        "```\n\n[",
    ] {
        check("hermes", text, text);
    }
    for text in ["{\"name\": \"Ann\", \"arguments\": {}}", "{\"a\": 1}", "So: {\"name\": \"add\", \"arguments\": {}}"] {
        check("hermes", text, text);
    }
    // Without the last mark, and two calls within one pair of marks.
    check("hermes", &weather.replace("\n</tool_call>", ""), &whole);
    let both =
        "<tool_call>{\"name\": \"add\", \"arguments\": {}}\n{\"arguments\": \"{}\", \"name\": \"add\"}</tool_call>";
    check("hermes", both, "[add]{}[add]{}");
    // Braces too many, a tool that is none, what is no JSON, an end too early.
    check("hermes", &weather.replace("}\n", "}}\n"), &format!("{whole} ERROR expected \"</tool_call>\", got '}}'"));
    check("hermes", &call("rain"), " ERROR \"rain\" is none of the tools (get_weather, get_weather_in, add)");
    check("hermes", "<tool_call>\nadd(1)", " ERROR expected the { of a call, got 'a'");
    check("hermes", "<tool_call>\n", " ERROR the answer ends in the middle of a call");
    check("hermes", "a <tool_call>{\"name\": \"add\"", "a[add] ERROR the answer ends in the middle of a call");
    let cut = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1";
    check("hermes", cut, "[add]{\"a\": 1 ERROR the answer ends in the middle of a call");
    check("hermes", &cut.replace('1', "'"), "[add]{\"a\":  ERROR expected a JSON value, got '\\''");
    let lone = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"\\ud800\"}}</tool_call>";
    assert!(told(format("hermes"), ToolChoice::Auto, &[lone]).contains("ERROR the arguments: "), "half a pair");
}

#[test]
fn llama_calls_are_the_whole_answer() {
    let call = format!("{{\"name\": \"get_weather\", \"parameters\": {ARGUMENTS}}}");
    let whole = format!("[get_weather]{ARGUMENTS}");
    check("llama", &call, &whole);
    check("llama", &format!("\n<|python_tag|>{call}"), &whole);
    check("llama", &format!("{call}; {call}\n{call}"), &whole.repeat(3));
    check("llama", &format!("{{\"type\": \"function\", {}", &call[1..]), &whole);
    check("llama", &format!("{{\"parameters\": {ARGUMENTS}, \"name\": \"get_weather\"}}"), &whole);
    check("llama", &format!("{call}\n\nThat is all."), &format!("{whole}That is all."));
    // Answers that are no calls.
    for text in [
        "It is 21 degrees.",
        "{\"answer\": 21}",
        "{}",
        "{",
        "{\"name\": \"Ann\", \"age\": 3}",
        "In JSON: {\"name\": 1}",
    ] {
        check("llama", text, text);
    }
    check(
        "llama",
        "{\"name\": \"rain\", \"parameters\": {}}",
        " ERROR \"rain\" is none of the tools (get_weather, get_weather_in, add)",
    );
    check("llama", "{\"name\": \"get_wea", " ERROR the answer ends in the middle of a call");
    let wrong = "{\"name\": \"add\", \"arguments\": [1]}";
    check("llama", wrong, " ERROR expected the arguments to be an object, got '['");
    check("llama", "{\"name\": <|python_tag|>{", "{\"name\": ERROR the answer ends in the middle of a call");
    check("llama", "<|python_tag|>print(1)", " ERROR expected the { of a call, got 'p'");
}

#[test]
fn calls_in_lists_are_read() {
    let list = format!(
        "[{{\"name\": \"get_weather\", \"arguments\": {ARGUMENTS}, \"id\": \"abc123DEF\"}}, {{\"name\": \"add\", \"arguments\": {{}}}}]"
    );
    let whole = format!("[get_weather]{ARGUMENTS}[add]{{}}");
    for (name, open, close) in
        [("mistral", "[TOOL_CALLS] ", ""), ("granite", "<|tool_call|>", ""), ("nemotron", "<TOOLCALL>", "</TOOLCALL>")]
    {
        check(name, &format!("{open}{list}{close}"), &whole);
        check(name, &format!("Well. {open}{list}{close}\n"), &format!("Well.{whole}"));
        check(name, &format!("{open}{list}\nSo"), &format!("{whole}So"));
        check(
            name,
            &format!("{open}{}", &list[..list.len() - 1]),
            &format!("{whole} ERROR the answer ends in the middle of a call"),
        );
        check(name, &format!("{open}{{"), " ERROR expected the [ of a list of calls, got '{'");
        check(name, &format!("{open}[]"), " ERROR expected the { of a call, got ']'");
        check(name, &open[..5], &open[..5]);
    }
}

#[test]
fn calls_by_name_and_marks_are_read() {
    let call = format!("[TOOL_CALLS]get_weather[CALL_ID]abc123DEF[ARGS]{ARGUMENTS}");
    check("mistral-args", &format!("{call}[TOOL_CALLS]add[ARGS] {{}}"), &format!("[get_weather]{ARGUMENTS}[add]{{}}"));
    check(
        "mistral-args",
        "[TOOL_CALLS]rain[ARGS]{}",
        " ERROR \"rain\" is none of the tools (get_weather, get_weather_in, add)",
    );
    check("mistral-args", "[TOOL_CALLS]add[ARGS][1]", "[add] ERROR expected the arguments to be an object, got '['");
    check("mistral-args", "[TOOL_CALLS]add[ARGS]", "[add] ERROR the answer ends in the middle of a call");
    check("mistral-args", "[TOOL_CALLS]add", " ERROR the answer ends in the middle of a call");
    let long = format!("[TOOL_CALLS]{}", "a".repeat(300));
    check("mistral-args", &long, " ERROR expected \"[ARGS]\" within 256 bytes of a call");
}

/// A request whose tools are strict.
fn strict() -> ChatRequest {
    let mut request = request(ToolChoice::Auto);
    request.tools.iter_mut().for_each(|tool| tool.strict = true);
    request
}

/// A call as it is written where it is held.
fn written(format: &Format, name: &str, arguments: &str) -> String {
    let (open, close) = match format.shape {
        Shape::List => (format!("{}[", format.opens[0]), "]"),
        Shape::Bare => (String::new(), ""),
        Shape::Objects | Shape::Named { .. } => (format.opens[0].to_owned(), ""),
    };
    let Format { before_name, after_name, after_arguments, closes, .. } = format;
    format!("{open}{before_name}{name}{after_name}{arguments}{after_arguments}{close}{}", closes.unwrap_or_default())
}

#[test]
fn a_held_call_that_was_cut_short_is_no_error() {
    for format in FORMATS {
        let call = written(format, "add", ARGUMENTS);
        for choice in [ToolChoice::Required, ToolChoice::Named("add".to_owned())] {
            assert_eq!(told(format, choice, &[&call]), format!("[add]{ARGUMENTS}"), "{format:?}");
        }
        for len in (0..call.len()).filter(|&len| call.is_char_boundary(len)) {
            let cut = told(format, ToolChoice::Required, &[&call[..len]]);
            assert!(format!("[add]{ARGUMENTS}").starts_with(&cut), "{format:?}: {cut:?} of {:?}", &call[..len]);
        }
        // Where the model may say what it likes, what is no call yet is what it said.
        let (said, error) = read_as(format, &strict(), &[&call[..3]]);
        assert_eq!((said, error), (vec![Said::Text(call[..3].to_owned())], None), "{format:?}");
    }
}

#[test]
fn where_calls_are_held_an_object_that_was_not_is_no_call() {
    let is_call = |format: &'static Format, text: &str| {
        let (said, error) = read_as(format, &strict(), &[text]);
        assert_eq!(error, None, "{text}");
        said.iter().any(|one| matches!(one, Said::Call { .. }))
    };
    for (format, field) in [(&hermes::HERMES, "arguments"), (&llama::LLAMA, "parameters")] {
        for text in ["{\"name\": \"add\", \"F\": {}}", "\n{\"type\":\"function\", \"name\":\"add\", \"F\": {}}"] {
            assert!(is_call(format, &text.replace('F', field)), "{text}");
        }
        for text in [
            "{\"F\": {\"a\": 1}, \"name\": \"add\"}",
            "{\"id\": 1, \"name\": \"add\", \"F\": 4}",
            "{\"id\": 1, \"name\": \"add\", \"F\": {}}",
            "{\"name\": \"rain\", \"F\": {}}",
        ] {
            assert!(!is_call(format, &text.replace('F', field)), "{text}");
        }
    }
}

#[test]
fn after_the_one_call_that_was_asked_for_nothing_is_read() {
    let request = ChatRequest { one_tool_call: true, ..request(ToolChoice::Auto) };
    let mut parser = calls_of(format("hermes"), names_of(&request).unwrap(), &request, 7, &[]).parser;
    let mut said = Vec::new();
    let call = "<tool_call>{\"name\": \"add\", \"arguments\": {}}";
    parser.push(&format!("{call}\n{call} }}"), &mut said).unwrap();
    parser.finish(&mut said).unwrap();
    assert_eq!((said.len(), parser.is_done(), parser.has_called()), (2, true, true));
}

#[test]
fn ids_have_the_form_that_templates_want_and_are_the_same_under_a_seed() {
    let ids = |style, seed| {
        let mut ids = CallIds::new(style, seed);
        [ids.next(), ids.next()]
    };
    for (style, prefix, len) in [(Ids::Prefixed, "call_", 29), (Ids::Nine, "", 9)] {
        let [one, two] = ids(style, 1);
        assert_eq!([&one, &two].map(String::as_str), ids(style, 1).each_ref().map(String::as_str));
        assert!(one != two && one != ids(style, 2)[0], "{one} {two}");
        let rest = one.strip_prefix(prefix).unwrap();
        assert!(one.len() == len && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{one}");
    }
    let nine = format("mistral").id_for_template("call_abc");
    assert_eq!((nine.len(), &nine), (9, &format("mistral").id_for_template("call_abc")));
    assert_eq!(format("mistral").id_for_template("abc123DEF"), "abc123DEF");
    assert_eq!(format("hermes").id_for_template("x"), "x");
}

#[test]
fn a_format_is_known_by_what_the_template_teaches() {
    let of = |template: &str| Format::of(template).map(|format| format.name);
    let cases = [
        (
            r#"{{ tools }} "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>""#,
            Some("hermes"),
        ),
        (r#"{{ tools }} '{"name": function name, "parameters": dictionary}'"#, Some("llama")),
        (r#"{{ tools }} "[TOOL_CALLS][" {{ call }}"#, Some("mistral")),
        (r#"{{ tools }} "[TOOL_CALLS]" + name + "[ARGS]""#, Some("mistral-args")),
        (r#"{{ tools }} "only with <|tool_call|> followed by a JSON list of tools""#, Some("granite")),
        (r#"{{ tools }} '<TOOLCALL>[' {{ call }} ']</TOOLCALL>'"#, Some("nemotron")),
        // Takes tools, in marks of XML within the same outer mark.
        (
            r#"{{ tools }} "<tool_call>\n<function=name>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>""#,
            None,
        ),
        (r#"{{ tools }}"#, None),
        (r#""<tool_call>\n{\"name\": 1}</tool_call>""#, None),
    ];
    for (template, expected) in cases {
        assert_eq!(of(template), expected, "{template}");
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    let refused = |names: &[&str], tool_choice: ToolChoice| {
        let tools =
            names.iter().map(|name| Tool { name: (*name).to_owned(), definition: json!({}), strict: false }).collect();
        names_of(&ChatRequest { tools, tool_choice, ..ChatRequest::default() }).unwrap_err().to_string()
    };
    let form = "expected 1 to 128 bytes of letters, digits and _-.:/";
    assert_eq!(refused(&["a", ""], ToolChoice::Auto), format!("the name of tool 1 is \"\", {form}"));
    assert_eq!(refused(&["a\"b"], ToolChoice::Auto), format!("the name of tool 0 is \"a\\\"b\", {form}"));
    assert_eq!(refused(&["a", "a"], ToolChoice::Auto), "two tools have the name \"a\"");
    assert_eq!(refused(&[], ToolChoice::Required), "a call of a tool is required, and no tools are given");
    let named = ToolChoice::Named("c".to_owned());
    assert_eq!(refused(&["a", "b"], named), "the tool \"c\" is to be called and is none of the tools (a, b)");
    assert!(refused(&vec!["a"; MOST_TOOLS + 1], ToolChoice::None).starts_with("expected at most 1024 tools"));
}

/// Said in one piece each: text joined, arguments joined by call.
fn joined(said: Vec<Said>) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for one in said {
        match (all.last_mut(), one) {
            (Some(Said::Text(text)), Said::Text(more)) => text.push_str(&more),
            (Some(Said::Arguments { index, json }), Said::Arguments { index: same, json: more }) if *index == same => {
                json.push_str(&more);
            }
            (_, one) => all.push(one),
        }
    }
    all
}

/// What an answer becomes whose calls are held: after what opens a call comes the rest of one. With the number of calls.
fn held_answer(format: &'static Format, words: &[&str]) -> (String, usize) {
    let mut watch = HeldCalls::of(format, &strict()).unwrap().watch();
    let (mut text, mut opened) = (String::new(), 0);
    let whole = written(format, "add", "{}");
    for word in words {
        for letter in word.chars() {
            text.push(letter);
            let Some(opening) = watch.push(letter.encode_utf8(&mut [0; 4]).as_bytes()) else { continue };
            text.push_str(&match format.opens.contains(&opening.as_str()) {
                true => whole.strip_prefix(&opening).unwrap_or(&whole).to_owned(),
                false => format!("{}{{}}{}", format.after_name, format.after_arguments.trim_end()),
            });
            watch.call_ended();
            opened += 1;
            break;
        }
    }
    (text, opened)
}

proptest! {
    #[test]
    fn what_is_read_as_a_call_is_what_was_held(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "<tool_call>", "<tool_", "call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<|tool_call|>",
            "<TOOLCALL>", "</TOOLCALL>", "{", "{\"name\": \"add", "{\"name\": \"get_weather\"", "{\"type\": \"function\",",
            "\"name\":", " \"add\"", "\"", ", \"arguments\": {}}", "\"parameters\": {}, \"name\": \"add\"}",
            "[", "]", ",", ";", "}", "\n", " ", "<", "\u{8a9e}", "well", "```json\n", "```", "```\n",
            "```json\n{\"name\": \"add\"", "{\"name\": \"add\"",
        ]), 0..12),
    ) {
        for format in FORMATS {
            let (text, opened) = held_answer(format, &words);
            let (said, error) = read_as(format, &strict(), &[&text]);
            let calls = said.iter().filter(|one| matches!(one, Said::Call { .. })).count();
            prop_assert_eq!((calls, error), (opened, None), "{:?}: {:?} {:?}", format, text, said);
        }
    }

    #[test]
    fn pieces_do_not_matter(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "<|tool_call|>", "<TOOLCALL>",
            "{\"name\": \"add\", \"arguments\": {\"a\": [1, \"\\n語\"]}}", "{\"name\": \"get_weather\", \"parameters\": \"{}\"}",
            "{\"arguments\": {}, \"name\": \"add\"}", "{\"name\": \"add\", \"arguments\": ", "add", "[", "]", ",", ";", "{}", "}", "\n", " ",
            "<", "語", "well",
        ]), 0..12),
        cuts in proptest::collection::vec(any::<bool>(), 500),
        request in proptest::sample::select(vec![
            request(ToolChoice::Auto), strict(), request(ToolChoice::Required), request(ToolChoice::Named("add".to_owned())),
        ]),
    ) {
        let whole = words.concat();
        let mut pieces = vec![String::new()];
        for (letter, &cut) in whole.chars().zip(&cuts) {
            if cut {
                pieces.push(String::new());
            }
            pieces.last_mut().unwrap().push(letter);
        }
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        for format in FORMATS {
            let (at_once, error) = read_as(format, &request, &[&whole]);
            let (said, error_in_pieces) = read_as(format, &request, &pieces);
            let is_held = HeldCalls::of(format, &request).is_some();
            let said = joined(said);
            prop_assert_eq!(&said, &joined(at_once), "{:?}: {}", format, whole);
            prop_assert_eq!(&error, &error_in_pieces);
            let is_json = |one: &Said| match one {
                // One that is held may have been cut short.
                Said::Arguments { json, .. } => is_held || serde_json::from_str::<serde_json::Map<_, _>>(json).is_ok(),
                Said::Text(text) => !format.opens.iter().any(|mark| text.contains(mark)),
                Said::Call { name, .. } => ["add", "get_weather"].contains(&name.as_str()),
            };
            if error.is_none() {
                prop_assert!(said.iter().all(is_json), "{format:?}: {said:?}");
            }
        }
    }
}
