//! A matrix times one vector (GEMV), for layers that are applied once per image.
//!
//! Such a product takes as long as its weights take from memory: rows are read as they are stored, some at a time, and are
//! not packed. In 16 bits they are half as long, in 8 a quarter; the vector stays in 32 bits, so only the weights are
//! rounded. Those of 16 bits are expanded some columns at a time, and sums are those of the expanded ones.

use crate::Level;
use crate::buffer::Floats;
use crate::element::Element;
use crate::half::{Expansion, PERIOD};
use crate::int8::quantise_row;
use crate::values::TensorValues;
use crate::weights::{KernelError, TensorSource};
use half::f16;
use pulp::bytemuck::cast_slice;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows that are multiplied at once, so that the vector is read less often.
const ROWS: usize = 4;

/// Codes in a word.
const CODES: usize = 4;

/// Rows of a task.
const TASK: usize = 64;

/// Columns of 16-bit weights that are expanded at once: those of [`ROWS`] rows stay in L1.
const COLUMNS: usize = 10 * PERIOD;

/// The bits of 2^23, whose unit in the last place is 1: a code in its low bits is a float.
const UNITS: u32 = 0x4B00_0000;

/// What is taken off it: 2^23 and the 128 that make codes positive.
const OFFSET: f32 = 8_388_736.0;

/// A matrix `[rows, depth]` and its bias.
#[derive(Debug, Clone)]
pub(crate) struct Gemv {
    depth: usize,
    weights: Weights,
    bias: Vec<f32>,
}

#[derive(Debug, Clone)]
enum Weights {
    /// Row after row.
    Full(Vec<f32>),
    /// Row after row.
    Half(Vec<f16>, Expansion),
    /// Row after row in groups of [`CODES`] vectors: byte `j` of word `i` belongs to value `i` of vector `j`. The last group is
    /// padded with zeros.
    Codes {
        words: Vec<u32>,
        /// Of each row.
        scales: Vec<f32>,
    },
}

impl Gemv {
    /// Takes a weight `[rows, depth]`, row after row, and a bias, one value per row; as codes beside 8-bit elements.
    pub(crate) fn new(level: Level, element: Element, weight: TensorValues<'_>, bias: &[f32]) -> Self {
        let depth = weight.len() / bias.len().max(1);
        let weights = match (element, weight) {
            (Element::Int8(_), weight) => coded(level.lanes(), depth, &weight),
            (_, TensorValues::F32(weight)) => Weights::Full(weight.into_owned()),
            (_, TensorValues::F16(weight)) => Weights::Half(weight.into_owned(), Expansion::of(level)),
        };
        Self { depth, weights, bias: bias.to_vec() }
    }

    /// `{name}.weight` `[rows, depth]` and `{name}.bias` of a linear layer.
    pub(crate) fn load(
        level: Level,
        element: Element,
        source: &TensorSource<'_>,
        name: &str,
        [rows, depth]: [usize; 2],
    ) -> Result<Self, KernelError> {
        let bias = source.get(&format!("{name}.bias"), rows)?;
        Ok(Self::new(level, element, source.stored(&format!("{name}.weight"), rows * depth)?, &bias))
    }

    /// `W x + b` on the threads of the current rayon pool.
    ///
    /// # Shapes
    /// - x: `[depth]`; its memory is used further
    /// - output: `[rows]`
    pub(crate) fn run(&self, level: Level, x: &mut Floats) -> Vec<f32> {
        let mut out = self.bias.clone();
        match &self.weights {
            Weights::Full(weight) => {
                let x = &x[..self.depth];
                let parts = out.par_chunks_mut(TASK).zip(weight.par_chunks(TASK * self.depth.max(1)));
                parts.for_each(|(out, weight)| level.run(Full { weight, x, out }));
            }
            Weights::Half(weight, expansion) => {
                let (x, expansion) = (&x[..self.depth], *expansion);
                let parts = out.par_chunks_mut(TASK).zip(weight.par_chunks(TASK * self.depth.max(1)));
                parts.for_each(|(out, weight)| level.run(Half { expansion, weight, x, out }));
            }
            Weights::Codes { words, scales } => {
                let row = row_words(level.lanes(), self.depth);
                x.resize(row * CODES);
                x[self.depth..].fill(0.0);
                let parts = out.par_chunks_mut(TASK).zip(words.par_chunks(TASK * row.max(1)));
                parts.zip(scales.par_chunks(TASK)).for_each(|((out, words), scales)| {
                    level.run(Coded { words, scales, x, out });
                });
            }
        }
        out
    }
}

