//! Whole encoders, tiny ones: from a file to vectors, scores and refusals.

use crate::*;
use chat::*;
use formats::{Array, ElementType, GgufWriter, Metadata, TensorPlan};
use futures::executor::block_on;
use kernels::{Isa, Runtime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const WIDTH: usize = 16;
const FEED_FORWARD: usize = 24;
const POSITIONS: usize = 20;
const TOKENS: [&str; 14] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁a", "▁b", "▁c", "a", "b", "c", "▁yes", "▁no", "▁."];

/// What a test may want of the file.
#[derive(Default)]
struct Tiny {
    is_judge: bool,
    is_broken: bool,
    /// More tokens in the tokenizer than rows in the table.
    has_too_many_tokens: bool,
}

impl Tiny {
    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("encoder.gguf");
        let element = ElementType::from_name("F32").unwrap();
        let tensors = self.tensors();
        let plan =
            |(name, shape): &(String, Vec<usize>)| TensorPlan { name: name.clone(), shape: shape.clone(), element };
        let plans: Vec<TensorPlan> = tensors.iter().map(plan).collect();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = GgufWriter::create(file, "encoder", &self.metadata(), &plans).unwrap();
        let mut state = 1_u64;
        for (name, shape) in &tensors {
            for _ in 0..shape.iter().product::<usize>() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let random = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                let weight = if name.ends_with("norm.weight") { 1.0 + 0.1 * random } else { random };
                let is_broken = self.is_broken && name == "token_embd_norm.weight";
                writer.write(&if is_broken { f32::NAN } else { weight }.to_le_bytes()).unwrap();
            }
        }
        writer.finish().unwrap();
        path
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "bert");
        metadata.insert("general.file_type", 0_u32);
        let numbers = [
            ("context_length", POSITIONS),
            ("embedding_length", WIDTH),
            ("block_count", 1),
            ("feed_forward_length", FEED_FORWARD),
            ("attention.head_count", 2),
            ("pooling_type", if self.is_judge { 4 } else { 1 }),
        ];
        for (key, value) in numbers {
            metadata.insert(format!("bert.{key}"), value as u32);
        }
        metadata.insert("bert.attention.layer_norm_epsilon", 1e-12_f32);
        let mut tokens = TOKENS.map(str::to_owned).to_vec();
        tokens.extend(self.has_too_many_tokens.then(|| "more".to_owned()));
        let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < 5 { 3 } else { 1 }).collect();
        metadata.insert("tokenizer.ggml.model", "bert");
        metadata.insert("tokenizer.ggml.tokens", Array::from_strings(&tokens));
        metadata.insert("tokenizer.ggml.token_type", Array::from_i32s(&kinds));
        for (name, id) in [("unknown", 1_u32), ("cls", 2), ("seperator", 3)] {
            metadata.insert(format!("tokenizer.ggml.{name}_token_id"), id);
        }
        metadata
    }

    /// Names and shapes, outermost length first.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let table = |name: &str, rows| (format!("{name}.weight"), vec![rows, WIDTH]);
        let mut tensors =
            vec![table("token_embd", TOKENS.len()), table("position_embd", POSITIONS), table("token_types", 2)];
        let mut linear = |name: &str, rows: usize, cols: usize| {
            let cols = (cols > 0).then_some(cols);
            tensors.push((format!("{name}.weight"), [rows].into_iter().chain(cols).collect()));
            tensors.push((format!("{name}.bias"), vec![rows]));
        };
        linear("token_embd_norm", WIDTH, 0);
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            linear(&format!("blk.0.{name}"), WIDTH, WIDTH);
        }
        linear("blk.0.attn_output_norm", WIDTH, 0);
        linear("blk.0.ffn_up", FEED_FORWARD, WIDTH);
        linear("blk.0.ffn_down", WIDTH, FEED_FORWARD);
        linear("blk.0.layer_output_norm", WIDTH, 0);
        if self.is_judge {
            linear("cls", WIDTH, WIDTH);
            linear("cls.output", 1, WIDTH);
        }
        tensors
    }
}

fn source(path: &Path) -> ModelSource {
    ModelSource { name: "tiny".to_owned(), path: path.to_owned(), ..ModelSource::default() }
}

fn try_load(tiny: &Tiny, options: &LoadOptions) -> Result<EncoderModel, ChatError> {
    let folder = TempDir::new().unwrap();
    let path = tiny.write(folder.path());
    assert!(is_encoder(&path).unwrap());
    load_encoder(&source(&path), options, Arc::new(Runtime::new(Isa::detect(), 2).unwrap()))
}

