//! Speed of the two ops that take the time of a decoder, on one thread and on all: products in each format, in floats and,
//! where the format has them, in integers, at one row (decode), 4 to 32 rows (several sequences) and 512 rows (prefill),
//! and attention; what it costs to share out an op, and to interleave weights. What an op computes is checked against the
//! oracle before it is timed.
//!
//! Run with `cargo bench -p kernels`; a throughput of 1 Gelem/s is 1 Gflop/s. `BANTAM_ISA` chooses the instruction set.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{
    AttentionShape, FORMATS, Format, InterleavedWeights, Isa, KvArena, KvElement, KvShape, KvSpan, MatMul, Matrix,
    PAGE_LEN, Runtime, attention, default_threads, dequantize, kv_store, matmul, reference,
};

/// Rows and columns of the up projection of a model of 135 million weights.
const ROWS: usize = 1536;
const COLS: usize = 768;

/// One runtime per number of threads worth comparing.
fn runtimes() -> Vec<Runtime> {
    let isa = std::env::var("BANTAM_ISA").map_or(Isa::detect(), |name| Isa::from_name(&name).expect("BANTAM_ISA"));
    let mut threads = vec![1, default_threads()];
    threads.dedup();
    threads.into_iter().map(|threads| Runtime::new(isa, threads).expect("threads")).collect()
}

/// A linear congruential generator (constants of Knuth's MMIX); the upper bits are good enough for inputs.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Values in -1..1.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..len).map(|_| (random(&mut state) % 2000) as f32 / 1000.0 - 1.0).collect()
}

/// Whole numbers of at most 127, which rounding activations to eight bits changes by nothing: both paths are held to the
/// same bound.
fn whole_values(len: usize) -> Vec<f32> {
    (0..len).map(|k| if k % 64 == 0 { 127.0 } else { (k * 37 % 255) as f32 - 127.0 }).collect()
}

/// Bytes of a matrix [ROWS, COLS] whose weights are finite and moderate.
fn weights(format: Format) -> Vec<u8> {
    let (mut bytes, mut state) = (Vec::new(), 1);
    let mut decoded = vec![0.0; format.block_len()];
    while bytes.len() < ROWS * COLS / format.block_len() * format.block_bytes() {
        let block: Vec<u8> = (0..format.block_bytes()).map(|_| (random(&mut state) & 0xff) as u8).collect();
        dequantize(format, &block, &mut decoded).expect("one block");
        if decoded.iter().all(|x| x.abs() < 1e4 && (*x == 0.0 || x.abs() > 1e-20)) {
            bytes.extend(block);
        }
    }
    bytes
}

fn products(criterion: &mut Criterion) {
    for runtime in runtimes() {
        for row in FORMATS {
            let bytes = weights(row.format);
            let plain = Matrix::new(row.format, ROWS, COLS, &bytes).expect("a whole matrix");
            let mut decoded = vec![0.0; ROWS * COLS];
            dequantize(row.format, &bytes, &mut decoded).expect("a whole matrix");
            time_product(criterion, &runtime, "float", plain, &decoded);
            if row.format.can_interleave() {
                let (interleaved, places) = InterleavedWeights::new(&runtime, &[plain], |_, _| ()).expect("memory");
                time_product(criterion, &runtime, "integer", interleaved.matrix(&places[0]), &decoded);
            }
        }
    }
}

