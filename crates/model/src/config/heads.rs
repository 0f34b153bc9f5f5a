//! What follows the backbone: global descriptor, local features, reranker.

use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// How tokens become the global descriptor (always L2-normalised at the end).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GlobalConfig {
    /// A trained linear head: on a transformer's CLS (averaged with the one on DIST) or pooled patches, or on a
    /// ResNet's GeM, whose power is learned.
    Linear {
        /// Length of the descriptor.
        dim: usize,
        /// What of a transformer the head reads; the published models read CLS.
        #[serde(default, skip_serializing_if = "Pooling::is_cls")]
        pooling: Pooling,
    },
    /// No head: the backbone's own features, pooled. Length is the backbone's width.
    Pooled {
        /// Which features, and how.
        pooling: Pooling,
    },
}

impl GlobalConfig {
    /// Whether a transformer's descriptor is made of its patches' tokens; else of CLS (and DIST) alone.
    pub fn uses_patch_tokens(&self) -> bool {
        let (Self::Pooled { pooling } | Self::Linear { pooling, .. }) = self;
        !pooling.is_cls()
    }
}

/// What of the backbone's tokens a global descriptor is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The CLS token after the last norm (ViT only).
    #[default]
    Cls,
    /// Mean of the patch tokens.
    Mean,
    /// Generalised mean of the patch tokens, power 3, of values clamped to at least 1e-6.
    Gem,
}

impl Pooling {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
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

/// Local features: which patches, and how wide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Length of each feature, without x, y and attention.
    pub dim: usize,
    /// Patches kept an image, at most.
    pub count: usize,
    /// Reproduce the published gather, which takes token i for patch i although the prefix
    /// tokens come first. For published checkpoints only.
    pub official_gather: bool,
    /// Blocks of the transformer that a token has passed when it becomes a feature, 1 to all but the last; none
    /// for all but the last, as the paper has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

/// Sizes and inputs of the reranker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankerConfig {
    /// Token width; a multiple of 4 and of `heads`.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks over one token's pairs (`blocks_2`); 0 averages the pairs instead.
    pub pair_depth: usize,
    /// Blocks over all tokens (`blocks`); 0 averages the tokens instead.
    pub depth: usize,
    /// Width of the MLPs over `dim`.
    pub mlp_ratio: usize,
    /// Best matches that each local feature brings along.
    pub neighbours: usize,
    /// Feed positions of both features.
    pub use_xy: bool,
    /// Feed attention values of both features.
    pub use_attention: bool,
    /// Feed the correlation.
    pub use_correlation: bool,
    /// Add the sine-cosine position embeddings.
    pub use_position_embedding: bool,
    /// Epsilon of every layer norm.
    pub norm_eps: f64,
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
        }
    }
}

impl RerankerConfig {
    /// Numbers that describe one pair: 7 when every input is used.
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
            return bad("reranker.neighbours (1..64) or a depth (at most 64) is out of range".into());
        }
        if !(1..=16).contains(&self.mlp_ratio) {
            return bad("reranker.mlp_ratio is outside 1..16".into());
        }
        Ok(())
    }
}