fn load(tiny: &Tiny) -> EncoderModel {
    try_load(tiny, &LoadOptions::default()).unwrap()
}

fn texts(texts: &[&str]) -> EmbedRequest {
    let inputs = texts.iter().map(|text| Prompt::Text((*text).to_owned())).collect();
    EmbedRequest { inputs, truncate: false, dimensions: None }
}

fn embed(model: &EncoderModel, request: EmbedRequest) -> Result<EmbedResponse, ChatError> {
    block_on(model.embed(request))
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn texts_become_unit_vectors_in_their_order() {
    let model = load(&Tiny::default());
    let response = embed(&model, texts(&["yes a", "", "no", "yes a"])).unwrap();
    assert_eq!((response.prompt_tokens, &response.truncated), (4 + 2 + 3 + 4, &vec![]));
    let vectors = &response.vectors;
    assert!(vectors.iter().all(|vector| vector.len() == WIDTH && (length(vector) - 1.0).abs() < 1e-6));
    assert!(vectors[0] == vectors[3] && vectors[0] != vectors[2]);
    assert_eq!(embed(&model, texts(&["no"])).unwrap().vectors[0], vectors[2], "alone as beside others");
    let ids = EmbedRequest { inputs: vec![Prompt::Ids(vec![2, 12, 3])], ..texts(&[]) };
    assert_eq!(embed(&model, ids).unwrap().vectors[0], vectors[2], "ids are taken as they are");
    let info = model.info();
    assert_eq!((info.family.as_str(), info.context, info.vocabulary), ("bert", POSITIONS, TOKENS.len()));
    assert_eq!(info.quantization, "f32");
    assert!(info.capabilities.embed && !info.capabilities.relevance && !info.capabilities.complete);
    let activity = model.activity();
    assert_eq!((activity.running, activity.waiting, activity.prompt_tokens), (0, 0, 13 + 3 + 3));
}

#[test]
fn dimensions_are_the_first_components_normalized_again() {
    let model = load(&Tiny::default());
    let whole = embed(&model, texts(&["yes"])).unwrap().vectors.remove(0);
    let short = embed(&model, EmbedRequest { dimensions: Some(5), ..texts(&["yes"]) }).unwrap().vectors.remove(0);
    assert_eq!(short.len(), 5);
    assert!((length(&short) - 1.0).abs() < 1e-6);
    assert!((short[0] / short[1] - whole[0] / whole[1]).abs() < 1e-4);
    for wrong in [0, WIDTH + 1] {
        let error = embed(&model, EmbedRequest { dimensions: Some(wrong), ..texts(&["yes"]) }).unwrap_err();
        assert!(matches!(error, ChatError::InvalidRequest(_)));
        assert!(error.to_string().starts_with("dimensions: expected 1 to 16"), "{error}");
    }
}

#[test]
fn a_long_text_is_cut_on_request_and_else_refused_with_both_numbers() {
    let model = load(&Tiny::default());
    let long = "a ".repeat(30);
    let error = embed(&model, texts(&["no", &long])).unwrap_err();
    let ChatError::ContextTooLong { prompt_tokens: 32, context: POSITIONS, maximum_context: POSITIONS } = error else {
        panic!("{error}");
    };
    let cut = embed(&model, EmbedRequest { truncate: true, ..texts(&["no", &long]) }).unwrap();
    assert_eq!((cut.truncated, cut.prompt_tokens), (vec![1], 3 + POSITIONS));
    let exact = embed(&model, texts(&[&"a ".repeat(POSITIONS - 2)])).unwrap();
    assert_eq!(cut.vectors[1], exact.vectors[0], "cut is as if it had been shorter, with its end");
    let small = LoadOptions { context: Some(4), ..LoadOptions::default() };
    let small = try_load(&Tiny::default(), &small).unwrap();
    assert!(matches!(embed(&small, texts(&["a a a"])), Err(ChatError::ContextTooLong { context: 4, .. })));
    let large = LoadOptions { context: Some(8192), ..LoadOptions::default() };
    assert_eq!(try_load(&Tiny::default(), &large).unwrap().info().context, POSITIONS);
    let none = LoadOptions { context: Some(2), ..LoadOptions::default() };
    assert!(try_load(&Tiny::default(), &none).err().unwrap().to_string().contains("context 2 is too small"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let model = load(&Tiny::default());
    for (inputs, expected) in [
        (vec![], "expected at least one text"),
        (vec![Prompt::Ids(vec![])], "expected at least one token id"),
        (vec![Prompt::Ids(vec![2, 14])], "expected token ids below 14, got 14"),
    ] {
        let error = embed(&model, EmbedRequest { inputs, ..texts(&[]) }).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let request = RelevanceRequest { query: "a".to_owned(), documents: vec!["b".to_owned()], truncate: false };
    assert!(matches!(block_on(model.relevance(request)), Err(ChatError::Unsupported { .. })));
    let error = block_on(model.chat(ChatRequest::default())).err().unwrap();
    assert_eq!(error.to_string(), "tiny does not support chat");
}

#[test]
fn a_judge_scores_pairs_between_zero_and_one() {
    let model = load(&Tiny { is_judge: true, ..Tiny::default() });
    assert!(model.info().capabilities.relevance && !model.info().capabilities.embed);
    let ask = |query: &str, documents: &[&str], truncate| {
        let documents = documents.iter().map(|text| (*text).to_owned()).collect();
        block_on(model.relevance(RelevanceRequest { query: query.to_owned(), documents, truncate }))
    };
    let response = ask("a b", &["yes", "no no", "yes"], false).unwrap();
    assert_eq!((response.prompt_tokens, &response.truncated), (6 + 7 + 6, &vec![]));
    assert!(response.scores.iter().all(|score| (0.0..=1.0).contains(score)));
    assert!(response.scores[0] == response.scores[2] && response.scores[0] != response.scores[1]);
    assert_ne!(
        ask("yes", &["a b"], false).unwrap().scores[0],
        response.scores[0],
        "the kinds of token tell who is who"
    );
    let long = "no ".repeat(30);
    assert!(matches!(ask("a", &[&long], false), Err(ChatError::ContextTooLong { prompt_tokens: 34, .. })));
    assert_eq!(ask("a", &["no", &long], true).unwrap().truncated, [1]);
    assert!(matches!(ask(&long, &["no"], true), Err(ChatError::ContextTooLong { .. })), "a query is never cut");
    assert!(ask("a", &[], false).unwrap_err().to_string().contains("at least one document"));
    assert!(matches!(embed(&model, texts(&["a"])), Err(ChatError::Unsupported { .. })));
}

#[test]
fn damaged_weights_and_foreign_tokenizers_are_told() {
    let model = load(&Tiny { is_broken: true, ..Tiny::default() });
    let error = embed(&model, texts(&["a"])).unwrap_err();
    assert!(matches!(error, ChatError::BadOutput(_)) && error.to_string().contains("no numbers"), "{error}");
    let model = load(&Tiny { is_broken: true, is_judge: true, ..Tiny::default() });
    let request = RelevanceRequest { query: "a".to_owned(), documents: vec!["b".to_owned()], truncate: false };
    assert!(block_on(model.relevance(request)).unwrap_err().to_string().contains("no number"));
    let error = try_load(&Tiny { has_too_many_tokens: true, ..Tiny::default() }, &LoadOptions::default());
    let error = error.err().unwrap().to_string();
    assert!(error.starts_with("cannot load tiny: its tokenizer: expected at most 14 tokens"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_loaded() {
    let options = LoadOptions { memory: Some(1000), ..LoadOptions::default() };
    let error = try_load(&Tiny::default(), &options).err().unwrap().to_string();
    assert!(error.starts_with("tiny needs ") && error.contains("--memory allows 1.0 kB"), "{error}");
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let description = describe_encoder(&source(&path), &options).unwrap();
    assert_eq!((description.spec.width, description.info.maximum_context), (WIDTH, POSITIONS));
    let decoder = tiny::Tiny::default().write(folder.path());
    assert!(!is_encoder(&decoder).unwrap());
    assert!(is_encoder(&folder.path().join("nothing")).is_err());
}

#[test]
fn many_who_ask_at_once_get_what_they_would_get_alone() {
    let model = Arc::new(load(&Tiny::default()));
    let words = ["a", "b c", "yes no a b c", "no", "a ab abc", "."];
    let alone: Vec<Vec<f32>> = words.map(|text| embed(&model, texts(&[text])).unwrap().vectors.remove(0)).to_vec();
    std::thread::scope(|scope| {
        for offset in 0..6 {
            let (model, alone) = (Arc::clone(&model), &alone);
            scope.spawn(move || {
                for round in 0..10 {
                    let order: Vec<usize> = (0..6).map(|index| (index + offset + round) % 6).collect();
                    let asked: Vec<&str> = order.iter().map(|&index| words[index]).collect();
                    let vectors = embed(&model, texts(&asked)).unwrap().vectors;
                    assert!(order.iter().zip(&vectors).all(|(&index, vector)| vector == &alone[index]));
                }
            });
        }
    });
    assert_eq!(model.activity().waiting, 0);
}
