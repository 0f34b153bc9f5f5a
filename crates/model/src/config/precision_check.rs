//! What an arithmetic does to a model's descriptors and to the answers of its local features, as it was measured.

use super::{ModelConfig, Precision};
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Results in another arithmetic beside those in 32 bits, of the same photographs at the model's own image size.
///
/// ```
/// use r2former_model::{ModelConfig, Precision, PrecisionCheck, RerankedCheck};
///
/// let check = PrecisionCheck {
///     precision: Precision::Int8,
///     images: 500,
///     least_cosine: 0.9988,
///     mean_cosine: 0.9994,
///     same_first: 1.0,
///     same_first_mixed: 0.996,
///     reranked: Some(RerankedCheck { queries: 200, ransac: 0.995, model: None }),
/// };
/// let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
/// config.checks = vec![check];
/// assert!(config.keeps_ranking(Precision::Int8));
/// // It has local features, and a check of descriptors alone says nothing of them.
/// config.checks[0].reranked = None;
/// assert!(!config.keeps_ranking(Precision::Int8));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrecisionCheck {
    /// The arithmetic.
    pub precision: Precision,
    /// Photographs.
    pub images: usize,
    /// The least cosine of a photograph's two descriptors.
    pub least_cosine: f64,
    /// The mean of them.
    pub mean_cosine: f64,
    /// The share of photographs of which the most similar other one is the same, or is as similar in 32 bits within
    /// [`TIE`](Self::TIE).
    pub same_first: f64,
    /// The same where the descriptors that are searched are in 32 bits, and only the photograph's own is not.
    pub same_first_mixed: f64,
    /// Answers by local features. `None` for a model without them, and in files that were checked before answers were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranked: Option<RerankedCheck>,
}

/// First answers of photographs that are queries of the most similar others, by local features in another arithmetic. Each share
/// is the less of two: of features that are all in it, and where those of the candidates are in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankedCheck {
    /// Photographs that were queries.
    pub queries: usize,
    /// The share of them whose first answer by RANSAC is the same, or as good in 32 bits.
    pub ransac: f64,
    /// The same by the model's reranker. `None` where it is not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<f64>,
}

impl RerankedCheck {
    /// The share of the first answer's inliers that another needs to be as good: RANSAC finds a few more or less in photographs
    /// that nobody could tell apart.
    pub const INLIERS: f64 = 0.8;

    /// Scores of the reranker, probabilities, that differ by no more than this have no order.
    pub const TIE: f64 = 0.05;

    /// The least share of queries whose first answer has to stay.
    pub const LEAST_SAME: f64 = 0.98;

    /// Whether answers of a model are as good as in 32 bits.
    fn keeps_answers(&self, config: &ModelConfig) -> bool {
        let model = match self.model {
            Some(share) => share >= Self::LEAST_SAME,
            None => config.reranker.is_none() || !config.trained.reranker,
        };
        model && self.ransac >= Self::LEAST_SAME && self.queries >= PrecisionCheck::FEWEST
    }
}

impl PrecisionCheck {
    /// Similarities that differ by no more than this have no order: descriptors whose cosine is 0.999 change similarities by as
    /// much, and neighbouring photographs of a street are as similar to either.
    pub const TIE: f64 = 5e-3;

    /// Photographs that a check needs at least: fewer show nothing.
    pub const FEWEST: usize = 20;

    /// The least cosine with which an arithmetic is used.
    pub const LEAST_COSINE: f64 = 0.998;

    /// The least share of photographs whose first answer has to stay.
    pub const LEAST_SAME: f64 = 0.99;

    /// Whether rankings of a model are as good as in 32 bits: cosines, the first answers of both kinds of search, and those by
    /// local features, if it has any.
    pub(super) fn keeps_ranking(&self, config: &ModelConfig) -> bool {
        let reranked = match &self.reranked {
            Some(reranked) => reranked.keeps_answers(config),
            None => config.local.is_none(),
        };
        reranked
            && self.images >= Self::FEWEST
            && self.least_cosine >= Self::LEAST_COSINE
            && self.same_first.min(self.same_first_mixed) >= Self::LEAST_SAME
    }

