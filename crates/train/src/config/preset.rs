//! The presets: the paper's stages, and values for a few minutes on a CPU where the paper has none.

use super::{
    BatchConfig, BatchKind, CheckpointConfig, GlobalLoss, LossConfig, MiningConfig, MiningKind, ModelChanges,
    OptimizerConfig, OptimizerKind, PlaceRules, PositiveKind, Schedule, ScheduleConfig, Stage, StartModel,
    TrainConfig, WarpConfig,
};
use crate::augment::AugmentConfig;
use r2former_model::RerankerConfig;

/// More transformer blocks than any backbone has.
const ALL_BLOCKS: usize = 100;

impl TrainConfig {
    /// The preset of a stage: the values of the paper's code, apart from the start, which is the built-in model,
    /// `places.heading_deg`, stage `local`, which the paper does not have, and stage `finetune`, which is sized to
    /// hundreds of photographs and a CPU. It has no data; [`TrainConfig::data`] is the user's.
    pub fn preset(stage: Stage) -> Self {
        let frozen = stage == Stage::Rerank;
        let (size, negatives) = match stage {
            Stage::Global => (16, 2),
            Stage::Rerank | Stage::EndToEnd => (64, 1),
            Stage::Joint => (48, 2),
            Stage::Finetune => (8, 2),
            Stage::Local => (6, 1),
        };
        let mining = match stage {
            Stage::Rerank => MiningKind::Global,
            Stage::Finetune => MiningKind::Full,
            Stage::Local => MiningKind::Random,
            _ => MiningKind::Partial,
        };
        let (epochs, patience) = match stage {
            Stage::Global => (100, 10),
            Stage::Rerank => (50, 25),
            Stage::Joint => (20, 0),
            Stage::EndToEnd => (100, 0),
            Stage::Finetune => (2, 0),
            Stage::Local => (1, 0),
        };
        let lr = match stage {
            Stage::Rerank => 5e-4,
            Stage::EndToEnd => 1e-4,
            _ => 1e-5,
        };
        let global = stage == Stage::Global;
        let preset = Self {
            name: format!("r2former-{}", stage.name()),
            stage,
            seed: 1,
            start: StartModel::BuiltIn,
            model: ModelChanges {
                image_size: None,
                global_dim: 256,
                local_dim: 128,
                local_count: None,
                local_layer: None,
                freeze_blocks: 0,
                precision: None,
                fresh_reranker: false,
                fresh_local_head: false,
                freeze_local_head: false,
                reranker: RerankerConfig::default(),
            },
            data: Vec::new(),
            places: PlaceRules { positive_m: 10.0, negative_m: 25.0, heading_deg: 30.0 },
            batch: BatchConfig {
                kind: BatchKind::Triplets,
                size,
                negatives,
                views: 4,
                hard_places: 0.0,
                horizontal_flip: 0.0,
                accumulate: 1,
                cached_views: 0,
                same_photo: 0.0,
            },
            warp: WarpConfig::default(),
            mining: MiningConfig {
                kind: mining,
                positive: PositiveKind::Nearest,
                pool: 1000,
                refresh: 10_000,
                depth: 500,
                hard_negatives: 100,
                import: None,
            },
            loss: LossConfig {
                global: GlobalLoss::Triplet,
                margin: 0.1,
                multi_similarity: [1.0, 50.0, 0.5, 0.1],
                global_weight: 1.0,
                rerank_weight: 1.0,
                ranking_loss_weight: 0.0,
                max_pairs: 0,
                detach_local: stage != Stage::EndToEnd,
                temperature: 0.07,
                distillation_weight: 0.0,
            },
            optimizer: OptimizerConfig {
                kind: if global { OptimizerKind::Adam } else { OptimizerKind::Adamw },
                lr,
                backbone_lr_scale: 1.0,
                weight_decay: if global { 0.0 } else { 0.03 },
                betas: [0.9, 0.999],
                clip: 0.0,
                ema_decay: 0.0,
            },
            schedule: ScheduleConfig {
                epochs,
                // 50,000 queries per epoch.
                steps: 50_000 / size as u64,
                warmup: if frozen { 5.0 } else { 0.0 },
                kind: if global { Schedule::Constant } else { Schedule::Cosine },
                patience,
            },
            augment: AugmentConfig::default(),
            validation: None,
            gradient_checkpointing: false,
            checkpoint: CheckpointConfig { every: 0, epochs: 1 },
        };
        match stage {
            Stage::Local => preset.for_patches(),
            Stage::Finetune => preset.for_streets(),
            _ => preset,
        }
    }

