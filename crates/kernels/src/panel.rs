//! Panels, and products with them.
//!
//! Tokens lie side by side in panels of [`WIDTH`] vectors: number `f` of all tokens of a panel is one row of
//! [`WIDTH`] vectors. Whatever a network does to each token alone (products, norms, activations) is then a
//! vertical operation, without a sum across a vector, and a panel of the reranker's sizes stays in the
//! nearest cache from end to end.

use crate::buffer::Floats;
use crate::math::gelu;
use pulp::Simd;

/// Vectors in a row of a panel.
pub(crate) const WIDTH: usize = 2;

/// Rows of a product that are summed at a time: sums, inputs and one weight stay in registers.
pub(crate) const fn block_of(registers: usize) -> usize {
    if registers >= 32 { WIDE_BLOCK } else { BLOCK }
}

/// [`block_of`] 16 registers.
pub(crate) const BLOCK: usize = 6;

/// [`block_of`] 32 registers.
pub(crate) const WIDE_BLOCK: usize = 12;

/// Numbers in a row of a panel.
pub(crate) const fn columns_of<S: Simd>() -> usize {
    WIDTH * S::F32_LANES
}

/// Columns of a matrix that are multiplied at a time, so that their part of the panel stays in the nearest
/// cache; a multiple of every level's panel and of every block of rows.
pub(crate) const DEPTH: usize = 192;

/// Rows of a matrix that are multiplied with several panels before the next ones, so that a slice of them
/// stays in the second cache; a multiple of every block of rows.
const ROWS: usize = 192;

/// A matrix `[rows, depth]` and its bias, packed for products with panels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    depth: usize,
    block: usize,
    /// Slices of [`DEPTH`] columns; in each, blocks of rows; in each, column after column.
    weight: Floats,
    bias: Vec<f32>,
}

impl Matrix {
    /// Packs `weight` (row after row, as PyTorch keeps it) for blocks of `block` rows.
    pub(crate) fn pack(block: usize, depth: usize, weight: &[f32], bias: &[f32]) -> Self {
        let mut packed = Self::default();
        packed.resize(block, bias.len(), depth);
        packed.bias[..bias.len()].copy_from_slice(bias);
        for (r, row) in weight.chunks_exact(depth.max(1)).enumerate() {
            for (part, values) in row.chunks(DEPTH).enumerate() {
                packed.set_row(r, part * DEPTH, values);
            }
        }
        packed
    }

    /// Makes it `[rows, depth]` without a bias; what is in it afterwards has to be [`set`](Self::set).
    pub(crate) fn resize(&mut self, block: usize, rows: usize, depth: usize) {
        let padded = rows.div_ceil(block) * block;
        (self.rows, self.depth, self.block) = (rows, depth, block);
        self.weight.resize(padded * depth);
        self.bias.clear();
        self.bias.resize(padded, 0.0);
    }

    /// Where a value stands in `weight`.
    fn place(&self, row: usize, column: usize) -> usize {
        let blocks = self.rows.div_ceil(self.block);
        let first = column / DEPTH * DEPTH;
        let length = DEPTH.min(self.depth - first);
        let at = first * blocks + row / self.block * length + (column - first);
        at * self.block + row % self.block
    }