    /// Checks the ranges of all fields.
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |what: String| Err(ModelError::Config(format!("checks.{what}")));
        if self.precision == Precision::F32 {
            return bad("precision f32 is what the others are compared with".into());
        }
        for (name, cosine) in [("least_cosine", self.least_cosine), ("mean_cosine", self.mean_cosine)] {
            if !(-1.001..=1.001).contains(&cosine) {
                return bad(format!("{name} {cosine} is no cosine"));
            }
        }
        let reranked = self.reranked.iter().flat_map(|own| {
            [Some(("reranked.ransac", own.ransac)), own.model.map(|share| ("reranked.model", share))]
        });
        let shares = [("same_first", self.same_first), ("same_first_mixed", self.same_first_mixed)];
        for (name, share) in shares.into_iter().chain(reranked.flatten()) {
            if !(0.0..=1.0).contains(&share) {
                return bad(format!("{name} {share} is no share"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    fn check() -> PrecisionCheck {
        PrecisionCheck {
            precision: Precision::Int8,
            images: 100,
            least_cosine: 0.9985,
            mean_cosine: 0.9995,
            same_first: 1.0,
            same_first_mixed: 1.0,
            reranked: Some(RerankedCheck { queries: 100, ransac: 0.99, model: Some(0.99) }),
        }
    }

    /// A model with local features and a trained reranker.
    fn full() -> ModelConfig {
        let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
        config.trained.reranker = true;
        config
    }

    #[test]
    fn what_changes_rankings_is_not_kept() {
        assert!(check().keeps_ranking(&full()));
        type Change = fn(&mut PrecisionCheck);
        let changes: [Change; 9] = [
            |c| c.images = 3,
            |c| c.least_cosine = 0.99,
            |c| c.same_first = 0.9,
            |c| c.same_first_mixed = 0.98,
            |c| c.reranked = None,
            |c| c.reranked = c.reranked.map(|own| RerankedCheck { queries: 10, ..own }),
            |c| c.reranked = c.reranked.map(|own| RerankedCheck { ransac: 0.97, ..own }),
            |c| c.reranked = c.reranked.map(|own| RerankedCheck { model: Some(0.97), ..own }),
            |c| c.reranked = c.reranked.map(|own| RerankedCheck { model: None, ..own }),
        ];
        for change in changes {
            let mut check = check();
            change(&mut check);
            assert!(!check.keeps_ranking(&full()), "{check:?}");
        }
    }

    #[test]
    fn a_model_needs_what_it_has() {
        let mut config = full();
        let ransac = RerankedCheck { queries: 100, ransac: 0.99, model: None };
        let by = |reranked| PrecisionCheck { reranked, ..check() };
        assert!(!by(Some(ransac)).keeps_ranking(&config));
        config.trained.reranker = false;
        assert!(by(Some(ransac)).keeps_ranking(&config) && !by(None).keeps_ranking(&config));
        (config.reranker, config.local) = (None, None);
        assert!(by(None).keeps_ranking(&config));
    }

    #[test]
    fn a_check_of_descriptors_alone_is_read() {
        let old = r#"{"precision":"int8","images":6046,"least_cosine":0.9985,"mean_cosine":0.9995,"same_first":1.0,"same_first_mixed":1.0}"#;
        let read: PrecisionCheck = serde_json::from_str(old).expect("an old check");
        assert_eq!(read.reranked, None);
        assert!(!serde_json::to_string(&read).expect("JSON").contains("reranked"));
    }

    #[test]
    fn a_configuration_carries_checks_and_old_ones_have_none() {
        let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
        let old = serde_json::to_string(&config).expect("JSON");
        assert!(!old.contains("checks"));
        assert!(!config.keeps_ranking(Precision::Int8) && config.keeps_ranking(Precision::F32));
        config.checks = vec![check()];
        let text = serde_json::to_string(&config).expect("JSON");
        let read: ModelConfig = serde_json::from_str(&text).expect("its own");
        assert_eq!(read, config);
        assert!(read.keeps_ranking(Precision::Int8) && !read.keeps_ranking(Precision::Bf16));
        read.validate().expect("sound");
    }

    #[test]
    fn what_no_check_can_be_is_refused() {
        type Change = fn(&mut PrecisionCheck);
        let wrong: [(&str, Change); 4] = [
            ("precision", |c| c.precision = Precision::F32),
            ("mean_cosine", |c| c.mean_cosine = f64::NAN),
            ("same_first", |c| c.same_first = 1.5),
            ("reranked.model", |c| {
                c.reranked = c.reranked.map(|own| RerankedCheck { model: Some(-0.1), ..own })
            }),
        ];
        for (word, change) in wrong {
            let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
            let mut own = check();
            change(&mut own);
            config.checks = vec![own];
            let said = config.validate().expect_err(word).to_string();
            assert!(said.contains("checks.") && said.contains(word), "{said}");
        }
    }
}
