//! A tiny model with adapters: names, batches that mix them, sharing, forgetting, refusals.

use crate::tiny::Tiny;
use crate::*;
use chat::*;
use formats::{ElementType, GgufWriter, Metadata, TensorPlan};
use futures::StreamExt;
use futures::executor::block_on;
use kernels::{Isa, KvElement, Runtime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Writes an adapter for the tiny model whose numbers follow from a seed.
fn write_adapter(folder: &Path, name: &str, seed: u64, rank: usize) -> PathBuf {
    // Rows and columns of matrices of the tiny model.
    let matrices = [
        ("attn_q", 64, 64),
        ("attn_k", 32, 64),
        ("attn_v", 32, 64),
        ("attn_output", 64, 64),
        ("ffn_gate", 256, 64),
        ("ffn_up", 256, 64),
        ("ffn_down", 64, 256),
    ];
    let mut metadata = Metadata::new();
    for (key, value) in [("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora")] {
        metadata.insert(key, value);
    }
    metadata.insert("adapter.lora.alpha", 2.0_f32 * rank as f32);
    let element = ElementType::from_name("F32").unwrap();
    let plans: Vec<TensorPlan> = (0..8)
        .flat_map(|layer| {
            matrices.into_iter().flat_map(move |(matrix, rows, cols)| {
                let plan = |half: &str, shape| TensorPlan {
                    name: format!("blk.{layer}.{matrix}.weight.lora_{half}"),
                    shape,
                    element,
                };
                [plan("a", vec![rank, cols]), plan("b", vec![rows, rank])]
            })
        })
        .collect();
    let path = folder.join(name);
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = GgufWriter::create(file, name, &metadata, &plans).unwrap();
    let mut state = seed;
    for plan in &plans {
        for _ in 0..plan.shape.iter().product::<usize>() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            writer.write(&(0.4 * random).to_le_bytes()).unwrap();
        }
    }
    writer.finish().unwrap();
    path
}

/// The tiny model, in floats or quantized, with two adapters beside it.
fn load(mix: Option<&str>, isa: Isa) -> (TempDir, LocalModel, [PathBuf; 2]) {
    let folder = TempDir::new().unwrap();
    let mut path = Tiny::default().write(folder.path());
    if let Some(mix) = mix {
        let target = folder.path().join("mixed.gguf");
        quantize(&path, &target, Mix::from_name(mix).unwrap(), None, 2, &mut |_| ()).unwrap();
        path = target;
    }
    let adapters =
        [("a.gguf", 3, 4), ("b.gguf", 5, 6)].map(|(name, seed, rank)| write_adapter(folder.path(), name, seed, rank));
    let source = ModelSource { name: "tiny".to_owned(), path, ..ModelSource::default() };
    let options = LoadOptions { kv_element: KvElement::F32, sequences: 8, ..LoadOptions::default() };
    let model = LocalModel::load(&source, &options, Arc::new(Runtime::new(isa, 2).unwrap())).unwrap();
    (folder, model, adapters)
}

fn request(prompt: &str) -> CompletionRequest {
    let options = GenerationOptions { max_tokens: Some(20), temperature: Some(0.0), ..GenerationOptions::default() };
    CompletionRequest::new(Prompt::Text(prompt.to_owned()), options)
}

