//! Weights of 16 bits (IEEE half precision), expanded to f32 before they are multiplied.
//!
//! Every f16 is an f32, so products are exactly those of the expanded weights, and half as many bytes come from memory. A
//! packed matrix is expanded a micro-panel at a time, for all panels of tokens of a caller
//! ([`Matrix::multiply`](crate::matrix::Matrix::multiply)); a [GEMV](crate::gemv) some columns at a time.

use crate::Level;

/// Values that are expanded at once: a multiple of the vectors of every level, and of both MR.
pub(crate) const PERIOD: usize = 48;

/// 2^112: the exponent of an f32 that has the bits of an f16 is too small by as much.
const REBIAS: f32 = f32::from_bits((127 + 112) << 23);

/// How f16 is expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// Shifts and a product, which the compiler puts into vectors.
    Portable,
    /// VCVTPH2PS to 8 lanes. Only [`Expansion::of`] constructs it, after checking the CPU.
    #[cfg(target_arch = "x86_64")]
    F16c(F16c),
    /// VCVTPH2PS to 16 lanes, likewise.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512F),
}

/// Proof that the CPU has AVX and F16C.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct F16c(());

/// Proof that the CPU has AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512F(());

impl Expansion {
    /// The fastest one of a level.
    pub(crate) fn of(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        match level {
            Level::Avx512 if is_x86_feature_detected!("avx512f") => return Self::Avx512(Avx512F(())),
            Level::Avx2 if is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c") => {
                return Self::F16c(F16c(()));
            }
            _ => {}
        }
        let _ = level;
        Self::Portable
    }

    /// Expands values and multiplies value `i` with factor `i % PERIOD`.
    ///
    /// # Shapes
    /// - halves: the bits of values
    /// - out: as many
    pub(crate) fn expand(self, halves: &[u16], factors: &[f32; PERIOD], out: &mut [f32]) {
        let ((whole, rest), (out, out_rest)) =
            (halves.as_chunks::<PERIOD>(), out[..halves.len()].as_chunks_mut::<PERIOD>());
        match self {
            Self::Portable => portable(whole, factors, out),
            #[cfg(target_arch = "x86_64")]
            Self::F16c(_) => {
                // SAFETY: an `F16c` exists only where `Expansion::of` found AVX and F16C on this CPU, which are the
                // features that the function enables.
                #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
                unsafe {
                    f16c(whole, factors, out);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => {
                // SAFETY: an `Avx512F` exists only where `Expansion::of` found AVX-512 F on this CPU, the feature
                // that the function enables.
                #[allow(unsafe_code, reason = "as above")]
                unsafe {
                    avx512(whole, factors, out);
                }
            }
        }
        for ((out, half), factor) in out_rest.iter_mut().zip(rest).zip(factors) {
            *out = expanded(*half) * factor;
        }
    }
}

/// The f32 that an f16 is.
#[inline(always)]
fn expanded(half: u16) -> f32 {
    const INFINITE: u32 = 0x7c00;
    let (sign, magnitude) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
    let large = if magnitude >= INFINITE { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits(sign | large | magnitude << 13) * REBIAS
}

fn portable(halves: &[[u16; PERIOD]], factors: &[f32; PERIOD], out: &mut [[f32; PERIOD]]) {
    for (out, halves) in out.iter_mut().zip(halves) {
        for ((out, half), factor) in out.iter_mut().zip(halves).zip(factors) {
            *out = expanded(*half) * factor;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn f16c(halves: &[[u16; PERIOD]], factors: &[f32; PERIOD], out: &mut [[f32; PERIOD]]) {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_storeu_ps,
    };
    const LANES: usize = 8;
    let factors = factors.as_chunks::<LANES>().0;
    for (out, halves) in out.iter_mut().zip(halves) {
        let parts = out.as_chunks_mut::<LANES>().0.iter_mut().zip(halves.as_chunks::<LANES>().0);
        for ((out, halves), factor) in parts.zip(factors) {
            // SAFETY: each is an array of 8 values, 16 or 32 bytes as the instruction reads or writes, unaligned.
            #[allow(unsafe_code, reason = "loads and stores of vectors take pointers")]
            unsafe {
                let values = _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()));
                _mm256_storeu_ps(out.as_mut_ptr(), _mm256_mul_ps(values, _mm256_loadu_ps(factor.as_ptr())));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(halves: &[[u16; PERIOD]], factors: &[f32; PERIOD], out: &mut [[f32; PERIOD]]) {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_storeu_ps,
    };
    const LANES: usize = 16;
    let factors = factors.as_chunks::<LANES>().0;
    for (out, halves) in out.iter_mut().zip(halves) {
        let parts = out.as_chunks_mut::<LANES>().0.iter_mut().zip(halves.as_chunks::<LANES>().0);
        for ((out, halves), factor) in parts.zip(factors) {
            // SAFETY: each is an array of 16 values, 32 or 64 bytes as the instruction reads or writes, unaligned.
            #[allow(unsafe_code, reason = "as above")]
            unsafe {
                let values = _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast()));
                _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mul_ps(values, _mm512_loadu_ps(factor.as_ptr())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    /// All 65536 of them, at every level and by the portable code, at lengths with and without a rest.
    #[test]
    fn values_are_those_of_half_precision() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut factors = [1.0; PERIOD];
        for scaled in [false, true] {
            if scaled {
                factors = std::array::from_fn(|i| 1e-3 * (i as f32 - 20.3));
            }
            for expansion in Level::available().map(Expansion::of).chain([Expansion::Portable]) {
                for length in [all.len(), 48 * 100, 47, 1, 0] {
                    let mut found = vec![0.0; length];
                    expansion.expand(&all[..length], &factors, &mut found);
                    for (i, (half, found)) in all.iter().zip(&found).enumerate() {
                        let expected = f16::from_bits(*half).to_f32() * factors[i % PERIOD];
                        let same = found.to_bits() == expected.to_bits();
                        assert!(same || found.is_nan() && expected.is_nan(), "{expansion:?} {half:#x}");
                    }
                }
            }
        }
    }
}
