//! A linear layer that knows the precision of its product.

use crate::weights::{TensorReader, TensorWriter};
use crate::{Device, Precision};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{FloatDType, Tensor};

/// `x W + b` in the model's precision.
///
/// With [`Precision::Bf16`] both inputs of the product are rounded to bfloat16. A GPU hands out bfloat16 too, a CPU
/// the sums in 32 bits. Weights and their gradients stay in 32 bits.
#[derive(Module, Debug)]
pub struct Projection {
    linear: Linear,
    #[module(skip)]
    precision: Precision,
}

impl Projection {
    /// Takes `{name}.weight` (`[d_out, d_in]`) and `{name}.bias`.
    pub fn load(
        take: &mut TensorReader,
        name: &str,
        d_in: usize,
        d_out: usize,
        precision: Precision,
    ) -> Self {
        Self { linear: take.linear(name, d_in, d_out), precision }
    }

    /// Puts what [`Projection::load`] takes.
    pub fn save(&self, put: &mut TensorWriter, name: &str) {
        put.linear(name, &self.linear);
    }

    /// # Shapes
    /// - x: `[..., d_in]`
    /// - output: `[..., d_out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.precision {
            Precision::F32 => self.linear.forward(x),
            Precision::Bf16 => {
                let product = product_bf16(x, self.linear.weight.val().unsqueeze());
                match &self.linear.bias {
                    Some(bias) => product + bias.val().unsqueeze(),
                    None => product,
                }
            }
        }
    }

    /// Weight `[d_in, d_out]` and bias.
    pub(crate) fn parts(&self) -> Option<(Tensor<2>, Tensor<1>)> {
        Some((self.linear.weight.val(), self.linear.bias.as_ref()?.val()))
    }

    /// `x W` alone, in 32 bits.
    pub(crate) fn forward_weight<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        burn::tensor::module::linear(x, self.linear.weight.val(), None)
    }
}

/// `a b` of values rounded to bfloat16, in 32 bits.
///
/// A GPU multiplies bfloat16 and hands out bfloat16, as PyTorch's autocast does. A CPU multiplies the rounded values
/// in 32 bits, as its bfloat16 instructions do: the reference of the kernels.
pub(super) fn product_bf16<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let on_cpu = a.device().inner() == Device::flex();
    let [a, b] = [a, b].map(|x| x.cast(FloatDType::BF16));
    match on_cpu {
        true => a.cast(FloatDType::F32).matmul(b.cast(FloatDType::F32)),
        false => a.matmul(b).cast(FloatDType::F32),
    }
}
