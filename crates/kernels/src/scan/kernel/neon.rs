//! 64-bit ARM: widening multiplies and pairwise sums. Its dot product instructions have no stable intrinsics yet.

use super::LINE;
use super::tile::{ROWS, cut, tiled};
use crate::scan::Line;
use crate::scan::query::Plane;
use std::arch::aarch64::{
    int8x16_t, vaddvq_s32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_low_s8, vmlal_high_s8,
    vmull_high_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8,
};

/// Codes of a vector.
const LANES: usize = 16;

tiled!(
    #[target_feature(enable = "neon")]
    tile, square, planes: 4, biased: false
);

#[inline]
#[target_feature(enable = "neon")]
fn tile<const R: usize, const Q: usize>(rows: [&[[u8; LINE]]; R], planes: [&[Line<i8>]; Q]) -> [[i32; R]; Q] {
    let lines = rows[0].len();
    let (rows, planes) = (cut(rows, lines), cut(planes, lines));
    let mut sums = [[vdupq_n_s32(0); R]; Q];
    for line in 0..lines {
        for part in 0..LINE / LANES {
            let mut x = [vdupq_n_s8(0); R];
            for r in 0..R {
                x[r] = signed(&rows[r][line].as_chunks::<LANES>().0[part]);
            }
            for q in 0..Q {
                let y = load(&planes[q][line].0.as_chunks::<LANES>().0[part]);
                for r in 0..R {
                    // Two products of at most 128 * 127 fit an i16.
                    let low = vmull_s8(vget_low_s8(x[r]), vget_low_s8(y));
                    sums[q][r] = vpadalq_s16(sums[q][r], vmlal_high_s8(low, x[r], y));
                }
            }
        }
    }
    let mut out = [[0; R]; Q];
    for q in 0..Q {
        for r in 0..R {
            out[q][r] = vaddvq_s32(sums[q][r]);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "neon")]
fn square<const R: usize>(rows: [&[[u8; LINE]]; R]) -> [i32; R] {
    let lines = rows[0].len();
    let rows = cut(rows, lines);
    let mut sums = [vdupq_n_s32(0); R];
    for line in 0..lines {
        for r in 0..R {
            for part in rows[r][line].as_chunks::<LANES>().0 {
                let x = signed(part);
                sums[r] = vpadalq_s16(sums[r], vmull_s8(vget_low_s8(x), vget_low_s8(x)));
                sums[r] = vpadalq_s16(sums[r], vmull_high_s8(x, x));
            }
        }
    }
    let mut out = [0; R];
    for r in 0..R {
        out[r] = vaddvq_s32(sums[r]);
    }
    out
}

/// Codes without their offset.
#[inline]
#[target_feature(enable = "neon")]
fn signed(codes: &[u8; LANES]) -> int8x16_t {
    // SAFETY: `[u8; 16]` and `uint8x16_t` are both 16 bytes without padding, and any bits are valid.
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    let codes = unsafe { std::mem::transmute::<[u8; LANES], std::arch::aarch64::uint8x16_t>(*codes) };
    vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(codes: &[i8; LANES]) -> int8x16_t {
    // SAFETY: `[i8; 16]` and `int8x16_t` are both 16 bytes without padding, and any bits are valid.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        std::mem::transmute(*codes)
    }
}
