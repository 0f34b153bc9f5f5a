//! The model's parts on CPU kernels.

use crate::fused_conv::conv_net;
use crate::host::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{
    AdapterShape, ConvNet, Encoded, Encoder, EncoderShape, FeatureMap, KernelError, Level, MatmulPrecision,
    PrecomputedPrefix, Reranker, RerankerArithmetic, RerankerShape, TensorValues,
};
use r2former_model::backbone::{Backbone, Tokens, Vit};
use r2former_model::layers::PARALLEL;
use r2former_model::weights::{StoredValues, TensorWriter};
use r2former_model::{AdapterConfig, Device, ModelConfig, Precision, R2Former};
use std::cell::RefCell;
use std::sync::Arc;

/// A model's backbone as CPU kernels, for images of one size.
#[derive(Debug, Clone)]
pub struct FusedBackbone {
    network: Network,
    size: [usize; 2],
    device: Device,
}

/// Weights are shared by every size: packed, they are as large as the model.
#[derive(Debug, Clone)]
enum Network {
    Vit {
        encoder: Arc<Encoder>,
        blank: PrecomputedPrefix,
        prefix: usize,
        /// Side of a patch.
        patch: usize,
    },
    Conv(Arc<ConvNet>),
}

impl FusedBackbone {
    /// Packs a model's backbone for a level of vector instructions. Convolutional networks have no kernels in bfloat16: there they
    /// are computed in f32, as by the model's own operations.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for sizes that only the plain path covers.
    pub fn new(
        model: &R2Former,
        level: Level,
        products: MatmulPrecision,
        size: [usize; 2],
    ) -> Result<Self, KernelError> {
        let Backbone::Vit(vit) = model.backbone() else {
            return Self::convolutional(model, level, products, size);
        };
        let (blank, shape) = (Blank::of(vit, size)?, encoder_shape(model, vit));
        let save = |put: &mut TensorWriter| vit.save(put, "");
        let encoder = Encoder::new(level, products, shape, &|name| one(&format!(".{name}"), save))?;
        blank.network(encoder)
    }

    /// The same, and frees the blocks of a transformer one by one as they are packed, so that they are never twice in memory
    /// ([`R2Former::release_blocks`]).
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] as [`new`](Self::new), and the model is as it was.
    pub fn taking(
        model: &mut R2Former,
        level: Level,
        products: MatmulPrecision,
        size: [usize; 2],
    ) -> Result<Self, KernelError> {
        let Backbone::Vit(vit) = model.backbone() else {
            return Self::convolutional(model, level, products, size);
        };
        let (blank, shape) = (Blank::of(vit, size)?, encoder_shape(model, vit));
        let model = RefCell::new(model);
        // The encoder asks for its blocks from the last one on.
        let get = |name: &str| {
            let block =
                name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
            if let Some(block) = block {
                model.borrow_mut().release_blocks(block + 1);
            }
            let model = model.borrow();
            let Backbone::Vit(vit) = model.backbone() else { return None };
            one(&format!(".{name}"), |put: &mut TensorWriter| vit.save(put, ""))
        };
        let encoder = Encoder::new(level, products, shape, &get)?;
        model.into_inner().release_blocks(0);
        blank.network(encoder)
    }

    fn convolutional(
        model: &R2Former,
        level: Level,
        products: MatmulPrecision,
        size: [usize; 2],
    ) -> Result<Self, KernelError> {
        let network = Network::Conv(Arc::new(conv_net(model.backbone(), level, products)?));
        Ok(Self { network, size, device: Device::flex() })
    }

    /// The same for images of another size (height, width); `model` is the one passed to [`FusedBackbone::new`].
    /// Computes a transformer's position embedding at that size, about a hundredth of the cost of an image.
    ///
    /// # Errors
    /// [`EngineError::Model`] for a size that the backbone cannot take.
    pub fn at(&self, model: &R2Former, size: [usize; 2]) -> Result<Self> {
        model.config().check_size(size[0], size[1])?;
        let mut network = self.network.clone();
        if let Network::Vit { encoder, blank: of_size, .. } = &mut network {
            let Backbone::Vit(vit) = model.backbone() else {
                return Err(EngineError::Request("a backbone that is no vision transformer".into()));
            };
            *of_size = Blank::of(vit, size)
                .and_then(|blank| blank.of_encoder(encoder))
                .map_err(|error| EngineError::Request(error.to_string()))?;
        }
        Ok(Self { network, size, device: self.device.clone() })
    }

    /// Height and width of its images.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The vector instructions that it runs on.
    pub fn level(&self) -> Level {
        match &self.network {
            Network::Vit { encoder, .. } => encoder.level(),
            Network::Conv(net) => net.level(),
        }
    }

    /// The arithmetic of its products: that asked for where the level has the instructions, else f32.
    pub fn products(&self) -> Precision {
        match &self.network {
            Network::Vit { encoder, .. } if encoder.is_bf16() => Precision::Bf16,
            Network::Vit { encoder, .. } if encoder.is_int8() => Precision::Int8,
            Network::Conv(net) if net.is_int8() => Precision::Int8,
            _ => Precision::F32,
        }
    }

    /// The backbone's tokens of one image `[3, height, width]`. Where the global head uses only the first tokens,
    /// [`Tokens::last`] holds no others.
    ///
    /// # Errors
    /// [`EngineError::Compute`] for an image of another size.
    pub fn tokens(&self, image: &[f32]) -> Result<Tokens> {
        let failed = |error: KernelError| EngineError::Compute(error.to_string());
        match &self.network {
            Network::Vit { encoder, blank, prefix, patch } => {
                let encoded = encoder.run(blank, image).map_err(failed)?;
                Ok(self.of_transformer(encoded, *prefix, *patch))
            }
            Network::Conv(net) => self.of_maps(net.run(image, self.size).map_err(failed)?),
        }
    }

    fn of_transformer(&self, encoded: Encoded, prefix: usize, patch: usize) -> Tokens {
        let attention = encoded.attention[prefix..].to_vec();
        let count = encoded.attention.len();
        let dim = encoded.local.len() / count;
        Tokens {
            last: self.tensor(encoded.last, dim),
            last_prefix: prefix,
            grid: self.size.map(|side| side / patch),
            local: self.tensor(encoded.local, dim),
            local_prefix: prefix,
            attention: Some(Tensor::from_data(TensorData::new(attention, [1, count - prefix]), &self.device)),
        }
    }

    /// From the map of local features, if it is another, and the last map.
    fn of_maps(&self, mut maps: Vec<FeatureMap>) -> Result<Tokens> {
        let Some(last) = maps.pop() else {
            return Err(EngineError::Compute("the network returned no map".into()));
        };
        let grid = [last.rows, last.columns];
        let last = self.tensor(last.values, last.channels);
        let local = match maps.pop() {
            Some(local) => self.tensor(local.values, local.channels),
            None => last.clone(),
        };
        Ok(Tokens { last, last_prefix: 0, grid, local, local_prefix: 0, attention: None })
    }

    /// Rows of `width` as tokens of one image.
    fn tensor(&self, values: Vec<f32>, width: usize) -> Tensor<3> {
        let count = values.len() / width;
        Tensor::from_data(TensorData::new(values, [1, count, width]), &self.device)
    }
}

