//! The model's reranker as one CPU kernel.

use r2former_kernels::{KernelError, Level, Reranker, RerankerShape};
use r2former_model::weights::Put;
use r2former_model::{ModelConfig, R2Former};

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
