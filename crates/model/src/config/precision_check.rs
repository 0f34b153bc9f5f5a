//! What an arithmetic does to a model's descriptors, as it was measured.

use super::Precision;
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Descriptors in another arithmetic beside those in 32 bits, of the same photographs at the model's own image size.
///
/// ```
/// use r2former_model::{Precision, PrecisionCheck};
///
/// let check = PrecisionCheck {
///     precision: Precision::Int8,
///     images: 500,
///     least_cosine: 0.9988,
///     mean_cosine: 0.9994,
///     same_first: 1.0,
///     same_first_mixed: 0.996,
/// };
/// assert!(check.keeps_ranking());
/// assert!(!PrecisionCheck { least_cosine: 0.96, ..check }.keeps_ranking());
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

    /// Whether rankings are as good as in 32 bits: cosines, and the first answers of both kinds of search.
    pub fn keeps_ranking(&self) -> bool {
        self.images >= Self::FEWEST
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
        for (name, share) in [("same_first", self.same_first), ("same_first_mixed", self.same_first_mixed)] {
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
        }
    }

    #[test]
    fn what_changes_rankings_is_not_kept() {
        assert!(check().keeps_ranking());
        type Change = fn(&mut PrecisionCheck);
        let changes: [Change; 4] = [
            |c| c.images = 3,
            |c| c.least_cosine = 0.99,
            |c| c.same_first = 0.9,
            |c| c.same_first_mixed = 0.98,
        ];
        for change in changes {
            let mut check = check();
            change(&mut check);
            assert!(!check.keeps_ranking(), "{check:?}");
        }
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
        let wrong: [(&str, Change); 3] = [
            ("precision", |c| c.precision = Precision::F32),
            ("mean_cosine", |c| c.mean_cosine = f64::NAN),
            ("same_first", |c| c.same_first = 1.5),
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