/// The sizes of a model's vision transformer.
fn encoder_shape(model: &R2Former, vit: &Vit) -> EncoderShape {
    let c = vit.config();
    let factor = PARALLEL as f32;
    EncoderShape {
        patch: c.patch,
        dim: c.dim,
        depth: c.depth,
        heads: c.heads,
        mlp_ratio: c.mlp_ratio,
        swiglu: c.swiglu,
        epsilon: c.norm_eps as f32,
        layer_scale: c.layer_scale,
        adapters: c.adapters.map(|adapters| match adapters {
            AdapterConfig::Linear { width } => AdapterShape::Linear { width, factor },
            AdapterConfig::Parallel { width } => AdapterShape::Parallel { width, factor },
            AdapterConfig::Side { width, count } => AdapterShape::Side { width, count },
        }),
        values: c.values,
        final_norm: c.final_norm,
        class_tokens: c.class_tokens(),
        local_layer: vit.local_layer(),
        all_outputs: model.config().global.uses_patch_tokens(),
    }
}

/// A blank image of one size as a transformer embeds it.
struct Blank {
    /// Height and width.
    size: [usize; 2],
    tokens: Vec<f32>,
    angles: Option<Vec<f32>>,
    prefix: usize,
    patch: usize,
}

impl Blank {
    fn of(vit: &Vit, size: [usize; 2]) -> Result<Self, KernelError> {
        let [height, width] = size;
        let unusual = |error: &dyn std::fmt::Display| KernelError::Unsupported(error.to_string());
        let zeros = Tensor::zeros([1, 3, height, width], &Device::flex());
        let tokens =
            host(vit.embed(zeros).map_err(|error| unusual(&error))?).map_err(|error| unusual(&error))?;
        let c = vit.config();
        let angles = vit.rotary_angles([height / c.patch, width / c.patch]);
        Ok(Self { size, tokens, angles, prefix: c.prefix_tokens(), patch: c.patch })
    }

    fn of_encoder(&self, encoder: &Encoder) -> Result<PrecomputedPrefix, KernelError> {
        let [height, width] = self.size;
        let prefix = encoder.precompute_prefix(&self.tokens, height, width)?;
        match &self.angles {
            Some(angles) => encoder.with_rotary(prefix, angles),
            None => Ok(prefix),
        }
    }

    fn network(self, encoder: Encoder) -> Result<FusedBackbone, KernelError> {
        let blank = self.of_encoder(&encoder)?;
        let network =
            Network::Vit { encoder: Arc::new(encoder), blank, prefix: self.prefix, patch: self.patch };
        Ok(FusedBackbone { network, size: self.size, device: Device::flex() })
    }
}

/// Packs a model's reranker for a level of vector instructions, in an arithmetic.
///
/// # Errors
/// [`KernelError::Unsupported`] for a model without a reranker, and for sizes that only the plain path covers.
pub fn fused_reranker(
    model: &R2Former,
    level: Level,
    arithmetic: RerankerArithmetic,
) -> Result<Reranker, KernelError> {
    let (Some(reranker), Some(shape)) = (&model.reranker, shape_of(model.config())) else {
        return Err(KernelError::Unsupported("a model without a reranker".into()));
    };
    // Refused before anything is copied.
    shape.check()?;
    let save = |put: &mut TensorWriter| reranker.save(put, "");
    Reranker::new(level, arithmetic, shape, &|name| one(&format!(".{name}"), save))
}

/// One tensor of those that `save` writes: a copy of all weights beside the model's and the packed ones would be a third.
pub(crate) fn one(name: &str, save: impl Fn(&mut TensorWriter)) -> Option<TensorValues<'static>> {
    let mut put = TensorWriter::only(name);
    save(&mut put);
    put.finish_stored().ok()?.remove(name).map(|tensor| for_kernels(tensor.data))
}

/// Values as kernels take them.
pub(crate) fn for_kernels(values: StoredValues) -> TensorValues<'static> {
    match values {
        StoredValues::F32(values) => values.into(),
        StoredValues::F16(values) => values.into(),
    }
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
