//! A model's aggregation on CPU kernels.

use crate::fused::one;
use crate::host::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{Boq, BoqOutput, BoqShape, KernelError, Level, Mix, MixShape};
use r2former_model::aggregate::{self, Aggregate, EPSILON, NAME};
use r2former_model::backbone::Tokens;
use r2former_model::weights::TensorWriter;
use r2former_model::{Features, GlobalConfig, Precision, R2Former};

/// A model's aggregation as CPU kernels.
#[allow(clippy::large_enum_variant, reason = "a model has one")]
#[derive(Debug, Clone)]
pub enum FusedAggregate {
    /// Attention of learned queries.
    Boq(Boq),
    /// Mixing of positions.
    MixVpr(Mix),
}

impl FusedAggregate {
    /// Packs a model's aggregation for a level of vector instructions.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for what only the plain path covers: other aggregations, and bfloat16.
    pub fn new(model: &R2Former, level: Level) -> Result<Self, KernelError> {
        let config = model.config();
        let (Some(aggregate), Precision::F32 | Precision::Int8) = (model.aggregate(), config.precision)
        else {
            return Err(KernelError::Unsupported("this aggregation".into()));
        };
        let save = |put: &mut TensorWriter| aggregate.save(put);
        let get = |name: &str| one(&format!("{NAME}.{name}"), save);
        let epsilon = EPSILON as f32;
        match &config.global {
            GlobalConfig::Boq(c) => {
                let shape = BoqShape {
                    input: config.backbone_dim(),
                    width: c.width,
                    heads: c.heads,
                    hidden: 4 * c.width,
                    queries: c.queries,
                    layers: c.layers,
                    epsilon,
                };
                Ok(Self::Boq(Boq::new(level, shape, &get)?))
            }
            GlobalConfig::MixVpr(c) => {
                let shape = MixShape {
                    width: config.backbone_dim(),
                    positions: c.positions(),
                    hidden: c.hidden,
                    depth: c.depth,
                    channels: c.channels,
                    rows: c.rows,
                    epsilon,
                };
                Ok(Self::MixVpr(Mix::new(level, shape, &get)?))
            }
            _ => Err(KernelError::Unsupported("this aggregation".into())),
        }
    }

    /// [`R2Former::features`] of one image; `model` is the one passed to [`FusedAggregate::new`].
    ///
    /// # Errors
    /// [`EngineError::Compute`] for tokens of another number than their grid, [`EngineError::Model`] as the model.
    pub fn features(&self, model: &R2Former, tokens: Tokens, size: [usize; 2]) -> Result<Features> {
        match self.aggregate(model, &tokens)? {
            Some((descriptor, weights)) => Ok(model.features_aggregated(tokens, descriptor, weights, size)?),
            None => Ok(model.features(tokens, size)?),
        }
    }

    /// The descriptor of one image, not normalised, and the weight of each patch in it, as
    /// [`Aggregate::forward_with_weights`] returns them; `None` for a model with another aggregation.
    ///
    /// # Errors
    /// [`EngineError::Compute`] for tokens of another number than their grid.
    pub fn aggregate(
        &self,
        model: &R2Former,
        tokens: &Tokens,
    ) -> Result<Option<(Tensor<2>, Option<Tensor<2>>)>> {
        let failed = |error: KernelError| EngineError::Compute(error.to_string());
        let ([_, count, _], prefix) = (tokens.last.dims(), tokens.last_prefix);
        let patches = || host(tokens.last.clone().narrow(1, prefix, count - prefix));
        let device = tokens.last.device();
        match (self, model.aggregate()) {
            (Self::Boq(fused), Some(Aggregate::Boq(boq))) => {
                let found = fused.run(&patches()?, tokens.grid).map_err(failed)?;
                Ok(Some(of_queries(boq, found, &device)))
            }
            (Self::MixVpr(fused), Some(Aggregate::MixVpr(_))) => {
                let descriptor = fused.run(&patches()?).map_err(failed)?;
                let shape = [1, descriptor.len()];
                Ok(Some((Tensor::from_data(TensorData::new(descriptor, shape), &device), None)))
            }
            _ => Ok(None),
        }
    }
}

/// BoQ's descriptor of what its queries found, and the attention to each patch.
fn of_queries(
    boq: &aggregate::Boq,
    found: BoqOutput,
    device: &r2former_model::Device,
) -> (Tensor<2>, Option<Tensor<2>>) {
    let BoqOutput { queries, width, attention } = found;
    let patches = attention.len();
    let weights = Tensor::from_data(TensorData::new(attention, [1, patches]), device);
    let shape = [1, queries.len() / width, width];
    (boq.project(Tensor::from_data(TensorData::new(queries, shape), device)), Some(weights))
}
