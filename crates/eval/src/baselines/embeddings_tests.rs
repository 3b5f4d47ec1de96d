//! Tests of `embeddings.rs`, with a model whose vectors count letters.

use super::*;
use crate::baselines::testing::{ask, classify, example};
use chat::{Capabilities, ChatError, ChatFuture, ChatRequest, ChatStream, ModelInfo};
use futures::executor::block_on;
use serde_json::json;
use std::sync::Mutex;
use tasks::{Example, Task};

/// A model whose vectors say how many of the letters are `a`, `b` and `c`.
struct Letters {
    info: ModelInfo,
    batches: Mutex<Vec<usize>>,
}

impl Letters {
    fn new() -> Letters {
        let info = ModelInfo {
            name: "letters".into(),
            family: "none".into(),
            parameters: 0,
            weight_bytes: 0,
            quantization: "f32".into(),
            context: 20,
            maximum_context: 20,
            vocabulary: 3,
            capabilities: Capabilities { embed: true, ..Capabilities::default() },
        };
        Letters { info, batches: Mutex::default() }
    }
}

impl ChatModel for Letters {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, _: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(async { Err(ChatError::Unavailable("it does not speak".to_owned())) })
    }

    fn count_tokens<'a>(&'a self, _: &'a ChatRequest) -> ChatFuture<'a, usize> {
        Box::pin(async { Ok(0) })
    }

    fn embed(&self, request: EmbedRequest) -> ChatFuture<'_, EmbedResponse> {
        self.batches.lock().unwrap().push(request.inputs.len());
        let mut response = EmbedResponse::default();
        for (index, input) in request.inputs.iter().enumerate() {
            let Prompt::Text(text) = input else { panic!("texts are sent as texts") };
            let read: String = text.chars().take(20).collect();
            if read.len() < text.len() {
                response.truncated.push(index);
            }
            let share = |letter: char| read.matches(letter).count() as f32 / read.len().max(1) as f32;
            response.vectors.push(['a', 'b', 'c'].map(share).to_vec());
            response.prompt_tokens += read.len();
        }
        Box::pin(async move { Ok(response) })
    }
}

fn learned(model: &Arc<Letters>, task: &Task, examples: &[Example]) -> Box<dyn Work> {
    let embedder: Option<Arc<dyn ChatModel>> = Some(model.clone());
    block_on(ROW.learn(&Lesson { task, examples, embedder, threads: 2 })).unwrap()
}

fn letters(row: usize) -> (String, &'static str) {
    let label = ["a", "b", "c"][row % 3];
    (format!("{}{}", label.repeat(3 + row % 5), "abc"), label)
}

#[test]
fn what_vectors_tell_apart_is_learned_exactly_and_in_batches() {
    let model = Arc::new(Letters::new());
    let examples: Vec<_> = (0..150).map(letters).map(|(text, label)| example(&text, json!(label))).collect();
    let work = learned(&model, &classify(&["never", "a", "b", "c"], |settings| settings.all_scores = true), &examples);
    assert_eq!(*model.batches.lock().unwrap(), [64, 64, 22]);
    for one in &examples {
        let outcome = ask(&*work, one.input.fields["text"].as_str().unwrap());
        assert_eq!(outcome["label"], one.expected);
        assert!(outcome["probability"].as_f64().unwrap() > 0.9, "{outcome}");
        assert_eq!(outcome["scores"][3], json!({"label": "never", "probability": 0.0}));
    }
}

#[test]
fn tokens_are_counted_and_a_text_that_was_cut_is_told() {
    let model = Arc::new(Letters::new());
    let work = learned(&model, &classify(&["a", "b"], |_| {}), &[example("aa", json!("a")), example("bb", json!("b"))]);
    let long = Input::text("a".repeat(30));
    let outcome = block_on(work.ask(&long)).unwrap();
    assert_eq!(outcome.prompt_tokens, 20);
    assert_eq!(outcome.warnings, ["the text is longer than the embedding model reads, and was cut there"]);
    assert!(block_on(work.ask(&Input::text(""))).unwrap().warnings.is_empty());
}

#[test]
fn several_labels_are_learned_each_for_itself() {
    let texts = [("aaaa", json!(["a"])), ("aabb", json!(["a", "b"])), ("bbbb", json!(["b"])), ("cccc", json!([]))];
    let examples: Vec<_> = (0..60).map(|row| example(texts[row % 4].0, texts[row % 4].1.clone())).collect();
    let model = Arc::new(Letters::new());
    let work = learned(&model, &classify(&["a", "b"], |settings| settings.several = true), &examples);
    for (text, labels) in texts {
        assert_eq!(ask(&*work, text)["labels"], labels);
    }
}

#[test]
fn without_a_model_of_vectors_it_says_so() {
    let (task, examples) = (classify(&["a"], |_| {}), [example("a", json!("a"))]);
    let mut speaker = Letters::new();
    speaker.info.capabilities.embed = false;
    for embedder in [None, Some(Arc::new(speaker) as Arc<dyn ChatModel>)] {
        let refused = block_on(ROW.learn(&Lesson { task: &task, examples: &examples, embedder, threads: 1 }));
        let expected = "the baseline `embeddings` learns with an embedding model, got none\n\
                        hint: name one, or leave the baseline out";
        assert_eq!(refused.err().unwrap().to_string(), expected);
    }
}
