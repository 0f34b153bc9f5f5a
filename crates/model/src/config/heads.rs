//! Configuration of global head, local head and reranker.

use super::{
    BoqConfig, CricaConfig, GemConfig, LocalVladConfig, MixVprConfig, NetVladConfig, SaladConfig, VladConfig,
};
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// How tokens become the global descriptor, which is L2-normalised in the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GlobalConfig {
    /// A trained linear head, on a transformer's CLS token (averaged with that on DIST, if distilled) or pooled patch
    /// tokens. On a convolutional network, the head of CosPlace and EigenPlaces: the map is L2-normalised over channels
    /// at each position, then GeM with learned power (`gem.p`) over all positions, then the linear layer.
    Linear {
        /// Dimensions of the descriptor.
        dim: usize,
        /// Input of the head of a transformer; CLS in the published models. Ignored for a convolutional network.
        #[serde(default, skip_serializing_if = "Pooling::is_cls")]
        pooling: Pooling,
    },
    /// No head: the pooled features of the backbone, as wide as the backbone.
    Pooled {
        /// How the features are pooled.
        pooling: Pooling,
    },
    /// SALAD over CLS and patch tokens: MegaLoc, DINOv2-SALAD, CliqueMining.
    Salad(SaladConfig),
    /// BoQ over patch tokens.
    Boq(BoqConfig),
    /// MixVPR.
    MixVpr(MixVprConfig),
    /// NetVLAD.
    NetVlad(NetVladConfig),
    /// VLAD with a fixed vocabulary: AnyLoc.
    Vlad(VladConfig),
    /// VLAD of the model's own local features.
    LocalVlad(LocalVladConfig),
    /// GeM over a transformer's patch tokens: SelaVPR, SelaVPR++.
    Gem(GemConfig),
    /// CricaVPR.
    Crica(CricaConfig),
}

impl GlobalConfig {
    /// Whether the descriptor is made of the model's own local features, so that nothing after their layer has a part in it.
    pub fn is_of_local_features(&self) -> bool {
        matches!(self, Self::LocalVlad(_))
    }

    /// Whether the descriptor of a transformer uses the patch tokens, rather than class tokens alone.
    pub fn uses_patch_tokens(&self) -> bool {
        match self {
            Self::Pooled { pooling } | Self::Linear { pooling, .. } => !pooling.is_cls(),
            // Local features are tokens of their own layer.
            Self::LocalVlad(_) => false,
            Self::Salad(_)
            | Self::Boq(_)
            | Self::MixVpr(_)
            | Self::NetVlad(_)
            | Self::Vlad(_)
            | Self::Gem(_)
            | Self::Crica(_) => true,
        }
    }
}

/// Pooling of tokens to a global descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The CLS token after the last norm (ViT only).
    #[default]
    Cls,
    /// Mean of the patch tokens.
    Mean,
    /// Generalised mean (GeM) of the patch tokens with power 3, values clamped to at least 1e-6.
    Gem,
}

impl Pooling {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_cls(&self) -> bool {
        *self == Self::Cls
    }
}

impl std::str::FromStr for Pooling {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cls" => Ok(Self::Cls),
            "mean" => Ok(Self::Mean),
            "gem" => Ok(Self::Gem),
            other => Err(format!("{other} is not a pooling: cls, mean or gem")),
        }
    }
}

