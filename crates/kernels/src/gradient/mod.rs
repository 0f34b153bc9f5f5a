//! Forward and backward passes for training: a pre-norm transformer block ([`forward`], [`backward`]) and the matches of
//! local features ([`match_features`], [`match_features_backward`]).
//!
//! The block is `x + attention(norm1(x))`, then `x + mlp(norm2(x))`, over a batch of token sequences of one length. Tokens
//! and weights are row-major, a weight is `[inputs, outputs]`. The batch is split into a few parts, whose number depends
//! on its size alone; each part sums its own gradients of the weights, and the parts are added in order. Results are
//! therefore bit-identical for any number of threads.
//!
//! ```
//! use r2former_kernels::Level;
//! use r2former_kernels::gradient::{GradientMask, Shape, Tensors, backward, forward};
//!
//! # fn main() -> Result<(), r2former_kernels::KernelError> {
//! let shape = Shape { dim: 8, heads: 2, hidden: 16, epsilon: 1e-6, tokens: 5, outputs: 5, class_tokens: 0 };
//! let tensors: Tensors<Vec<f32>> = shape.sizes().map(|size| vec![0.0; size]);
//! let tensors: Tensors<&[f32]> = std::array::from_fn(|i| tensors[i].as_slice());
//! let x: Vec<f32> = (0..3 * 5 * 8).map(|i| i as f32).collect();
//! let out = forward(Level::best(), shape, &tensors, &x)?;
//! // With zero weights the residual connections pass everything through, and gradients too.
//! assert_eq!(out.tokens, x);
//! let mask = GradientMask { input: true, tensors: false };
//! let gradients = backward(Level::best(), &out.activations, &tensors, &x, &out.tokens, mask)?;
//! assert_eq!(gradients.input, x);
//! # Ok(())
//! # }
//! ```

mod attention;
mod matches;
mod part;
mod product;
mod rows;

#[cfg(test)]
mod tests;

pub use matches::{CHANNELS, MatchShape, Matches, match_features, match_features_backward, sine_cosine};

use crate::{KernelError, Level};
use part::{Backward, Forward, PartActivations};
use rayon::prelude::*;

/// Parts of a batch, at most. More would use more cores and cost more to sum.
const MAX_PARTS: usize = 8;

/// Tokens per part, at least, so that its products are worth their packing.
const MIN_TOKENS: usize = 192;

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Token width.
    pub dim: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Epsilon of both norms.
    pub epsilon: f32,
    /// Tokens per sequence.
    pub tokens: usize,
    /// First tokens of each sequence that are computed; the others serve as keys and values only.
    pub outputs: usize,
    /// First tokens whose attention is returned; 0 for none.
    pub class_tokens: usize,
}

/// Number of tensors of a block.
pub const TENSORS: usize = 12;

/// One value per tensor of a block: weight and bias of norm1, qkv, proj, norm2, fc1 and fc2, in this order.
pub type Tensors<T> = [T; TENSORS];

/// Which gradients [`backward`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientMask {
    /// The gradient of the input.
    pub input: bool,
    /// The gradients of the tensors.
    pub tensors: bool,
}

/// The activations that the backward pass needs.
#[derive(Debug)]
pub struct Activations {
    shape: Shape,
    /// Sequences of a part; the last part may have fewer.
    sequences_per_part: usize,
    parts: Vec<PartActivations>,
}

/// A block's output.
#[derive(Debug)]
pub struct Output {
    /// `[batch, outputs, dim]`.
    pub tokens: Vec<f32>,
    /// Attention of the class tokens to every token, summed over heads and class tokens, `[batch, tokens]`; empty
    /// without class tokens.
    pub attention: Vec<f32>,
    /// For [`backward`].
    pub activations: Activations,
}

/// Gradients from [`backward`]; empty where the mask excludes them.
#[derive(Debug)]
pub struct Gradients {
    /// `[batch, tokens, dim]`.
    pub input: Vec<f32>,
    /// Of each tensor, in its layout.
    pub tensors: Tensors<Vec<f32>>,
}

impl Shape {
    /// Number of values of each tensor.
    pub fn sizes(&self) -> Tensors<usize> {
        let Self { dim, hidden, .. } = *self;
        [dim, dim, dim * 3 * dim, 3 * dim, dim * dim, dim, dim, dim, dim * hidden, hidden, hidden * dim, dim]
    }

