//! Codes in vectors of 16 elements: AVX-512 F, BW and VNNI.

use super::codes::Codes;
use pulp::cast;
use pulp::x86::V4;
use pulp::{f32x16, i32x16};
use std::arch::asm;
use std::arch::x86_64::{__m512i, __mmask64};

/// Proof that the CPU has AVX-512 F, BW, CD, DQ, VL and VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(V4);

impl Avx512 {
    pub(super) fn find() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512vnni");
        V4::try_new().filter(|_| found).map(Self)
    }
}

impl Codes for Avx512 {
    type Simd = V4;
    /// Fractional bits, and how far they are from the top of 16 bits.
    type Point = [i32x16; 2];

    #[inline(always)]
    fn simd(self) -> V4 {
        self.0
    }

    #[inline(always)]
    fn round(self, x: f32x16) -> i32x16 {
        cast(self.0.avx512f._mm512_cvtps_epi32(cast(x)))
    }

    #[inline(always)]
    fn floats(self, x: i32x16) -> f32x16 {
        cast(self.0.avx512f._mm512_cvtepi32_ps(cast(x)))
    }

    #[inline(always)]
    fn splat(self, code: u16) -> i32x16 {
        cast(self.0.avx512f._mm512_set1_epi16(code.cast_signed()))
    }

    #[inline(always)]
    fn add_products(self, sums: i32x16, a: i32x16, b: i32x16) -> i32x16 {
        // SAFETY: `find` has found the features that the function enables.
        #[allow(unsafe_code, reason = "an instruction that pulp's levels do not have")]
        cast(unsafe { add_products(cast(sums), cast(a), cast(b)) })
    }

    #[inline(always)]
    fn pair_lower(self, low: i32x16, high: i32x16) -> i32x16 {
        // Byte j + 14 of a pair of equal 128-bit lanes is byte j - 2 of one.
        let (low, high) = (cast(low), cast(high));
        cast(self.0.avx512bw._mm512_mask_alignr_epi8::<14>(low, 0xcccc_cccc_cccc_cccc, high, high))
    }

    #[inline(always)]
    fn pair_upper(self, low: i32x16, high: i32x16) -> i32x16 {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "as above")]
        cast(unsafe { pair_upper(cast(low), cast(high)) })
    }

    #[inline(always)]
    fn narrow(self, first: i32x16, second: i32x16) -> i32x16 {
        let [first, second] = [first, second].map(|x| self.0.avx512f._mm512_cvtepi32_epi16(cast(x)));
        let first = self.0.avx512f._mm512_castsi256_si512(first);
        cast(self.0.avx512f._mm512_inserti64x4::<1>(first, second))
    }

    #[inline(always)]
    fn upper(self, x: i32x16) -> i32x16 {
        cast(self.0.avx512f._mm512_srai_epi32::<16>(cast(x)))
    }

    #[inline(always)]
    fn swap(self, x: i32x16) -> i32x16 {
        cast(self.0.avx512f._mm512_rol_epi32::<16>(cast(x)))
    }

    #[inline(always)]
    fn min(self, a: i32x16, b: i32x16) -> i32x16 {
        cast(self.0.avx512bw._mm512_min_epi16(cast(a), cast(b)))
    }

    #[inline(always)]
    fn sub(self, a: i32x16, b: i32x16) -> i32x16 {
        cast(self.0.avx512bw._mm512_sub_epi16(cast(a), cast(b)))
    }

    #[inline(always)]
    fn multiply_upper(self, a: i32x16, b: i32x16) -> i32x16 {
        cast(self.0.avx512bw._mm512_mulhi_epu16(cast(a), cast(b)))
    }

    #[inline(always)]
    fn point(self, bits: i32x16) -> [i32x16; 2] {
        [bits, self.sub(self.splat(16), bits)]
    }

    #[inline(always)]
    fn split(self, x: i32x16, [bits, rest]: [i32x16; 2]) -> [i32x16; 2] {
        let x = cast(x);
        let fraction = self.0.avx512bw._mm512_sllv_epi16(x, cast(rest));
        [cast(fraction), cast(self.0.avx512bw._mm512_srlv_epi16(x, cast(bits)))]
    }

    #[inline(always)]
    fn shift(self, x: i32x16, by: i32x16) -> i32x16 {
        cast(self.0.avx512bw._mm512_srlv_epi16(cast(x), cast(by)))
    }

    #[inline(always)]
    fn halve(self, x: i32x16) -> i32x16 {
        let zero = self.0.avx512f._mm512_setzero_si512();
        cast(self.0.avx512bw._mm512_avg_epu16(cast(x), zero))
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pair_upper(low: __m512i, high: __m512i) -> __m512i {
    let (mask, mut both): (__mmask64, _) = (0x3333_3333_3333_3333, high);
    // The compiler would turn the intrinsic into a permutation of words from two vectors, three times as slow on some CPUs.
    // SAFETY: an instruction of AVX-512 BW, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpalignr {both} {{{mask}}}, {low}, {low}, 2",
            both = inout(zmm_reg) both, mask = in(kreg) mask, low = in(zmm_reg) low,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    both
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_products(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let mut sums = sums;
    // The compiler would split the intrinsic into a product and a sum to shorten chains that are independent here.
    // SAFETY: an instruction of AVX-512 VNNI, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpdpwssd {sums}, {a}, {b}",
            sums = inout(zmm_reg) sums, a = in(zmm_reg) a, b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
