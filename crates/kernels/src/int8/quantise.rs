//! Floats to codes: rows of weights once, panels of activations as they leave a norm, an activation or attention.

use super::{DotProduct, LARGEST, SCALES};
use crate::buffer::{vectors, vectors_mut};
use crate::matrix::KC;
use crate::panel::NR_VECTORS;
use pulp::{Simd, WithSimd};

/// What a column's codes reach to either side of the middle: less than the largest code by what both roundings can add. Where an
/// element has room for 16 bits, codes are larger, as far as sums of a slice fit 32 bits.
const fn most_code(values: usize) -> f32 {
    if values == 4 { 126.0 } else { 2_730.0 }
}

/// The largest code of a row, likewise.
const fn largest_code(values: usize) -> f32 {
    if values == 4 { LARGEST } else { 2_047.0 }
}

const _: () = assert!(2 * KC * 2_731 * 2_047 < 1 << 31, "two codes per element of a slice");

/// Least share of the middle that codes reach to either side, so that the code of zero stays below 2^22.
const fn narrowest(values: usize) -> f32 {
    if values == 4 { 1.0 / 4096.0 } else { 1.0 / 256.0 }
}

/// Lower bound of a column's largest value, so that its inverse is finite.
const SMALLEST: f32 = 1e-30;

/// 1.5 x 2^23: adding it rounds to the nearest integer, which is left in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

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

/// The codes of a row, the largest of which is `top`, and its scale: not a number if a value of the row is not finite.
fn codes_up_to(top: f32, row: &[f32], codes: &mut Vec<i16>) -> f32 {
    let most = largest(0.0, row);
    let inverse = f64::from(top) / f64::from(most.max(SMALLEST));
    codes.clear();
    codes.extend(row.iter().map(|v| (f64::from(*v) * inverse).round_ties_even() as i16));
    if most.is_finite() { most.max(SMALLEST) / top } else { f32::NAN }
}

/// The codes of a row, of 8 bits, and its scale: not a number if a value of the row is not finite.
pub(crate) fn quantise_row(row: &[f32], codes: &mut Vec<i16>) -> f32 {
    codes_up_to(LARGEST, row, codes)
}

impl DotProduct {
    /// The codes of a matrix's row for this kind of product, and its scale as [`quantise_row`]'s.
    pub(crate) fn quantise_row(self, row: &[f32], codes: &mut Vec<i16>) -> f32 {
        codes_up_to(largest_code(self.values()), row, codes)
    }

    /// Quantises panels of `columns` rows, in place: each becomes a panel of elements, then a row of the columns' scales and one of
    /// their centres: a value is `centre + scale * code`. What an activation gives is not symmetric, so codes cover what lies
    /// between the least and the largest value. The scale of a column with a value that is not finite is not a number.
    ///
    /// # Shapes
    /// - x: panels `[columns, NR]`, `columns` at least 4
    /// - output: panels `[elements + 2, NR]`
    #[inline(always)]
    pub(crate) fn quantise<S: Simd>(self, simd: S, columns: usize, x: &mut [S::f32s]) -> &[S::f32s] {
        match (self.values(), self.is_biased()) {
            (4, true) => quantise::<S, 4, true, false>(simd, columns, x),
            (4, false) => quantise::<S, 4, false, false>(simd, columns, x),
            _ => quantise::<S, 2, false, false>(simd, columns, x),
        }
    }

