//! Pooling of tokens, and vectors of unit length: what heads and aggregations share.

use burn::tensor::Tensor;

/// Generalised mean (GeM) over tokens, with power 3 unless learned.
pub(crate) fn gem(tokens: Tensor<3>, power: Option<Tensor<1>>) -> Tensor<2> {
    let [batch, _, width] = tokens.dims();
    let Some(power) = power else {
        let cubes = tokens.clamp_min(1e-6).powi_scalar(3).mean_dim(1).reshape([batch, width]);
        return cubes.powf_scalar(1.0 / 3.0);
    };
    let raised = tokens.clamp_min(1e-6).powf(power.clone().unsqueeze());
    raised.mean_dim(1).reshape([batch, width]).powf(power.recip().unsqueeze())
}

/// L2-normalises the last dimension; lengths are clamped to at least 1e-12, as in PyTorch's `normalize`.
pub(crate) fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().powi_scalar(2).sum_dim(D - 1).sqrt().clamp_min(1e-12);
    x / length
}
