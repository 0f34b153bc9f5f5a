//! VPDPBUSD of 64 codes: 4 rows times 4 planes fill 16 of 32 registers.

use super::super::tile::{ROWS, cut, tiled};
use super::avx2::{halves, load};
use super::{LINE, Plane};
use crate::scan::Line;
use std::arch::x86_64::{
    __m512i, _mm256_add_epi32, _mm512_abs_epi8, _mm512_add_epi32, _mm512_castsi512_si256,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

tiled!(
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    tile, square, planes: 4, biased: true
);

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn tile<const R: usize, const Q: usize>(rows: [&[[u8; LINE]]; R], planes: [&[Line<i8>]; Q]) -> [[i32; R]; Q] {
    let lines = rows[0].len();
    let (rows, planes) = (cut(rows, lines), cut(planes, lines));
    let mut sums = [[_mm512_setzero_si512(); R]; Q];
    for line in 0..lines {
        let mut x = [_mm512_setzero_si512(); R];
        for r in 0..R {
            x[r] = load(&rows[r][line]);
        }
        for q in 0..Q {
            let y = load(&planes[q][line].0);
            for r in 0..R {
                sums[q][r] = _mm512_dpbusd_epi32(sums[q][r], x[r], y);
            }
        }
    }
    let mut out = [[0; R]; Q];
    for (out, sums) in out.iter_mut().zip(&sums) {
        totals(sums, out);
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn square<const R: usize>(rows: [&[[u8; LINE]]; R]) -> [i32; R] {
    let lines = rows[0].len();
    let rows = cut(rows, lines);
    let mut sums = [_mm512_setzero_si512(); R];
    for line in 0..lines {
        for r in 0..R {
            let magnitude = magnitude(&rows[r][line]);
            sums[r] = _mm512_dpbusd_epi32(sums[r], magnitude, magnitude);
        }
    }
    let mut out = [0; R];
    totals(&sums, &mut out);
    out
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