/// Sizes and inputs of the reranker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankerConfig {
    /// Token width; a multiple of 4 and of `heads`.
    pub dim: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Blocks over the pairs of one token (`blocks_2`); 0 averages the pairs.
    pub pair_depth: usize,
    /// Blocks over all tokens (`blocks`); 0 averages the tokens.
    pub depth: usize,
    /// Hidden width of the MLPs, in multiples of `dim`.
    pub mlp_ratio: usize,
    /// Best matches per local feature, 1 to 64.
    pub neighbours: usize,
    /// Input: positions of both features.
    pub use_xy: bool,
    /// Input: attention values of both features.
    pub use_attention: bool,
    /// Input: the correlation of both features.
    pub use_correlation: bool,
    /// Whether the sine-cosine position embeddings are added.
    pub use_position_embedding: bool,
    /// Epsilon of every layer norm.
    pub norm_eps: f64,
    /// How much RANSAC's score counts in a pair's score beside the network's logits; absent: nothing, as in the paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inliers: Option<InlierWeights>,
    /// How many of a query's candidates are scored, unless a query asks for another number: those that RANSAC ranks first.
    /// Absent: all, as in the paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<usize>,
}

/// A pair's score from the network's logits and RANSAC's score, the number of inliers of a homography or how well those of a similarity
/// agree ([`Geometry`](super::Geometry)): the logistic function of `logit * (same - different) + inliers * ln(1 + score) + bias`. Weights
/// are not negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlierWeights {
    /// Weight of the difference of the logits.
    pub logit: f32,
    /// Weight of the logarithm of one more than RANSAC's score.
    pub inliers: f32,
    /// What is added.
    pub bias: f32,
}

impl InlierWeights {
    /// The probability of the same place, 0 to 1.
    ///
    /// ```
    /// use r2former_model::InlierWeights;
    ///
    /// let weights = InlierWeights { logit: 0.5, inliers: 2.0, bias: -4.0 };
    /// assert_eq!(weights.score([0.0, 8.0], 0.0), 0.5);
    /// assert!(weights.score([0.0, 8.0], 30.0) > 0.99 && weights.score([0.0, -8.0], 0.0) < 0.01);
    /// ```
    pub fn score(&self, [different, same]: [f32; 2], ransac: f32) -> f32 {
        let odds = self.logit * (same - different) + self.inliers * ransac.ln_1p() + self.bias;
        1.0 / (1.0 + (-odds).exp())
    }
}

impl Default for RerankerConfig {
    /// The published sizes (paper section 3.3).
    fn default() -> Self {
        Self {
            dim: 32,
            heads: 4,
            pair_depth: 2,
            depth: 6,
            mlp_ratio: 4,
            neighbours: 5,
            use_xy: true,
            use_attention: true,
            use_correlation: true,
            use_position_embedding: true,
            norm_eps: 1e-6,
            inliers: None,
            cascade: None,
        }
    }
}

impl RerankerConfig {
    /// Input channels per pair: 7 if every input is used.
    pub fn channels(&self) -> usize {
        4 * usize::from(self.use_xy) + 2 * usize::from(self.use_attention) + usize::from(self.use_correlation)
    }
}

impl RerankerConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |what: String| Err(ModelError::Config(what));
        if self.dim == 0
            || self.heads == 0
            || !self.dim.is_multiple_of(4)
            || !self.dim.is_multiple_of(self.heads)
            || self.dim > 1024
        {
            return bad(format!(
                "reranker.dim {} must be a multiple of 4 and of reranker.heads {}, at most 1024",
                self.dim, self.heads
            ));
        }
        if self.channels() == 0 {
            return bad("the reranker needs at least one of xy, attention and correlation".into());
        }
        if !(1..=64).contains(&self.neighbours) || self.depth > 64 || self.pair_depth > 64 {
            return bad("reranker.neighbours must be 1 to 64, and depths at most 64".into());
        }
        if !(1..=16).contains(&self.mlp_ratio) {
            return bad("reranker.mlp_ratio is outside 1 to 16".into());
        }
        if let Some(InlierWeights { logit, inliers, bias }) = self.inliers
            && ([logit, inliers, bias].iter().any(|v| !v.is_finite()) || logit.min(inliers) < 0.0)
        {
            return bad("reranker.inliers: weights are finite and not negative".into());
        }
        if self.cascade == Some(0) {
            return bad("reranker.cascade: at least 1 candidate is scored".into());
        }
        Ok(())
    }
}
