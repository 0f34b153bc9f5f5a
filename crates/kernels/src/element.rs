//! Elements of packed matrices: `f32`, or two bfloat16 (bf16x2) or several 8-bit integers in the bits of one `f32`.
//!
//! Multiplying two bf16x2 elements adds both products to an f32 accumulator, as VDPBF16PS does. Without that
//! instruction two multiply-adds give the same sum, for tests rather than for speed.

use crate::int8::{DotProduct, SCALES};
use crate::panel::NR_VECTORS;
use crate::{Level, MatmulPrecision};
use pulp::Simd;

/// The type of a packed matrix's elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Element {
    /// One column per element.
    #[default]
    F32,
    /// Two neighbouring columns per element, the first in the low half.
    Bf16x2(Instruction),
    /// Neighbouring columns, quantised ([`int8`](crate::int8)).
    Int8(DotProduct),
}

/// How bf16x2 elements are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Two multiply-adds.
    Emulated,
    /// VDPBF16PS. Only [`Instruction::of`] constructs it, after checking the CPU.
    #[cfg(target_arch = "x86_64")]
    Vdpbf16ps(Avx512Bf16),
}

/// Proof that the CPU has AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512Bf16(());

impl Instruction {
    /// The bfloat16 instruction of a level, if it has one.
    pub(crate) fn of(level: Level) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512 && level.is_available() && is_x86_feature_detected!("avx512bf16") {
            return Some(Self::Vdpbf16ps(Avx512Bf16(())));
        }
        let _ = level;
        None
    }
}

impl Element {
    /// That of a precision at a level.
    pub(crate) fn of(level: Level, precision: MatmulPrecision) -> Self {
        match precision {
            MatmulPrecision::F32 => Self::F32,
            MatmulPrecision::Bf16 => Instruction::of(level).map_or(Self::F32, Self::Bf16x2),
            MatmulPrecision::Bf16Emulated => {
                Self::Bf16x2(Instruction::of(level).unwrap_or(Instruction::Emulated))
            }
            MatmulPrecision::Int8 => DotProduct::of(level).map_or(Self::F32, Self::Int8),
            MatmulPrecision::Int8Emulated => {
                Self::Int8(DotProduct::of(level).unwrap_or(DotProduct::Emulated))
            }
        }
    }

    /// Elements in a row of `columns` values.
    pub(crate) fn count(self, columns: usize) -> usize {
        match self {
            Self::F32 => columns,
            Self::Bf16x2(_) => columns.div_ceil(2),
            Self::Int8(products) => columns.div_ceil(products.values()),
        }
    }

    /// Rows of a panel of elements: with 8-bit integers, the columns' scales and centres follow.
    pub(crate) fn panel_rows(self, columns: usize) -> usize {
        self.count(columns) + self.scale_rows()
    }

    /// Rows of scales and centres behind the elements of a panel.
    pub(crate) fn scale_rows(self) -> usize {
        if matches!(self, Self::Int8(_)) { SCALES } else { 0 }
    }

