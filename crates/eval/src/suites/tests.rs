//! Suites of a few rows, in the formats in which their authors publish them, with a model that follows a script.

use super::*;
use crate::report::{Place, Report};
use crate::{Contender, Entrant, Evaluation, Options, Plan, Price, Watch};
use chat::{
    Capabilities, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, CompletionRequest,
    FinishReason, ModelInfo, Prompt, RankRequest, RankResponse, ScoredToken, Usage,
};
use futures::executor::block_on;
use futures::stream;
use ledger::Ledger;
use serde_json::json;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use tasks::Machine;

type Answer = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Says what a function of the prompt says, finds the continuation likeliest that it names, and remembers what it was asked.
struct Scripted {
    info: ModelInfo,
    answer: Answer,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Arc<Scripted> {
        let info = ModelInfo {
            name: "scripted".into(),
            family: "none".into(),
            parameters: 0,
            weight_bytes: 0,
            quantization: "f32".into(),
            context: 4096,
            maximum_context: 4096,
            vocabulary: 100,
            capabilities: Capabilities { template: true, complete: true, ..Capabilities::default() },
        };
        Arc::new(Scripted { info, answer: Box::new(answer), asked: Mutex::default() })
    }

    fn said(&self, prompt: &str, stop: &[String]) -> ChatStream {
        self.asked.lock().unwrap().push(prompt.to_owned());
        let mut text = (self.answer)(prompt);
        let end = stop.iter().filter_map(|stop| text.find(stop.as_str())).min();
        text.truncate(end.unwrap_or(text.len()));
        let usage = Usage { prompt_tokens: 7, completion_tokens: 3, ..Usage::default() };
        let events = [
            ChatEvent::Text { text, tokens: 3, logprobs: Vec::new() },
            ChatEvent::Finished { reason: FinishReason::Stop, usage },
        ];
        Box::pin(stream::iter(events.into_iter().map(Ok)))
    }
}

fn plain(prompt: Prompt) -> String {
    let Prompt::Text(text) = prompt else { panic!("expected text") };
    text
}

impl ChatModel for Scripted {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        let text: Vec<_> = request.messages.iter().map(|message| message.content.as_str()).collect();
        let said = self.said(&format!("<chat>{}", text.join("|")), &request.options.stop);
        Box::pin(async { Ok(said) })
    }

    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        let said = self.said(&plain(request.prompt), &request.options.stop);
        Box::pin(async { Ok(said) })
    }

    fn rank(&self, request: RankRequest) -> ChatFuture<'_, RankResponse> {
        let prompt = plain(request.prompt);
        let likeliest = (self.answer)(&prompt);
        self.asked.lock().unwrap().push(prompt);
        if likeliest == "declined" {
            let error = ChatError::Unsupported { model: "scripted".to_owned(), what: "log-probabilities" };
            return Box::pin(async { Err(error) });
        }
        let score = |text: &String| {
            let logprob = if *text == likeliest { -0.5 } else { -1.5 };
            vec![ScoredToken { id: 0, text: text.clone(), logprob: Some(logprob) }]
        };
        let continuations = request.continuations.iter().map(score).collect();
        Box::pin(async move { Ok(RankResponse { continuations, prompt_tokens: 9 }) })
    }
}

struct Nobody;

impl Watch for Nobody {
    fn judged(&self, _: usize, _: usize, _: bool, _: Option<f64>) {}
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with(".gz") {
            let file = std::fs::File::create(path).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        } else {
            std::fs::write(path, text).unwrap();
        }
    }
    folder
}

fn error(name: &str, files: &[(&str, &str)]) -> String {
    Suite::open(name, folder(files).path(), None).expect_err("an error").to_string()
}

