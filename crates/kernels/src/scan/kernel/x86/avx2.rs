//! AVX2 alone: codes as 16-bit integers, which VPMADDWD multiplies and adds in pairs without saturation.

use super::super::tile::{ROWS, cut};
use super::{LINE, Plane, vectors};
use crate::scan::Line;
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_add_epi32, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_sub_epi16, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

/// Codes of a vector.
const LANES: usize = 16;

vectors!(
    #[target_feature(enable = "avx2")]
    lanes: LANES, planes: 2, zero: _mm256_setzero_si256,
    row: row, plane: plane, multiply: multiply, square: square_of, totals: totals
);

#[inline]
#[target_feature(enable = "avx2")]
fn row(codes: &[u8; LANES]) -> __m256i {
    _mm256_cvtepu8_epi16(load(codes))
}

#[inline]
#[target_feature(enable = "avx2")]
fn plane(codes: &[i8; LANES]) -> __m256i {
    _mm256_cvtepi8_epi16(load(codes))
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply(sums: __m256i, x: __m256i, y: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(x, y))
}

#[inline]
#[target_feature(enable = "avx2")]
fn square_of(sums: __m256i, codes: &[u8; LANES]) -> __m256i {
    let x = _mm256_sub_epi16(row(codes), _mm256_set1_epi16(128));
    multiply(sums, x, x)
}

/// The sum of each vector's lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn totals(sums: &[__m256i], out: &mut [i32]) {
    if let (&[a, b, c, d], [_, _, _, _]) = (sums, &*out) {
        let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        let all = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        out.copy_from_slice(&halves(all));
    } else {
        for (sum, out) in sums.iter().zip(out) {
            *out = halves(*sum).into_iter().fold(0, i32::wrapping_add);
        }
    }
}

/// The sum of a vector's halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn halves(sum: __m256i) -> [i32; 4] {
    let half: __m128i = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    // SAFETY: `__m128i` and `[i32; 4]` are both 16 bytes without padding, and any bits are valid integers.
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    unsafe {
        std::mem::transmute(half)
    }
}

/// `N` bytes as a vector of as many.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load<T: Byte, V: Vector<N>, const N: usize>(bytes: &[T; N]) -> V {
    // SAFETY: `bytes` is N bytes of `u8` or `i8`, and V is an integer vector of N bytes, of which any bits are valid; it is
    // read at any alignment.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        std::ptr::read_unaligned(bytes.as_ptr().cast())
    }
}

/// `u8` or `i8`.
pub(super) trait Byte {}
impl Byte for u8 {}
impl Byte for i8 {}

/// An integer vector of N bytes.
pub(super) trait Vector<const N: usize> {}
impl Vector<16> for __m128i {}
impl Vector<32> for __m256i {}
impl Vector<64> for __m512i {}
