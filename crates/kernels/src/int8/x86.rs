//! x86-64: VPDPBUSD of 16 elements (AVX-512 VNNI) or 8 (AVX-VNNI), and VPMADDWD of 16-bit codes where the CPU has neither.
//! VPDPWSSD multiplies 16-bit codes where 8 bits are too few.
//!
//! VPMADDUBSW is of no use here: its 16-bit sums of two products saturate.

use super::CHAINS;
use crate::Level;
use crate::panel::NR_VECTORS;
use crate::prefetch::{LINE, prefetch};
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32,
    _mm256_dpwssd_avx_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_dpwssd_epi32, _mm512_set1_epi32,
};

/// Instructions that this CPU has been found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Avx512Vnni,
    AvxVnni,
    Avx512Vnni16,
    AvxVnni16,
    Avx2,
}

impl Instruction {
    /// Those of a level, the best one first. 512-bit vectors without VNNI are not faster than in f32.
    pub(super) fn available(level: Level) -> Vec<Self> {
        let kinds: &[Kind] = match level {
            Level::Avx512 => &[Kind::Avx512Vnni],
            Level::Avx2 => &[Kind::AvxVnni, Kind::Avx2],
            _ => &[],
        };
        let here = kinds.iter().filter(|kind| level.is_available() && kind.is_available());
        here.copied().map(Self).collect()
    }

    /// That of 16-bit codes beside this one.
    pub(super) fn wide(self) -> Self {
        Self(match self.0 {
            Kind::Avx512Vnni | Kind::Avx512Vnni16 => Kind::Avx512Vnni16,
            Kind::AvxVnni | Kind::AvxVnni16 => Kind::AvxVnni16,
            Kind::Avx2 => Kind::Avx2,
        })
    }

    pub(super) fn values(self) -> usize {
        if self.is_biased() { 4 } else { 2 }
    }

    pub(super) fn is_biased(self) -> bool {
        matches!(self.0, Kind::Avx512Vnni | Kind::AvxVnni)
    }

    #[inline(always)]
    pub(super) fn sums<const R: usize>(
        self,
        weight: &[[f32; R]],
        x: &[f32],
        starts: &[i32; R],
        sums: &mut [f32],
        ahead: &[f32],
    ) {
        // SAFETY: an `Instruction` is constructed only where `Kind::is_available` found the features that the function
        // enables.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            match self.0 {
                Kind::Avx512Vnni => avx512_vnni::sums(weight, x, starts, sums, ahead),
                Kind::AvxVnni => avx_vnni::sums(weight, x, starts, sums, ahead),
                Kind::Avx512Vnni16 => avx512_vnni_16::sums(weight, x, starts, sums, ahead),
                Kind::AvxVnni16 => avx_vnni_16::sums(weight, x, starts, sums, ahead),
                Kind::Avx2 => avx2::sums(weight, x, starts, sums, ahead),
            }
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
            match self.0 {
                Kind::Avx512Vnni => avx512_vnni::sums_of_lines(lines, offset, weights, sums),
                Kind::AvxVnni => avx_vnni::sums_of_lines(lines, offset, weights, sums),
                Kind::Avx512Vnni16 => avx512_vnni_16::sums_of_lines(lines, offset, weights, sums),
                Kind::AvxVnni16 => avx_vnni_16::sums_of_lines(lines, offset, weights, sums),
                Kind::Avx2 => avx2::sums_of_lines(lines, offset, weights, sums),
            }
        }
    }

    pub(super) fn peak(self, rounds: usize) -> f32 {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "as above")]
        unsafe {
            match self.0 {
                Kind::Avx512Vnni => avx512_vnni::peak(rounds),
                Kind::AvxVnni => avx_vnni::peak(rounds),
                Kind::Avx512Vnni16 => avx512_vnni_16::peak(rounds),
                Kind::AvxVnni16 => avx_vnni_16::peak(rounds),
                Kind::Avx2 => avx2::peak(rounds),
            }
        }
    }
}

impl Kind {
    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2");
        match self {
            Self::Avx2 => avx2,
            Self::AvxVnni | Self::AvxVnni16 => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx512Vnni | Self::Avx512Vnni16 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
            }
        }
    }
}

