//! What the fused reranker is built from: sizes, and tensors by the published names.

use crate::attend::HEAD_SIZES;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;

/// Why a fused reranker cannot be built or asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Sizes that the fused reranker does not cover; the plain one does.
    #[error("the fused reranker does not cover {0}")]
    Unsupported(String),
    /// A tensor that is missing or has another number of values.
    #[error("{name}: {found} values, {expected} are needed")]
    Tensor {
        /// Its name below the reranker's.
        name: String,
        /// Values that it has; 0 if it is missing.
        found: usize,
        /// Values that the sizes ask for.
        expected: usize,
    },
    /// Local features that are not whole rows, or fewer than a token's neighbours.
    #[error("{0}")]
    Input(String),
}

/// Sizes of a reranker (paper section 3.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RerankerShape {
    /// Numbers in a local feature, without x, y and attention.
    pub feature: usize,
    /// Token width.
    pub dim: usize,
    /// Attention heads; `dim / heads` must be 4, 8 or 16.
    pub heads: usize,
    /// Blocks over one token's pairs, at least 1.
    pub pair_depth: usize,
    /// Blocks over all tokens, at least 1.
    pub depth: usize,
    /// Width of the MLPs over `dim`.
    pub mlp_ratio: usize,
    /// Best matches of each local feature, 1 to 8.
    pub neighbours: usize,
    /// Feed positions of both features.
    pub use_xy: bool,
    /// Feed attention values of both features.
    pub use_attention: bool,
    /// Feed the correlation.
    pub use_correlation: bool,
    /// Add the sine-cosine position embeddings.
    pub use_position_embedding: bool,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
}

/// The most matches of a token that are kept.
pub(crate) const MOST_NEIGHBOURS: usize = 8;

impl RerankerShape {
    /// Whether the fused reranker covers these sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] that says which size it is not made for.
    pub fn check(&self) -> Result<(), KernelError> {
        let unusual = |what: String| Err(KernelError::Unsupported(what));
        if self.heads == 0 || !self.dim.is_multiple_of(self.heads) || !self.dim.is_multiple_of(4) {
            return unusual(format!("a width of {} in {} heads", self.dim, self.heads));
        }
        if !HEAD_SIZES.contains(&(self.dim / self.heads)) {
            return unusual(format!("heads of {} numbers", self.dim / self.heads));
        }
        if self.pair_depth == 0 || self.depth == 0 {
            return unusual("a stack without blocks".into());
        }
        if !(1..=MOST_NEIGHBOURS).contains(&self.neighbours) {
            return unusual(format!("{} neighbours", self.neighbours));
        }
        if self.feature == 0 || self.mlp_ratio == 0 || self.channels() == 0 {
            return unusual("a part without numbers".into());
        }
        Ok(())
    }

    /// Numbers that describe one pair.
    pub(crate) fn channels(&self) -> usize {
        4 * usize::from(self.use_xy) + 2 * usize::from(self.use_attention) + usize::from(self.use_correlation)
    }

    /// Bytes of a row in 8 bits, numbers of a row otherwise.
    pub fn row(&self) -> usize {
        3 + self.feature
    }
}

/// Hands out tensors by name, and checks their sizes.
pub(crate) struct Source<'a> {
    get: &'a dyn Fn(&str) -> Option<&'a [f32]>,
    packing: Packing,
}

impl<'a> Source<'a> {
    pub(crate) fn new(packing: Packing, get: &'a dyn Fn(&str) -> Option<&'a [f32]>) -> Self {
        Self { get, packing }
    }

    pub(crate) fn take(&self, name: &str, expected: usize) -> Result<&'a [f32], KernelError> {
        let values = (self.get)(name).unwrap_or_default();
        if values.len() == expected {
            return Ok(values);
        }
        Err(KernelError::Tensor { name: name.into(), found: values.len(), expected })
    }

    /// `{name}.weight` and `{name}.bias` of a linear layer.
    pub(crate) fn matrix(&self, name: &str, depth: usize, rows: usize) -> Result<Matrix, KernelError> {
        let weight = self.take(&format!("{name}.weight"), depth * rows)?;
        let bias = self.take(&format!("{name}.bias"), rows)?;
        Ok(Matrix::pack(self.packing, depth, weight, bias))
    }

    pub(crate) fn pack(&self, depth: usize, weight: &[f32], bias: &[f32]) -> Matrix {
        Matrix::pack(self.packing, depth, weight, bias)
    }

    pub(crate) fn norm(&self, name: &str, dim: usize, epsilon: f32) -> Result<Norm, KernelError> {
        Ok(Norm {
            weight: self.take(&format!("{name}.weight"), dim)?.to_vec(),
            bias: self.take(&format!("{name}.bias"), dim)?.to_vec(),
            epsilon,
        })
    }
}
