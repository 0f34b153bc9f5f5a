//! A linear layer that knows the precision of its product.

use crate::Precision;
use crate::weights::{Put, Take};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{FloatDType, Tensor};

/// `x W + b` in the model's precision.
///
/// With [`Precision::Bf16`] both inputs of the product are rounded to bfloat16 and the sums are
/// kept in 32 bits, as the bfloat16 instructions of CPUs and GPUs do.
#[derive(Module, Debug)]
pub struct Projection {
    linear: Linear,
    #[module(skip)]
    precision: Precision,
}

impl Projection {
    /// Takes `{name}.weight` (`[d_out, d_in]`) and `{name}.bias`.
    pub fn load(take: &mut Take, name: &str, d_in: usize, d_out: usize, precision: Precision) -> Self {
        Self { linear: take.linear(name, d_in, d_out), precision }
    }

    /// Puts what [`Projection::load`] takes.
    pub fn save(&self, put: &mut Put, name: &str) {
        put.linear(name, &self.linear);
    }

    /// # Shapes
    /// - x: `[..., d_in]`
    /// - output: `[..., d_out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.precision {
            Precision::F32 => self.linear.forward(x),
            Precision::Bf16 => {
                let bias = self.linear.bias.as_ref().map(|b| b.val());
                burn::tensor::module::linear(round_bf16(x), round_bf16(self.linear.weight.val()), bias)
            }
        }
    }

    /// Weight `[d_in, d_out]` and bias.
    pub(super) fn parts(&self) -> Option<(Tensor<2>, Tensor<1>)> {
        Some((self.linear.weight.val(), self.linear.bias.as_ref()?.val()))
    }

    /// `x W` alone, in 32 bits.
    pub(crate) fn forward_weight<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        burn::tensor::module::linear(x, self.linear.weight.val(), None)
    }
}

/// Rounds every value to the nearest bfloat16, kept in 32 bits.
pub(super) fn round_bf16<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.cast(FloatDType::BF16).cast(FloatDType::F32)
}
