//! Attention with large heads: a panel of queries against a tile of keys after the other, as two products.
//!
//! A tile's scores stay in the nearest cache between the products; a running maximum rescales what earlier
//! tiles gave, so that no tokens x tokens matrix exists.

use crate::buffer::{Floats, vectors_mut};
use crate::math::exp2;
use crate::matrix::{DEPTH, Matrix, Packing};
use crate::pairs::pair_of;
use crate::panel::{WIDTH, columns_of};
use pulp::Simd;

/// The largest head that is covered: its queries' part of a panel is one slice.
pub(crate) const LARGEST_HEAD: usize = DEPTH;

/// Keys and values of one head, packed as the two products want them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// Which head it is, of tokens of this width.
    number: usize,
    dim: usize,
    /// `[tokens, size]`.
    keys: Matrix,
    /// `[size, tokens]`.
    values: Matrix,
    /// A row on its way.
    words: Vec<f32>,
}

/// How tokens lie in panels, and heads are packed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) packing: Packing,
    pub(crate) dim: usize,
    pub(crate) columns: usize,
    pub(crate) count: usize,
}

/// A thread's memory of one tile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tile {
    scores: Floats,
    most: Floats,
    sum: Floats,
}

/// Attention of the first columns of the first panel to every token, summed over columns and heads.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    columns: usize,
    sum: &'a mut [f32],
    /// Raw scores of a head, column after column.
    raw: Vec<f32>,
}

impl<'a> Told<'a> {
    /// Adds to `sum`, a number for each token.
    pub(crate) fn new(columns: usize, sum: &'a mut [f32]) -> Self {
        Self { columns, sum, raw: Vec::new() }
    }
}

impl Head {
    /// Packs head number `head` from panels of keys, then values; pairs of numbers need an even `size`.
    pub(crate) fn fill(&mut self, layout: Layout, head: usize, size: usize, kv: &[f32]) {
        let Layout { packing, dim, columns, count } = layout;
        (self.number, self.dim) = (head, dim);
        self.keys.resize(packing, count, size);
        self.values.resize(packing, size, count);
        self.words.resize(columns, 0.0);
        let numbers = packing.words.numbers();
        for (p, panel) in kv.chunks_exact(2 * dim * columns).enumerate() {
            let first = p * columns;
            let here = columns.min(count - first);
            let row = |part: usize, h: usize| &panel[(part * dim + head * size + h) * columns..][..here];
            for word in 0..size / numbers {
                if numbers == 1 {
                    self.keys.set_column(first, word, row(0, word));
                    continue;
                }
                let pairs = row(0, 2 * word).iter().zip(row(0, 2 * word + 1));
                for (word, (low, high)) in self.words.iter_mut().zip(pairs) {
                    *word = pair_of(*low, *high);
                }
                self.keys.set_column(first, word, &self.words[..here]);
            }
            for h in 0..size {
                let words = &mut self.words[..packing.words.count(here)];
                packing.words.pack_row(row(1, h), words);
                self.values.set_row(h, first / numbers, words);
            }
        }
    }