    /// Values per element.
    pub(crate) fn values(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16x2(_) => 2,
            Self::Int8(products) => products.values(),
        }
    }

    /// The element type of what is not quantised beside linear layers of this one: pixels.
    pub(crate) fn unquantised(self) -> Self {
        if matches!(self, Self::Int8(_)) { Self::F32 } else { self }
    }

    /// The element type of the scores of heads of `size` dimensions beside linear layers of this one: that of keys.
    pub(crate) fn of_keys(self, size: usize) -> Self {
        // Scales and sums need room behind the elements.
        if size < 4 { self.unquantised() } else { self }
    }

    /// Codes of 16 bits in place of those of 8, where the level multiplies them.
    pub(crate) fn in_16_bits(self) -> Self {
        match self {
            Self::Int8(products) => Self::Int8(products.wide().unwrap_or(products)),
            other => other,
        }
    }

    /// The element type of what 8 bits are too few for beside linear layers of this one: of 16-bit codes, where there are any.
    pub(crate) fn widened(self) -> Self {
        let Self::Int8(products) = self else { return self };
        products.wide().map_or(Self::F32, Self::Int8)
    }

    /// Converts panels of floats, in place.
    ///
    /// # Shapes
    /// - x: panels `[columns, NR]`
    /// - output: panels `[panel_rows, NR]`
    #[inline(always)]
    pub(crate) fn convert<S: Simd>(self, simd: S, columns: usize, x: &mut [S::f32s]) -> &[S::f32s] {
        match self {
            Self::F32 => x,
            Self::Bf16x2(_) => from_rows(simd, columns, x),
            Self::Int8(products) => products.quantise(simd, columns, x),
        }
    }

    /// Converts a row of values to elements; an odd last value is paired with zero. Those of 8 bits, which need a scale, are
    /// packed by [`DotProduct::pack_row`].
    pub(crate) fn pack_row(self, row: &[f32], elements: &mut [f32]) {
        match self {
            Self::F32 | Self::Int8(_) => elements.copy_from_slice(row),
            Self::Bf16x2(_) => {
                for (element, pair) in elements.iter_mut().zip(row.chunks(2)) {
                    *element = bf16x2(pair[0], pair.get(1).copied().unwrap_or(0.0));
                }
            }
        }
    }
}

/// A value rounded to bfloat16 (to nearest, ties to even), in the high half.
fn high_half(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return QUIET_NAN;
    }
    bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & HIGH
}

/// Two values as one element.
pub(crate) fn bf16x2(low: f32, high: f32) -> f32 {
    f32::from_bits(high_half(low) >> 16 | high_half(high))
}

const HIGH: u32 = 0xffff_0000;
const QUIET_NAN: u32 = 0x7fc0_0000;

/// Converts panels of `columns` rows of f32 to bf16x2, in place: rows 2 i and 2 i + 1 of a panel become row i.
#[inline(always)]
pub(crate) fn from_rows<S: Simd>(simd: S, columns: usize, x: &mut [S::f32s]) -> &[S::f32s] {
    let rows = x.as_chunks_mut::<NR_VECTORS>().0;
    let elements = columns.div_ceil(2);
    let panels = rows.len() / columns.max(1);
    for panel in 0..panels {
        for element in 0..elements {
            let low = rows[panel * columns + 2 * element];
            let odd = 2 * element + 1 == columns;
            let high = if odd {
                [simd.splat_f32s(0.0); NR_VECTORS]
            } else {
                rows[panel * columns + 2 * element + 1]
            };
            let out = &mut rows[panel * elements + element];
            for v in 0..NR_VECTORS {
                let low = simd.wrapping_dyn_shr_u32s(halves(simd, low[v]), simd.splat_u32s(16));
                out[v] = simd.transmute_f32s_u32s(simd.or_u32s(low, halves(simd, high[v])));
            }
        }
    }
    &x[..panels * elements * NR_VECTORS]
}

/// [`high_half`] of a vector.
#[inline(always)]
fn halves<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    let up = simd.add_u32s(bits, simd.add_u32s(odd, simd.splat_u32s(0x7fff)));
    let kept = simd.and_u32s(up, simd.splat_u32s(HIGH));
    simd.select_u32s(simd.equal_f32s(x, x), kept, simd.splat_u32s(QUIET_NAN))
}

