//! Configuration of a training run; every checkpoint stores it in full.

mod check;
pub(crate) mod commented;
mod data;
mod file;
mod learning;
mod preset;

pub use data::{
    BatchConfig, BatchKind, MiningConfig, MiningKind, PlaceRules, PositiveKind, SourceConfig, SourceKind,
    ValidationConfig, WarpConfig,
};
pub use learning::{GlobalLoss, LossConfig, OptimizerConfig, OptimizerKind, Schedule, ScheduleConfig};

use crate::augment::AugmentConfig;
use r2former_model::{Precision, RerankerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The stages of training (R2Former paper, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Backbone and global head, with the global loss.
    Global,
    /// Local head, and the backbone's last blocks if they are not frozen, from patches that are known to correspond.
    Local,
    /// Local head and reranker; the backbone is frozen.
    Rerank,
    /// Everything, with both losses; the reranker's gradient stops before the backbone unless configured otherwise.
    Joint,
    /// Everything, with both losses; the reranker's gradient reaches the backbone.
    EndToEnd,
    /// As joint, with full mining: adapts a model to one city.
    Finetune,
}

impl Stage {
    /// All stages, in training order.
    pub const ALL: [Self; 6] =
        [Self::Global, Self::Local, Self::Rerank, Self::Joint, Self::EndToEnd, Self::Finetune];

    /// Its name on the command line and in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Local => "local",
            Self::Rerank => "rerank",
            Self::Joint => "joint",
            Self::EndToEnd => "end-to-end",
            Self::Finetune => "finetune",
        }
    }

    /// Whether the stage minimises the global loss.
    pub fn trains_global(self) -> bool {
        !matches!(self, Self::Rerank | Self::Local)
    }

    /// Whether the stage minimises the reranker's loss.
    pub fn trains_reranker(self) -> bool {
        !matches!(self, Self::Global | Self::Local)
    }
}

impl std::str::FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| {
            format!("'{text}' is not a stage; stages are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Name of the resulting model.
    pub name: String,
    /// The stage.
    pub stage: Stage,
    /// Seed of everything random: batches, views, augmentation, freshly initialised weights.
    pub seed: u64,
    /// The model that training starts from.
    pub start: StartModel,
    /// Whether blocks are recomputed during the backward pass instead of storing their activations: about a third
    /// more time for a fraction of the memory.
    pub gradient_checkpointing: bool,
    /// Changes to that model.
    pub model: ModelChanges,
    /// Training photographs.
    pub data: Vec<SourceConfig>,
    /// When two photographs count as the same place.
    pub places: PlaceRules,
    /// Batch composition.
    pub batch: BatchConfig,
    /// The warps of stage `local`.
    #[serde(default)]
    pub warp: WarpConfig,
    /// Negative mining.
    pub mining: MiningConfig,
    /// The loss.
    pub loss: LossConfig,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Duration and learning rate schedule.
    pub schedule: ScheduleConfig,
    /// Augmentation.
    pub augment: AugmentConfig,
    /// Validation before the first step and after epochs.
    pub validation: Option<ValidationConfig>,
    /// Checkpoints.
    pub checkpoint: CheckpointConfig,
}

/// The model that training starts from: in TOML, the name of the built-in model or the path of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartModel {
    /// The built-in model, `r2former-tiny`.
    BuiltIn,
    /// A checkpoint made by `r2former model import` or by an earlier run.
    File(PathBuf),
}

impl StartModel {
    /// Name of the built-in model.
    pub const BUILT_IN: &'static str = "r2former-tiny";
}

impl From<PathBuf> for StartModel {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == Self::BUILT_IN { Self::BuiltIn } else { Self::File(path) }
    }
}

impl Serialize for StartModel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::BuiltIn => serializer.serialize_str(Self::BUILT_IN),
            Self::File(path) => path.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StartModel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(PathBuf::deserialize(deserializer)?.into())
    }
}

/// Changes to the model that training starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChanges {
    /// Height and width of the network's input in pixels; `None` keeps the model's.
    pub image_size: Option<[usize; 2]>,
    /// Dimensions of the global descriptor of a new linear head, where the model has none.
    pub global_dim: usize,
    /// Dimensions of each local feature of a new local head.
    pub local_dim: usize,
    /// Largest number of local features per image; `None` keeps the model's.
    pub local_count: Option<usize>,
    /// Number of the transformer block after which local features are taken; `None` keeps the model's.
    #[serde(default)]
    pub local_layer: Option<usize>,
    /// How many of the first transformer blocks (with the patch embedding) are frozen; more than there are freezes all.
    pub freeze_blocks: usize,
    /// Precision of matrix products; `None` keeps the model's. Weights, gradients and the optimiser's state stay in
    /// 32 bits. For GPUs: a CPU only rounds the operands, which takes longer.
    pub precision: Option<Precision>,
    /// Whether the model's reranker, and its local head unless that is frozen, are replaced by freshly initialised ones.
    pub fresh_reranker: bool,
    /// Stage `local`: whether the model's local head is replaced by a freshly initialised one.
    #[serde(default)]
    pub fresh_local_head: bool,
    /// Whether the local head stays as it is in stages that train the reranker.
    #[serde(default)]
    pub freeze_local_head: bool,
    /// Sizes and inputs of a freshly initialised reranker. If left at the paper's, an untrained reranker of the start
    /// model keeps its own.
    #[serde(default)]
    pub reranker: RerankerConfig,
}

/// Checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between checkpoints, besides the one at the end of each epoch; 0 for none.
    pub every: u64,
    /// How many past epochs' checkpoints are kept, besides the latest.
    pub epochs: usize,
}
