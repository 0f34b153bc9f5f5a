//! The configuration of a model, stored as JSON in the header of its checkpoint.

mod aggregate;
mod backbone;
mod calibration;
mod cnn;
mod heads;
mod input;
mod local;
mod local_vlad;
mod map_aggregate;
mod precision_check;
mod reranker_check;
mod size;

pub use aggregate::{BoqConfig, CricaConfig, GemConfig, SaladConfig};
pub(crate) use backbone::DINOV3_BASE;
pub use backbone::{AdapterConfig, BackboneConfig, PositionMode, VitConfig};
pub use calibration::{Calibration, CalibrationSet, Clue, Clues, ConfidenceFit, TypicalCandidate};
pub use cnn::{ResNetConfig, VGG16, vgg_pools_before};
pub use heads::{GlobalConfig, InlierWeights, Pooling, RerankerConfig};
pub use input::{InputConfig, Precision, ResizeMode};
pub use local::{Facet, Geometry, LocalConfig, Selection};
pub use local_vlad::LocalVladConfig;
pub use map_aggregate::{MixVprConfig, NetVladConfig, VladConfig};
pub use precision_check::{PrecisionCheck, RerankedCheck};
pub use reranker_check::RerankerCheck;
pub use size::{Fit, ImageSize, Placement, Sides, SizeRule};

use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Version of the configuration format that this version reads and writes.
pub const FORMAT: u32 = 1;

/// Pixels that either side of an image for a convolutional network has at least.
const SMALLEST: usize = 32;

/// Architecture, preprocessing and provenance of a model.
///
/// ```
/// use r2former_model::ModelConfig;
///
/// let config = ModelConfig::preset("deit-s").expect("a known preset");
/// assert_eq!([config.input.height, config.input.width], [480, 640]);
/// assert_eq!(config.global_dim(), 256);
/// // Local features per image, and values per feature: x, y, attention and 128 dimensions.
/// assert_eq!(config.local_count(480, 640), 500);
/// assert_eq!(config.local_row(), 131);
/// // Both sides must be multiples of the patch, 16 pixels.
/// assert!(config.check_size(480, 640).is_ok());
/// let error = config.check_size(470, 640).unwrap_err();
/// assert!(error.to_string().contains("try 480x640"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Format version, [`FORMAT`].
    pub format: u32,
    /// Display name.
    pub name: String,
    /// The network from pixels to tokens.
    pub backbone: BackboneConfig,
    /// How tokens become the global descriptor.
    pub global: GlobalConfig,
    /// How local features are selected and projected; `None` for a global-only model.
    pub local: Option<LocalConfig>,
    /// The reranker; `None` for a global-only model.
    pub reranker: Option<RerankerConfig>,
    /// Preprocessing of images.
    pub input: InputConfig,
    /// Precision of the matrix products.
    pub precision: Precision,
    /// Which parts hold trained weights.
    pub trained: Trained,
    /// Origin of the weights, such as source file and its SHA-256, licence, training configuration.
    pub provenance: serde_json::Value,
    /// How probable its answers are to be correct, by their scores; belongs to these weights. `None` where it was not
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What other arithmetic does to its descriptors and answers; belongs to these weights. Empty where nothing was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<PrecisionCheck>,
    /// What 16-bit arithmetic does to the scores of its reranker; belongs to these weights. `None` where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranker_check: Option<RerankerCheck>,
}

/// Which parts have trained weights. The others are randomly initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// Whether the global descriptor was trained for place recognition.
    pub global: bool,
    /// Whether the projection of local features was trained.
    pub local: bool,
    /// Whether the reranker was trained.
    pub reranker: bool,
}