/// The bf16x2 micro-kernel: adds the products of a micro-panel of A with rows of B.
///
/// # Shapes
/// - weight: `[depth, MR]`
/// - x: `[depth, NR]`
/// - sums: `[MR, NR]`
#[inline(always)]
pub(crate) fn add_products<S: Simd, const R: usize>(
    simd: S,
    instruction: Instruction,
    weight: &[[f32; R]],
    x: &[[S::f32s; NR_VECTORS]],
    sums: &mut [[S::f32s; NR_VECTORS]; R],
) {
    match instruction {
        Instruction::Emulated => emulated(simd, weight, x, sums),
        #[cfg(target_arch = "x86_64")]
        Instruction::Vdpbf16ps(machine) => {
            use pulp::bytemuck::{cast_slice, cast_slice_mut};
            vdpbf16ps::<R>(machine, weight, cast_slice(x), cast_slice_mut(sums));
        }
    }
}

#[inline(always)]
fn emulated<S: Simd, const R: usize>(
    simd: S,
    weight: &[[f32; R]],
    x: &[[S::f32s; NR_VECTORS]],
    sums: &mut [[S::f32s; NR_VECTORS]; R],
) {
    let (high, half) = (simd.splat_u32s(HIGH), simd.splat_u32s(16));
    for (k, x) in x.iter().enumerate() {
        let mut parts = [*x; 2];
        for v in 0..NR_VECTORS {
            let bits = simd.transmute_u32s_f32s(x[v]);
            parts[0][v] = simd.transmute_f32s_u32s(simd.and_u32s(bits, high));
            parts[1][v] = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, half));
        }
        for r in 0..R {
            let bits = weight[k][r].to_bits();
            // The odd product first, as the instruction does.
            for (part, w) in [bits & HIGH, bits << 16].into_iter().enumerate() {
                let w = simd.splat_f32s(f32::from_bits(w));
                for v in 0..NR_VECTORS {
                    sums[r][v] = simd.mul_add_e_f32s(w, parts[part][v], sums[r][v]);
                }
            }
        }
    }
}

