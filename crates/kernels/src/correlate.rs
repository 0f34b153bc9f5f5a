//! Correlation of two images' features with the best matches of both kept on the way: the matrix of all
//! similarities is never stored, and nothing is sorted.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::matrix::{BLOCK, Matrix, WIDE_BLOCK};
use crate::panel::{WIDTH, columns_of};
use crate::weights::MOST_NEIGHBOURS;
use pulp::{Simd, WithSimd};

/// A match: number of the other image's feature, and the similarity.
pub(crate) type Match = (u32, f32);

/// BestMatches of every feature, best first; the lower number first where they are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct BestMatches {
    /// Of each query feature, `neighbours` each.
    pub(crate) of_query: Vec<Match>,
    /// Of each reference feature.
    pub(crate) of_reference: Vec<Match>,
    panel: Floats,
    columns: Floats,
}

/// Finds the `k` best matches of each of the query's features and of the reference's.
pub(crate) struct Correlate<'a> {
    pub(crate) k: usize,
    /// Numbers of a feature.
    pub(crate) depth: usize,
    /// The query's features, packed as rows.
    pub(crate) query: &'a Matrix,
    /// The reference's features, one after the other.
    pub(crate) reference: &'a [f32],
    pub(crate) matches: &'a mut BestMatches,
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.matches.find(simd, self.k, self.query, self.depth, self.reference);
    }
}

/// A candidate that beats nothing.
const NONE: Match = (0, f32::NEG_INFINITY);

impl BestMatches {
    #[inline(always)]
    fn find<S: Simd>(&mut self, simd: S, k: usize, query: &Matrix, depth: usize, reference: &[f32]) {
        let columns = columns_of::<S>();
        let count = reference.len() / depth;
        self.of_query.clear();
        self.of_query.resize(query.rows * k, NONE);
        self.of_reference.clear();
        self.panel.resize(depth * columns);
        self.columns.resize(4 * MOST_NEIGHBOURS * columns);
        for first in (0..count).step_by(columns) {
            let here = columns.min(count - first);
            self.lay_out(depth, &reference[first * depth..][..here * depth], columns);
            if query.rows_together() == WIDE_BLOCK {
                self.panel_matches::<S, WIDE_BLOCK>(simd, k, query, first, here);
            } else {
                self.panel_matches::<S, BLOCK>(simd, k, query, first, here);
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
        let x = vectors::<S>(&self.panel).as_chunks::<WIDTH>().0;
        // Values and numbers as they are, and as they become: a conditional store in place is slow on some
        // machines.
        let floats = vectors_mut::<S>(&mut self.columns).as_chunks_mut::<WIDTH>().0;
        let (old, new) = floats.split_at_mut(2 * MOST_NEIGHBOURS);
        let ((values, numbers), mut new) =
            (old.split_at_mut(MOST_NEIGHBOURS), new.split_at_mut(MOST_NEIGHBOURS));
        for row in values.iter_mut() {
            *row = [simd.splat_f32s(f32::NEG_INFINITY); WIDTH];
        }
        for row in numbers.iter_mut() {
            *row = [simd.splat_f32s(0.0); WIDTH];
        }
        let mut old = (values, numbers);
        for block in 0..query.rows.div_ceil(R) {
            let sums = query.block_times::<S, R>(simd, block, x);
            for (r, sum) in sums.iter().enumerate().take(query.rows - block * R) {
                let row = block * R + r;
                row_best(simd, &mut self.of_query[row * k..][..k], sum, first, here);
                if column_best(simd, (&old.0[..k], &old.1[..k]), (&mut new.0[..k], &mut new.1[..k]), sum, row)
                {
                    std::mem::swap(&mut old, &mut new);
                }
            }
        }
        for c in 0..here {
            for j in 0..k {
                let value = row_of::<S>(&old.0[j])[c];
                let number = row_of::<S>(&old.1[j])[c];
                // Numbers of features are whole and far below 2^24.
                self.of_reference.push((number as u32, value));
            }
        }
    }
}

#[inline(always)]
fn row_of<S: Simd>(row: &[S::f32s; WIDTH]) -> &[f32] {
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
    for (c, value) in row_of::<S>(sum)[..here].iter().enumerate() {
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

/// Values and numbers of the best of each column.
type Best<'a, V> = (&'a [[V; WIDTH]], &'a [[V; WIDTH]]);
type BestMut<'a, V> = (&'a mut [[V; WIDTH]], &'a mut [[V; WIDTH]]);

/// Takes the similarities of query feature `row` into the best of each reference feature of a panel; tells
/// whether any changed, and only then writes them.
#[inline(always)]
fn column_best<S: Simd>(
    simd: S,
    (values, numbers): Best<'_, S::f32s>,
    (new_values, new_numbers): BestMut<'_, S::f32s>,
    sum: &[S::f32s; WIDTH],
    row: usize,
) -> bool {
    let least = values[values.len() - 1];
    let mut most = simd.sub_f32s(sum[0], least[0]);
    for v in 1..WIDTH {
        most = simd.max_f32s(most, simd.sub_f32s(sum[v], least[v]));
    }
    if simd.reduce_max_f32s(most) <= 0.0 {
        return false;
    }
    for v in 0..WIDTH {
        let (mut value, mut number) = (sum[v], simd.splat_f32s(row as f32));
        for j in 0..values.len() {
            // From the first that it beats on, everything moves down: equal ones too.
            let beats = simd.greater_than_f32s(sum[v], values[j][v]);
            let (old, old_number) = (values[j][v], numbers[j][v]);
            new_values[j][v] = simd.select_f32s(beats, value, old);
            new_numbers[j][v] = simd.select_f32s(beats, number, old_number);
            value = simd.select_f32s(beats, old, value);
            number = simd.select_f32s(beats, old_number, number);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::matrix::Packing;
    use crate::pairs::Words;
    use proptest::prelude::*;

    fn find(level: Level, k: usize, depth: usize, query: &[f32], reference: &[f32]) -> BestMatches {
        let zeros = vec![0.0; query.len() / depth];
        let query = Matrix::pack(Packing::new(level, Words::Floats), depth, query, &zeros);
        let mut matches = BestMatches::default();
        level.run(Correlate { k, depth, query: &query, reference, matches: &mut matches });
        matches
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
                let found = find(level, k, depth, query, reference);
                prop_assert_eq!(&found.of_query, &plain(k, depth, query, reference), "{}", level);
                prop_assert_eq!(&found.of_reference, &plain(k, depth, reference, query), "{}", level);
            }
        }
    }
}
