//! Mutual nearest neighbours of two images' local features.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::matrix::{MR, MR_WIDE, Matrix, Packing};
use crate::panel::{NR_VECTORS, gather, gather_as, panel_columns};
use crate::pool::Pool;
use crate::side::MIN_LENGTH;
use pulp::{Simd, WithSimd};

/// Two features that are each other's nearest neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mutual {
    /// Index of the query's feature.
    pub query: u32,
    /// Index of the reference's feature.
    pub reference: u32,
    /// Their cosine.
    pub similarity: f32,
}

/// Rows of a reference's local features: as many values as the query's, the last of which are the feature.
#[derive(Debug, Clone, Copy)]
pub enum FeatureRows<'a> {
    /// Features of any length.
    Floats(&'a [f32]),
    /// Features as 128 + 127 v / max |v|.
    Bytes(&'a [u8]),
}

impl FeatureRows<'_> {
    fn len(self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }
}

/// A query's local features, prepared to find their mutual nearest neighbours in any number of references, from any number of
/// threads at once.
///
/// ```
/// use r2former_kernels::Level;
/// use r2former_kernels::ransac::{FeatureRows, MutualSearch};
///
/// // Two features of two dimensions per image, without anything before them in their rows.
/// let query = MutualSearch::new(Level::best(), 0, 2, &[1.0, 0.0, 0.0, 1.0]);
/// let pairs = query.nearest(FeatureRows::Floats(&[0.6, 0.8, 2.0, 0.0]));
/// assert_eq!(pairs.iter().map(|pair| (pair.query, pair.reference)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
/// assert_eq!(pairs[0].similarity, 1.0);
/// ```
#[derive(Debug, Clone)]
pub struct MutualSearch {
    level: Level,
    /// Values of a row before its feature.
    before: usize,
    depth: usize,
    /// Features of unit length as rows.
    features: Matrix,
    scratches: Pool<Scratch>,
}

/// Scratch of one thread, reused from reference to reference.
#[derive(Debug, Clone, Default)]
struct Scratch {
    /// Panels of reference features `[depth, NR]`.
    panels: Floats,
    /// For each panel the largest similarities of its columns, and the query features that have them: `[2, NR]`.
    columns: Floats,
    /// The nearest reference feature of each query feature, and the similarity.
    of_query: Vec<(u32, f32)>,
}

impl MutualSearch {
    /// Prepares a query's rows, each of `before` values that are of no interest here and a feature of `depth` dimensions. An
    /// incomplete last row is ignored.
    pub fn new(level: Level, before: usize, depth: usize, query: &[f32]) -> Self {
        let mut features = Vec::with_capacity(query.len());
        for row in query.chunks_exact((before + depth).max(1)) {
            let feature = &row[before..];
            let length = feature.iter().map(|v| v * v).sum::<f32>().sqrt();
            features.extend(feature.iter().map(|v| v / length.max(MIN_LENGTH)));
        }
        let zeros = vec![0.0; features.len() / depth.max(1)];
        let features = Matrix::pack(Packing::new(level, Element::F32), depth, &features, &zeros);
        Self { level, before, depth, features, scratches: Pool::default() }
    }

    /// Pairs of features that are each other's nearest neighbour by cosine, sorted by the query's index. Of equal cosines the
    /// lower index wins; non-finite values match nothing.
    pub fn nearest(&self, reference: FeatureRows<'_>) -> Vec<Mutual> {
        let count = reference.len() / (self.before + self.depth).max(1);
        if self.depth == 0 || self.features.rows == 0 || count == 0 {
            return Vec::new();
        }
        let mut scratch = self.scratches.borrow();
        self.level.run(Search { query: self, reference, count, scratch: &mut scratch });
        let Scratch { columns, of_query, .. } = &*scratch;
        let width = self.level.columns();
        let mutual = of_query.iter().enumerate().filter(|(q, (r, similarity))| {
            let (panel, column) = (*r as usize / width, *r as usize % width);
            // Indices are integers far below 2^24, exact in f32.
            similarity.is_finite() && columns[(2 * panel + 1) * width + column] == *q as f32
        });
        mutual
            .map(|(q, (r, similarity))| Mutual { query: q as u32, reference: *r, similarity: *similarity })
            .collect()
    }
}

