//! all-MiniLM on 100 real sentences: its half-precision weights against sentence-transformers on the same weights, and its
//! file of 3 and 4 bits against transformers in f32 on that file's own weights.
//!
//! That file's weights are 8 to 16 % away from those in half precision, and with them its vectors: computed without any
//! rounding, their cosine to those of half precision is 0.958 on average, and below 0.98 for each of these sentences. So an
//! engine is held to what the file says, and to losing next to nothing on the way.
//!
//! `tools/reference/encoders.py` wrote what is expected. Both models come from the store of `BANTAM_HOME`, by what
//! `.ci/run` puts there; without them these tests say that they are skipped, and fail when `BANTAM_CI=1`.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "every item is part of a test")]

use chat::{ChatModel, EmbedRequest, Prompt};
use futures::executor::block_on;
use kernels::{Format, Isa, Runtime};
use local::{LoadOptions, ModelSource, load_encoder};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WIDTH: usize = 384;
/// Of the weights and of the file, as the catalog pins them.
const HALF: &str = "6638f625a0a60bdaa1e34c5fee0a17c705f13b98b43a7973e9d366106a55273d";
const THREE_BITS: &str = "510b562c825a6762bdf3e4d00f6f534cc7a41d963b4c0a693d273c7bf8e0e900";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/embeddings")
}

fn skip(why: &str) {
    assert_ne!(std::env::var("BANTAM_CI").as_deref(), Ok("1"), "BANTAM_CI=1 forbids skipping: {why}");
    eprintln!("skipped: {why}");
}

fn expected(name: &str, format: Format) -> Vec<Vec<f32>> {
    let mut values = vec![0.0; 100 * WIDTH];
    kernels::dequantize(format, &std::fs::read(tests().join(name)).unwrap(), &mut values).unwrap();
    values.chunks_exact(WIDTH).map(<[f32]>::to_vec).collect()
}

fn sentences() -> Vec<String> {
    let text = std::fs::read_to_string(tests().join("sentences.txt")).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 100);
    lines
}

/// What a name of the store leads to, if the store has it.
fn stored(name: &str, sha256: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BANTAM_HOME");
    let has = home.filter(|home| Path::new(home).join("blobs").join(format!("sha256-{sha256}")).exists());
    let Some(home) = has else {
        skip(&format!("{name} is not in the store of BANTAM_HOME; see .ci/run"));
        return None;
    };
    let hub = hub::Hub::open(hub::Home::at(home), hub::HubOptions::from_env()).unwrap();
    Some(hub.locate(&hub.resolve(name).unwrap()).unwrap())
}

fn embed(name: &str, path: &Path, isa: Isa) -> Vec<Vec<f32>> {
    let source = ModelSource { name: name.to_owned(), path: path.to_owned(), ..ModelSource::default() };
    let runtime = Arc::new(Runtime::new(isa, 2).unwrap());
    let model = load_encoder(&source, &LoadOptions::default(), runtime).unwrap();
    let inputs = sentences().into_iter().map(Prompt::Text).collect();
    block_on(model.embed(EmbedRequest { inputs, truncate: false, dimensions: None })).unwrap().vectors
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(l, r)| f64::from(*l) * f64::from(*r)).sum()
}

#[test]
fn half_precision_equals_sentence_transformers() {
    let Some(path) = stored("all-minilm", HALF) else { return };
    let expected = expected("minilm.f32", Format::F32);
    for isa in Isa::available() {
        let mut most = 0.0f32;
        let vectors = embed("all-minilm", &path, isa);
        for ((vector, expected), text) in vectors.iter().zip(&expected).zip(sentences()) {
            assert_eq!(vector.len(), WIDTH);
            for (got, expected) in vector.iter().zip(expected) {
                assert!((got - expected).abs() <= 1e-4, "{text:?}: got {got}, expected {expected}");
                most = most.max((got - expected).abs());
            }
        }
        println!("all-minilm on {}: largest difference {most:.2e}", isa.name());
    }
}

#[test]
fn three_bits_lose_nothing_beyond_what_the_file_lost() {
    let Some(path) = stored("all-minilm:q3", THREE_BITS) else { return };
    let exact = expected("minilm_q3.f16", Format::F16);
    let half = expected("minilm.f32", Format::F32);
    let mean = |left: &[Vec<f32>], right: &[Vec<f32>]| {
        left.iter().zip(right).map(|(left, right)| cosine(left, right)).sum::<f64>() / 100.0
    };
    for isa in Isa::available() {
        let vectors = embed("all-minilm:q3", &path, isa);
        let cosines = vectors.iter().zip(&exact).map(|(vector, exact)| cosine(vector, exact));
        let least = cosines.fold(f64::INFINITY, f64::min);
        let (to_half, exact_to_half) = (mean(&vectors, &half), mean(&exact, &half));
        println!(
            "all-minilm:q3 on {}: cosine to the file in f32 {least:.4} at least; to half precision {to_half:.4} on \
             average, of the file in f32 {exact_to_half:.4}",
            isa.name()
        );
        assert!(least >= 0.98, "{least}");
        assert!(to_half >= exact_to_half - 0.002, "{to_half}, of the file itself {exact_to_half}");
    }
}