    /// Stage `finetune`: minutes on hundreds of photographs, where the paper has hours on tens of thousands.
    fn for_streets(mut self) -> Self {
        (self.mining.pool, self.mining.refresh) = (300, 400);
        self.optimizer = OptimizerConfig { lr: 5e-5, clip: 5.0, ema_decay: 0.97, ..self.optimizer };
        self.schedule = ScheduleConfig { steps: 100, kind: Schedule::CosineSteps, ..self.schedule };
        self.augment = AugmentConfig { crop: 0.3, colour: 0.6, night: 0.1, ..self.augment };
        self
    }

    /// Stage `local`, which the paper does not have: a few minutes on two cores.
    fn for_patches(mut self) -> Self {
        self.model.freeze_blocks = ALL_BLOCKS;
        self.batch.kind = BatchKind::Warps;
        self.loss.detach_local = false;
        self.optimizer = OptimizerConfig {
            lr: 2e-3,
            backbone_lr_scale: 0.05,
            weight_decay: 1e-3,
            clip: 1.0,
            ema_decay: 0.99,
            ..self.optimizer
        };
        self.schedule =
            ScheduleConfig { steps: 400, warmup: 0.05, kind: Schedule::CosineSteps, ..self.schedule };
        self.augment = AugmentConfig {
            colour: 0.6,
            grey: 0.05,
            night: 0.35,
            blur: 0.25,
            noise: 0.2,
            shadow: 0.25,
            haze: 0.1,
            snow: 0.05,
            rain: 0.05,
            low_resolution: 0.1,
            jpeg: 0.2,
            ..self.augment
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_papers_where_it_has_some() {
        for stage in Stage::ALL {
            let config = TrainConfig::preset(stage);
            assert_eq!(stage.name().parse::<Stage>().unwrap(), stage);
            assert_eq!((config.places.positive_m, config.places.heading_deg), (10.0, 30.0));
            assert_eq!(config.start, StartModel::BuiltIn);
            let again = TrainConfig::over(stage, toml::Table::new()).unwrap();
            assert_eq!(again, config);
        }
        let rerank = TrainConfig::preset(Stage::Rerank);
        assert_eq!((rerank.optimizer.lr, rerank.batch.size, rerank.schedule.warmup), (5e-4, 64, 5.0));
        assert_eq!(rerank.mining.kind, MiningKind::Global);
        let global = TrainConfig::preset(Stage::Global);
        assert_eq!((global.optimizer.kind, global.schedule.steps), (OptimizerKind::Adam, 3125));
        assert_eq!((global.augment, rerank.augment), (AugmentConfig::default(), AugmentConfig::default()));
        let finetune = TrainConfig::preset(Stage::Finetune);
        assert_eq!((finetune.batch.size, finetune.batch.negatives, finetune.mining.pool), (8, 2, 300));
        assert_eq!(
            (finetune.optimizer.lr, finetune.optimizer.clip, finetune.schedule.steps),
            (5e-5, 5.0, 100)
        );
        assert!(!finetune.model.freeze_local_head, "what to freeze depends on the start model");
        let local = TrainConfig::preset(Stage::Local);
        assert_eq!((local.batch.kind, local.batch.size), (BatchKind::Warps, 6));
        assert_eq!((local.schedule.epochs, local.schedule.steps), (1, 400));
        assert!(local.model.freeze_blocks > 40 && local.augment.night > 0.0);
    }
}