impl ModelConfig {
    /// An untrained model of a named backbone ([`VitConfig::preset`]) with the heads and reranker of the paper, for
    /// measurements and as a start for training; or of the sizes of a published global-only model: `megaloc`, `salad`,
    /// `boq-dinov2` and `selavprplusplus` at 322 x 322 pixels, `cricavpr` and `selavpr` at 224 x 224, `cosplace-r50` and `cosplace-vgg16` at 480 x 640, `mixvpr` at 320 x 320. `None` for an
    /// unknown name.
    pub fn preset(name: &str) -> Option<Self> {
        if let Some((vit, global, resize, side)) = aggregate::preset(name) {
            let mut config = Self::preset("dinov2-b")?;
            (config.name, config.backbone, config.global) = (name.into(), BackboneConfig::Vit(vit), global);
            (config.local, config.reranker) = (None, None);
            (config.input.height, config.input.width, config.input.resize) = (side, side, resize);
            return Some(config);
        }
        if let Some((backbone, global, [height, width])) = map_aggregate::preset(name) {
            let mut config = Self::preset("vit-s")?;
            (config.name, config.backbone, config.global) = (name.into(), backbone, global);
            (config.local, config.reranker) = (None, None);
            (config.input.height, config.input.width) = (height, width);
            return Some(config);
        }
        let vit = VitConfig::preset(name)?;
        let [height, width] = vit.grid.map(|cells| cells * vit.patch);
        Some(Self {
            format: FORMAT,
            name: name.into(),
            local: Some(LocalConfig::default()),
            backbone: BackboneConfig::Vit(VitConfig { position: PositionMode::Bicubic, ..vit }),
            global: GlobalConfig::Linear { dim: 256, pooling: Pooling::Cls },
            reranker: Some(RerankerConfig::default()),
            input: InputConfig {
                height,
                width,
                rule: None,
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
                resize: ResizeMode::Antialias,
            },
            precision: Precision::F32,
            trained: Trained { global: false, local: false, reranker: false },
            provenance: serde_json::Value::Null,
            calibration: None,
            checks: Vec::new(),
            reranker_check: None,
        })
    }

    /// The licence of the weights, where the header states it.
    pub fn license(&self) -> Option<&str> {
        self.stated("license")
    }

    /// A text of [`ModelConfig::provenance`], where the header states it.
    pub fn stated(&self, key: &str) -> Option<&str> {
        self.provenance.get(key)?.as_str()
    }

    /// States the licence of the weights, beside the rest of [`ModelConfig::provenance`].
    pub fn set_license(&mut self, text: &str) {
        if !self.provenance.is_object() {
            // Any other origin is kept under a name of its own.
            let origin = std::mem::take(&mut self.provenance);
            self.provenance = match origin {
                serde_json::Value::Null => serde_json::json!({}),
                other => serde_json::json!({ "origin": other }),
            };
        }
        self.provenance["license"] = text.into();
    }

    /// Whether results in an arithmetic were measured to rank as those in 32 bits do: descriptors, and local features, if the model has
    /// them.
    pub fn keeps_ranking(&self, precision: Precision) -> bool {
        let measured = self.checks.iter().find(|check| check.precision == precision);
        precision == Precision::F32 || measured.is_some_and(|check| check.keeps_ranking(self))
    }

    /// Forgets what was measured with its weights, image size or heads, as they are others now.
    pub fn forget_measured(&mut self) {
        self.calibration = None;
        self.checks.clear();
        self.reranker_check = None;
    }

    /// Dimensions of the global descriptor.
    pub fn global_dim(&self) -> usize {
        match &self.global {
            GlobalConfig::Linear { dim, .. } => *dim,
            GlobalConfig::Pooled { .. } => self.backbone_dim(),
            GlobalConfig::Salad(salad) => salad.descriptor(),
            GlobalConfig::Boq(boq) => boq.descriptor(),
            GlobalConfig::MixVpr(mix) => mix.dim(),
            GlobalConfig::NetVlad(vlad) => vlad.dim(self.backbone_dim()),
            GlobalConfig::Vlad(vlad) => vlad.dim(self.backbone_dim()),
            GlobalConfig::LocalVlad(vlad) => vlad.dim,
            GlobalConfig::Gem(gem) => gem.dim.unwrap_or(self.backbone_dim()),
            GlobalConfig::Crica(_) => CricaConfig::REGIONS * self.backbone_dim(),
        }
    }

