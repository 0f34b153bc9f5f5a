//! 16-bit fixed point for the reranker: an instruction multiplies pairs of 16-bit codes and adds both products, two
//! multiply-adds in VPDPWSSD, or in a VPMADDWD and a sum. Here are the linear layers that follow a norm; `fixed/codes.rs` has
//! vectors of codes, `attend/fixed.rs` is attention. All are written once, and every instruction set gives the same results.
//!
//! What a layer norm gives, before its weight and bias, has a norm of at most sqrt(dim), so that its codes need neither a
//! scale of their own nor a pass that looks for the largest; weight and bias are folded into the layer. By the
//! inequality of Cauchy and Schwarz no sum exceeds 32 bits.

mod avx2;
mod avx512;
mod codes;

pub(crate) use codes::{Codes, F32s, I32s, Instructions, WithCodes};

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::norm::Norm;
use crate::panel::NR_VECTORS;
use pulp::Simd;

/// Rows of a micro-panel of weights with 16 registers, and with 32.
const ROWS: usize = 4;
const ROWS_WIDE: usize = 8;

/// The largest code: less than what 16 bits hold by what rounding adds.
pub(crate) const MOST_CODE: f32 = 32_766.0;

/// The largest norm of a row of weights' codes: times that of a token's, 32766, and what rounding adds to both, below 2^31.
const MOST_NORM: f32 = 65_000.0;

/// Lower bound of what is divided by.
pub(crate) const SMALLEST: f32 = 1e-30;

/// Linear layers `[rows, dim]` after the same layer norm.
#[derive(Debug, Clone)]
pub(crate) struct Normed<const N: usize> {
    machine: Instructions,
    epsilon: f32,
    layers: [Linear; N],
}

/// A linear layer after a layer norm, whose weight and bias are folded into it.
#[derive(Debug, Clone)]
struct Linear {
    /// Micro-panels `[dim / 2, ROWS_WIDE]`, or half as wide: codes of two columns in an element.
    weight: Floats,
    /// Units per product of codes, row after row.
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl<const N: usize> Normed<N> {
    /// Quantises weights `[rows, dim]` and takes biases `[rows]`; `dim` is even, rows are a multiple of 8, or there is
    /// nothing.
    pub(crate) fn new(machine: Instructions, norm: &Norm, layers: [(&[f32], &[f32]); N]) -> Option<Self> {
        let fits = norm.weight.len().is_multiple_of(2)
            && layers.iter().all(|(_, bias)| bias.len().is_multiple_of(ROWS_WIDE));
        let layers = layers.map(|(weight, bias)| Linear::new(machine, norm, weight, bias));
        fits.then_some(Self { machine, epsilon: norm.epsilon, layers })
    }

    /// The outputs of a panel, where they are asked for.
    ///
    /// # Shapes
    /// - x: `[dim, NR]`
    /// - codes: scratch as large as `x`
    /// - out: `[rows, NR]` of each layer
    pub(crate) fn apply(&self, x: &[f32], codes: &mut [f32], out: [Option<&mut [f32]>; N]) {
        self.machine.run(Apply { normed: self, x, scratch: codes, out });
    }
}

impl Linear {
    fn new(machine: Instructions, norm: &Norm, weight: &[f32], bias: &[f32]) -> Self {
        let rows = if machine.is_wide() { ROWS_WIDE } else { ROWS };
        let dim = norm.weight.len();
        let mut packed = Self {
            weight: Floats::zeros(bias.len() * dim / 2),
            scales: Vec::with_capacity(bias.len()),
            bias: Vec::with_capacity(bias.len()),
        };
        for (r, (row, bias)) in weight.chunks_exact(dim).zip(bias).enumerate() {
            let folded: Vec<f32> = row.iter().zip(&norm.weight).map(|(w, scale)| w * scale).collect();
            let added: f64 = row.iter().zip(&norm.bias).map(|(w, b)| f64::from(*w) * f64::from(*b)).sum();
            let most = folded.iter().fold(SMALLEST, |most, w| most.max(w.abs()));
            let square = folded.iter().map(|w| w * w).sum::<f32>();
            let scale = (MOST_CODE / most).min(MOST_NORM / square.sqrt().max(SMALLEST));
            let codes = folded.as_chunks::<2>().0.iter().map(|pair| {
                let [low, high] =
                    pair.map(|w| ((w * scale).round_ties_even() as i32).cast_unsigned() & 0xffff);
                f32::from_bits(low | high << 16)
            });
            let first = r / rows * rows * dim / 2 + r % rows;
            for (place, code) in packed.weight[first..].iter_mut().step_by(rows).zip(codes) {
                *place = code;
            }
            // Not a number if a weight is not finite.
            let check = folded.iter().sum::<f32>() * 0.0;
            packed.scales.push((dim as f32).sqrt() / (MOST_CODE * scale) + check);
            packed.bias.push((f64::from(*bias) + added) as f32);
        }
        packed
    }
}

/// [`Normed::apply`] with vectors of codes.
struct Apply<'a, const N: usize> {
    normed: &'a Normed<N>,
    x: &'a [f32],
    scratch: &'a mut [f32],
    out: [Option<&'a mut [f32]>; N],
}

impl<const N: usize> WithCodes for Apply<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_codes<C: Codes>(self, codes: C) {
        let x = vectors::<C::Simd>(self.x).as_chunks().0;
        let scratch = vectors_mut::<C::Simd>(self.scratch).as_chunks_mut().0;
        let check = normalise(codes, x, self.normed.epsilon, scratch);
        let x = &scratch[..x.len() / 2];
        for (layer, out) in self.normed.layers.iter().zip(self.out) {
            if let Some(out) = out {
                let out = vectors_mut::<C::Simd>(out).as_chunks_mut().0;
                if C::Simd::REGISTER_COUNT >= 32 {
                    multiply::<C, ROWS_WIDE>(codes, layer, x, check, out);
                } else {
                    multiply::<C, ROWS>(codes, layer, x, check, out);
                }
            }
        }
    }
}