    /// Puts values of one row, from `column` on; they must not pass a multiple of [`DEPTH`].
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, column: usize, values: &[f32]) {
        if values.is_empty() {
            return;
        }
        let first = self.place(row, column);
        let places = self.weight[first..].iter_mut().step_by(self.block);
        for (place, value) in places.zip(values) {
            *place = *value;
        }
    }

    /// Puts values of one column, from `row` on.
    #[inline(always)]
    pub(crate) fn set_column(&mut self, row: usize, column: usize, values: &[f32]) {
        let length = DEPTH.min(self.depth - column / DEPTH * DEPTH);
        let (mut place, mut lane) = (self.place(row, column), row % self.block);
        for value in values {
            self.weight[place] = *value;
            (place, lane) = (place + 1, lane + 1);
            if lane == self.block {
                // The same column of the next block.
                (place, lane) = (place + (length - 1) * self.block, 0);
            }
        }
    }

    /// Rows that are summed at a time.
    pub(crate) fn rows_together(&self) -> usize {
        self.block
    }

    /// `out = W x + b`, finished by `F`, of one panel or several.
    ///
    /// # Shapes
    /// - x: `depth` rows of each panel
    /// - out: `rows` rows of each panel, at least
    #[inline(always)]
    pub(crate) fn times<S: Simd, F: Finish>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s], finish: F) {
        // The packing fits the registers: both follow from the level.
        if self.block == WIDE_BLOCK {
            self.blocks::<S, F, WIDE_BLOCK>(simd, x, out, finish);
        } else {
            self.blocks::<S, F, BLOCK>(simd, x, out, finish);
        }
    }

    #[inline(always)]
    fn blocks<S: Simd, F: Finish, const R: usize>(
        &self,
        simd: S,
        x: &[S::f32s],
        out: &mut [S::f32s],
        finish: F,
    ) {
        let (x, out) = (x.as_chunks::<WIDTH>().0, out.as_chunks_mut::<WIDTH>().0);
        for first in (0..self.depth).step_by(DEPTH) {
            for chunk in (0..self.rows).step_by(ROWS) {
                for panel in 0..x.len() / self.depth {
                    let x = &x[panel * self.depth + first..];
                    let out = &mut out[panel * self.rows..][..self.rows];
                    for row in (chunk..self.rows.min(chunk + ROWS)).step_by(R) {
                        self.block::<S, F, R>(simd, first, row, x, out, finish);
                    }
                }
            }
        }
    }

    /// One slice of one block of rows, the block that begins at `row`.
    #[inline(always)]
    fn block<S: Simd, F: Finish, const R: usize>(
        &self,
        simd: S,
        first: usize,
        row: usize,
        x: &[[S::f32s; WIDTH]],
        out: &mut [[S::f32s; WIDTH]],
        finish: F,
    ) {
        let last = first + DEPTH >= self.depth;
        let rows = &mut out[row..self.rows.min(row + R)];
        let mut sums = [[simd.splat_f32s(0.0); WIDTH]; R];
        for (r, there) in rows.iter().enumerate() {
            let bias = simd.splat_f32s(self.bias[row + r]);
            for v in 0..WIDTH {
                sums[r][v] = if first == 0 { finish.start(simd, bias, there[v]) } else { there[v] };
            }
        }
        self.add_slice::<S, R>(simd, first, row / R, x, &mut sums);
        for (r, there) in rows.iter_mut().enumerate() {
            for v in 0..WIDTH {
                there[v] = if last { finish.end(simd, sums[r][v]) } else { sums[r][v] };
            }
        }
    }

    /// Some rows of the product without bias, of a matrix of at most [`DEPTH`] columns.
    ///
    /// # Shapes
    /// - first: the first row, a multiple of [`DEPTH`]
    /// - out: as many rows of a panel as are wanted
    #[inline(always)]
    pub(crate) fn times_some<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.block == WIDE_BLOCK {
            self.some::<S, WIDE_BLOCK>(simd, first, x, out);
        } else {
            self.some::<S, BLOCK>(simd, first, x, out);
        }
    }

    #[inline(always)]
    fn some<S: Simd, const R: usize>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        let (x, out) = (x.as_chunks::<WIDTH>().0, out.as_chunks_mut::<WIDTH>().0);
        for (number, rows) in out.chunks_mut(R).enumerate() {
            let mut sums = [[simd.splat_f32s(0.0); WIDTH]; R];
            self.add_slice::<S, R>(simd, 0, first / R + number, x, &mut sums);
            for (r, row) in rows.iter_mut().enumerate() {
                *row = sums[r];
            }
        }
    }

    /// Adds to `out` the product of the slice of columns from `first` on, a multiple of [`DEPTH`].
    ///
    /// # Shapes
    /// - x: as many rows of a panel as the slice has columns
    /// - out: `rows` rows of a panel
    #[inline(always)]
    pub(crate) fn add_slices<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.block == WIDE_BLOCK {
            self.slices::<S, WIDE_BLOCK>(simd, first, x, out);
        } else {
            self.slices::<S, BLOCK>(simd, first, x, out);
        }
    }

    #[inline(always)]
    fn slices<S: Simd, const R: usize>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        let (x, out) = (x.as_chunks::<WIDTH>().0, out.as_chunks_mut::<WIDTH>().0);
        for (number, rows) in out.chunks_mut(R).enumerate() {
            let mut sums = [[simd.splat_f32s(0.0); WIDTH]; R];
            for (r, row) in rows.iter().enumerate() {
                sums[r] = *row;
            }
            self.add_slice::<S, R>(simd, first, number, x, &mut sums);
            for (r, row) in rows.iter_mut().enumerate() {
                *row = sums[r];
            }
        }
    }

    /// Adds the products of one block of rows with the columns from `first` on; `x` begins there.
    #[inline(always)]
    fn add_slice<S: Simd, const R: usize>(
        &self,
        simd: S,
        first: usize,
        number: usize,
        x: &[[S::f32s; WIDTH]],
        sums: &mut [[S::f32s; WIDTH]; R],
    ) {
        let length = DEPTH.min(self.depth - first);
        let start = (first * self.rows.div_ceil(R) + number * length) * R;
        let weight = self.weight[start..start + length * R].as_chunks::<R>().0;
        let mut local = *sums;
        for (k, x) in x[..length].iter().enumerate() {
            for r in 0..R {
                let w = simd.splat_f32s(weight[k][r]);
                for v in 0..WIDTH {
                    local[r][v] = simd.mul_add_e_f32s(w, x[v], local[r][v]);
                }
            }
        }
        *sums = local;
    }

    /// Block number `number` of the product, padding included.
    #[inline(always)]
    pub(crate) fn block_times<S: Simd, const R: usize>(
        &self,
        simd: S,
        number: usize,
        x: &[[S::f32s; WIDTH]],
    ) -> [[S::f32s; WIDTH]; R] {
        let mut sums = [[simd.splat_f32s(0.0); WIDTH]; R];
        for first in (0..self.depth).step_by(DEPTH) {
            self.add_slice::<S, R>(simd, first, number, &x[first..], &mut sums);
        }
        sums
    }
}

