//! ResNets of every depth, with the names and layouts of torchvision.

use super::{Tokens, as_tokens};
use crate::weights::{TensorReader, TensorWriter};
use crate::{ModelError, ResNetConfig, Result};
use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// A ResNet without its classifier, cut after `layer3` or `layer4`.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: MaxPool2d,
    layers: Vec<Vec<Block>>,
    /// Pixels of which both sides must be multiples.
    step: usize,
}

/// A convolution and its batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution, which has no bias.
    pub conv: Conv2d,
    /// Its batch norm.
    pub norm: BatchNorm,
}

/// Convolutions with a shortcut around them: 3x3 and 3x3 in a basic block, 1x1, 3x3 and 1x1 in a bottleneck. The first
/// 3x3 has the stride, as in torchvision.
#[derive(Module, Debug)]
pub struct Block {
    /// The convolutions in turn.
    pub convs: Vec<ConvNorm>,
    /// The projection of the shortcut, where width or size changes.
    pub shortcut: Option<ConvNorm>,
}

impl ResNet {
    /// Builds the network from the tensors under `{name}.`. Images must have sides that are multiples of `step`.
    pub fn load(reader: &mut TensorReader, name: &str, config: &ResNetConfig, step: usize) -> Self {
        let eps = config.norm_eps;
        let mut d_in = 64;
        let mut layers = Vec::new();
        for (layer, count) in config.blocks().unwrap_or_default().iter().enumerate() {
            let widths = [64 << layer, config.width(layer + 1)];
            let mut blocks = Vec::new();
            for i in 0..*count {
                let stride = if i == 0 && layer > 0 { 2 } else { 1 };
                let part = format!("{name}.layer{}.{i}", layer + 1);
                blocks.push(Block::load(reader, &part, config, [d_in, widths[0], widths[1]], stride));
                d_in = widths[1];
            }
            layers.push(blocks);
        }
        Self {
            stem: ConvNorm::load(
                reader,
                [&format!("{name}.conv1"), &format!("{name}.bn1")],
                [3, 64],
                [7, 2],
                eps,
            ),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layers,
            step,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        self.stem.save(writer, [&format!("{name}.conv1"), &format!("{name}.bn1")]);
        for (layer, blocks) in self.layers.iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                block.save(writer, &format!("{name}.layer{}.{i}", layer + 1));
            }
        }
    }

    /// The first convolution, before the pooling.
    pub fn stem(&self) -> &ConvNorm {
        &self.stem
    }

    /// The blocks of each stage.
    pub fn layers(&self) -> &[Vec<Block>] {
        &self.layers
    }

    /// Computes the feature maps of `layer3` and the last stage for a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    ///
    /// # Errors
    /// [`ModelError::Input`] if a side is not a multiple of the step.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        let ([_, channels, height, width], step) = (images.dims(), self.step.max(1));
        if channels != 3 || height == 0 || width == 0 || height % step != 0 || width % step != 0 {
            return Err(ModelError::Input(format!(
                "images of {channels} channels, {height}x{width}: needs 3 channels and sides that are multiples of {step}"
            )));
        }
        let mut x = self.pool.forward(relu(self.stem.forward(images)));
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

impl ConvNorm {
    /// `side` and `stride` of the convolution from `[side, stride]`.
    fn load(
        reader: &mut TensorReader,
        [conv, norm]: [&str; 2],
        [d_in, d_out]: [usize; 2],
        [side, stride]: [usize; 2],
        eps: f64,
    ) -> Self {
        Self {
            conv: reader.conv(conv, [d_in, d_out], side, stride),
            norm: reader.batch_norm(norm, d_out, eps),
        }
    }

    fn save(&self, writer: &mut TensorWriter, [conv, norm]: [&str; 2]) {
        writer.conv(conv, &self.conv);
        writer.batch_norm(norm, &self.norm);
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

impl Block {
    fn load(
        reader: &mut TensorReader,
        name: &str,
        config: &ResNetConfig,
        [d_in, inner, d_out]: [usize; 3],
        stride: usize,
    ) -> Self {
        let (kernels, eps) = (config.kernels(), config.norm_eps);
        let strided = kernels.iter().position(|side| *side == 3);
        let (mut convs, mut width) = (Vec::new(), d_in);
        for (i, side) in kernels.iter().enumerate() {
            let next = if i + 1 == kernels.len() { d_out } else { inner };
            let names = [format!("{name}.conv{}", i + 1), format!("{name}.bn{}", i + 1)];
            let stride = if Some(i) == strided { stride } else { 1 };
            convs.push(ConvNorm::load(
                reader,
                names.each_ref().map(String::as_str),
                [width, next],
                [*side, stride],
                eps,
            ));
            width = next;
        }
        let shortcut = (stride != 1 || d_in != d_out).then(|| {
            let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
            ConvNorm::load(reader, names.each_ref().map(String::as_str), [d_in, d_out], [1, stride], eps)
        });
        Self { convs, shortcut }
    }

    fn save(&self, writer: &mut TensorWriter, name: &str) {
        for (i, conv) in self.convs.iter().enumerate() {
            conv.save(writer, [&format!("{name}.conv{}", i + 1), &format!("{name}.bn{}", i + 1)]);
        }
        if let Some(shortcut) = &self.shortcut {
            shortcut.save(writer, [&format!("{name}.downsample.0"), &format!("{name}.downsample.1")]);
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for (i, conv) in self.convs.iter().enumerate() {
            y = conv.forward(if i == 0 { y } else { relu(y) });
        }
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(y + shortcut)
    }
}