    /// Checks tensors and input against the sizes and returns the batch size.
    fn check(&self, tensors: &Tensors<&[f32]>, x: &[f32]) -> Result<usize, KernelError> {
        let Self { dim, heads, hidden, tokens, outputs, class_tokens, .. } = *self;
        if [dim, heads, hidden, tokens, outputs].contains(&0)
            || !dim.is_multiple_of(heads)
            || outputs > tokens
            || class_tokens > outputs
        {
            return Err(KernelError::Unsupported(format!(
                "a block of width {dim} in {heads} heads over {tokens} tokens, {outputs} of them output"
            )));
        }
        for (i, (tensor, expected)) in tensors.iter().zip(self.sizes()).enumerate() {
            if tensor.len() != expected {
                return Err(KernelError::Tensor {
                    name: format!("tensor {i} of a block"),
                    found: tensor.len(),
                    expected,
                });
            }
        }
        if x.is_empty() || !x.len().is_multiple_of(tokens * dim) {
            return Err(KernelError::Input(format!(
                "{} values are not whole sequences of {tokens} tokens of width {dim}",
                x.len()
            )));
        }
        Ok(x.len() / (tokens * dim))
    }

    /// Sequences per part of a batch.
    fn sequences_per_part(&self, batch: usize) -> usize {
        let parts = (batch * self.tokens / MIN_TOKENS).clamp(1, MAX_PARTS);
        batch.div_ceil(parts)
    }
}

/// The forward pass of the block.
///
/// # Shapes
/// - x: `[batch, tokens, dim]`
///
/// # Errors
/// [`KernelError::Unsupported`] for invalid sizes, [`KernelError::Tensor`] for a tensor of the wrong size,
/// [`KernelError::Input`] for an input that is not whole sequences.
pub fn forward(
    level: Level,
    shape: Shape,
    tensors: &Tensors<&[f32]>,
    x: &[f32],
) -> Result<Output, KernelError> {
    let batch = shape.check(tensors, x)?;
    let Shape { dim, tokens, outputs, class_tokens, .. } = shape;
    let each = shape.sequences_per_part(batch);
    let mut out = vec![0.0; batch * outputs * dim];
    let mut attention = vec![0.0; if class_tokens > 0 { batch * tokens } else { 0 }];
    let attentions: Vec<&mut [f32]> = match class_tokens {
        0 => (0..batch.div_ceil(each)).map(|_| &mut [][..]).collect(),
        _ => attention.chunks_mut(each * tokens).collect(),
    };
    let parts = x
        .par_chunks(each * tokens * dim)
        .zip(out.par_chunks_mut(each * outputs * dim))
        .zip(attentions)
        .map(|((x, out), attention)| level.run(Forward { shape, tensors, x, out, attention }))
        .collect();
    Ok(Output { tokens: out, attention, activations: Activations { shape, sequences_per_part: each, parts } })
}

/// The backward pass of the block, for the tensors and the input of the forward pass.
///
/// # Shapes
/// - x: `[batch, tokens, dim]`
/// - gradient: of the output tokens, `[batch, outputs, dim]`
///
/// # Errors
/// [`KernelError::Tensor`] or [`KernelError::Input`] for other sizes than in the forward pass.
pub fn backward(
    level: Level,
    activations: &Activations,
    tensors: &Tensors<&[f32]>,
    x: &[f32],
    gradient: &[f32],
    mask: GradientMask,
) -> Result<Gradients, KernelError> {
    let Activations { shape, sequences_per_part: each, parts } = activations;
    let batch = shape.check(tensors, x)?;
    let Shape { dim, tokens, outputs, .. } = *shape;
    if gradient.len() != batch * outputs * dim || parts.len() != batch.div_ceil(*each) {
        let found = gradient.len();
        return Err(KernelError::Input(format!("{found} values are not a gradient of this output")));
    }
    let mut input = vec![0.0; if mask.input { x.len() } else { 0 }];
    let inputs: Vec<&mut [f32]> = match mask.input {
        true => input.chunks_mut(each * tokens * dim).collect(),
        false => parts.iter().map(|_| &mut [][..]).collect(),
    };
    let found: Vec<Tensors<Vec<f32>>> = parts
        .par_iter()
        .zip(x.par_chunks(each * tokens * dim))
        .zip(gradient.par_chunks(each * outputs * dim))
        .zip(inputs)
        .map(|(((activations, x), gradient), input)| {
            level.run(Backward { shape: *shape, tensors, activations, x, gradient, input, mask })
        })
        .collect();
    let mut found = found.into_iter();
    let mut sums = found.next().unwrap_or_default();
    let others: Vec<Tensors<Vec<f32>>> = found.collect();
    // Large tensors are summed by several threads, each value in the order of the parts.
    for (i, sum) in sums.iter_mut().enumerate() {
        sum.par_chunks_mut(1 << 14).enumerate().for_each(|(c, sum)| {
            for other in &others {
                for (sum, value) in sum.iter_mut().zip(&other[i][c << 14..]) {
                    *sum += value;
                }
            }
        });
    }
    Ok(Gradients { input, tensors: sums })
}
