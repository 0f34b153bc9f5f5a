//! Which candidates are worth the model's reranker: geometry chooses them, at a fraction of its cost.

use crate::geometry::Verifier;
use crate::{Extractor, LocalRows, Result};
use rayon::prelude::*;

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
    let verifier = Verifier::new(extractor, query)?;
    let row = extractor.config().local_row();
    let score = |rows: &R| {
        let found = verifier.verify(&(*rows).into().floats(row));
        let mutual = found.pairs.len() as f32;
        found.inliers as f32 + mutual / (mutual + 1.0)
    };
    Ok(candidates.par_iter().map(score).collect())
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
}
