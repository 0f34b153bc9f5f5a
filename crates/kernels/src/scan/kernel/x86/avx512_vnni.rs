//! VPDPBUSD of 64 codes: 4 rows times 4 planes fill 16 of 32 registers.

use super::super::tiled;
use super::{LINE, Plane, ROWS};
use crate::scan::Line;
use std::arch::x86_64::{
    __m512i, _mm_add_epi32, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm512_abs_epi8, _mm512_add_epi32, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};

tiled!(
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    tile, square, planes: 4, biased: true
);

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn tile<const R: usize, const Q: usize>(rows: [&[[u8; LINE]]; R], planes: [&[Line<i8>]; Q]) -> [[i32; R]; Q] {
    let lines = rows[0].len();
    let (rows, planes) = (rows.map(|row| &row[..lines]), planes.map(|plane| &plane[..lines]));
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
        if let ([out @ ..], [a, b, c, d]) = (out.as_mut_slice(), sums.as_slice()) {
            out.copy_from_slice(&totals([*a, *b, *c, *d]));
        } else {
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = _mm512_reduce_add_epi32(*sum);
            }
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn square(row: &[[u8; LINE]]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); 2];
    let (pairs, rest) = row.as_chunks::<2>();
    for pair in pairs {
        for (sum, line) in sums.iter_mut().zip(pair) {
            let magnitude = magnitude(line);
            *sum = _mm512_dpbusd_epi32(*sum, magnitude, magnitude);
        }
    }
    for line in rest {
        let magnitude = magnitude(line);
        sums[0] = _mm512_dpbusd_epi32(sums[0], magnitude, magnitude);
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
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
fn totals([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let quarter = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    // SAFETY: `__m128i` and `[i32; 4]` are both 16 bytes without padding, and any bits are valid integers.
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    unsafe {
        std::mem::transmute(quarter)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T: Byte>(line: &[T; LINE]) -> __m512i {
    // SAFETY: `line` is 64 bytes of `u8` or `i8`, which is what is read, at any alignment; any bits are a valid `__m512i`.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        std::ptr::read_unaligned(line.as_ptr().cast())
    }
}

/// `u8` or `i8`.
trait Byte {}
impl Byte for u8 {}
impl Byte for i8 {}
