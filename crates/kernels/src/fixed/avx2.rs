//! Codes in vectors of 8 elements: AVX2, with VPDPWSSD where the CPU has AVX-VNNI.

use super::codes::Codes;
use pulp::cast;
use pulp::x86::V3;
use pulp::{f32x8, i32x8};
use std::arch::asm;
use std::arch::x86_64::__m256i;

/// Proof that the CPU has AVX2, and AVX-VNNI if so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>(V3);

impl<const VNNI: bool> Avx2<VNNI> {
    pub(super) fn find() -> Option<Self> {
        let found = !VNNI || is_x86_feature_detected!("avxvnni");
        V3::try_new().filter(|_| found).map(Self)
    }
}

/// The upper halves of elements.
const UPPER: i32 = 0b1010_1010;

impl<const VNNI: bool> Codes for Avx2<VNNI> {
    type Simd = V3;
    /// What unsigned numbers are multiplied with.
    type Point = i32x8;

    #[inline(always)]
    fn simd(self) -> V3 {
        self.0
    }

    #[inline(always)]
    fn round(self, x: f32x8) -> i32x8 {
        cast(self.0.avx._mm256_cvtps_epi32(cast(x)))
    }

    #[inline(always)]
    fn floats(self, x: i32x8) -> f32x8 {
        cast(self.0.avx._mm256_cvtepi32_ps(cast(x)))
    }

    #[inline(always)]
    fn splat(self, code: u16) -> i32x8 {
        cast(self.0.avx._mm256_set1_epi16(code.cast_signed()))
    }

    #[inline(always)]
    fn add_products(self, sums: i32x8, a: i32x8, b: i32x8) -> i32x8 {
        if VNNI {
            // SAFETY: `find` has found the features that the function enables.
            #[allow(unsafe_code, reason = "an instruction that pulp's levels do not have")]
            return cast(unsafe { add_products(cast(sums), cast(a), cast(b)) });
        }
        let products = self.0.avx2._mm256_madd_epi16(cast(a), cast(b));
        cast(self.0.avx2._mm256_add_epi32(cast(sums), products))
    }

    #[inline(always)]
    fn pair_lower(self, low: i32x8, high: i32x8) -> i32x8 {
        let high = self.0.avx2._mm256_slli_epi32::<16>(cast(high));
        cast(self.0.avx2._mm256_blend_epi16::<UPPER>(cast(low), high))
    }

    #[inline(always)]
    fn pair_upper(self, low: i32x8, high: i32x8) -> i32x8 {
        let low = self.0.avx2._mm256_srli_epi32::<16>(cast(low));
        cast(self.0.avx2._mm256_blend_epi16::<UPPER>(low, cast(high)))
    }

    #[inline(always)]
    fn narrow(self, first: i32x8, second: i32x8) -> i32x8 {
        // The quarters of both vectors alternate.
        let mixed = self.0.avx2._mm256_packs_epi32(cast(first), cast(second));
        cast(self.0.avx2._mm256_permute4x64_epi64::<0b1101_1000>(mixed))
    }

    #[inline(always)]
    fn upper(self, x: i32x8) -> i32x8 {
        cast(self.0.avx2._mm256_srai_epi32::<16>(cast(x)))
    }

    #[inline(always)]
    fn swap(self, x: i32x8) -> i32x8 {
        let avx2 = self.0.avx2;
        let [up, down] = [avx2._mm256_slli_epi32::<16>(cast(x)), avx2._mm256_srli_epi32::<16>(cast(x))];
        cast(avx2._mm256_or_si256(up, down))
    }

    #[inline(always)]
    fn min(self, a: i32x8, b: i32x8) -> i32x8 {
        cast(self.0.avx2._mm256_min_epi16(cast(a), cast(b)))
    }

    #[inline(always)]
    fn sub(self, a: i32x8, b: i32x8) -> i32x8 {
        cast(self.0.avx2._mm256_sub_epi16(cast(a), cast(b)))
    }

    #[inline(always)]
    fn multiply_upper(self, a: i32x8, b: i32x8) -> i32x8 {
        // SAFETY: `V3` has found the features that the function enables.
        #[allow(unsafe_code, reason = "an instruction that the compiler would replace")]
        cast(unsafe { multiply_upper(cast(a), cast(b)) })
    }

    #[inline(always)]
    fn point(self, bits: i32x8) -> i32x8 {
        // 2^(16 - bits) in both halves: no instruction shifts each half on its own.
        let avx2 = self.0.avx2;
        let one = self.0.avx._mm256_set1_epi32(1 << 16);
        let power = avx2._mm256_srlv_epi32(one, avx2._mm256_srli_epi32::<16>(cast(bits)));
        cast(avx2._mm256_or_si256(power, avx2._mm256_slli_epi32::<16>(power)))
    }

    #[inline(always)]
    fn split(self, x: i32x8, point: i32x8) -> [i32x8; 2] {
        let fraction = self.0.avx2._mm256_mullo_epi16(cast(x), cast(point));
        [cast(fraction), self.multiply_upper(x, point)]
    }

    #[inline(always)]
    fn shift(self, x: i32x8, by: i32x8) -> i32x8 {
        let avx2 = self.0.avx2;
        let zero = self.0.avx._mm256_setzero_si256();
        let [x, by] = [cast(x), cast(by)];
        let low = avx2._mm256_blend_epi16::<UPPER>(x, zero);
        let by_low = avx2._mm256_blend_epi16::<UPPER>(by, zero);
        let by_high = avx2._mm256_srli_epi32::<16>(by);
        // What arrives in the lower half of the second is not used.
        // SAFETY: `V3` has found the features that the function enables.
        #[allow(unsafe_code, reason = "instructions that the compiler would replace")]
        let [low, high] = unsafe { [shift_elements(low, by_low), shift_elements(x, by_high)] };
        cast(avx2._mm256_blend_epi16::<UPPER>(low, high))
    }

    #[inline(always)]
    fn halve(self, x: i32x8) -> i32x8 {
        let zero = self.0.avx._mm256_setzero_si256();
        cast(self.0.avx2._mm256_avg_epu16(cast(x), zero))
    }
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn add_products(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let mut sums = sums;
    // The compiler would split the intrinsic into a product and a sum to shorten chains that are independent here.
    // SAFETY: an instruction of AVX-VNNI, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "{{vex}} vpdpwssd {sums}, {a}, {b}",
            sums = inout(ymm_reg) sums, a = in(ymm_reg) a, b = in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// The upper halves of the products of unsigned 16-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_upper(a: __m256i, b: __m256i) -> __m256i {
    let upper: __m256i;
    // The compiler would widen a factor that stays to 32 bits before a loop, and the other one within.
    // SAFETY: an instruction of AVX2, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpmulhuw {upper}, {a}, {b}",
            upper = lateout(ymm_reg) upper, a = in(ymm_reg) a, b = in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    upper
}

/// Elements of 32 bits shifted to the right, to zero by 32 and more.
#[inline]
#[target_feature(enable = "avx2")]
fn shift_elements(x: __m256i, by: __m256i) -> __m256i {
    let shifted: __m256i;
    // The compiler would compare counts with 32 before the instruction, which does so itself.
    // SAFETY: an instruction of AVX2, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpsrlvd {shifted}, {x}, {by}",
            shifted = lateout(ymm_reg) shifted, x = in(ymm_reg) x, by = in(ymm_reg) by,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    shifted
}
