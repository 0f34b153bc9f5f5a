//! Backbones: from normalised pixels to tokens.

mod resnet;
mod vit;

pub use resnet::ResNet50;
pub use vit::Vit;

use crate::weights::{TensorReader, TensorWriter};
use crate::{BackboneConfig, ModelConfig, Result};
use burn::module::Module;
use burn::tensor::Tensor;

/// Output of a backbone for a batch of images.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Input of the global head, `[batch, tokens, width]`: the normalised tokens of a vision transformer (prefix first),
    /// or the last feature map of a ResNet.
    pub last: Tensor<3>,
    /// Number of prefix tokens in `last`.
    pub last_prefix: usize,
    /// Rows and columns of the patches in `last`.
    pub grid: [usize; 2],
    /// Input of the local head, `[batch, tokens, width]`: tokens of a vision transformer after
    /// [`LocalConfig::layer`](crate::LocalConfig) blocks (prefix first), or layer 3 of a ResNet.
    pub local: Tensor<3>,
    /// Number of prefix tokens in `local`.
    pub local_prefix: usize,
    /// Attention value of each patch, `[batch, patches]`, detached. `None` for a ResNet, whose attention map needs the
    /// weights of the global head.
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
    /// Builds the backbone from the tensors under `backbone.`.
    pub fn load(reader: &mut TensorReader, config: &ModelConfig) -> Self {
        match &config.backbone {
            BackboneConfig::Vit(vit) => {
                let layer = config.local.as_ref().and_then(|local| local.layer);
                Self::Vit(Vit::load(reader, "backbone", vit, config.precision, layer))
            }
            BackboneConfig::ResNet50(resnet) => Self::ResNet50(ResNet50::load(reader, "backbone", resnet)),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter) {
        match self {
            Self::Vit(vit) => vit.save(writer, "backbone"),
            Self::ResNet50(resnet) => resnet.save(writer, "backbone"),
        }
    }

    /// Computes the tokens of a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    ///
    /// # Errors
    /// [`ModelError::Input`](crate::ModelError::Input) if a side is not a multiple of the patch, or of 32 for a ResNet.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        match self {
            Self::Vit(vit) => vit.forward(images),
            Self::ResNet50(resnet) => resnet.forward(images),
        }
    }
}
