//! The whole network: backbone, global head, local head, reranker.

use crate::aggregate::Aggregate;
use crate::backbone::{Backbone, Tokens, Vit};
use crate::layers::{Projection, bicubic_matrix};
use crate::local::select;
use crate::pooling::{gem, unit};
use crate::weights::{Init, TensorReader, TensorWriter, Tensors};
use crate::{BackboneConfig, GlobalConfig, ModelConfig, ModelError, Pooling, Reranker, Result, Selection};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

mod kernels;

/// Descriptors of a batch of images, on the model's device.
#[derive(Debug, Clone)]
pub struct Features {
    /// Global descriptors `[batch, global_dim]`, of unit length.
    pub global: Tensor<2>,
    /// Local features `[batch, K, 3 + dim]` by descending attention: x and y divided by the longer side, attention
    /// divided by the image's largest (all 0..1), feature (not normalised). `None` for a global-only model.
    pub local: Option<Tensor<3>>,
}

/// The R2Former network.
///
/// ```
/// use burn::tensor::Tensor;
/// use r2former_model::{Device, ModelConfig, ModelError, R2Former};
///
/// # fn main() -> Result<(), ModelError> {
/// let mut config = ModelConfig::preset("vit-tiny").expect("a known preset");
/// # if let r2former_model::BackboneConfig::Vit(vit) = &mut config.backbone {
/// #     vit.depth = 1;
/// # }
/// let model = R2Former::random(&config, 1, &Device::flex())?;
/// let features = model.extract(Tensor::zeros([1, 3, 64, 64], &Device::flex()))?;
/// assert_eq!(features.global.dims(), [1, 256]);
/// // Sides must be multiples of the patch, 16 pixels.
/// let odd = model.extract(Tensor::zeros([1, 3, 60, 64], &Device::flex()));
/// assert!(matches!(odd, Err(ModelError::Input(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct R2Former {
    backbone: Backbone,
    head: Option<Projection>,
    head_dist: Option<Projection>,
    aggregate: Option<Aggregate>,
    gem_power: Option<Param<Tensor<1>>>,
    local_head: Option<Projection>,
    /// The reranker; `None` for a global-only model.
    pub reranker: Option<Reranker>,
    #[module(skip)]
    config: ModelConfig,
}

impl R2Former {
    /// Builds the network from the tensors of a reader.
    ///
    /// # Errors
    /// [`ModelError::Config`] for an invalid configuration, [`ModelError::Tensors`] naming each tensor that does not fit
    /// it.
    pub fn load(config: &ModelConfig, mut reader: TensorReader) -> Result<Self> {
        config.validate()?;
        let c = config;
        let tensors = &mut reader;
        let width = c.backbone_dim();
        let (mut head, mut head_dist) = (None, None);
        let backbone = Backbone::load(tensors, c);
        if let GlobalConfig::Linear { dim, .. } = c.global {
            head = Some(Projection::load(tensors, "head", width, dim, c.precision));
            if let BackboneConfig::Vit(vit) = &c.backbone
                && vit.distilled
            {
                head_dist = Some(Projection::load(tensors, "head_dist", width, dim, c.precision));
            }
        }
        let aggregate = Aggregate::load(tensors, c);
        let gem_power = gem_power(c, tensors);
        let local_head = local_head(c, tensors);
        let reranker = c.reranker.as_ref().map(|r| Reranker::load(tensors, "reranker", r));
        reader.finish()?;
        let config = config.clone();
        Ok(Self { backbone, head, head_dist, aggregate, gem_power, local_head, reranker, config })
    }

    /// A freshly initialised network: random weights that depend on `seed` alone.
    ///
    /// # Errors
    /// [`ModelError::Config`] for an invalid configuration.
    pub fn random(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::load(config, TensorReader::random(seed, device))
    }

