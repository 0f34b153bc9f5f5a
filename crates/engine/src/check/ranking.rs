//! What other arithmetic does to descriptors, and to rankings by them.

use super::similarity;
use r2former_model::{Precision, PrecisionCheck};
use rayon::prelude::*;

/// The check of pairs of descriptors, at least two, in 32 bits and in another arithmetic.
pub(super) fn compare(precision: Precision, pairs: &[[&[f32]; 2]]) -> PrecisionCheck {
    let cosines: Vec<f64> = pairs.iter().map(|[a, b]| similarity(a, b)).collect();
    // Of the most similar other image: whether it is still the same, or as similar.
    let same: Vec<[bool; 2]> = (0..pairs.len())
        .into_par_iter()
        .map(|i| {
            let others = || (0..pairs.len()).filter(move |j| *j != i);
            let first = |score: &dyn Fn(usize) -> f64| {
                others().map(|j| (j, score(j))).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(i, |(j, _)| j)
            };
            let exact = |j: usize| similarity(pairs[i][0], pairs[j][0]);
            let best = exact(first(&exact));
            [1, 0].map(|side| {
                let found = first(&|j| similarity(pairs[i][1], pairs[j][side]));
                exact(found) >= best - PrecisionCheck::TIE
            })
        })
        .collect();
    let share = |side: usize| same.iter().filter(|same| same[side]).count() as f64 / same.len() as f64;
    PrecisionCheck {
        precision,
        images: pairs.len(),
        least_cosine: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        same_first: share(0),
        same_first_mixed: share(1),
        reranked: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_count_first_answers_with_ties() {
        let unit = |angle: f32| [angle.cos(), angle.sin()];
        let exact = [0.0, 0.1, 0.3, 1.5].map(unit);
        let same: Vec<[&[f32]; 2]> = exact.iter().map(|d| [&d[..], &d[..]]).collect();
        let check = compare(Precision::Int8, &same);
        assert_eq!((check.images, check.same_first, check.same_first_mixed), (4, 1.0, 1.0));
        assert!(check.least_cosine > 0.999_999);
        // The second moves past the third's middle: the first and itself have another neighbour.
        let moved = [0.0, 0.27, 0.3, 1.5].map(unit);
        let pairs: Vec<[&[f32]; 2]> = exact.iter().zip(&moved).map(|(a, b)| [&a[..], &b[..]]).collect();
        let check = compare(Precision::Int8, &pairs);
        assert!((check.least_cosine - f64::from(0.17f32.cos())).abs() < 1e-6, "{check:?}");
        // 0 still finds 1; 1 finds 2 instead of 0.
        assert_eq!((check.same_first, check.same_first_mixed), (0.75, 0.75));
    }
}
