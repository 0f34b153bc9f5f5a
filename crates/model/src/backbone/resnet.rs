//! ResNet-50, with the names and layouts of torchvision.

use super::Tokens;
use crate::weights::{TensorReader, TensorWriter};
use crate::{ModelError, ResNetConfig, Result};
use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Blocks in each of the four layers.
const LAYERS: [usize; 4] = [3, 4, 6, 3];

/// ResNet-50 without its classifier.
#[derive(Module, Debug)]
pub struct ResNet50 {
    conv1: Conv2d,
    bn1: BatchNorm,
    pool: MaxPool2d,
    layers: Vec<Vec<Bottleneck>>,
}

/// 1x1, 3x3 and 1x1 convolutions with a shortcut; the 3x3 has the stride, as in torchvision.
#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Conv2d,
    bn3: BatchNorm,
    shortcut: Option<Shortcut>,
}

#[derive(Module, Debug)]
struct Shortcut {
    conv: Conv2d,
    bn: BatchNorm,
}

impl ResNet50 {
    /// Builds the network from the tensors under `{name}.`.
    pub fn load(reader: &mut TensorReader, name: &str, config: &ResNetConfig) -> Self {
        let eps = config.norm_eps;
        let mut d_in = 64;
        let layers = LAYERS
            .iter()
            .enumerate()
            .map(|(layer, count)| {
                let width = 64 << layer;
                (0..*count)
                    .map(|i| {
                        let stride = if i == 0 && layer > 0 { 2 } else { 1 };
                        let part = format!("{name}.layer{}.{i}", layer + 1);
                        let block = Bottleneck::load(reader, &part, [d_in, width], stride, eps);
                        d_in = 4 * width;
                        block
                    })
                    .collect()
            })
            .collect();
        Self {
            conv1: reader.conv(&format!("{name}.conv1"), [3, 64], 7, 2),
            bn1: reader.batch_norm(&format!("{name}.bn1"), 64, eps),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layers,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.conv(&format!("{name}.conv1"), &self.conv1);
        writer.batch_norm(&format!("{name}.bn1"), &self.bn1);
        for (layer, blocks) in self.layers.iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                block.save(writer, &format!("{name}.layer{}.{i}", layer + 1));
            }
        }
    }

    /// Computes the feature maps of layer 3 and 4 for a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    ///
    /// # Errors
    /// [`ModelError::Input`] if a side is not a multiple of 32.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        let [_, channels, height, width] = images.dims();
        if channels != 3 || height == 0 || width == 0 || height % 32 != 0 || width % 32 != 0 {
            return Err(ModelError::Input(format!(
                "images of {channels} channels, {height}x{width}: needs 3 channels and sides that are multiples of 32"
            )));
        }
        let mut x = self.pool.forward(relu(self.bn1.forward(self.conv1.forward(images))));
        let mut layer3 = x.clone();
        for (layer, blocks) in self.layers.iter().enumerate() {
            for block in blocks {
                x = block.forward(x);
            }
            if layer == 2 {
                layer3 = x.clone();
            }
        }
        let [_, _, rows, columns] = x.dims();
        Ok(Tokens {
            last: as_tokens(x),
            last_prefix: 0,
            grid: [rows, columns],
            local: as_tokens(layer3),
            local_prefix: 0,
            attention: None,
        })
    }
}

impl Bottleneck {
    fn load(
        reader: &mut TensorReader,
        name: &str,
        [d_in, width]: [usize; 2],
        stride: usize,
        eps: f64,
    ) -> Self {
        let d_out = 4 * width;
        Self {
            conv1: reader.conv(&format!("{name}.conv1"), [d_in, width], 1, 1),
            bn1: reader.batch_norm(&format!("{name}.bn1"), width, eps),
            conv2: reader.conv(&format!("{name}.conv2"), [width, width], 3, stride),
            bn2: reader.batch_norm(&format!("{name}.bn2"), width, eps),
            conv3: reader.conv(&format!("{name}.conv3"), [width, d_out], 1, 1),
            bn3: reader.batch_norm(&format!("{name}.bn3"), d_out, eps),
            shortcut: (stride != 1 || d_in != d_out).then(|| Shortcut {
                conv: reader.conv(&format!("{name}.downsample.0"), [d_in, d_out], 1, stride),
                bn: reader.batch_norm(&format!("{name}.downsample.1"), d_out, eps),
            }),
        }
    }

    fn save(&self, writer: &mut TensorWriter, name: &str) {
        let parts = [(&self.conv1, &self.bn1), (&self.conv2, &self.bn2), (&self.conv3, &self.bn3)];
        for (i, (conv, bn)) in parts.into_iter().enumerate() {
            writer.conv(&format!("{name}.conv{}", i + 1), conv);
            writer.batch_norm(&format!("{name}.bn{}", i + 1), bn);
        }
        if let Some(shortcut) = &self.shortcut {
            writer.conv(&format!("{name}.downsample.0"), &shortcut.conv);
            writer.batch_norm(&format!("{name}.downsample.1"), &shortcut.bn);
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = relu(self.bn2.forward(self.conv2.forward(y)));
        let y = self.bn3.forward(self.conv3.forward(y));
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.bn.forward(shortcut.conv.forward(x)),
            None => x,
        };
        relu(y + shortcut)
    }
}

/// `[batch, channels, height, width]` as `[batch, height * width, channels]`.
fn as_tokens(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}
