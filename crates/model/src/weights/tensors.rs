//! Tensors on the host, by name.

use std::collections::BTreeMap;

/// Named tensors, in name order.
pub type Tensors = BTreeMap<String, RawTensor>;

/// One tensor on the host, 32-bit, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl RawTensor {
    /// The first `rows` of the outermost dimension.
    pub fn first_rows(&self, rows: usize) -> Self {
        let width: usize = self.shape[1..].iter().product();
        let mut shape = self.shape.clone();
        shape[0] = rows.min(shape[0]);
        Self { data: self.data[..shape[0] * width].to_vec(), shape }
    }
}
