//! The model's parts on CPU kernels.

use crate::host::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{
    Encoder, EncoderShape, KernelError, Level, MatmulPrecision, PrecomputedPrefix, Reranker, RerankerShape,
};
use r2former_model::backbone::{Backbone, Tokens, Vit};
use r2former_model::weights::TensorWriter;
use r2former_model::{Device, ModelConfig, R2Former};
use std::sync::Arc;

/// A model's vision transformer as CPU kernels, for images of one size.
#[derive(Debug, Clone)]
pub struct FusedBackbone {
    /// Shared by every size: its packed weights are as large as the model.
    encoder: Arc<Encoder>,
    blank: PrecomputedPrefix,
    prefix: usize,
    /// Rows and columns of patches.
    grid: [usize; 2],
    device: Device,
}

impl FusedBackbone {
    /// Packs a model's vision transformer for a level of vector instructions.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for another backbone, or sizes that only the plain path covers.
    pub fn new(
        model: &R2Former,
        level: Level,
        products: MatmulPrecision,
        size: [usize; 2],
    ) -> Result<Self, KernelError> {
        let device = Device::flex();
        let Backbone::Vit(vit) = model.backbone() else {
            return Err(KernelError::Unsupported("a backbone that is no vision transformer".into()));
        };
        let c = vit.config();
        if c.swiglu.is_some() {
            return Err(KernelError::Unsupported("gated MLPs (SwiGLU)".into()));
        }
        if c.adapters.is_some() {
            return Err(KernelError::Unsupported("adapters".into()));
        }
        if c.values {
            return Err(KernelError::Unsupported("values of a block".into()));
        }
        if !c.rotary.is_empty() {
            return Err(KernelError::Unsupported("rotary positions".into()));
        }
        let shape = EncoderShape {
            patch: c.patch,
            dim: c.dim,
            depth: c.depth,
            heads: c.heads,
            mlp_ratio: c.mlp_ratio,
            epsilon: c.norm_eps as f32,
            layer_scale: c.layer_scale,
            final_norm: c.final_norm,
            class_tokens: c.class_tokens(),
            local_layer: vit.local_layer(),
            all_outputs: model.config().global.uses_patch_tokens(),
        };
        let unusual = |error: &dyn std::fmt::Display| KernelError::Unsupported(error.to_string());
        let mut put = TensorWriter::default();
        vit.save(&mut put, "");
        let tensors = put.finish().map_err(|error| unusual(&error))?;
        let get = |name: &str| tensors.get(&format!(".{name}")).map(|tensor| tensor.data.as_slice());
        let encoder = Arc::new(Encoder::new(level, products, shape, &get)?);
        let blank = blank(&encoder, vit, size, &device)?;
        let grid = size.map(|side| side / c.patch);
        Ok(Self { encoder, blank, prefix: c.prefix_tokens(), grid, device })
    }

    /// The same for images of another size (height, width); `model` is the one passed to [`FusedBackbone::new`].
    /// Computes the position embedding at that size, about a hundredth of the cost of an image.
    ///
    /// # Errors
    /// [`EngineError::Model`] for a size that the backbone cannot take.
    pub fn at(&self, model: &R2Former, size: [usize; 2]) -> Result<Self> {
        model.config().check_size(size[0], size[1])?;
        let Backbone::Vit(vit) = model.backbone() else {
            return Err(EngineError::Request("a backbone that is no vision transformer".into()));
        };
        let blank = blank(&self.encoder, vit, size, &self.device)
            .map_err(|error| EngineError::Request(error.to_string()))?;
        Ok(Self {
            encoder: Arc::clone(&self.encoder),
            blank,
            prefix: self.prefix,
            grid: size.map(|side| side / vit.config().patch),
            device: self.device.clone(),
        })
    }

    /// The kernel itself.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The backbone's tokens of one image `[3, height, width]`. Where the global head uses only the first tokens,
    /// [`Tokens::last`] holds no others.
    ///
    /// # Errors
    /// [`EngineError::Compute`] for an image of another size.
    pub fn tokens(&self, image: &[f32]) -> Result<Tokens> {
        let encoded =
            self.encoder.run(&self.blank, image).map_err(|error| EngineError::Compute(error.to_string()))?;
        let attention = encoded.attention[self.prefix..].to_vec();
        let count = encoded.attention.len();
        let dim = encoded.local.len() / count;
        let tokens = |values: Vec<f32>| {
            let count = values.len() / dim;
            Tensor::from_data(TensorData::new(values, [1, count, dim]), &self.device)
        };
        Ok(Tokens {
            last: tokens(encoded.last),
            last_prefix: self.prefix,
            grid: self.grid,
            local: tokens(encoded.local),
            local_prefix: self.prefix,
            attention: Some(Tensor::from_data(
                TensorData::new(attention, [1, count - self.prefix]),
                &self.device,
            )),
        })
    }
}

/// The tokens of a blank image of one size (height, width), as the model embeds it.
fn blank(
    encoder: &Encoder,
    vit: &Vit,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<PrecomputedPrefix, KernelError> {
    let unusual = |error: &dyn std::fmt::Display| KernelError::Unsupported(error.to_string());
    let zeros = Tensor::zeros([1, 3, height, width], device);
    let embedded = vit.embed(zeros).map_err(|error| unusual(&error))?;
    let embedded = host(embedded).map_err(|error| unusual(&error))?;
    encoder.precompute_prefix(&embedded, height, width)
}

/// Packs a model's reranker for a level of vector instructions.
///
/// # Errors
/// [`KernelError::Unsupported`] for a model without a reranker, and for sizes that only the plain path covers.
pub fn fused_reranker(model: &R2Former, level: Level) -> Result<Reranker, KernelError> {
    let (Some(reranker), Some(shape)) = (&model.reranker, shape_of(model.config())) else {
        return Err(KernelError::Unsupported("a model without a reranker".into()));
    };
    // Refused before anything is copied.
    shape.check()?;
    let mut put = TensorWriter::default();
    reranker.save(&mut put, "");
    let tensors = put.finish().map_err(|error| KernelError::Unsupported(error.to_string()))?;
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
