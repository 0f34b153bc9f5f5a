//! VGG16 up to `conv5_3` without its ReLU: `features[:-2]` of torchvision, as CosPlace and NetVLAD use it.

use super::{Tokens, as_tokens};
use crate::config::{VGG16, vgg_pools_before};
use crate::weights::{TensorReader, TensorWriter};
use crate::{ModelError, Result};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Pixels that either side needs at least: four poolings halve it.
const SMALLEST: usize = 16;

/// VGG16's thirteen convolutions.
#[derive(Module, Debug)]
pub struct Vgg16 {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
}

impl Vgg16 {
    /// Builds the network from `{name}.{index}.weight` and `.bias`, where `index` is torchvision's in `features`.
    pub fn load(reader: &mut TensorReader, name: &str) -> Self {
        let conv =
            |(index, d_in, d_out)| reader.conv_with_bias(&format!("{name}.{index}"), [d_in, d_out], 3, 1);
        Self {
            convs: VGG16.into_iter().map(conv).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        for (conv, (index, ..)) in self.convs.iter().zip(VGG16) {
            writer.conv(&format!("{name}.{index}"), conv);
        }
    }

    /// The convolutions in turn.
    pub fn convs(&self) -> &[Conv2d] {
        &self.convs
    }

    /// Whether a pooling comes before the convolution of this number, from 0.
    pub fn pools_before(conv: usize) -> bool {
        VGG16.get(conv).is_some_and(|(index, ..)| vgg_pools_before(*index))
    }

    /// Computes the feature map of `conv5_3`, of stride 16 (an odd last row or column is dropped by each pooling).
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    /// - output: `[batch, (height / 16) * (width / 16), 512]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for images below 16 x 16 pixels.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        let [_, channels, height, width] = images.dims();
        if channels != 3 || height < SMALLEST || width < SMALLEST {
            return Err(ModelError::Input(format!(
                "images of {channels} channels, {height}x{width}: needs 3 channels and at least {SMALLEST}x{SMALLEST} pixels"
            )));
        }
        let mut x = images;
        for (i, (conv, (index, ..))) in self.convs.iter().zip(VGG16).enumerate() {
            if i > 0 {
                x = relu(x);
            }
            if vgg_pools_before(index) {
                x = self.pool.forward(x);
            }
            x = conv.forward(x);
        }
        let [_, _, rows, columns] = x.dims();
        let last = as_tokens(x);
        Ok(Tokens {
            grid: [rows, columns],
            local: last.clone(),
            last,
            last_prefix: 0,
            local_prefix: 0,
            attention: None,
        })
    }
}