/// Where a sum starts, and what happens to it before it is stored.
pub(crate) trait Finish: Copy {
    /// The first term, from the bias and what is there.
    #[inline(always)]
    fn start<S: Simd>(self, _: S, bias: S::f32s, _there: S::f32s) -> S::f32s {
        bias
    }

    /// The stored value.
    #[inline(always)]
    fn end<S: Simd>(self, _: S, sum: S::f32s) -> S::f32s {
        sum
    }
}

/// Nothing.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// GELU.
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// It is added to what is there.
#[derive(Clone, Copy)]
pub(crate) struct Add;

impl Finish for Plain {}

impl Finish for Gelu {
    #[inline(always)]
    fn end<S: Simd>(self, simd: S, sum: S::f32s) -> S::f32s {
        gelu(simd, sum)
    }
}

impl Finish for Add {
    #[inline(always)]
    fn start<S: Simd>(self, simd: S, bias: S::f32s, there: S::f32s) -> S::f32s {
        simd.add_f32s(bias, there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::buffer::{vectors, vectors_mut};
    use proptest::prelude::*;
    use pulp::WithSimd;

    struct Product<'a> {
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
            let columns = columns_of::<S>();
            let matrix = Matrix::pack(block_of(S::REGISTER_COUNT), self.depth, self.weight, self.bias);
            // Every column the same, so that the result does not depend on the level's width.
            let mut x = Floats::zeros(self.depth * columns);
            for (k, value) in self.x.iter().enumerate() {
                x[k * columns..][..columns].fill(*value);
            }
            let mut out = Floats::zeros(self.rows * columns);
            out.fill(1.0);
            matrix.times(simd, vectors::<S>(&x), vectors_mut::<S>(&mut out), Add);
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
                let found = level.run(Product { rows, depth, weight, bias, x });
                for r in 0..rows {
                    let sum: f64 = (0..depth).map(|k| f64::from(weight[r * depth + k]) * f64::from(x[k])).sum();
                    let expected = 1.0 + f64::from(bias[r]) + sum;
                    prop_assert!((f64::from(found[r]) - expected).abs() < 1e-3, "{} row {}", level, r);
                }
            }
        }
    }
}
