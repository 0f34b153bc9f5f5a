//! What a configuration must not say.

use super::{BatchKind, GlobalLoss, MiningKind, Stage, TrainConfig};
use crate::{Result, TrainError};

impl TrainConfig {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// [`TrainError::Config`] that names the value.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String| Err(TrainError::Config(what));
        if self.start.as_os_str().is_empty() {
            return bad("start: name the model to begin with (r2former model import makes one)".into());
        }
        if self.data.is_empty() {
            return bad("data: name at least one source, as in [[data]] kind = \"photos\"".into());
        }
        if self.data.iter().any(|s| !s.weight.is_finite() || s.weight <= 0.0) {
            return bad("data.weight must be a positive number".into());
        }
        let b = &self.batch;
        let enough = match b.kind {
            BatchKind::Triplets => b.size >= 1 && b.negatives >= 1,
            BatchKind::Places => {
                b.size >= 2 && b.views >= 2 && (b.negatives >= 1 || !self.stage.trains_reranker())
            }
        };
        if !enough || b.accumulate == 0 {
            return bad(format!(
                "batch: size {}, negatives {}, views {}, accumulate {}: triplets need a negative, places two \
                 views and a second place",
                b.size, b.negatives, b.views, b.accumulate
            ));
        }
        if b.kind == BatchKind::Places
            && self.stage.trains_global()
            && self.loss.global != GlobalLoss::MultiSimilarity
        {
            return bad("loss.global: batches of places need multi_similarity".into());
        }
        if b.kept_views > 0 {
            let unsuited = match (self.stage, self.mining.kind) {
                (stage, _) if stage != Stage::Rerank => {
                    Some("only the stage rerank leaves the backbone as it is")
                }
                _ if b.mirror > 0.0 => Some("kept views are not mirrored: set batch.mirror = 0"),
                (_, MiningKind::Random | MiningKind::Global) if self.mining.import.is_none() => None,
                _ => Some(
                    "negatives are mined among the kept views: mining.kind global or random, nothing imported",
                ),
            };
            if let Some(why) = unsuited {
                return bad(format!("batch.kept_views {}: {why}", b.kept_views));
            }
        }
        let p = &self.places;
        if !(p.positive_m > 0.0 && p.negative_m >= p.positive_m && (0.0..=180.0).contains(&p.heading_deg)) {
            return bad(format!(
                "places: positive_m {}, negative_m {}, heading_deg {}: 0 < positive_m <= negative_m, heading 0 to 180",
                p.positive_m, p.negative_m, p.heading_deg
            ));
        }
        let o = &self.optimizer;
        let sound =
            o.lr > 0.0 && o.lr.is_finite() && (0.0..1.0).contains(&o.average) && o.weight_decay >= 0.0;
        if !sound {
            return bad(format!(
                "optimizer: lr {} must be positive, average {} below 1, weight_decay {} not negative",
                o.lr, o.average, o.weight_decay
            ));
        }
        let l = &self.loss;
        let weights = [
            ("global_weight", l.global_weight),
            ("rerank_weight", l.rerank_weight),
            ("order_weight", l.order_weight),
        ];
        if let Some((name, value)) = weights.iter().find(|(_, w)| !(w.is_finite() && *w >= 0.0)) {
            return bad(format!("loss.{name} {value} must be a finite number, not negative"));
        }
        if self.schedule.epochs == 0 || self.schedule.steps == 0 {
            return bad("schedule: epochs and steps must be at least 1".into());
        }
        self.augment.check()
    }
}