    /// Quantises panels whose columns become rows of a matrix: codes are signed and symmetric, and what follows the scales is
    /// the sums of the columns' codes ([`start_of`](Self::start_of)).
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

/// The largest 16-bit code of an attention weight, that of 1.
const MOST_WEIGHT: f32 = 4_095.0;

/// The largest 16-bit code of a value that is weighed.
const MOST_VALUE: f32 = 2_730.0;

const _: () = assert!(KC * 4_095 * 2_730 < 1 << 31, "one code of either per token of a tile");

/// The scale of a row of values that attention weighs, by their largest magnitude.
pub(crate) fn scale_of_values(most: f32) -> f32 {
    if most.is_finite() { most.max(SMALLEST) / MOST_VALUE } else { f32::NAN }
}

/// A part of a row of values that attention weighs to elements of two 16-bit codes, by the row's scale.
pub(crate) fn pack_values(row: &[f32], scale: f32, elements: &mut [f32]) {
    let inverse = 1.0 / scale;
    for (element, pair) in elements.iter_mut().zip(row.chunks(2)) {
        // Plain code: without the instruction a fused multiply-add would be a call.
        let code = |i: usize| pair.get(i).map_or(MAGIC, |value| value * inverse + MAGIC).to_bits() & 0xffff;
        *element = f32::from_bits(code(0) | code(1) << 16);
    }
}

/// Attention weights, 0 to 1, to elements of two 16-bit codes in place, scales after them; what the codes stand for is added
/// to `sum`, so that their rounding does not change what all weights add up to.
///
/// # Shapes
/// - x: a panel `[count + 2, NR]`, of which the last rows are free
/// - output: a panel `[elements + 2, NR]`
#[inline(always)]
pub(crate) fn quantise_weights<'a, S: Simd>(
    simd: S,
    x: &'a mut [S::f32s],
    sum: &mut [S::f32s; NR_VECTORS],
) -> &'a [S::f32s] {
    let rows = x.as_chunks_mut::<NR_VECTORS>().0;
    let count = rows.len() - SCALES;
    let elements = count.div_ceil(2);
    let (magic, scale) = (simd.splat_f32s(MAGIC), simd.splat_f32s(1.0 / MOST_WEIGHT));
    let most = simd.splat_f32s(MOST_WEIGHT);
    let mut codes = [simd.splat_f32s(0.0); NR_VECTORS];
    for element in 0..elements {
        let first = rows[2 * element];
        // An odd last weight is paired with none.
        let second =
            if 2 * element + 1 < count { rows[2 * element + 1] } else { [simd.splat_f32s(0.0); NR_VECTORS] };
        for v in 0..NR_VECTORS {
            let pair =
                [simd.mul_add_e_f32s(first[v], most, magic), simd.mul_add_e_f32s(second[v], most, magic)];
            for code in pair {
                codes[v] = simd.add_f32s(codes[v], simd.sub_f32s(code, magic));
            }
            rows[element][v] = word::<S, 2, true>(simd, pair);
        }
    }
    rows[elements] = [scale; NR_VECTORS];
    // Codes are those of zero to one, whatever the rows add up to.
    rows[elements + 1] = [simd.splat_f32s(0.0); NR_VECTORS];
    for v in 0..NR_VECTORS {
        sum[v] = simd.mul_add_e_f32s(codes[v], scale, sum[v]);
    }
    &x[..(elements + SCALES) * NR_VECTORS]
}

/// The largest code of a pixel: where an element has room for 16 bits, as large as sums of [`MOST_DEPTH`] elements allow.
fn most_of_pixel(products: DotProduct) -> f32 {
    if products.values() == 4 { 255.0 } else { 2_047.0 }
}

/// Elements of a pixel's sum at most.
pub(crate) const MOST_DEPTH: usize = 256;

const _: () = assert!(2 * MOST_DEPTH * 2_047 * 2_047 < 1 << 31, "two codes per element");
const _: () = assert!(4 * MOST_DEPTH * 255 * 127 < 1 << 31, "four codes per element");

/// Quantises pixels, which have no negative values: each becomes elements and its scale. The vectors of a pixel are taken N at a
/// time, as many as an element has codes: element `l` of a group has the codes of lane `l` of its vectors. The scale of a pixel
/// with a value that is not finite is not a number.
pub(crate) struct QuantisePixels<'a> {
    pub(crate) products: DotProduct,
    /// Floats per pixel: whole vectors.
    pub(crate) pitch: usize,
    pub(crate) values: &'a [f32],
    /// As many pixels of elements and a scale.
    pub(crate) codes: &'a mut [f32],
}

impl WithSimd for QuantisePixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.products.values(), self.products.pixel_bias()) {
            (4, 0) => self.quantise::<S, 4, true>(simd),
            (4, _) => self.quantise::<S, 4, false>(simd),
            _ => self.quantise::<S, 2, true>(simd),
        }
    }
}

