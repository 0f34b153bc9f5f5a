//! How much RANSAC's inliers count beside the reranker's logits.

use super::calibrate::{CalibrateOptions, extract};
use super::fit::{Example, fit};
use crate::ranking::Ranking;
use crate::run::rank_extracted;
use crate::{EvalError, Result};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_model::{Clue, InlierWeights};
use std::collections::HashMap;

/// Least distance of a score from 0 and 1 of which a logit is taken.
const EDGE: f32 = 1e-7;

/// Fits the weights on the candidates of all queries of datasets: every dataset counts the same, and so do positives and
/// other candidates.
///
/// # Errors
/// - [`EvalError::Request`]: no dataset, a model without a trained reranker, or one that weighs inliers already; datasets whose
///   candidates are all positives, or none; a reranker, or inliers, that say nothing.
/// - [`EvalError::File`], [`EvalError::Engine`]: as [`crate::evaluate`].
pub fn weigh_inliers(
    extractor: &Extractor,
    datasets: &[(String, Dataset)],
    options: &CalibrateOptions,
    progress: &dyn Progress,
) -> Result<InlierWeights> {
    let config = extractor.config();
    if !config.trained.reranker || config.reranker.as_ref().is_none_or(|own| own.inliers.is_some()) {
        return Err(EvalError::Request(format!(
            "model {}: inliers are weighed beside a trained reranker that does not weigh them yet",
            config.name
        )));
    }
    let eval = options.eval(vec![RerankMethod::Ransac, RerankMethod::Model]);
    let mut examples = Vec::new();
    for (name, dataset) in datasets {
        let (ruled, extracted) = extract(extractor, (name, dataset), &eval, progress)?;
        let rankings = rank_extracted(dataset, &extracted, None, extractor, &eval, progress)?.rankings;
        let (Some(ransac), Some(reranked)) = (&rankings.ransac, &rankings.reranked) else { continue };
        let positives = ruled.positives();
        let parts = ransac.iter().zip(reranked).zip(&positives);
        let own: Vec<_> =
            parts.flat_map(|((ransac, own), positives)| pairs(ransac, own, positives)).collect();
        examples.extend(balanced(own));
    }
    let correct = examples.iter().filter(|example| example.correct).count();
    if correct == 0 || correct == examples.len() {
        return Err(EvalError::Request("candidates of both kinds are needed: positives, and others".into()));
    }
    let (bias, weights) = fit(&examples, &[Clue::Score, Clue::Inliers]);
    match (weights.get(&Clue::Score), weights.get(&Clue::Inliers)) {
        (Some(logit), Some(inliers)) => {
            Ok(InlierWeights { logit: *logit as f32, inliers: *inliers as f32, bias: bias as f32 })
        }
        _ => Err(EvalError::Request(
            "on these datasets the reranker and RANSAC's inliers say nothing that the other does not".into(),
        )),
    }
}

/// The candidates of one query.
fn pairs(ransac: &Ranking, reranked: &Ranking, positives: &[u32]) -> Vec<Example> {
    let inliers: HashMap<u32, f32> =
        ransac.references.iter().copied().zip(ransac.scores.iter().copied()).collect();
    let scored = reranked.references.iter().zip(&reranked.scores);
    scored
        .filter_map(|(reference, score)| {
            let score = score.clamp(EDGE, 1.0 - EDGE);
            let logit = f64::from((score / (1.0 - score)).ln());
            let inliers = f64::from(inliers.get(reference)?.ln_1p());
            let clues = [(Clue::Score, logit), (Clue::Inliers, inliers)].into();
            Some(Example { clues, correct: positives.contains(reference), weight: 1.0 })
        })
        .collect()
}

/// Positives weigh together as much as the others.
fn balanced(mut examples: Vec<Example>) -> Vec<Example> {
    let correct = examples.iter().filter(|example| example.correct).count();
    let others = examples.len() - correct;
    for example in &mut examples {
        example.weight = 500.0 / if example.correct { correct } else { others } as f64;
    }
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_a_query_become_examples_of_equal_weight() {
        let ransac = Ranking { references: vec![7, 5, 6], scores: vec![9.0, 3.0, 0.0] };
        let reranked = Ranking { references: vec![5, 7, 6], scores: vec![1.0, 0.5] };
        let found = balanced(pairs(&ransac, &reranked, &[7, 8]));
        // The last candidate has no score.
        assert_eq!(
            found.iter().map(|e| (e.correct, e.weight)).collect::<Vec<_>>(),
            [(false, 500.0), (true, 500.0)]
        );
        assert_eq!(found[1].clues[&Clue::Score], 0.0);
        assert!((found[1].clues[&Clue::Inliers] - 10f64.ln()).abs() < 1e-6);
        assert!((15.0..17.0).contains(&found[0].clues[&Clue::Score]), "{found:?}");
    }
}
