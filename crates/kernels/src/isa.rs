//! Instruction sets: which ones this processor has, and how one kernel is compiled for each of them.
//!
//! A kernel is written once against [`Simd`], a narrow set of vector operations, and compiled for every instruction set;
//! what only one of them can do well is written by hand in that one's file. A value of [`Avx2`] or [`Avx512`] exists only
//! after the processor was asked, so holding one proves the features, and its methods are safe to call.
//!
//! It knows no op. Next: `isa/avx512.rs` for one instruction set, `math.rs` for what is built on top.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

pub(crate) use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512};

use crate::KernelError;

/// An instruction set that this processor has. The payloads prove it: only detection makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Portable code, which the compiler may turn into the target's baseline vectors.
    Scalar,
    /// 256-bit vectors with fused multiply-add and half-precision conversion.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2<false>),
    /// The same with the byte dot product.
    #[cfg(target_arch = "x86_64")]
    AvxVnni(Avx2<true>),
    /// 512-bit vectors with the byte, word and integer dot-product extensions.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The fastest instruction set of this processor.
    pub fn detect() -> Isa {
        Isa::available().pop().unwrap_or(Isa::Scalar)
    }

    /// Every instruction set of this processor, slowest first; [`Isa::Scalar`] is always there.
    pub fn available() -> Vec<Isa> {
        let mut available = vec![Isa::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            available.extend(Avx2::<false>::detect().map(Isa::Avx2));
            available.extend(Avx2::<true>::detect().map(Isa::AvxVnni));
            available.extend(Avx512::detect().map(Isa::Avx512));
        }
        available
    }

    /// The instruction set of that name (`scalar`, `avx2`, `avx512`). `avx2` has the byte dot product where the processor
    /// has it, `avx2-plain` never.
    ///
    /// # Errors
    /// [`KernelError::UnavailableIsa`] when the name is unknown or this processor lacks it.
    pub fn from_name(name: &str) -> Result<Isa, KernelError> {
        let available = Isa::available();
        let plain = name.eq_ignore_ascii_case("avx2").then_some("avx2-plain");
        let find = |name: &str| available.iter().copied().find(|isa| isa.name().eq_ignore_ascii_case(name));
        find(name).or_else(|| plain.and_then(find)).ok_or_else(|| {
            let mut names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            // The name that people know, also where it means the same as the other.
            if let Some(at) = names.iter().position(|name| *name == "avx2-plain").filter(|_| !names.contains(&"avx2")) {
                names.insert(at + 1, "avx2");
            }
            KernelError::UnavailableIsa { name: name.to_owned(), available: names.join(", ") }
        })
    }

    /// The name that [`Isa::from_name`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2-plain",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Isa::Scalar => Scalar.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(isa) => isa.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.vectorize(kernel),
        }
    }
}

/// A computation that is compiled once for each instruction set.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// Does it. Implementations must be `#[inline(always)]`, as must everything they call with `simd`: only code that is
    /// inlined into [`Simd::vectorize`] is compiled with the features of the instruction set.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// No instruction set has more lanes in a vector.
pub(crate) const MOST_LANES: usize = 16;