    /// Context of some panels of queries.
    ///
    /// # Shapes
    /// - context: `dim` rows of each panel, of which this head's follow those of the heads before it
    /// - queries: the same as words; they carry log2(e) / sqrt(size)
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        simd: S,
        queries: &[S::f32s],
        context: &mut [S::f32s],
        tile: &mut Tile,
        mut told: Option<&mut Told<'_>>,
    ) {
        let columns = columns_of::<S>();
        let (head, dim) = (self.number, self.dim);
        let (count, size) = (self.keys.rows, self.values.rows * WIDTH);
        let panels = context.len() / (dim * WIDTH);
        let numbers = self.values.words().numbers();
        let tokens = DEPTH * numbers;
        let rows = |panel: usize| panel * dim * WIDTH + head * size..panel * dim * WIDTH + (head + 1) * size;
        tile.scores.resize(tokens * columns);
        tile.most.resize(panels * columns);
        tile.sum.resize(panels * columns);
        let scores = vectors_mut::<S>(&mut tile.scores);
        let most = vectors_mut::<S>(&mut tile.most).as_chunks_mut::<WIDTH>().0;
        let sum = vectors_mut::<S>(&mut tile.sum).as_chunks_mut::<WIDTH>().0;
        for panel in 0..panels {
            most[panel] = [simd.splat_f32s(f32::NEG_INFINITY); WIDTH];
            sum[panel] = [simd.splat_f32s(0.0); WIDTH];
            for value in &mut context[rows(panel)] {
                *value = simd.splat_f32s(0.0);
            }
        }
        for first in (0..count).step_by(tokens) {
            let here = tokens.min(count - first);
            let scores = &mut scores[..here * WIDTH];
            for panel in 0..panels {
                let own = rows(panel);
                let queries = &queries[own.start / numbers..own.end / numbers];
                self.keys.times_some(simd, first, queries, scores);
                if let (0, Some(told)) = (panel, &mut told) {
                    told.keep(pulp::bytemuck::cast_slice(scores), columns, first);
                }
                let scale = soften(simd, scores, &mut most[panel], &mut sum[panel]);
                let context = &mut context[rows(panel)];
                if first > 0 {
                    rescale(simd, context, scale);
                }
                let weights = self.values.input(simd, here, scores);
                self.values.add_slices(simd, first / numbers, weights, context);
            }
        }
        for panel in 0..panels {
            for v in 0..WIDTH {
                sum[panel][v] = simd.div_f32s(simd.splat_f32s(1.0), sum[panel][v]);
            }
            rescale(simd, &mut context[rows(panel)], sum[panel]);
        }
        if let Some(told) = told {
            told.add(&tile.most, &tile.sum);
        }
    }
}

impl Told<'_> {
    /// Keeps the raw scores of the first columns.
    fn keep(&mut self, scores: &[f32], columns: usize, first: usize) {
        let count = self.sum.len();
        self.raw.resize(self.columns * count, 0.0);
        for (c, raw) in self.raw.chunks_exact_mut(count).enumerate() {
            for (raw, row) in raw[first..].iter_mut().zip(scores.chunks_exact(columns)) {
                *raw = row[c];
            }
        }
    }

    /// Adds the probabilities, once the columns' largest scores and one over their sums are known.
    fn add(&mut self, most: &[f32], share: &[f32]) {
        for (c, raw) in self.raw.chunks_exact(self.sum.len()).enumerate() {
            for (sum, score) in self.sum.iter_mut().zip(raw) {
                *sum += (score - most[c]).exp2() * share[c];
            }
        }
    }
}

/// Makes exponentials of a tile's scores (powers of two, less the column's largest so far), adds them to `sum`,
/// and tells by how much earlier tiles shrink.
#[inline(always)]
fn soften<S: Simd>(
    simd: S,
    scores: &mut [S::f32s],
    most: &mut [S::f32s; WIDTH],
    sum: &mut [S::f32s; WIDTH],
) -> [S::f32s; WIDTH] {
    let before = *most;
    for row in scores.as_chunks::<WIDTH>().0 {
        for v in 0..WIDTH {
            most[v] = simd.max_f32s(most[v], row[v]);
        }
    }
    let mut scale = before;
    for v in 0..WIDTH {
        scale[v] = simd.sub_f32s(before[v], most[v]);
    }
    scale = exp2(simd, scale);
    for v in 0..WIDTH {
        sum[v] = simd.mul_f32s(sum[v], scale[v]);
    }
    let (pairs, rest) = scores.as_chunks_mut::<{ 2 * WIDTH }>();
    for pair in pairs {
        for (i, score) in pair.iter_mut().enumerate() {
            *score = simd.sub_f32s(*score, most[i % WIDTH]);
        }
        *pair = exp2(simd, *pair);
        for (i, weight) in pair.iter().enumerate() {
            sum[i % WIDTH] = simd.add_f32s(sum[i % WIDTH], *weight);
        }
    }
    for row in rest.as_chunks_mut::<WIDTH>().0 {
        for v in 0..WIDTH {
            row[v] = simd.sub_f32s(row[v], most[v]);
        }
        *row = exp2(simd, *row);
        for v in 0..WIDTH {
            sum[v] = simd.add_f32s(sum[v], row[v]);
        }
    }
    scale
}

