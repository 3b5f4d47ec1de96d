//! Attention and the KV arena together against the oracle, and against themselves in other batches.

use super::*;
use crate::reference;
use crate::reference::testing::{assert_close, on_every_isa, values};
use crate::{Isa, KvElement, KvShape, kv_store};

/// Pages of an arena: a prime, so that a sequence's pages lie scattered, and enough for three blocks.
const PAGES: u32 = 23;

const ELEMENTS: [KvElement; 4] = [KvElement::F32, KvElement::F16, KvElement::Q8_0, KvElement::I16];

/// One sequence: its queries, keys and values, and scattered pages.
struct Case {
    shape: AttentionShape,
    element: KvElement,
    len: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    pages: Vec<u32>,
}

impl Case {
    fn new(shape: AttentionShape, element: KvElement, len: usize) -> Case {
        let kv_len = len * shape.kv_heads * shape.head_dim;
        let [k, v] = [values(kv_len, 2, 2.0), values(kv_len, 3, 1.0)].map(|x| rounded(&x, element, shape.head_dim));
        let q = values(len * shape.heads * shape.head_dim, 1, 2.0);
        let count = u32::try_from(len.div_ceil(PAGE_LEN)).unwrap();
        let pages = (0..count).map(|page| (page * 7 + 3) % PAGES).collect();
        Case { shape, element, len, q, k, v, pages }
    }

    /// An arena full of what earlier sequences left: numbers that are none.
    fn arena(&self, runtime: &Runtime) -> KvArena {
        let AttentionShape { kv_heads, head_dim, .. } = self.shape;
        let shape =
            KvShape { layers: 2, pages: PAGES as usize, page_len: PAGE_LEN, kv_heads, head_dim, element: self.element };
        let mut arena = KvArena::new(shape).unwrap();
        let rubbish = vec![f32::NAN; PAGES as usize * PAGE_LEN * kv_heads * head_dim];
        let pages: Vec<u32> = (0..PAGES).collect();
        let span = KvSpan { row: 0, len: pages.len() * PAGE_LEN, position: 0, pages: &pages };
        kv_store(runtime, &mut arena, 1, &rubbish, &rubbish, &[span]);
        arena
    }

    /// Runs the sequence in steps of the given lengths.
    fn run(&self, runtime: &Runtime, steps: impl Iterator<Item = usize>) -> Vec<f32> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let mut arena = self.arena(runtime);
        let mut out = vec![f32::NAN; self.q.len()];
        let mut position = 0;
        for step in steps {
            let len = step.min(self.len - position);
            let rows = |width: usize| position * width..(position + len) * width;
            let span = [KvSpan { row: 0, len, position, pages: &self.pages }];
            let (kv, queries) = (rows(kv_heads * head_dim), rows(heads * head_dim));
            kv_store(runtime, &mut arena, 1, &self.k[kv.clone()], &self.v[kv], &span);
            attention(runtime, &self.shape, &arena, 1, &self.q[queries.clone()], &span, &mut out[queries]);
            position += len;
            if position == self.len {
                break;
            }
        }
        out
    }
}

impl Case {
    /// What the oracle makes of the numbers that are stored.
    fn expected(&self) -> Vec<f32> {
        let AttentionShape { head_dim, .. } = self.shape;
        let (mut q, mut k, mut v) = (self.q.clone(), self.k.clone(), self.v.clone());
        if self.element == KvElement::I16 {
            let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
            let largest = |row: &[f32]| row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let round = |x: &mut [f32], divisor: &dyn Fn(&[f32]) -> f32, steps: f32| {
                for row in x.chunks_mut(head_dim) {
                    let scale = divisor(row) / steps;
                    row.iter_mut().for_each(|x| *x = (*x / scale).round_ties_even() * scale);
                }
            };
            round(&mut q, &length, 32_767.0);
            round(&mut k, &length, 32_767.0);
            round(&mut v, &largest, 8_191.0);
        }
        reference::attention(&self.shape, &q, &k, &v, 0)
    }
}