/// The codes of a panel `[dim, NR]`, two rows in one. Returns zero for each column, or NaN if it is not finite.
#[inline(always)]
fn normalise<C: Codes>(
    codes: C,
    x: &[[F32s<C>; NR_VECTORS]],
    epsilon: f32,
    out: &mut [[F32s<C>; NR_VECTORS]],
) -> [F32s<C>; NR_VECTORS] {
    let simd = codes.simd();
    let zero = simd.splat_f32s(0.0);
    let share = simd.splat_f32s(1.0 / x.len() as f32);
    let most = simd.splat_f32s(MOST_CODE / (x.len() as f32).sqrt());
    let mut check = [zero; NR_VECTORS];
    for v in 0..NR_VECTORS {
        let (mut mean, mut square) = (zero, zero);
        for row in x {
            mean = simd.add_f32s(mean, row[v]);
        }
        mean = simd.mul_f32s(mean, share);
        for row in x {
            let deviation = simd.sub_f32s(row[v], mean);
            square = simd.mul_add_e_f32s(deviation, deviation, square);
        }
        let variance = simd.mul_add_e_f32s(square, share, simd.splat_f32s(epsilon));
        let scale = simd.div_f32s(most, simd.sqrt_f32s(variance));
        check[v] = simd.mul_f32s(scale, zero);
        for (rows, out) in x.as_chunks::<2>().0.iter().zip(out.iter_mut()) {
            let low = codes.round(simd.mul_f32s(simd.sub_f32s(rows[0][v], mean), scale));
            let high = codes.round(simd.mul_f32s(simd.sub_f32s(rows[1][v], mean), scale));
            out[v] = simd.transmute_f32s_i32s(codes.pair_lower(low, high));
        }
    }
    check
}

