//! VPDPBUSD of 32 codes: 4 rows times 2 planes fill 8 of 16 registers.

use super::super::tile::{ROWS, cut};
use super::{LINE, Plane, vectors};
use crate::scan::Line;
use std::arch::x86_64::{
    __m256i, _mm256_abs_epi8, _mm256_dpbusd_avx_epi32, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_xor_si256,
};

use super::avx2::{load, totals};

/// Codes of a vector.
const LANES: usize = 32;

vectors!(
    #[target_feature(enable = "avx2,avxvnni")]
    lanes: LANES, planes: 2, zero: _mm256_setzero_si256,
    row: load, plane: load, multiply: _mm256_dpbusd_avx_epi32, square: square_of, totals: totals
);

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn square_of(sums: __m256i, codes: &[u8; LANES]) -> __m256i {
    let magnitude = magnitude(codes);
    _mm256_dpbusd_avx_epi32(sums, magnitude, magnitude)
}

/// |code - 128|, at most 127: the same as signed and unsigned bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn magnitude(part: &[u8; LANES]) -> __m256i {
    _mm256_abs_epi8(_mm256_xor_si256(load(part), _mm256_set1_epi8(i8::MIN)))
}
