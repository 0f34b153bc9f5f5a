//! Arrays on the host.

use crate::Result;
use crate::host::host;
use burn::tensor::{Device, Tensor, TensorData};

/// Values in row order, with their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each axis.
    pub dims: Vec<usize>,
    /// As many values as the axes' lengths multiply to.
    pub values: Vec<f32>,
}

impl Array {
    /// An array of a shape; `value` is asked for each place in row order.
    pub fn from_fn(dims: &[usize], mut value: impl FnMut(usize) -> f32) -> Self {
        let count = dims.iter().product();
        Self { dims: dims.to_vec(), values: (0..count).map(&mut value).collect() }
    }

    pub(super) fn of<const D: usize>(tensor: Tensor<D>) -> Result<Self> {
        Ok(Self { dims: tensor.dims().to_vec(), values: host(tensor)? })
    }

    /// On a device; the array has `D` axes.
    pub(super) fn on<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let data = TensorData::new(self.values.clone(), self.dims.clone());
        Tensor::from_data(data, device)
    }

    /// Values of one entry of the first axis.
    pub fn row_len(&self) -> usize {
        self.dims.iter().skip(1).product()
    }

    /// The entries of the first axis, one after the other.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.row_len().max(1))
    }

    /// The entries of the first axis, each as an array whose first axis has length one.
    pub(super) fn singles(&self) -> impl Iterator<Item = Self> + '_ {
        let mut dims = self.dims.clone();
        dims[0] = 1;
        self.rows().map(move |row| Self { dims: dims.clone(), values: row.to_vec() })
    }

    /// Arrays of one shape, one after the other along the first axis.
    pub(super) fn joined(parts: Vec<Self>) -> Option<Self> {
        let mut dims = parts.first()?.dims.clone();
        dims[0] = parts.iter().map(|part| part.dims[0]).sum();
        Some(Self { dims, values: parts.into_iter().flat_map(|part| part.values).collect() })
    }
}
