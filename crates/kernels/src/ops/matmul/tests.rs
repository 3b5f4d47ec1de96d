//! Integer products against the oracle, against themselves in other batches, and beside float products. What float products
//! keep stands with them in `float.rs`.

use super::*;
use crate::interleave::InterleavedWeights;
use crate::reference;
use crate::reference::testing::{on_every_isa, random_weights, values};
use crate::{FORMATS, Format, Isa, dequantize};

/// `weights`, interleaved.
fn interleave(runtime: &Runtime, weights: Matrix<'_>) -> (InterleavedWeights, crate::InterleavedMatrix) {
    let (weights, places) = InterleavedWeights::new(runtime, &[weights], |_, _| {}).unwrap();
    (weights, places.into_iter().next().unwrap())
}

fn product(runtime: &Runtime, x: &[f32], weights: Matrix<'_>) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / weights.cols() * weights.rows()];
    matmul(runtime, x, &mut [MatMul { weights, out: &mut out }]);
    out
}

/// What rounding leaves of `x`: half a step of each scale.
fn half_steps(x: &[f32], depth: usize, span: usize) -> Vec<f32> {
    let chunks = x.chunks(depth).flat_map(|row| row.chunks(span));
    chunks
        .flat_map(|chunk| {
            let largest = chunk.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            vec![largest / 127.0 * 0.500_01; chunk.len()]
        })
        .collect()
}

/// Integer products against the oracle: within the rounding of activations and the rounding of sums.
fn check(runtime: &Runtime, format: Format, tokens: usize, rows: usize, cols: usize) {
    let bytes = random_weights(format, rows, cols);
    let plain = Matrix::new(format, rows, cols, &bytes).unwrap();
    let (weights, place) = interleave(runtime, plain);
    let mut decoded = vec![0.0; rows * cols];
    dequantize(format, &bytes, &mut decoded).unwrap();
    let x = values(tokens * cols, 7, 1.0);
    let got = product(runtime, &x, weights.matrix(&place));
    let (expected, magnitudes) = reference::matmul(&x, &decoded, cols);
    let (_, rounding) = reference::matmul(&half_steps(&x, cols, format.rounding().unwrap().span), &decoded, cols);
    let largest = decoded.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        // Numbers are stored unsigned: a sum may pass through values as large as the largest weight times every x.
        let sums = (2 * cols / 16 + 8) as f32 * 6e-8 * (magnitudes[i] + 2.0 * largest * cols as f32);
        let bound = rounding[i] + sums;
        let name = format.name();
        assert!(
            (got - expected).abs() <= bound,
            "{name} {tokens}x{rows}x{cols} at {i}: {got}, expected {expected} within {bound}"
        );
    }
}

#[test]
fn integer_products_of_every_format_are_within_the_bound() {
    on_every_isa(2, |runtime, _| {
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            for (tokens, rows, blocks) in [(1, 5, 1), (3, 16, 2), (7, 33, 1), (13, 40, 3), (29, 33, 2)] {
                check(runtime, row.format, tokens, rows, blocks * row.block_len);
            }
        }
    });
}

#[test]
fn integer_products_of_whole_and_broken_chunks_are_within_the_bound() {
    on_every_isa(1, |runtime, _| {
        for blocks in 1..=19 {
            check(runtime, Format::Q4_1, 2, 16, blocks * 32);
            check(runtime, Format::Q8_0, 9, 16, blocks * 32);
            check(runtime, Format::Q5_0, 26, 16, blocks * 32);
        }
    });
}

/// With activations that are whole numbers up to 127 nothing is rounded, and integer products are exact to float sums.
#[test]
fn whole_activations_lose_nothing() {
    on_every_isa(1, |runtime, _| {
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            let cols = 2 * row.block_len;
            let bytes = random_weights(row.format, 16, cols);
            let plain = Matrix::new(row.format, 16, cols, &bytes).unwrap();
            let (weights, place) = interleave(runtime, plain);
            let mut decoded = vec![0.0; 16 * cols];
            dequantize(row.format, &bytes, &mut decoded).unwrap();
            let x: Vec<f32> =
                (0..cols).map(|k| if k % 64 == 0 { 127.0 } else { (k * 37 % 255) as f32 - 127.0 }).collect();
            let got = product(runtime, &x, weights.matrix(&place));
            let (expected, magnitudes) = reference::matmul(&x, &decoded, cols);
            let largest = decoded.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
            for i in 0..16 {
                let bound = 2e-6 * (magnitudes[i] + largest * 127.0 * cols as f32 * 0.05);
                assert!(
                    (got[i] - expected[i]).abs() <= bound,
                    "{} at {i}: {}, expected {}",
                    row.name,
                    got[i],
                    expected[i]
                );
            }
        }
    });
}

