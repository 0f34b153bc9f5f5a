//! From a device's memory to the host's.

use crate::{EngineError, Result};
use burn::tensor::Tensor;

/// The values of a tensor, once the device has computed them.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|e| EngineError::Compute(e.to_string()))
}
