//! Answers with a confidence, some of them declined: risk over coverage, calibration error, and what a threshold gives.

use serde::Serialize;

/// Bins of the expected calibration error, of equal width.
const BINS: usize = 10;

/// What accepting the surest answers gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RiskCoveragePoint {
    /// Answers of at least this confidence are accepted.
    pub threshold: f64,
    /// Their share of all answers.
    pub coverage: f64,
    /// The share of wrong ones among them.
    pub risk: f64,
}

/// Answers of similar confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Number of answers.
    pub answers: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of correct ones among them.
    pub correct: f64,
}

/// How good confidences are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selective {
    /// Number of answers, accepted or not.
    pub answers: usize,
    /// Number of correct ones.
    pub correct: usize,
    /// Answers of at least this confidence are accepted.
    pub threshold: f64,
    /// The share of accepted answers.
    pub coverage: f64,
    /// The share of correct ones among accepted answers; `None` where none is accepted.
    pub precision: Option<f64>,
    /// The mean difference of confidence and share of correct answers over ten bins of equal width, weighted by the
    /// answers in each.
    pub expected_calibration_error: f64,
    /// Area under the curve of risk over coverage, as a step function: the mean risk over all coverages.
    pub area_under_risk_coverage: f64,
    /// The bins that are not empty.
    pub bins: Vec<CalibrationBin>,
    /// The curve, strictest threshold first. Not serialised: it follows from the confidences.
    #[serde(skip)]
    pub curve: Vec<RiskCoveragePoint>,
}

/// Judges answers given as (confidence, whether it is correct).
///
/// ```
/// use r2former_eval::selective;
///
/// let found = selective(&[(0.9, true), (0.8, true), (0.3, false), (0.2, true)], 0.5);
/// assert_eq!((found.coverage, found.precision), (0.5, Some(1.0)));
/// // Risk 0, 0, 1/3 and 1/4 at coverage 1/4, 1/2, 3/4 and 1.
/// assert!((found.area_under_risk_coverage - (1.0 / 3.0 + 1.0 / 4.0) / 4.0).abs() < 1e-12);
/// // Each answer has a bin of its own: 0.1, 0.2, 0.3 and 0.8 off.
/// assert!((found.expected_calibration_error - 1.4 / 4.0).abs() < 1e-12);
/// ```
pub fn selective(answers: &[(f64, bool)], threshold: f64) -> Selective {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = sorted.len() as f64;
    let (mut wrong, mut area) = (0usize, 0.0);
    let mut curve: Vec<RiskCoveragePoint> = Vec::new();
    for (i, (confidence, correct)) in sorted.iter().enumerate() {
        wrong += usize::from(!correct);
        // Equal confidences are accepted together.
        if sorted.get(i + 1).is_some_and(|next| next.0 == *confidence) {
            continue;
        }
        let (coverage, risk) = ((i + 1) as f64 / count, wrong as f64 / (i + 1) as f64);
        area += risk * (coverage - curve.last().map_or(0.0, |point| point.coverage));
        curve.push(RiskCoveragePoint { threshold: *confidence, coverage, risk });
    }
    let accepted: Vec<bool> = sorted.iter().filter(|a| a.0 >= threshold).map(|a| a.1).collect();
    let hits = accepted.iter().filter(|correct| **correct).count();
    let bins = bins(answers);
    // A sum of nothing would be -0.
    let error =
        bins.iter().map(|bin| bin.answers as f64 * (bin.confidence - bin.correct).abs()).sum::<f64>() + 0.0;
    Selective {
        answers: answers.len(),
        correct: answers.len() - wrong,
        threshold,
        coverage: accepted.len() as f64 / count.max(1.0),
        precision: (!accepted.is_empty()).then(|| hits as f64 / accepted.len() as f64),
        expected_calibration_error: error / count.max(1.0),
        area_under_risk_coverage: area,
        bins,
        curve,
    }
}

fn bins(answers: &[(f64, bool)]) -> Vec<CalibrationBin> {
    let mut all = vec![(0usize, 0.0, 0usize); BINS];
    for (confidence, correct) in answers {
        let bin = &mut all[((confidence * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + usize::from(*correct));
    }
    let filled = all.into_iter().filter(|(answers, ..)| *answers > 0);
    filled
        .map(|(answers, sum, correct)| CalibrationBin {
            answers,
            confidence: sum / answers as f64,
            correct: correct as f64 / answers as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_confidence_costs_nothing() {
        let found = selective(&[(1.0, true), (1.0, true), (0.0, false)], 0.5);
        assert_eq!((found.expected_calibration_error, found.coverage), (0.0, 2.0 / 3.0));
        assert_eq!((found.answers, found.correct, found.precision), (3, 2, Some(1.0)));
        // Equal confidences make one point; everything accepted has a risk of a third.
        assert_eq!(found.curve.len(), 2);
        assert!((found.area_under_risk_coverage - 1.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn one_bin_averages() {
        // Confidences of 0.72 and 0.78, one of two correct: 0.25 off.
        let found = selective(&[(0.72, true), (0.78, false)], 0.8);
        assert!((found.expected_calibration_error - 0.25).abs() < 1e-12);
        assert_eq!((found.precision, found.coverage), (None, 0.0));
    }

    #[test]
    fn no_answers_is_zero_not_nan() {
        let found = selective(&[], 0.5);
        assert_eq!((found.coverage, found.precision, found.expected_calibration_error), (0.0, None, 0.0));
        assert_eq!((found.area_under_risk_coverage, found.curve.len(), found.bins.len()), (0.0, 0, 0));
    }
}
