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
