//! Correlation of two images' features with the best matches of both kept on the way: the matrix of all
//! similarities is never stored, and nothing is sorted.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::panel::{Matrix, WIDTH, columns_of};
use crate::weights::MOST_NEIGHBOURS;
use pulp::Simd;

/// A match: number of the other image's feature, and the similarity.
pub(crate) type Match = (u32, f32);

/// Matches of every feature, best first; the lower number first where they are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matches {
    /// Of each query feature, `neighbours` each.
    pub(crate) of_query: Vec<Match>,
    /// Of each reference feature.
    pub(crate) of_reference: Vec<Match>,
    panel: Floats,
    columns: Floats,
}

/// A candidate that beats nothing.
const NONE: Match = (0, f32::NEG_INFINITY);

impl Matches {
    /// Finds the `k` best matches of each of the query's features (packed rows) and of the reference's.
    #[inline(always)]
    pub(crate) fn find<S: Simd>(
        &mut self,
        simd: S,
        k: usize,
        query: &Matrix,
        depth: usize,
        reference: &[f32],
    ) {
        let columns = columns_of::<S>();
        let count = reference.len() / depth;
        self.of_query.clear();
        self.of_query.resize(query.rows * k, NONE);
        self.of_reference.clear();
        self.panel.resize(depth * columns);
        self.columns.resize(2 * MOST_NEIGHBOURS * columns);
        for first in (0..count).step_by(columns) {
            let here = columns.min(count - first);
            self.lay_out(depth, &reference[first * depth..][..here * depth], columns);
            if S::REGISTER_COUNT >= 32 {
                self.panel_matches::<S, 8>(simd, k, query, first, here);
            } else {
                self.panel_matches::<S, 3>(simd, k, query, first, here);
            }
        }
    }

    /// Features as a panel: one number of all features a row.
    #[inline(always)]
    fn lay_out(&mut self, depth: usize, features: &[f32], columns: usize) {
        let panel = &mut self.panel[..];
        for (c, feature) in features.chunks_exact(depth).enumerate() {
            for (row, value) in panel.chunks_exact_mut(columns).zip(feature) {
                row[c] = *value;
            }
        }
    }

    #[inline(always)]
    fn panel_matches<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        k: usize,
        query: &Matrix,
        first: usize,
        here: usize,
    ) {
        let columns = columns_of::<S>();
        let x = vectors::<S>(&self.panel).as_chunks::<WIDTH>().0;
        let (values, numbers) = self.columns.split_at_mut(MOST_NEIGHBOURS * columns);
        values.fill(f32::NEG_INFINITY);
        numbers.fill(0.0);
        let values = vectors_mut::<S>(values).as_chunks_mut::<WIDTH>().0;
        let numbers = vectors_mut::<S>(numbers).as_chunks_mut::<WIDTH>().0;
        for block in 0..query.rows.div_ceil(R) {
            let sums = query.block_times::<S, R>(simd, block, x);
            for (r, sum) in sums.iter().enumerate().take(query.rows - block * R) {
                let row = block * R + r;
                row_best(simd, &mut self.of_query[row * k..][..k], sum, first, here);
                column_best(simd, &mut values[..k], &mut numbers[..k], sum, row);
            }
        }
        for c in 0..here {
            for j in 0..k {
                let value = floats::<S>(&values[j])[c];
                let number = floats::<S>(&numbers[j])[c];
                // Numbers of features are whole and far below 2^24.
                self.of_reference.push((number as u32, value));
            }
        }
    }
}

#[inline(always)]
fn floats<S: Simd>(row: &[S::f32s; WIDTH]) -> &[f32] {
    pulp::bytemuck::cast_slice(row)
}

/// Takes the similarities of one query feature to a panel of reference features into its best.
#[inline(always)]
fn row_best<S: Simd>(simd: S, best: &mut [Match], sum: &[S::f32s; WIDTH], first: usize, here: usize) {
    let mut most = sum[0];
    for s in &sum[1..] {
        most = simd.max_f32s(most, *s);
    }
    let last = best.len() - 1;
    if simd.reduce_max_f32s(most) <= best[last].1 {
        return;
    }
    for (c, value) in floats::<S>(sum)[..here].iter().enumerate() {
        if *value > best[last].1 {
            let mut at = last;
            while at > 0 && *value > best[at - 1].1 {
                best[at] = best[at - 1];
                at -= 1;
            }
            best[at] = ((first + c) as u32, *value);
        }
    }
}

/// Takes the similarities of query feature `row` into the best of each reference feature of a panel.
#[inline(always)]
fn column_best<S: Simd>(
    simd: S,
    values: &mut [[S::f32s; WIDTH]],
    numbers: &mut [[S::f32s; WIDTH]],
    sum: &[S::f32s; WIDTH],
    row: usize,
) {
    let least = values[values.len() - 1];
    let mut most = simd.sub_f32s(sum[0], least[0]);
    for v in 1..WIDTH {
        most = simd.max_f32s(most, simd.sub_f32s(sum[v], least[v]));
    }
    if simd.reduce_max_f32s(most) <= 0.0 {
        return;
    }
    for v in 0..WIDTH {
        let (mut value, mut number) = (sum[v], simd.splat_f32s(row as f32));
        for (values, numbers) in values.iter_mut().zip(numbers.iter_mut()) {
            // From the first that it beats on, everything moves down: equal ones too.
            let beats = simd.greater_than_f32s(sum[v], values[v]);
            let (old, old_number) = (values[v], numbers[v]);
            values[v] = simd.select_f32s(beats, value, old);
            numbers[v] = simd.select_f32s(beats, number, old_number);
            value = simd.select_f32s(beats, old, value);
            number = simd.select_f32s(beats, old_number, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::panel::block_of;
    use proptest::prelude::*;
    use pulp::WithSimd;

    struct Find<'a> {
        k: usize,
        depth: usize,
        query: &'a [f32],
        reference: &'a [f32],
    }

    impl WithSimd for Find<'_> {
        type Output = Matches;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Matches {
            let rows = self.query.len() / self.depth;
            let block = block_of(S::REGISTER_COUNT);
            let query = Matrix::pack(block, self.depth, self.query, &vec![0.0; rows]);
            let mut matches = Matches::default();
            matches.find(simd, self.k, &query, self.depth, self.reference);
            matches
        }
    }

    fn plain(k: usize, depth: usize, own: &[f32], other: &[f32]) -> Vec<Match> {
        let mut all = Vec::new();
        for a in own.chunks_exact(depth) {
            let dot = |b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let mut row: Vec<Match> =
                other.chunks_exact(depth).map(dot).enumerate().map(|(i, s)| (i as u32, s)).collect();
            // Not by `total_cmp`: 0 and -0 are equal.
            row.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
            all.extend_from_slice(&row[..k]);
        }
        all
    }

    proptest! {
        #[test]
        fn matches_equal_a_full_sort(
            nq in 5usize..70,
            nr in 5usize..70,
            k in 1usize..6,
            // Whole numbers make sums exact and ties frequent.
            seed in prop::collection::vec(-3i8..=3, 140 * 6),
        ) {
            let depth = 6;
            let numbers: Vec<f32> = seed.iter().map(|v| f32::from(*v)).collect();
            let (query, reference) = (&numbers[..nq * depth], &numbers[nq * depth..][..nr * depth]);
            for level in Level::available() {
                let found = level.run(Find { k, depth, query, reference });
                prop_assert_eq!(&found.of_query, &plain(k, depth, query, reference), "{}", level);
                prop_assert_eq!(&found.of_reference, &plain(k, depth, reference, query), "{}", level);
            }
        }
    }
}
