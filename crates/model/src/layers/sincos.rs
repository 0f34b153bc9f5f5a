//! Sine-cosine embedding of positions in the reranker.

use super::resident;
use burn::tensor::Tensor;

/// The `dim / 4` frequencies of an embedding: `10000^(-j / (dim / 4))`, those of the published code.
pub fn frequencies(dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    (0..quarter).map(|j| 10_000f64.powf(-(j as f64) / quarter as f64) as f32).collect()
}

/// Embeds positions (u, v): for each coordinate `dim / 4` sines, then `dim / 4` cosines, of these [`frequencies`] (paper
/// section 3.3).
///
/// # Shapes
/// - positions: `[batch, tokens, 2]`
/// - output: `[batch, tokens, dim]`
pub fn sine_cosine(positions: Tensor<3>, dim: usize) -> Tensor<3> {
    let table = ("frequencies", &[dim as u32][..]);
    let frequencies: Tensor<3> = resident(&positions.device(), table, [1, 1, dim / 4], || frequencies(dim));
    let half = |axis: usize| {
        let angles = positions.clone().narrow(2, axis, 1) * frequencies.clone();
        Tensor::cat(vec![angles.clone().sin(), angles.cos()], 2)
    };
    Tensor::cat(vec![half(0), half(1)], 2)
}
