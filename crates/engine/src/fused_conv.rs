//! Convolutional backbones on CPU kernels: batch norms folded into the weights, layers in order of their computation.

use crate::host::host;
use burn::nn::conv::Conv2d;
use r2former_kernels::{ConvNet, Convolution, KernelError, Level, MatmulPrecision, Slot};
use r2former_model::backbone::{Backbone, Block, ConvNorm, ResNet, Vgg16};

/// Slots of a residual network: the running map and a projected shortcut, which becomes the running map.
const FIRST: Slot = Slot(1);
const SECOND: Slot = Slot(2);
/// What a block computes first: blocks take turns, so that the first convolution of one can run within the tasks of the
/// last one of another, which read the other slot.
const OUTER: [Slot; 2] = [Slot(3), Slot(4)];
const INNER: [Slot; 2] = [Slot(5), Slot(6)];

/// A backbone's layers, packed. The network returns the map of local features, then the last one; they may be one.
///
/// # Errors
/// [`KernelError::Unsupported`] for a transformer.
pub(crate) fn conv_net(
    backbone: &Backbone,
    level: Level,
    products: MatmulPrecision,
) -> Result<ConvNet, KernelError> {
    let net = ConvNet::new(level, products);
    match backbone {
        Backbone::ResNet(layers) => resnet(layers, net),
        Backbone::Vgg16(layers) => vgg16(layers, net),
        _ => Err(KernelError::Unsupported("a backbone that is no convolutional network".into())),
    }
}

fn resnet(resnet: &ResNet, mut net: ConvNet) -> Result<ConvNet, KernelError> {
    Folded::of(resnet.stem())?.append(&mut net, true, Slot::IMAGE, SECOND, false)?;
    net.max_pool([3, 2, 1], SECOND, FIRST)?;
    let (mut x, mut other, mut outer) = (FIRST, SECOND, OUTER);
    for (stage, blocks) in resnet.layers().iter().enumerate() {
        for block in blocks {
            if residual(&mut net, block, x, other, outer[0])? {
                std::mem::swap(&mut x, &mut other);
            }
            outer.swap(0, 1);
        }
        if stage == 2 && resnet.layers().len() > 3 {
            net.keep(x)?;
        }
    }
    net.keep(x)?;
    Ok(net)
}

/// Appends a block, whose result is in `x`, or in `other` if its shortcut has a projection: then it returns true.
fn residual(
    net: &mut ConvNet,
    block: &Block,
    x: Slot,
    other: Slot,
    outer: Slot,
) -> Result<bool, KernelError> {
    let [first, middle @ .., last] = block.convs.as_slice() else {
        return Err(KernelError::Unsupported("a block of fewer than two convolutions".into()));
    };
    // Right after the block before, whose result it reads.
    Folded::of(first)?.append(net, true, x, outer, false)?;
    if let Some(shortcut) = &block.shortcut {
        Folded::of(shortcut)?.append(net, false, x, other, false)?;
    }
    let mut from = outer;
    for (i, conv) in middle.iter().enumerate() {
        Folded::of(conv)?.append(net, true, from, INNER[i % 2], false)?;
        from = INNER[i % 2];
    }
    let projected = block.shortcut.is_some();
    Folded::of(last)?.append(net, true, from, if projected { other } else { x }, true)?;
    Ok(projected)
}

fn vgg16(vgg: &Vgg16, mut net: ConvNet) -> Result<ConvNet, KernelError> {
    let (mut x, mut other) = (FIRST, SECOND);
    let last = vgg.convs().len().saturating_sub(1);
    for (index, conv) in vgg.convs().iter().enumerate() {
        if Vgg16::pools_before(index) {
            net.max_pool([2, 2, 0], x, other)?;
            std::mem::swap(&mut x, &mut other);
        }
        let from = if index == 0 { Slot::IMAGE } else { x };
        Folded::plain(conv)?.append(&mut net, index < last, from, other, false)?;
        std::mem::swap(&mut x, &mut other);
    }
    net.keep(x)?;
    Ok(net)
}

/// A convolution's values, with those of its batch norm.
struct Folded {
    weight: Vec<f32>,
    bias: Vec<f32>,
    side: usize,
    stride: usize,
}

impl Folded {
    fn plain(conv: &Conv2d) -> Result<Self, KernelError> {
        let [outputs, _, side, _] = conv.weight.val().dims();
        let bias = match &conv.bias {
            Some(bias) => host(bias.val()).map_err(|error| unusual(&error))?,
            None => vec![0.0; outputs],
        };
        let weight = host(conv.weight.val()).map_err(|error| unusual(&error))?;
        Ok(Self { weight, bias, side, stride: conv.stride[0] })
    }

    /// Batch norm is `gamma (x - mean) / sqrt(variance + epsilon) + beta`: a scale and a shift of each output.
    fn of(layer: &ConvNorm) -> Result<Self, KernelError> {
        let mut folded = Self::plain(&layer.conv)?;
        let norm = &layer.norm;
        let [gamma, beta, mean, variance] =
            [norm.gamma.val(), norm.beta.val(), norm.running_mean.value(), norm.running_var.value()]
                .map(|values| host(values).map_err(|error| unusual(&error)));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let size = folded.weight.len() / folded.bias.len().max(1);
        for (channel, kernel) in folded.weight.chunks_exact_mut(size.max(1)).enumerate() {
            let deviation = (f64::from(variance[channel]) + norm.epsilon).sqrt();
            let scale = f64::from(gamma[channel]) / deviation;
            kernel.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
            let shifted = f64::from(folded.bias[channel]) - f64::from(mean[channel]);
            folded.bias[channel] = (shifted * scale + f64::from(beta[channel])) as f32;
        }
        Ok(folded)
    }

    fn append(
        &self,
        net: &mut ConvNet,
        relu: bool,
        from: Slot,
        to: Slot,
        add: bool,
    ) -> Result<(), KernelError> {
        let Self { weight, bias, side, stride } = self;
        net.convolve(Convolution { weight, bias, side: *side, stride: *stride, relu }, from, to, add)
    }
}

fn unusual(error: &dyn std::fmt::Display) -> KernelError {
    KernelError::Unsupported(error.to_string())
}