/// Rows `[.., Dh]` as they come back from an arena, where a second rounding changes nothing; else as they are.
fn rounded(x: &[f32], element: KvElement, head_dim: usize) -> Vec<f32> {
    let half = |x: f32| half::f16::from_f32(x).to_f32();
    match element {
        KvElement::F32 | KvElement::I16 => x.to_vec(),
        KvElement::F16 => x.iter().copied().map(half).collect(),
        KvElement::Q8_0 => {
            let blocks = x.chunks(head_dim).flat_map(|row| row.chunks(32));
            let round = |block: &[f32]| -> Vec<f32> {
                let scale = half(block.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())) / 127.0);
                block.iter().map(|x| (x / scale).round_ties_even().clamp(-127.0, 127.0) * scale).collect()
            };
            // The largest of a block may have been rounded to another number of steps; twice is enough.
            let once: Vec<f32> = blocks.flat_map(round).collect();
            once.chunks(head_dim).flat_map(|row| row.chunks(32)).flat_map(round).collect()
        }
    }
}

fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { heads, kv_heads, head_dim, scale: 0.4, softcap: None, window: None }
}

#[test]
fn attention_equals_the_reference_for_every_shape() {
    on_every_isa(2, |runtime, lanes| {
        let heads = [(1, 1), (3, 1), (9, 3), (14, 2), (4, 4)];
        for (index, head_dim) in (1..=2 * lanes + 1).chain([64, 80]).enumerate() {
            let (heads, kv_heads) = heads[index % heads.len()];
            for (softcap, window) in [(None, None), (Some(5.0), None), (None, Some(7)), (Some(5.0), Some(40))] {
                let shape = AttentionShape { softcap, window, ..shape(heads, kv_heads, head_dim) };
                let other = [KvElement::F32, KvElement::F16, KvElement::Q8_0][index % 3];
                for (element, bound) in [(KvElement::I16, 4e-4), (other, 2e-4)] {
                    let case = Case::new(shape, element, 33 + index * 3 % 60);
                    assert_close(&case.run(runtime, [case.len].into_iter()), &case.expected(), 0.0, bound);
                }
            }
        }
    });
}

#[test]
fn small_scores_are_within_the_stated_bound() {
    on_every_isa(1, |runtime, _| {
        let shape = AttentionShape { scale: 0.05, ..shape(6, 2, 64) };
        let case = Case::new(shape, KvElement::F32, BLOCK_LEN + 22);
        let expected = reference::attention(&shape, &case.q, &case.k, &case.v, 0);
        let largest = 0.05 * 64.0 * 4.0;
        assert_close(&case.run(runtime, [case.len].into_iter()), &expected, 0.0, 2e-6 + 2e-6 * largest);
    });
}

#[test]
fn attention_over_several_blocks_equals_the_reference() {
    on_every_isa(2, |runtime, _| {
        let windows = [None, Some(40), Some(BLOCK_LEN + 5)];
        for (window, step) in windows.into_iter().flat_map(|window| [(window, 100), (window, usize::MAX)]) {
            let softcap = (step == 100).then_some(5.0);
            let shape = AttentionShape { softcap, window, ..shape(7, 1, 20) };
            for (element, bound) in [(KvElement::F16, 2e-4), (KvElement::I16, 4e-4)] {
                let case = Case::new(shape, element, 2 * BLOCK_LEN + 30);
                assert_close(&case.run(runtime, std::iter::repeat(step)), &case.expected(), 0.0, bound);
            }
        }
    });
}

#[test]
fn a_prompt_at_once_in_pieces_or_token_by_token_is_the_same_bit_for_bit() {
    for isa in Isa::available() {
        let runtimes = [1, 2, 3].map(|threads| Runtime::new(isa, threads).unwrap());
        let windows = [
            (None, 20, BLOCK_LEN + 40),
            (Some(20), 64, BLOCK_LEN + 40),
            (Some(65), 80, 130),
            (Some(BLOCK_LEN + 5), 16, 2 * BLOCK_LEN + 30),
        ];
        for (element, (window, head_dim, len)) in ELEMENTS.iter().flat_map(|&e| windows.map(|w| (e, w))) {
            let shape = AttentionShape { window, ..shape(9, 3, head_dim) };
            let case = Case::new(shape, element, len);
            let at_once = case.run(&runtimes[0], [case.len].into_iter());
            assert!(at_once.iter().all(|x| x.is_finite()));
            for (runtime, step) in runtimes.iter().cycle().zip([1, 2, 31, 32, 33, 130]) {
                let pieces = case.run(runtime, std::iter::repeat(step));
                assert!(pieces == at_once, "steps of {step} on {isa:?} with {} threads", runtime.threads());
            }
        }
    }
}

