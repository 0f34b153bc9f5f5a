//! MatmulPrecision of matrices with panels.
//!
//! A block of rows is summed in registers over a slice of columns. A word of a packed matrix is a float, or two
//! bfloat16 of neighbouring columns ([`Words`]): the panel then holds such pairs too, and a product of two
//! words is two products.

use crate::Level;
use crate::buffer::Floats;
use crate::finish::Finish;
use crate::pairs::{self, Words};
use crate::panel::WIDTH;
use pulp::Simd;

/// Rows of a product that are summed at a time: sums, inputs and one weight stay in registers.
const fn block_of(registers: usize) -> usize {
    if registers >= 32 { WIDE_BLOCK } else { BLOCK }
}

/// [`block_of`] 16 registers.
pub(crate) const BLOCK: usize = 6;

/// [`block_of`] 32 registers.
pub(crate) const WIDE_BLOCK: usize = 12;

/// Columns of a matrix that are multiplied at a time, so that their part of the panel stays in the nearest
/// cache; a multiple of every level's panel and of every block of rows.
pub(crate) const DEPTH: usize = 192;

/// Rows of a matrix that are multiplied with several panels before the next ones, so that a slice of them
/// stays in the second cache; a multiple of every block of rows.
const ROWS: usize = 192;

/// How a matrix is packed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Packing {
    /// Rows that are summed at a time.
    pub(crate) block: usize,
    pub(crate) words: Words,
}

impl Packing {
    /// For a level's registers.
    pub(crate) fn new(level: Level, words: Words) -> Self {
        Self { block: block_of(level.registers()), words }
    }
}

/// A matrix `[rows, columns]` and its bias, packed for products with panels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    /// Words in a row.
    depth: usize,
    packing: Packing,
    /// Slices of [`DEPTH`] columns; in each, blocks of rows; in each, column after column.
    weight: Floats,
    bias: Vec<f32>,
}

impl Matrix {
    /// Packs `weight` (row after row, as PyTorch keeps it).
    pub(crate) fn pack(packing: Packing, columns: usize, weight: &[f32], bias: &[f32]) -> Self {
        let mut packed = Self::default();
        packed.resize(packing, bias.len(), columns);
        packed.bias[..bias.len()].copy_from_slice(bias);
        let mut words = vec![0.0; packed.depth];
        for (r, row) in weight.chunks_exact(columns.max(1)).enumerate() {
            packing.words.pack_row(row, &mut words);
            for (part, words) in words.chunks(DEPTH).enumerate() {
                packed.set_row(r, part * DEPTH, words);
            }
        }
        packed
    }

    /// Makes it `[rows, columns]` without a bias; what is in it afterwards has to be set.
    pub(crate) fn resize(&mut self, packing: Packing, rows: usize, columns: usize) {
        let padded = rows.div_ceil(packing.block) * packing.block;
        (self.rows, self.depth, self.packing) = (rows, packing.words.count(columns), packing);
        self.weight.resize(padded * self.depth);
        self.bias.clear();
        self.bias.resize(padded, 0.0);
    }

    /// Where a word stands in `weight`.
    fn place(&self, row: usize, word: usize) -> usize {
        let block = self.packing.block;
        let first = word / DEPTH * DEPTH;
        let length = DEPTH.min(self.depth - first);
        let at = first * self.rows.div_ceil(block) + row / block * length + (word - first);
        at * block + row % block
    }

