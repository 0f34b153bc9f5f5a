//! The whole network: an image's descriptors, and the reranker beside them.

use crate::backbone::{Backbone, Tokens};
use crate::layers::{Projection, bicubic_matrix};
use crate::local::select;
use crate::weights::{Init, TensorReader, TensorWriter, Tensors};
use crate::{BackboneConfig, GlobalConfig, ModelConfig, ModelError, Pooling, Reranker, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Descriptors of a batch of images, on the model's device.
#[derive(Debug, Clone)]
pub struct Features {
    /// Global descriptors `[batch, global_dim]`, of unit length.
    pub global: Tensor<2>,
    /// Local features `[batch, K, 3 + dim]`: x, y (0..1, over the longer side), attention (0..1,
    /// over the image's largest), feature (not normalised). `None` for a global-only model.
    pub local: Option<Tensor<3>>,
}

/// R2Former: backbone, global head, local head, reranker.
#[derive(Module, Debug)]
pub struct R2Former {
    backbone: Backbone,
    head: Option<Projection>,
    head_dist: Option<Projection>,
    gem_power: Option<Param<Tensor<1>>>,
    local_head: Option<Projection>,
    /// The reranker, where the model has one.
    pub reranker: Option<Reranker>,
    #[module(skip)]
    config: ModelConfig,
}

impl R2Former {
    /// Builds the network and fills it from `take`.
    ///
    /// # Errors
    /// An invalid configuration, or tensors that do not fit it.
    pub fn load(config: &ModelConfig, mut take: TensorReader) -> Result<Self> {
        config.validate()?;
        let c = config;
        let take_all = &mut take;
        let width = c.backbone_dim();
        let (mut head, mut head_dist) = (None, None);
        let backbone = Backbone::load(take_all, c);
        if let GlobalConfig::Linear { dim, .. } = c.global {
            head = Some(Projection::load(take_all, "head", width, dim, c.precision));
            if let BackboneConfig::Vit(vit) = &c.backbone
                && vit.distilled
            {
                head_dist = Some(Projection::load(take_all, "head_dist", width, dim, c.precision));
            }
        }
        let gem_power = gem_power(c, take_all);
        let local_head = local_head(c, take_all);
        let reranker = c.reranker.as_ref().map(|r| Reranker::load(take_all, "reranker", r));
        take.finish()?;
        Ok(Self { backbone, head, head_dist, gem_power, local_head, reranker, config: config.clone() })
    }

    /// A model without a checkpoint: random weights that depend on `seed` alone.
    ///
    /// # Errors
    /// An invalid configuration.
    pub fn random(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::load(config, TensorReader::random(seed, device))
    }

    /// The parts that no pretrained backbone brings along, by name: local head, reranker, and the
    /// power of a ResNet's pooling.
    pub(crate) fn heads_without_pretraining(
        config: &ModelConfig,
        take: &mut TensorReader,
    ) -> Result<Tensors> {
        let mut put = TensorWriter::default();
        if let Some(head) = local_head(config, take) {
            head.save(&mut put, "local_head");
        }
        if let Some(r) = &config.reranker {
            Reranker::load(take, "reranker", r).save(&mut put, "reranker");
        }
        if let Some(power) = gem_power(config, take) {
            put.tensor("gem.p", power.val());
        }
        put.finish()
    }

    /// Builds the network from tensors with this project's names.
    ///
    /// # Errors
    /// An invalid configuration, or tensors that do not fit it; each is named.
    pub fn from_tensors(config: &ModelConfig, tensors: Tensors, device: &Device) -> Result<Self> {
        Self::load(config, TensorReader::from_tensors(tensors, device))
    }

    /// Every parameter by name.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn to_tensors(&self) -> Result<Tensors> {
        let mut put = TensorWriter::default();
        self.backbone.save(&mut put);
        for (name, head) in
            [("head", &self.head), ("head_dist", &self.head_dist), ("local_head", &self.local_head)]
        {
            if let Some(head) = head {
                head.save(&mut put, name);
            }
        }
        if let Some(p) = &self.gem_power {
            put.tensor("gem.p", p.val());
        }
        if let Some(reranker) = &self.reranker {
            reranker.save(&mut put, "reranker");
        }
        put.finish()
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Global descriptors and local features.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised as [`ModelConfig::input`] says
    ///
    /// # Errors
    /// [`ModelError::Input`] when the size does not suit the backbone.
    pub fn extract(&self, images: Tensor<4>) -> Result<Features> {
        let [_, _, height, width] = images.dims();
        self.features(self.backbone.forward(images)?, [height, width])
    }

    /// The backbone, for a faster way to its tokens.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// What follows the backbone: heads, and the choice of local features, of images of `size` (height, width).
    ///
    /// # Errors
    /// [`ModelError::Config`] when feature maps do not suit the size.
    pub fn features(&self, tokens: Tokens, size: [usize; 2]) -> Result<Features> {
        let local =
            self.select_local(&tokens, size)?.and_then(|(places, kept)| self.project_local(places, kept));
        Ok(Features { global: self.global(tokens), local })
    }

    /// The patches that become local features, of images of `size` (height, width): places and attention
    /// `[batch, count, 3]`, and tokens before the local head `[batch, count, width]`. None without local features.
    ///
    /// # Errors
    /// [`ModelError::Config`] when feature maps do not suit the size.
    pub fn select_local(
        &self,
        tokens: &Tokens,
        [height, width]: [usize; 2],
    ) -> Result<Option<(Tensor<3>, Tensor<3>)>> {
        let Some(local) = &self.config.local else { return Ok(None) };
        let stride = self.config.stride();
        let attention = match &tokens.attention {
            Some(attention) => attention.clone(),
            None => self.feature_attention(tokens, [height / stride, width / stride])?,
        };
        let offset = if local.official_gather { 0 } else { tokens.local_prefix };
        Ok(Some(select(attention, tokens.local.clone(), local.count, offset, [height, width], stride)))
    }

    /// Local features as in [`Features::local`] of what [`select_local`](Self::select_local) gives; none without a local
    /// head.
    pub fn project_local(&self, places: Tensor<3>, kept: Tensor<3>) -> Option<Tensor<3>> {
        let head = self.local_head.as_ref()?;
        Some(Tensor::cat(vec![places, head.forward(kept)], 2))
    }

    /// The attention value of each patch, `[batch, rows * columns]` in row order.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    ///
    /// # Errors
    /// [`ModelError::Input`] when the size does not suit the backbone.
    pub fn attention(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let [_, _, height, width] = images.dims();
        let tokens = self.backbone.forward(images)?;
        let stride = self.config.stride();
        match tokens.attention {
            Some(attention) => Ok(attention),
            None => self.feature_attention(&tokens, [height / stride, width / stride]),
        }
    }

    /// The global descriptor of images, `[batch, dim]`.
    pub fn global(&self, tokens: Tokens) -> Tensor<2> {
        let [batch, count, width] = tokens.last.dims();
        let token = |i: usize| tokens.last.clone().narrow(1, i, 1).reshape([batch, width]);
        let patches = || tokens.last.clone().narrow(1, tokens.last_prefix, count - tokens.last_prefix);
        let pooled = |pooling: Pooling| match pooling {
            Pooling::Cls => token(0),
            Pooling::Mean => patches().mean_dim(1).reshape([batch, width]),
            Pooling::Gem => gem(patches(), None),
        };
        let descriptor = match (&self.config.global, &self.head, &self.head_dist, &self.gem_power) {
            (_, Some(head), Some(dist), _) => {
                (head.forward(token(0)) + dist.forward(token(1))).div_scalar(2.0)
            }
            (_, Some(head), None, Some(power)) => head.forward(gem(unit(patches()), Some(power.val()))),
            (GlobalConfig::Linear { pooling, .. }, Some(head), None, None) => head.forward(pooled(*pooling)),
            // `load` builds a head whenever the configuration asks for one.
            (GlobalConfig::Pooled { pooling } | GlobalConfig::Linear { pooling, .. }, ..) => pooled(*pooling),
        };
        unit(descriptor)
    }

    /// A ResNet has no attention: the map is how strongly each place drives the global head
    /// (METHOD: ResNet-50 variant), upsampled from stride 32 to the local features' stride 16.
    fn feature_attention(&self, tokens: &Tokens, [rows, columns]: [usize; 2]) -> Result<Tensor<2>> {
        let features = unit(tokens.last.clone()).clamp_min(1e-6);
        let driven = match &self.head {
            Some(head) => head.forward_weight(features),
            None => features,
        };
        let map = driven.clamp_min(1e-6).sum_dim(2).detach();
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

/// The learned power of a ResNet's pooling.
fn gem_power(c: &ModelConfig, take: &mut TensorReader) -> Option<Param<Tensor<1>>> {
    let resnet = matches!(c.backbone, BackboneConfig::ResNet50(_));
    resnet.then(|| take.param("gem.p", [1], Init::Constant(3.0)))
}

/// The projection of local features: of a transformer's tokens, or of a ResNet's layer 3.
fn local_head(c: &ModelConfig, take: &mut TensorReader) -> Option<Projection> {
    let width = match &c.backbone {
        BackboneConfig::Vit(vit) => vit.dim,
        BackboneConfig::ResNet50(_) => 1024,
    };
    c.local.as_ref().map(|local| Projection::load(take, "local_head", width, local.dim, c.precision))
}

/// Generalised mean over tokens; power 3 unless learned.
fn gem(tokens: Tensor<3>, power: Option<Tensor<1>>) -> Tensor<2> {
    let [batch, _, width] = tokens.dims();
    let Some(power) = power else {
        let cubes = tokens.clamp_min(1e-6).powi_scalar(3).mean_dim(1).reshape([batch, width]);
        return cubes.powf_scalar(1.0 / 3.0);
    };
    let raised = tokens.clamp_min(1e-6).powf(power.clone().unsqueeze());
    raised.mean_dim(1).reshape([batch, width]).powf(power.recip().unsqueeze())
}

/// Scales the last dimension to unit length (lengths below 1e-12 count as 1e-12, as in PyTorch).
pub(crate) fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().powi_scalar(2).sum_dim(D - 1).sqrt().clamp_min(1e-12);
    x / length
}
