//! Attention with large heads, tiled as in FlashAttention: panels of queries against one tile of keys after another,
//! as two packed products.
//!
//! The scores of a tile stay in L1 between the products, and an online softmax (a running maximum that rescales the
//! earlier tiles' context) makes a tokens x tokens matrix unnecessary.

use crate::buffer::{Floats, vectors_mut};
use crate::element::{Element, bf16x2};
use crate::int8::{SCALES, largest, pack_values, quantise_weights, scale_of_values};
use crate::math::exp2;
use crate::matrix::{KC, Matrix, Packing};
use crate::panel::{NR_VECTORS, panel_columns};
use pulp::Simd;

/// The largest supported head: its queries must fit one slice of depth.
pub(crate) const MAX_HEAD_SIZE: usize = KC;

/// Keys and values of one head, packed as the A of the two products.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// Index of the head.
    index: usize,
    /// Token width, all heads.
    dim: usize,
    /// `[tokens, size]`.
    keys: Matrix,
    /// `[size, tokens]`.
    values: Matrix,
    /// Scratch for a packed row.
    elements: Vec<f32>,
    /// Scales of the values' rows.
    scales: Vec<f32>,
}

/// How tokens are laid out in panels, and how heads are packed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) keys: Packing,
    pub(crate) values: Packing,
    /// Token width.
    pub(crate) dim: usize,
    /// NR of the level.
    pub(crate) columns: usize,
    /// Tokens.
    pub(crate) count: usize,
}

/// A thread's scratch: the scores of a tile, and the running maximum and sum of each query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tile {
    scores: Floats,
    max: Floats,
    sum: Floats,
}

/// Attention of the first `columns` tokens (the class tokens) to every token, summed over them and over heads.
#[derive(Debug)]
pub(crate) struct ClassAttention<'a> {
    columns: usize,
    sum: &'a mut [f32],
    /// Raw scores of a head, `[columns, tokens]`.
    raw: Vec<f32>,
}

impl<'a> ClassAttention<'a> {
    /// Adds to `sum`, one value per token.
    pub(crate) fn new(columns: usize, sum: &'a mut [f32]) -> Self {
        Self { columns, sum, raw: Vec::new() }
    }
}

impl Head {
    /// Packs head `head` of `size` dimensions. bf16x2 elements need an even `size`.
    ///
    /// # Shapes
    /// - kv: panels `[2 * dim, NR]`, keys before values; keys of 8 bits are packed already
    ///   ([`DotProduct::quantise_rows`](crate::int8::DotProduct::quantise_rows))
    pub(crate) fn fill(&mut self, layout: Layout, head: usize, size: usize, kv: &[f32]) {
        let Layout { keys, values: packing, dim, columns, count } = layout;
        (self.index, self.dim) = (head, dim);
        self.keys.resize(keys, count, size);
        self.values.resize(packing, size, count);
        self.elements.resize(columns, 0.0);
        let values = packing.element.values();
        let rows = keys.element.count(size);
        if matches!(packing.element, Element::Int8(_)) {
            self.scale_values(layout, size, kv);
        }
        for (p, panel) in kv.chunks_exact(2 * dim * columns).enumerate() {
            let first = p * columns;
            let here = columns.min(count - first);
            let row = |part: usize, h: usize| &panel[(part * dim + head * size + h) * columns..][..here];
            // Of keys of 8 bits: elements, scales, sums.
            let packed_row = |i: usize| &panel[(head * (rows + SCALES) + i) * columns..][..here];
            for element in 0..rows {
                match keys.element {
                    Element::F32 => self.keys.set_column(first, element, row(0, element)),
                    Element::Bf16x2(_) => {
                        let pairs = row(0, 2 * element).iter().zip(row(0, 2 * element + 1));
                        for (packed, (low, high)) in self.elements.iter_mut().zip(pairs) {
                            *packed = bf16x2(*low, *high);
                        }
                        self.keys.set_column(first, element, &self.elements[..here]);
                    }
                    Element::Int8(_) => {
                        self.keys.set_column(first, element, packed_row(element));
                    }
                }
            }
            if let Element::Int8(products) = keys.element {
                self.keys.set_scales(products, first, packed_row(rows), packed_row(rows + 1));
            }
            for h in 0..size {
                let elements = &mut self.elements[..packing.element.count(here)];
                match packing.element {
                    Element::Int8(_) => pack_values(row(1, h), self.scales[h], elements),
                    element => element.pack_row(row(1, h), elements),
                }
                self.values.set_row(h, first / values, elements);
            }
        }
    }

    /// The scale of each row of values, by its largest of all tokens.
    fn scale_values(&mut self, layout: Layout, size: usize, kv: &[f32]) {
        let Layout { dim, columns, count, .. } = layout;
        self.scales.clear();
        self.scales.resize(size, 0.0);
        for (p, panel) in kv.chunks_exact(2 * dim * columns).enumerate() {
            let here = columns.min(count - p * columns);
            let rows = panel[(dim + self.index * size) * columns..].chunks_exact(columns);
            for (most, row) in self.scales.iter_mut().zip(rows) {
                *most = largest(*most, &row[..here]);
            }
        }
        for (h, most) in self.scales.iter_mut().enumerate() {
            *most = scale_of_values(*most);
            self.values.set_scale(h, *most);
        }
    }

