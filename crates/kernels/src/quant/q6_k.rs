//! Q6_K: 256 weights, 128 bytes of low nibbles, 64 bytes of high two bits, 16 signed scales (one per 16 weights),
//! d (half). Weight = d * scale * (q - 32).
//! Each half of 128 weights has 64 bytes of nibbles and 32 of two-bit pairs. Its four runs of 32 take the low nibbles
//! of bytes 0..32 and 32..64, then the high ones, with the two bits at shifts 0, 2, 4, 6.
//! It does not know how one scale is chosen. Next: `quant/fit.rs`.

use super::Block;
use super::encode::EncodeBlock;
use super::fit::{Levels, Line, Sample};
use super::half_float::{HALF_MAX, HALF_MIN, narrow, read_half, through_half};
use super::interleaved::{Correction, Interleaved, RowBlock, Run, Scaled, field};
use crate::isa::Simd;

pub(super) struct Q6K;

const HIGH_BITS: usize = 128;
const SCALES: usize = 192;
const SCALE: usize = 208;
const _: () = assert!(HIGH_BITS + 64 == SCALES && SCALES + 16 == SCALE && SCALE + 2 == 210);

/// Rounds of choosing whole scales and then d; the third rarely changes a block.
const ROUNDS: usize = 3;
const LEVELS: Levels = Levels { lowest: -32.0, highest: 31.0 };

impl Block<210, 256> for Q6K {
    #[inline(always)]
    fn decode(block: &[u8; 210], weights: &mut [f32; 256]) {
        let d = read_half(block, SCALE);
        for (run, weights) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (half, quarter) = (run / 4, run % 4);
            let nibbles = &block[half * 64 + quarter % 2 * 32..][..32];
            let high_bits = &block[HIGH_BITS + half * 32..][..32];
            let scales = [0, 1].map(|part| d * f32::from(block[SCALES + run * 2 + part].cast_signed()));
            for j in 0..32 {
                let scale = if j < 16 { scales[0] } else { scales[1] };
                let low = i32::from(nibbles[j]) >> (quarter / 2 * 4) & 15;
                let high = i32::from(high_bits[j]) >> (quarter * 2) & 3;
                weights[j] = scale * ((low | high << 4) - 32) as f32;
            }
        }
    }
}

impl Interleaved for Q6K {
    const LEN: usize = 256;
    const RUNS: &'static [Run] = &[Run::Quads(48), Run::Bytes(16), Run::Pairs(1)];
    const GROUP: usize = 16;
    const CORRECTION: Correction = Correction::Zero(32);

    #[inline(always)]
    fn numbers<S: Simd>(simd: S, block: RowBlock<'_>, run: usize, quad: usize) -> S::Int {
        let (half, quarter) = (run / 4, run % 4);
        let low = block.quads(simd, half * 64 + quarter % 2 * 32 + quad * 4);
        let high = block.quads(simd, HIGH_BITS + half * 32 + quad * 4);
        let high = simd.shift_left(field(simd, high, quarter * 2, 2), 4);
        simd.or(field(simd, low, quarter / 2 * 4, 4), high)
    }
}

impl Scaled for Q6K {
    #[inline(always)]
    fn header<S: Simd>(simd: S, block: RowBlock<'_>) -> [S::F32; 2] {
        [block.halves(simd, SCALE), simd.splat(0.0)]
    }

    #[inline(always)]
    fn scale<S: Simd>(simd: S, block: RowBlock<'_>, header: [S::F32; 2], group: usize) -> S::F32 {
        simd.mul(header[0], simd.to_f32(block.signed_bytes(simd, SCALES + group)))
    }
}

impl EncodeBlock<210, 256> for Q6K {
    const LARGEST: f32 = HALF_MAX;