/// The vector operations that kernels are written in. `F32` holds [`Simd::LANES`] values.
///
/// Everything is one IEEE operation per lane, except [`Simd::mul_add`], which rounds once where the processor fuses it and
/// twice in the scalar set; that, and the width, are why instruction sets differ in the last bits.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of `LANES` f32.
    type F32: Copy;
    /// A vector of integers: `LANES` i32, or `4 * LANES` bytes in quads, as each operation reads it.
    type Int: Copy;
    /// Values in one vector.
    const LANES: usize;
    /// Columns of the widest matrix tile of four rows whose sums stay in registers.
    const TILE_COLUMNS: usize;
    /// Columns of the widest tile of two vectors a column whose sums stay in registers; at most six.
    const PAIR_COLUMNS: usize;
    /// Columns of the widest integer tile of one vector of rows, whose numbers come straight from the weights: three sums a
    /// column stay in registers; at most eight.
    const DIRECT_COLUMNS: usize;
    /// Up to so many rows of activations are multiplied in such tiles, in several passes: LOG.md has what was measured of it.
    const DIRECT_ROWS: usize;

    /// Runs a kernel with the features of this instruction set switched on.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// Every lane holds `value`.
    fn splat(self, value: f32) -> Self::F32;
    /// Reads `LANES` values; no alignment is asked.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::F32;
    /// Reads `LANES` IEEE half-precision values and widens them, exactly.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load_f16(self, from: *const u16) -> Self::F32;
    /// Narrows to IEEE half precision, ties to even, and writes `LANES` values.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` values.
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16);
    /// Writes `LANES` values; no alignment is asked.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` values.
    unsafe fn store(self, value: Self::F32, to: *mut f32);
    /// Reads the first `LANES` values, or all there are with zeros after them.
    fn load_slice(self, from: &[f32]) -> Self::F32;
    /// Writes the first `LANES` values, or as many as there is room for.
    fn store_slice(self, value: Self::F32, to: &mut [f32]);

    /// a + b
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a - b
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a * b
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a / b
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a * b + c
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The larger; `b` when either is not a number.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The smaller; `b` when either is not a number.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The nearest whole number, ties to even, of a magnitude below 2^22.
    fn round(self, a: Self::F32) -> Self::F32;
    /// The magnitude.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// The magnitude of `a` with the sign of `sign`.
    fn copy_sign(self, a: Self::F32, sign: Self::F32) -> Self::F32;
    /// `a` times two to the power of `n`, for whole `n` in -126..=127.
    fn times_power(self, a: Self::F32, n: Self::F32) -> Self::F32;
    /// `then` in the lanes where a < b, else `otherwise` (also where either is not a number).
    fn select_less(self, a: Self::F32, b: Self::F32, then: Self::F32, otherwise: Self::F32) -> Self::F32;
    /// The sum of each of four vectors. Lanes are folded in halves down to four, which add as (0 + 1) + (2 + 3).
    fn sum_each(self, vectors: [Self::F32; 4]) -> [f32; 4];
    /// The sum of one vector, in the order of [`Simd::sum_each`].
    fn sum(self, vector: Self::F32) -> f32;
    /// The largest lane.
    fn max_lane(self, vector: Self::F32) -> f32;

    /// Reads `4 * LANES` bytes; no alignment is asked.
    ///
    /// # Safety
    /// `from` must be valid for reads of `4 * LANES` bytes.
    unsafe fn load_int(self, from: *const u8) -> Self::Int;
    /// Writes `4 * LANES` bytes; no alignment is asked.
    ///
    /// # Safety
    /// `to` must be valid for writes of `4 * LANES` bytes.
    unsafe fn store_int(self, value: Self::Int, to: *mut u8);
    /// Reads `LANES` bytes and widens each to an i32 of the same value.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` bytes.
    unsafe fn load_u8(self, from: *const u8) -> Self::Int;
    /// Reads `LANES` signed bytes and widens each to i32.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` bytes.
    unsafe fn load_i8(self, from: *const u8) -> Self::Int;
    /// Writes each i32, which must lie in -128..=127, as a byte.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` bytes.
    unsafe fn store_i8(self, value: Self::Int, to: *mut i8);
    /// Writes each i32, which must lie in -32768..=32767 for its number to be written, as sixteen bits.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` numbers.
    unsafe fn store_i16(self, value: Self::Int, to: *mut i16);
    /// Every i32 is `value`.
    fn splat_i32(self, value: i32) -> Self::Int;
    /// a & b
    fn and(self, a: Self::Int, b: Self::Int) -> Self::Int;
    /// a ^ b
    fn xor(self, a: Self::Int, b: Self::Int) -> Self::Int;
    /// a | b
    fn or(self, a: Self::Int, b: Self::Int) -> Self::Int;
    /// a + b of each i32, wrapping.
    fn add_i32(self, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Each i32 shifted right by `count` below 32, zeros moving in.
    fn shift_right(self, a: Self::Int, count: u32) -> Self::Int;
    /// Each i32 shifted left by `count` below 32.
    fn shift_left(self, a: Self::Int, count: u32) -> Self::Int;
    /// Each byte, which must be below 16, becomes that entry of the table.
    fn lookup(self, table: &[u8; 16], indices: Self::Int) -> Self::Int;
    /// To each i32 of `sums` the four products of the unsigned bytes of `a` with the signed bytes of `b`; exact, for it
    /// wraps only beyond 32 bits.
    fn dot(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// As [`Simd::dot`], for bytes of `a` below 128 and of `b` above -128: where bytes are multiplied to 16 bits, two such
    /// products fit into them.
    #[inline(always)]
    fn dot_seven_bits(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
        self.dot(sums, a, b)
    }
    /// To each i32 of `sums` the two products of the signed numbers of sixteen bits in `a` and `b`; it wraps beyond 32 bits.
    fn dot_pairs(self, sums: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Each i32 as the nearest f32.
    fn to_f32(self, a: Self::Int) -> Self::F32;
    /// Each f32, a whole number below 2^31 in magnitude, as i32; of others nothing is said.
    fn to_i32(self, a: Self::F32) -> Self::Int;
    /// Asks for the cache line at `at`, soon; any address may be given.
    fn prefetch(self, at: *const u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_the_unknown_is_refused() {
        for isa in Isa::available() {
            assert_eq!(Isa::from_name(&isa.name().to_uppercase()).unwrap(), isa);
        }
        assert_eq!(Isa::available().last(), Some(&Isa::detect()));
        let error = Isa::from_name("mmx").unwrap_err().to_string();
        assert!(error.starts_with("instruction set: expected one of scalar"), "{error}");
        assert!(error.contains("got `mmx`\nhint: "), "{error}");
        // Whatever is offered is taken.
        let offered = error.strip_prefix("instruction set: expected one of ").and_then(|rest| rest.split_once(", got"));
        let offered: Vec<&str> = offered.unwrap().0.split(", ").collect();
        assert!(offered.iter().all(|name| Isa::from_name(name).is_ok()), "{offered:?}");
        assert_eq!(offered.contains(&"avx2"), offered.contains(&"avx2-plain"), "{offered:?}");
    }

    /// Dot products of all pairs of extreme bytes that [`Simd::dot_seven_bits`] takes.
    struct Extremes;

    impl Kernel for Extremes {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let quad = |byte: i8| simd.splat_i32(i32::from_le_bytes([byte as u8; 4]));
            for (a, b) in [(127, 127), (127, -127), (0, -127), (1, 127)] {
                let mut sums = [0i32; MOST_LANES];
                let dots = simd.dot_seven_bits(simd.splat_i32(5), quad(a), quad(b));
                // SAFETY: there is room for the widest vector.
                unsafe { simd.store_int(dots, sums.as_mut_ptr().cast()) };
                let expected = 5 + 4 * i32::from(a) * i32::from(b);
                assert!(sums[..S::LANES].iter().all(|&sum| sum == expected), "{a} {b}: {sums:?}");
            }
        }
    }

    /// Dot products of pairs of extreme numbers, and the storing of such.
    struct ExtremePairs;

    impl Kernel for ExtremePairs {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let ends = [i16::MIN, -1, 0, 1, 255, 256, i16::MAX];
            for (a, b) in ends.into_iter().flat_map(|a| ends.map(|b| (a, b))) {
                let mut sums = [0i32; MOST_LANES];
                let pair = |low: i16, high: i16| simd.splat_i32(i32::from(low) & 0xffff | i32::from(high) << 16);
                let dots = simd.dot_pairs(simd.splat_i32(5), pair(a, b), pair(b, a));
                // SAFETY: there is room for the widest vector.
                unsafe { simd.store_int(dots, sums.as_mut_ptr().cast()) };
                let product = i32::from(a) * i32::from(b);
                let expected = product.wrapping_add(product).wrapping_add(5);
                assert!(sums[..S::LANES].iter().all(|&sum| sum == expected), "{a} {b}: {sums:?}");
                let mut stored = [7i16; MOST_LANES + 1];
                // SAFETY: as above.
                unsafe { simd.store_i16(simd.splat_i32(i32::from(a)), stored.as_mut_ptr()) };
                assert!(stored[..S::LANES].iter().all(|&one| one == a), "{a}: {stored:?}");
                assert!(stored[S::LANES..].iter().all(|&one| one == 7), "{a}: {stored:?}");
            }
        }
    }

    #[test]
    fn products_of_sixteen_bits_are_exact_to_their_ends() {
        for isa in Isa::available() {
            isa.run(ExtremePairs);
        }
    }

    #[test]
    fn products_of_seven_bits_are_exact_to_their_ends() {
        for isa in Isa::available() {
            isa.run(Extremes);
        }
    }

    struct SumEach(Vec<f32>);

    impl Kernel for SumEach {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let vectors: [S::F32; 4] = std::array::from_fn(|i| simd.load_slice(&self.0[i * S::LANES..]));
            let together = simd.sum_each(vectors);
            for (i, vector) in vectors.into_iter().enumerate() {
                assert_eq!(simd.sum(vector).to_bits(), together[i].to_bits());
            }
        }
    }

    #[test]
    fn four_sums_at_once_equal_each_alone_bit_for_bit() {
        let values = crate::reference::testing::values(4 * MOST_LANES, 1, 1e3);
        for isa in Isa::available() {
            isa.run(SumEach(values.clone()));
        }
    }
}
