//! When an answer may be believed: precision against recall over the threshold of the score.

use serde::Serialize;

/// One threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrecisionPoint {
    /// Best matches with at least this score are accepted.
    pub threshold: f32,
    /// Right ones among the accepted.
    pub precision: f64,
    /// Right accepted ones among the queries that have a positive.
    pub recall: f64,
}

/// Precision and recall of the first match alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Precision {
    /// Mean precision over recall: the area under the curve in steps, as information retrieval has it.
    pub average: f64,
    /// The largest recall at which every accepted answer is right.
    pub recall_at_full_precision: f64,
    /// The curve, from the strictest threshold on; not among the results that are written: the queries' own scores
    /// are.
    #[serde(skip)]
    pub curve: Vec<PrecisionPoint>,
}

/// The curve of queries given as (score of the first match, whether it is right), with how many of all queries have
/// a positive. A query without any match is accepted at no threshold and is not among `answers`.
pub fn precision(answers: &[(f32, bool)], with_positive: usize) -> Precision {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut average, mut full) = (0usize, 0.0, 0.0f64);
    let mut curve = Vec::new();
    for (i, (score, hit)) in sorted.iter().enumerate() {
        right += usize::from(*hit);
        // Equal scores are accepted together.
        if sorted.get(i + 1).is_some_and(|next| next.0 == *score) {
            continue;
        }
        let precision = right as f64 / (i + 1) as f64;
        let recall = if with_positive == 0 { 0.0 } else { right as f64 / with_positive as f64 };
        let before = curve.last().map_or(0.0, |point: &PrecisionPoint| point.recall);
        average += precision * (recall - before);
        if right == i + 1 {
            full = full.max(recall);
        }
        curve.push(PrecisionPoint { threshold: *score, precision, recall });
    }
    Precision { average, recall_at_full_precision: full, curve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_answers_by_hand() {
        // Sorted: 0.9 right, 0.8 right, 0.7 wrong, 0.6 right; five queries have a positive.
        // Precision 1, 1, 2/3, 3/4 at recall 1/5, 2/5, 2/5, 3/5.
        let found = precision(&[(0.7, false), (0.9, true), (0.6, true), (0.8, true)], 5);
        let points: Vec<(f64, f64)> = found.curve.iter().map(|p| (p.precision, p.recall)).collect();
        assert_eq!(points, [(1.0, 0.2), (1.0, 0.4), (2.0 / 3.0, 0.4), (0.75, 0.6)]);
        // 1 * 0.2 + 1 * 0.2 + 0.75 * 0.2
        assert!((found.average - 0.55).abs() < 1e-12);
        assert!((found.recall_at_full_precision - 0.4).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_stand_or_fall_together() {
        let found = precision(&[(0.5, true), (0.5, false)], 2);
        assert_eq!(found.curve, [PrecisionPoint { threshold: 0.5, precision: 0.5, recall: 0.5 }]);
        assert_eq!(found.recall_at_full_precision, 0.0);
    }

    #[test]
    fn nothing_is_zero() {
        let none = precision(&[], 0);
        assert_eq!((none.average, none.recall_at_full_precision, none.curve.len()), (0.0, 0.0, 0));
    }
}