/// Words of a row of codes.
fn row_words(lanes: usize, depth: usize) -> usize {
    depth.div_ceil(CODES * lanes) * lanes
}

fn coded(lanes: usize, depth: usize, weight: &TensorValues<'_>) -> Weights {
    let row = row_words(lanes, depth);
    let rows = weight.len() / depth.max(1);
    let (mut words, mut scales) = (vec![0; rows * row], vec![0.0; rows]);
    let parts = words.par_chunks_exact_mut(row.max(1)).zip(&mut scales).enumerate();
    parts.for_each_init(Vec::new, |codes, (r, (words, scale))| {
        // A row at a time: the layer is more than half of a model.
        let values = weight.part(r * depth..(r + 1) * depth).expanded();
        *scale = quantise_row(&values, codes);
        codes.resize(row * CODES, 0);
        for (words, codes) in words.chunks_exact_mut(lanes).zip(codes.chunks_exact(CODES * lanes)) {
            for (i, word) in words.iter_mut().enumerate() {
                *word = u32::from_le_bytes([0, 1, 2, 3].map(|j| (codes[j * lanes + i] + 128) as u8));
            }
        }
    });
    Weights::Codes { words, scales }
}

/// The rows of a group. Of those that are not there the first stands in.
#[inline(always)]
fn rows<T>(group: &[T], length: usize) -> [&[T]; ROWS] {
    [0, 1, 2, 3].map(|r| group.get(r * length..(r + 1) * length).unwrap_or(&group[..length]))
}

/// Adds the products of some rows of floats to `out`.
struct Full<'a> {
    weight: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Full<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let depth = self.x.len();
        let (x, tail) = S::as_simd_f32s(self.x);
        for (weight, out) in self.weight.chunks(ROWS * depth.max(1)).zip(self.out.chunks_mut(ROWS)) {
            let rows = rows(weight, depth).map(|row| S::as_simd_f32s(row).0);
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for (i, x) in x.iter().enumerate() {
                for r in 0..ROWS {
                    sums[r] = simd.mul_add_e_f32s(rows[r][i], *x, sums[r]);
                }
            }
            for (r, out) in out.iter_mut().enumerate() {
                let last = &weight[r * depth + depth - tail.len()..][..tail.len()];
                let rest: f32 = last.iter().zip(tail).map(|(w, x)| w * x).sum();
                *out += simd.reduce_sum_f32s(sums[r]) + rest;
            }
        }
    }
}

/// The same for rows of 16 bits, in the same order.
struct Half<'a> {
    expansion: Expansion,
    weight: &'a [f16],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Half<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let depth = self.x.len();
        let mut expanded = [[0.0; COLUMNS]; ROWS];
        for (weight, out) in self.weight.chunks(ROWS * depth.max(1)).zip(self.out.chunks_mut(ROWS)) {
            let rows = rows(weight, depth);
            let (mut sums, mut rest) = ([simd.splat_f32s(0.0); ROWS], [0.0; ROWS]);
            for (first, x) in (0..).step_by(COLUMNS).zip(self.x.chunks(COLUMNS)) {
                for (row, expanded) in rows.iter().zip(&mut expanded) {
                    let halves: &[u16] = cast_slice(&row[first..first + x.len()]);
                    self.expansion.expand(halves, &[1.0; PERIOD], &mut expanded[..x.len()]);
                }
                let (vectors, tail) = S::as_simd_f32s(x);
                let expanded = expanded.each_ref().map(|row| (S::as_simd_f32s(row).0, row));
                for (i, x) in vectors.iter().enumerate() {
                    for r in 0..ROWS {
                        sums[r] = simd.mul_add_e_f32s(expanded[r].0[i], *x, sums[r]);
                    }
                }
                // Of the last columns alone.
                for (rest, (_, row)) in rest.iter_mut().zip(&expanded) {
                    *rest = row[x.len() - tail.len()..].iter().zip(tail).map(|(w, x)| w * x).sum();
                }
            }
            for (r, out) in out.iter_mut().enumerate() {
                *out += simd.reduce_sum_f32s(sums[r]) + rest[r];
            }
        }
    }
}