    /// Writes this head's rows of the context of some panels of queries.
    ///
    /// # Shapes
    /// - context: panels `[dim, NR]`, of which rows `index * size..(index + 1) * size` are this head's
    /// - queries: panels of as many heads, in packed elements and scaled by log2(e) / sqrt(size)
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        simd: S,
        queries: &[S::f32s],
        context: &mut [S::f32s],
        tile: &mut Tile,
        mut attention: Option<&mut ClassAttention<'_>>,
    ) {
        let columns = panel_columns::<S>();
        let (head, dim) = (self.index, self.dim);
        let (count, size) = (self.keys.rows, self.values.rows * NR_VECTORS);
        let panels = context.len() / (dim * NR_VECTORS);
        let values = self.values.element().values();
        let codes = matches!(self.values.element(), Element::Int8(_));
        let tokens = if codes { KC } else { KC * values };
        let rows = |panel: usize| {
            panel * dim * NR_VECTORS + head * size..panel * dim * NR_VECTORS + (head + 1) * size
        };
        let own = self.keys.panel_rows() * NR_VECTORS;
        let heads = dim / self.values.rows;
        // Codes have scales after them.
        tile.scores.resize((tokens + SCALES) * columns);
        tile.max.resize(panels * columns);
        tile.sum.resize(panels * columns);
        let scores = vectors_mut::<S>(&mut tile.scores);
        let max = vectors_mut::<S>(&mut tile.max).as_chunks_mut::<NR_VECTORS>().0;
        let sum = vectors_mut::<S>(&mut tile.sum).as_chunks_mut::<NR_VECTORS>().0;
        for panel in 0..panels {
            max[panel] = [simd.splat_f32s(f32::NEG_INFINITY); NR_VECTORS];
            sum[panel] = [simd.splat_f32s(0.0); NR_VECTORS];
            for value in &mut context[rows(panel)] {
                *value = simd.splat_f32s(0.0);
            }
        }
        for first in (0..count).step_by(tokens) {
            let here = tokens.min(count - first);
            for panel in 0..panels {
                let queries = &queries[(panel * heads + head) * own..][..own];
                let whole = &mut scores[..(here + SCALES) * NR_VECTORS];
                let scores = &mut whole[..here * NR_VECTORS];
                self.keys.multiply_rows(simd, first, queries, scores);
                if let (0, Some(attention)) = (panel, &mut attention) {
                    attention.keep(pulp::bytemuck::cast_slice(scores), columns, first);
                }
                let (max, sum) = (&mut max[panel], &mut sum[panel]);
                // Weights add up to what their codes do.
                let scale = match codes {
                    true => online_softmax::<S, false>(simd, scores, max, sum),
                    false => online_softmax::<S, true>(simd, scores, max, sum),
                };
                let context = &mut context[rows(panel)];
                if first > 0 {
                    rescale(simd, context, scale);
                }
                let weights = match codes {
                    true => quantise_weights(simd, whole, sum),
                    false => self.values.input(simd, here, &mut whole[..here * NR_VECTORS]),
                };
                self.values.add_slice(simd, first / values, weights, context);
            }
        }
        for panel in 0..panels {
            for v in 0..NR_VECTORS {
                sum[panel][v] = simd.div_f32s(simd.splat_f32s(1.0), sum[panel][v]);
            }
            rescale(simd, &mut context[rows(panel)], sum[panel]);
        }
        if let Some(attention) = attention {
            attention.add(&tile.max, &tile.sum);
        }
    }
}

impl ClassAttention<'_> {
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

    /// Adds the probabilities, given the maximum score and the inverse sum of each column.
    fn add(&mut self, max: &[f32], inverse_sum: &[f32]) {
        for (c, raw) in self.raw.chunks_exact(self.sum.len()).enumerate() {
            for (sum, score) in self.sum.iter_mut().zip(raw) {
                *sum += (score - max[c]).exp2() * inverse_sum[c];
            }
        }
    }
}

