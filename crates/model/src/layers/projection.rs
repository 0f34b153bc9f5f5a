//! A linear layer in a given precision.

use crate::weights::{StoredValues, TensorReader, TensorWriter, values};
use crate::{Device, Precision};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{FloatDType, Tensor};

/// A linear layer `x W + b` in a given [`Precision`].
///
/// With [`Precision::Bf16`] both inputs of the product are rounded to bfloat16; the output is bfloat16 on a GPU and f32 on
/// a CPU. Weights and their gradients stay f32.
#[derive(Module, Debug)]
pub struct Projection {
    linear: Linear,
    #[module(skip)]
    precision: Precision,
}

impl Projection {
    /// Builds the layer from `{name}.weight` (`[d_out, d_in]`) and `{name}.bias`.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        d_in: usize,
        d_out: usize,
        precision: Precision,
    ) -> Self {
        Self { linear: reader.linear(name, d_in, d_out), precision }
    }

    /// As [`load`](Self::load), without a copy of a weight that may be half of the model
    /// ([`TensorReader::linear_across`]).
    pub fn load_large(
        reader: &mut TensorReader,
        name: &str,
        d_in: usize,
        d_out: usize,
        precision: Precision,
    ) -> Self {
        Self { linear: reader.linear_across(name, d_in, d_out), precision }
    }

    /// As [`load`](Self::load), with the weight stored as a convolution kernel of `shape`.
    pub fn load_shaped(
        reader: &mut TensorReader,
        name: &str,
        d_in: usize,
        d_out: usize,
        shape: &[usize],
        precision: Precision,
    ) -> Self {
        Self { linear: reader.linear_shaped(name, d_in, d_out, shape), precision }
    }

    /// Writes the tensors that [`load_shaped`](Self::load_shaped) reads, as convolutions of 1 x 1 if `convolution`.
    pub(crate) fn save_shaped(&self, writer: &mut TensorWriter, name: &str, convolution: bool) {
        let [d_in, d_out] = self.linear.weight.dims();
        let shape = [d_out, d_in, 1, 1];
        writer.linear_shaped(name, &self.linear, if convolution { &shape } else { &shape[..2] });
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.linear(name, &self.linear);
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - x: `[..., d_in]`
    /// - output: `[..., d_out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.precision {
            // 8 bits are the kernels'.
            Precision::F32 | Precision::Int8 => self.linear.forward(x),
            Precision::Bf16 => {
                let product = product_bf16(x, self.linear.weight.val().unsqueeze());
                match &self.linear.bias {
                    Some(bias) => product + bias.val().unsqueeze(),
                    None => product,
                }
            }
        }
    }

    /// The values of weight `[d_out, d_in]` and bias; of a layer that was read by [`load_large`](Self::load_large) they are
    /// not copied.
    pub(crate) fn into_values(self) -> Option<[StoredValues; 2]> {
        let Linear { weight, bias } = self.linear;
        Some([values(weight.into_value().transpose()).ok()?, values(bias?.into_value()).ok()?])
    }

    /// Weight `[d_in, d_out]` and bias.
    pub(crate) fn parts(&self) -> Option<(Tensor<2>, Tensor<1>)> {
        Some((self.linear.weight.val(), self.linear.bias.as_ref()?.val()))
    }

    /// Some columns of the layer's output, from `first` on, in f32.
    pub(crate) fn forward_columns<const D: usize>(
        &self,
        x: Tensor<D>,
        first: usize,
        count: usize,
    ) -> Tensor<D> {
        let weight = self.linear.weight.val().narrow(1, first, count);
        let bias = self.linear.bias.as_ref().map(|bias| bias.val().narrow(0, first, count));
        burn::tensor::module::linear(x, weight, bias)
    }

    /// `x W` without the bias, in f32.
    pub(crate) fn forward_weight<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        burn::tensor::module::linear(x, self.linear.weight.val(), None)
    }
}

/// `a b` with inputs rounded to bfloat16, as an f32 tensor.
///
/// A GPU computes a bfloat16 product, as PyTorch's autocast does. A CPU multiplies the rounded values in f32, as its
/// bfloat16 instructions do: the reference of the kernels.
pub(super) fn product_bf16<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let on_cpu = a.device().inner() == Device::flex();
    let [a, b] = [a, b].map(|x| x.cast(FloatDType::BF16));
    match on_cpu {
        true => a.cast(FloatDType::F32).matmul(b.cast(FloatDType::F32)),
        false => a.matmul(b).cast(FloatDType::F32),
    }
}