    /// The parts that a pretrained backbone lacks: local head, reranker, and the GeM power of a convolutional network.
    pub(crate) fn heads_without_pretraining(
        config: &ModelConfig,
        reader: &mut TensorReader,
    ) -> Result<Tensors> {
        let mut writer = TensorWriter::default();
        if let Some(head) = local_head(config, reader) {
            head.save(&mut writer, "local_head");
        }
        if let Some(r) = &config.reranker {
            Reranker::load(reader, "reranker", r).save(&mut writer, "reranker");
        }
        if let Some(power) = gem_power(config, reader) {
            writer.tensor("gem.p", power.val());
        }
        writer.finish()
    }

    /// A freshly initialised local head.
    pub(crate) fn random_local_head(config: &ModelConfig, reader: &mut TensorReader) -> Result<Tensors> {
        let mut writer = TensorWriter::default();
        if let Some(head) = local_head(config, reader) {
            head.save(&mut writer, "local_head");
        }
        writer.finish()
    }

    /// Builds the network from named tensors, as in a [`Checkpoint`](crate::Checkpoint).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_tensors(config: &ModelConfig, tensors: Tensors, device: &Device) -> Result<Self> {
        Self::load(config, TensorReader::from_tensors(tensors, device))
    }

    /// Checks that tensors fit a configuration, without copying their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(config: &ModelConfig, tensors: &Tensors) -> Result<()> {
        Self::load(config, TensorReader::checking(tensors)).map(|_| ())
    }

    /// Every parameter by name: the inverse of [`from_tensors`](Self::from_tensors).
    ///
    /// # Errors
    /// [`ModelError::Device`] if a tensor cannot be read from the device.
    pub fn to_tensors(&self) -> Result<Tensors> {
        let mut writer = TensorWriter::default();
        self.backbone.save(&mut writer);
        for (name, head) in
            [("head", &self.head), ("head_dist", &self.head_dist), ("local_head", &self.local_head)]
        {
            if let Some(head) = head {
                head.save(&mut writer, name);
            }
        }
        if let Some(aggregate) = &self.aggregate {
            aggregate.save(&mut writer);
        }
        if let Some(p) = &self.gem_power {
            writer.tensor("gem.p", p.val());
        }
        if let Some(reranker) = &self.reranker {
            reranker.save(&mut writer, "reranker");
        }
        writer.finish()
    }

    /// Architecture, preprocessing and provenance.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Extracts global descriptors and local features.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised as in [`ModelConfig::input`]
    ///
    /// # Errors
    /// [`ModelError::Input`] if height or width is not a multiple of [`ModelConfig::size_step`], or the image too small
    /// for the global head.
    pub fn extract(&self, images: Tensor<4>) -> Result<Features> {
        let [_, _, height, width] = images.dims();
        self.features(self.backbone.forward(images)?, [height, width])
    }

    /// The backbone, for example to pack its weights for a faster implementation.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// The part of [`extract`](Self::extract) after the backbone: heads and selection of local features, for images of
    /// `size` (height, width) in pixels.
    ///
    /// # Errors
    /// [`ModelError::Config`] if feature maps do not fit the size, [`ModelError::Input`] for an image that is too small for
    /// the global head, or if that takes another size only; [`ModelError::Config`] after [`take_linear`](Self::take_linear).
    pub fn features(&self, tokens: Tokens, size: [usize; 2]) -> Result<Features> {
        self.check_tokens(&tokens, size)?;
        if let (Some(Aggregate::Salad(salad)), GlobalConfig::Salad(c)) =
            (&self.aggregate, &self.config.global)
            && salad.is_released(c)
        {
            return Err(ModelError::Config("the aggregation of this model was released to kernels".into()));
        }
        let (global, weights) = self.global_and_weights(&tokens);
        self.with_local(global, weights, tokens, size)
    }

    /// [`features`](Self::features) where kernels aggregated the tokens: `descriptor` `[batch, dim]`, not normalised, and the
    /// weight of each patch in it, `[batch, patches]`, if the aggregation has weights.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn features_aggregated(
        &self,
        tokens: Tokens,
        descriptor: Tensor<2>,
        weights: Option<Tensor<2>>,
        size: [usize; 2],
    ) -> Result<Features> {
        self.check_tokens(&tokens, size)?;
        let weights = weights.filter(|_| self.selects_by_aggregation());
        self.with_local(unit(descriptor), weights, tokens, size)
    }

    /// The aggregation of tokens, if the model has one.
    pub fn aggregate(&self) -> Option<&Aggregate> {
        self.aggregate.as_ref()
    }

    fn check_tokens(&self, tokens: &Tokens, size: [usize; 2]) -> Result<()> {
        if let GlobalConfig::Salad(salad) = &self.config.global {
            salad.check_patches(tokens.grid[0] * tokens.grid[1])?;
        }
        if self.config.fixed_size().is_some() {
            self.config.check_size(size[0], size[1])?;
        }
        Ok(())
    }

    fn with_local(
        &self,
        global: Tensor<2>,
        weights: Option<Tensor<2>>,
        tokens: Tokens,
        size: [usize; 2],
    ) -> Result<Features> {
        let selected = self.select_by(weights, &tokens, size)?;
        Ok(Features { global, local: selected.and_then(|(places, rows)| self.project_local(places, rows)) })
    }

    /// Selects the patches that become local features, for images of `size` (height, width) in pixels: x, y and
    /// attention `[batch, count, 3]`, and what describes them before the local head `[batch, count, width]`. `None` for a
    /// global-only model.
    ///
    /// # Errors
    /// [`ModelError::Config`] if feature maps do not fit the size.
    pub fn select_local(&self, tokens: &Tokens, size: [usize; 2]) -> Result<Option<(Tensor<3>, Tensor<3>)>> {
        let weights = self.asked_weights(tokens);
        self.select_by(weights, tokens, size)
    }

    /// [`select_local`](Self::select_local) with the weights of patches in the aggregation, where those select.
    fn select_by(
        &self,
        weights: Option<Tensor<2>>,
        tokens: &Tokens,
        [height, width]: [usize; 2],
    ) -> Result<Option<(Tensor<3>, Tensor<3>)>> {
        let Some(local) = &self.config.local else { return Ok(None) };
        let stride = self.config.stride();
        let weights = self.patch_weights(weights, tokens, [height, width])?;
        let offset = if local.official_gather { 0 } else { tokens.local_prefix };
        let least = local.min_attention;
        let count = local.count;
        let (places, rows) =
            select(weights, tokens.local.clone(), count, offset, [height, width], stride, least);
        Ok(Some((places, self.described(rows)?)))
    }

    /// The weights of patches in the aggregation, where those select.
    fn asked_weights(&self, tokens: &Tokens) -> Option<Tensor<2>> {
        match self.config.local.as_ref().map(|local| local.select) {
            Some(Selection::Aggregation) => self.global_and_weights(tokens).1,
            _ => None,
        }
    }

    /// What patches are ranked by, `[batch, patches]`, given their weights in the aggregation where those select.
    fn patch_weights(
        &self,
        given: Option<Tensor<2>>,
        tokens: &Tokens,
        [height, width]: [usize; 2],
    ) -> Result<Tensor<2>> {
        let cells = [height, width].map(|side| side / self.config.stride());
        let local = self.config.local.as_ref();
        let select = local.map_or(Selection::Attention, |local| local.select);
        let weights = match (given, select, &tokens.attention) {
            (Some(weights), ..) => weights,
            (None, Selection::ClsKey, _) => self.vit()?.attention_to_cls_key(tokens)?,
            (None, Selection::Norm, _) => lengths(self.described_patches(tokens)?),
            (None, _, Some(attention)) => attention.clone(),
            (None, ..) => self.feature_attention(tokens, cells)?,
        };
        let (found, expected) = (weights.dims()[1], cells[0] * cells[1]);
        if found != expected {
            return Err(ModelError::Config(format!("{found} patches, but the image has {expected}")));
        }
        Ok(weights)
    }

    /// What the local head projects of every patch, `[batch, patches, width]`: the configured facet.
    ///
    /// # Errors
    /// [`ModelError::Config`] never for a model that was built.
    pub fn described_patches(&self, tokens: &Tokens) -> Result<Tensor<3>> {
        self.described(patches_of(tokens))
    }

    /// The configured facet of tokens that are the input of the next block.
    fn described(&self, tokens: Tensor<3>) -> Result<Tensor<3>> {
        match self.config.local.as_ref().and_then(|local| local.facet.part()) {
            Some(part) => Ok(self.vit()?.facet(tokens, part)),
            None => Ok(tokens),
        }
    }

    fn vit(&self) -> Result<&Vit> {
        match &self.backbone {
            Backbone::Vit(vit) => Ok(vit),
            // Configurations are checked when a model is built.
            _ => Err(ModelError::Config("queries, keys and values need a vision transformer".into())),
        }
    }

    /// [`Features::local`] from the selection of [`select_local`](Self::select_local). `None` for a global-only model.
    pub fn project_local(&self, places: Tensor<3>, tokens: Tensor<3>) -> Option<Tensor<3>> {
        let local = self.config.local.as_ref()?;
        let mut features = match &self.local_head {
            Some(head) => head.forward(tokens),
            None => tokens,
        };
        if local.min_attention.is_some() {
            let kept = places.clone().narrow(2, 2, 1).greater_scalar(0.0).float();
            features = features * kept;
        }
        Some(Tensor::cat(vec![places, features], 2))
    }

    /// The local feature of every patch, `[batch, patches, dim]`, row-major and not normalised: what
    /// [`features`](Self::features) selects from. `None` for a global-only model.
    pub fn local_features(&self, tokens: &Tokens) -> Option<Tensor<3>> {
        let local = self.config.local.as_ref()?;
        let patches = tokens.local.dims()[1] - tokens.local_prefix;
        let first = if local.official_gather { 0 } else { tokens.local_prefix };
        let described = self.described(tokens.local.clone().narrow(1, first, patches)).ok()?;
        Some(match &self.local_head {
            Some(head) => head.forward(described),
            None => described,
        })
    }

    /// The attention value of each patch, `[batch, rows * columns]`, row-major.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised as in [`ModelConfig::input`]
    ///
    /// # Errors
    /// As [`extract`](Self::extract).
    pub fn attention(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let [_, _, height, width] = images.dims();
        let tokens = self.backbone.forward(images)?;
        let weights = self.asked_weights(&tokens);
        self.patch_weights(weights, &tokens, [height, width])
    }

    /// Global descriptors of unit length, `[batch, dim]`, from the tokens of the backbone. SALAD needs more patches than
    /// clusters, as [`features`](Self::features) checks.
    pub fn global(&self, tokens: Tokens) -> Tensor<2> {
        self.global_and_weights(&tokens).0
    }

    /// [`global`](Self::global), and the weight of each patch in the aggregation `[batch, patches]`, detached, where local
    /// features are selected by it.
    fn global_and_weights(&self, tokens: &Tokens) -> (Tensor<2>, Option<Tensor<2>>) {
        let Some(aggregate) = &self.aggregate else { return (self.global_by_head(tokens), None) };
        if let (Aggregate::LocalVlad(vlad), Some(features)) = (aggregate, self.local_features(tokens)) {
            return (unit(vlad.forward(features)), None);
        }
        let (descriptor, weights) = aggregate.forward_with_weights(tokens);
        let asked = self.selects_by_aggregation();
        (unit(descriptor), weights.filter(|_| asked).map(Tensor::detach))
    }

    /// Whether the weights of patches in the aggregation select local features.
    fn selects_by_aggregation(&self) -> bool {
        self.config.local.as_ref().is_some_and(|local| local.select == Selection::Aggregation)
    }

    /// The descriptor of a model without an aggregation.
    fn global_by_head(&self, tokens: &Tokens) -> Tensor<2> {
        let pooled = self.pooled(tokens);
        let descriptor = match (&self.head, &self.head_dist) {
            (Some(head), Some(dist)) => {
                let [batch, _, width] = tokens.last.dims();
                let token = tokens.last.clone().narrow(1, 1, 1).reshape([batch, width]);
                (head.forward(pooled) + dist.forward(token)).div_scalar(2.0)
            }
            (Some(head), None) => head.forward(pooled),
            _ => pooled,
        };
        unit(descriptor)
    }

    /// What the global head projects, `[batch, width]`: the tokens of the backbone, pooled. An aggregation takes all tokens
    /// instead; this is then CLS.
    pub fn pooled(&self, tokens: &Tokens) -> Tensor<2> {
        let [batch, count, width] = tokens.last.dims();
        let patches = || tokens.last.clone().narrow(1, tokens.last_prefix, count - tokens.last_prefix);
        let pooling = match (&self.config.global, &self.head_dist) {
            (_, Some(_)) => Pooling::Cls,
            (GlobalConfig::Pooled { pooling } | GlobalConfig::Linear { pooling, .. }, _) => *pooling,
            // An aggregation takes all tokens; CLS, or the mean of a map, stands for them elsewhere.
            _ if self.config.backbone.is_convolutional() => Pooling::Mean,
            _ => Pooling::Cls,
        };
        match (pooling, &self.gem_power) {
            (_, Some(power)) if self.head.is_some() => gem(unit(patches()), Some(power.val())),
            (Pooling::Cls, _) => tokens.last.clone().narrow(1, 0, 1).reshape([batch, width]),
            (Pooling::Mean, _) => patches().mean_dim(1).reshape([batch, width]),
            (Pooling::Gem, _) => gem(patches(), None),
        }
    }

    /// The attention map of a ResNet: the sum of each cell's positive activations of the global head, upsampled
    /// bicubically from stride 32 to the local features' stride of 16 pixels.
    fn feature_attention(&self, tokens: &Tokens, [rows, columns]: [usize; 2]) -> Result<Tensor<2>> {
        let features = unit(tokens.last.clone()).clamp_min(1e-6);
        let activations = match &self.head {
            Some(head) => head.forward_weight(features),
            None => features,
        };
        let map = activations.clamp_min(1e-6).sum_dim(2).detach();
        let [batch, cells, _] = map.dims();
        if cells * 4 != rows * columns {
            return Err(ModelError::Config("the last feature map is not half the size of layer 3".into()));
        }
        let device = map.device();
        let down = bicubic_matrix(rows / 2, rows, &device).unsqueeze::<3>();
        let across = bicubic_matrix(columns / 2, columns, &device).transpose().unsqueeze::<3>();
        let map = map.reshape([batch, rows / 2, columns / 2]);
        let map = down.expand([batch, rows, rows / 2]).matmul(map);
        Ok(map.matmul(across.expand([batch, columns / 2, columns])).reshape([batch, rows * columns]))
    }
}

