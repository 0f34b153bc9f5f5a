//! ResNet-50 with torchvision's names and layout.

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

/// 1x1, 3x3, 1x1 with a shortcut; the stride sits on the 3x3 (torchvision's variant).
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
    /// Takes the tensors under `{name}.`.
    pub fn load(take: &mut TensorReader, name: &str, config: &ResNetConfig) -> Self {
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
                        let block = Bottleneck::load(take, &part, [d_in, width], stride, eps);
                        d_in = 4 * width;
                        block
                    })
                    .collect()
            })
            .collect();
        Self {
            conv1: take.conv(&format!("{name}.conv1"), [3, 64], 7, 2),
            bn1: take.batch_norm(&format!("{name}.bn1"), 64, eps),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layers,
        }
    }

    /// Puts what [`ResNet50::load`] takes.
    pub fn save(&self, put: &mut TensorWriter, name: &str) {
        put.conv(&format!("{name}.conv1"), &self.conv1);
        put.batch_norm(&format!("{name}.bn1"), &self.bn1);
        for (layer, blocks) in self.layers.iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                block.save(put, &format!("{name}.layer{}.{i}", layer + 1));
            }
        }
    }

    /// # Shapes
    /// - images: `[batch, 3, height, width]`; sides are multiples of 32
    ///
    /// # Errors
    /// [`ModelError::Input`] when a side is not a multiple of 32.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        let [_, channels, height, width] = images.dims();
        if channels != 3 || height == 0 || width == 0 || height % 32 != 0 || width % 32 != 0 {
            return Err(ModelError::Input(format!(
                "images of {channels} channels, {height}x{width}: needs 3 channels and sides that are multiples of 32"
            )));
        }
        let mut x = self.pool.forward(relu(self.bn1.forward(self.conv1.forward(images))));
        let mut third = x.clone();
        for (layer, blocks) in self.layers.iter().enumerate() {
            for block in blocks {
                x = block.forward(x);
            }
            if layer == 2 {
                third = x.clone();
            }
        }
        Ok(Tokens {
            last: as_tokens(x),
            last_prefix: 0,
            local: as_tokens(third),
            local_prefix: 0,
            attention: None,
        })
    }
}

impl Bottleneck {
    fn load(take: &mut TensorReader, name: &str, [d_in, width]: [usize; 2], stride: usize, eps: f64) -> Self {
        let d_out = 4 * width;
        Self {
            conv1: take.conv(&format!("{name}.conv1"), [d_in, width], 1, 1),
            bn1: take.batch_norm(&format!("{name}.bn1"), width, eps),
            conv2: take.conv(&format!("{name}.conv2"), [width, width], 3, stride),
            bn2: take.batch_norm(&format!("{name}.bn2"), width, eps),
            conv3: take.conv(&format!("{name}.conv3"), [width, d_out], 1, 1),
            bn3: take.batch_norm(&format!("{name}.bn3"), d_out, eps),
            shortcut: (stride != 1 || d_in != d_out).then(|| Shortcut {
                conv: take.conv(&format!("{name}.downsample.0"), [d_in, d_out], 1, stride),
                bn: take.batch_norm(&format!("{name}.downsample.1"), d_out, eps),
            }),
        }
    }

    fn save(&self, put: &mut TensorWriter, name: &str) {
        let parts = [(&self.conv1, &self.bn1), (&self.conv2, &self.bn2), (&self.conv3, &self.bn3)];
        for (i, (conv, bn)) in parts.into_iter().enumerate() {
            put.conv(&format!("{name}.conv{}", i + 1), conv);
            put.batch_norm(&format!("{name}.bn{}", i + 1), bn);
        }
        if let Some(shortcut) = &self.shortcut {
            put.conv(&format!("{name}.downsample.0"), &shortcut.conv);
            put.batch_norm(&format!("{name}.downsample.1"), &shortcut.bn);
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
