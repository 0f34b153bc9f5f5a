//! Products beside plain sums.

use super::*;
use crate::element::Instruction;
use crate::epilogue::Accumulate;
use crate::panel::panel_columns;
use half::f16;
use proptest::prelude::*;

struct Product<'a> {
    packing: Packing,
    rows: usize,
    depth: usize,
    weight: &'a [f32],
    bias: &'a [f32],
    x: &'a [f32],
}

impl WithSimd for Product<'_> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let columns = panel_columns::<S>();
        let matrix = Matrix::pack(self.packing, self.depth, self.weight, self.bias);
        // Every column the same, so that the result does not depend on the level's width.
        let mut x = Floats::zeros(self.depth * columns);
        for (k, value) in self.x.iter().enumerate() {
            x[k * columns..][..columns].fill(*value);
        }
        let mut out = Floats::zeros(self.rows * columns);
        out.fill(1.0);
        let x = matrix.input(simd, self.depth, vectors_mut::<S>(&mut x));
        matrix.multiply(simd, x, vectors_mut::<S>(&mut out), Accumulate);
        (0..self.rows).map(|r| out[r * columns + columns - 1]).collect()
    }
}

proptest! {
    #[test]
    fn products_equal_plain_sums(
        rows in 1usize..30,
        depth in prop::sample::select(vec![1usize, 2, 31, 191, 192, 193, 500]),
        seed in prop::collection::vec(-2.0f32..2.0, 30 * 500 + 600),
    ) {
        let (weight, rest) = seed.split_at(rows * depth);
        let (bias, x) = (&rest[..rows], &rest[rows..rows + depth]);
        for level in Level::available() {
            let mut all = vec![Element::F32, Element::Bf16x2(Instruction::Emulated)];
            all.extend(Instruction::of(level).map(Element::Bf16x2));
            for element in all {
                let packing = Packing::new(level, element);
                let found = level.run(Product { packing, rows, depth, weight, bias, x });
                let kept = |v: f32| if element == Element::F32 { v } else { element::rounded(v) };
                for r in 0..rows {
                    let row = weight[r * depth..][..depth].iter().zip(x);
                    let sum: f64 = row.map(|(w, x)| f64::from(kept(*w)) * f64::from(kept(*x))).sum();
                    let expected = 1.0 + f64::from(bias[r]) + sum;
                    prop_assert!((f64::from(found[r]) - expected).abs() < 1e-3, "{} {:?} row {}", level, element, r);
                }
            }
        }
    }
}

/// Several panels, of columns that differ.
struct Panels<'a> {
    matrix: Matrix,
    x: &'a [f32],
    panels: usize,
}

impl WithSimd for Panels<'_> {
    type Output = Vec<u32>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
        let (columns, matrix) = (panel_columns::<S>(), &self.matrix);
        let mut x = Floats::zeros(self.panels * self.matrix.depth * columns);
        x.iter_mut().zip(self.x.iter().cycle()).for_each(|(x, value)| *x = *value);
        let mut out = Floats::zeros(self.panels * matrix.rows * columns);
        out.fill(1.0);
        matrix.multiply(simd, vectors::<S>(&x), vectors_mut::<S>(&mut out), Accumulate);
        out.iter().map(|v| v.to_bits()).collect()
    }
}

/// Bit for bit: the values are the same, and so is the order of sums.
#[test]
fn weights_of_16_bits_give_the_products_of_their_values() {
    let mut random = fastrand::Rng::with_seed(5);
    for [rows, depth, panels] in
        [[1, 1, 1], [5, 3, 2], [12, 192, 1], [13, 193, 3], [192, 47, 2], [200, 391, 3], [385, 200, 1]]
    {
        // Subnormal ones among them.
        let mut value = || (2.0 * random.f32() - 1.0) * [1.0, 1e-3, 1e-6][random.usize(0..3)];
        let weight: Vec<f16> = (0..rows * depth).map(|_| f16::from_f32(value())).collect();
        let [factors, bias] = [0, 1].map(|_| (0..rows).map(|_| value()).collect::<Vec<f32>>());
        let x: Vec<f32> = (0..997).map(|_| value()).collect();
        let scaled = weight.chunks_exact(depth).zip(&factors);
        let scaled: Vec<f32> = scaled.flat_map(|(row, f)| row.iter().map(move |w| w.to_f32() * f)).collect();
        for level in Level::available() {
            let packing = Packing::new(level, Element::F32);
            let expected = Matrix::pack(packing, depth, &scaled, &bias);
            let expected = level.run(Panels { matrix: expected, x: &x, panels });
            for expansion in [Expansion::of(level), Expansion::Portable] {
                let matrix = Matrix::pack_halves(packing, expansion, &weight, &factors, &bias);
                let found = level.run(Panels { matrix, x: &x, panels });
                assert!(found == expected, "{level} {expansion:?}: {rows} x {depth}, {panels} panels");
            }
        }
    }
}