async fn text(stream: ChatStream) -> String {
    let events: Vec<ChatEvent> = stream.map(|event| event.unwrap()).collect().await;
    let text = |event: &ChatEvent| match event {
        ChatEvent::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn answer(model: &LocalModel, prompt: &str) -> String {
    block_on(async { text(model.complete(request(prompt)).await.unwrap()).await })
}

fn scores(model: &LocalModel) -> Vec<Option<f32>> {
    let input = Prompt::Text("abba, yes".to_owned());
    block_on(model.score(ScoreRequest { input })).unwrap().tokens.iter().map(|token| token.logprob).collect()
}

#[test]
fn answers_of_one_batch_are_those_of_each_alone() {
    for (mix, isa) in [None, Some("q4_k_m"), Some("q8_0")]
        .into_iter()
        .flat_map(|mix| Isa::available().into_iter().map(move |isa| (mix, isa)))
    {
        let (_folder, base, [a, b]) = load(mix, isa);
        let (a, b) = (base.adapted("tiny+a", &a).unwrap(), base.adapted("tiny+b", &b).unwrap());
        let models = [&base, &a, &b, &a, &base, &b];
        let prompts = ["ab", "ab", "ab", "yes ba", "yes ba", "b"];
        let alone: Vec<String> = models.iter().zip(prompts).map(|(model, prompt)| answer(model, prompt)).collect();
        assert!(alone[0] != alone[1] && alone[1] != alone[2] && alone[0] != alone[2], "{alone:?}");
        let together = block_on(async {
            let mut streams = Vec::new();
            for (model, prompt) in models.iter().zip(prompts) {
                streams.push(text(model.complete(request(prompt)).await.unwrap()));
            }
            futures::future::join_all(streams).await
        });
        assert_eq!(together, alone, "{mix:?} on {isa:?}");
    }
}

#[test]
fn a_view_counts_its_own_requests_and_no_pages() {
    block_on(count_requests_of_views());
}

async fn count_requests_of_views() {
    let (_folder, base, [a, b]) = load(None, Isa::detect());
    let (a, b) = (base.adapted("tiny+a", &a).unwrap(), base.adapted("tiny+b", &b).unwrap());
    let under_way = |model: &LocalModel| model.activity().running + model.activity().waiting;
    // The thread takes nothing until it is told to go on.
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    base.lend(Box::new(move |_| assert!(told.recv().is_err()))).unwrap();
    let mut asked = a.complete(request("ab"));
    assert!(futures::poll!(&mut asked).is_pending());
    assert_eq!((under_way(&a), under_way(&b)), (1, 0));
    drop(go_on);
    text(asked.await.unwrap()).await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // The model beneath tells what it did after each step.
    while under_way(&a) > 0 || base.activity().generated_tokens == 0 {
        assert!(std::time::Instant::now() < end, "it ends");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(a.activity(), Activity::default());
}

#[test]
fn an_adapter_that_is_replaced_is_read_anew_and_who_has_the_old_one_keeps_it() {
    let (folder, base, [a, b]) = load(None, Isa::detect());
    let old = base.adapted("tiny+a", &a).unwrap();
    let (before, other) = (scores(&old), scores(&base.adapted("tiny+b", &b).unwrap()));
    // With the seed and the rank of the other one.
    std::fs::rename(write_adapter(folder.path(), "new.gguf", 5, 6), &a).unwrap();
    assert_eq!(scores(&base.adapted("tiny+a", &a).unwrap()), other);
    assert_eq!(scores(&old), before);
}

#[test]
fn every_way_of_asking_goes_through_the_adapter() {
    let (_folder, base, [a, _]) = load(None, Isa::detect());
    let adapted = base.adapted("tiny+a", &a).unwrap();
    assert_eq!((base.info().name.as_str(), adapted.info().name.as_str()), ("tiny", "tiny+a"));
    let (plain, with) = (scores(&base), scores(&adapted));
    assert_eq!(plain.len(), with.len());
    assert!(plain != with);
    let pieces = |model: &LocalModel| -> Vec<Option<f32>> {
        let pieces = model.score_pieces(Prompt::Text("abba, yes".to_owned())).unwrap();
        std::iter::once(None).chain(pieces.flat_map(|piece| piece.unwrap().logprobs).map(Some)).collect()
    };
    assert_eq!(pieces(&base), plain);
    assert_eq!(pieces(&adapted), with);
    let message = || ChatRequest {
        messages: vec![Message::new(Role::User, "ab")],
        options: request("").options,
        ..ChatRequest::default()
    };
    let [plain, with] =
        [&base, &adapted].map(|model| block_on(async { text(model.chat(message()).await.unwrap()).await }));
    assert!(plain != with, "{plain}");
}

#[test]
fn views_at_one_path_share_an_adapter_until_the_last_is_gone() {
    let (folder, base, [a, b]) = load(None, Isa::detect());
    let first = base.adapted("tiny+a", &a).unwrap();
    // Another way to write the same path, and by way of another view.
    let other_way = folder.path().join(".").join("a.gguf");
    let second = base.adapted("tiny+b", &b).unwrap().adapted("mine", &other_way).unwrap();
    assert_eq!(first.adapter_id(), second.adapter_id());
    let said = answer(&first, "ab");
    drop(first);
    assert_eq!(answer(&second, "ab"), said);
    let stream = block_on(second.complete(request("ab"))).unwrap();
    drop(second);
    drop(base.adapted("tiny+b", &b).unwrap());
    assert_eq!(block_on(text(stream)), said, "an answer under way keeps it");
    let again = base.adapted("tiny+a", &a).unwrap();
    assert_eq!(answer(&again, "ab"), said);
    assert!(again.adapter_id() > Some(model::AdapterId(1)), "no id is given twice");
    // The view alone keeps the model.
    drop(base);
    assert_eq!(answer(&again, "ab"), said);
}

#[test]
fn an_adapter_that_cannot_be_used_is_refused_with_its_name() {
    let (folder, base, [a, _]) = load(None, Isa::detect());
    let refusal = |path: &Path| match base.adapted("tiny+x", path) {
        Ok(_) => panic!("was not refused"),
        Err(error) => {
            assert!(matches!(error, ChatError::Unloadable(_)), "{error}");
            error.to_string()
        }
    };
    let missing = refusal(&folder.path().join("no.gguf"));
    assert!(missing.starts_with("cannot load tiny+x: ") && missing.ends_with("hint: check the path"), "{missing}");
    let model = refusal(&folder.path().join("tiny.gguf"));
    assert!(model.contains("general.type: expected \"adapter\", got nothing"), "{model}");
    let empty = refusal(folder.path());
    assert!(empty.contains("adapter_config.json: not found"), "{empty}");
    std::fs::write(&a, &std::fs::read(&a).unwrap()[..5000]).unwrap();
    let cut = refusal(&a);
    assert!(cut.contains("\nhint: "), "{cut}");
    answer(&base, "ab");
}
