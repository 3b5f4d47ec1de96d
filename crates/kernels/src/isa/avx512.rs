//! The AVX-512 instruction set: 512-bit vectors of sixteen lanes, thirty-two registers, masks for tails.
//!
//! Asked for with the byte, word, double-word, vector-length and integer dot-product extensions, which every server
//! processor since Ice Lake and Zen 4 has together. See `isa/avx2.rs` for what older processors run.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that this processor has AVX-512 F, BW, VL, DQ and VNNI, and all of AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

const LANES: usize = 16;

impl Avx512 {
    /// The proof, if the processor and the operating system support all of it.
    pub fn detect() -> Option<Avx512> {
        let supported = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        supported.then_some(Avx512(()))
    }
}

/// Runs a kernel in a function with the features on; the kernel is inlined and so compiled with them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn with_features<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

impl Simd for Avx512 {
    type F32 = __m512;
    type Int = __m512i;
    const LANES: usize = LANES;
    const TILE_COLUMNS: usize = 6;
    // Twelve sums, twelve floats, two weights and six activations: 32 registers with one to spare per column.
    const PAIR_COLUMNS: usize = 6;
    const DIRECT_COLUMNS: usize = 8;
    const DIRECT_ROWS: usize = 16;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves the features.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be read.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> Self::F32 {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be read.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16) {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be written.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)) }
    }

    #[inline(always)]
    unsafe fn store(self, value: Self::F32, to: *mut f32) {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be written.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn load_slice(self, from: &[f32]) -> Self::F32 {
        // SAFETY: `self` proves the features; the mask admits only lanes inside the slice.
        unsafe { _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr()) }
    }

    #[inline(always)]
    fn store_slice(self, value: Self::F32, to: &mut [f32]) {
        // SAFETY: `self` proves the features; the mask admits only lanes inside the slice.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), value) }
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_abs_ps(a) }
    }

    #[inline(always)]
    fn copy_sign(self, a: Self::F32, sign: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_or_ps(_mm512_and_ps(_mm512_set1_ps(-0.0), sign), _mm512_andnot_ps(_mm512_set1_ps(-0.0), a)) }
    }

    #[inline(always)]
    fn times_power(self, a: Self::F32, n: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_scalef_ps(a, n) }
    }

    #[inline(always)]
    fn select_less(self, a: Self::F32, b: Self::F32, then: Self::F32, otherwise: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), otherwise, then) }
    }

    #[inline(always)]
    fn sum_each(self, vectors: [Self::F32; 4]) -> [f32; 4] {
        // SAFETY: `self` proves the features.
        unsafe {
            let [a, b, c, d] = vectors;
            let sums = _mm_hadd_ps(_mm_hadd_ps(fold(a), fold(b)), _mm_hadd_ps(fold(c), fold(d)));
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), sums);
            out
        }
    }

    #[inline(always)]
    fn sum(self, vector: Self::F32) -> f32 {
        // SAFETY: `self` proves the features.
        unsafe {
            let four = fold(vector);
            let pairs = _mm_hadd_ps(four, four);
            _mm_cvtss_f32(_mm_hadd_ps(pairs, pairs))
        }
    }

    #[inline(always)]
    fn max_lane(self, vector: Self::F32) -> f32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_reduce_max_ps(vector) }
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that 64 bytes can be read.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_int(self, value: Self::Int, to: *mut u8) {
        // SAFETY: `self` proves the features; the caller promises that 64 bytes can be written.
        unsafe { _mm512_storeu_si512(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that sixteen bytes can be read.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that sixteen bytes can be read.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_i8(self, value: Self::Int, to: *mut i8) {
        // SAFETY: `self` proves the features; the caller promises that sixteen bytes can be written.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value)) }
    }

    #[inline(always)]
    unsafe fn store_i16(self, value: Self::Int, to: *mut i16) {
        // SAFETY: `self` proves the features; the caller promises that sixteen numbers can be written.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(value)) }
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn and(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn add_i32(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn shift_right(self, a: Self::Int, count: u32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(count.cast_signed())) }
    }

    #[inline(always)]
    fn shift_left(self, a: Self::Int, count: u32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(count.cast_signed())) }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], indices: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features; the table has the sixteen bytes that are read.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), indices) }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpbusd_epi32(sums, a, b) }
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpwssd_epi32(sums, a, b) }
    }

    #[inline(always)]
    fn to_f32(self, a: Self::Int) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    fn to_i32(self, a: Self::F32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_cvtps_epi32(a) }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Adds the upper half of the lanes to the lower, twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn fold(vector: __m512) -> __m128 {
    let eight = _mm256_add_ps(_mm512_castps512_ps256(vector), _mm512_extractf32x8_ps::<1>(vector));
    _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
}

/// A mask whose first `len` lanes are on, all of them from sixteen.
#[inline(always)]
fn mask(len: usize) -> __mmask16 {
    if len >= LANES { u16::MAX } else { (1 << len) - 1 }
}
