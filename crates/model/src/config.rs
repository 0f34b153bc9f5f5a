//! Everything that shapes a model; stored as JSON in the checkpoint's header.

use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Version of the configuration's layout that this build writes and reads.
pub const FORMAT: u32 = 1;

/// A whole model: architecture, preprocessing and provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Layout version, [`FORMAT`].
    pub format: u32,
    /// A short name for people.
    pub name: String,
    /// The network that turns pixels into tokens.
    pub backbone: BackboneConfig,
    /// How tokens become the global descriptor.
    pub global: GlobalConfig,
    /// How local features are chosen and projected; `None` for a global-only model.
    pub local: Option<LocalConfig>,
    /// The reranker; `None` for a global-only model.
    pub reranker: Option<RerankerConfig>,
    /// What the network expects of an image.
    pub input: InputConfig,
    /// Arithmetic of the matrix products.
    pub precision: Precision,
    /// Which parts hold trained weights.
    pub trained: Trained,
    /// Where the weights come from: source file, its SHA-256, licence, training configuration.
    pub provenance: serde_json::Value,
}

/// The supported backbones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BackboneConfig {
    /// Vision transformer: DeiT, timm ViT, DINOv2.
    Vit(VitConfig),
    /// ResNet-50 (torchvision).
    ResNet50(ResNetConfig),
}

/// A plain pre-norm vision transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Token width.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Patch side in pixels.
    pub patch: usize,
    /// Width of the MLP over `dim`.
    pub mlp_ratio: usize,
    /// Whether a distillation token follows the CLS token.
    pub distilled: bool,
    /// DINOv2 register tokens, inserted after the prefix and without position embedding.
    pub registers: usize,
    /// Whether each branch is scaled per channel (DINOv2).
    pub layer_scale: bool,
    /// Epsilon of every layer norm.
    pub norm_eps: f64,
    /// Rows and columns of the stored position embedding.
    pub grid: [usize; 2],
    /// How the position embedding follows the image size.
    pub position: PositionMode,
}

impl VitConfig {
    /// Tokens before the patches: CLS, DIST, registers.
    pub fn prefix_tokens(&self) -> usize {
        self.attending_tokens() + self.registers
    }

    /// Tokens whose attention ranks the patches: CLS, and DIST where there is one.
    pub fn attending_tokens(&self) -> usize {
        1 + usize::from(self.distilled)
    }

    /// The named sizes: `deit-s`, `deit-b`, `vit-tiny`, `vit-s`, `vit-b`, `dinov2-s`, `dinov2-b`.
    pub fn preset(name: &str) -> Option<Self> {
        let (dim, heads) = match name {
            "vit-tiny" => (192, 3),
            "vit-s" | "deit-s" | "dinov2-s" => (384, 6),
            "vit-b" | "deit-b" | "dinov2-b" => (768, 12),
            _ => return None,
        };
        let dino = name.starts_with("dinov2");
        let distilled = name.starts_with("deit");
        Some(Self {
            dim,
            depth: 12,
            heads,
            patch: if dino { 14 } else { 16 },
            mlp_ratio: 4,
            distilled,
            registers: 0,
            layer_scale: dino,
            norm_eps: 1e-6,
            grid: match (dino, distilled) {
                (true, _) => [37, 37],
                (_, true) => [30, 40],
                _ => [14, 14],
            },
            position: if distilled { PositionMode::Official } else { PositionMode::Bicubic },
        })
    }
}

/// ResNet-50 has nothing to choose but the power of its pooling's first value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Epsilon of the batch norms.
    pub norm_eps: f64,
}

/// How a ViT's position embedding is fitted to another image size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionMode {
    /// Resize the grid bicubically to the image's grid.
    Bicubic,
    /// The published code's square window, rescaled about its centre.
    Official,
}

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
    pub fn reads_patches(&self) -> bool {
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
    fn is_cls(&self) -> bool {
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

/// What the network expects of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Height in pixels that the model was evaluated with.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Subtracted from each channel (of values in 0..1).
    pub mean: [f32; 3],
    /// Divides each channel afterwards.
    pub std: [f32; 3],
    /// The resize that the model was evaluated with.
    pub resize: ResizeMode,
}

/// The two ways of resizing; they differ by several grey levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// Normalise, then bilinear without antialias (the published evaluation).
    Direct,
    /// Antialiased bilinear on 8-bit pixels, then normalise (the published training).
    Antialias,
}

/// Arithmetic of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit throughout.
    #[default]
    F32,
    /// Inputs of the products of backbone and heads rounded to bfloat16, sums in 32 bits; the reranker, whose inputs
    /// are coordinates, stays in 32 bits.
    Bf16,
}

impl std::str::FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(format!("{other} is not a precision: f32 or bf16")),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Which parts hold trained weights; the others are random and say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// The global head was trained for place recognition.
    pub global: bool,
    /// The projection of the local features was.
    pub local: bool,
    /// The reranker was.
    pub reranker: bool,
}

impl ModelConfig {
    /// A whole model of a named backbone ([`VitConfig::preset`]) with the published heads and reranker,
    /// untrained: for measuring, and as a start for training.
    pub fn preset(name: &str) -> Option<Self> {
        let vit = VitConfig::preset(name)?;
        let [height, width] = vit.grid.map(|cells| cells * vit.patch);
        Some(Self {
            format: FORMAT,
            name: name.into(),
            local: Some(LocalConfig { dim: 128, count: 500, official_gather: false, layer: None }),
            backbone: BackboneConfig::Vit(VitConfig { position: PositionMode::Bicubic, ..vit }),
            global: GlobalConfig::Linear { dim: 256, pooling: Pooling::Cls },
            reranker: Some(RerankerConfig::default()),
            input: InputConfig {
                height,
                width,
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
                resize: ResizeMode::Antialias,
            },
            precision: Precision::F32,
            trained: Trained { global: false, local: false, reranker: false },
            provenance: serde_json::Value::Null,
        })
    }

