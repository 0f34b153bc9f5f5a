//! Photographs to descriptors.

use crate::batch_limit::BatchLimit;
use crate::batch_size::BatchSize;
use crate::by_size;
use crate::fused::{FusedBackbone, fused_reranker};
use crate::fused_aggregate::FusedAggregate;
use crate::host::{Reading, host};
use crate::sizes::SizeCache;
use crate::{Disk, EngineError, LoadedModel, PhotoFiles, QueryImage, Result, View};
use burn::tensor::{Tensor, TensorData, Transaction};
use r2former_data::image::{Limits, Preprocess, ResizeMode};
use r2former_kernels::{KernelError, Level, MatmulPrecision, RerankerArithmetic};
use r2former_model::checkpoint::StoredCheckpoint;
use r2former_model::weights::TensorReader;
use r2former_model::{Device, ImageSize, ModelConfig, Precision, R2Former, SizeRule, quantize};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// How images are preprocessed for the model; descriptors are comparable only under equal settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Image height in pixels; with `rule` that of an ordinary photograph.
    pub height: usize,
    /// Image width in pixels, likewise.
    pub width: usize,
    /// How an image's size follows from the photograph's; absent: all have `height` and `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SizeRule>,
    /// Arithmetic of the products.
    pub precision: Precision,
}

impl Settings {
    /// The model's own settings, with which it was evaluated.
    pub fn of(config: &ModelConfig) -> Self {
        let input = &config.input;
        Self { height: input.height, width: input.width, rule: input.rule, precision: config.precision }
    }

    /// The same for images of another size.
    #[must_use]
    pub fn sized(self, size: ImageSize, config: &ModelConfig) -> Self {
        let [height, width] = config.nominal_size(size);
        let rule = match size {
            ImageSize::Fixed(_) => None,
            ImageSize::Rule(rule) => Some(rule),
        };
        Self { height, width, rule, ..self }
    }

    /// The size of images.
    pub fn image_size(&self) -> ImageSize {
        self.rule.map_or(ImageSize::Fixed([self.height, self.width]), ImageSize::Rule)
    }

    /// Local features of an image, at most.
    pub fn most_local(&self, config: &ModelConfig) -> usize {
        match self.rule {
            None => config.local_count(self.height, self.width),
            // Whatever the number of its patches.
            Some(_) => config.local.as_ref().map_or(0, |local| local.count),
        }
    }
}

/// Descriptors of one image, on the host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageFeatures {
    /// Global descriptor of unit length.
    pub global: Vec<f32>,
    /// Local features, row after row ([`ModelConfig::local_row`] values each); empty for a
    /// global-only model.
    pub local: Vec<f32>,
}

impl ImageFeatures {
    /// With local features as an index would give them back, after 8 bits. A query is compared in the precision of what it is
    /// compared with: so it has the same scores in an answer, in an evaluation and in a picture, and a photograph of the
    /// index the highest that there is.
    #[must_use]
    pub fn as_indexed(mut self, config: &ModelConfig) -> Self {
        let row = config.local_row();
        self.local = quantize::dequantize(&quantize::quantize(&self.local, row), row);
        self
    }
}

/// A model on a device, ready to extract and to rerank. A clone shares the weights.
#[derive(Debug, Clone)]
pub struct Extractor {
    model: Arc<R2Former>,
    fingerprint: String,
    settings: Settings,
    preprocess: Preprocess,
    device: Device,
    limits: Limits,
    files: Arc<dyn PhotoFiles>,
    /// The reranker on CPU kernels; `None` where they do not cover it.
    fused: Option<Arc<r2former_kernels::Reranker>>,
    /// The backbone on CPU kernels; `None` where they do not cover it.
    backbone: Option<Arc<FusedBackbone>>,
    /// The same at other sizes than that of the settings.
    sizes: Arc<SizeCache>,
    /// The aggregation on CPU kernels; `None` where they do not cover it.
    aggregate: Option<Arc<FusedAggregate>>,
    /// Images and pairs of a batch by the device's limits.
    pub(crate) batch_size: BatchSize,
    /// Images of a batch that the device takes.
    pub(crate) image_limit: Arc<BatchLimit>,
    /// Pairs, likewise.
    pub(crate) pair_limit: Arc<BatchLimit>,
}

