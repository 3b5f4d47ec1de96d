//! One megabyte of text to ids, ours and the `tokenizers` library's in the same run, and the time to load. The text
//! is drawn from the tests' texts, so that neither side lives from having seen a line before; both must give the same ids,
//! and ours must not be slower. Needs the packages that the tests unpack (`tests/tokenizer/packages.rs`).
//!
//! With `BANTAM_VERIFY` only the comparison is made, without the statistics.

#![expect(clippy::print_stderr, reason = "a bench tells its ratio")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tokenizer::{Encode, Tokenizer};

#[path = "../tests/tokenizer/packages.rs"]
#[expect(clippy::unwrap_used, clippy::print_stderr, reason = "it belongs to the tests, where both are right")]
mod packages;

const ROUNDS: usize = 9;

/// A megabyte of English, code, Chinese, what the corpus has, and identifiers that nobody has seen: runs of words from
/// places drawn by a linear congruential generator (Knuth's MMIX).
fn text() -> String {
    let texts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/texts");
    let read = |name: &str| std::fs::read_to_string(texts.join(name)).expect("the text is in the checkout");
    let corpus = packages::CORPUS.lines().filter(|line| line.len() < 300).flat_map(|line| [line, "\n"]).collect();
    let sources = [read("english.txt"), read("code.txt"), read("chinese.txt"), corpus];
    let words: Vec<&str> = sources.iter().flat_map(|text| text.split_inclusive([' ', '\n', '，', '。'])).collect();
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut text = String::with_capacity(1 << 20);
    while text.len() < 1 << 20 {
        let start = draw(words.len());
        text.extend(words[start..].iter().take(1 + draw(12)).copied());
        if draw(8) == 0 {
            text.push_str(&format!("item_{:x} = {}; ", draw(1 << 24), draw(100_000)));
        }
    }
    text
}

/// The fastest of several rounds each, in turns, so that a busy machine disturbs both.
fn assert_not_slower(name: &str, text: &str, ours: &Tokenizer, theirs: &tokenizers::Tokenizer, options: Encode) {
    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        black_box(ours.encode(black_box(text), options));
        fastest[0] = fastest[0].min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        black_box(theirs.encode_fast(black_box(text), false).expect("the library encodes"));
        fastest[1] = fastest[1].min(began.elapsed().as_secs_f64());
    }
    let [seconds, library] = fastest;
    eprintln!(
        "{name}: {:.1} MB/s, {:.2} times the library's speed",
        text.len() as f64 / 1e6 / seconds,
        library / seconds
    );
    assert!(seconds <= library, "{name}: {seconds:.3} s, the library {library:.3} s");
}

fn encode(criterion: &mut Criterion) {
    let text = text();
    for name in ["gpt2", "llama3_2", "qwen2_5", "gemma3", "mistral_nemo"] {
        let (Some(ours), Some(theirs)) = (packages::load(name), packages::oracle(name)) else { continue };
        let expected = theirs.encode_fast(text.as_str(), false).expect("the library encodes");
        let options = Encode { add_bos_eos: false, parse_special: true };
        assert_eq!(ours.encode(&text, options), expected.get_ids(), "{name}");
        assert_not_slower(name, &text, &ours, &theirs, options);
        if std::env::var_os("BANTAM_VERIFY").is_some() {
            continue;
        }
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("bantam", |bencher| bencher.iter(|| ours.encode(black_box(&text), options)));
        group.bench_function("tokenizers", |bencher| {
            bencher.iter(|| theirs.encode_fast(black_box(text.as_str()), false).map(|encoding| encoding.len()));
        });
        let json = std::fs::read(packages::folder(name).expect("it was just loaded").join("tokenizer.json"))
            .expect("it was just read");
        group.bench_function("load tokenizer.json", |bencher| {
            bencher.iter(|| Tokenizer::from_json(&json, None).map(|it| it.vocabulary_len()))
        });
        group.finish();
    }
    for path in std::env::var("BANTAM_BENCH_GGUF").unwrap_or_default().split(':').filter(|path| !path.is_empty()) {
        let file = formats::Gguf::open(path.as_ref()).expect("a GGUF file");
        criterion.bench_function(&format!("load {path}"), |bencher| {
            bencher.iter(|| Tokenizer::from_gguf(&file.metadata).map(|it| it.vocabulary_len()))
        });
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