impl QuantisePixels<'_> {
    #[inline(always)]
    fn quantise<S: Simd, const N: usize, const UNSIGNED: bool>(self, simd: S) {
        let own = (self.pitch / S::F32_LANES).div_ceil(N) * S::F32_LANES;
        let (top, none) = (most_of_pixel(self.products), simd.splat_f32s(0.0));
        let magic = simd.splat_f32s(MAGIC);
        for (pixel, codes) in self.values.chunks_exact(self.pitch).zip(self.codes.chunks_exact_mut(own + 1)) {
            let pixel = vectors::<S>(pixel);
            let (mut most, mut check) = (simd.splat_f32s(SMALLEST), none);
            for x in pixel {
                most = simd.max_f32s(most, *x);
                check = simd.mul_add_e_f32s(*x, none, check);
            }
            let most = simd.reduce_max_f32s(most);
            let (elements, scale) = codes.split_at_mut(own);
            scale[0] = most / top + simd.reduce_sum_f32s(check);
            let inverse = simd.splat_f32s(top / most);
            for (group, element) in pixel.chunks(N).zip(vectors_mut::<S>(elements)) {
                let mut codes = [magic; N];
                for i in 0..group.len().min(N) {
                    codes[i] = simd.mul_add_e_f32s(group[i], inverse, magic);
                }
                *element = word::<S, N, UNSIGNED>(simd, codes);
            }
        }
    }
}

/// [`DotProduct::quantise`] to elements of N codes, or [`DotProduct::quantise_rows`].
#[inline(always)]
fn quantise<S: Simd, const N: usize, const BIASED: bool, const ROWS: bool>(
    simd: S,
    columns: usize,
    x: &mut [S::f32s],
) -> &[S::f32s] {
    let rows = x.as_chunks_mut::<NR_VECTORS>().0;
    let panels = rows.len() / columns.max(1);
    let elements = columns.div_ceil(N);
    let own = elements + SCALES;
    // Unsigned codes in the low bits of floats: neither a mask nor a sign is needed to add them up.
    let magic = simd.splat_f32s(MAGIC + (1u32 << (32 / N - 1)) as f32);
    for panel in 0..panels {
        // What is written never lies behind what is still to be read.
        let (from, to) = (panel * columns, panel * own);
        let range = if ROWS {
            Range::symmetric::<N>(simd, &rows[from..][..columns])
        } else {
            Range::centred::<N>(simd, &rows[from..][..columns])
        };
        let (mut sum, mut offset) = ([simd.splat_f32s(0.0); NR_VECTORS], [magic; NR_VECTORS]);
        for v in 0..NR_VECTORS {
            offset[v] = simd.sub_f32s(magic, range.zero[v]);
        }
        for element in 0..elements {
            let first = from + N * element;
            let mut values = [range.centre; N];
            if N * (element + 1) <= columns {
                values.copy_from_slice(&rows[first..][..N]);
            } else {
                let rest = from + columns - first;
                values[..rest].copy_from_slice(&rows[first..][..rest]);
            }
            for v in 0..NR_VECTORS {
                let mut codes = [magic; N];
                for i in 0..N {
                    codes[i] = simd.mul_add_e_f32s(values[i][v], range.inverse[v], offset[v]);
                    if ROWS {
                        sum[v] = simd.add_f32s(sum[v], simd.sub_f32s(codes[i], magic));
                    }
                }
                rows[to + element][v] = word::<S, N, BIASED>(simd, codes);
            }
        }
        rows[to + elements] = range.scale;
        rows[to + elements + 1] = if ROWS { sum } else { range.centre };
    }
    &x[..panels * own * NR_VECTORS]
}

/// What codes stand for, column by column.
struct Range<S: Simd> {
    scale: [S::f32s; NR_VECTORS],
    inverse: [S::f32s; NR_VECTORS],
    /// The value of code 0: an integer times the scale, and the integer.
    centre: [S::f32s; NR_VECTORS],
    zero: [S::f32s; NR_VECTORS],
}