/// One step of an online softmax: updates the running maximum, replaces a tile's scores by 2^(score - maximum), adds
/// those to the running sum if `ADD`, and returns the factor by which earlier tiles are to be rescaled.
#[inline(always)]
fn online_softmax<S: Simd, const ADD: bool>(
    simd: S,
    scores: &mut [S::f32s],
    max: &mut [S::f32s; NR_VECTORS],
    sum: &mut [S::f32s; NR_VECTORS],
) -> [S::f32s; NR_VECTORS] {
    let before = *max;
    for row in scores.as_chunks::<NR_VECTORS>().0 {
        for v in 0..NR_VECTORS {
            max[v] = simd.max_f32s(max[v], row[v]);
        }
    }
    let mut scale = before;
    for v in 0..NR_VECTORS {
        scale[v] = simd.sub_f32s(before[v], max[v]);
    }
    scale = exp2(simd, scale);
    for v in 0..NR_VECTORS {
        sum[v] = simd.mul_f32s(sum[v], scale[v]);
    }
    let (pairs, rest) = scores.as_chunks_mut::<{ 2 * NR_VECTORS }>();
    for pair in pairs {
        for (i, score) in pair.iter_mut().enumerate() {
            *score = simd.sub_f32s(*score, max[i % NR_VECTORS]);
        }
        *pair = exp2(simd, *pair);
        if ADD {
            for (i, weight) in pair.iter().enumerate() {
                sum[i % NR_VECTORS] = simd.add_f32s(sum[i % NR_VECTORS], *weight);
            }
        }
    }
    for row in rest.as_chunks_mut::<NR_VECTORS>().0 {
        for v in 0..NR_VECTORS {
            row[v] = simd.sub_f32s(row[v], max[v]);
        }
        *row = exp2(simd, *row);
        for v in 0..NR_VECTORS {
            if ADD {
                sum[v] = simd.add_f32s(sum[v], row[v]);
            }
        }
    }
    scale
}

#[inline(always)]
fn rescale<S: Simd>(simd: S, rows: &mut [S::f32s], scale: [S::f32s; NR_VECTORS]) {
    for row in rows.as_chunks_mut::<NR_VECTORS>().0 {
        for v in 0..NR_VECTORS {
            row[v] = simd.mul_f32s(row[v], scale[v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::element::{Element, Instruction};
    use crate::int8::DotProduct;
    use proptest::prelude::*;
    use pulp::WithSimd;

    struct Run<'a> {
        element: Element,
        level: Level,
        size: usize,
        query: &'a [f32],
        keys: &'a [f32],
        values: &'a [f32],
    }

    impl WithSimd for Run<'_> {
        /// Context of the last column of the last panel, and attention of the first column of the first panel.
        type Output = (Vec<f32>, Vec<f32>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (columns, size, count) = (panel_columns::<S>(), self.size, self.keys.len() / self.size);
            // Two heads, of which the second is tested.
            let [keys, values] = [self.element.of_keys(size), self.element.widened()]
                .map(|element| Packing::new(self.level, element));
            let layout = Layout { keys, values, dim: 2 * size, columns, count };
            let mut kv = Floats::zeros(count.div_ceil(columns) * 4 * size * columns);
            for t in 0..count {
                let panel = &mut kv[t / columns * 4 * size * columns..];
                for h in 0..size {
                    panel[(size + h) * columns + t % columns] = self.keys[t * size + h];
                    panel[(3 * size + h) * columns + t % columns] = self.values[t * size + h];
                }
            }
            if let Element::Int8(products) = keys.element {
                for panel in vectors_mut::<S>(&mut kv).chunks_exact_mut(4 * size * NR_VECTORS) {
                    products.quantise_rows(simd, size, &mut panel[..2 * size * NR_VECTORS]);
                }
            }
            let mut head = Head::default();
            head.fill(layout, 1, size, &kv);
            // Three panels, of which the first and the last are compared.
            let (mut queries, mut context) =
                (Floats::zeros(6 * size * columns), Floats::zeros(6 * size * columns));
            for panel in queries.chunks_exact_mut(2 * size * columns) {
                for (row, value) in panel[size * columns..].chunks_exact_mut(columns).zip(self.query) {
                    row.fill(*value);
                }
            }
            let mut attention = vec![0.0; count];
            let class_attention = &mut ClassAttention::new(1, &mut attention);
            let out = vectors_mut::<S>(&mut context);
            let queries = head.keys.input(simd, size, vectors_mut::<S>(&mut queries));
            head.attend(simd, queries, out, &mut Tile::default(), Some(class_attention));
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
            for (level, element) in Level::available().flat_map(|level| {
                let pairs = Instruction::of(level).into_iter().chain([Instruction::Emulated]).map(Element::Bf16x2);
                let products = DotProduct::available(level).into_iter().chain([DotProduct::Emulated]);
                let others = pairs.chain(products.map(Element::Int8));
                others.chain([Element::F32]).map(move |element| (level, element))
            }) {
                // bfloat16 and 8-bit codes round scores, too, and bfloat16 needs an even head size.
                let rounding = f64::from(scale.max(1.0));
                let near = match element {
                    Element::F32 => 2e-4,
                    Element::Bf16x2(_) => 0.01 * rounding,
                    Element::Int8(_) => 0.03 * rounding,
                };
                let odd = matches!(element, Element::Bf16x2(_)) && size % 2 == 1;
                if element != Element::F32 && (odd || scale > 3.0) {
                    continue;
                }
                let run = Run { element, level, size, query: &query, keys, values };
                let (context, attention) = level.run(run);
                for h in 0..size {
                    let of = values.iter().skip(h).step_by(size).map(|v| f64::from(*v));
                    let expected = of.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / sum;
                    prop_assert!((f64::from(context[h]) - expected).abs() < near, "{} {:?}: {} {}", level, element, context[h], expected);
                }
                for (found, weight) in attention.iter().zip(&weights) {
                    prop_assert!((f64::from(*found) - weight / sum).abs() < near, "{} {:?}", level, element);
                }
            }
        }
    }
}