impl Extractor {
    /// Puts a model on a device, under the given settings.
    ///
    /// ```
    /// use r2former_data::Rgb8;
    /// use r2former_engine::{Extractor, LoadedModel, Settings};
    /// use r2former_model::parse_device;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = LoadedModel::built_in()?;
    /// let settings = Settings::of(&model.config);
    /// let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
    ///
    /// let image = Rgb8 { width: 64, height: 48, pixels: vec![128; 64 * 48 * 3] };
    /// let features = extractor.extract_image(&image)?;
    /// assert_eq!(features.global.len(), extractor.config().global_dim());
    /// let length: f32 = features.global.iter().map(|v| v * v).sum();
    /// assert!((length - 1.0).abs() < 1e-4);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::Model`] for an image size that the architecture cannot take; [`EngineError::Request`] for
    /// vector instructions that `R2FORMER_SIMD` forces and this machine lacks, for an unknown `R2FORMER_BF16` or `R2FORMER_RERANKER`, and for 8-bit
    /// integers on another device than the CPU.
    pub fn new(loaded: LoadedModel, settings: Settings, device: &Device) -> Result<Self> {
        settings.check_device(device)?;
        let mut checkpoint = loaded.into_stored();
        let fingerprint = checkpoint.fingerprint.clone();
        checkpoint.config.check_image_size(settings.image_size())?;
        checkpoint.config.check_size(settings.height, settings.width)?;
        if checkpoint.config.input.image_size() != settings.image_size() {
            // It was fitted on scores at the model's own size.
            checkpoint.config.calibration = None;
        }
        checkpoint.config.input.height = settings.height;
        checkpoint.config.input.width = settings.width;
        checkpoint.config.input.rule = settings.rule;
        checkpoint.config.precision = settings.precision;
        let input = &checkpoint.config.input;
        let preprocess = Preprocess {
            mean: input.mean,
            std: input.std,
            resize: match input.resize {
                r2former_model::ResizeMode::Direct => ResizeMode::Direct,
                r2former_model::ResizeMode::Antialias => ResizeMode::Antialias,
                r2former_model::ResizeMode::AntialiasBicubic => ResizeMode::AntialiasBicubic,
                r2former_model::ResizeMode::TensorBilinear => ResizeMode::TensorBilinear,
                r2former_model::ResizeMode::TensorBicubic => ResizeMode::TensorBicubic,
            },
        };
        let (mut fused, mut backbone, mut aggregate) = (None, None, None);
        let StoredCheckpoint { config, tensors, .. } = checkpoint;
        let mut model;
        if *device == Device::flex() {
            model = R2Former::from_stored(&config, tensors, device)?;
            let level = Level::current().map_err(|error| EngineError::Request(error.to_string()))?;
            let products = match settings.precision {
                Precision::F32 => MatmulPrecision::F32,
                Precision::Bf16 => {
                    MatmulPrecision::bf16().map_err(|error| EngineError::Request(error.to_string()))?
                }
                Precision::Int8 => MatmulPrecision::Int8,
            };
            let size = [settings.height, settings.width];
            backbone = match FusedBackbone::taking(&mut model, level, products, size) {
                Ok(backbone) => {
                    aggregate = FusedAggregate::taking(&mut model, level).ok();
                    Some(backbone)
                }
                Err(KernelError::Unsupported(_)) => None,
                Err(error) => return Err(EngineError::Compute(error.to_string())),
            };
            // What kernels have not taken.
            model = model.expand();
            let forced =
                RerankerArithmetic::forced().map_err(|error| EngineError::Request(error.to_string()))?;
            let arithmetic = forced.unwrap_or(match config.reranker_check {
                Some(check) if check.keeps_order() => RerankerArithmetic::Int16,
                _ => RerankerArithmetic::F32,
            });
            fused = fused_reranker(&model, level, arithmetic).ok();
        } else {
            model = R2Former::load(&config, TensorReader::from_stored(tensors, device))?;
        }
        let batch_size = BatchSize::of(device);
        let (device, limits) = (device.clone(), Limits::default());
        Ok(Self {
            model: Arc::new(model),
            fingerprint,
            settings,
            preprocess,
            device,
            limits,
            files: Arc::new(Disk),
            fused: fused.map(Arc::new),
            backbone: backbone.map(Arc::new),
            sizes: Arc::default(),
            aggregate: aggregate.map(Arc::new),
            batch_size,
            image_limit: Arc::new(BatchLimit::new()),
            pair_limit: Arc::new(BatchLimit::new()),
        })
    }

