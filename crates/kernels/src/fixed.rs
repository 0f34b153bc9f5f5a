//! 16-bit fixed point by AVX-512 VNNI, for the reranker: VPDPWSSD multiplies pairs of 16-bit codes, two multiply-adds in an
//! instruction. Here are vectors of codes and the linear layers that follow a norm; `attend/fixed.rs` is attention.
//!
//! What a layer norm gives, before its weight and bias, has a norm of at most sqrt(dim), so that its codes need neither a
//! scale of their own nor a pass that looks for the largest; weight and bias are folded into the layer. By the
//! inequality of Cauchy and Schwarz no sum exceeds 32 bits.

use crate::Level;
use crate::buffer::Floats;
use crate::norm::Norm;
use crate::panel::NR_VECTORS;
use std::arch::asm;
use std::arch::x86_64::*;

/// Elements of 32 bits in a vector.
pub(crate) const LANES: usize = 16;

/// NR: tokens of a panel.
pub(crate) const COLUMNS: usize = NR_VECTORS * LANES;

/// Rows of a micro-panel of weights.
const ROWS: usize = 8;

/// The largest code: less than what 16 bits hold by what rounding adds.
pub(crate) const MOST_CODE: f32 = 32_766.0;

/// The largest norm of a row of weights' codes: times that of a token's, 32766, and what rounding adds to both, below 2^31.
const MOST_NORM: f32 = 65_000.0;

/// Lower bound of what is divided by.
pub(crate) const SMALLEST: f32 = 1e-30;

/// Proof that the CPU has AVX-512 F, BW and VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instructions(());

impl Instructions {
    pub(crate) fn of(level: Level) -> Option<Self> {
        let found = level == Level::Avx512
            && level.is_available()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(Self(()))
    }
}

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
    /// Micro-panels `[dim / 2, ROWS]`: codes of two columns in an element.
    weight: Floats,
    /// Units per product of codes, row after row.
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl<const N: usize> Normed<N> {
    /// Quantises weights `[rows, dim]` and takes biases `[rows]`; `dim` is even, rows are a multiple of [`ROWS`], or there is
    /// nothing.
    pub(crate) fn new(machine: Instructions, norm: &Norm, layers: [(&[f32], &[f32]); N]) -> Option<Self> {
        let fits = norm.weight.len().is_multiple_of(2)
            && layers.iter().all(|(_, bias)| bias.len().is_multiple_of(ROWS));
        let layers = layers.map(|(weight, bias)| Linear::new(norm, weight, bias));
        fits.then_some(Self { machine, epsilon: norm.epsilon, layers })
    }

    /// The outputs of a panel, where they are asked for.
    ///
    /// # Shapes
    /// - x: `[dim, NR]`
    /// - codes: scratch as large as `x`
    /// - out: `[rows, NR]` of each layer
    pub(crate) fn apply(&self, x: &[f32], codes: &mut [f32], out: [Option<&mut [f32]>; N]) {
        let (x, codes) = (x.as_chunks().0, codes.as_chunks_mut().0);
        let _ = self.machine;
        // SAFETY: `Instructions` exist only where `of` found all features that the functions enable.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            let check = normalise(x, self.epsilon, codes);
            for (layer, out) in self.layers.iter().zip(out) {
                if let Some(out) = out {
                    multiply(layer, &codes[..x.len() / 2], check, out.as_chunks_mut().0);
                }
            }
        }
    }
}

