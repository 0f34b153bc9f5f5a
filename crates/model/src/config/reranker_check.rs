//! What 16-bit arithmetic does to the scores of a model's reranker, as it was measured.

use super::PrecisionCheck;
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Logits of a reranker in 16-bit fixed point beside those in 32 bits, of pairs of the same photographs.
///
/// ```
/// use r2former_model::RerankerCheck;
///
/// let check = RerankerCheck { images: 100, pairs: 2000, largest_difference: 4e-4, reordered: 0 };
/// assert!(check.keeps_order());
/// assert!(!RerankerCheck { reordered: 1, ..check }.keeps_order());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankerCheck {
    /// Photographs.
    pub images: usize,
    /// Pairs of them, each of a query and a candidate.
    pub pairs: usize,
    /// The largest difference of a logit.
    pub largest_difference: f64,
    /// Pairs of a query's candidates that changed places, though their scores (the difference of the two logits) in 32 bits
    /// are more than [`TIE`](Self::TIE) apart.
    pub reordered: usize,
}

impl RerankerCheck {
    /// Scores that differ by no more than this have no order.
    pub const TIE: f64 = 1e-3;

    /// Photographs that a check needs at least: fewer show nothing.
    pub const FEWEST: usize = PrecisionCheck::FEWEST;

    /// The largest difference of a logit with which 16 bits are used.
    pub const MOST_DIFFERENCE: f64 = 0.02;

    /// Whether scores and order are as good as in 32 bits.
    pub fn keeps_order(&self) -> bool {
        self.images >= Self::FEWEST && self.largest_difference <= Self::MOST_DIFFERENCE && self.reordered == 0
    }

    /// Checks the range of the difference.
    pub(super) fn validate(&self) -> Result<()> {
        if self.largest_difference >= 0.0 && self.largest_difference.is_finite() {
            return Ok(());
        }
        Err(ModelError::Config(format!(
            "reranker_check.largest_difference {} is no difference",
            self.largest_difference
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    fn check() -> RerankerCheck {
        RerankerCheck { images: 50, pairs: 1000, largest_difference: 3e-4, reordered: 0 }
    }

    #[test]
    fn what_changes_the_order_is_not_kept() {
        assert!(check().keeps_order());
        let changed = [
            RerankerCheck { images: 19, ..check() },
            RerankerCheck { largest_difference: 0.021, ..check() },
            RerankerCheck { reordered: 1, ..check() },
        ];
        assert!(changed.iter().all(|check| !check.keeps_order()));
    }

    #[test]
    fn a_configuration_carries_it_and_old_ones_have_none() {
        let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
        let old = serde_json::to_string(&config).expect("JSON");
        assert!(!old.contains("reranker_check"));
        config.reranker_check = Some(check());
        let text = serde_json::to_string(&config).expect("JSON");
        let read: ModelConfig = serde_json::from_str(&text).expect("its own");
        assert_eq!(read, config);
        read.validate().expect("sound");
        config.forget_measured();
        assert_eq!(config.reranker_check, None);
    }

    #[test]
    fn what_no_check_can_be_is_refused() {
        for largest_difference in [-1.0, f64::NAN, f64::INFINITY] {
            let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
            config.reranker_check = Some(RerankerCheck { largest_difference, ..check() });
            let said = config.validate().expect_err("no difference").to_string();
            assert!(said.contains("reranker_check.largest_difference"), "{said}");
        }
    }
}
