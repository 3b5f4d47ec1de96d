//! The portable instruction set: four lanes in an array, which compilers turn into baseline vectors.
//!
//! It is what every other processor runs and what the faster sets are compared with. It never fuses a multiply-add: without
//! hardware for it that is a library call per element.

use super::{Kernel, Simd};

/// Portable code; always available.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

const LANES: usize = 4;

/// 1.5 * 2^23: adding it leaves no bits for a fraction, so the sum is rounded to a whole number, ties to even.
const MAGIC: f32 = 12_582_912.0;

/// Applies `f` lane by lane.
#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    [f(0), f(1), f(2), f(3)]
}

impl Simd for Scalar {
    type F32 = [f32; LANES];
    type Int = [i32; LANES];
    const LANES: usize = LANES;
    const TILE_COLUMNS: usize = 2;
    const PAIR_COLUMNS: usize = 2;
    const DIRECT_COLUMNS: usize = 4;
    const DIRECT_ROWS: usize = 4;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: the caller promises that four values can be read; the read asks no alignment.
        unsafe { from.cast::<Self::F32>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> Self::F32 {
        // SAFETY: the caller promises that four values can be read; the read asks no alignment.
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        lanes(|lane| half::f16::from_bits(bits[lane]).to_f32())
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16) {
        let halves = value.map(|value| half::f16::from_f32(value).to_bits());
        // SAFETY: the caller promises that four values can be written; the write asks no alignment.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(halves) }
    }

    #[inline(always)]
    unsafe fn store(self, value: Self::F32, to: *mut f32) {
        // SAFETY: the caller promises that four values can be written; the write asks no alignment.
        unsafe { to.cast::<Self::F32>().write_unaligned(value) }
    }

    #[inline(always)]
    fn load_slice(self, from: &[f32]) -> Self::F32 {
        let mut vector = [0.0; LANES];
        for (lane, &value) in vector.iter_mut().zip(from) {
            *lane = value;
        }
        vector
    }

    #[inline(always)]
    fn store_slice(self, value: Self::F32, to: &mut [f32]) {
        for (to, lane) in to.iter_mut().zip(value) {
            *to = lane;
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn round(self, a: Self::F32) -> Self::F32 {
        lanes(|lane| (a[lane] + MAGIC) - MAGIC)
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane].abs())
    }

    #[inline(always)]
    fn copy_sign(self, a: Self::F32, sign: Self::F32) -> Self::F32 {
        lanes(|lane| a[lane].copysign(sign[lane]))
    }

    #[inline(always)]
    fn times_power(self, a: Self::F32, n: Self::F32) -> Self::F32 {
        // The whole number stands in the low bits of the mantissa; shifted up it is the exponent.
        lanes(|lane| a[lane] * f32::from_bits((n[lane] + MAGIC).to_bits().wrapping_add(127) << 23))
    }

    #[inline(always)]
    fn select_less(self, a: Self::F32, b: Self::F32, then: Self::F32, otherwise: Self::F32) -> Self::F32 {
        lanes(|lane| if a[lane] < b[lane] { then[lane] } else { otherwise[lane] })
    }

    #[inline(always)]
    fn sum_each(self, vectors: [Self::F32; 4]) -> [f32; 4] {
        vectors.map(|vector| self.sum(vector))
    }

    #[inline(always)]
    fn sum(self, vector: Self::F32) -> f32 {
        (vector[0] + vector[1]) + (vector[2] + vector[3])
    }

    #[inline(always)]
    fn max_lane(self, vector: Self::F32) -> f32 {
        vector[0].max(vector[1]).max(vector[2].max(vector[3]))
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const u8) -> Self::Int {
        // SAFETY: the caller promises that sixteen bytes can be read; the read asks no alignment.
        unsafe { from.cast::<Self::Int>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_int(self, value: Self::Int, to: *mut u8) {
        // SAFETY: the caller promises that sixteen bytes can be written; the write asks no alignment.
        unsafe { to.cast::<Self::Int>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::Int {
        // SAFETY: the caller promises that four bytes can be read.
        unsafe { from.cast::<[u8; LANES]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const u8) -> Self::Int {
        // SAFETY: the caller promises that four bytes can be read.
        unsafe { from.cast::<[i8; LANES]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn store_i8(self, value: Self::Int, to: *mut i8) {
        // SAFETY: the caller promises that four bytes can be written.
        unsafe { to.cast::<[i8; LANES]>().write(value.map(|lane| lane as i8)) }
    }

    #[inline(always)]
    unsafe fn store_i16(self, value: Self::Int, to: *mut i16) {
        // SAFETY: the caller promises that four numbers can be written; the write asks no alignment.
        unsafe { to.cast::<[i16; LANES]>().write_unaligned(value.map(|lane| lane as i16)) }
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::Int {
        [value; LANES]
    }

    #[inline(always)]
    fn and(self, a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| a[lane] & b[lane])
    }

    #[inline(always)]
    fn xor(self, a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| a[lane] ^ b[lane])
    }

    #[inline(always)]
    fn or(self, a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| a[lane] | b[lane])
    }

    #[inline(always)]
    fn add_i32(self, a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }

    #[inline(always)]
    fn shift_right(self, a: Self::Int, count: u32) -> Self::Int {
        a.map(|lane| (lane.cast_unsigned() >> count).cast_signed())
    }

    #[inline(always)]
    fn shift_left(self, a: Self::Int, count: u32) -> Self::Int {
        a.map(|lane| lane << count)
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], indices: Self::Int) -> Self::Int {
        indices.map(|lane| i32::from_le_bytes(lane.to_le_bytes().map(|index| table[usize::from(index & 15)])))
    }

    #[inline(always)]
    fn dot(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|lane| {
            let products = a[lane].to_le_bytes().into_iter().zip(b[lane].to_le_bytes());
            products.fold(sums[lane], |sum, (a, b)| sum.wrapping_add(i32::from(a) * i32::from(b.cast_signed())))
        })
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        let pair = |lane: i32| [lane as i16, (lane >> 16) as i16].map(i32::from);
        std::array::from_fn(|lane| {
            let (a, b) = (pair(a[lane]), pair(b[lane]));
            sums[lane].wrapping_add(a[0] * b[0]).wrapping_add(a[1] * b[1])
        })
    }

    #[inline(always)]
    fn to_f32(self, a: Self::Int) -> Self::F32 {
        a.map(|lane| lane as f32)
    }

    #[inline(always)]
    fn to_i32(self, a: Self::F32) -> Self::Int {
        a.map(|lane| lane as i32)
    }

    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
}