    /// The model's configuration under these settings.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// SHA-256 of the model's checkpoint.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The network itself, without the blocks of a backbone that runs on kernels
    /// ([`R2Former::release_blocks`]).
    pub fn model(&self) -> &R2Former {
        &self.model
    }

    /// The reranker on CPU kernels; `None` on another device, or for sizes that they do not cover.
    pub fn fused(&self) -> Option<&r2former_kernels::Reranker> {
        self.fused.as_deref()
    }

    /// The backbone on CPU kernels; `None` on another device, or for sizes that they do not cover.
    pub fn fused_backbone(&self) -> Option<&FusedBackbone> {
        self.backbone.as_deref()
    }

    /// The device that computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How pixels are resized and normalised.
    pub(crate) fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Reads photographs through `files`; by default they are [files of this machine](Disk).
    #[must_use]
    pub fn with_files(mut self, files: Arc<dyn PhotoFiles>) -> Self {
        self.files = files;
        self
    }

    pub(crate) fn files(&self) -> &dyn PhotoFiles {
        &*self.files
    }

    /// Sets the limits of a photograph's size, and whether one that was cut short is accepted.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Limits of a photograph's size.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Descriptors of photographs as [`Extractor::prepare`] returns them, in their order.
    ///
    /// # Errors
    /// [`EngineError::Compute`] for a failing device.
    pub fn extract_views(&self, views: &[View]) -> Result<Vec<ImageFeatures>> {
        self.extract_sized(views.iter().map(|view| (view.values.as_slice(), view.size)).collect())
    }

    /// Descriptors of normalised tensors `[3, height, width]` of the settings' size, in their order.
    ///
    /// # Errors
    /// [`EngineError::Request`] for inputs of another length; [`EngineError::Compute`] for a failing device.
    pub fn extract(&self, inputs: &[Vec<f32>]) -> Result<Vec<ImageFeatures>> {
        let size = [self.settings.height, self.settings.width];
        self.extract_sized(inputs.iter().map(|input| (input.as_slice(), size)).collect())
    }

    /// As [`Extractor::extract`], of inputs that each have their own size (height, width).
    fn extract_sized(&self, inputs: Vec<(&[f32], [usize; 2])>) -> Result<Vec<ImageFeatures>> {
        let mut all = Vec::new();
        self.extract_groups(std::iter::once(inputs), |features| {
            all = features;
            Ok(())
        })?;
        Ok(all)
    }

    /// Descriptors of one group of inputs after the other, in their order. A device that is not the CPU is given the next
    /// group before one's results are waited for.
    ///
    /// # Errors
    /// As [`Extractor::extract`], and those of `each`.
    pub(crate) fn extract_groups<V: AsRef<[f32]> + Sync>(
        &self,
        groups: impl Iterator<Item = Vec<(V, [usize; 2])>>,
        mut each: impl FnMut(Vec<ImageFeatures>) -> Result<()>,
    ) -> Result<()> {
        // On a CPU one image per core keeps all busy; other devices want many at once.
        if self.device != Device::flex() {
            return by_size::extract(self, groups, each);
        }
        let one = |(input, size): &(V, [usize; 2])| {
            let input = self.checked(input.as_ref(), *size)?;
            match &self.backbone {
                Some(backbone) => self.extract_fused(backbone, input, *size),
                None => Ok(of_batch(1, self.start_batch(&[input], *size)?.finish()?)),
            }
        };
        for inputs in groups {
            let mut parts = Vec::with_capacity(inputs.len());
            for at_once in within(&inputs, self.settings.rule.map_or(usize::MAX, |_| AT_ONCE)) {
                parts.extend(at_once.par_iter().map(one).collect::<Result<Vec<_>>>()?);
            }
            each(parts.concat())?;
        }
        Ok(())
    }

