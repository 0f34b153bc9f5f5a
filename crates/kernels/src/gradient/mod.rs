//! For training, forward, keeping what the way back needs, and backward: a pre-norm transformer block, and the
//! matches of local features ([`match_features`]).
//!
//! The block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`, over a batch of token sequences of one length. Tokens
//! and weights lie row after row, a weight as `[inputs, outputs]`. The batch is cut into a few parts whose
//! number depends on its size alone; each part adds up its own gradients of the weights, and they are summed in
//! order: any number of threads gives the same bits.

mod attention;
mod matches;
mod part;
mod product;
mod rows;

#[cfg(test)]
mod tests;

pub use matches::{CHANNELS, MatchShape, Matches, match_features, match_features_backward, sine_cosine};

use crate::{KernelError, Level};
use part::{Backward, Forward, Kept};
use rayon::prelude::*;

/// Parts of a batch, at most. More would spread over more cores and cost more to sum.
const PARTS: usize = 8;

/// Rows that a part has at least, so that its products are worth their packing.
const ROWS: usize = 192;

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Token width.
    pub dim: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Width of the MLP's inside.
    pub hidden: usize,
    /// Epsilon of both norms.
    pub epsilon: f32,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// First tokens of each sequence that the output has; the others only serve as keys and values.
    pub outputs: usize,
    /// First tokens whose attention is told.
    pub class_tokens: usize,
}

/// How many tensors a block has: [`Tensors`].
pub const TENSORS: usize = 12;

/// A block's tensors in the order norm1 (weight, bias), qkv, proj, norm2, fc1, fc2.
pub type Tensors<T> = [T; TENSORS];

/// What is to be differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientMask {
    /// The gradient of the input.
    pub input: bool,
    /// The gradients of the tensors.
    pub tensors: bool,
}

/// What the way back needs of the way forward.
#[derive(Debug)]
pub struct Activations {
    shape: Shape,
    /// Sequences of a part; the last part may have fewer.
    each: usize,
    parts: Vec<Kept>,
}

/// A block's output.
#[derive(Debug)]
pub struct Output {
    /// `[batch, outputs, dim]`.
    pub tokens: Vec<f32>,
    /// How much the first `class_tokens` tokens attend to each token, summed over heads and those tokens,
    /// `[batch, tokens]`; empty where none is told.
    pub attention: Vec<f32>,
    /// For [`backward`].
    pub activations: Activations,
}

/// What [`backward`] finds; empty where it was not wanted.
#[derive(Debug)]
pub struct Gradients {
    /// `[batch, tokens, dim]`.
    pub input: Vec<f32>,
    /// As the tensors.
    pub tensors: Tensors<Vec<f32>>,
}

impl Shape {
    /// Values of each tensor.
    pub fn sizes(&self) -> Tensors<usize> {
        let Self { dim, hidden, .. } = *self;
        [dim, dim, dim * 3 * dim, 3 * dim, dim * dim, dim, dim, dim, dim * hidden, hidden, hidden * dim, dim]
    }

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
                "{} values are no sequences of {tokens} tokens of {dim}",
                x.len()
            )));
        }
        Ok(x.len() / (tokens * dim))
    }

    /// How many sequences a part of a batch has.
    fn each(&self, batch: usize) -> usize {
        let parts = (batch * self.tokens / ROWS).clamp(1, PARTS);
        batch.div_ceil(parts)
    }
}

/// The block's output for sequences `x` (`[batch, tokens, dim]`).
///
/// # Errors
/// [`KernelError`] for sizes that do not belong together.
pub fn forward(
    level: Level,
    shape: Shape,
    tensors: &Tensors<&[f32]>,
    x: &[f32],
) -> Result<Output, KernelError> {
    let batch = shape.check(tensors, x)?;
    let Shape { dim, tokens, outputs, class_tokens, .. } = shape;
    let each = shape.each(batch);
    let mut out = vec![0.0; batch * outputs * dim];
    let mut attention = vec![0.0; if class_tokens > 0 { batch * tokens } else { 0 }];
    let told: Vec<&mut [f32]> = match class_tokens {
        0 => (0..batch.div_ceil(each)).map(|_| &mut [][..]).collect(),
        _ => attention.chunks_mut(each * tokens).collect(),
    };
    let parts = x
        .par_chunks(each * tokens * dim)
        .zip(out.par_chunks_mut(each * outputs * dim))
        .zip(told)
        .map(|((x, out), told)| level.run(Forward { shape, tensors, x, out, told }))
        .collect();
    Ok(Output { tokens: out, attention, activations: Activations { shape, each, parts } })
}

/// The gradients, given that of the output tokens (`[batch, outputs, dim]`).
///
/// # Errors
/// [`KernelError`] for tensors or a gradient of other sizes than on the way forward.
pub fn backward(
    level: Level,
    activations: &Activations,
    tensors: &Tensors<&[f32]>,
    x: &[f32],
    gradient: &[f32],
    mask: GradientMask,
) -> Result<Gradients, KernelError> {
    let Activations { shape, each, parts } = activations;
    let batch = shape.check(tensors, x)?;
    let Shape { dim, tokens, outputs, .. } = *shape;
    if gradient.len() != batch * outputs * dim || parts.len() != batch.div_ceil(*each) {
        let found = gradient.len();
        return Err(KernelError::Input(format!("{found} values are no gradient of this output")));
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
        .map(|(((kept, x), gradient), input)| {
            level.run(Backward { shape: *shape, tensors, kept, x, gradient, input, mask })
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
