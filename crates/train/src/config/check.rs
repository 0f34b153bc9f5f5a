//! Checks of a configuration's values.

use super::file::non_finite;
use super::{
    BatchConfig, BatchKind, GlobalLoss, LossConfig, MiningKind, OptimizerConfig, PlaceRules, ScheduleConfig,
    SourceKind, Stage, StartModel, TrainConfig, WarpConfig,
};
use crate::{Result, TrainError};

/// Photographs per batch beyond which a value is taken for a mistake; the same for other counts.
const MANY: usize = 1_000_000;

fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(TrainError::Config(what.into()))
}

/// The first of some values that `holds` does not accept is an error which names its key.
fn each(section: &str, must: &str, values: &[(&str, f64)], holds: impl Fn(f64) -> bool) -> Result<()> {
    match values.iter().find(|(_, value)| !holds(*value)) {
        Some((key, value)) => bad(format!("{section}.{key} = {value}: must be {must}")),
        None => Ok(()),
    }
}

impl TrainConfig {
    /// Checks every value, and that they make sense together.
    ///
    /// # Errors
    /// [`TrainError::Config`] with the key and the value.
    pub fn check(&self) -> Result<()> {
        let table = toml::Value::try_from(self).map_err(|e| TrainError::Config(e.to_string()))?;
        if let Some((key, value)) = non_finite(&table, String::new()) {
            return bad(format!("{key} = {value}: must be a finite number"));
        }
        if matches!(&self.start, StartModel::File(path) if path.as_os_str().is_empty()) {
            return bad(format!(
                "start: name a model file, or \"{}\" for the built-in model",
                StartModel::BUILT_IN
            ));
        }
        if self.data.is_empty() {
            return bad(
                "data: name at least one source, for example [[data]] with kind = \"photos\" and path = \"photos.csv\"",
            );
        }
        if self.stage != Stage::Local
            && self.data.iter().any(|source| matches!(source.kind, SourceKind::Matches { .. }))
        {
            return bad("data.kind = \"matches\": only stage local learns from listed matches");
        }
        if let Some(source) = self.data.iter().find(|source| source.weight <= 0.0) {
            return bad(format!("data.weight = {}: must be above 0", source.weight));
        }
        for source in &self.data {
            if let SourceKind::Pairs { part, .. } = &source.kind {
                check_part("data", *part)?;
            }
        }
        self.batch.check(self)?;
        self.places.check()?;
        self.check_stage()?;
        self.warp.check()?;
        self.optimizer.check()?;
        self.loss.check()?;
        self.schedule.check()?;
        let m = &self.mining;
        let counts = [
            ("pool", m.pool),
            ("refresh", m.refresh),
            ("depth", m.depth),
            ("hard_negatives", m.hard_negatives),
        ];
        if let Some((key, value)) = counts.iter().find(|(_, value)| !(1..=100 * MANY).contains(value)) {
            return bad(format!("mining.{key} = {value}: must be 1 to {}", 100 * MANY));
        }
        if let Some(validation) = &self.validation {
            let positive = [
                ("radius_m", validation.radius_m),
                ("best_by", validation.best_by as f64),
                ("every_epochs", validation.every_epochs as f64),
            ];
            each("validation", "above 0", &positive, |value| value > 0.0)?;
            check_part("validation", validation.part)?;
        }
        self.augment.check()
    }
}

/// Checks two shares of the queries.
fn check_part(section: &str, [from, to]: [f64; 2]) -> Result<()> {
    if from >= 0.0 && from < to && to <= 1.0 {
        return Ok(());
    }
    bad(format!(
        "{section}.part = [{from}, {to}]: must be 0 <= from < to <= 1, shares of the queries in the order of their \
         names, such as [0.0, 0.5] for the first half"
    ))
}

impl TrainConfig {
    /// Checks keys that only some stages have.
    fn check_stage(&self) -> Result<()> {
        let local = self.stage == Stage::Local;
        if (self.batch.kind == BatchKind::Warps) != local {
            return bad("batch.kind: stage local has batches of warps, and no other stage has");
        }
        if self.model.freeze_local_head && !self.stage.trains_reranker() {
            return bad(format!(
                "model.freeze_local_head: only for stages that train the reranker, not {}",
                self.stage.name()
            ));
        }
        if !local {
            return match (self.model.fresh_local_head, self.loss.distillation_weight > 0.0) {
                (true, _) => bad("model.fresh_local_head: only for stage local"),
                (_, true) => bad("loss.distillation_weight: only for stage local"),
                _ => Ok(()),
            };
        }
        if let Some((key, value)) = self.augment.geometric().iter().find(|(_, value)| *value > 0.0) {
            return bad(format!(
                "augment.{key} = {value}: stage local needs to know where each point is seen; set it to 0, and use [warp]"
            ));
        }
        if self.batch.horizontal_flip > 0.0 {
            return bad(format!("batch.horizontal_flip = {}: 0 in stage local", self.batch.horizontal_flip));
        }
        if self.mining.kind != MiningKind::Random || self.mining.import.is_some() {
            return bad("mining.kind: stage local mines nothing; leave it at random, without mining.import");
        }
        Ok(())
    }
}

