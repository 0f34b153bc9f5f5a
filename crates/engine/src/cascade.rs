//! The order of a query's candidates. Which of them are worth the model's reranker, geometry chooses at a fraction of its cost.

use crate::geometry::Verifier;
use crate::rerank::rerank_verified;
use crate::{Extractor, LocalRows, RerankMethod, Result};

/// One query's candidates by a reranking method.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedCandidates {
    /// Indices of the candidates, best first; equal scores keep the order in which candidates came.
    pub order: Vec<usize>,
    /// Scores of the first of them; those that a cascade leaves out have none.
    pub scores: Vec<f32>,
    /// RANSAC's score of the first one, where it was computed on the way.
    ransac: Option<f32>,
}

impl RankedCandidates {
    /// RANSAC's score of the first candidate; `None` where it has no local features.
    ///
    /// # Errors
    /// As [`Verifier::new`].
    pub(crate) fn best_by_ransac(
        &self,
        extractor: &Extractor,
        query: &[f32],
        rows: &[&[u8]],
    ) -> Result<Option<f32>> {
        let Some(best) = self.order.first().map(|best| rows[*best]).filter(|rows| !rows.is_empty()) else {
            return Ok(None);
        };
        match self.ransac {
            Some(known) => Ok(Some(known)),
            None => Ok(Some(Verifier::new(extractor, query)?.score(best))),
        }
    }
}

/// Ranks candidates, whose local features are in 8 bits as an index stores them. With a cascade the model scores only as many as
/// geometry ranks first.
///
/// # Errors
/// As [`RerankMethod::scores`].
pub fn rank_candidates(
    extractor: &Extractor,
    query: &[f32],
    rows: &[&[u8]],
    method: RerankMethod,
    cascade: Option<usize>,
) -> Result<RankedCandidates> {
    let Some(count) = cascade.filter(|count| method == RerankMethod::Model && *count < rows.len()) else {
        let scores = method.scores(extractor, query, rows)?;
        let order = best_first(&scores);
        let scores: Vec<f32> = order.iter().map(|i| scores[*i]).collect();
        let ransac = scores.first().copied().filter(|_| method == RerankMethod::Ransac);
        return Ok(RankedCandidates { order, scores, ransac });
    };
    let geometry = RerankMethod::Ransac.scores(extractor, query, rows)?;
    let (chosen, others) = cascade_split(&geometry, count);
    let chosen_rows: Vec<LocalRows<'_>> = chosen.iter().map(|i| rows[*i].into()).collect();
    let known: Vec<f32> = chosen.iter().map(|i| geometry[*i]).collect();
    let pairs = rerank_verified(extractor, query, &chosen_rows, &known)?;
    let scores: Vec<f32> = pairs.iter().map(|pair| pair.score).collect();
    let ranked = best_first(&scores);
    let order: Vec<usize> = ranked.iter().map(|at| chosen[*at]).chain(others).collect();
    let ransac = order.first().map(|best| geometry[*best]);
    let scores = ranked.iter().map(|at| scores[*at]).collect();
    Ok(RankedCandidates { order, scores, ransac })
}

/// Splits candidates by RANSAC's scores: indices of the `count` best, which the model's reranker scores, in their
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