/// [`emulated`] by the instruction, on vectors of 16 elements.
#[cfg(target_arch = "x86_64")]
fn vdpbf16ps<const R: usize>(_: Avx512Bf16, weight: &[[f32; R]], x: &[f32], sums: &mut [f32]) {
    // SAFETY: an `Avx512Bf16` exists only where `Instruction::of` found AVX-512 F and BF16 on this CPU, which are
    // the features that the function enables.
    #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
    unsafe {
        vdpbf16ps_unchecked(weight, x, sums);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn vdpbf16ps_unchecked<const R: usize>(weight: &[[f32; R]], x: &[f32], sums: &mut [f32]) {
    use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps, _mm512_set1_ps, _mm512_setzero_ps};
    const LANES: usize = 16;
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    let load = |floats: &[f32; LANES]| -> __m512 {
        // SAFETY: `[f32; 16]` and `__m512` are both 64 bytes without padding, and any bits are a valid `__m512`.
        unsafe { std::mem::transmute(*floats) }
    };
    #[allow(unsafe_code, reason = "as above")]
    let store = |x: __m512| -> [f32; LANES] {
        // SAFETY: `__m512` and `[f32; 16]` are both 64 bytes without padding, and any bits are valid floats.
        unsafe { std::mem::transmute(x) }
    };
    #[allow(unsafe_code, reason = "as above")]
    let pairs = |x: __m512| -> __m512bh {
        // SAFETY: `__m512` and `__m512bh` are both 64 bytes without padding, and any bits are a valid `__m512bh`.
        unsafe { std::mem::transmute(x) }
    };

    let sums = sums.as_chunks_mut::<LANES>().0.as_chunks_mut::<NR_VECTORS>().0;
    let rows = x.as_chunks::<LANES>().0.as_chunks::<NR_VECTORS>().0;
    let mut local = [[_mm512_setzero_ps(); NR_VECTORS]; R];
    for r in 0..R {
        for v in 0..NR_VECTORS {
            local[r][v] = load(&sums[r][v]);
        }
    }
    for (k, x) in rows.iter().enumerate() {
        for r in 0..R {
            let w = pairs(_mm512_set1_ps(weight[k][r]));
            for v in 0..NR_VECTORS {
                local[r][v] = _mm512_dpbf16_ps(local[r][v], w, pairs(load(&x[v])));
            }
        }
    }
    for r in 0..R {
        for v in 0..NR_VECTORS {
            sums[r][v] = store(local[r][v]);
        }
    }
}

/// A value rounded to bfloat16 and back.
#[cfg(test)]
pub(crate) fn rounded(value: f32) -> f32 {
    f32::from_bits(high_half(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Floats, vectors, vectors_mut};
    use pulp::WithSimd;
    use std::io::Write as _;

    struct Rows<'a>(&'a mut Floats, usize);

    impl WithSimd for Rows<'_> {
        type Output = Vec<u32>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
            let elements = from_rows(simd, self.1, vectors_mut::<S>(self.0));
            pulp::bytemuck::cast_slice(elements).iter().map(|element: &f32| element.to_bits()).collect()
        }
    }

    #[test]
    fn vectors_round_as_scalars_do() {
        let special = [0.0, -0.0, 1.0, 1.003_906_2, 1.011_718_8, f32::MAX, f32::MIN_POSITIVE, 1e-42];
        let special = special.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -2.718_3e7]);
        let values: Vec<f32> = special.collect();
        assert_eq!(rounded(1.003_906_2), 1.0, "ties to even");
        assert_eq!(rounded(1.011_718_8), 1.015_625, "ties to even");
        for level in Level::available() {
            let columns = level.columns();
            for rows in [1, 2, 5] {
                let mut x = Floats::zeros(3 * rows * columns);
                for (i, x) in x.iter_mut().enumerate() {
                    *x = values[i % values.len()];
                }
                let before = x.to_vec();
                let found = level.run(Rows(&mut x, rows));
                let elements = rows.div_ceil(2);
                assert_eq!(found.len(), 3 * elements * columns);
                for (i, found) in found.into_iter().enumerate() {
                    let (panel, element) = (i / (elements * columns), i / columns % elements);
                    let column = i % columns;
                    let at = |row: usize| before[(panel * rows + row) * columns + column];
                    let high = if 2 * element + 1 < rows { at(2 * element + 1) } else { 0.0 };
                    assert_eq!(found, bf16x2(at(2 * element), high).to_bits(), "{level} {rows} {i}");
                }
            }
        }
    }

    struct Add<'a>(Instruction, &'a [[f32; 12]], &'a [f32], &'a mut [f32]);

    impl WithSimd for Add<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let x = vectors::<S>(self.2).as_chunks::<NR_VECTORS>().0;
            let sums = vectors_mut::<S>(self.3).as_chunks_mut::<NR_VECTORS>().0.as_chunks_mut::<12>().0;
            add_products(simd, self.0, self.1, x, &mut sums[0]);
        }
    }

    #[test]
    fn the_instruction_equals_its_emulation() {
        let Some(instruction) = Instruction::of(Level::Avx512) else {
            // Not by a macro, whose output a passing test does not show.
            let _ = writeln!(std::io::stderr(), "SKIPPED: this CPU has no VDPBF16PS");
            return;
        };
        let columns = Level::Avx512.columns();
        let value = |i: usize| ((i * 7919 % 1000) as f32 - 500.0) / 300.0;
        let weight: Vec<[f32; 12]> =
            (0..33).map(|k| std::array::from_fn(|r| bf16x2(value(k * 12 + r), value(k + 97 * r)))).collect();
        let x: Vec<f32> = (0..33 * columns).map(|i| bf16x2(value(3 * i), value(i + 5))).collect();
        let mut sums = [Floats::zeros(12 * columns), Floats::zeros(12 * columns)];
        for (sums, instruction) in sums.iter_mut().zip([instruction, Instruction::Emulated]) {
            Level::Avx512.run(Add(instruction, &weight, &x, sums));
        }
        assert_eq!(sums[0].to_vec(), sums[1].to_vec());
    }
}