/// Defines the micro-kernels with vectors of `$lanes` elements: `$splat` fills one, `$dot` adds the products of an activation's
/// codes with a weight's to sums, `$floats` converts those.
macro_rules! micro_kernels {
    (
        $(#[$attribute:meta])* $name:ident, lanes: $lanes:literal, integers: $integers:ty, floats: $floats:ty,
        splat: $splat:ident, dot: $dot:ident, convert: $convert:ident
    ) => {
        mod $name {
            use super::*;

            #[inline]
            $(#[$attribute])*
            fn load(elements: &[f32; $lanes]) -> $integers {
                // SAFETY: both types are as many bytes without padding, and any bits are valid integers.
                #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
                unsafe {
                    std::mem::transmute(*elements)
                }
            }

            #[inline]
            $(#[$attribute])*
            fn store(floats: $floats) -> [f32; $lanes] {
                // SAFETY: both types are as many bytes without padding, and any bits are valid floats.
                #[allow(unsafe_code, reason = "as above")]
                unsafe {
                    std::mem::transmute(floats)
                }
            }

            /// Writes the sums of whole tiles: their number is constant, so that they stay in registers until then.
            #[inline]
            $(#[$attribute])*
            fn write<const R: usize>(local: [[$integers; NR_VECTORS]; R], sums: &mut [f32]) {
                let sums = sums.as_chunks_mut::<$lanes>().0.as_chunks_mut::<NR_VECTORS>().0;
                if let Some(sums) = sums.first_chunk_mut::<R>() {
                    for r in 0..R {
                        for v in 0..NR_VECTORS {
                            sums[r][v] = store($convert(local[r][v]));
                        }
                    }
                }
            }

            $(#[$attribute])*
            pub(super) fn sums<const R: usize>(
                weight: &[[f32; R]],
                x: &[f32],
                starts: &[i32; R],
                sums: &mut [f32],
                ahead: &[f32],
            ) {
                let rows = x.as_chunks::<$lanes>().0.as_chunks::<NR_VECTORS>().0;
                let mut local = [[$splat(0); NR_VECTORS]; R];
                for r in 0..R {
                    local[r] = [$splat(starts[r]); NR_VECTORS];
                }
                let steps = weight.len().div_ceil(STEP);
                // As many lines with each step as bring all.
                let mut lines = ahead.chunks(LINE * ahead.len().div_ceil(LINE * steps.max(1)).max(1));
                for (weight, rows) in weight.chunks(STEP).zip(rows.chunks(STEP)) {
                    prefetch(lines.next().unwrap_or_default());
                    for (weight, x) in weight.iter().zip(rows) {
                        let x: [$integers; NR_VECTORS] = [load(&x[0]), load(&x[1])];
                        for r in 0..R {
                            let w = $splat(weight[r].to_bits().cast_signed());
                            for v in 0..NR_VECTORS {
                                local[r][v] = $dot(local[r][v], x[v], w);
                            }
                        }
                    }
                }
                write(local, sums);
            }

            $(#[$attribute])*
            pub(super) fn sums_of_lines<const R: usize, const LENGTH: usize>(
                lines: &[[f32; LENGTH]; R],
                offset: usize,
                weights: &[f32],
                sums: &mut [f32],
            ) {
                let rows = weights.as_chunks::<$lanes>().0.as_chunks::<NR_VECTORS>().0;
                let Some((starts, rows)) = rows.split_first() else { return };
                let depth = rows.len();
                let mut codes = [&lines[0][..0]; R];
                for r in 0..R {
                    codes[r] = &lines[r][offset..][..depth];
                }
                let mut local = [[load(&starts[0]), load(&starts[1])]; R];
                for k in 0..depth {
                    let weights: [$integers; NR_VECTORS] = [load(&rows[k][0]), load(&rows[k][1])];
                    for r in 0..R {
                        let codes = $splat(codes[r][k].to_bits().cast_signed());
                        for v in 0..NR_VECTORS {
                            local[r][v] = $dot(local[r][v], codes, weights[v]);
                        }
                    }
                }
                write(local, sums);
            }

            /// Independent chains of products in registers.
            $(#[$attribute])*
            pub(super) fn peak(rounds: usize) -> f32 {
                let weight = $splat(std::hint::black_box(0x0302_0100));
                let mut sums = [$splat(std::hint::black_box(0x0102_0301)); CHAINS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $dot(*sum, *sum, weight);
                    }
                }
                let mut all = sums[0];
                for sum in &sums[1..] {
                    all = $dot(all, *sum, weight);
                }
                store($convert(all))[0]
            }
        }
    };
}

/// Elements of depth between prefetches.
const STEP: usize = 8;

micro_kernels!(
    #[target_feature(enable = "avx512f,avx512vnni")]
    avx512_vnni, lanes: 16, integers: __m512i, floats: __m512,
    splat: _mm512_set1_epi32, dot: _mm512_dpbusd_epi32, convert: _mm512_cvtepi32_ps
);

micro_kernels!(
    #[target_feature(enable = "avx2,avxvnni")]
    avx_vnni, lanes: 8, integers: __m256i, floats: __m256,
    splat: _mm256_set1_epi32, dot: _mm256_dpbusd_avx_epi32, convert: _mm256_cvtepi32_ps
);

micro_kernels!(
    #[target_feature(enable = "avx512f,avx512vnni")]
    avx512_vnni_16, lanes: 16, integers: __m512i, floats: __m512,
    splat: _mm512_set1_epi32, dot: _mm512_dpwssd_epi32, convert: _mm512_cvtepi32_ps
);

micro_kernels!(
    #[target_feature(enable = "avx2,avxvnni")]
    avx_vnni_16, lanes: 8, integers: __m256i, floats: __m256,
    splat: _mm256_set1_epi32, dot: _mm256_dpwssd_avx_epi32, convert: _mm256_cvtepi32_ps
);

micro_kernels!(
    #[target_feature(enable = "avx2")]
    avx2, lanes: 8, integers: __m256i, floats: __m256,
    splat: _mm256_set1_epi32, dot: multiply_add, convert: _mm256_cvtepi32_ps
);

/// Adds products of 16-bit codes in pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_add(sums: __m256i, x: __m256i, y: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(x, y))
}
