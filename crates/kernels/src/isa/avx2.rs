//! The AVX2 instruction set with FMA and F16C: 256-bit vectors of eight lanes, sixteen registers.
//!
//! Every x86-64 server and desktop processor since 2013-2017 has it. Next: `isa/avx512.rs`.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that this processor has AVX2, FMA and F16C, and, with `VNNI`, AVX-VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2<const VNNI: bool>(());

const LANES: usize = 8;

impl<const VNNI: bool> Avx2<VNNI> {
    /// The proof, if the processor and the operating system support all of it.
    pub fn detect() -> Option<Avx2<VNNI>> {
        let supported =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        (supported && (!VNNI || is_x86_feature_detected!("avxvnni"))).then_some(Avx2(()))
    }
}

/// Runs a kernel in a function with the features on; the kernel is inlined and so compiled with them.
#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(simd: Avx2<false>, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// The same, with the byte dot product.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn with_dot_product<K: Kernel>(simd: Avx2<true>, kernel: K) -> K::Output {
    kernel.run(simd)
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F32 = __m256;
    type Int = __m256i;
    const LANES: usize = LANES;
    // Eight sums, four weights and an activation leave registers to spare; three columns would spill.
    const TILE_COLUMNS: usize = 2;
    const PAIR_COLUMNS: usize = 3;
    const DIRECT_COLUMNS: usize = 4;
    const DIRECT_ROWS: usize = 12;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves the features.
        unsafe { if VNNI { with_dot_product(Avx2(()), kernel) } else { with_features(Avx2(()), kernel) } }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be read.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> Self::F32 {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be read.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16) {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be written.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)) }
    }

    #[inline(always)]
    unsafe fn store(self, value: Self::F32, to: *mut f32) {
        // SAFETY: `self` proves the features; the caller promises that `LANES` values can be written.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn load_slice(self, from: &[f32]) -> Self::F32 {
        // SAFETY: `self` proves the features; the mask admits only lanes inside the slice.
        unsafe { _mm256_maskload_ps(from.as_ptr(), mask(from.len())) }
    }

    #[inline(always)]
    fn store_slice(self, value: Self::F32, to: &mut [f32]) {
        // SAFETY: `self` proves the features; the mask admits only lanes inside the slice.
        unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), mask(to.len()), value) }
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }

    #[inline(always)]
    fn copy_sign(self, a: Self::F32, sign: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_or_ps(_mm256_and_ps(_mm256_set1_ps(-0.0), sign), _mm256_andnot_ps(_mm256_set1_ps(-0.0), a)) }
    }

    #[inline(always)]
    fn times_power(self, a: Self::F32, n: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn select_less(self, a: Self::F32, b: Self::F32, then: Self::F32, otherwise: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
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
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps::<1>(vector));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that 32 bytes can be read.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_int(self, value: Self::Int, to: *mut u8) {
        // SAFETY: `self` proves the features; the caller promises that 32 bytes can be written.
        unsafe { _mm256_storeu_si256(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that eight bytes can be read.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const u8) -> Self::Int {
        // SAFETY: `self` proves the features; the caller promises that eight bytes can be read.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_i8(self, value: Self::Int, to: *mut i8) {
        // SAFETY: `self` proves the features; the caller promises that eight bytes can be written.
        unsafe {
            let words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
        }
    }

    #[inline(always)]
    unsafe fn store_i16(self, value: Self::Int, to: *mut i16) {
        // SAFETY: `self` proves the features; the caller promises that eight numbers can be written.
        unsafe {
            let packed = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storeu_si128(to.cast(), packed);
        }
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    fn and(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn or(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn add_i32(self, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn shift_right(self, a: Self::Int, count: u32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(count.cast_signed())) }
    }

    #[inline(always)]
    fn shift_left(self, a: Self::Int, count: u32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(count.cast_signed())) }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], indices: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features; the table has the sixteen bytes that are read.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), indices) }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sums, a, b);
            }
            // Two products of seven bits and eight fit into 16 bits, of eight and eight they would not: the top bit of
            // `a` is multiplied apart.
            let ones = _mm256_set1_epi16(1);
            let top = _mm256_set1_epi8(i8::MIN);
            let low = _mm256_maddubs_epi16(_mm256_andnot_si256(top, a), b);
            let high = _mm256_maddubs_epi16(_mm256_and_si256(top, a), b);
            let products = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
            _mm256_add_epi32(sums, products)
        }
    }

    #[inline(always)]
    fn dot_seven_bits(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        if VNNI {
            return self.dot(sums, a, b);
        }
        // SAFETY: `self` proves the features.
        unsafe {
            let products = _mm256_maddubs_epi16(a, b);
            _mm256_add_epi32(sums, _mm256_madd_epi16(products, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe {
            if VNNI { _mm256_dpwssd_avx_epi32(sums, a, b) } else { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
        }
    }

    #[inline(always)]
    fn to_f32(self, a: Self::Int) -> Self::F32 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    fn to_i32(self, a: Self::F32) -> Self::Int {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_cvtps_epi32(a) }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Adds the upper half of the lanes to the lower.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold(vector: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps::<1>(vector))
}

/// A mask whose first `len` lanes are on, all of them from eight.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn mask(len: usize) -> __m256i {
    const STEPS: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: the read starts at most eight before the end of the sixteen.
    unsafe { _mm256_loadu_si256(STEPS.as_ptr().add(LANES - len.min(LANES)).cast()) }
}
