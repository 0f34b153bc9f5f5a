//! Backbones and their sizes.

use super::ResNetConfig;
use serde::{Deserialize, Serialize};

/// The supported backbones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BackboneConfig {
    /// Vision transformer: DeiT, timm ViT, DINOv2, DINOv3.
    Vit(VitConfig),
    /// A ResNet of torchvision.
    #[serde(rename = "resnet", alias = "res_net50")]
    ResNet(ResNetConfig),
    /// VGG16 up to `conv5_3`, without its ReLU.
    Vgg16,
}

/// Sizes of a pre-norm vision transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Token width.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Hidden width of the MLPs, in multiples of `dim`.
    pub mlp_ratio: usize,
    /// Hidden width of gated MLPs, `w3(silu(w1 x) * w2 x)` (SwiGLU: DINOv2-g, DINOv3-S+), which take the place of those with GELU and
    /// `mlp_ratio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swiglu: Option<usize>,
    /// Whether a distillation token follows the CLS token.
    pub distilled: bool,
    /// Register tokens (storage tokens of DINOv3), which follow the class tokens and have no position embedding.
    pub registers: usize,
    /// Whether each branch ends in a LayerScale (DINOv2, DINOv3).
    pub layer_scale: bool,
    /// Epsilon of every layer norm.
    pub norm_eps: f64,
    /// Whether a layer norm follows the last block.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub final_norm: bool,
    /// Rows and columns of the stored position embedding.
    pub grid: [usize; 2],
    /// How the position embedding is fitted to other image sizes.
    pub position: PositionMode,
    /// Periods of rotary positions (DINOv3), a quarter as many as a head has values, which take the place of a position
    /// embedding: `grid` is then that of the default image size. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotary: Vec<f32>,
    /// Whether the last block only computes the values of its attention, which are then the tokens (AnyLoc). There is no
    /// final norm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub values: bool,
    /// Adapters of a frozen transformer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<AdapterConfig>,
}

/// Adapters: small layers that were trained beside the frozen ones of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AdapterConfig {
    /// Of linear layers, after the attention and beside the MLP of each block (SelaVPR).
    Linear {
        /// Hidden width.
        width: usize,
    },
    /// Of convolutions, beside the MLP of each block (CricaVPR).
    Parallel {
        /// Hidden width; a multiple of 16.
        width: usize,
    },
    /// Of convolutions, on a path beside the last blocks, whose end takes the place of theirs (SelaVPR++).
    Side {
        /// Hidden width; a multiple of 16.
        width: usize,
        /// Blocks with an adapter. The path starts from the input of the first of them.
        count: usize,
    },
}

impl AdapterConfig {
    /// Hidden width.
    pub fn width(&self) -> usize {
        match self {
            Self::Linear { width } | Self::Parallel { width } | Self::Side { width, .. } => *width,
        }
    }

    /// Whether there are convolutions.
    pub fn convolutions(&self) -> bool {
        !matches!(self, Self::Linear { .. })
    }

    /// Floating-point operations for this many tokens of this width in a transformer of this depth.
    pub(crate) fn flop(&self, tokens: f64, dim: f64, depth: usize) -> f64 {
        let width = self.width() as f64;
        let bottleneck = 4.0 * tokens * dim * width;
        // Branches of 1x1; 1x1 and 3x3; 1x1 and 5x5.
        let branches = 2.0 * tokens * width * width * (0.5 + 2.0 / 16.0 + 34.0 / 64.0);
        match self {
            Self::Linear { .. } => 2.0 * depth as f64 * bottleneck,
            Self::Parallel { .. } => depth as f64 * (bottleneck + branches),
            Self::Side { count, .. } => *count as f64 * (bottleneck + branches),
        }
    }

