//! What other arithmetic does to the answers that local features give.

use super::{Local, Photograph, Query};
use crate::{Extractor, Progress, RerankMethod, Result, best_first};
use r2former_model::RerankedCheck;

/// Compares the first answers to queries among their candidates, by RANSAC and, if it is trained, by the model's reranker.
/// `None` for a model without local features.
pub(super) fn compare(
    extractor: &Extractor,
    photographs: &[Photograph],
    queries: &[Query],
    progress: &dyn Progress,
) -> Result<Option<RerankedCheck>> {
    let config = extractor.config();
    if queries.is_empty() {
        return Ok(None);
    }
    let of_model = (config.reranker.is_some() && config.trained.reranker).then_some(RerankMethod::Model);
    let methods = [Some(RerankMethod::Ransac), of_model];
    let mut kept = [[0usize; 2]; 2];
    progress.start("queries", queries.len() as u64);
    for query in queries {
        let Some([exact, other]) = &photographs[query.photograph].locals else { continue };
        let [references, other_references] = [0, 1].map(|side| query.candidates(photographs, side));
        for (kept, method) in kept.iter_mut().zip(methods) {
            let Some(method) = method else { continue };
            let scores = |own: &Local, references: &[&[u8]]| method.scores(extractor, &own.rows, references);
            let expected = scores(exact, &references)?;
            for (kept, references) in kept.iter_mut().zip([&other_references, &references]) {
                *kept += usize::from(as_good(method, &expected, &scores(other, references)?));
            }
        }
        progress.advance(1);
    }
    progress.finish();
    let share = |kept: [usize; 2]| kept[0].min(kept[1]) as f64 / queries.len() as f64;
    Ok(Some(RerankedCheck {
        queries: queries.len(),
        ransac: share(kept[0]),
        model: of_model.map(|_| share(kept[1])),
    }))
}

/// Whether the best candidate by `found` is the best by `expected`, scores in 32 bits, or as good.
fn as_good(method: RerankMethod, expected: &[f32], found: &[f32]) -> bool {
    let (Some(best), Some(first)) =
        (best_first(expected).first().copied(), best_first(found).first().copied())
    else {
        return true;
    };
    let [best, first] = [best, first].map(|i| f64::from(expected[i]));
    match method {
        RerankMethod::Ransac => first >= RerankedCheck::INLIERS * best,
        _ => first >= best - RerankedCheck::TIE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_good_by_its_score_in_32_bits() {
        let inliers = [40.0, 50.0, 39.0];
        let by_ransac = |found: [f32; 3]| as_good(RerankMethod::Ransac, &inliers, &found);
        assert!(by_ransac([0.0, 1.0, 0.0]) && by_ransac([60.0, 50.0, 0.0]) && !by_ransac([0.0, 50.0, 51.0]));
        let scores = [0.9, 0.84, 0.86];
        let by_model = |found: [f32; 3]| as_good(RerankMethod::Model, &scores, &found);
        assert!(by_model([0.5, 0.2, 0.4]) && by_model([0.5, 0.2, 0.6]) && !by_model([0.5, 0.7, 0.6]));
        // None is right where all are improbable.
        assert!(as_good(RerankMethod::Model, &[0.04, 0.01], &[0.01, 0.02]));
        assert!(as_good(RerankMethod::Ransac, &[], &[]));
    }
}
