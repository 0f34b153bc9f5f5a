//! Precision and recall of the first match, over the threshold on its score.

use serde::Serialize;

/// Precision and recall at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrecisionRecallPoint {
    /// First matches with at least this score are accepted.
    pub threshold: f32,
    /// Correct among accepted first matches.
    pub precision: f64,
    /// Accepted and correct first matches per query with a positive.
    pub recall: f64,
}

/// Precision and recall of the first match.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrecisionRecall {
    /// Area under the precision-recall curve, as a step function.
    pub average_precision: f64,
    /// Largest recall at which every accepted first match is correct.
    pub recall_at_full_precision: f64,
    /// The curve, strictest threshold first. Not serialised: it follows from the scores of the queries.
    #[serde(skip)]
    pub curve: Vec<PrecisionRecallPoint>,
}

/// The curve of first matches given as (score, whether it is a positive); `with_positive` is the number of queries that
/// have a positive. A query without any match is not in `answers`: no threshold accepts it.
pub fn precision_recall(answers: &[(f32, bool)], with_positive: usize) -> PrecisionRecall {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut correct, mut average_precision, mut full) = (0usize, 0.0, 0.0f64);
    let mut curve = Vec::new();
    for (i, (score, hit)) in sorted.iter().enumerate() {
        correct += usize::from(*hit);
        // Equal scores are accepted together.
        if sorted.get(i + 1).is_some_and(|next| next.0 == *score) {
            continue;
        }
        let precision = correct as f64 / (i + 1) as f64;
        let recall = if with_positive == 0 { 0.0 } else { correct as f64 / with_positive as f64 };
        let before = curve.last().map_or(0.0, |point: &PrecisionRecallPoint| point.recall);
        average_precision += precision * (recall - before);
        if correct == i + 1 {
            full = full.max(recall);
        }
        curve.push(PrecisionRecallPoint { threshold: *score, precision, recall });
    }
    PrecisionRecall { average_precision, recall_at_full_precision: full, curve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_answers_by_hand() {
        // Sorted: 0.9 correct, 0.8 correct, 0.7 wrong, 0.6 correct; five queries have a positive.
        // Precision 1, 1, 2/3, 3/4 at recall 1/5, 2/5, 2/5, 3/5.
        let found = precision_recall(&[(0.7, false), (0.9, true), (0.6, true), (0.8, true)], 5);
        let points: Vec<(f64, f64)> = found.curve.iter().map(|p| (p.precision, p.recall)).collect();
        assert_eq!(points, [(1.0, 0.2), (1.0, 0.4), (2.0 / 3.0, 0.4), (0.75, 0.6)]);
        // 1 * 0.2 + 1 * 0.2 + 0.75 * 0.2
        assert!((found.average_precision - 0.55).abs() < 1e-12);
        assert!((found.recall_at_full_precision - 0.4).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_are_accepted_together() {
        let found = precision_recall(&[(0.5, true), (0.5, false)], 2);
        assert_eq!(found.curve, [PrecisionRecallPoint { threshold: 0.5, precision: 0.5, recall: 0.5 }]);
        assert_eq!(found.recall_at_full_precision, 0.0);
    }

    #[test]
    fn no_answers_is_zero() {
        let none = precision_recall(&[], 0);
        assert_eq!((none.average_precision, none.recall_at_full_precision, none.curve.len()), (0.0, 0.0, 0));
    }
}