#[test]
fn an_infinite_value_does_not_touch_those_who_do_not_see_it() {
    on_every_isa(1, |runtime, _| {
        let near = [(None, 40, 70), (Some(20), 40, 70), (None, 31, 70), (Some(3), 0, 70)];
        let later =
            [(None, BLOCK_LEN + 3), (Some(20), BLOCK_LEN - 1)].map(|(w, infinite)| (w, infinite, BLOCK_LEN + 40));
        for (window, infinite, len) in near.into_iter().chain(later) {
            let shape = AttentionShape { window, ..shape(9, 3, 20) };
            for element in [KvElement::F32, KvElement::I16] {
                let mut case = Case::new(shape, element, len);
                let expected = case.run(runtime, [len].into_iter());
                case.v[infinite * 3 * 20..(infinite + 1) * 3 * 20].fill(f32::INFINITY);
                let got = case.run(runtime, [len].into_iter());
                let last = window.map_or(len, |window| infinite + window);
                for (row, (got, expected)) in got.chunks(9 * 20).zip(expected.chunks(9 * 20)).enumerate() {
                    let sees = (infinite..last).contains(&row);
                    assert_eq!(got == expected, !sees, "row {row}, value {infinite}, window {window:?}, {element:?}");
                    assert!(!sees || got.iter().all(|x| !x.is_finite()), "row {row}, {element:?}");
                }
            }
        }
    });
}

#[test]
fn integers_are_more_exact_than_half_precision() {
    on_every_isa(2, |runtime, _| {
        for (head_dim, len, outlier) in [(64, BLOCK_LEN + 22, 1.0), (64, 90, 30.0), (128, 90, 100.0), (256, 40, 1.0)] {
            let shape = AttentionShape { scale: 1.0 / (head_dim as f32).sqrt(), ..shape(6, 2, head_dim) };
            let mut case = Case::new(shape, KvElement::I16, len);
            // Two dimensions of keys are far larger than the others, as they are in models.
            case.k.iter_mut().skip(3).step_by(head_dim / 2).for_each(|x| *x *= outlier);
            let halves = Case {
                element: KvElement::F16,
                k: case.k.clone(),
                v: case.v.clone(),
                ..Case::new(shape, KvElement::F16, len)
            };
            let expected = reference::attention(&shape, &case.q, &case.k, &case.v, 0);
            let error = |case: &Case| {
                let squares =
                    case.run(runtime, [len].into_iter()).into_iter().zip(&expected).map(|(got, x)| (got - x).powi(2));
                (squares.sum::<f32>() / expected.len() as f32).sqrt()
            };
            let (integers, halves) = (error(&case), error(&halves));
            assert!(integers < halves, "{integers} and {halves} for heads of {head_dim}, {len} positions, {outlier}");
        }
    });
}

#[test]
fn the_largest_integers_do_not_overflow() {
    on_every_isa(1, |runtime, _| {
        // All keys point the way of the queries, all values are the largest, all weights the same; and one key outweighs all.
        for (head_dim, outstanding) in [(1, None), (64, None), (64, Some(300))] {
            let shape = AttentionShape { scale: 1e-3, ..shape(1, 1, head_dim) };
            let len = 2 * BLOCK_LEN;
            let mut case = Case::new(shape, KvElement::I16, len);
            for x in [&mut case.q, &mut case.k, &mut case.v] {
                x.fill(100.0);
            }
            if let Some(position) = outstanding {
                case.k[position * head_dim..(position + 1) * head_dim].fill(1e4);
            }
            let out = case.run(runtime, [len].into_iter());
            // All roundings of a weight are the same, and cancel.
            assert_close(&out, &vec![100.0; len * head_dim], 1e-5, 0.0);
        }
    });
}

