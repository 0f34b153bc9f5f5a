//! Backbones: from normalised pixels to tokens.

mod resnet;
mod vit;

pub use resnet::ResNet50;
pub use vit::Vit;

use crate::weights::{TensorReader, TensorWriter};
use crate::{BackboneConfig, ModelConfig, Result};
use burn::module::Module;
use burn::tensor::Tensor;

/// What a backbone gives for a batch of images.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// What the global head reads, `[batch, tokens, width]`: the normalised tokens of a ViT
    /// (prefix first), the last feature map of a ResNet.
    pub last: Tensor<3>,
    /// How many of `last`'s tokens come before the patches.
    pub last_prefix: usize,
    /// What local features are made of, `[batch, tokens, width]`: the input of a ViT's last
    /// block or of the one after [`LocalConfig::layer`](crate::LocalConfig) (prefix first), layer 3 of a ResNet.
    pub local: Tensor<3>,
    /// How many of `local`'s tokens come before the patches.
    pub local_prefix: usize,
    /// Attention value of each patch, `[batch, patches]`, without gradient. Empty for a ResNet,
    /// whose map needs the global head's weights.
    pub attention: Option<Tensor<2>>,
}

/// One of the supported backbones.
#[derive(Module, Debug)]
pub enum Backbone {
    /// Vision transformer.
    Vit(Vit),
    /// ResNet-50.
    ResNet50(ResNet50),
}

impl Backbone {
    /// Takes the backbone's tensors under `backbone.`.
    pub fn load(take: &mut TensorReader, config: &ModelConfig) -> Self {
        match &config.backbone {
            BackboneConfig::Vit(vit) => {
                let layer = config.local.as_ref().and_then(|local| local.layer);
                Self::Vit(Vit::load(take, "backbone", vit, config.precision, layer))
            }
            BackboneConfig::ResNet50(resnet) => Self::ResNet50(ResNet50::load(take, "backbone", resnet)),
        }
    }

    /// Puts what [`Backbone::load`] takes.
    pub fn save(&self, put: &mut TensorWriter) {
        match self {
            Self::Vit(vit) => vit.save(put, "backbone"),
            Self::ResNet50(resnet) => resnet.save(put, "backbone"),
        }
    }

    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        match self {
            Self::Vit(vit) => vit.forward(images),
            Self::ResNet50(resnet) => resnet.forward(images),
        }
    }
}