/// A whole evaluation of a suite.
fn judge(suite: &Suite, model: &Arc<Scripted>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
    let Suite { row, task, test } = suite;
    let entrant = Entrant {
        name: "scripted".to_owned(),
        answerer: "scripted".to_owned(),
        place: Place::Local,
        fingerprint: row.fingerprint(),
        task: task.clone(),
    };
    let options = Options::default();
    let plan = Plan::new(&ledger, task.clone(), test.clone(), vec![entrant], options).unwrap();
    let mut evaluation: Evaluation<'_> = plan.begin().unwrap();
    let model: Arc<dyn ChatModel> = Arc::<Scripted>::clone(model);
    let work: Arc<dyn tasks::Work> = match Asked::new(row, Arc::clone(&model), task, 2) {
        Some(asked) => Arc::new(asked),
        None => Arc::new(block_on(task.ready(model, &[])).unwrap()),
    };
    let contender = Contender {
        tries: vec![work],
        preview: Box::new(|input| Some(prompt(input))),
        price: Price::Machine(Machine::default()),
        parameters: None,
    };
    block_on(evaluation.judge(&contender, &Nobody, &AtomicBool::new(false))).unwrap();
    evaluation.finish().unwrap()
}

/// The main figure, and the others by their names.
fn figures(report: &Report) -> (f64, Vec<(&str, f64)>) {
    let candidate = &report.candidates[0];
    assert_eq!(candidate.failures, []);
    let others = candidate.figures.iter().map(|named| (named.metric.as_str(), named.figure.value));
    (candidate.figure.unwrap().value, others.collect())
}

fn exam(subject: &str, count: usize) -> String {
    let question = |number: usize| {
        let letter = ["A", "B", "C", "D"][number % 4];
        json!({
            "subject": subject, "question": format!(" What is {number}?\n"),
            "choices": ["w", "x", "y", "z"], "answer": letter,
        })
    };
    (0..count).map(|number| format!("{}\n", question(number))).collect()
}

#[test]
fn mmlu_asks_for_the_likeliest_letter_after_five_examples_of_the_subject() {
    let (dev, test) = (exam("high_school_art", 6), exam("high_school_art", 8));
    let folder = folder(&[("dev.jsonl", &dev), ("test.jsonl.gz", &test)]);
    let suite = Suite::open("mmlu", folder.path(), None).unwrap();
    let model = Scripted::new(|prompt| if prompt.ends_with("Answer:") { " B" } else { " A" }.to_owned());
    let report = judge(&suite, &model);
    assert_eq!(figures(&report), (0.25, vec![]));
    let part = &report.candidates[0].parts[0];
    assert_eq!((part.name.as_str(), part.rows, part.figures[0].figure.value), ("high_school_art", 8, 0.25));
    let worst = &report.candidates[0].worst[0].outcome;
    assert_eq!((&worst["label"], &worst["log_likelihoods"]["C"]), (&json!("B"), &json!(-1.5)));
    assert!((worst["probability"].as_f64().unwrap() - 1.0 / (1.0 + 3.0 * (-1.0f64).exp())).abs() < 1e-9);
    let asked = model.asked.lock().unwrap().clone();
    let beginning = "The following are multiple choice questions (with answers) about high school art.\n\n\
                     What is 0?\nA. w\nB. x\nC. y\nD. z\nAnswer: A\n\nWhat is 1?\n";
    assert!(asked[0].starts_with(beginning), "{}", asked[0]);
    assert_eq!((asked[0].matches("Answer: ").count(), asked[0].matches("Answer:").count()), (5, 6));
    let protocol = report.protocol.unwrap();
    assert_eq!((protocol.suite.as_str(), protocol.shots), ("mmlu", 5));
    assert!(protocol.source.contains("lm-evaluation-harness"), "{protocol:?}");
}