impl WarpConfig {
    fn check(&self) -> Result<()> {
        let [least, most] = self.zoom;
        if !(0.05..=20.0).contains(&least) || !(least..=20.0).contains(&most) {
            return bad(format!("warp.zoom = [{least}, {most}]: must be 0.05 <= smallest <= largest <= 20"));
        }
        each("warp", "0 to 180", &[("rotation_deg", self.rotation_deg)], |v| (0.0..=180.0).contains(&v))?;
        each("warp", "0 to 1", &[("shift", self.shift), ("aspect", self.aspect)], |v| {
            (0.0..=1.0).contains(&v)
        })?;
        each("warp", "0 to 0.4", &[("corners", self.corners)], |v| (0.0..=0.4).contains(&v))
    }
}

impl BatchConfig {
    fn check(&self, config: &TrainConfig) -> Result<()> {
        let shares = [
            ("hard_places", self.hard_places),
            ("horizontal_flip", self.horizontal_flip),
            ("same_photo", self.same_photo),
        ];
        each("batch", "0 to 1", &shares, |value| (0.0..=1.0).contains(&value))?;
        let stage = config.stage;
        let enough = match self.kind {
            BatchKind::Warps => self.size >= 1,
            BatchKind::Triplets => self.size >= 1 && self.negatives >= 1,
            BatchKind::Places => {
                self.size >= 2 && self.views >= 2 && (self.negatives >= 1 || !stage.trains_reranker())
            }
        };
        if !enough || self.accumulate == 0 {
            return bad(format!(
                "batch: size {}, negatives {}, views {}, accumulate {}: triplets need a negative, places two views \
                 and a second place",
                self.size, self.negatives, self.views, self.accumulate
            ));
        }
        let each = match self.kind {
            BatchKind::Triplets => self.negatives.saturating_add(2),
            BatchKind::Places => self.views.max(self.negatives),
            BatchKind::Warps => 2,
        };
        let images = self.size.saturating_mul(each).saturating_mul(self.accumulate);
        if images > MANY || self.cached_views > MANY {
            return bad(format!(
                "batch: size {}, negatives {}, views {}, accumulate {}, cached_views {}: more than {MANY} photographs \
                 per step",
                self.size, self.negatives, self.views, self.accumulate, self.cached_views
            ));
        }
        if self.kind == BatchKind::Places
            && stage.trains_global()
            && config.loss.global != GlobalLoss::MultiSimilarity
        {
            return bad("loss.global: batches of places need multi_similarity");
        }
        if self.same_photo > 0.0 {
            let unsuited = match (self.kind, self.cached_views) {
                (BatchKind::Triplets, 1) => {
                    Some("another view than the query's needs batch.cached_views of 2 or more")
                }
                (BatchKind::Triplets, _) => None,
                _ => Some("only for batches of triplets"),
            };
            if let Some(why) = unsuited {
                return bad(format!("batch.same_photo = {}: {why}", self.same_photo));
            }
        }
        if self.cached_views > 0 {
            let unsuited = match (stage, config.mining.kind) {
                (stage, _) if stage != Stage::Rerank => Some("only stage rerank has a frozen backbone"),
                _ if self.horizontal_flip > 0.0 => {
                    Some("cached views are never flipped: set batch.horizontal_flip = 0")
                }
                (_, MiningKind::Random | MiningKind::Global) if config.mining.import.is_none() => None,
                _ => Some(
                    "negatives are mined among the cached views: set mining.kind to global or random, without \
                     mining.import",
                ),
            };
            if let Some(why) = unsuited {
                return bad(format!("batch.cached_views = {}: {why}", self.cached_views));
            }
        }
        Ok(())
    }
}

impl PlaceRules {
    fn check(&self) -> Result<()> {
        if self.positive_m > 0.0
            && self.negative_m >= self.positive_m
            && (0.0..=180.0).contains(&self.heading_deg)
        {
            return Ok(());
        }
        bad(format!(
            "places: positive_m {}, negative_m {}, heading_deg {}: must be 0 < positive_m <= negative_m and \
             0 <= heading_deg <= 180",
            self.positive_m, self.negative_m, self.heading_deg
        ))
    }
}

impl OptimizerConfig {
    fn check(&self) -> Result<()> {
        each("optimizer", "above 0", &[("lr", self.lr)], |value| value > 0.0)?;
        let sizes = [
            ("backbone_lr_scale", self.backbone_lr_scale),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
        ];
        each("optimizer", "0 or more", &sizes, |value| value >= 0.0)?;
        let decays = [("betas", self.betas[0]), ("betas", self.betas[1]), ("ema_decay", self.ema_decay)];
        each("optimizer", "0 or more and below 1", &decays, |value| (0.0..1.0).contains(&value))
    }
}

