//! What a model's scores are worth: the calibration that turns the clues of an answer into a probability.

use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The names of rankings, as reranking methods are called.
const RANKINGS: [&str; 4] = ["none", "ransac", "mutual", "model"];

/// A clue to whether the best answer is correct. The more of each, the more probable it is: no weight is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Clue {
    /// Cosine of the global descriptors of the query and the best match.
    Similarity,
    /// The same less the median of all candidates.
    SimilarityContrast,
    /// Score of the best match: the logit of the reranker's, ln(1 + n) of a number of local features.
    Score,
    /// The same less the median of the reranked candidates.
    ScoreContrast,
    /// ln(1 + RANSAC's score) of the best match.
    Inliers,
    /// Score (cosine where nothing was reranked) of the best match less that of the first match of another place.
    Margin,
    /// Share of the other considered matches that lie within the radius of the best one.
    Agreement,
    /// How near those that agree lie to it: 1 at the spot, 0 at the radius or where none agrees.
    Compactness,
}

/// Clues and their values.
pub type Clues = BTreeMap<Clue, f64>;

/// A logistic regression on clues, for one way of ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceFit {
    /// What the ranking is by: `none`, `ransac`, `mutual` or `model`.
    pub ranking: String,
    /// Whether the references have positions; without them no matches agree.
    pub positions: bool,
    /// The log-odds without any clue.
    pub bias: f64,
    /// What is added to them per unit of each clue: 0 or more.
    pub weights: Clues,
    /// What stands for the candidates that a small database or a prior does not have, where contrasts need them; `None` of
    /// calibrations that did not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typical: Option<TypicalCandidate>,
}

/// The median candidate of the queries that a calibration was fitted on, on the scales of [`Clue`]s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypicalCandidate {
    /// Its cosine.
    pub similarity: f64,
    /// Its score among the reranked; `None` of the global ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

impl ConfidenceFit {
    /// The probability that the best answer is correct, 0 to 1; a clue that is missing counts as 0.
    pub fn probability(&self, clues: &Clues) -> f64 {
        let of = |(clue, weight): (&Clue, &f64)| weight * clues.get(clue).copied().unwrap_or(0.0);
        let log_odds = self.bias + self.weights.iter().map(of).sum::<f64>();
        1.0 / (1.0 + (-log_odds).exp())
    }
}

/// A dataset that a calibration was fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSet {
    /// Its name.
    pub dataset: String,
    /// References.
    pub database: usize,
    /// Queries asked of the whole database.
    pub queries: usize,
    /// Queries whose positives were held out, those of other datasets, and synthetic pictures of nothing.
    pub unknown: usize,
}

/// The calibration of a model's answers: how probable it is that the best one is correct.
///
/// ```
/// use r2former_model::{Calibration, Clue, ConfidenceFit};
///
/// let fit = ConfidenceFit { ranking: "none".into(), positions: true, bias: -2.0, weights: [(Clue::Similarity, 4.0)].into(), typical: None };
/// assert_eq!(fit.probability(&[(Clue::Similarity, 0.5)].into()), 0.5);
/// let calibration = Calibration { radius_m: 25.0, threshold: 0.6, fits: vec![fit], position_scale: None, fitted_on: vec![] };
/// assert!(calibration.fit("none", true).is_some() && calibration.fit("none", false).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// An answer is correct within this many metres.
    pub radius_m: f64,
    /// The confidence from which on an answer should be accepted, unless one's own purpose asks for another.
    pub threshold: f64,
    /// One for each ranking that the model can give, with and without positions.
    pub fits: Vec<ConfidenceFit>,
    /// By how much the spread of the matches that agree is multiplied for the 90 % region of a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_scale: Option<f64>,
    /// What it was fitted on.
    pub fitted_on: Vec<CalibrationSet>,
}

impl Calibration {
    /// The fit of a ranking, with positions or without.
    pub fn fit(&self, ranking: &str, positions: bool) -> Option<&ConfidenceFit> {
        self.fits.iter().find(|fit| fit.ranking == ranking && fit.positions == positions)
    }