/// Blocks of Q4_K: `d`, `dmin`, the twelve bytes of scales and minima, and all nibbles the same.
fn q4_k(d: f32, dmin: f32, packed: [u8; 12], nibbles: u8) -> Vec<u8> {
    let half = |x: f32| half::f16::from_f32(x).to_le_bytes();
    [&half(d)[..], &half(dmin), &packed, &[nibbles; 128]].concat()
}

const ALL_63: [u8; 12] = [0xff; 12];
const SCALES_63: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x0f, 0x0f, 0x0f, 0x0f];

#[test]
fn the_ends_of_paired_sums_are_exact_up_to_offsets() {
    on_every_isa(1, |runtime, _| {
        let signs: [fn(usize) -> f32; 5] = [
            |_| 1.0,
            |_| -1.0,
            |k| if k / 32 % 2 == 0 { 1.0 } else { -1.0 },
            |k| if k / 32 % 2 == 0 { -1.0 } else { 1.0 },
            |k| {
                if k / 64 % 2 == 0 { 1.0 } else { -1.0 }
            },
        ];
        let blocks = [(1.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (0.5, -2.0), (0.0, 1.0), (0.0, 0.0), (6e-8, 6e-8)];
        for ((d, dmin), packed) in
            blocks.into_iter().flat_map(|block| [(block, ALL_63), (block, SCALES_63), (block, [0; 12])])
        {
            for (nibbles, sign) in [0x00, 0xff, 0xf0, 0x0f].into_iter().flat_map(|n| signs.map(|sign| (n, sign))) {
                let bytes = q4_k(d, dmin, packed, nibbles).repeat(16);
                let plain = Matrix::new(Format::Q4K, 16, 256, &bytes).unwrap();
                let (weights, place) = interleave(runtime, plain);
                let mut decoded = vec![0.0; 16 * 256];
                dequantize(Format::Q4K, &bytes, &mut decoded).unwrap();
                let x: Vec<f32> = (0..256).map(|k| 127.0 * sign(k)).collect();
                let x = x.repeat(20);
                let got = product(runtime, &x, weights.matrix(&place));
                let (expected, magnitudes) = reference::matmul(&x, &decoded, 256);
                let unit = (504.0 * d.abs() + 63.0 * dmin.abs()) / 65_534.0;
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let bound = 2e-6 * magnitudes[i] + unit * 256.0 * 127.0 + 1e-6 * d.abs() * 504.0 * 256.0 * 127.0;
                    assert!(
                        (got - expected).abs() <= bound,
                        "{d} {dmin} {nibbles:x} at {i}: {got}, expected {expected}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_broken_block_of_paired_sums_stays_in_its_row() {
    on_every_isa(1, |runtime, _| {
        let whole = q4_k(1.0, 0.5, ALL_63, 0x3c);
        for (d, dmin) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, f32::NEG_INFINITY)] {
            let bytes = [whole.repeat(5), q4_k(d, dmin, ALL_63, 0x3c), whole.repeat(10)].concat();
            for tokens in [1, 20] {
                let run = |bytes: &[u8]| {
                    let (weights, place) = interleave(runtime, Matrix::new(Format::Q4K, 16, 256, bytes).unwrap());
                    product(runtime, &values(tokens * 256, 3, 1.0), weights.matrix(&place))
                };
                for (i, (got, expected)) in run(&bytes).iter().zip(run(&whole.repeat(16))).enumerate() {
                    match i % 16 == 5 {
                        true => assert!(!got.is_finite(), "{d} {dmin}: {got}"),
                        false => assert!(*got == expected, "{d} {dmin} at {i}: {got}, expected {expected}"),
                    }
                }
            }
        }
    });
}

#[test]
fn an_integer_batch_equals_its_rows_bit_for_bit_on_any_number_of_threads() {
    for isa in Isa::available() {
        let runtimes = [1, 2, 3].map(|threads| Runtime::new(isa, threads).unwrap());
        for row in FORMATS.iter().filter(|row| row.format.can_interleave()) {
            let cols = if row.block_len == 256 { 768 } else { 576 };
            let bytes = random_weights(row.format, 85, cols);
            let plain = Matrix::new(row.format, 85, cols, &bytes).unwrap();
            let (weights, place) = interleave(&runtimes[0], plain);
            let weights = weights.matrix(&place);
            let x = values(28 * cols, 3, 1.0);
            let alone: Vec<f32> = x.chunks(cols).flat_map(|x| product(&runtimes[0], x, weights)).collect();
            for (tokens, runtime) in (2..=28).zip(runtimes.iter().cycle()) {
                let together = product(runtime, &x[..tokens * cols], weights);
                let threads = runtime.threads();
                assert!(together == alone[..tokens * 85], "{} on {isa:?}, {tokens} rows, {threads} threads", row.name);
            }
        }
    }
}

/// So many activations do not stay in the second cache: a chunk of them meets all panels before the next.
#[test]
fn a_long_batch_equals_its_rows_bit_for_bit() {
    for isa in Isa::available() {
        for (format, cols) in [(Format::Q8_0, 1056), (Format::Q4K, 1024)] {
            let runtimes = [1, 2, 3].map(|threads| Runtime::new(isa, threads).unwrap());
            let bytes = random_weights(format, 85, cols);
            let plain = Matrix::new(format, 85, cols, &bytes).unwrap();
            let (weights, place) = interleave(&runtimes[0], plain);
            let weights = weights.matrix(&place);
            let x = values(200 * cols, 3, 1.0);
            assert!(integer::is_chunk_by_chunk(200, cols) && !integer::is_chunk_by_chunk(1, cols));
            let alone: Vec<f32> = x.chunks(cols).flat_map(|x| product(&runtimes[0], x, weights)).collect();
            for runtime in &runtimes {
                assert!(product(runtime, &x, weights) == alone, "{} on {isa:?}", format.name());
            }
        }
    }
}

#[test]
fn a_value_that_is_no_number_is_not_lost() {
    on_every_isa(1, |runtime, _| {
        let bytes = random_weights(Format::Q4K, 16, 256);
        let (weights, place) = interleave(runtime, Matrix::new(Format::Q4K, 16, 256, &bytes).unwrap());
        let mut x = vec![1.0; 2 * 256];
        x[300] = f32::INFINITY;
        let got = product(runtime, &x, weights.matrix(&place));
        assert!(got[..16].iter().all(|out| out.is_finite()) && got[16..].iter().all(|out| out.is_nan()));
    });
}

#[test]
fn several_matrices_of_either_layout_share_one_call() {
    on_every_isa(2, |runtime, _| {
        let (a, b) = (random_weights(Format::Q8_0, 40, 64), random_weights(Format::F16, 9, 64));
        let a = Matrix::new(Format::Q8_0, 40, 64, &a).unwrap();
        let b = Matrix::new(Format::F16, 9, 64, &b).unwrap();
        let (weights, place) = interleave(runtime, a);
        let c = weights.matrix(&place);
        let x = values(20 * 64, 5, 1.0);
        let (mut out_a, mut out_b, mut out_c) = (vec![0.0; 20 * 40], vec![0.0; 20 * 9], vec![0.0; 20 * 40]);
        let mut jobs = [
            MatMul { weights: a, out: &mut out_a },
            MatMul { weights: b, out: &mut out_b },
            MatMul { weights: c, out: &mut out_c },
        ];
        matmul(runtime, &x, &mut jobs);
        assert_eq!(out_a, product(runtime, &x, a));
        assert_eq!(out_b, product(runtime, &x, b));
        assert_eq!(out_c, product(runtime, &x, c));
    });
}

#[test]
fn a_gated_product_equals_its_parts_bit_for_bit() {
    on_every_isa(2, |runtime, _| {
        let formats = [[Format::Q4_1, Format::Q5_1], [Format::Q4K, Format::Q4K]];
        let shapes = [(1, 100), (9, 100), (70, 320)];
        for (formats, (tokens, rows)) in formats.into_iter().flat_map(|formats| shapes.map(|shape| (formats, shape))) {
            let [a, b] = formats.map(|format| random_weights(format, rows, 512));
            let a = Matrix::new(formats[0], rows, 512, &a).unwrap();
            let b = Matrix::new(formats[1], rows, 512, &b).unwrap();
            let ((gate, gate_place), (up, up_place)) = (interleave(runtime, a), interleave(runtime, b));
            let weights = [gate.matrix(&gate_place), up.matrix(&up_place)];
            let x = values(tokens * 512, 5, 0.01);
            let (mut expected, mut got) = (vec![0.0; tokens * rows], vec![f32::NAN; tokens * rows]);
            let [gates, ups] = weights.map(|weights| product(runtime, &x, weights));
            crate::gated(runtime, Activation::Silu, &gates, &ups, &mut expected);
            assert!(matmul_gated(runtime, &x, Activation::Silu, weights, &mut got));
            assert!(got == expected, "{tokens} rows");
            assert!(!matmul_gated(runtime, &x, Activation::Silu, [a, weights[1]], &mut got), "one is not interleaved");
        }
    });
}