/// The products of a layer with the codes of a panel. A column that is not finite is given to the first row alone, and
/// from there to everything that is computed of it.
#[inline(always)]
fn multiply<C: Codes, const R: usize>(
    codes: C,
    layer: &Linear,
    x: &[[F32s<C>; NR_VECTORS]],
    check: [F32s<C>; NR_VECTORS],
    out: &mut [[F32s<C>; NR_VECTORS]],
) {
    let simd = codes.simd();
    let weight = layer.weight.as_chunks::<R>().0;
    let (scales, bias) = (layer.scales.as_chunks::<R>().0, layer.bias.as_chunks::<R>().0);
    let tiles = weight.chunks_exact(x.len()).zip(out.as_chunks_mut::<R>().0);
    for ((weight, out), (scales, bias)) in tiles.zip(scales.iter().zip(bias)) {
        let mut sums = [[simd.splat_i32s(0); NR_VECTORS]; R];
        for (weight, x) in weight.iter().zip(x) {
            let x = [simd.transmute_i32s_f32s(x[0]), simd.transmute_i32s_f32s(x[1])];
            for r in 0..R {
                let w = simd.splat_i32s(weight[r].to_bits().cast_signed());
                for v in 0..NR_VECTORS {
                    sums[r][v] = codes.add_products(sums[r][v], x[v], w);
                }
            }
        }
        for r in 0..R {
            let (scale, bias) = (simd.splat_f32s(scales[r]), simd.splat_f32s(bias[r]));
            for v in 0..NR_VECTORS {
                out[r][v] = simd.mul_add_e_f32s(codes.floats(sums[r][v]), scale, bias);
            }
        }
    }
    if let Some(first) = out.first_mut() {
        for v in 0..NR_VECTORS {
            first[v] = simd.add_f32s(first[v], check[v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use proptest::prelude::*;

    /// Rows of a linear layer after a layer norm of one token.
    fn plain(norm: &Norm, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
        let parts = x.iter().zip(norm.weight.iter().zip(&norm.bias));
        let normed: Vec<f64> =
            parts.map(|(v, (w, b))| (v - mean) * scale * f64::from(*w) + f64::from(*b)).collect();
        let rows = weight.chunks_exact(x.len()).zip(bias);
        rows.map(|(row, b)| {
            row.iter().zip(&normed).map(|(w, v)| f64::from(*w) * v).sum::<f64>() + f64::from(*b)
        })
        .collect()
    }

    /// Tokens of a panel of the widest vectors.
    const MOST_COLUMNS: usize = 32;

    fn panel(x: &[f32], dim: usize, columns: usize) -> Floats {
        let mut panel = Floats::zeros(dim * columns);
        for c in 0..columns {
            for f in 0..dim {
                panel[f * columns + c] = x[c * dim + f];
            }
        }
        panel
    }

    /// All instructions of this machine, and the tokens of a panel.
    fn machines() -> impl Iterator<Item = (Instructions, usize)> {
        let of = |level: Level| Instructions::available(level).map(move |all| (all, level.columns()));
        Level::available().flat_map(of)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn layers_equal_plain_sums(
            dim in prop::sample::select(vec![2usize, 4, 32, 36, 64]),
            rows in prop::sample::select(vec![8usize, 32, 72]),
            scale in prop::sample::select(vec![0.0f32, 1e-3, 1.0, 1e4]),
            seed in prop::collection::vec(-1.0f32..1.0, 64 * MOST_COLUMNS + 72 * 65 + 2 * 64),
        ) {
            let (x, rest) = seed.split_at(64 * MOST_COLUMNS);
            let (weight, rest) = rest.split_at(72 * 64);
            let (bias, rest) = rest.split_at(72);
            let x: Vec<f32> = x[..dim * MOST_COLUMNS].iter().map(|v| v * scale).collect();
            let (weight, bias) = (&weight[..rows * dim], &bias[..rows]);
            let norm = Norm { weight: rest[..dim].to_vec(), bias: rest[64..][..dim].to_vec(), epsilon: 1e-6 };
            let mut first = None;
            for (machine, columns) in machines() {
                let layer = Normed::new(machine, &norm, [(weight, bias), (weight, bias)]).unwrap();
                let mut out = Floats::zeros(rows * columns);
                let (x_panel, mut scratch) = (panel(&x, dim, columns), Floats::zeros(dim * columns));
                layer.apply(&x_panel, &mut scratch, [None, Some(&mut out)]);
                for c in 0..columns {
                    for (r, expected) in plain(&norm, &x[c * dim..][..dim], weight, bias).into_iter().enumerate() {
                        // By the norm of a folded row, and that of a token.
                        let row = weight[r * dim..][..dim].iter().zip(&norm.weight);
                        let size = (row.map(|(w, n)| f64::from(w * n).powi(2)).sum::<f64>() * dim as f64).sqrt();
                        let found = f64::from(out[r * columns + c]);
                        prop_assert!(
                            (found - expected).abs() <= 1e-4 * size + 1e-5,
                            "{machine:?} {dim} {rows}: {found} {expected}"
                        );
                    }
                }
                // The same bits with all instructions.
                let own: Vec<f32> = out.chunks_exact(columns).flat_map(|row| row[..16].to_vec()).collect();
                prop_assert_eq!(first.get_or_insert(own.clone()), &own, "{:?}", machine);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_given_on() {
        let norm = Norm { weight: vec![1.0; 4], bias: vec![0.0; 4], epsilon: 1e-6 };
        for (machine, columns) in machines() {
            let run = |x: &[f32], weight: f32| {
                let layer = Normed::new(machine, &norm, [(&[weight; 32], &[0.0; 8])]).unwrap();
                let mut out = Floats::zeros(8 * columns);
                layer.apply(&panel(x, 4, columns), &mut Floats::zeros(4 * columns), [Some(&mut out)]);
                [0, 1].map(|c| out.iter().skip(c).step_by(columns).any(|v| v.is_nan()))
            };
            let mut x = vec![0.5; 4 * columns];
            assert_eq!(run(&x, 1.0), [false, false]);
            assert_eq!(run(&x, f32::NAN), [true, true]);
            for value in [f32::NAN, f32::INFINITY] {
                x[6] = value;
                assert_eq!(run(&x, 1.0), [false, true], "{machine:?}");
            }
        }
    }

    #[test]
    fn other_sizes_have_none() {
        let Some((machine, _)) = machines().next() else { return };
        let norm = |dim: usize| Norm { weight: vec![1.0; dim], bias: vec![0.0; dim], epsilon: 1e-6 };
        assert!(Normed::new(machine, &norm(3), [(&[0.0; 24], &[0.0; 8])]).is_none());
        assert!(Normed::new(machine, &norm(4), [(&[0.0; 36], &[0.0; 9])]).is_none());
    }
}
