//! Collects the parameters of modules by name, in PyTorch's layouts.

use super::{StoredTensor, StoredTensors, StoredValues, Tensors, expanded};
use crate::{ModelError, Result};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, LayerNorm, Linear};
use burn::tensor::{DType, Tensor, TensorReadError};
use half::f16;

/// Collects named tensors: the inverse of [`TensorReader`](super::TensorReader).
#[derive(Default)]
pub struct TensorWriter {
    tensors: StoredTensors,
    /// The one tensor that is wanted; the others are not copied.
    only: Option<String>,
    failure: Option<String>,
}

impl TensorWriter {
    /// Collects one tensor alone.
    pub fn only(name: &str) -> Self {
        Self { only: Some(name.to_string()), ..Self::default() }
    }

    /// Whether anything under a name is wanted: what is not need not be offered.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.starts_with(name))
    }

    /// Adds a tensor in its own layout.
    pub fn tensor<const D: usize>(&mut self, name: &str, value: Tensor<D>) {
        if self.only.as_ref().is_some_and(|only| only != name) {
            return;
        }
        let shape = value.dims().to_vec();
        match values(value) {
            Ok(data) => {
                self.tensors.insert(name.to_string(), StoredTensor { shape, data });
            }
            Err(error) => self.failure = Some(format!("{name} could not be read from the device: {error}")),
        }
    }

    /// Adds a linear layer as `[d_out, d_in]`.
    pub fn linear(&mut self, name: &str, linear: &Linear) {
        let [d_in, d_out] = linear.weight.dims();
        self.linear_shaped(name, linear, &[d_out, d_in]);
    }

    /// Adds a linear layer whose weight is stored as a convolution kernel of `shape`.
    pub fn linear_shaped(&mut self, name: &str, linear: &Linear, shape: &[usize]) {
        let weight = format!("{name}.weight");
        self.tensor(&weight, linear.weight.val().transpose());
        if let Some(tensor) = self.tensors.get_mut(&weight) {
            tensor.shape = shape.to_vec();
        }
        if let Some(bias) = &linear.bias {
            self.tensor(&format!("{name}.bias"), bias.val());
        }
    }

    /// Adds a layer norm.
    pub fn layer_norm(&mut self, name: &str, norm: &LayerNorm) {
        self.tensor(&format!("{name}.weight"), norm.gamma.val());
        if let Some(beta) = &norm.beta {
            self.tensor(&format!("{name}.bias"), beta.val());
        }
    }

    /// Adds the kernel of a convolution, and its bias if it has one.
    pub fn conv(&mut self, name: &str, conv: &Conv2d) {
        self.tensor(&format!("{name}.weight"), conv.weight.val());
        if let Some(bias) = &conv.bias {
            self.tensor(&format!("{name}.bias"), bias.val());
        }
    }

    /// Adds a batch norm with its running statistics.
    pub fn batch_norm(&mut self, name: &str, norm: &BatchNorm) {
        self.tensor(&format!("{name}.weight"), norm.gamma.val());
        self.tensor(&format!("{name}.bias"), norm.beta.val());
        self.tensor(&format!("{name}.running_mean"), norm.running_mean.value());
        self.tensor(&format!("{name}.running_var"), norm.running_var.value());
    }

    /// Returns all tensors in 32 bits.
    ///
    /// # Errors
    /// [`ModelError::Device`] if a tensor could not be read from its device.
    pub fn finish(self) -> Result<Tensors> {
        self.finish_stored().map(expanded)
    }

    /// Returns all tensors as modules have them: of a model that was read by
    /// [`keeping_halves`](super::TensorReader::keeping_halves) some have 16 bits.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_stored(self) -> Result<StoredTensors> {
        match self.failure {
            Some(problem) => Err(ModelError::Device(problem)),
            None => Ok(self.tensors),
        }
    }
}

/// The values of a tensor, which are not copied if it lies in host memory, row after row, and nowhere else.
pub(crate) fn values<const D: usize>(
    tensor: Tensor<D>,
) -> std::result::Result<StoredValues, TensorReadError> {
    Ok(match tensor.dtype() {
        DType::F16 => StoredValues::F16(tensor.try_into_vec_as::<f16>()?),
        _ => StoredValues::F32(tensor.try_into_vec_as::<f32>()?),
    })
}
