//! How probable it is that the best answer is correct: clues of a ranking, and the model's calibration of them.

use crate::{Estimate, Match, RerankMethod, ScoreKind};
use r2former_model::{Calibration, Clue, Clues};

/// Candidates that contrasts are measured among. Where a small index or a prior leaves fewer, typical ones take the places of
/// those that are not there: a single candidate resembles no other, and is no less certain for that.
const CONTRASTED: usize = 20;

/// Logits beyond this say nothing more: a 32-bit probability has no digits left there.
const LARGEST_LOGIT: f64 = 12.0;

/// The clues of one ranking to whether its best answer is correct.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What the ranking is by.
    pub ranking: RerankMethod,
    /// Whether the best match has a position, so that others can agree with it.
    pub positions: bool,
    /// The clues.
    pub clues: Clues,
}

impl Evidence {
    /// Gathers the clues of a ranking of all candidates, best first; `None` without any. `ransac` is RANSAC's score of the best
    /// match ([`crate::Verifier`]), where its local features are at hand. Where there
    /// are few candidates, the calibration says what stands for those that are not there.
    ///
    /// ```
    /// use r2former_engine::{Evidence, LatLon, Match, RerankMethod};
    /// use r2former_model::Clue;
    /// use std::collections::BTreeMap;
    ///
    /// let found = |rank, lat, similarity| Match {
    ///     rank,
    ///     id: String::new(),
    ///     path: format!("{rank}.jpg"),
    ///     tags: BTreeMap::new(),
    ///     position: Some(LatLon { lat, lon: 0.0 }.into()),
    ///     heading: None,
    ///     time: None,
    ///     distance_m: None,
    ///     similarity,
    ///     score: None,
    ///     score_kind: None,
    /// };
    /// // The second lies at the spot of the first, the third 1.1 km north.
    /// let ranking = [found(1, 52.0, 0.75), found(2, 52.0, 0.5), found(3, 52.01, 0.25)];
    /// let evidence = Evidence::of(RerankMethod::None, &ranking, None, None).unwrap();
    /// assert_eq!((evidence.clues[&Clue::Similarity], evidence.clues[&Clue::Margin]), (0.75, 0.5));
    /// assert_eq!((evidence.clues[&Clue::SimilarityContrast], evidence.clues[&Clue::Compactness]), (0.25, 1.0));
    /// ```
    pub fn of(
        ranking: RerankMethod,
        candidates: &[Match],
        ransac: Option<f32>,
        calibration: Option<&Calibration>,
    ) -> Option<Self> {
        let best = candidates.first()?;
        let positions = best.position.is_some();
        let typical = calibration.and_then(|own| own.fit(ranking.name(), positions)?.typical);
        let mut clues = Clues::new();
        let similarity = f64::from(best.similarity);
        let usual = typical.map(|typical| typical.similarity);
        let middle = median(candidates.iter().map(|m| f64::from(m.similarity)), usual);
        clues.insert(Clue::Similarity, similarity);
        clues.insert(Clue::SimilarityContrast, similarity - middle);
        let score = linked(best);
        let usual_score = typical.and_then(|typical| typical.score);
        if let Some(score) = score {
            clues.insert(Clue::Score, score);
            let middle = median(candidates.iter().map_while(linked), usual_score);
            clues.insert(Clue::ScoreContrast, score - middle);
        }
        if let Some(ransac) = ransac {
            clues.insert(Clue::Inliers, f64::from(ransac).ln_1p());
        }
        if let Some(estimate) = Estimate::from_matches(candidates) {
            let value = |m: &Match| if score.is_some() { linked(m) } else { Some(f64::from(m.similarity)) };
            let own = value(best).unwrap_or_default();
            let elsewhere = |m: &&Match| {
                let metres = m.position.and_then(|position| estimate.best.distance_m(position));
                metres.is_some_and(|metres| metres > Estimate::AGREEMENT_M)
            };
            // Where everything is one place, what is typical stands for the others, or the last of it.
            let usual = if score.is_some() { usual_score } else { usual };
            let other = candidates.iter().find(elsewhere).and_then(value);
            let other = other.or(usual.filter(|_| candidates.len() < CONTRASTED));
            let other = other.or_else(|| candidates.last().and_then(value));
            clues.insert(Clue::Margin, own - other.unwrap_or(0.0));
            let others = (Estimate::CONSIDERED - 1) as f64;
            clues.insert(Clue::Agreement, (estimate.agreeing - 1) as f64 / others);
            let near = 1.0 - estimate.spread_m / Estimate::AGREEMENT_M;
            clues.insert(Clue::Compactness, if estimate.agreeing > 1 { near } else { 0.0 });
        }
        Some(Self { ranking, positions, clues })
    }

    /// The probability that the best answer is correct; `None` where the model is not calibrated for such a ranking.
    pub fn confidence(&self, calibration: Option<&Calibration>) -> Option<f64> {
        let fit = calibration?.fit(self.ranking.name(), self.positions)?;
        Some(fit.probability(&self.clues))
    }
}