impl Linear {
    fn new(norm: &Norm, weight: &[f32], bias: &[f32]) -> Self {
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
            let first = r / ROWS * ROWS * dim / 2 + r % ROWS;
            for (place, code) in packed.weight[first..].iter_mut().step_by(ROWS).zip(codes) {
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

/// The codes of a panel `[dim, NR]`, two rows in one. Returns zero for each column, or NaN if it is not finite.
#[target_feature(enable = "avx512f,avx512bw")]
fn normalise(x: &[[f32; COLUMNS]], epsilon: f32, codes: &mut [[f32; COLUMNS]]) -> [__m512; NR_VECTORS] {
    let zero = _mm512_setzero_ps();
    let share = _mm512_set1_ps(1.0 / x.len() as f32);
    let most = _mm512_set1_ps(MOST_CODE / (x.len() as f32).sqrt());
    let mut check = [zero; NR_VECTORS];
    for v in 0..NR_VECTORS {
        let at = |row: &[f32; COLUMNS]| load(&halves(row)[v]);
        let (mut mean, mut square) = (zero, zero);
        for row in x {
            mean = _mm512_add_ps(mean, at(row));
        }
        mean = _mm512_mul_ps(mean, share);
        for row in x {
            let deviation = _mm512_sub_ps(at(row), mean);
            square = _mm512_fmadd_ps(deviation, deviation, square);
        }
        let variance = _mm512_fmadd_ps(square, share, _mm512_set1_ps(epsilon));
        let scale = _mm512_div_ps(most, _mm512_sqrt_ps(variance));
        check[v] = _mm512_mul_ps(scale, zero);
        for (rows, codes) in x.as_chunks::<2>().0.iter().zip(codes.iter_mut()) {
            let [low, high] =
                [0, 1].map(|i| _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(at(&rows[i]), mean), scale)));
            codes.as_chunks_mut().0[v] = floats(pair_lower(low, high));
        }
    }
    check
}

/// The products of a layer with the codes of a panel. A column that is not finite is given to the first row alone, and
/// from there to everything that is computed of it.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn multiply(layer: &Linear, x: &[[f32; COLUMNS]], check: [__m512; NR_VECTORS], out: &mut [[f32; COLUMNS]]) {
    let weight = layer.weight.as_chunks::<ROWS>().0;
    let (scales, bias) = (layer.scales.as_chunks::<ROWS>().0, layer.bias.as_chunks::<ROWS>().0);
    let tiles = weight.chunks_exact(x.len()).zip(out.as_chunks_mut::<ROWS>().0);
    for ((weight, out), (scales, bias)) in tiles.zip(scales.iter().zip(bias)) {
        let mut sums = [[_mm512_setzero_si512(); NR_VECTORS]; ROWS];
        for (weight, x) in weight.iter().zip(x) {
            let x = [codes(&halves(x)[0]), codes(&halves(x)[1])];
            for r in 0..ROWS {
                let w = _mm512_set1_epi32(weight[r].to_bits().cast_signed());
                for v in 0..NR_VECTORS {
                    sums[r][v] = add_products(sums[r][v], x[v], w);
                }
            }
        }
        for r in 0..ROWS {
            let (scale, bias) = (_mm512_set1_ps(scales[r]), _mm512_set1_ps(bias[r]));
            for v in 0..NR_VECTORS {
                let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][v]), scale, bias);
                out[r].as_chunks_mut().0[v] = store(sum);
            }
        }
    }
    if let Some(first) = out.first_mut() {
        for v in 0..NR_VECTORS {
            let row = &mut first.as_chunks_mut().0[v];
            *row = store(_mm512_add_ps(load(row), check[v]));
        }
    }
}