    /// Length of the global descriptor.
    pub fn global_dim(&self) -> usize {
        match &self.global {
            GlobalConfig::Linear { dim, .. } => *dim,
            GlobalConfig::Pooled { .. } => self.backbone_dim(),
        }
    }

    /// Width of the features that a linear global head reads.
    pub fn backbone_dim(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.dim,
            BackboneConfig::ResNet50(_) => 2048,
        }
    }

    /// Pixels between neighbouring local features.
    pub fn stride(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.patch,
            BackboneConfig::ResNet50(_) => 16,
        }
    }

    /// Height and width must be multiples of this many pixels.
    pub fn size_step(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.patch,
            BackboneConfig::ResNet50(_) => 32,
        }
    }

    /// Local features of one image of this size: at most `local.count`, at most one a patch.
    pub fn local_count(&self, height: usize, width: usize) -> usize {
        let patches = (height / self.stride()) * (width / self.stride());
        self.local.as_ref().map_or(0, |local| local.count.min(patches))
    }

    /// Length of a local feature's row: x, y, attention, feature.
    pub fn local_row(&self) -> usize {
        self.local.as_ref().map_or(0, |local| 3 + local.dim)
    }

    /// Checks an image size against the architecture.
    ///
    /// # Errors
    /// [`ModelError::Input`] that says which sizes would do.
    pub fn check_size(&self, height: usize, width: usize) -> Result<()> {
        let step = self.size_step();
        if height == 0 || width == 0 || !height.is_multiple_of(step) || !width.is_multiple_of(step) {
            let near = |v: usize| (v.div_ceil(step) * step).max(step);
            return Err(ModelError::Input(format!(
                "image size {height}x{width} (height x width): both must be positive multiples of {step}; try {}x{}",
                near(height),
                near(width)
            )));
        }
        if height.max(width) > 8192 {
            return Err(ModelError::Input(format!(
                "image size {height}x{width}: sides above 8192 are refused"
            )));
        }
        Ok(())
    }

    /// Checks that the numbers belong together.
    ///
    /// # Errors
    /// [`ModelError::Config`] that names the field.
    pub fn validate(&self) -> Result<()> {
        let bad = |what: String| Err(ModelError::Config(what));
        if self.format != FORMAT {
            return bad(format!(
                "written in layout {}, this build reads {FORMAT}: use a matching r2former",
                self.format
            ));
        }
        if let BackboneConfig::Vit(v) = &self.backbone {
            let sizes = [v.dim, v.depth, v.heads, v.patch, v.mlp_ratio, v.grid[0], v.grid[1]];
            if sizes.contains(&0) {
                return bad("backbone sizes must be positive".into());
            }
            // Bounds keep a hostile header from asking for absurd allocations.
            if v.dim > 4096
                || v.depth > 128
                || v.patch > 64
                || v.mlp_ratio > 16
                || v.grid[0].max(v.grid[1]) > 1024
            {
                return bad("backbone sizes are beyond any known model".into());
            }
            if v.dim % v.heads != 0 {
                return bad(format!("backbone.heads {} does not divide backbone.dim {}", v.heads, v.dim));
            }
            if v.registers > 64 {
                return bad(format!("backbone.registers {} is beyond any known model", v.registers));
            }
        }
        if let GlobalConfig::Linear { dim, .. } = self.global
            && !(1..=16_384).contains(&dim)
        {
            return bad(format!("global.dim {dim} is outside 1..16384"));
        }
        if matches!(self.backbone, BackboneConfig::ResNet50(_))
            && matches!(self.global, GlobalConfig::Pooled { pooling: Pooling::Cls })
        {
            return bad("global.pooling cls needs a vision transformer; use mean or gem".into());
        }
        if let (BackboneConfig::Vit(VitConfig { distilled: true, .. }), GlobalConfig::Linear { pooling, .. }) =
            (&self.backbone, &self.global)
            && !pooling.is_cls()
        {
            return bad(
                "a distilled transformer's heads read CLS and DIST: global.pooling must be cls".into()
            );
        }
        if let Some(local) = &self.local
            && (!(1..=4096).contains(&local.dim) || !(1..=16_384).contains(&local.count))
        {
            return bad(format!("local.dim {} or local.count {} is out of range", local.dim, local.count));
        }
        if let Some(layer) = self.local.as_ref().and_then(|local| local.layer) {
            let BackboneConfig::Vit(vit) = &self.backbone else {
                return bad(format!(
                    "local.layer {layer}: only a vision transformer has layers to choose from"
                ));
            };
            if !(1..vit.depth).contains(&layer) {
                return bad(format!("local.layer {layer} is outside 1 to {}", vit.depth.saturating_sub(1)));
            }
        }
        if let Some(r) = &self.reranker {
            if self.local.is_none() {
                return bad("a reranker needs local features".into());
            }
            r.validate()?;
        }
        if self.input.std.iter().any(|s| !s.is_finite() || *s <= 0.0)
            || self.input.mean.iter().any(|m| !m.is_finite())
        {
            return bad("input.std must be positive, input.mean finite".into());
        }
        self.check_size(self.input.height, self.input.width)
    }
}

impl RerankerConfig {
    fn validate(&self) -> Result<()> {
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
