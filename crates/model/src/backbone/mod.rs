//! Backbones: from normalised pixels to tokens.

mod resnet;
mod vgg;
mod vit;

pub use resnet::{Block, ConvNorm, ResNet};
pub use vgg::Vgg16;
pub use vit::Vit;

use crate::weights::{TensorReader, TensorWriter};
use crate::{BackboneConfig, ModelConfig, Result};
use burn::module::Module;
use burn::tensor::Tensor;

/// Output of a backbone for a batch of images.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Input of the global head, `[batch, tokens, width]`: the normalised tokens of a vision transformer (prefix first),
    /// or the last feature map of a convolutional network.
    pub last: Tensor<3>,
    /// Number of prefix tokens in `last`.
    pub last_prefix: usize,
    /// Rows and columns of the patches in `last`.
    pub grid: [usize; 2],
    /// Input of the local head, `[batch, tokens, width]`: tokens of a vision transformer after
    /// [`LocalConfig::layer`](crate::LocalConfig) blocks (prefix first), or `layer3` of a ResNet.
    pub local: Tensor<3>,
    /// Number of prefix tokens in `local`.
    pub local_prefix: usize,
    /// Attention value of each patch, `[batch, patches]`, detached. `None` for a ResNet, whose attention map needs the
    /// weights of the global head.
    pub attention: Option<Tensor<2>>,
}

/// One of the supported backbones.
#[allow(clippy::large_enum_variant, reason = "a model has one")]
#[derive(Module, Debug)]
pub enum Backbone {
    /// Vision transformer.
    Vit(Vit),
    /// ResNet.
    ResNet(ResNet),
    /// VGG16.
    Vgg16(Vgg16),
}

impl Backbone {
    /// Builds the backbone from the tensors under `backbone.`.
    pub fn load(reader: &mut TensorReader, config: &ModelConfig) -> Self {
        match &config.backbone {
            BackboneConfig::Vit(vit) => {
                let layer = config.local.as_ref().and_then(|local| local.layer);
                Self::Vit(Vit::load(reader, "backbone", vit, config.precision, layer))
            }
            BackboneConfig::ResNet(resnet) => {
                Self::ResNet(ResNet::load(reader, "backbone", resnet, config.size_step()))
            }
            BackboneConfig::Vgg16 => Self::Vgg16(Vgg16::load(reader, "backbone")),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter) {
        match self {
            Self::Vit(vit) => vit.save(writer, "backbone"),
            Self::ResNet(resnet) => resnet.save(writer, "backbone"),
            Self::Vgg16(vgg) => vgg.save(writer, "backbone"),
        }
    }

    /// Computes the tokens of a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    ///
    /// # Errors
    /// [`ModelError::Input`](crate::ModelError::Input) if a side is not a multiple of
    /// [`ModelConfig::size_step`].
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        match self {
            Self::Vit(vit) => vit.forward(images),
            Self::ResNet(resnet) => resnet.forward(images),
            Self::Vgg16(vgg) => vgg.forward(images),
        }
    }
}

/// `[batch, channels, height, width]` as `[batch, height * width, channels]`.
fn as_tokens(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}