    /// An input, if it has as many values as its size says.
    pub(crate) fn checked<'a>(&self, input: &'a [f32], [height, width]: [usize; 2]) -> Result<&'a [f32]> {
        match input.len() == 3 * height * width {
            true => Ok(input),
            false => Err(EngineError::Request(format!("an input is not 3 x {height} x {width} values"))),
        }
    }

    /// Descriptors of one image, the backbone by the kernel.
    fn extract_fused(
        &self,
        backbone: &FusedBackbone,
        input: &[f32],
        size: [usize; 2],
    ) -> Result<Vec<ImageFeatures>> {
        let tokens = if size == [self.settings.height, self.settings.width] {
            backbone.tokens(input)?
        } else {
            self.sizes.get(size, || backbone.at(&self.model, size))?.tokens(input)?
        };
        let features = match &self.aggregate {
            Some(aggregate) => aggregate.features(&self.model, tokens, size)?,
            None => self.model.features(tokens, size)?,
        };
        let local = features.local.map(host).transpose()?.unwrap_or_default();
        Ok(vec![ImageFeatures { global: host(features.global)?, local }])
    }

    /// Descriptors by the model itself, of a whole batch at once, which are not waited for.
    pub(crate) fn start_batch(&self, inputs: &[&[f32]], [height, width]: [usize; 2]) -> Result<Reading> {
        let data = TensorData::new(inputs.concat(), [inputs.len(), 3, height, width]);
        let features = self.model.extract(Tensor::from_data(data, &self.device))?;
        let tensors = Transaction::default().register(features.global);
        Ok(Reading::start(match features.local {
            Some(local) => tensors.register(local),
            None => tensors,
        }))
    }

    /// Descriptors of one photograph.
    ///
    /// # Errors
    /// As [`Extractor::prepare_file`] and [`Extractor::extract_views`].
    pub fn extract_file(&self, path: &Path) -> Result<ImageFeatures> {
        self.extract_image(path)
    }

    /// Descriptors of one photograph: a path, the bytes of an image file, or pixels.
    ///
    /// # Errors
    /// As [`Extractor::decode`], [`Extractor::prepare`] and [`Extractor::extract_views`].
    pub fn extract_image<'a>(&self, image: impl Into<QueryImage<'a>>) -> Result<ImageFeatures> {
        let pixels = self.decode(&image.into())?.pixels;
        let view = self.prepare(&pixels)?;
        let features = self.extract_views(&[view])?;
        features.into_iter().next().ok_or_else(|| EngineError::Compute("no descriptor came back".into()))
    }
}

/// The descriptors of each image of a batch from the tensors of [`Extractor::start_batch`].
pub(crate) fn of_batch(batch: usize, tensors: Vec<Vec<f32>>) -> Vec<ImageFeatures> {
    let mut tensors = tensors.into_iter();
    let (global, local) = (tensors.next().unwrap_or_default(), tensors.next().unwrap_or_default());
    let (g, l) = (global.len() / batch, local.len() / batch);
    let part = |i: usize| ImageFeatures {
        global: global[i * g..(i + 1) * g].to_vec(),
        local: local[i * l..(i + 1) * l].to_vec(),
    };
    (0..batch).map(part).collect()
}

/// Pixels of photographs in their own sizes that are computed at once on a CPU, so that memory is bounded.
const AT_ONCE: usize = SizeRule::CONVOLUTIONAL_PIXELS;

/// Inputs in parts of at most `most` pixels, or one.
fn within<V>(inputs: &[(V, [usize; 2])], most: usize) -> impl Iterator<Item = &[(V, [usize; 2])]> {
    let mut rest = inputs;
    std::iter::from_fn(move || {
        let mut pixels = 0;
        let fits = rest.iter().take_while(|(_, [height, width])| {
            pixels += height * width;
            pixels <= most
        });
        let (part, later) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = later;
        (!part.is_empty()).then_some(part)
    })
}
