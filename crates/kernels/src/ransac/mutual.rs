//! Mutual nearest neighbours of two images' local features.

use crate::Level;
use crate::correlate::{BestMatches, Correlate};
use crate::element::Element;
use crate::matrix::{Matrix, Packing};

/// Two features that are each other's nearest neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mutual {
    /// Index of the query's feature.
    pub query: u32,
    /// Index of the reference's feature.
    pub reference: u32,
    /// Their dot product.
    pub similarity: f32,
}

/// Pairs of features that are each other's nearest neighbour by dot product, sorted by the query's index. Ties go to the
/// lower index.
///
/// `query` and `reference` are rows of `depth` dimensions, of unit length if similarities are to be cosines. An
/// incomplete last row is ignored; non-finite values match nothing.
pub fn mutual_nearest(level: Level, depth: usize, query: &[f32], reference: &[f32]) -> Vec<Mutual> {
    let (n, m) = (query.len() / depth.max(1), reference.len() / depth.max(1));
    if depth == 0 || n == 0 || m == 0 {
        return Vec::new();
    }
    let (query, reference) = (&query[..n * depth], &reference[..m * depth]);
    let packed = Matrix::pack(Packing::new(level, Element::F32), depth, query, &vec![0.0; n]);
    let mut matches = BestMatches::default();
    level.run(Correlate { k: 1, depth, query: &packed, reference, matches: &mut matches });
    let back = &matches.of_reference;
    let pairs = matches.of_query.iter().enumerate().filter(|(q, (r, similarity))| {
        similarity.is_finite() && back[*r as usize].0 as usize == *q && back[*r as usize].1.is_finite()
    });
    pairs
        .map(|(q, (r, similarity))| Mutual { query: q as u32, reference: *r, similarity: *similarity })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(depth: usize, query: &[f32], reference: &[f32]) -> Vec<(u32, u32)> {
        let best = |own: &[f32], others: &[f32]| -> u32 {
            let dot = |b: &[f32]| own.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let sums: Vec<f32> = others.chunks_exact(depth).map(dot).collect();
            let most = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            sums.iter().position(|s| *s == most).unwrap() as u32
        };
        let row = |all: &'static str, i: u32| {
            let all = if all == "query" { query } else { reference };
            all[i as usize * depth..][..depth].to_vec()
        };
        (0..(query.len() / depth) as u32)
            .map(|q| (q, best(&row("query", q), reference)))
            .filter(|(q, r)| best(&row("reference", *r), query) == *q)
            .collect()
    }

    proptest! {
        #[test]
        fn equals_a_search_in_both_directions(
            n in 1usize..60, m in 1usize..60,
            // Integers make sums exact and ties frequent.
            seed in prop::collection::vec(-3i8..=3, 120 * 5),
        ) {
            let depth = 5;
            let values: Vec<f32> = seed.iter().map(|v| f32::from(*v)).collect();
            let (query, reference) = (&values[..n * depth], &values[n * depth..][..m * depth]);
            for level in Level::available() {
                let found: Vec<(u32, u32)> = mutual_nearest(level, depth, query, reference)
                    .iter()
                    .map(|pair| (pair.query, pair.reference))
                    .collect();
                prop_assert_eq!(&found, &plain(depth, query, reference), "{}", level);
            }
        }
    }

    #[test]
    fn empty_and_non_finite_features_match_nothing() {
        let level = Level::best();
        assert!(mutual_nearest(level, 0, &[], &[]).is_empty());
        assert!(mutual_nearest(level, 3, &[1.0, 0.0, 0.0], &[]).is_empty());
        assert!(mutual_nearest(level, 3, &[1.0, 0.0], &[1.0, 0.0, 0.0]).is_empty());
        assert!(mutual_nearest(level, 1, &[f32::NAN], &[1.0]).is_empty());
    }
}