/// Checks and times a matrix, whose weights are `decoded`, at one row of activations, a few, and a prompt of them.
fn time_product(criterion: &mut Criterion, runtime: &Runtime, path: &str, weights: Matrix<'_>, decoded: &[f32]) {
    let (isa, threads) = (runtime.isa().name(), runtime.threads());
    let mut group = criterion.benchmark_group(format!("matmul/{path}/{isa}/{threads} threads"));
    for tokens in [1, 4, 8, 24, 32, 512] {
        let x = whole_values(tokens * COLS);
        let mut out = vec![0.0; tokens * ROWS];
        matmul(runtime, &x, &mut [MatMul { weights, out: &mut out }]);
        for token in [0, tokens - 1] {
            let (expected, magnitudes) = reference::matmul(&x[token * COLS..][..COLS], decoded, COLS);
            for (i, weights_of_row) in decoded.chunks_exact(COLS).enumerate() {
                // Numbers are stored unsigned: a sum may pass through values as large as the largest weight times every x.
                let largest = weights_of_row.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
                let bound = 2e-5 * magnitudes[i] + 2e-6 * largest * 127.0 * COLS as f32;
                let got = out[token * ROWS + i];
                assert!((got - expected[i]).abs() <= bound, "{} at {token}, {i}", weights.format().name());
            }
        }
        group.throughput(Throughput::Elements((2 * tokens * ROWS * COLS) as u64));
        group.bench_function(format!("{}/T={tokens}", weights.format().name()), |bencher| {
            bencher.iter(|| matmul(runtime, black_box(&x), &mut [MatMul { weights, out: &mut out }]));
        });
    }
    group.finish();
}