    #[inline(always)]
    fn encode<S: Simd>(simd: S, weights: &[f32; 256], importance: &[f32; 256], block: &mut [u8; 210]) {
        let importance = importance.as_chunks::<16>().0;
        let parts = weights.as_chunks::<16>().0.iter().zip(importance);
        let mut samples = [Sample { simd, weights: &[0.0; 16], importance: &[0.0; 16] }; 16];
        for (sample, (weights, importance)) in samples.iter_mut().zip(parts) {
            *sample = Sample { simd, weights, importance };
        }
        let fitted = Fitted::fit(&samples);
        block.fill(0);
        for (index, &weight) in weights.iter().enumerate() {
            let q = (LEVELS.nearest(weight, fitted.d * fitted.scales[index / 16]) + 32.0) as u8;
            let (run, j) = (index / 32, index % 32);
            let (half, quarter) = (run / 4, run % 4);
            block[half * 64 + quarter % 2 * 32 + j] |= (q & 15) << (quarter / 2 * 4);
            block[HIGH_BITS + half * 32 + j] |= q >> 4 << (quarter * 2);
        }
        for (byte, scale) in block[SCALES..SCALE].iter_mut().zip(fitted.scales) {
            *byte = (scale as i8).cast_unsigned();
        }
        block[SCALE..].copy_from_slice(&narrow(fitted.d));
    }
}

/// The scales of one block: `d` is a half, `scales` are whole numbers in -128..=127.
#[derive(Clone, Copy)]
struct Fitted {
    d: f32,
    scales: [f32; 16],
}

impl Fitted {
    /// Pseudo-code: fit each 16 weights alone; let d bring the largest of those scales to -128; take for each 16 the
    /// whole scale with the least error near its own; then solve for d with everything else held, and once more.
    #[inline(always)]
    fn fit<S: Simd>(samples: &[Sample<'_, S, 16>; 16]) -> Fitted {
        let mut wanted = [0.0f32; 16];
        for (wanted, sample) in wanted.iter_mut().zip(samples) {
            *wanted = sample.fit_scale(LEVELS, |scale| scale);
        }
        let extreme = wanted.iter().fold(0.0f32, |extreme, &s| if s.abs() > extreme.abs() { s } else { extreme });
        let mut best = Fitted { d: 0.0, scales: [0.0; 16] };
        let mut least = f32::INFINITY;
        // Never zero for weights that are not, so that tiny ones do not vanish.
        let unit = through_half(extreme / -128.0);
        let mut d = if unit == 0.0 { HALF_MIN } else { unit };
        for _ in 0..ROUNDS {
            if d == 0.0 {
                break;
            }
            let (candidate, error) = Fitted::with_d(d, &wanted, samples);
            if error < least {
                (best, least) = (candidate, error);
            }
            d = through_half(candidate.best_d(samples));
        }
        best
    }

    /// The best whole scales for a given `d`, and the weighted squared error that is left.
    #[inline(always)]
    fn with_d<S: Simd>(d: f32, wanted: &[f32; 16], samples: &[Sample<'_, S, 16>; 16]) -> (Fitted, f32) {
        let mut scales = [0.0f32; 16];
        let mut total = 0.0;
        for (part, sample) in samples.iter().enumerate() {
            let mut least = f32::INFINITY;
            for step in [0.0, -1.0, 1.0] {
                let scale = ((wanted[part] / d).round_ties_even() + step).clamp(-128.0, 127.0);
                let error = sample.error(Line { scale: d * scale, minimum: 0.0 }, LEVELS);
                if error < least {
                    (scales[part], least) = (scale, error);
                }
            }
            total += least;
        }
        (Fitted { d, scales }, total)
    }

    /// The `d` of least error while scales and levels stay as they are.
    #[inline(always)]
    fn best_d<S: Simd>(&self, samples: &[Sample<'_, S, 16>; 16]) -> f32 {
        let (mut numerator, mut denominator) = (0.0, 0.0);
        for (sample, scale) in samples.iter().zip(self.scales) {
            let sums = sample.sums(Line { scale: self.d * scale, minimum: 0.0 }, LEVELS);
            numerator += scale * sums.products;
            denominator += scale * scale * sums.squares;
        }
        if denominator > 0.0 { numerator / denominator } else { 0.0 }
    }
}
