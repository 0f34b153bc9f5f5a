//! Everything that shapes a training run; the resolved whole is stored in each checkpoint.

mod check;
mod data;
mod file;
mod learning;
mod preset;

pub use data::{
    BatchConfig, BatchKind, MiningConfig, MiningKind, PlaceRules, PositiveKind, SourceConfig, SourceKind,
    ValidationConfig,
};
pub use learning::{GlobalLoss, LossConfig, OptimizerConfig, OptimizerKind, Schedule, ScheduleConfig};

use crate::augment::AugmentConfig;
use r2former_model::{Precision, RerankerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a stage trains (METHOD: training; paper section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Backbone and global head, by the global loss.
    Global,
    /// Local head and reranker, the backbone frozen.
    Rerank,
    /// All at once, by both losses; local features do not reach the backbone unless asked.
    Joint,
    /// All at once, by both losses; the reranker's gradient reaches the backbone.
    EndToEnd,
    /// As joint, for one city.
    Finetune,
}

impl Stage {
    /// Every stage, in the order in which they are run.
    pub const ALL: [Self; 5] = [Self::Global, Self::Rerank, Self::Joint, Self::EndToEnd, Self::Finetune];

    /// Its name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Rerank => "rerank",
            Self::Joint => "joint",
            Self::EndToEnd => "end-to-end",
            Self::Finetune => "finetune",
        }
    }

    /// Whether the global loss is part of it.
    pub fn trains_global(self) -> bool {
        self != Self::Rerank
    }

    /// Whether the reranker's loss is part of it.
    pub fn trains_reranker(self) -> bool {
        self != Self::Global
    }
}

impl std::str::FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| format!("'{text}' is no stage: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Name of the model that comes out.
    pub name: String,
    /// What is trained.
    pub stage: Stage,
    /// Everything random follows from it.
    pub seed: u64,
    /// The model to begin with: an r2former checkpoint.
    pub start: PathBuf,
    /// Whether blocks run forward a second time on the way back instead of keeping what it needs: a third more
    /// time for a fraction of the memory.
    pub save_memory: bool,
    /// What is changed of that model.
    pub model: ModelChanges,
    /// Where the photographs come from.
    pub data: Vec<SourceConfig>,
    /// What counts as the same place.
    pub places: PlaceRules,
    /// What a step sees.
    pub batch: BatchConfig,
    /// How negatives are found.
    pub mining: MiningConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// How.
    pub optimizer: OptimizerConfig,
    /// For how long, and at which rate.
    pub schedule: ScheduleConfig,
    /// What is done to a photograph before the network sees it.
    pub augment: AugmentConfig,
    /// How well it works, each epoch.
    pub validation: Option<ValidationConfig>,
    /// What is kept on disk.
    pub keep: KeepConfig,
}

/// Changes of the model to begin with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChanges {
    /// Height and width of the network's input in pixels; none keeps the model's own.
    pub image_size: Option<[usize; 2]>,
    /// Length of the global descriptor of a new linear head, where the model has none.
    pub global_dim: usize,
    /// Length of local features of a new local head.
    pub local_dim: usize,
    /// Local features an image, at most; none keeps the model's own.
    pub local_count: Option<usize>,
    /// Blocks of the transformer before local features are taken; none keeps the model's own.
    #[serde(default)]
    pub local_layer: Option<usize>,
    /// The first blocks of the transformer (and the patches' projection) that stay as they are.
    pub freeze_blocks: usize,
    /// Arithmetic of the products; none keeps the model's own. Weights, gradients and the optimiser stay in 32 bits.
    /// For GPUs: a CPU only rounds, which takes longer.
    pub precision: Option<Precision>,
    /// Forget the reranker and local head of the model to begin with.
    pub fresh_reranker: bool,
    /// Sizes and inputs of a reranker that is drawn anew; where they are the paper's, an untrained one of the model to
    /// begin with keeps its own.
    #[serde(default)]
    pub reranker: RerankerConfig,
}

/// What is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Steps between two checkpoints, besides the one at each epoch's end; 0 for none.
    pub every: u64,
    /// Checkpoints of past epochs that stay, besides the best and the last.
    pub epochs: usize,
}