    /// Puts words of one row, from number `word` on; they must not pass a multiple of [`DEPTH`].
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, word: usize, words: &[f32]) {
        if words.is_empty() {
            return;
        }
        let first = self.place(row, word);
        let places = self.weight[first..].iter_mut().step_by(self.packing.block);
        for (place, word) in places.zip(words) {
            *place = *word;
        }
    }

    /// Puts word number `word` of each row from `row` on.
    #[inline(always)]
    pub(crate) fn set_column(&mut self, row: usize, word: usize, words: &[f32]) {
        let block = self.packing.block;
        let length = DEPTH.min(self.depth - word / DEPTH * DEPTH);
        let (mut place, mut lane) = (self.place(row, word), row % block);
        for word in words {
            self.weight[place] = *word;
            (place, lane) = (place + 1, lane + 1);
            if lane == block {
                // The same column of the next block.
                (place, lane) = (place + (length - 1) * block, 0);
            }
        }
    }

    /// What it is made of.
    pub(crate) fn words(&self) -> Words {
        self.packing.words
    }

    /// Rows that are summed at a time.
    pub(crate) fn rows_together(&self) -> usize {
        self.packing.block
    }

    /// Makes a panel's rows, or several panels', the words that this matrix multiplies.
    ///
    /// # Shapes
    /// - x: a row of each panel for each column of the matrix
    #[inline(always)]
    pub(crate) fn input<'a, S: Simd>(&self, simd: S, columns: usize, x: &'a mut [S::f32s]) -> &'a [S::f32s] {
        match self.packing.words {
            Words::Floats => x,
            Words::Pairs(_) => pairs::from_rows(simd, columns, x),
        }
    }

    /// `out = W x + b`, finished by `F`, of one panel or several.
    ///
    /// # Shapes
    /// - x: a row of [`input`](Self::input) of each panel for each word
    /// - out: `rows` rows of each panel, at least
    #[inline(always)]
    pub(crate) fn times<S: Simd, F: Finish>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s], finish: F) {
        // The packing fits the registers: both follow from the level.
        if self.packing.block == WIDE_BLOCK {
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

    /// Some rows of the product without bias, of a matrix of at most [`DEPTH`] words a row.
    ///
    /// # Shapes
    /// - first: the first row, a multiple of [`DEPTH`]
    /// - out: as many rows of a panel as are wanted
    #[inline(always)]
    pub(crate) fn times_some<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.packing.block == WIDE_BLOCK {
            self.tile::<S, WIDE_BLOCK, false>(simd, first, 0, x, out);
        } else {
            self.tile::<S, BLOCK, false>(simd, first, 0, x, out);
        }
    }

    /// Adds to `out` the product of the slice of words from `first` on, a multiple of [`DEPTH`].
    ///
    /// # Shapes
    /// - x: as many rows of a panel as the slice has words
    /// - out: `rows` rows of a panel
    #[inline(always)]
    pub(crate) fn add_slices<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.packing.block == WIDE_BLOCK {
            self.tile::<S, WIDE_BLOCK, true>(simd, 0, first, x, out);
        } else {
            self.tile::<S, BLOCK, true>(simd, 0, first, x, out);
        }
    }

    /// The rows from `row` on, times the slice of words from `word` on, put or added (`ADD`) to `out`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const ADD: bool>(
        &self,
        simd: S,
        row: usize,
        word: usize,
        x: &[S::f32s],
        out: &mut [S::f32s],
    ) {
        let (x, out) = (x.as_chunks::<WIDTH>().0, out.as_chunks_mut::<WIDTH>().0);
        for (number, rows) in out.chunks_mut(R).enumerate() {
            let mut sums = [[simd.splat_f32s(0.0); WIDTH]; R];
            if ADD {
                for (r, there) in rows.iter().enumerate() {
                    sums[r] = *there;
                }
            }
            self.add_slice::<S, R>(simd, word, row / R + number, x, &mut sums);
            for (r, there) in rows.iter_mut().enumerate() {
                *there = sums[r];
            }
        }
    }

    /// Adds the products of one block of rows with the words from `first` on; `x` begins there.
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
        if let Words::Pairs(instruction) = self.packing.words {
            return pairs::add_products::<S, R>(simd, instruction, weight, &x[..length], sums);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::vectors_mut;
    use crate::finish::Add;
    use crate::pairs::Instruction;
    use crate::panel::columns_of;
    use proptest::prelude::*;
    use pulp::WithSimd;

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
            let columns = columns_of::<S>();
            let matrix = Matrix::pack(self.packing, self.depth, self.weight, self.bias);
            // Every column the same, so that the result does not depend on the level's width.
            let mut x = Floats::zeros(self.depth * columns);
            for (k, value) in self.x.iter().enumerate() {
                x[k * columns..][..columns].fill(*value);
            }
            let mut out = Floats::zeros(self.rows * columns);
            out.fill(1.0);
            let x = matrix.input(simd, self.depth, vectors_mut::<S>(&mut x));
            matrix.times(simd, x, vectors_mut::<S>(&mut out), Add);
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
                let mut all = vec![Words::Floats, Words::Pairs(Instruction::Emulated)];
                all.extend(Instruction::of(level).map(Words::Pairs));
                for words in all {
                    let packing = Packing::new(level, words);
                    let found = level.run(Product { packing, rows, depth, weight, bias, x });
                    let kept = |v: f32| if words == Words::Floats { v } else { pairs::rounded(v) };
                    for r in 0..rows {
                        let row = weight[r * depth..][..depth].iter().zip(x);
                        let sum: f64 = row.map(|(w, x)| f64::from(kept(*w)) * f64::from(kept(*x))).sum();
                        let expected = 1.0 + f64::from(bias[r]) + sum;
                        prop_assert!((f64::from(found[r]) - expected).abs() < 1e-3, "{} {:?} row {}", level, words, r);
                    }
                }
            }
        }
    }
}