    /// Width of the features before the global head.
    pub fn backbone_dim(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.dim,
            BackboneConfig::ResNet(resnet) => resnet.width(resnet.stages),
            BackboneConfig::Vgg16 => 512,
        }
    }

    /// Pixels between neighbouring local features.
    pub fn stride(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.patch,
            BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => 16,
        }
    }

    /// Width of the tokens that the local head projects: a transformer's, or those of a ResNet's `layer3`.
    pub fn local_dim(&self) -> usize {
        match &self.backbone {
            BackboneConfig::ResNet(resnet) => resnet.width(3),
            _ => self.backbone_dim(),
        }
    }

    /// Pixels of which height and width must be multiples: 1 for a convolutional network without local features.
    pub fn size_step(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(vit) => vit.patch,
            _ => match &self.local {
                // The attention of local features comes from the next stage's map, of exactly half the size.
                Some(local) if local.select == Selection::Attention => 32,
                Some(_) => 16,
                None => 1,
            },
        }
    }

    /// The only image size (height, width) that the global head takes, where there is one.
    pub fn fixed_size(&self) -> Option<[usize; 2]> {
        match &self.global {
            GlobalConfig::MixVpr(mix) => Some(mix.grid.map(|cells| cells * self.stride())),
            GlobalConfig::Crica(_) => Some([CricaConfig::GRID * self.stride(); 2]),
            _ => None,
        }
    }

    /// Local features per image of this size: `local.count`, or one per patch if that is less.
    pub fn local_count(&self, height: usize, width: usize) -> usize {
        let patches = (height / self.stride()) * (width / self.stride());
        self.local.as_ref().map_or(0, |local| local.count.min(patches))
    }

    /// Values per local feature: x, y, attention and the feature's dimensions; 0 for a global-only model.
    pub fn local_row(&self) -> usize {
        self.local.as_ref().map_or(0, |local| 3 + local.dim)
    }

    /// Checks an image size against the architecture.
    ///
    /// # Errors
    /// [`ModelError::Input`], suggesting a valid size.
    pub fn check_size(&self, height: usize, width: usize) -> Result<()> {
        let step = self.size_step();
        if let Some([rows, columns]) = self.fixed_size()
            && [height, width] != [rows, columns]
        {
            return Err(ModelError::Input(format!(
                "image size {height}x{width} (height x width): this model takes {rows}x{columns} only"
            )));
        }
        if step == 1 && height.min(width) < SMALLEST {
            return Err(ModelError::Input(format!(
                "image size {height}x{width} (height x width): both must be at least {SMALLEST}"
            )));
        }
        if height == 0 || width == 0 || !height.is_multiple_of(step) || !width.is_multiple_of(step) {
            let near = |v: usize| (v.div_ceil(step) * step).max(step);
            return Err(ModelError::Input(format!(
                "image size {height}x{width} (height x width): both must be positive multiples of {step}; try {}x{}",
                near(height),
                near(width)
            )));
        }
        if height.max(width) > 8192 {
            return Err(ModelError::Input(format!("image size {height}x{width}: sides may be at most 8192")));
        }
        match (&self.global, &self.backbone) {
            (GlobalConfig::Salad(salad), BackboneConfig::Vit(_)) => {
                salad.check_patches((height / step) * (width / step))
            }
            _ => Ok(()),
        }
    }

    /// Pixels of an image whose size follows from a rule, at most.
    fn most_pixels(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Vit(_) => SizeRule::TRANSFORMER_PIXELS,
            BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => SizeRule::CONVOLUTIONAL_PIXELS,
        }
    }

    /// Where a photograph of `own` height and width is seen under a size. Whether the architecture takes that,
    /// [`check_size`](Self::check_size) says.
    pub fn place(&self, size: ImageSize, own: [usize; 2]) -> Placement {
        match size {
            ImageSize::Fixed(size) => Placement::whole(size),
            ImageSize::Rule(rule) => rule.place(own, self.size_step(), self.most_pixels()),
        }
    }

    /// Height and width that stand for a size: those of an ordinary photograph under a rule.
    pub fn nominal_size(&self, size: ImageSize) -> [usize; 2] {
        match size {
            ImageSize::Fixed(size) => size,
            ImageSize::Rule(rule) => self.place(size, rule.typical()).size,
        }
    }

    /// Checks a size, or a rule on ordinary photographs, against the architecture.
    ///
    /// # Errors
    /// As [`check_size`](Self::check_size); [`ModelError::Input`] for a rule where there is but one size, and for one by which
    /// ordinary photographs are too large.
    pub fn check_image_size(&self, size: ImageSize) -> Result<()> {
        if let ImageSize::Rule(rule) = size {
            if let Some([rows, columns]) = self.fixed_size() {
                return Err(ModelError::Input(format!(
                    "image size {size}: this model takes {rows}x{columns} only"
                )));
            }
            let ([height, width], most) = (rule.typical(), self.most_pixels());
            if height * width > most {
                return Err(ModelError::Input(format!(
                    "image size {size}: {height}x{width} are more than the {most} pixels that this model is given; ask for less"
                )));
            }
        }
        let [height, width] = self.nominal_size(size);
        self.check_size(height, width)
    }

    /// Makes a size the default one.
    ///
    /// # Errors
    /// As [`check_image_size`](Self::check_image_size).
    pub fn set_image_size(&mut self, size: ImageSize) -> Result<()> {
        self.check_image_size(size)?;
        [self.input.height, self.input.width] = self.nominal_size(size);
        self.input.rule = match size {
            ImageSize::Fixed(_) => None,
            ImageSize::Rule(rule) => Some(rule),
        };
        Ok(())
    }

    /// Checks the ranges of all fields and their consistency.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, [`ModelError::Input`] for an invalid default image size.
    pub fn validate(&self) -> Result<()> {
        let bad = |what: String| Err(ModelError::Config(what));
        if self.format != FORMAT {
            return bad(format!(
                "format {} is not supported, this version reads format {FORMAT}: use a matching r2former",
                self.format
            ));
        }
        if let BackboneConfig::Vit(v) = &self.backbone {
            let sizes = [v.dim, v.depth, v.heads, v.patch, v.mlp_ratio, v.grid[0], v.grid[1]];
            if sizes.contains(&0) || v.swiglu == Some(0) {
                return bad("backbone sizes must be positive".into());
            }
            // Bounds keep a malicious header from causing absurd allocations.
            if v.dim > 4096
                || v.depth > 128
                || v.patch > 64
                || v.mlp_ratio > 16
                || v.swiglu.is_some_and(|hidden| hidden > 32_768)
                || v.grid[0].max(v.grid[1]) > 1024
            {
                return bad("backbone sizes exceed every known model".into());
            }
            if v.dim % v.heads != 0 {
                return bad(format!("backbone.heads {} does not divide backbone.dim {}", v.heads, v.dim));
            }
            if !v.rotary.is_empty()
                && (4 * v.rotary.len() != v.dim / v.heads
                    || v.rotary.iter().any(|period| !period.is_finite() || *period <= 0.0))
            {
                return bad(format!(
                    "backbone.rotary needs {} positive periods, a quarter of a head's {} values",
                    v.dim / v.heads / 4,
                    v.dim / v.heads
                ));
            }
            if v.values && v.final_norm {
                return bad("a transformer that ends in values has no final norm".into());
            }
            if let Some(problem) = v.adapters.and_then(|adapters| adapters.problem(v.depth)) {
                return bad(problem);
            }
            if v.values && v.adapters.is_some() {
                return bad("a transformer that ends in values has no adapters".into());
            }
            if v.registers > 64 {
                return bad(format!("backbone.registers {} exceeds every known model", v.registers));
            }
        }
        if let Err(problem) = self.validate_convolutional() {
            return bad(problem);
        }
        if let GlobalConfig::Linear { dim, .. } = self.global
            && !(1..=16_384).contains(&dim)
        {
            return bad(format!("global.dim {dim} is outside 1 to 16384"));
        }
        match &self.global {
            GlobalConfig::Salad(salad) => salad.validate()?,
            GlobalConfig::Boq(boq) => boq.validate()?,
            GlobalConfig::Gem(gem) => gem.validate()?,
            GlobalConfig::LocalVlad(vlad) => {
                if let Some(problem) = vlad.problem(self.local.as_ref()) {
                    return bad(problem);
                }
            }
            GlobalConfig::Crica(crica) => crica.validate()?,
            _ => {}
        }
        if matches!(self.global, GlobalConfig::Salad(_) | GlobalConfig::Crica(_))
            && self.backbone.is_convolutional()
        {
            return bad("global: SALAD and CricaVPR need a vision transformer".into());
        }
        if let (BackboneConfig::Vit(VitConfig { distilled: true, .. }), GlobalConfig::Linear { pooling, .. }) =
            (&self.backbone, &self.global)
            && !pooling.is_cls()
        {
            return bad(
                "the heads of a distilled transformer use CLS and DIST: global.pooling must be cls".into()
            );
        }
        if let Some(problem) = self.local.as_ref().and_then(|local| self.local_problem(local)) {
            return bad(problem);
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
        self.calibration.as_ref().map_or(Ok(()), Calibration::validate)?;
        self.checks.iter().try_for_each(PrecisionCheck::validate)?;
        self.reranker_check.as_ref().map_or(Ok(()), RerankerCheck::validate)?;
        self.check_image_size(self.input.image_size())?;
        self.check_size(self.input.height, self.input.width)
    }
}
