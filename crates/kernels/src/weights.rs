//! Sizes, errors and tensors by name: what the fused networks are built from.

use crate::Level;
use crate::attend::HEAD_SIZES;
use crate::element::Element;
use crate::half::Expansion;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::values::TensorValues;
use std::borrow::Cow;

/// Why a fused network cannot be built or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Sizes that these kernels do not support. The model's own tensor operations do.
    #[error("the CPU kernels do not support {0}")]
    Unsupported(String),
    /// A tensor that is missing or has the wrong number of values.
    #[error("{name}: {found} values instead of {expected}")]
    Tensor {
        /// Its name in the network.
        name: String,
        /// Number of values; 0 if it is missing.
        found: usize,
        /// Number of values that the sizes require.
        expected: usize,
    },
    /// An input whose length does not fit the sizes.
    #[error("{0}")]
    Input(String),
}

/// Sizes of a reranker (paper section 3.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RerankerShape {
    /// Dimensions of a local feature, without x, y and attention.
    pub feature: usize,
    /// Token width.
    pub dim: usize,
    /// Attention heads; `dim / heads` must be 4, 8 or 16.
    pub heads: usize,
    /// Blocks over one token's pairs, at least 1.
    pub pair_depth: usize,
    /// Blocks over all tokens, at least 1.
    pub depth: usize,
    /// Hidden width of the MLPs, in multiples of `dim`.
    pub mlp_ratio: usize,
    /// Best matches per local feature, 1 to 8.
    pub neighbours: usize,
    /// Input: positions of both features.
    pub use_xy: bool,
    /// Input: attention values of both features.
    pub use_attention: bool,
    /// Input: the correlation of both features.
    pub use_correlation: bool,
    /// Whether the sine-cosine position embeddings are added.
    pub use_position_embedding: bool,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
}

/// The largest supported number of matches per local feature.
pub(crate) const MAX_NEIGHBOURS: usize = 8;

impl RerankerShape {
    /// Checks that the fused reranker supports these sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`], naming the size.
    pub fn check(&self) -> Result<(), KernelError> {
        let unsupported = |what: String| Err(KernelError::Unsupported(what));
        if self.heads == 0 || !self.dim.is_multiple_of(self.heads) || !self.dim.is_multiple_of(4) {
            return unsupported(format!("a width of {} in {} heads", self.dim, self.heads));
        }
        if !HEAD_SIZES.contains(&(self.dim / self.heads)) {
            return unsupported(format!("heads of {} dimensions", self.dim / self.heads));
        }
        if self.pair_depth == 0 || self.depth == 0 {
            return unsupported("a stack without blocks".into());
        }
        if !(1..=MAX_NEIGHBOURS).contains(&self.neighbours) {
            return unsupported(format!("{} neighbours", self.neighbours));
        }
        if self.feature == 0 || self.mlp_ratio == 0 || self.channels() == 0 {
            return unsupported("a reranker without feature dimensions, MLP or input channels".into());
        }
        Ok(())
    }

    /// Input channels of a pair.
    pub(crate) fn channels(&self) -> usize {
        4 * usize::from(self.use_xy) + 2 * usize::from(self.use_attention) + usize::from(self.use_correlation)
    }

    /// Values per row of local features (x, y, attention, feature): bytes if quantised, else floats.
    pub fn row(&self) -> usize {
        3 + self.feature
    }
}

/// Gives tensors by name, borrowed or made when they are asked for, so that a copy of all need not be held at once.
pub type Lookup<'a> = dyn Fn(&str) -> Option<TensorValues<'a>> + 'a;

/// Tensors by name, with checked sizes.
pub(crate) struct TensorSource<'a> {
    lookup: &'a Lookup<'a>,
    packing: Packing,
    /// What weights of 16 bits, which stay so, are expanded with; `None` if they are expanded when they are packed.
    expansion: Option<Expansion>,
}

impl<'a> TensorSource<'a> {
    pub(crate) fn new(packing: Packing, lookup: &'a Lookup<'a>) -> Self {
        Self { lookup, packing, expansion: None }
    }

    /// The same tensors for matrices of what 8 bits are too few for.
    pub(crate) fn widened(&self) -> Self {
        let packing = Packing { element: self.packing.element.widened(), ..self.packing };
        Self { packing, ..*self }
    }