impl LossConfig {
    fn check(&self) -> Result<()> {
        let sizes = [
            ("margin", self.margin),
            ("global_weight", self.global_weight),
            ("rerank_weight", self.rerank_weight),
            ("ranking_loss_weight", self.ranking_loss_weight),
            ("distillation_weight", self.distillation_weight),
        ];
        each("loss", "0 or more", &sizes, |value| value >= 0.0)?;
        each("loss", "above 0", &[("temperature", self.temperature)], |value| value > 0.0)?;
        let [alpha, beta, ..] = self.multi_similarity;
        let scales = [("multi_similarity", alpha), ("multi_similarity", beta)];
        each("loss", "[alpha, beta, lambda, epsilon] with alpha and beta above 0", &scales, |value| {
            value > 0.0
        })
    }
}

impl ScheduleConfig {
    fn check(&self) -> Result<()> {
        if self.epochs == 0 || self.steps == 0 || self.epochs.checked_mul(self.steps).is_none() {
            return bad(format!(
                "schedule: epochs {}, steps {}: each must be at least 1, their product below 2^64",
                self.epochs, self.steps
            ));
        }
        each("schedule", "0 or more", &[("warmup", self.warmup)], |value| value >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceConfig, SourceKind};

    fn sound() -> TrainConfig {
        let mut config = TrainConfig::preset(Stage::Rerank);
        let town = SourceKind::Town { seed: 1, blocks: 2, spacing: 10.0, conditions: Vec::new() };
        config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
        config
    }

    #[test]
    fn what_does_not_suit_a_stage_is_named() {
        let local = || TrainConfig { data: sound().data, ..TrainConfig::preset(Stage::Local) };
        local().check().unwrap();
        let cached = |views: usize| {
            let mut config = sound();
            config.mining.kind = MiningKind::Random;
            (config.batch.same_photo, config.batch.cached_views) = (0.5, views);
            config
        };
        cached(0).check().unwrap();
        cached(2).check().unwrap();
        assert!(cached(1).check().unwrap_err().to_string().contains("batch.same_photo"));
        type Change = fn(&mut TrainConfig);
        let changes: [(&str, Change); 14] = [
            ("augment.crop", |c| c.augment.crop = 0.1),
            ("augment.perspective", |c| c.augment.perspective = 0.1),
            ("augment.fisheye", |c| c.augment.fisheye = 0.1),
            ("augment.erase", |c| c.augment.erase = 0.1),
            ("batch.kind", |c| c.batch.kind = BatchKind::Places),
            ("batch.horizontal_flip", |c| c.batch.horizontal_flip = 0.5),
            ("batch.cached_views", |c| c.batch.cached_views = 2),
            ("batch.same_photo", |c| c.batch.same_photo = 0.5),
            ("mining.kind", |c| c.mining.kind = MiningKind::Global),
            ("model.freeze_local_head", |c| c.model.freeze_local_head = true),
            ("loss.temperature", |c| c.loss.temperature = 0.0),
            ("loss.distillation_weight", |c| c.loss.distillation_weight = -1.0),
            ("warp.zoom", |c| c.warp.zoom = [1.0, 0.5]),
            ("warp.corners", |c| c.warp.corners = 0.5),
        ];
        for (key, change) in changes {
            let mut config = local();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
        let others: [(&str, Change); 3] = [
            ("batch.kind", |c| c.batch.kind = BatchKind::Warps),
            ("model.fresh_local_head", |c| c.model.fresh_local_head = true),
            ("loss.distillation_weight", |c| c.loss.distillation_weight = 1.0),
        ];
        for (key, change) in others {
            let mut config = sound();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        sound().check().unwrap();
        type Change = fn(&mut TrainConfig);
        let changes: [(&str, Change); 12] = [
            ("data.weight", |c| c.data[0].weight = 0.0),
            ("batch.hard_places", |c| c.batch.hard_places = 1.5),
            ("batch.horizontal_flip", |c| c.batch.horizontal_flip = -0.1),
            ("optimizer.lr", |c| c.optimizer.lr = -1.0),
            ("optimizer.clip", |c| c.optimizer.clip = -1.0),
            ("optimizer.betas", |c| c.optimizer.betas = [0.9, 1.0]),
            ("optimizer.ema_decay", |c| c.optimizer.ema_decay = 1.0),
            ("loss.margin", |c| c.loss.margin = -0.1),
            ("loss.multi_similarity", |c| c.loss.multi_similarity = [0.0, 50.0, 0.5, 0.1]),
            ("schedule.warmup", |c| c.schedule.warmup = -1.0),
            ("mining.pool", |c| c.mining.pool = 1 << 40),
            ("accumulate", |c| c.batch.size = 1 << 40),
        ];
        for (key, change) in changes {
            let mut config = sound();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
