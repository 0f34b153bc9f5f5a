//! A model's aggregation on CPU kernels.

use crate::fused::one;
use crate::host::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{Boq, BoqOutput, BoqShape, KernelError, Level};
use r2former_model::aggregate::{Aggregate, EPSILON, NAME};
use r2former_model::backbone::Tokens;
use r2former_model::weights::TensorWriter;
use r2former_model::{Features, GlobalConfig, Precision, R2Former};

/// A model's aggregation as CPU kernels: BoQ.
#[derive(Debug, Clone)]
pub struct FusedAggregate(Boq);

impl FusedAggregate {
    /// Packs a model's aggregation for a level of vector instructions.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for what only the plain path covers: other aggregations, and bfloat16.
    pub fn new(model: &R2Former, level: Level) -> Result<Self, KernelError> {
        let config = model.config();
        let (GlobalConfig::Boq(c), Some(aggregate), Precision::F32 | Precision::Int8) =
            (&config.global, model.aggregate(), config.precision)
        else {
            return Err(KernelError::Unsupported("this aggregation".into()));
        };
        let shape = BoqShape {
            input: config.backbone_dim(),
            width: c.width,
            heads: c.heads,
            hidden: 4 * c.width,
            queries: c.queries,
            layers: c.layers,
            epsilon: EPSILON as f32,
        };
        let save = |put: &mut TensorWriter| aggregate.save(put);
        Ok(Self(Boq::new(level, shape, &|name| one(&format!("{NAME}.{name}"), save))?))
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
    pub fn aggregate(&self, model: &R2Former, tokens: &Tokens) -> Result<Option<(Tensor<2>, Tensor<2>)>> {
        let Some(Aggregate::Boq(boq)) = model.aggregate() else { return Ok(None) };
        let ([_, count, _], prefix) = (tokens.last.dims(), tokens.last_prefix);
        let patches = host(tokens.last.clone().narrow(1, prefix, count - prefix))?;
        let BoqOutput { queries, width, attention } =
            self.0.run(&patches, tokens.grid).map_err(|error| EngineError::Compute(error.to_string()))?;
        let device = tokens.last.device();
        let weights = Tensor::from_data(TensorData::new(attention, [1, count - prefix]), &device);
        let shape = [1, queries.len() / width, width];
        let descriptor = boq.project(Tensor::from_data(TensorData::new(queries, shape), &device));
        Ok(Some((descriptor, weights)))
    }
}
