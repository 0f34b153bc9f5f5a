//! Which candidates are worth the model's reranker: geometry chooses them, at a fraction of its cost.

use crate::geometry::{Verifier, geometric_scores};
use crate::{Extractor, LocalRows, Result};

/// By what a cascade chooses candidates, whose local features are in 8 bits as an index stores them (`&[u8]`) or in full
/// precision (`&[f32]`): RANSAC's inliers, and among equal numbers of them mutual matches. The whole part is the
/// number of inliers.
///
/// # Errors
/// [`EngineError::Request`](crate::EngineError::Request) for a model without local features.
pub fn cascade_scores<'a, R>(extractor: &Extractor, query: &[f32], candidates: &[R]) -> Result<Vec<f32>>
where
    R: Copy + Into<LocalRows<'a>> + Sync,
{
    let score = |verifier: &Verifier, reference: &[f32]| {
        let found = verifier.verify(reference);
        let mutual = found.pairs.len() as f32;
        found.inliers as f32 + mutual / (mutual + 1.0)
    };
    geometric_scores(extractor, query, candidates, score)
}

/// Splits candidates by their [`cascade_scores`]: indices of the `count` best, which the model's reranker scores, in their
/// own order, so that equal scores of the model keep it; and of the others, best first.
pub fn cascade_split(scores: &[f32], count: usize) -> (Vec<usize>, Vec<usize>) {
    let mut chosen = best_first(scores);
    let others = chosen.split_off(count.min(chosen.len()));
    chosen.sort_unstable();
    (chosen, others)
}

/// Indices of scores, the largest first; equal ones keep their order.
pub fn best_first(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_keep_their_order() {
        assert_eq!(best_first(&[1.0, 3.5, 1.0, 3.25, 3.5]), [1, 4, 3, 0, 2]);
        assert!(best_first(&[]).is_empty());
    }

    #[test]
    fn the_best_are_chosen_in_their_own_order() {
        let scores = [1.0, 3.25, 0.5, 3.5, 3.25];
        assert_eq!(cascade_split(&scores, 2), (vec![1, 3], vec![4, 0, 2]));
        assert_eq!(cascade_split(&scores, 0).1.len(), 5);
        assert_eq!(cascade_split(&scores, 9), ((0..5).collect(), vec![]));
    }
}