/// A query, and keys whose scores are these beside it; values of one number each.
fn scored(len: usize, score: impl Fn(usize) -> f32, value: impl Fn(usize) -> f32) -> Case {
    let shape = AttentionShape { scale: 1.0, ..shape(1, 1, 16) };
    let mut case = Case::new(shape, KvElement::I16, len);
    case.q.fill(0.25);
    for position in 0..len {
        let row = position * 16..(position + 1) * 16;
        case.k[row.clone()].fill(score(position) / 4.0);
        case.v[row].fill(value(position));
    }
    case
}

#[test]
fn many_small_weights_are_not_lost_beside_a_large_one() {
    on_every_isa(1, |runtime, _| {
        let len = 2 * BLOCK_LEN + 200;
        let error = |case: &Case| {
            let (got, expected) = (case.run(runtime, [len].into_iter()), case.expected());
            let differences = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs());
            differences.fold(0.0f32, f32::max)
        };
        // The first position has nearly all weight, and nothing to say, as in many models.
        let silent = scored(len, |position| if position == 0 { 12.0 } else { 0.0 }, |position| f32::from(position > 0));
        assert!(error(&silent) < 1e-6, "{}", error(&silent));
        // It says something else than the others: of those in its block half a step each may be lost.
        let loud = scored(
            len,
            |position| if position == 0 { 12.0 } else { 0.0 },
            |position| if position == 0 { -1.0 } else { 1.0 },
        );
        assert!(error(&loud) < 2.0 * 0.5 * 255.0 / 32_767.0, "{}", error(&loud));
        // One that is seen has no weight, and a value that is far larger than all others.
        let huge = scored(
            len,
            |position| if position == 5 { -60.0 } else { 0.0 },
            |position| if position == 5 { 3e3 } else { 1.0 },
        );
        assert!(error(&huge) < 1e-5, "{}", error(&huge));
    });
}

#[test]
fn integers_that_are_no_numbers_stay_with_those_who_see_them() {
    on_every_isa(2, |runtime, _| {
        let shape = AttentionShape { window: Some(40), ..shape(6, 2, 20) };
        let whole = Case::new(shape, KvElement::I16, 130);
        let expected = whole.run(runtime, [130].into_iter());
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for part in [KvPart::Keys, KvPart::Values] {
                let mut case = Case { k: whole.k.clone(), v: whole.v.clone(), ..Case::new(shape, KvElement::I16, 130) };
                let rows = match part {
                    KvPart::Keys => &mut case.k,
                    KvPart::Values => &mut case.v,
                };
                // One element of both heads at position 50.
                rows[50 * 40 + 3] = broken;
                rows[50 * 40 + 23] = broken;
                let got = case.run(runtime, [130].into_iter());
                for (row, (got, expected)) in got.chunks(6 * 20).zip(expected.chunks(6 * 20)).enumerate() {
                    match (50..90).contains(&row) {
                        true => assert!(got.iter().all(|x| x.is_nan()), "{part:?} {broken} row {row}"),
                        false => assert!(got == expected, "{part:?} {broken} row {row}"),
                    }
                }
            }
            let mut case = Case { q: whole.q.clone(), ..Case::new(shape, KvElement::I16, 130) };
            case.q[7 * 6 * 20 + 5] = broken;
            let got = case.run(runtime, [130].into_iter());
            let of_head = 7 * 6 * 20..7 * 6 * 20 + 20;
            assert!(got[of_head.clone()].iter().all(|x| x.is_nan()), "{broken}");
            assert!(got[..of_head.start] == expected[..of_head.start] && got[of_head.end..] == expected[of_head.end..]);
        }
    });
}

#[test]
fn the_smallest_and_the_largest_values_come_out() {
    on_every_isa(1, |runtime, _| {
        for magnitude in [1e30, 1e-20, 1e-25, 1e-35, 1e-44] {
            let case = scored(70, |position| position as f32 / 50.0, |_| magnitude);
            let out = case.run(runtime, [70].into_iter());
            // Below 1e-26 they are zero.
            assert!(out.iter().all(|x| (x - magnitude).abs() <= 1e-5 * magnitude + 1e-26), "{magnitude}: {out:?}");
        }
    });
}