    /// Keeps weights of 16 bits as they are, where matrices are in f32. That is for matrices that meet several panels of
    /// tokens at a time.
    pub(crate) fn keeping_halves(self, level: Level) -> Self {
        let expansion = (self.packing.element == Element::F32).then(|| Expansion::of(level));
        Self { expansion, ..self }
    }

    /// The values of a tensor as they are stored.
    pub(crate) fn stored(&self, name: &str, expected: usize) -> Result<TensorValues<'a>, KernelError> {
        let values = (self.lookup)(name).unwrap_or_default();
        if values.len() == expected {
            return Ok(values);
        }
        Err(KernelError::Tensor { name: name.into(), found: values.len(), expected })
    }

    /// The values of a tensor.
    pub(crate) fn get(&self, name: &str, expected: usize) -> Result<Cow<'a, [f32]>, KernelError> {
        Ok(self.stored(name, expected)?.expanded())
    }

    /// `{name}.weight` `[rows, depth]` and `{name}.bias` of a linear layer, packed.
    pub(crate) fn matrix(&self, name: &str, depth: usize, rows: usize) -> Result<Matrix, KernelError> {
        self.matrix_scaled(name, depth, rows, None)
    }

    /// The same with rows of the weight, and the bias, multiplied with factors, if there are any.
    pub(crate) fn matrix_scaled(
        &self,
        name: &str,
        depth: usize,
        rows: usize,
        factors: Option<&[f32]>,
    ) -> Result<Matrix, KernelError> {
        let weight = self.stored(&format!("{name}.weight"), depth * rows)?;
        let mut bias = self.get(&format!("{name}.bias"), rows)?;
        if let Some(factors) = factors {
            bias.to_mut().iter_mut().zip(factors).for_each(|(bias, factor)| *bias *= factor);
        }
        Ok(self.pack_scaled(depth, weight, factors, &bias))
    }

    /// Packs a weight `[rows, depth]` and a bias for this source's level.
    pub(crate) fn pack(&self, depth: usize, weight: &[f32], bias: &[f32]) -> Matrix {
        Matrix::pack(self.packing, depth, weight, bias)
    }

    /// Packs a weight `[rows, depth]` whose rows are multiplied with factors, if there are any, and a bias, which is not.
    pub(crate) fn pack_scaled(
        &self,
        depth: usize,
        weight: TensorValues<'_>,
        factors: Option<&[f32]>,
        bias: &[f32],
    ) -> Matrix {
        if let (Some(expansion), TensorValues::F16(weight)) = (self.expansion, &weight) {
            let ones = vec![1.0; bias.len()];
            return Matrix::pack_halves(self.packing, expansion, weight, factors.unwrap_or(&ones), bias);
        }
        let weight = weight.expanded();
        let Some(factors) = factors else { return self.pack(depth, &weight, bias) };
        let rows = weight.chunks_exact(depth).zip(factors);
        let weight: Vec<f32> = rows.flat_map(|(row, factor)| row.iter().map(move |w| w * factor)).collect();
        self.pack(depth, &weight, bias)
    }

    /// A weight `[3 * dim, dim]` and bias of queries, keys and values: the queries', scaled by log2(e) / sqrt(head size) as
    /// attention expects them, and the others'.
    pub(crate) fn attention(
        &self,
        [weight, bias]: [&str; 2],
        dim: usize,
        heads: usize,
    ) -> Result<(Matrix, Matrix), KernelError> {
        let weight = self.stored(weight, 3 * dim * dim)?;
        let bias = self.get(bias, 3 * dim)?;
        let scale = query_scale(dim / heads);
        let scaled: Vec<f32> = bias[..dim].iter().map(|v| v * scale).collect();
        let factors = vec![scale; dim];
        let queries = self.pack_scaled(dim, weight.part(0..dim * dim), Some(&factors), &scaled);
        let others = weight.part(dim * dim..3 * dim * dim);
        Ok((queries, self.pack_scaled(dim, others, None, &bias[dim..])))
    }

    /// `{name}.weight` and `{name}.bias` of a layer norm.
    pub(crate) fn norm(&self, name: &str, dim: usize, epsilon: f32) -> Result<Norm, KernelError> {
        Ok(Norm {
            weight: self.get(&format!("{name}.weight"), dim)?.into_owned(),
            bias: self.get(&format!("{name}.bias"), dim)?.into_owned(),
            epsilon,
        })
    }
}

/// What queries are multiplied with: exponentials are powers of two.
pub(crate) fn query_scale(head_size: usize) -> f32 {
    std::f32::consts::LOG2_E / (head_size as f32).sqrt()
}
