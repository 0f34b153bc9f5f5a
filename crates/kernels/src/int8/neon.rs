//! 64-bit ARM: SDOT of four codes, by assembly, as its intrinsics are not stable.

use super::CHAINS;
use crate::Level;
use crate::panel::NR_VECTORS;
use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vcvtq_f32_s32, vdupq_n_s8, vdupq_n_s32, vreinterpretq_s8_s32,
    vreinterpretq_s32_s8,
};
use std::arch::asm;

/// Elements of a vector.
const LANES: usize = 4;

/// Proof that the CPU has the dot product instructions. Only [`Sdot::of`] constructs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sdot(());

impl Sdot {
    pub(super) fn of(level: Level) -> Option<Self> {
        let has = level == Level::Neon && level.is_available();
        (has && std::arch::is_aarch64_feature_detected!("dotprod")).then_some(Self(()))
    }

    #[inline(always)]
    pub(super) fn sums<const R: usize>(
        self,
        weight: &[[f32; R]],
        x: &[f32],
        starts: &[i32; R],
        sums: &mut [f32],
        _ahead: &[f32],
    ) {
        // SAFETY: a `Sdot` exists only where `Sdot::of` found the features that the function enables.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            micro_kernel(weight, x, starts, sums);
        }
    }

    #[inline(always)]
    pub(super) fn sums_of_lines<const R: usize, const LENGTH: usize>(
        self,
        lines: &[[f32; LENGTH]; R],
        offset: usize,
        weights: &[f32],
        sums: &mut [f32],
    ) {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "as above")]
        unsafe {
            sums_of_lines(lines, offset, weights, sums);
        }
    }

    pub(super) fn peak(self, rounds: usize) -> f32 {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "as above")]
        unsafe {
            peak(rounds)
        }
    }
}

/// Independent chains of products in registers.
#[target_feature(enable = "neon,dotprod")]
fn peak(rounds: usize) -> f32 {
    let weight = vdupq_n_s8(std::hint::black_box(1));
    let mut sums = [vdupq_n_s32(std::hint::black_box(0x0102_0301)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = dot::<0>(*sum, vreinterpretq_s8_s32(*sum), weight);
        }
    }
    let mut all = sums[0];
    for sum in &sums[1..] {
        all = dot::<0>(all, vreinterpretq_s8_s32(*sum), weight);
    }
    store(vcvtq_f32_s32(all))[0]
}

/// Rows by fours: as many as a vector of weights has elements. R is a multiple of four on this architecture; other rows
/// would be left out.
#[target_feature(enable = "neon,dotprod")]
fn micro_kernel<const R: usize>(weight: &[[f32; R]], x: &[f32], starts: &[i32; R], sums: &mut [f32]) {
    let rows = x.as_chunks::<LANES>().0.as_chunks::<NR_VECTORS>().0;
    let mut local = [[vdupq_n_s32(0); NR_VECTORS]; R];
    for r in 0..R {
        local[r] = [vdupq_n_s32(starts[r]); NR_VECTORS];
    }
    for (weight, x) in weight.iter().zip(rows) {
        let mut codes = [vdupq_n_s8(0); NR_VECTORS];
        for v in 0..NR_VECTORS {
            codes[v] = load(&x[v]);
        }
        for (four, weight) in local.as_chunks_mut::<LANES>().0.iter_mut().zip(weight.as_chunks::<LANES>().0) {
            let weight = load(weight);
            for v in 0..NR_VECTORS {
                four[0][v] = dot::<0>(four[0][v], codes[v], weight);
                four[1][v] = dot::<1>(four[1][v], codes[v], weight);
                four[2][v] = dot::<2>(four[2][v], codes[v], weight);
                four[3][v] = dot::<3>(four[3][v], codes[v], weight);
            }
        }
    }
    let sums = sums.as_chunks_mut::<LANES>().0.as_chunks_mut::<NR_VECTORS>().0;
    for (sums, local) in sums.iter_mut().zip(&local) {
        for v in 0..NR_VECTORS {
            sums[v] = store(vcvtq_f32_s32(local[v]));
        }
    }
}

/// Each line's element multiplies two vectors of weights.
#[target_feature(enable = "neon,dotprod")]
fn sums_of_lines<const R: usize, const LENGTH: usize>(
    lines: &[[f32; LENGTH]; R],
    offset: usize,
    weights: &[f32],
    sums: &mut [f32],
) {
    let rows = weights.as_chunks::<LANES>().0.as_chunks::<NR_VECTORS>().0;
    let Some((starts, rows)) = rows.split_first() else { return };
    let mut codes = [&lines[0][..0]; R];
    for r in 0..R {
        codes[r] = &lines[r][offset..offset + rows.len()];
    }
    let starts = [vreinterpretq_s32_s8(load(&starts[0])), vreinterpretq_s32_s8(load(&starts[1]))];
    let mut local = [starts; R];
    for (k, weights) in rows.iter().enumerate() {
        let weights = [load(&weights[0]), load(&weights[1])];
        for r in 0..R {
            let codes = load(&[codes[r][k]; LANES]);
            for v in 0..NR_VECTORS {
                local[r][v] = dot::<0>(local[r][v], weights[v], codes);
            }
        }
    }
    let sums = sums.as_chunks_mut::<LANES>().0.as_chunks_mut::<NR_VECTORS>().0;
    for (sums, local) in sums.iter_mut().zip(&local) {
        for v in 0..NR_VECTORS {
            sums[v] = store(vcvtq_f32_s32(local[v]));
        }
    }
}

/// Adds the products of each element of `x` with element `LANE` of `weight`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const LANE: i32>(mut sums: int32x4_t, x: int8x16_t, weight: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is one of those that the function enables; it reads and writes these registers alone.
    #[allow(unsafe_code, reason = "an instruction without a stable intrinsic")]
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {x:v}.16b, {weight:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            x = in(vreg) x,
            weight = in(vreg) weight,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

#[inline]
#[target_feature(enable = "neon")]
fn load(elements: &[f32; LANES]) -> int8x16_t {
    // SAFETY: `[f32; 4]` and `int8x16_t` are both 16 bytes without padding, and any bits are valid.
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    unsafe {
        std::mem::transmute(*elements)
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(floats: float32x4_t) -> [f32; LANES] {
    // SAFETY: `float32x4_t` and `[f32; 4]` are both 16 bytes without padding, and any bits are valid floats.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        std::mem::transmute(floats)
    }
}