/// Fills [`Scratch::of_query`] and [`Scratch::columns`].
struct Search<'a> {
    query: &'a MutualSearch,
    reference: FeatureRows<'a>,
    count: usize,
    scratch: &'a mut Scratch,
}

impl WithSimd for Search<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (width, depth) = (panel_columns::<S>(), self.query.depth);
        let panels = self.count.div_ceil(width);
        self.scratch.panels.resize(panels * depth * width);
        self.scratch.columns.resize(panels * 2 * width);
        self.scratch.of_query.clear();
        for panel in 0..panels {
            self.fill_panel(simd, panel);
        }
        for columns in self.scratch.columns.chunks_exact_mut(2 * width) {
            columns[..width].fill(f32::NEG_INFINITY);
            columns[width..].fill(-1.0);
        }
        if self.query.features.mr() == MR_WIDE {
            self.match_tiles::<S, MR_WIDE>(simd);
        } else {
            self.match_tiles::<S, MR>(simd);
        }
    }
}

impl Search<'_> {
    /// Transposes some reference features into a panel, and scales its columns to unit length; zeros where there is none.
    #[inline(always)]
    fn fill_panel<S: Simd>(&mut self, simd: S, index: usize) {
        let MutualSearch { before, depth, .. } = *self.query;
        let (width, row) = (panel_columns::<S>(), before + depth);
        let panel = &mut self.scratch.panels[index * depth * width..][..depth * width];
        let values = |column: usize| {
            let feature = index * width + column;
            (feature < self.count).then(|| feature * row + before..(feature + 1) * row)
        };
        match self.reference {
            FeatureRows::Floats(rows) => gather(width, panel, |column| values(column).map(|own| &rows[own])),
            FeatureRows::Bytes(rows) => {
                let value = |byte: u8| f32::from(byte) - 128.0;
                gather_as(width, panel, value, |column| values(column).map(|own| &rows[own]));
            }
        }
        let panel = vectors_mut::<S>(panel).as_chunks_mut::<NR_VECTORS>().0;
        let mut squares = [simd.splat_f32s(0.0); NR_VECTORS];
        for row in panel.iter() {
            for v in 0..NR_VECTORS {
                squares[v] = simd.mul_add_e_f32s(row[v], row[v], squares[v]);
            }
        }
        for v in 0..NR_VECTORS {
            let length = simd.max_f32s(simd.sqrt_f32s(squares[v]), simd.splat_f32s(MIN_LENGTH));
            let inverse = simd.div_f32s(simd.splat_f32s(1.0), length);
            for row in panel.iter_mut() {
                row[v] = simd.mul_f32s(row[v], inverse);
            }
        }
    }

    /// Compares the query's features, some at a time, with all panels. Similarities leave the micro-kernel tile by tile, and are
    /// not stored; the largest of a query feature is looked for in each column of the panels, and among them at the end.
    #[inline(always)]
    fn match_tiles<S: Simd, const R: usize>(&mut self, simd: S) {
        let (query, width) = (&self.query.features, panel_columns::<S>());
        let Scratch { panels, columns, of_query } = &mut *self.scratch;
        let panels = vectors::<S>(panels).as_chunks::<NR_VECTORS>().0;
        let columns = vectors_mut::<S>(columns).as_chunks_mut::<NR_VECTORS>().0.as_chunks_mut::<2>().0;
        // What is added to similarities to the last panel's columns: those without a feature are no match.
        let mut beyond = Floats::zeros(width);
        let features = self.count - (columns.len() - 1) * width;
        beyond[features..].fill(f32::NEG_INFINITY);
        let beyond = vectors::<S>(&beyond);
        for tile in 0..query.rows.div_ceil(R) {
            let rows = R.min(query.rows - tile * R);
            let mut best = [[simd.splat_f32s(f32::NEG_INFINITY); NR_VECTORS]; R];
            let mut found = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
            let last = columns.len() - 1;
            for (p, column) in columns.iter_mut().enumerate() {
                let panel = &panels[p * self.query.depth..][..self.query.depth];
                let mut sums = query.tile_product::<S, R>(simd, tile, panel);
                if p == last {
                    for v in 0..NR_VECTORS {
                        sums.iter_mut().for_each(|sum| sum[v] = simd.add_f32s(sum[v], beyond[v]));
                    }
                }
                // Padding rows are no match, either.
                sums[rows..].fill([simd.splat_f32s(f32::NEG_INFINITY); NR_VECTORS]);
                keep_larger(simd, &sums, [p, tile * R], &mut best, &mut found, column);
            }
            for r in 0..rows {
                let values: &[f32] = pulp::bytemuck::cast_slice(&best[r]);
                let panels: &[f32] = pulp::bytemuck::cast_slice(&found[r]);
                let mut nearest = (0, f32::NEG_INFINITY);
                for (c, (value, panel)) in values.iter().zip(panels).enumerate() {
                    let index = *panel as u32 * width as u32 + c as u32;
                    if *value > nearest.1 || (*value == nearest.1 && index < nearest.0) {
                        nearest = (index, *value);
                    }
                }
                of_query.push(nearest);
            }
        }
    }
}