/// A score on a scale where differences mean the same everywhere.
fn linked(m: &Match) -> Option<f64> {
    let score = f64::from(m.score?);
    Some(match m.score_kind? {
        ScoreKind::RerankerProbability => (score / (1.0 - score)).ln().clamp(-LARGEST_LOGIT, LARGEST_LOGIT),
        ScoreKind::RansacInliers | ScoreKind::MutualMatches => score.max(0.0).ln_1p(),
    })
}

/// The middle value; the upper one of two; 0 without any. Where there are fewer than [`CONTRASTED`], as many `usual` ones are
/// added.
fn median(values: impl Iterator<Item = f64>, usual: Option<f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    if let Some(usual) = usual {
        all.resize(all.len().max(CONTRASTED), usual);
    }
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_data::LatLon;
    use r2former_model::{ConfidenceFit, TypicalCandidate};

    fn at(lat: Option<f64>, similarity: f32, score: Option<f32>) -> Match {
        Match {
            position: lat.map(|lat| LatLon { lat, lon: 0.0 }.into()),
            score,
            score_kind: score.map(|_| ScoreKind::RerankerProbability),
            ..Match::named("", similarity)
        }
    }

    fn fit(positions: bool, bias: f64) -> ConfidenceFit {
        ConfidenceFit { ranking: "model".into(), positions, bias, weights: Clues::new(), typical: None }
    }

    fn calibration(fits: Vec<ConfidenceFit>) -> Calibration {
        Calibration { radius_m: 25.0, threshold: 0.5, fits, position_scale: None, fitted_on: Vec::new() }
    }

    #[test]
    fn clues_by_hand() {
        // The second lies 11 m away, the third 1.1 km; the last was not reranked.
        let ranking = [
            at(Some(52.0), 0.6, Some(0.9)),
            at(Some(52.0001), 0.7, Some(0.5)),
            at(Some(52.01), 0.4, Some(0.1)),
            at(Some(52.02), 0.1, None),
        ];
        let found = Evidence::of(RerankMethod::Model, &ranking, Some(9.0), None).expect("there are matches");
        let nine = 9f64.ln();
        let near = |clue: Clue, value: f64| {
            assert!((found.clues[&clue] - value).abs() < 1e-5, "{clue:?}: {found:?}");
        };
        near(Clue::Similarity, 0.6);
        near(Clue::SimilarityContrast, 0.0);
        near(Clue::Score, nine);
        near(Clue::ScoreContrast, nine);
        near(Clue::Margin, 2.0 * nine);
        near(Clue::Inliers, 10f64.ln());
        near(Clue::Agreement, 1.0 / 9.0);
        assert!((found.clues[&Clue::Compactness] - 0.555).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_single_candidate_contrasts_with_what_is_typical() {
        let typical = TypicalCandidate { similarity: 0.3, score: Some(-1.0) };
        let calibration = calibration(vec![ConfidenceFit { typical: Some(typical), ..fit(true, 0.0) }]);
        let clues = |ranking: &[Match]| {
            let found = Evidence::of(RerankMethod::Model, ranking, None, Some(&calibration));
            let found = found.expect("a match").clues;
            [Clue::SimilarityContrast, Clue::ScoreContrast, Clue::Margin].map(|clue| found[&clue])
        };
        let nine = 9f64.ln();
        let near = |found: [f64; 3], expected: [f64; 3]| {
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        };
        let own = at(Some(52.0), 0.6, Some(0.9));
        near(clues(std::slice::from_ref(&own)), [0.3, nine + 1.0, nine + 1.0]);
        // One of another place is there itself.
        near(clues(&[own.clone(), at(Some(53.0), 0.2, Some(0.5))]), [0.3, nine + 1.0, nine]);
        // Of enough candidates nothing is added.
        let many = vec![own; CONTRASTED];
        near(clues(&many), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn extremes_are_finite() {
        for (first, last) in [(1.0, 0.0), (0.0, 0.0), (1.0, 1.0)] {
            let ranking = [at(Some(0.0), 1.0, Some(first)), at(Some(1.0), -1.0, Some(last))];
            for count in 1..=2 {
                let found =
                    Evidence::of(RerankMethod::Model, &ranking[..count], None, None).expect("matches");
                assert!(found.clues.values().all(|value| value.is_finite()), "{found:?}");
            }
        }
        assert_eq!(Evidence::of(RerankMethod::None, &[], None, None), None);
    }

    #[test]
    fn without_positions_nothing_agrees_and_another_fit_counts() {
        let found =
            Evidence::of(RerankMethod::Model, &[at(None, 0.5, Some(0.5))], None, None).expect("a match");
        assert!(!found.positions && !found.clues.contains_key(&Clue::Agreement));
        let calibration = calibration(vec![fit(true, 9.0), fit(false, 0.0)]);
        assert_eq!(found.confidence(Some(&calibration)), Some(0.5));
        assert_eq!(found.confidence(None), None);
        let global = Evidence { ranking: RerankMethod::None, ..found };
        assert_eq!(global.confidence(Some(&calibration)), None);
    }
}