#[inline(always)]
fn rescale<S: Simd>(simd: S, rows: &mut [S::f32s], scale: [S::f32s; WIDTH]) {
    for row in rows.as_chunks_mut::<WIDTH>().0 {
        for v in 0..WIDTH {
            row[v] = simd.mul_f32s(row[v], scale[v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::pairs::{Instruction, Words};
    use proptest::prelude::*;
    use pulp::WithSimd;

    struct Run<'a> {
        words: Words,
        level: Level,
        size: usize,
        query: &'a [f32],
        keys: &'a [f32],
        values: &'a [f32],
    }

    impl WithSimd for Run<'_> {
        /// Context of the last panel's last column; what the first column of the first attends to.
        type Output = (Vec<f32>, Vec<f32>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (columns, size, count) = (columns_of::<S>(), self.size, self.keys.len() / self.size);
            // Two heads, of which the second is meant.
            let packing = Packing::new(self.level, self.words);
            let layout = Layout { packing, dim: 2 * size, columns, count };
            let mut kv = Floats::zeros(count.div_ceil(columns) * 4 * size * columns);
            for t in 0..count {
                let panel = &mut kv[t / columns * 4 * size * columns..];
                for h in 0..size {
                    panel[(size + h) * columns + t % columns] = self.keys[t * size + h];
                    panel[(3 * size + h) * columns + t % columns] = self.values[t * size + h];
                }
            }
            let mut head = Head::default();
            head.fill(layout, 1, size, &kv);
            // Three panels, of which the first and the last are looked at.
            let (mut queries, mut context) =
                (Floats::zeros(6 * size * columns), Floats::zeros(6 * size * columns));
            for panel in queries.chunks_exact_mut(2 * size * columns) {
                for (row, value) in panel[size * columns..].chunks_exact_mut(columns).zip(self.query) {
                    row.fill(*value);
                }
            }
            let mut attention = vec![0.0; count];
            let told = &mut Told::new(1, &mut attention);
            let out = vectors_mut::<S>(&mut context);
            let queries = head.keys.input(simd, 2 * size, vectors_mut::<S>(&mut queries));
            head.attend(simd, queries, out, &mut Tile::default(), Some(told));
            ((0..size).map(|h| context[(5 * size + h + 1) * columns - 1]).collect(), attention)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn contexts_and_attention_equal_plain_softmax(
            count in prop::sample::select(vec![1usize, 2, 17, 191, 192, 193, 384, 400]),
            size in prop::sample::select(vec![1usize, 7, 16, 64]),
            scale in prop::sample::select(vec![0.0f32, 0.3, 3.0, 100.0]),
            seed in prop::collection::vec(-1.0f32..1.0, 64 + 2 * 400 * 64),
        ) {
            let query: Vec<f32> = seed[..size].iter().map(|v| v * scale).collect();
            let (keys, values) = (&seed[64..][..count * size], &seed[64 + 400 * 64..][..count * size]);
            let dot = |key: &[f32]| key.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let scores: Vec<f64> = keys.chunks_exact(size).map(dot).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp2()).collect();
            let sum: f64 = weights.iter().sum();
            for (level, words) in Level::available().flat_map(|level| {
                let pairs = Instruction::of(level).into_iter().chain([Instruction::Emulated]).map(Words::Pairs);
                pairs.chain([Words::Floats]).map(move |words| (level, words))
            }) {
                // Pairs round what they multiply to 8 bits, scores included; they need an even size.
                let near = if words == Words::Floats { 2e-4 } else { 0.01 * f64::from(scale.max(1.0)) };
                if words != Words::Floats && (size % 2 == 1 || scale > 3.0) {
                    continue;
                }
                let run = Run { words, level, size, query: &query, keys, values };
                let (context, attention) = level.run(run);
                for h in 0..size {
                    let of = values.iter().skip(h).step_by(size).map(|v| f64::from(*v));
                    let expected = of.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / sum;
                    prop_assert!((f64::from(context[h]) - expected).abs() < near, "{} {:?}: {} {}", level, words, context[h], expected);
                }
                for (found, weight) in attention.iter().zip(&weights) {
                    prop_assert!((f64::from(*found) - weight / sum).abs() < near, "{} {:?}", level, words);
                }
            }
        }
    }
}
