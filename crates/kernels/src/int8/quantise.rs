//! Floats to codes: rows of weights once, panels of activations as they leave a norm, an activation or attention.

use super::{DotProduct, LARGEST};
use crate::panel::NR_VECTORS;
use pulp::Simd;

/// Lower bound of a column's largest value, so that its inverse is finite.
const SMALLEST: f32 = 1e-30;

/// 1.5 x 2^23: adding it rounds to the nearest integer, which is left in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

/// The scale of the largest magnitude of values: not a number if it is not finite.
pub(crate) fn scale_of(most: f32) -> f32 {
    if most.is_finite() { most.max(SMALLEST) / LARGEST } else { f32::NAN }
}

/// The largest magnitude of values and of `most`; NaN counts as larger than everything.
pub(crate) fn largest(most: f32, values: &[f32]) -> f32 {
    // Magnitudes are ordered as the integers of their bits are.
    let bits = values
        .iter()
        .fold(most.to_bits().cast_signed(), |most, value| most.max((value.to_bits() & !SIGN).cast_signed()));
    f32::from_bits(bits.cast_unsigned())
}

/// The sign of a float.
const SIGN: u32 = 1 << 31;

/// The codes of a row, and its scale: not a number if a value of the row is not finite.
pub(crate) fn quantise_row(row: &[f32], codes: &mut Vec<i8>) -> f32 {
    let most = largest(0.0, row);
    let inverse = f64::from(LARGEST) / f64::from(most.max(SMALLEST));
    codes.clear();
    codes.extend(row.iter().map(|v| (f64::from(*v) * inverse).round_ties_even() as i8));
    scale_of(most)
}

impl DotProduct {
    /// Quantises panels of `columns` rows, in place: each becomes a panel of elements, and a last row of the scales. That of
    /// a column with a value that is not finite is not a number.
    ///
    /// # Shapes
    /// - x: panels `[columns, NR]`, `columns` at least 2
    /// - output: panels `[elements + 1, NR]`
    #[inline(always)]
    pub(crate) fn quantise<S: Simd>(self, simd: S, columns: usize, x: &mut [S::f32s]) -> &[S::f32s] {
        match (self.values(), self.is_biased()) {
            (4, true) => quantise::<S, 4, true, false>(simd, columns, x),
            (4, false) => quantise::<S, 4, false, false>(simd, columns, x),
            _ => quantise::<S, 2, false, false>(simd, columns, x),
        }
    }

    /// Quantises panels whose columns become rows of a matrix: their codes are signed, and a last row is the sums of the
    /// columns' codes ([`start_of`](Self::start_of)).
    ///
    /// # Shapes
    /// - x: panels `[columns, NR]`, `columns` at least 4
    /// - output: panels `[elements + 2, NR]`
    #[inline(always)]
    pub(crate) fn quantise_rows<S: Simd>(self, simd: S, columns: usize, x: &mut [S::f32s]) {
        if self.values() == 4 {
            quantise::<S, 4, false, true>(simd, columns, x);
        } else {
            quantise::<S, 2, false, true>(simd, columns, x);
        }
    }
}

impl DotProduct {
    /// The code of an attention weight of 1: unsigned codes have no sign to lose a bit to.
    fn most_weight(self) -> f32 {
        if self.values() == 4 && !self.is_biased() { 127.0 } else { 255.0 }
    }

    /// Attention weights, 0 to 1, to elements in place, scales after them; what the codes stand for is added to `sum`, so that
    /// their rounding does not change what all weights add up to.
    ///
    /// # Shapes
    /// - x: a panel `[count + 1, NR]`, of which the last row is free
    /// - output: a panel `[elements + 1, NR]`
    #[inline(always)]
    pub(crate) fn quantise_weights<'a, S: Simd>(
        self,
        simd: S,
        x: &'a mut [S::f32s],
        sum: &mut [S::f32s; NR_VECTORS],
    ) -> &'a [S::f32s] {
        let most = self.most_weight();
        if self.values() == 4 {
            weights::<S, 4>(simd, most, x, sum)
        } else {
            weights::<S, 2>(simd, most, x, sum)
        }
    }

    /// A part of a row of values that attention weighs to elements, by the row's scale.
    pub(crate) fn pack_values(self, row: &[f32], scale: f32, elements: &mut [f32]) {
        let inverse = 1.0 / scale;
        let bits = 32 / self.values() as u32;
        let mask = u32::MAX >> (32 - bits);
        for (element, values) in elements.iter_mut().zip(row.chunks(self.values())) {
            let mut word = 0;
            for (i, value) in values.iter().enumerate() {
                // Plain code: without the instruction a fused multiply-add would be a call.
                let code = (value * inverse + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits());
                word |= (code & mask) << (bits * i as u32);
            }
            *element = f32::from_bits(word);
        }
    }
}