#[test]
fn bytes_are_attended_to_as_the_numbers_that_they_stand_for_bit_for_bit() {
    on_every_isa(2, |runtime, _| {
        // Few queries read bytes, many read what was widened of them.
        for (heads, head_dim, step) in [(3, 64, 1), (14, 64, 1), (4, 80, 40), (2, 20, 1)] {
            let shape = shape(heads, 1, head_dim);
            let bytes = Case::new(shape, KvElement::Q8_0, 70);
            let numbers = Case {
                element: KvElement::F32,
                k: bytes.k.clone(),
                v: bytes.v.clone(),
                ..Case::new(shape, KvElement::F32, 70)
            };
            let run = |case: &Case| case.run(runtime, std::iter::repeat(step));
            assert!(run(&bytes) == run(&numbers), "{heads} heads of {head_dim}");
        }
    });
}

#[test]
fn sequences_of_one_batch_do_not_touch_each_other() {
    on_every_isa(2, |runtime, _| {
        for element in [KvElement::F32, KvElement::I16] {
            two_of_one_batch(runtime, element);
        }
    });
}

fn two_of_one_batch(runtime: &Runtime, element: KvElement) {
    let shape = shape(4, 2, 16);
    let case = Case::new(shape, element, 40);
    let alone = case.run(runtime, [40].into_iter());
    let mut arena = case.arena(runtime);
    // The same sequence twice in one batch, on pages of its own, with unused rows between and after.
    let (q_row, kv_row) = (4 * 16, 2 * 16);
    let twice = |x: &[f32], width: usize| {
        let gap = vec![f32::NAN; 3 * width];
        [x, &gap, x, &gap].concat()
    };
    let (q, k, v) = (twice(&case.q, q_row), twice(&case.k, kv_row), twice(&case.v, kv_row));
    let spans = [
        KvSpan { row: 0, len: 40, position: 0, pages: &[5, 9] },
        KvSpan { row: 43, len: 40, position: 0, pages: &[0, 10] },
    ];
    kv_store(runtime, &mut arena, 1, &k, &v, &spans);
    let mut out = vec![7.0; q.len()];
    attention(runtime, &shape, &arena, 1, &q, &spans, &mut out);
    assert_eq!(out[..40 * q_row], alone);
    assert_eq!(out[43 * q_row..83 * q_row], alone);
    assert!(out[40 * q_row..43 * q_row].iter().chain(&out[83 * q_row..]).all(|&x| x == 7.0));
}

/// Sequences over one arena: positions `start..end` of each are queried. The first pages of some are the same.
fn sharing_sequences() -> Vec<(Range<usize>, Vec<u32>)> {
    let prefix: Vec<u32> = (0..9).map(|page| page * 5 % 9).collect();
    let with_tail = |tail: &[u32]| [&prefix[..], tail].concat();
    let shared = prefix.len() * PAGE_LEN;
    vec![
        (shared + 9..shared + 10, with_tail(&[9, 10])),
        (70..71, vec![19, 18, 20]),
        (shared + 32..shared + 33, with_tail(&[11, 12])),
        (shared - 1..shared, prefix.clone()),
        (shared..shared + 40, with_tail(&[13, 14])),
        (40..42, prefix[..2].to_vec()),
        (shared + 3..shared + 4, with_tail(&[15])),
    ]
}