/// The same for rows of codes; `x` is padded as they are.
struct Coded<'a> {
    words: &'a [u32],
    scales: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Coded<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let x = S::as_simd_f32s(self.x).0.as_chunks::<CODES>().0;
        let row = self.x.len() / CODES;
        let (byte, units) = (simd.splat_u32s(0xFF), simd.splat_u32s(UNITS));
        let (offset, shift) = (simd.splat_f32s(OFFSET), simd.splat_u32s(8));
        let parts = self.words.chunks(ROWS * row.max(1)).zip(self.out.chunks_mut(ROWS));
        for ((words, out), scales) in parts.zip(self.scales.chunks(ROWS)) {
            let rows = rows(words, row).map(|row| S::as_simd_u32s(row).0);
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for (i, x) in x.iter().enumerate() {
                for r in 0..ROWS {
                    let mut word = rows[r][i];
                    for j in 0..CODES {
                        let code = simd.or_u32s(simd.and_u32s(word, byte), units);
                        let code = simd.sub_f32s(simd.transmute_f32s_u32s(code), offset);
                        sums[r] = simd.mul_add_e_f32s(code, x[j], sums[r]);
                        word = simd.wrapping_dyn_shr_u32s(word, shift);
                    }
                }
            }
            for (r, (out, scale)) in out.iter_mut().zip(scales).enumerate() {
                *out += simd.reduce_sum_f32s(sums[r]) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::int8::DotProduct;

    const SIZES: [[usize; 2]; 8] =
        [[1, 1], [3, 5], [4, 64], [5, 67], [70, 129], [131, 260], [9, 480], [6, 1003]];

    /// Values between -1 and 1 that repeat late.
    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn products_are_those_of_plain_loops() {
        for [rows, depth] in SIZES {
            let (weight, bias, x) = (values(rows * depth, 1), values(rows, 2), values(depth, 3));
            for level in Level::available() {
                let floats = || {
                    let mut floats = Floats::zeros(depth);
                    floats.copy_from_slice(&x);
                    floats
                };
                let full = Gemv::new(level, Element::F32, (&weight).into(), &bias);
                let coded = Element::Int8(DotProduct::Emulated);
                let coded = Gemv::new(level, coded, (&weight).into(), &bias);
                let (full, coded) = (full.run(level, &mut floats()), coded.run(level, &mut floats()));
                for (r, row) in weight.chunks_exact(depth).enumerate() {
                    let dot = |row: &mut dyn Iterator<Item = f64>| {
                        f64::from(bias[r]) + row.zip(&x).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
                    };
                    let exact = dot(&mut row.iter().map(|w| f64::from(*w)));
                    let mut codes = Vec::new();
                    let scale = f64::from(quantise_row(row, &mut codes));
                    let rounded = dot(&mut codes.iter().map(|code| f64::from(*code) * scale));
                    for (found, expected) in [(full[r], exact), (coded[r], rounded)] {
                        let error = (f64::from(found) - expected).abs();
                        assert!(
                            error < 1e-5 * (depth as f64).sqrt(),
                            "{level} {rows}x{depth} row {r}: {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }

    /// Bit for bit, in 8 bits, too.
    #[test]
    fn weights_of_16_bits_give_the_products_of_their_values() {
        for [rows, depth] in SIZES {
            let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<_>>();
            let (weight, bias) = (halves(values(rows * depth, 4)), values(rows, 5));
            let expanded: Vec<f32> = weight.iter().map(|w| w.to_f32()).collect();
            for level in Level::available() {
                for element in [Element::F32, Element::Int8(DotProduct::Emulated)] {
                    let run = |weight: TensorValues<'_>| {
                        let mut x = Floats::zeros(depth);
                        x.copy_from_slice(&values(depth, 6));
                        Gemv::new(level, element, weight, &bias).run(level, &mut x)
                    };
                    let (found, expected) = (run(weight.clone().into()), run((&expanded).into()));
                    assert_eq!(found, expected, "{level} {element:?}: {rows} x {depth}");
                }
            }
        }
    }
}