/// Both vectors of a row.
pub(crate) fn halves(row: &[f32; COLUMNS]) -> &[[f32; LANES]; NR_VECTORS] {
    // A row is as long as its vectors.
    row.as_chunks().0.as_array().unwrap_or(&[[0.0; LANES]; NR_VECTORS])
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(floats: &[f32; LANES]) -> __m512 {
    // SAFETY: both types are 64 bytes without padding, and any bits are valid floats.
    #[allow(unsafe_code, reason = "the compiler's own vector types have no safe casts")]
    unsafe {
        std::mem::transmute(*floats)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(vector: __m512) -> [f32; LANES] {
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        std::mem::transmute(vector)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn codes(words: &[f32; LANES]) -> __m512i {
    _mm512_castps_si512(load(words))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn floats(codes: __m512i) -> [f32; LANES] {
    store(_mm512_castsi512_ps(codes))
}

/// The lower halves of the lanes of two vectors as the lower and the upper halves of one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn pair_lower(low: __m512i, high: __m512i) -> __m512i {
    // Byte j + 14 of a pair of equal 128-bit lanes is byte j - 2 of one.
    _mm512_mask_alignr_epi8::<14>(low, 0xcccc_cccc_cccc_cccc, high, high)
}

/// The upper halves, likewise.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn pair_upper(low: __m512i, high: __m512i) -> __m512i {
    let (mask, mut both): (__mmask64, _) = (0x3333_3333_3333_3333, high);
    // The compiler would turn the intrinsic into a permutation of words from two vectors, three times as slow on some CPUs.
    // SAFETY: an instruction of AVX-512 BW, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpalignr {both} {{{mask}}}, {low}, {low}, 2",
            both = inout(zmm_reg) both, mask = in(kreg) mask, low = in(zmm_reg) low,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    both
}

/// Adds the products of pairs of 16-bit codes.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(crate) fn add_products(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let mut sums = sums;
    // The compiler would split the intrinsic into a product and a sum to shorten chains that are independent here.
    // SAFETY: an instruction of AVX-512 VNNI, which the function enables, on registers alone.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        asm!(
            "vpdpwssd {sums}, {a}, {b}",
            sums = inout(zmm_reg) sums, a = in(zmm_reg) a, b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn panel(x: &[f32], dim: usize) -> Floats {
        let mut panel = Floats::zeros(dim * COLUMNS);
        for c in 0..COLUMNS {
            for f in 0..dim {
                panel[f * COLUMNS + c] = x[c * dim + f];
            }
        }
        panel
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn layers_equal_plain_sums(
            dim in prop::sample::select(vec![2usize, 4, 32, 36, 64]),
            rows in prop::sample::select(vec![8usize, 32, 72]),
            scale in prop::sample::select(vec![0.0f32, 1e-3, 1.0, 1e4]),
            seed in prop::collection::vec(-1.0f32..1.0, 64 * COLUMNS + 72 * 65 + 2 * 64),
        ) {
            let Some(machine) = Instructions::of(Level::Avx512) else { return Ok(()) };
            let (x, rest) = seed.split_at(64 * COLUMNS);
            let (weight, rest) = rest.split_at(72 * 64);
            let (bias, rest) = rest.split_at(72);
            let x: Vec<f32> = x[..dim * COLUMNS].iter().map(|v| v * scale).collect();
            let (weight, bias) = (&weight[..rows * dim], &bias[..rows]);
            let norm = Norm { weight: rest[..dim].to_vec(), bias: rest[64..][..dim].to_vec(), epsilon: 1e-6 };
            let layer = Normed::new(machine, &norm, [(weight, bias), (weight, bias)]).unwrap();
            let mut out = Floats::zeros(rows * COLUMNS);
            layer.apply(&panel(&x, dim), &mut Floats::zeros(dim * COLUMNS), [None, Some(&mut out)]);
            for c in 0..COLUMNS {
                for (r, expected) in plain(&norm, &x[c * dim..][..dim], weight, bias).into_iter().enumerate() {
                    // By the norm of a folded row, and that of a token.
                    let row = weight[r * dim..][..dim].iter().zip(&norm.weight);
                    let size = (row.map(|(w, n)| f64::from(w * n).powi(2)).sum::<f64>() * dim as f64).sqrt();
                    let found = f64::from(out[r * COLUMNS + c]);
                    prop_assert!((found - expected).abs() <= 1e-4 * size + 1e-5, "{dim} {rows}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_given_on() {
        let Some(machine) = Instructions::of(Level::Avx512) else { return };
        let norm = Norm { weight: vec![1.0; 4], bias: vec![0.0; 4], epsilon: 1e-6 };
        let run = |x: &[f32], weight: f32| {
            let layer = Normed::new(machine, &norm, [(&[weight; 32], &[0.0; 8])]).unwrap();
            let mut out = Floats::zeros(8 * COLUMNS);
            layer.apply(&panel(x, 4), &mut Floats::zeros(4 * COLUMNS), [Some(&mut out)]);
            [0, 1].map(|c| out.iter().skip(c).step_by(COLUMNS).any(|v| v.is_nan()))
        };
        let mut x = vec![0.5; 4 * COLUMNS];
        assert_eq!(run(&x, 1.0), [false, false]);
        assert_eq!(run(&x, f32::NAN), [true, true]);
        for value in [f32::NAN, f32::INFINITY] {
            x[6] = value;
            assert_eq!(run(&x, 1.0), [false, true]);
        }
    }

    #[test]
    fn other_sizes_have_none() {
        let Some(machine) = Instructions::of(Level::Avx512) else { return };
        let norm = |dim: usize| Norm { weight: vec![1.0; dim], bias: vec![0.0; dim], epsilon: 1e-6 };
        assert!(Normed::new(machine, &norm(3), [(&[0.0; 24], &[0.0; 8])]).is_none());
        assert!(Normed::new(machine, &norm(4), [(&[0.0; 36], &[0.0; 9])]).is_none());
    }
}