/// The learned power of a convolutional network's GeM pooling.
fn gem_power(c: &ModelConfig, reader: &mut TensorReader) -> Option<Param<Tensor<1>>> {
    let pooled = matches!(c.global, GlobalConfig::Linear { .. } | GlobalConfig::Pooled { .. });
    (c.backbone.is_convolutional() && pooled).then(|| reader.param("gem.p", [1], Init::Constant(3.0)))
}

/// The projection of local features, from a transformer's tokens or a ResNet's layer 3.
fn local_head(c: &ModelConfig, reader: &mut TensorReader) -> Option<Projection> {
    let (width, local) = (c.local_dim(), c.local.as_ref().filter(|local| local.projected)?);
    Some(Projection::load(reader, "local_head", width, local.dim, c.precision))
}

/// The patches that [`Tokens::local`] holds.
fn patches_of(tokens: &Tokens) -> Tensor<3> {
    let count = tokens.local.dims()[1] - tokens.local_prefix;
    tokens.local.clone().narrow(1, tokens.local_prefix, count)
}

/// The length of each row, `[batch, rows]`, detached.
fn lengths(rows: Tensor<3>) -> Tensor<2> {
    let [batch, count, _] = rows.dims();
    rows.detach().powi_scalar(2).sum_dim(2).sqrt().reshape([batch, count])
}