    /// Checks the ranges of all fields.
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |what: String| Err(ModelError::Config(format!("calibration.{what}")));
        if !(self.radius_m.is_finite() && self.radius_m > 0.0) {
            return bad(format!("radius_m {} is not a positive number of metres", self.radius_m));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return bad(format!("threshold {} is not a probability", self.threshold));
        }
        if let Some(scale) = self.position_scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return bad(format!("position_scale {scale} is not a positive number"));
        }
        for fit in &self.fits {
            if !RANKINGS.contains(&fit.ranking.as_str()) {
                return bad(format!("fits: '{}' is none of {}", fit.ranking, RANKINGS.join(", ")));
            }
            let weights = fit.weights.values().all(|weight| weight.is_finite() && *weight >= 0.0);
            let typical = fit.typical.iter().flat_map(|one| [Some(one.similarity), one.score]).flatten();
            if !typical.into_iter().all(f64::is_finite) {
                return bad(format!("fits: the typical candidate of {} must be finite", fit.ranking));
            }
            if !(weights && fit.bias.is_finite()) {
                return bad(format!("fits: weights of {} must be finite and not negative", fit.ranking));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    fn calibration() -> Calibration {
        let fit = ConfidenceFit {
            ranking: "model".into(),
            positions: true,
            bias: -3.0,
            weights: [(Clue::Inliers, 1.0), (Clue::Margin, 0.5)].into(),
            typical: Some(TypicalCandidate { similarity: 0.4, score: Some(-2.0) }),
        };
        let set = CalibrationSet { dataset: "town".into(), database: 3, queries: 2, unknown: 2 };
        Calibration {
            radius_m: 25.0,
            threshold: 0.6,
            fits: vec![fit],
            position_scale: Some(1.5),
            fitted_on: vec![set],
        }
    }

    #[test]
    fn more_of_a_clue_is_never_less_probable() {
        let fit = &calibration().fits[0];
        let at =
            |inliers, margin| fit.probability(&[(Clue::Inliers, inliers), (Clue::Margin, margin)].into());
        assert!(at(1.0, 0.0) < at(2.0, 0.0) && at(2.0, 0.0) < at(2.0, 1.0));
        assert_eq!(at(3.0, 0.0), 0.5);
        assert_eq!(fit.probability(&[(Clue::Similarity, 9.0)].into()), fit.probability(&Clues::new()));
    }

    #[test]
    fn a_configuration_carries_it_and_old_ones_have_none() {
        let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
        let old = serde_json::to_string(&config).expect("JSON");
        assert!(!old.contains("calibration"));
        config.calibration = Some(calibration());
        let text = serde_json::to_string(&config).expect("JSON");
        assert_eq!(serde_json::from_str::<ModelConfig>(&text).expect("its own"), config);
        assert_eq!(serde_json::from_str::<ModelConfig>(&old).expect("an old file").calibration, None);
        config.validate().expect("sound");
    }

    #[test]
    fn what_no_calibration_can_be_is_refused() {
        type Change = fn(&mut Calibration);
        let wrong: [(&str, Change); 6] = [
            ("radius_m", |c| c.radius_m = f64::NAN),
            ("threshold", |c| c.threshold = 1.5),
            ("position_scale", |c| c.position_scale = Some(0.0)),
            ("'luck'", |c| c.fits[0].ranking = "luck".into()),
            ("weights", |c| c.fits[0].bias = f64::INFINITY),
            ("weights", |c| {
                c.fits[0].weights.insert(Clue::Score, -1.0);
            }),
        ];
        for (word, change) in wrong {
            let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
            let mut own = calibration();
            change(&mut own);
            config.calibration = Some(own);
            let said = config.validate().expect_err(word).to_string();
            assert!(said.contains("calibration.") && said.contains(word), "{said}");
        }
    }
}