/// What a load does with weights that are multiplied in integers, but for reading them from far: the source is one small
/// matrix, again and again. Throughput is in bytes.
fn interleave(criterion: &mut Criterion) {
    /// Matrices in one piece of memory, which is new, as a load's: the system clears it meanwhile.
    const MATRICES: usize = 32;
    for runtime in runtimes() {
        let mut group =
            criterion.benchmark_group(format!("interleave/{}/{} threads", runtime.isa().name(), runtime.threads()));
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            let bytes = weights(row.format);
            let plain = Matrix::new(row.format, ROWS, COLS, &bytes).expect("a whole matrix");
            group.throughput(Throughput::Bytes((MATRICES * bytes.len()) as u64));
            group.bench_function(row.format.name(), |bencher| {
                bencher.iter_batched(
                    || [plain; MATRICES],
                    |matrices| InterleavedWeights::new(&runtime, black_box(&matrices), |_, _| ()).expect("memory"),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// A product so small that sharing it out is most of what it takes.
fn hand_over(criterion: &mut Criterion) {
    const SMALL: (usize, usize) = (128, 256);
    let x = whole_values(SMALL.1);
    let weights = values(SMALL.0 * SMALL.1, 7);
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let matrix = Matrix::new(Format::F32, SMALL.0, SMALL.1, &bytes).expect("a whole matrix");
    let (expected, magnitudes) = reference::matmul(&x, &weights, SMALL.1);
    for runtime in runtimes() {
        let mut out = vec![0.0; SMALL.0];
        matmul(&runtime, &x, &mut [MatMul { weights: matrix, out: &mut out }]);
        for (i, got) in out.iter().enumerate() {
            assert!((got - expected[i]).abs() <= 2e-5 * magnitudes[i], "{got} at {i}");
        }
        let name = format!("hand-over/{}/{} threads", runtime.isa().name(), runtime.threads());
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| matmul(&runtime, black_box(&x), &mut [MatMul { weights: matrix, out: &mut out }]));
        });
    }
}

fn attend(criterion: &mut Criterion) {
    const CONTEXT: usize = 1024;
    let shape = AttentionShape { heads: 9, kv_heads: 3, head_dim: 64, scale: 0.125, softcap: None, window: None };
    let pages: Vec<u32> = (0..32).collect();
    let (k, v) = (values(CONTEXT * 3 * 64, 3), values(CONTEXT * 3 * 64, 4));
    for runtime in runtimes() {
        let mut group =
            criterion.benchmark_group(format!("attention/{}/{} threads", runtime.isa().name(), runtime.threads()));
        for element in [KvElement::F32, KvElement::F16, KvElement::Q8_0, KvElement::I16] {
            let kv = KvShape { layers: 1, pages: 32, page_len: PAGE_LEN, kv_heads: 3, head_dim: 64, element };
            let mut arena = KvArena::new(kv).expect("memory");
            let all = KvSpan { row: 0, len: CONTEXT, position: 0, pages: &pages };
            kv_store(&runtime, &mut arena, 0, &k, &v, &[all]);
            for tokens in [1, 128] {
                let position = CONTEXT - tokens;
                let q = values(tokens * 9 * 64, 5);
                let span = [KvSpan { row: 0, len: tokens, position, pages: &pages }];
                let mut out = vec![0.0; q.len()];
                attention(&runtime, &shape, &arena, 0, &q, &span, &mut out);
                let expected = reference::attention(&shape, &q, &k, &v, position);
                let bound = if element == KvElement::Q8_0 { 1e-2 } else { 1e-3 };
                let close = |(got, expected): (&f32, &f32)| (got - expected).abs() < bound;
                assert!(out.iter().zip(&expected).all(close), "{element:?}");
                group.throughput(Throughput::Elements((4 * tokens * CONTEXT * 9 * 64) as u64));
                group.bench_function(format!("{element:?}/T={tokens}"), |bencher| {
                    bencher.iter(|| attention(&runtime, &shape, &arena, 0, black_box(&q), &span, &mut out));
                });
            }
        }
        group.finish();
    }
}

/// One query of each of 32 sequences of 560 positions, of which 512 lie in the same pages or in pages of their own.
fn attend_many(criterion: &mut Criterion) {
    const SEQUENCES: u32 = 32;
    const OWN: u32 = 2;
    const COMMON: u32 = 16;
    const POSITIONS: usize = 560;
    let shape = AttentionShape { heads: 14, kv_heads: 2, head_dim: 64, scale: 0.125, softcap: None, window: None };
    let pages = SEQUENCES * (COMMON + OWN);
    let kv =
        |element| KvShape { layers: 1, pages: pages as usize, page_len: PAGE_LEN, kv_heads: 2, head_dim: 64, element };
    let elements = [KvElement::F16, KvElement::I16];
    let runtimes = runtimes();
    for (runtime, element) in runtimes.iter().flat_map(|runtime| elements.map(|element| (runtime, element))) {
        let kv = kv(element);
        let mut arena = KvArena::new(kv).expect("memory");
        let every: Vec<u32> = (0..pages).collect();
        let len = every.len() * PAGE_LEN;
        let (k, v) = (values(len * 2 * 64, 3), values(len * 2 * 64, 4));
        kv_store(runtime, &mut arena, 0, &k, &v, &[KvSpan { row: 0, len, position: 0, pages: &every }]);
        let q = values(SEQUENCES as usize * 14 * 64, 5);
        let mut out = vec![0.0; q.len()];
        let mut group =
            criterion.benchmark_group(format!("attention/{}/{} threads", runtime.isa().name(), runtime.threads()));
        group.throughput(Throughput::Elements((4 * POSITIONS * q.len()) as u64));
        for (name, shares) in [("32 sequences apart", false), ("32 sequences share 512 positions", true)] {
            let pages_of = |sequence: u32| -> Vec<u32> {
                let first = if shares { 0 } else { sequence * COMMON };
                let own = SEQUENCES * COMMON + sequence * OWN;
                (first..first + COMMON).chain(own..own + OWN).collect()
            };
            let sequences: Vec<Vec<u32>> = (0..SEQUENCES).map(pages_of).collect();
            let span = |(row, pages)| KvSpan { row, len: 1, position: POSITIONS - 1, pages };
            let spans: Vec<KvSpan<'_>> = sequences.iter().map(Vec::as_slice).enumerate().map(span).collect();
            attention(runtime, &shape, &arena, 0, &q, &spans, &mut out);
            let position_len = 2 * 64;
            let own = |x: &[f32]| -> Vec<f32> {
                let of_page = |&page: &u32| page as usize * PAGE_LEN * position_len;
                let last = sequences.last().expect("a sequence");
                let rows = last.iter().map(of_page).flat_map(|start| &x[start..start + PAGE_LEN * position_len]);
                rows.take(POSITIONS * position_len).copied().collect()
            };
            let last = q.len() - 14 * 64;
            let expected = reference::attention(&shape, &q[last..], &own(&k), &own(&v), POSITIONS - 1);
            assert!(out[last..].iter().zip(&expected).all(|(got, expected)| (got - expected).abs() < 1e-3), "{name}");
            group.bench_function(format!("{element:?}/{name}"), |bencher| {
                bencher.iter(|| attention(runtime, &shape, &arena, 0, black_box(&q), &spans, &mut out));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = ops;
    config = Criterion::default();
    targets = products, interleave, hand_over, attend, attend_many
}
criterion_main!(ops);
