//! Sine-cosine embedding of positions in the reranker.

use burn::tensor::{Tensor, TensorData};

/// Embeds positions (u, v): for each coordinate `dim / 4` sines, then `dim / 4` cosines, of frequencies
/// `10000^(-j / (dim / 4))` (paper section 3.3, with the frequencies of the published code).
///
/// # Shapes
/// - positions: `[batch, tokens, 2]`
/// - output: `[batch, tokens, dim]`
pub fn sine_cosine(positions: Tensor<3>, dim: usize) -> Tensor<3> {
    let quarter = dim / 4;
    let frequencies: Vec<f32> =
        (0..quarter).map(|j| 10_000f64.powf(-(j as f64) / quarter as f64) as f32).collect();
    let frequencies: Tensor<3> =
        Tensor::from_data(TensorData::new(frequencies, [1, 1, quarter]), &positions.device());
    let half = |axis: usize| {
        let angles = positions.clone().narrow(2, axis, 1) * frequencies.clone();
        Tensor::cat(vec![angles.clone().sin(), angles.cos()], 2)
    };
    Tensor::cat(vec![half(0), half(1)], 2)
}
