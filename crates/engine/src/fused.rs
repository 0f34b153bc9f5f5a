//! The model's parts as CPU kernels.

use crate::extract::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{Encoder, EncoderShape, KernelError, Level, Reranker, RerankerShape};
use r2former_model::backbone::{Backbone, Tokens};
use r2former_model::weights::Put;
use r2former_model::{ModelConfig, R2Former};

/// Packs the blocks of a model's vision transformer for a level of vector instructions.
///
/// # Errors
/// [`KernelError::Unusual`] for another backbone.
pub fn fused_encoder(model: &R2Former, level: Level) -> Result<Encoder, KernelError> {
    let Backbone::Vit(vit) = model.backbone() else {
        return Err(KernelError::Unusual("a backbone that is no vision transformer".into()));
    };
    let c = vit.config();
    let shape = EncoderShape {
        dim: c.dim,
        depth: c.depth,
        heads: c.heads,
        mlp_ratio: c.mlp_ratio,
        epsilon: c.norm_eps as f32,
        layer_scale: c.layer_scale,
    };
    let mut put = Put::default();
    vit.save(&mut put, "");
    let tensors = put.finish().map_err(|error| KernelError::Unusual(error.to_string()))?;
    Encoder::new(level, shape, &|name| tensors.get(&format!(".{name}")).map(|tensor| tensor.data.as_slice()))
}

/// The backbone's tokens by the kernel: `images` is `[1, 3, height, width]`.
pub(crate) fn encode(model: &R2Former, encoder: &Encoder, images: Tensor<4>) -> Result<Tokens> {
    let Backbone::Vit(vit) = model.backbone() else {
        return Ok(model.backbone().forward(images)?);
    };
    let embedded = vit.embed(images)?;
    let ([_, count, dim], device) = (embedded.dims(), embedded.device());
    let attending = vit.config().attending_tokens();
    let encoded =
        encoder.run(&host(embedded)?, attending).map_err(|error| EngineError::Compute(error.to_string()))?;
    let prefix = vit.config().prefix_tokens();
    let tokens = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, count, dim]), &device);
    let attention = encoded.attention[prefix..].to_vec();
    Ok(Tokens {
        last: tokens(encoded.last),
        last_prefix: prefix,
        local: tokens(encoded.local),
        local_prefix: prefix,
        attention: Some(Tensor::from_data(TensorData::new(attention, [1, count - prefix]), &device)),
    })
}

/// Packs a model's reranker for a level of vector instructions.
///
/// # Errors
/// [`KernelError::Unusual`] for a model without a reranker, and for sizes that only the plain path covers.
pub fn fused_reranker(model: &R2Former, level: Level) -> Result<Reranker, KernelError> {
    let (Some(reranker), Some(shape)) = (&model.reranker, shape_of(model.config())) else {
        return Err(KernelError::Unusual("a model without a reranker".into()));
    };
    // Refused before anything is copied.
    shape.check()?;
    let mut put = Put::default();
    reranker.save(&mut put, "");
    let tensors = put.finish().map_err(|error| KernelError::Unusual(error.to_string()))?;
    Reranker::new(level, shape, &|name| tensors.get(&format!(".{name}")).map(|tensor| tensor.data.as_slice()))
}

fn shape_of(config: &ModelConfig) -> Option<RerankerShape> {
    let c = config.reranker.as_ref()?;
    Some(RerankerShape {
        feature: config.local_row().checked_sub(3)?,
        dim: c.dim,
        heads: c.heads,
        pair_depth: c.pair_depth,
        depth: c.depth,
        mlp_ratio: c.mlp_ratio,
        neighbours: c.neighbours,
        use_xy: c.use_xy,
        use_attention: c.use_attention,
        use_correlation: c.use_correlation,
        use_position_embedding: c.use_position_embedding,
        epsilon: c.norm_eps as f32,
    })
}
