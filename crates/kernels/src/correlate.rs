//! Correlation of two images' local features, keeping the k best matches of every feature of both.
//!
//! Similarities leave the micro-kernel tile by tile and update two running top-k lists, one per query feature and one
//! per reference feature; the similarity matrix is never stored and nothing is sorted.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::matrix::{MR, MR_WIDE, Matrix};
use crate::panel::{NR_VECTORS, gather, panel_columns};
use crate::weights::MAX_NEIGHBOURS;
use pulp::{Simd, WithSimd};

/// A match: index of the other image's feature, and the similarity.
pub(crate) type Match = (u32, f32);

/// The k best matches of every feature, best first; ties by the lower index.
#[derive(Debug, Clone, Default)]
pub(crate) struct BestMatches {
    /// Of the query features, k each.
    pub(crate) of_query: Vec<Match>,
    /// Of the reference features, k each.
    pub(crate) of_reference: Vec<Match>,
    /// A panel of reference features, `[depth, NR]`.
    panel: Floats,
    /// Running top k of a panel's columns, similarities and indices, before and after an update.
    columns: Floats,
}

/// Finds the k best matches, by dot product, of every query feature and every reference feature.
pub(crate) struct Correlate<'a> {
    pub(crate) k: usize,
    /// Dimensions of a feature.
    pub(crate) depth: usize,
    /// The query's features as the rows of a packed matrix.
    pub(crate) query: &'a Matrix,
    /// The reference's features, `[count, depth]`.
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

/// The initial entry of a top-k list, worse than any match.
const NONE: Match = (0, f32::NEG_INFINITY);

impl BestMatches {
    #[inline(always)]
    fn find<S: Simd>(&mut self, simd: S, k: usize, query: &Matrix, depth: usize, reference: &[f32]) {
        let columns = panel_columns::<S>();
        let count = reference.len() / depth;
        self.of_query.clear();
        self.of_query.resize(query.rows * k, NONE);
        self.of_reference.clear();
        self.panel.resize(depth * columns);
        self.columns.resize(4 * MAX_NEIGHBOURS * columns);
        for first in (0..count).step_by(columns) {
            let here = columns.min(count - first);
            gather(columns, &mut self.panel, |column| {
                (column < here).then(|| &reference[(first + column) * depth..][..depth])
            });
            if query.mr() == MR_WIDE {
                self.panel_matches::<S, MR_WIDE>(simd, k, query, first, here);
            } else {
                self.panel_matches::<S, MR>(simd, k, query, first, here);
            }
        }
    }

    /// Matches of all query features with the panel's `here` features, the first of which has index `first`.
    #[inline(always)]
    fn panel_matches<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        k: usize,
        query: &Matrix,
        first: usize,
        here: usize,
    ) {
        let x = vectors::<S>(&self.panel).as_chunks::<NR_VECTORS>().0;
        // Similarities and indices before and after an update: a conditional store in place is slow on some CPUs.
        let floats = vectors_mut::<S>(&mut self.columns).as_chunks_mut::<NR_VECTORS>().0;
        let (old, new) = floats.split_at_mut(2 * MAX_NEIGHBOURS);
        let ((values, indices), mut new) =
            (old.split_at_mut(MAX_NEIGHBOURS), new.split_at_mut(MAX_NEIGHBOURS));
        for row in values.iter_mut() {
            *row = [simd.splat_f32s(f32::NEG_INFINITY); NR_VECTORS];
        }
        for row in indices.iter_mut() {
            *row = [simd.splat_f32s(0.0); NR_VECTORS];
        }
        let mut old = (values, indices);
        for tile in 0..query.rows.div_ceil(R) {
            let sums = query.tile_product::<S, R>(simd, tile, x);
            for (r, sum) in sums.iter().enumerate().take(query.rows - tile * R) {
                let row = tile * R + r;
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
                let index = row_of::<S>(&old.1[j])[c];
                // Indices are integers far below 2^24, exact in f32.
                self.of_reference.push((index as u32, value));
            }
        }
    }
}

#[inline(always)]
fn row_of<S: Simd>(row: &[S::f32s; NR_VECTORS]) -> &[f32] {
    pulp::bytemuck::cast_slice(row)
}

/// Updates the top k of one query feature with its similarities to a panel of reference features.
#[inline(always)]
fn row_best<S: Simd>(simd: S, best: &mut [Match], sum: &[S::f32s; NR_VECTORS], first: usize, here: usize) {
    let mut largest = sum[0];
    for s in &sum[1..] {
        largest = simd.max_f32s(largest, *s);
    }
    let last = best.len() - 1;
    if simd.reduce_max_f32s(largest) <= best[last].1 {
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

/// Similarities and indices of the top k of each column.
type Best<'a, V> = (&'a [[V; NR_VECTORS]], &'a [[V; NR_VECTORS]]);
type BestMut<'a, V> = (&'a mut [[V; NR_VECTORS]], &'a mut [[V; NR_VECTORS]]);

/// Updates the top k of each reference feature of a panel with its similarity to query feature `row`. Returns whether
/// any changed; the new lists are written only then.
#[inline(always)]
fn column_best<S: Simd>(
    simd: S,
    (values, indices): Best<'_, S::f32s>,
    (new_values, new_indices): BestMut<'_, S::f32s>,
    sum: &[S::f32s; NR_VECTORS],
    row: usize,
) -> bool {
    let least = values[values.len() - 1];
    let mut gain = simd.sub_f32s(sum[0], least[0]);
    for v in 1..NR_VECTORS {
        gain = simd.max_f32s(gain, simd.sub_f32s(sum[v], least[v]));
    }
    if simd.reduce_max_f32s(gain) <= 0.0 {
        return false;
    }
    for v in 0..NR_VECTORS {
        let (mut value, mut index) = (sum[v], simd.splat_f32s(row as f32));
        for j in 0..values.len() {
            // Everything below the first entry that it beats moves down by one, ties included.
            let beats = simd.greater_than_f32s(sum[v], values[j][v]);
            let (old, old_index) = (values[j][v], indices[j][v]);
            new_values[j][v] = simd.select_f32s(beats, value, old);
            new_indices[j][v] = simd.select_f32s(beats, index, old_index);
            value = simd.select_f32s(beats, old, value);
            index = simd.select_f32s(beats, old_index, index);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::element::Element;
    use crate::matrix::Packing;
    use proptest::prelude::*;

    fn find(level: Level, k: usize, depth: usize, query: &[f32], reference: &[f32]) -> BestMatches {
        let zeros = vec![0.0; query.len() / depth];
        let query = Matrix::pack(Packing::new(level, Element::F32), depth, query, &zeros);
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
            // Integers make sums exact and ties frequent.
            seed in prop::collection::vec(-3i8..=3, 140 * 6),
        ) {
            let depth = 6;
            let values: Vec<f32> = seed.iter().map(|v| f32::from(*v)).collect();
            let (query, reference) = (&values[..nq * depth], &values[nq * depth..][..nr * depth]);
            for level in Level::available() {
                let found = find(level, k, depth, query, reference);
                prop_assert_eq!(&found.of_query, &plain(k, depth, query, reference), "{}", level);
                prop_assert_eq!(&found.of_reference, &plain(k, depth, reference, query), "{}", level);
            }
        }
    }
}