impl<S: Simd> Range<S> {
    /// Around zero.
    #[inline(always)]
    fn symmetric<const N: usize>(simd: S, rows: &[[S::f32s; NR_VECTORS]]) -> Self {
        let none = simd.splat_f32s(0.0);
        let mut most = [simd.splat_f32s(SMALLEST); NR_VECTORS];
        // Zero as long as everything is finite; a maximum may leave out what is not a number.
        let mut check = [none; NR_VECTORS];
        for row in rows {
            for v in 0..NR_VECTORS {
                let magnitude = simd.and_u32s(simd.transmute_u32s_f32s(row[v]), simd.splat_u32s(!SIGN));
                most[v] = simd.max_f32s(most[v], simd.transmute_f32s_u32s(magnitude));
                check[v] = simd.mul_add_e_f32s(row[v], none, check[v]);
            }
        }
        let (mut scale, mut inverse) = (most, most);
        for v in 0..NR_VECTORS {
            scale[v] = simd.mul_add_e_f32s(most[v], simd.splat_f32s(1.0 / largest_code(N)), check[v]);
            inverse[v] = simd.div_f32s(simd.splat_f32s(largest_code(N)), most[v]);
        }
        Self { scale, inverse, centre: [none; NR_VECTORS], zero: [none; NR_VECTORS] }
    }

    /// From the least value to the largest.
    #[inline(always)]
    fn centred<const N: usize>(simd: S, rows: &[[S::f32s; NR_VECTORS]]) -> Self {
        let none = simd.splat_f32s(0.0);
        let (mut least, mut most) = (rows[0], rows[0]);
        let mut check = [none; NR_VECTORS];
        for row in rows {
            for v in 0..NR_VECTORS {
                least[v] = simd.min_f32s(least[v], row[v]);
                most[v] = simd.max_f32s(most[v], row[v]);
                check[v] = simd.mul_add_e_f32s(row[v], none, check[v]);
            }
        }
        let (mut scale, mut inverse, mut centre, mut zero) = (most, most, most, most);
        let (half, magic) = (simd.splat_f32s(0.5), simd.splat_f32s(MAGIC));
        for v in 0..NR_VECTORS {
            // Halves first: a difference may be infinite.
            let (a, b) = (simd.mul_f32s(most[v], half), simd.mul_f32s(least[v], half));
            let (reach, middle) = (simd.sub_f32s(a, b), simd.add_f32s(a, b));
            let magnitude = simd.max_f32s(middle, simd.neg_f32s(middle));
            let reach = simd.max_f32s(reach, simd.mul_f32s(magnitude, simd.splat_f32s(narrowest(N))));
            let reach = simd.max_f32s(reach, simd.splat_f32s(SMALLEST));
            let step = simd.mul_f32s(reach, simd.splat_f32s(1.0 / most_code(N)));
            inverse[v] = simd.div_f32s(simd.splat_f32s(most_code(N)), reach);
            zero[v] = simd.sub_f32s(simd.mul_add_e_f32s(middle, inverse[v], magic), magic);
            centre[v] = simd.mul_f32s(zero[v], step);
            scale[v] = simd.add_f32s(step, check[v]);
        }
        Self { scale, inverse, centre, zero }
    }
}

/// The N unsigned codes in the low bits of floats as one element.
#[inline(always)]
fn word<S: Simd, const N: usize, const BIASED: bool>(simd: S, codes: [S::f32s; N]) -> S::f32s {
    let bits = 32 / N as u32;
    let mut word = simd.splat_u32s(0);
    let (mut excess, mut signs) = (0u32, 0u32);
    for i in 0..N {
        let shift = bits * i as u32;
        let code = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(codes[i]), simd.splat_u32s(shift));
        word = if i == 0 { code } else { simd.add_u32s(word, code) };
        excess = excess.wrapping_add(MAGIC.to_bits() << shift);
        signs |= 1 << (shift + bits - 1);
    }
    let word = simd.sub_u32s(word, simd.splat_u32s(excess));
    let word = if BIASED { word } else { simd.xor_u32s(word, simd.splat_u32s(signs)) };
    simd.transmute_f32s_u32s(word)
}