#[test]
fn mmlu_is_read_as_its_authors_publish_it_too() {
    let cells = |count: usize| (0..count).map(|row| format!("\"Is it, {row}?\",w,x,y,z,D\n")).collect::<String>();
    let published = folder(&[("dev/art_dev.csv", &cells(5)), ("test/art_test.csv", &cells(3))]);
    let suite = Suite::open("mmlu", published.path(), Some(2)).unwrap();
    assert_eq!((suite.test.rows.len(), &suite.test.rows[0].example.expected), (2, &json!("D")));
    assert!(prompt(&suite.test.rows[0].example.input).contains("about art.\n\nIs it, 0?\nA. w\n"));
    let error = error("mmlu", &[("dev/art_dev.csv", &cells(5)), ("test/art_test.csv", "a,b\n")]);
    assert!(error.contains("row 1: expected a question, four answers and a letter, got 2 cells\nhint: "), "{error}");
}

#[test]
fn a_model_without_log_likelihoods_is_no_candidate_for_mmlu() {
    let (dev, test) = (exam("art", 5), exam("art", 1));
    let folder = folder(&[("dev.jsonl", &dev), ("test.jsonl", &test)]);
    let suite = Suite::open("mmlu", folder.path(), None).unwrap();
    let model = Scripted::new(|_| "declined".to_owned());
    let asked = Asked::new(suite.row, model, &suite.task, 1).unwrap();
    let error = block_on(tasks::Work::ask(&asked, &suite.test.rows[0].example.input)).unwrap_err();
    assert!(error.is_fatal() && error.to_string() == "scripted does not support log-probabilities", "{error}");
}

fn problems(count: usize) -> String {
    let problem = |number: usize| json!({"question": format!("{number} and 1?"), "answer": format!("It is so.\n#### {}", number + 1)});
    (0..count).map(|number| format!("{}\n", problem(number))).collect()
}

#[test]
fn gsm8k_reads_the_number_in_two_ways() {
    let (train, test) = (problems(30), problems(4));
    let folder = folder(&[("train.jsonl", &train), ("test.jsonl", &test)]);
    let suite = Suite::open("gsm8k", folder.path(), None).unwrap();
    let model = Scripted::new(|prompt| {
        let asked = prompt.rsplit("Question: ").next().unwrap();
        match asked.chars().next().unwrap() {
            '0' => " It is so.\n#### 1\n\nQuestion: 9 and 9?\n#### 18",
            '1' => " That makes 2.",
            '2' => " #### 4, no, 3",
            _ => " nothing",
        }
        .to_owned()
    });
    assert_eq!(figures(&judge(&suite, &model)), (0.25, vec![("flexible_extract", 0.75)]));
    let asked = model.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|prompt| prompt.matches("Question: ").count() == 6 && prompt.ends_with("?\nAnswer:")));
    let few = error("gsm8k", &[("train.jsonl", &problems(3)), ("test.jsonl", &test)]);
    assert!(few.contains("train.jsonl: expected 22 problems to draw from, got 3\nhint: "), "{few}");
}