/// Takes what is larger than before: of each row in each column, of a panel's columns in all rows.
#[inline(always)]
fn keep_larger<S: Simd, const R: usize>(
    simd: S,
    sums: &[[S::f32s; NR_VECTORS]; R],
    [panel, row]: [usize; 2],
    best: &mut [[S::f32s; NR_VECTORS]; R],
    found: &mut [[S::f32s; NR_VECTORS]; R],
    column: &mut [[S::f32s; NR_VECTORS]; 2],
) {
    let panel = simd.splat_f32s(panel as f32);
    for v in 0..NR_VECTORS {
        let (mut most, mut index) = (column[0][v], column[1][v]);
        for r in 0..R {
            let sum = sums[r][v];
            // What is not a number is never greater; equal ones keep the lower index.
            let beats = simd.greater_than_f32s(sum, best[r][v]);
            best[r][v] = simd.select_f32s(beats, sum, best[r][v]);
            found[r][v] = simd.select_f32s(beats, panel, found[r][v]);
            let beats = simd.greater_than_f32s(sum, most);
            most = simd.select_f32s(beats, sum, most);
            index = simd.select_f32s(beats, simd.splat_f32s((row + r) as f32), index);
        }
        (column[0][v], column[1][v]) = (most, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearest(level: Level, before: usize, depth: usize, query: &[f32], reference: &[f32]) -> Vec<Mutual> {
        MutualSearch::new(level, before, depth, query).nearest(FeatureRows::Floats(reference))
    }

    /// All cosines in f64, `[query][reference]`, of rows without anything before their features.
    fn cosines(depth: usize, query: &[f32], reference: &[f32]) -> Vec<Vec<f64>> {
        let unit = |row: &[f32]| -> Vec<f64> {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
            row.iter().map(|v| f64::from(*v) / length).collect()
        };
        let rows = |all: &[f32]| all.chunks_exact(depth).map(unit).collect::<Vec<_>>();
        let others = rows(reference);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        rows(query).iter().map(|a| others.iter().map(|b| dot(a, b)).collect()).collect()
    }

    /// Checks that what is found is mutual, and that what is mutual beyond rounding is found.
    fn check(found: &[Mutual], cosines: &[Vec<f64>]) {
        let beaten = |q: usize, r: usize, by: f64| {
            let most = cosines[q][r] + by;
            cosines[q].iter().enumerate().any(|(other, c)| other != r && *c >= most)
                || cosines.iter().enumerate().any(|(other, row)| other != q && row[r] >= most)
        };
        assert!(found.is_sorted_by(|a, b| a.query < b.query));
        for pair in found {
            let (q, r) = (pair.query as usize, pair.reference as usize);
            assert!((f64::from(pair.similarity) - cosines[q][r]).abs() < 1e-5);
            assert!(!beaten(q, r, 1e-5), "{pair:?}");
        }
        for (q, row) in cosines.iter().enumerate() {
            for r in 0..row.len() {
                let known = found.iter().any(|pair| (pair.query, pair.reference) == (q as u32, r as u32));
                assert!(known || beaten(q, r, -1e-5), "{q} and {r} are missing");
            }
        }
    }

    proptest! {
        #[test]
        fn equals_a_search_in_both_directions(
            n in 1usize..90, m in 1usize..90, before in 0usize..4, seed in any::<u64>(),
            // 192 is a slice of the products.
            depth in prop_oneof![1usize..20, prop::sample::select(vec![191usize, 192, 193, 400])],
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = |count: usize| -> Vec<u8> { (0..count).map(|_| random.u8(1..)).collect() };
            let (query, reference) = (bytes(n * depth), bytes(m * depth));
            let floats = |bytes: &[u8]| -> Vec<f32> { bytes.iter().map(|b| f32::from(*b) - 128.0).collect() };
            let expected = cosines(depth, &floats(&query), &floats(&reference));
            // What precedes a feature in its row plays no part.
            let rows = |bytes: &[u8]| -> Vec<u8> {
                bytes.chunks(depth).flat_map(|row| [vec![9; before], row.to_vec()].concat()).collect()
            };
            let (query, reference) = (rows(&query), rows(&reference));
            for level in Level::available() {
                let search = MutualSearch::new(level, before, depth, &floats(&query));
                check(&search.nearest(FeatureRows::Bytes(&reference)), &expected);
                check(&search.nearest(FeatureRows::Floats(&floats(&reference))), &expected);
            }
        }
    }

    #[test]
    fn of_equal_cosines_the_lower_index_wins() {
        let mut random = fastrand::Rng::with_seed(2);
        // Every feature three times, far apart: at other places of a panel, and in other panels and tiles.
        let features: Vec<f32> = (0..50 * 6).map(|_| random.f32() - 0.5).collect();
        let all = features.repeat(3);
        for level in Level::available() {
            let pairs: Vec<_> =
                nearest(level, 0, 6, &all, &all).iter().map(|pair| [pair.query, pair.reference]).collect();
            assert_eq!(pairs, (0..50).map(|i| [i, i]).collect::<Vec<_>>(), "{level}");
        }
    }

    #[test]
    fn empty_and_non_finite_features_match_nothing() {
        for level in Level::available() {
            assert!(nearest(level, 0, 0, &[], &[]).is_empty());
            assert!(nearest(level, 0, 3, &[1.0, 0.0, 0.0], &[]).is_empty());
            assert!(nearest(level, 0, 3, &[1.0, 0.0], &[1.0, 0.0, 0.0]).is_empty());
            assert!(nearest(level, 0, 1, &[f32::NAN], &[1.0]).is_empty());
            assert!(nearest(level, 1, 1, &[1.0, 1.0], &[1.0, f32::INFINITY]).is_empty());
            // The others still match.
            let found = nearest(level, 0, 2, &[1.0, 0.0, f32::NAN, 1.0], &[f32::NAN, 0.0, 0.9, 0.1]);
            assert_eq!(found.iter().map(|pair| [pair.query, pair.reference]).collect::<Vec<_>>(), [[0, 1]]);
        }
    }
}