#[test]
fn sequences_that_share_pages_equal_each_alone_bit_for_bit() {
    for isa in Isa::available() {
        let runtimes = [1, 2, 5].map(|threads| Runtime::new(isa, threads).unwrap());
        let windows = [None, Some(20), Some(65), Some(BLOCK_LEN + 5)];
        for (element, window) in ELEMENTS.iter().flat_map(|&e| windows.map(|w| (e, w))) {
            for (heads, kv_heads) in [(9, 3), (14, 2), (2, 2)] {
                let shape = AttentionShape { window, ..shape(heads, kv_heads, 20) };
                let arena_shape =
                    KvShape { layers: 2, pages: PAGES as usize, page_len: PAGE_LEN, kv_heads, head_dim: 20, element };
                let mut arena = KvArena::new(arena_shape).unwrap();
                let pages: Vec<u32> = (0..PAGES).collect();
                let all = KvSpan { row: 0, len: pages.len() * PAGE_LEN, position: 0, pages: &pages };
                let [k, v] = [2, 3].map(|seed| values(all.len * kv_heads * 20, seed, 2.0));
                kv_store(&runtimes[0], &mut arena, 1, &k, &v, &[all]);
                let sequences = sharing_sequences();
                let mut row = 0;
                let mut spans = Vec::new();
                for (positions, pages) in &sequences {
                    spans.push(KvSpan { row, len: positions.len(), position: positions.start, pages });
                    row += positions.len();
                }
                let row_len = heads * 20;
                let q = values(row * row_len, 1, 2.0);
                let mut alone = vec![f32::NAN; q.len()];
                for span in &spans {
                    let rows = span.row * row_len..(span.row + span.len) * row_len;
                    let span = [KvSpan { row: 0, ..*span }];
                    attention(&runtimes[0], &shape, &arena, 1, &q[rows.clone()], &span, &mut alone[rows]);
                }
                assert!(alone.iter().all(|x| x.is_finite()));
                for runtime in &runtimes {
                    let mut together = vec![f32::NAN; q.len()];
                    attention(runtime, &shape, &arena, 1, &q, &spans, &mut together);
                    assert!(together == alone, "{element:?} {window:?} {heads} heads, {} threads", runtime.threads());
                }
            }
        }
    }
}

#[test]
fn rows_that_share_most_pages_make_pieces_of_work_together() {
    let (long, longer) = ([4, 1, 7, 8, 9, 10], [4, 1, 7, 8, 3, 2]);
    let pages: [&[u32]; 4] = [&[4, 1], &[4, 2], &long, &longer];
    let row = |index: usize, span: usize, position: usize| Row { index, span, position, pages: pages[span] };
    let rows = [row(0, 0, 40), row(1, 0, 41), row(2, 1, 40), row(3, 1, 63), row(4, 2, 180), row(5, 3, 170)];
    // Half of what is seen is common, but for the last two, which share two thirds, and only with each other.
    assert_eq!(pieces(&rows, None, 3), [0..3, 3..4, 4..6]);
    assert_eq!(pieces(&rows, None, 9), [0..4, 4..6]);
    // With a window, what is no longer seen does not count.
    assert_eq!(pieces(&rows, Some(32), 9), [0..3, 3..4, 4..5, 5..6]);
    // 32 sequences of 14 heads over two: whole tiles for two threads, as many pieces as threads for many.
    assert_eq!(rows_per_piece(32, 7, 2, 2), 6);
    assert_eq!(rows_per_piece(4, 7, 2, 8), 1);
}

#[test]
fn spans_of_one_sequence_may_overlap_in_its_positions() {
    on_every_isa(1, |runtime, _| {
        let shape = shape(4, 2, 16);
        let case = Case::new(shape, KvElement::F32, 90);
        let alone = case.run(runtime, [90].into_iter());
        let mut arena = case.arena(runtime);
        let all = KvSpan { row: 0, len: 90, position: 0, pages: &case.pages };
        kv_store(runtime, &mut arena, 1, &case.k, &case.v, &[all]);
        let rows = |positions: Range<usize>| &case.q[positions.start * 4 * 16..positions.end * 4 * 16];
        let q = [rows(64..66), rows(64..65)].concat();
        let first = KvSpan { row: 0, len: 2, position: 64, pages: &case.pages };
        let spans = [first, KvSpan { row: 2, len: 1, ..first }];
        let mut out = vec![f32::NAN; q.len()];
        attention(runtime, &shape, &arena, 1, &q, &spans, &mut out);
        assert_eq!(out[..2 * 4 * 16], alone[64 * 4 * 16..66 * 4 * 16]);
        assert_eq!(out[2 * 4 * 16..], alone[64 * 4 * 16..65 * 4 * 16]);
    });
}
