//! VPDPBUSD of 64 codes: 4 rows times 4 planes fill 16 of 32 registers.

use super::super::tile::{ROWS, cut};
use super::avx2::{halves, load};
use super::{LINE, Plane, vectors};
use crate::scan::Line;
use std::arch::x86_64::{
    __m512i, _mm256_add_epi32, _mm512_abs_epi8, _mm512_add_epi32, _mm512_castsi512_si256,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

vectors!(
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    lanes: LINE, planes: 4, zero: _mm512_setzero_si512,
    row: load, plane: load, multiply: _mm512_dpbusd_epi32, square: square_of, totals: totals
);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn square_of(sums: __m512i, codes: &[u8; LINE]) -> __m512i {
    let magnitude = magnitude(codes);
    _mm512_dpbusd_epi32(sums, magnitude, magnitude)
}

/// |code - 128|, at most 127: the same as signed and unsigned bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn magnitude(line: &[u8; LINE]) -> __m512i {
    _mm512_abs_epi8(_mm512_xor_si512(load(line), _mm512_set1_epi8(i8::MIN)))
}

/// The sum of each vector's lanes.
#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn totals(sums: &[__m512i], out: &mut [i32]) {
    if let (&[a, b, c, d], [_, _, _, _]) = (sums, &*out) {
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        out.copy_from_slice(&halves(_mm256_add_epi32(
            _mm512_castsi512_si256(all),
            _mm512_extracti64x4_epi64::<1>(all),
        )));
    } else {
        for (sum, out) in sums.iter().zip(out) {
            *out = _mm512_reduce_add_epi32(*sum);
        }
    }
}
