//! Tables of sixteen values that a nibble points into: IQ4_NL, IQ4_XS and MXFP4. They know no scale.
//! Next: `quant/iq4_nl.rs`.

use super::nibbles::{doubled, nibble};

/// The sixteen values of IQ4_NL and IQ4_XS (ggml project, `ggml-common.h`, MIT licence): denser around zero, where
/// weights are.
pub(super) const NON_LINEAR: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// [`NON_LINEAR`] plus 128, as bytes.
pub(super) const NON_LINEAR_UNSIGNED: [u8; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        table[index] = (NON_LINEAR[index] + 128.0) as u8;
        index += 1;
    }
    table
};

/// The sixteen E2M1 floats, doubled (OCP Microscaling Formats 1.0, section 5.3.3). Negative zero reads as zero, as
/// in the ggml project.
pub(super) const E2M1_DOUBLED: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// Decodes 32 weights from the 16 bytes at byte `at` of a block. Weight = scale * value.
#[inline(always)]
pub(super) fn decode_nibbles(block: &[u8], at: usize, values: &[f32; 16], scale: f32, weights: &mut [f32; 32]) {
    let nibbles = doubled(block, at);
    for j in 0..32 {
        // Four bits are never negative and always below sixteen.
        weights[j] = scale * values[nibble(&nibbles, j) as usize];
    }
}
