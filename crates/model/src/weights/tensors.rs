//! Named tensors in host memory.

use half::f16;
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

/// Tensors by name as a file stores them, sorted.
pub type StoredTensors = BTreeMap<String, StoredTensor>;

/// A row-major tensor in host memory whose values may have 16 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values; their number is the product of `shape`.
    pub data: StoredValues,
}

/// Values as a file stores them: in 16 bits half as large.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit IEEE floats.
    F16(Vec<f16>),
}

impl StoredValues {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes per value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(_) => 4,
            Self::F16(_) => 2,
        }
    }

    /// In 32 bits.
    pub fn expanded(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
        }
    }
}

impl StoredTensor {
    /// In 32 bits.
    pub fn expanded(self) -> RawTensor {
        RawTensor { shape: self.shape, data: self.data.expanded() }
    }
}

impl From<RawTensor> for StoredTensor {
    fn from(RawTensor { shape, data }: RawTensor) -> Self {
        Self { shape, data: StoredValues::F32(data) }
    }
}

/// All of them in 32 bits, one after the other, so that both are not in memory at once.
pub fn expanded(tensors: StoredTensors) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (name, tensor.expanded())).collect()
}
