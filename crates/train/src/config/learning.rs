//! What is minimised, how, and for how long.

use serde::{Deserialize, Serialize};

/// The global loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalLoss {
    /// Triplet margin on the distance, as the published code has it.
    Triplet,
    /// Triplet margin on the squared distance, as the paper writes it.
    TripletSquared,
    /// Multi-similarity over all pairs of the batch (Wang et al., CVPR 2019).
    MultiSimilarity,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The global loss.
    pub global: GlobalLoss,
    /// Margin of the triplet losses.
    pub margin: f64,
    /// Sharpness towards positives, sharpness towards negatives, threshold, and mining margin of multi-similarity.
    pub similarity: [f64; 4],
    /// Weight of the global loss.
    pub global_weight: f64,
    /// Weight of the reranker's loss.
    pub rerank_weight: f64,
    /// Weight, within the reranker's loss, of the order of a photograph's pairs: how far its pair of one place lies
    /// above its pairs of two. The published code has none.
    pub order_weight: f64,
    /// Pairs of a batch that the reranker sees, at most; 0 for all.
    pub pairs: usize,
    /// Whether local features stop the reranker's gradient before the backbone.
    pub detach_local: bool,
}

/// The optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
    /// Gradient descent with momentum.
    Sgd,
}

/// How the loss is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// The backbone's rate over the others'.
    pub backbone_lr_scale: f64,
    /// Decay of weights; never of norms and biases.
    pub weight_decay: f32,
    /// Adam's two decays; the first is SGD's momentum.
    pub betas: [f32; 2],
    /// Length to which the gradient of all parameters together is cut; 0 for none.
    pub clip: f32,
    /// Decay of the running average of the weights, which is what is evaluated and kept; 0 for none.
    pub average: f32,
}

/// How the learning rate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Half a cosine to zero, a value an epoch, as the published code has it.
    Cosine,
    /// The same, a value a step.
    CosineSteps,
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Epochs.
    pub epochs: u64,
    /// Batches of an epoch.
    pub steps: u64,
    /// Epochs of warm-up.
    pub warmup: f64,
    /// The rate's course.
    pub kind: Schedule,
    /// Epochs without a better recall after which it stops; 0 for never.
    pub patience: u64,
}
