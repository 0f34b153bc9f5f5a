//! Losses, optimiser and schedule.

use serde::{Deserialize, Serialize};

/// Losses on global descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalLoss {
    /// Triplet margin loss on the distance, as in the published code.
    Triplet,
    /// Triplet margin loss on the squared distance, as in the paper.
    TripletSquared,
    /// Multi-similarity loss over all pairs of the batch (Wang et al., CVPR 2019).
    MultiSimilarity,
}

/// The loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The loss on global descriptors.
    pub global: GlobalLoss,
    /// Margin of the triplet losses.
    pub margin: f64,
    /// The parameters alpha, beta, lambda and epsilon of the multi-similarity loss: scale of positives, scale of
    /// negatives, similarity threshold, margin of pair mining.
    pub multi_similarity: [f64; 4],
    /// Weight of the global loss.
    pub global_weight: f64,
    /// Weight of the reranker's loss.
    pub rerank_weight: f64,
    /// Weight, within the reranker's loss, of a ranking loss (RankNet) over a query's pairs, beside cross-entropy.
    /// 0 in the published code.
    pub ranking_loss_weight: f64,
    /// Largest number of pairs per batch for the reranker; 0 for all.
    pub max_pairs: usize,
    /// Whether the reranker's gradient stops before the backbone.
    pub detach_local: bool,
    /// Stage `local`: temperature of the contrastive loss over patches.
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// Stage `local`: weight of the distillation of the start model's tokens, which keeps the backbone's features.
    #[serde(default)]
    pub distillation_weight: f64,
}

fn temperature() -> f64 {
    0.07
}

/// Optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// The optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The optimiser.
    pub kind: OptimizerKind,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Factor on the learning rate for the backbone.
    pub backbone_lr_scale: f64,
    /// Weight decay; never applied to norms and biases.
    pub weight_decay: f64,
    /// Adam's beta1 and beta2; the first is SGD's momentum.
    pub betas: [f64; 2],
    /// Largest norm of the gradient of all parameters; 0 does not clip.
    pub clip: f64,
    /// Decay of the exponential moving average (EMA) of the weights, which is validated and saved; 0 for none.
    pub ema_decay: f64,
}

/// Learning rate schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Constant.
    Constant,
    /// Half a cosine down to zero, updated once per epoch, as in the published code.
    Cosine,
    /// The same, updated at every step.
    CosineSteps,
}

/// Duration and learning rate schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Epochs.
    pub epochs: u64,
    /// Optimiser steps per epoch.
    pub steps: u64,
    /// Epochs of warm-up; may be a fraction.
    pub warmup: f64,
    /// The learning rate schedule.
    pub kind: Schedule,
    /// Stop after this many validations without a better recall; 0 never stops early.
    pub patience: u64,
}