    pub(super) fn problem(&self, depth: usize) -> Option<String> {
        let width = self.width();
        let count = if let Self::Side { count, .. } = self { *count } else { depth };
        let whole = !self.convolutions() || width.is_multiple_of(16);
        (!(1..=8192).contains(&width) || !whole || !(1..=depth).contains(&count)).then(|| {
            format!("backbone.adapters {self:?} do not fit {depth} blocks, or have a width of 0 or no multiple of 16")
        })
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl VitConfig {
    /// Tokens before the patches: class tokens and registers.
    pub fn prefix_tokens(&self) -> usize {
        self.class_tokens() + self.registers
    }

    /// Class tokens, whose attention ranks the patches: CLS, and DIST if distilled.
    pub fn class_tokens(&self) -> usize {
        1 + usize::from(self.distilled)
    }

    /// Blocks before local features are taken: as stated ([`LocalConfig::layer`](crate::LocalConfig::layer)), else all but the
    /// last, as in the paper.
    pub fn local_layer(&self, stated: Option<usize>) -> usize {
        stated.unwrap_or(self.depth.saturating_sub(1))
    }

    /// The sizes of a named backbone: `deit-s`, `deit-b`, `vit-tiny`, `vit-s`, `vit-b`, `dinov2-s`, `dinov2-b`, `dinov2-l`,
    /// `dinov2-g`, `dinov3-s`, `dinov3-s-plus`, `dinov3-b`, `dinov3-l`. `None` for any other name.
    pub fn preset(name: &str) -> Option<Self> {
        let (dim, depth, heads) = match name {
            "vit-tiny" => (192, 12, 3),
            "vit-s" | "deit-s" | "dinov2-s" | "dinov3-s" | "dinov3-s-plus" => (384, 12, 6),
            "vit-b" | "deit-b" | "dinov2-b" | "dinov3-b" => (768, 12, 12),
            "dinov2-l" | "dinov3-l" => (1024, 24, 16),
            "dinov2-g" => (1536, 40, 24),
            _ => return None,
        };
        let (dinov2, dinov3) = (name.starts_with("dinov2"), name.starts_with("dinov3"));
        let distilled = name.starts_with("deit");
        Some(Self {
            dim,
            depth,
            heads,
            patch: if dinov2 { 14 } else { 16 },
            mlp_ratio: 4,
            swiglu: match name {
                "dinov2-g" => Some(4096),
                "dinov3-s-plus" => Some(1536),
                _ => None,
            },
            distilled,
            registers: if dinov3 { 4 } else { 0 },
            layer_scale: dinov2 || dinov3,
            norm_eps: if dinov3 { 1e-5 } else { 1e-6 },
            final_norm: true,
            grid: match (dinov2, distilled) {
                (true, _) => [37, 37],
                (_, true) => [30, 40],
                _ if dinov3 => [16, 16],
                _ => [14, 14],
            },
            position: if distilled { PositionMode::Official } else { PositionMode::Bicubic },
            rotary: if dinov3 { Self::rotary_periods(DINOV3_BASE, dim / heads) } else { Vec::new() },
            values: false,
            adapters: None,
        })
    }

    /// Periods of rotary positions from 1 to (nearly) `base`, for heads of `size` values.
    pub fn rotary_periods(base: f32, size: usize) -> Vec<f32> {
        (0..size / 4).map(|i| base.powf(2.0 * i as f32 / (size / 2) as f32)).collect()
    }
}

/// The longest period of DINOv3's positions, in halves of an image's side.
pub(crate) const DINOV3_BASE: f32 = 100.0;

/// How the position embedding of a vision transformer is fitted to other image sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionMode {
    /// Bicubic interpolation to the image's grid of patches, without antialiasing.
    Bicubic,
    /// DINOv2 without registers (`interpolate_offset` 0.1): as [`Bicubic`](Self::Bicubic), but from coordinates scaled by
    /// `stored / (wanted + 0.1)`.
    Dinov2,
    /// Bicubic with antialiasing: DINOv2 with registers, and timm's `resample_abs_pos_embed`.
    Antialias,
    /// The square window of the published code, rescaled about its centre. For published checkpoints only.
    Official,
}

impl std::str::FromStr for PositionMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bicubic" => Ok(Self::Bicubic),
            "dinov2" => Ok(Self::Dinov2),
            "antialias" => Ok(Self::Antialias),
            "official" => Ok(Self::Official),
            other => Err(format!(
                "{other} is not a rule for position embeddings: dinov2, antialias, bicubic or official"
            )),
        }
    }
}
