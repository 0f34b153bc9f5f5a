//! Named tensors in host memory.

use std::collections::BTreeMap;

/// Tensors by name, sorted.
pub type Tensors = BTreeMap<String, RawTensor>;

/// A row-major f32 tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values; their number is the product of `shape`.
    pub data: Vec<f32>,
}

impl RawTensor {
    /// The first `rows` rows, or all if there are fewer.
    pub fn first_rows(&self, rows: usize) -> Self {
        let width: usize = self.shape[1..].iter().product();
        let mut shape = self.shape.clone();
        shape[0] = rows.min(shape[0]);
        Self { data: self.data[..shape[0] * width].to_vec(), shape }
    }
}
