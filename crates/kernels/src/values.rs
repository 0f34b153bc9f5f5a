//! The values of a tensor, as they are stored.

use half::f16;
use std::borrow::Cow;
use std::ops::Range;

/// The values of a tensor in 32 bits, or in 16 (IEEE half precision) as half the bytes.
///
/// The transformer's linear layers and SALAD's keep weights of 16 bits as they are; everything is computed in f32. Other
/// kernels, and other precisions than f32, expand them while they are packed.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorValues<'a> {
    /// 32-bit floats.
    F32(Cow<'a, [f32]>),
    /// 16-bit floats.
    F16(Cow<'a, [f16]>),
}

impl<'a> TensorValues<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }

    /// In 32 bits.
    pub(crate) fn expanded(self) -> Cow<'a, [f32]> {
        match self {
            Self::F32(values) => values,
            Self::F16(values) => Cow::Owned(values.iter().map(|value| value.to_f32()).collect()),
        }
    }

    /// A part of them.
    pub(crate) fn part(&self, range: Range<usize>) -> TensorValues<'_> {
        match self {
            Self::F32(values) => TensorValues::F32(Cow::Borrowed(&values[range])),
            Self::F16(values) => TensorValues::F16(Cow::Borrowed(&values[range])),
        }
    }
}

impl Default for TensorValues<'_> {
    fn default() -> Self {
        Self::F32(Cow::default())
    }
}

impl From<Vec<f32>> for TensorValues<'_> {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(Cow::Owned(values))
    }
}

impl<'a> From<&'a Vec<f32>> for TensorValues<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::F32(Cow::Borrowed(values))
    }
}

impl From<Vec<f16>> for TensorValues<'_> {
    fn from(values: Vec<f16>) -> Self {
        Self::F16(Cow::Owned(values))
    }
}