#[test]
fn squad2_is_scored_with_and_without_an_answer() {
    let question = |text: &str, answers: &[&str]| {
        let answers: Vec<_> = answers.iter().map(|text| json!({"text": text, "answer_start": 0})).collect();
        json!({"question": text, "id": text, "answers": answers, "is_impossible": answers.is_empty()})
    };
    let questions =
        [question("Who?", &["the Normans", "Normans in France"]), question("When?", &[]), question("Why?", &[])];
    let paragraphs = json!([{"context": "Normans came.", "qas": questions}]);
    let file = json!({"version": "v2.0", "data": [{"title": "Normans", "paragraphs": paragraphs}]}).to_string();
    let folder = folder(&[("dev-v2.0.json.gz", &file)]);
    let suite = Suite::open("squad2", folder.path(), None).unwrap();
    let model = Scripted::new(|prompt| {
        match prompt.rsplit("Question: ").next().unwrap() {
            "Who?\n\nAnswer:" => " Normans from France\nQuestion: more",
            "When?\n\nAnswer:" => "\n\nNever",
            _ => " No reason.",
        }
        .to_owned()
    });
    let report = judge(&suite, &model);
    let (f1, others) = figures(&report);
    assert!((f1 - (2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-9, "{f1}");
    assert_eq!(others, [("exact_match", 1.0 / 3.0)]);
    let parts: Vec<_> = report.candidates[0].parts.iter().map(|part| (part.name.as_str(), part.rows)).collect();
    assert_eq!(parts, [("has an answer", 1), ("no answer", 2)]);
    let asked = model.asked.lock().unwrap().clone();
    let whole = "Title: Normans\n\nBackground: Normans came.\n\nQuestion: Who?\n\nAnswer:";
    assert!(asked.iter().any(|prompt| prompt == whole), "{asked:?}");
}

#[test]
fn ifeval_asks_through_the_template_and_counts_prompts_and_instructions() {
    let row = |key: u64, ids: &[&str], settings: serde_json::Value| {
        json!({"key": key, "prompt": format!("Task {key}"), "instruction_id_list": ids, "kwargs": settings}).to_string()
    };
    let rows = [
        row(1, &["punctuation:no_comma", "startend:quotation"], json!([{"relation": null}, {}])),
        row(2, &["punctuation:no_comma"], json!([{}])),
    ]
    .join("\n");
    let published = folder(&[("input_data.jsonl", &rows)]);
    let suite = Suite::open("ifeval", published.path(), None).unwrap();
    let model = Scripted::new(|prompt| if prompt.ends_with('1') { "no mark" } else { "*a,*\nno mark" }.to_owned());
    let report = judge(&suite, &model);
    let (strict, others) = figures(&report);
    assert_eq!(strict, 0.0);
    let third = 1.0 / 3.0;
    let others: Vec<_> = others.into_iter().map(|(name, value)| (name, (value * 1e6).round() / 1e6)).collect();
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    assert_eq!(
        others,
        [("instruction_strict", rounded(third)), ("prompt_loose", 0.5), ("instruction_loose", rounded(2.0 * third))]
    );
    assert!(model.asked.lock().unwrap().iter().all(|prompt| prompt.starts_with("<chat>Task ")));
    let wrong = row(3, &["startend:quotes"], json!([{}]));
    let error = error("ifeval", &[("ifeval_data.jsonl", &wrong)]);
    assert!(
        error.contains("ifeval_data.jsonl: prompt 3: there is no instruction \"startend:quotes\"\nhint: "),
        "{error}"
    );
}

#[test]
fn dialogsum_takes_the_mean_over_the_references() {
    let row = json!({
        "fname": "test_0", "dialogue": "#Person1#: Tea?", "summary1": "tea is offered", "summary2": "coffee",
        "summary3": "tea", "topic1": "tea",
    });
    let folder = folder(&[("dialogsum.test.jsonl", &row.to_string())]);
    let suite = Suite::open("dialogsum", folder.path(), None).unwrap();
    let model = Scripted::new(|_| "tea".to_owned());
    let report = judge(&suite, &model);
    let (figure, others) = figures(&report);
    assert!((figure - (0.5 + 0.0 + 1.0) / 3.0).abs() < 1e-9, "{figure}");
    assert_eq!(others.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["rouge_1", "rouge_2"]);
    assert_eq!(
        report.goal.about,
        "mean F1 of the longest common sequence of words (ROUGE-L, no stemming) against all references"
    );
}

#[test]
fn code_is_asked_for_as_plain_text_and_its_programs_are_whole() {
    let problem = json!({
        "task_id": "HumanEval/0", "prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": "    return x\n",
        "test": "def check(candidate):\n    assert candidate(1) == 1\n",
    });
    let human = folder(&[("HumanEval.jsonl", &problem.to_string())]);
    let suite = Suite::open("humaneval", human.path(), None).unwrap();
    let program = |suite: &Suite, answer: &str| {
        let Some(Grading::Tests(tests)) = &suite.task.goal.grading else { panic!("expected tests") };
        let mut input = suite.test.rows[0].example.input.clone();
        input.fields.insert("answer".to_owned(), answer.into());
        tests.program.fill(&input).unwrap()
    };
    assert_eq!(
        program(&suite, "    return x"),
        "def f(x):\n    return x\ndef check(candidate):\n    assert candidate(1) == 1\n\ncheck(f)\n"
    );
    assert_eq!(prompt(&suite.test.rows[0].example.input), "def f(x):\n");
    let problem = |id: u64| {
        json!({
            "task_id": id, "text": format!("Do {id}."), "code": format!("code {id}"), "test_setup_code": "",
            "test_list": ["one", "two", "three"], "challenge_test_list": [],
        })
        .to_string()
    };
    let rows = [2, 3, 4, 10, 11, 511].map(problem).join("\n");
    let mbpp = folder(&[("mbpp.jsonl", &rows)]);
    let suite = Suite::open("mbpp", mbpp.path(), None).unwrap();
    assert_eq!(suite.test.rows.len(), 1);
    let asked = prompt(&suite.test.rows[0].example.input);
    assert!(
        asked.starts_with("You are an expert Python programmer, and here is your task: Do 2. Your code"),
        "{asked}"
    );
    assert!(asked.contains("three\n[BEGIN]\ncode 4\n[DONE]\n\nYou are an expert Python programmer"), "{asked}");
    assert!(
        asked.ends_with("task: Do 11. Your code should pass these tests:\n\none\ntwo\nthree\n[BEGIN]\n"),
        "{asked}"
    );
    assert_eq!(program(&suite, "code"), "code\none\ntwo\nthree\n");
    let error = error("mbpp", &[("mbpp.jsonl", &problem(2))]);
    assert!(error.contains("expected problem 3, which is an example of the prompt, got none\nhint: "), "{error}");
}

#[test]
fn a_file_that_is_missing_or_not_as_published_is_named_with_its_project() {
    for suite in SUITES {
        let error = error(suite.name, &[]);
        assert!(
            error.contains(" or ") && error.contains(".gz, got no such file\nhint: --data names the folder"),
            "{error}"
        );
        assert!(error.contains(suite.project), "{error}");
    }
    let error_of = error("gsm8k", &[("train.jsonl", "{\"question\": 1}\n"), ("test.jsonl", "")]);
    assert!(error_of.contains("train.jsonl: line 1: invalid type: integer `1`, expected a string"), "{error_of}");
    assert!(error_of.ends_with("hint: the file is expected as its project publishes it, whole and unchanged"));
    let error_of = error("dialogsum", &[("dialogsum.test.jsonl", "")]);
    assert!(error_of.contains("dialogsum.test.jsonl: expected the rows of dialogsum, got none\nhint: "), "{error_of}");
    let folder = folder(&[]);
    let error = Suite::open("mlu", folder.path(), None).err().unwrap().to_string();
    assert!(error.starts_with("there is no suite \"mlu\"\nhint: the suites are mmlu, gsm8k, ifeval"), "{error}");
    let error = mmlu::ROW.metric(Some("f1")).err().unwrap().to_string();
    assert_eq!(error, "mmlu has no metric `f1`\nhint: its metrics are accuracy");
}

#[test]
fn rows_are_known_by_their_whole_prompt() {
    let open = |dev: &str| {
        let (dev, test) = (exam(dev, 5), exam("art", 3));
        let all =
            format!("{dev}{}", exam("art", 5).replace("\"w\"", if dev.contains("x_art") { "\"v\"" } else { "\"w\"" }));
        Suite::open("mmlu", folder(&[("dev.jsonl", &all), ("test.jsonl", &test)]).path(), None).unwrap().test
    };
    let (one, same, other) = (open("music"), open("music"), open("x_art"));
    assert_eq!(one.sha256, same.sha256);
    assert_ne!(one.sha256, other.sha256, "other examples make other rows");
    let names: std::collections::BTreeSet<_> = SUITES.iter().map(|suite| suite.fingerprint()).collect();
    assert_eq!(names.len(), SUITES.len());
}
