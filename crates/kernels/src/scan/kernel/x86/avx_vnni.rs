//! VPDPBUSD of 32 codes: 4 rows times 2 planes fill 8 of 16 registers.

use super::super::tile::{ROWS, cut, tiled};
use super::{LINE, Plane};
use crate::scan::Line;
use std::arch::x86_64::{
    __m256i, _mm256_abs_epi8, _mm256_dpbusd_avx_epi32, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_xor_si256,
};

use super::avx2::{load, totals};

/// Codes of a vector.
const LANES: usize = 32;

tiled!(
    #[target_feature(enable = "avx2,avxvnni")]
    tile, square, planes: 2, biased: true
);

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn tile<const R: usize, const Q: usize>(rows: [&[[u8; LINE]]; R], planes: [&[Line<i8>]; Q]) -> [[i32; R]; Q] {
    let lines = rows[0].len();
    let (rows, planes) = (cut(rows, lines), cut(planes, lines));
    let mut sums = [[_mm256_setzero_si256(); R]; Q];
    for line in 0..lines {
        for part in 0..LINE / LANES {
            let mut x = [_mm256_setzero_si256(); R];
            for r in 0..R {
                x[r] = load(&rows[r][line].as_chunks::<LANES>().0[part]);
            }
            for q in 0..Q {
                let y = load(&planes[q][line].0.as_chunks::<LANES>().0[part]);
                for r in 0..R {
                    sums[q][r] = _mm256_dpbusd_avx_epi32(sums[q][r], x[r], y);
                }
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
#[target_feature(enable = "avx2,avxvnni")]
fn square<const R: usize>(rows: [&[[u8; LINE]]; R]) -> [i32; R] {
    let lines = rows[0].len();
    let rows = cut(rows, lines);
    let mut sums = [_mm256_setzero_si256(); R];
    for line in 0..lines {
        for r in 0..R {
            for part in rows[r][line].as_chunks::<LANES>().0 {
                let magnitude = magnitude(part);
                sums[r] = _mm256_dpbusd_avx_epi32(sums[r], magnitude, magnitude);
            }
        }
    }
    let mut out = [0; R];
    totals(&sums, &mut out);
    out
}

/// |code - 128|, at most 127: the same as signed and unsigned bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn magnitude(part: &[u8; LANES]) -> __m256i {
    _mm256_abs_epi8(_mm256_xor_si256(load(part), _mm256_set1_epi8(i8::MIN)))
}