/// [`DotProduct::quantise_weights`] to elements of N codes, `most` of a weight of 1.
#[inline(always)]
fn weights<'a, S: Simd, const N: usize>(
    simd: S,
    most: f32,
    x: &'a mut [S::f32s],
    sum: &mut [S::f32s; NR_VECTORS],
) -> &'a [S::f32s] {
    let rows = x.as_chunks_mut::<NR_VECTORS>().0;
    let count = rows.len() - 1;
    let elements = count.div_ceil(N);
    let (magic, scale) = (simd.splat_f32s(MAGIC), simd.splat_f32s(1.0 / most));
    let mut codes = [simd.splat_f32s(0.0); NR_VECTORS];
    for element in 0..elements {
        let here = N.min(count - N * element);
        for v in 0..NR_VECTORS {
            let (mut word, mut excess) = (simd.splat_u32s(0), 0u32);
            for i in 0..N {
                let weight = if i < here { rows[N * element + i][v] } else { simd.splat_f32s(0.0) };
                let code = simd.mul_add_e_f32s(weight, simd.splat_f32s(most), magic);
                codes[v] = simd.add_f32s(codes[v], simd.sub_f32s(code, magic));
                let shift = 32 / N as u32 * i as u32;
                let code = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(code), simd.splat_u32s(shift));
                word = if i == 0 { code } else { simd.add_u32s(word, code) };
                excess = excess.wrapping_add(MAGIC.to_bits() << shift);
            }
            rows[element][v] = simd.transmute_f32s_u32s(simd.sub_u32s(word, simd.splat_u32s(excess)));
        }
    }
    rows[elements] = [scale; NR_VECTORS];
    for v in 0..NR_VECTORS {
        sum[v] = simd.mul_add_e_f32s(codes[v], scale, sum[v]);
    }
    &x[..(elements + 1) * NR_VECTORS]
}

/// [`DotProduct::quantise`] to elements of N codes, with their sums after the scales or without.
#[inline(always)]
fn quantise<S: Simd, const N: usize, const BIASED: bool, const SUMS: bool>(
    simd: S,
    columns: usize,
    x: &mut [S::f32s],
) -> &[S::f32s] {
    let rows = x.as_chunks_mut::<NR_VECTORS>().0;
    let panels = rows.len() / columns.max(1);
    let elements = columns.div_ceil(N);
    let own = elements + 1 + usize::from(SUMS);
    for panel in 0..panels {
        // What is written never lies behind what is still to be read.
        let (from, to) = (panel * columns, panel * own);
        let (scale, inverse) = scales(simd, &rows[from..][..columns]);
        let mut sum = [simd.splat_f32s(0.0); NR_VECTORS];
        for element in 0..elements {
            let first = from + N * element;
            let mut values = [[simd.splat_f32s(0.0); NR_VECTORS]; N];
            if N * (element + 1) <= columns {
                values.copy_from_slice(&rows[first..][..N]);
            } else {
                let rest = from + columns - first;
                values[..rest].copy_from_slice(&rows[first..][..rest]);
            }
            for v in 0..NR_VECTORS {
                let mut own = [simd.splat_f32s(0.0); N];
                for i in 0..N {
                    own[i] = values[i][v];
                }
                rows[to + element][v] = codes::<S, N, BIASED>(simd, own, inverse[v], &mut sum[v]);
            }
        }
        rows[to + elements] = scale;
        if SUMS {
            rows[to + elements + 1] = sum;
        }
    }
    &x[..panels * own * NR_VECTORS]
}

/// The scale of each column, and the inverse.
#[inline(always)]
fn scales<S: Simd>(
    simd: S,
    rows: &[[S::f32s; NR_VECTORS]],
) -> ([S::f32s; NR_VECTORS], [S::f32s; NR_VECTORS]) {
    let zero = simd.splat_f32s(0.0);
    let mut most = [simd.splat_f32s(SMALLEST); NR_VECTORS];
    // Zero as long as everything is finite; a maximum may leave out what is not a number.
    let mut check = [zero; NR_VECTORS];
    for row in rows {
        for v in 0..NR_VECTORS {
            let magnitude = simd.and_u32s(simd.transmute_u32s_f32s(row[v]), simd.splat_u32s(!SIGN));
            most[v] = simd.max_f32s(most[v], simd.transmute_f32s_u32s(magnitude));
            check[v] = simd.mul_add_e_f32s(row[v], zero, check[v]);
        }
    }
    let (mut scale, mut inverse) = (most, most);
    for v in 0..NR_VECTORS {
        scale[v] = simd.mul_add_e_f32s(most[v], simd.splat_f32s(1.0 / LARGEST), check[v]);
        inverse[v] = simd.div_f32s(simd.splat_f32s(LARGEST), most[v]);
    }
    (scale, inverse)
}

/// Values to an element of N codes, which are added to `sum`.
#[inline(always)]
fn codes<S: Simd, const N: usize, const BIASED: bool>(
    simd: S,
    values: [S::f32s; N],
    inverse: S::f32s,
    sum: &mut S::f32s,
) -> S::f32s {
    let bits = 32 / N as u32;
    // Unsigned codes in the low bits of floats: neither a mask nor a sign is needed to add them up.
    let bias = 1u32 << (bits - 1);
    let magic = simd.splat_f32s(MAGIC + bias as f32);
    let mut word = simd.splat_u32s(0);
    let (mut excess, mut signs) = (0u32, 0u32);
    for i in 0..N {
        let shift = bits * i as u32;
        let code = simd.mul_add_e_f32s(values[i], inverse, magic);
        *sum = simd.add_f32s(*sum, simd.sub_f32s(code, magic));
        let code = simd.transmute_u32s_f32s(code);
        let code = simd.wrapping_dyn_shl_u32s(code, simd.splat_u32s(shift));
        word = if i == 0 { code } else { simd.add_u32s(word, code) };
        excess = excess.wrapping_add(MAGIC.to_bits() << shift);
        signs |= bias << shift;
    }
    let word = simd.sub_u32s(word, simd.splat_u32s(excess));
    let word = if BIASED { word } else { simd.xor_u32s(word, simd.splat_u32s(signs)) };
    simd.transmute_f32s_u32s(word)
}
