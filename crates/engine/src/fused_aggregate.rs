//! A model's aggregation on CPU kernels.

use crate::fused::{for_kernels, one};
use crate::host::host;
use crate::{EngineError, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{
    Boq, BoqOutput, BoqShape, KernelError, Level, MatmulPrecision, Mix, MixShape, Salad, SaladOutput,
    SaladShape,
};
use r2former_model::aggregate::{self, Aggregate, EPSILON, NAME, SINKHORN_ROUNDS};
use r2former_model::backbone::Tokens;
use r2former_model::weights::{StoredValues, TensorWriter};
use r2former_model::{Features, GlobalConfig, Precision, R2Former};
use std::cell::RefCell;

/// A model's aggregation as CPU kernels.
#[allow(clippy::large_enum_variant, reason = "a model has one")]
#[derive(Debug, Clone)]
pub enum FusedAggregate {
    /// Attention of learned queries.
    Boq(Boq),
    /// Mixing of positions.
    MixVpr(Mix),
    /// Optimal transport to clusters.
    Salad(Salad),
}

impl FusedAggregate {
    /// Packs a model's aggregation for a level of vector instructions. Of the aggregations SALAD alone is computed in 8 bits
    /// where the model is.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for what only the plain path covers: other aggregations, and bfloat16.
    pub fn new(model: &R2Former, level: Level) -> Result<Self, KernelError> {
        Self::packed(model, level, shape_of(model)?, [None, None])
    }

    /// The same, and takes a linear layer that may be half of the model out of it, so that it is never twice in memory
    /// ([`R2Former::take_linear`]).
    ///
    /// # Errors
    /// As [`new`](Self::new), and the model is as it was.
    pub fn taking(model: &mut R2Former, level: Level) -> Result<Self, KernelError> {
        let shape = shape_of(model)?;
        let taken = model.take_linear().map_or([None, None], |taken| taken.map(Some));
        Self::packed(model, level, shape, taken)
    }

    /// `taken` are weight and bias of a linear layer that the model has no longer.
    fn packed(
        model: &R2Former,
        level: Level,
        shape: Shape,
        taken: [Option<StoredValues>; 2],
    ) -> Result<Self, KernelError> {
        let [weight, bias] = taken.map(RefCell::new);
        let get = |name: &str| {
            let taken = match name {
                "linear.weight" => weight.take(),
                "linear.bias" => bias.take(),
                _ => None,
            };
            let save = |put: &mut TensorWriter| model.aggregate().into_iter().for_each(|own| own.save(put));
            taken.map(for_kernels).or_else(|| one(&format!("{NAME}.{name}"), save))
        };
        Ok(match shape {
            Shape::Boq(shape) => Self::Boq(Boq::new(level, shape, &get)?),
            Shape::MixVpr(shape) => Self::MixVpr(Mix::new(level, shape, &get)?),
            Shape::Salad(shape) => {
                let products = match model.config().precision {
                    Precision::Int8 => MatmulPrecision::Int8,
                    _ => MatmulPrecision::F32,
                };
                Self::Salad(Salad::new(level, products, shape, &get)?)
            }
        })
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
            (Self::Salad(fused), _) => {
                let token = host(tokens.last.clone().narrow(1, 0, 1))?;
                let SaladOutput { descriptor, used } = fused.run(&patches()?, &token).map_err(failed)?;
                let of = |values: Vec<f32>| {
                    let shape = [1, values.len()];
                    Tensor::from_data(TensorData::new(values, shape), &device)
                };
                Ok(Some((of(descriptor), Some(of(used)))))
            }
            _ => Ok(None),
        }
    }
}

/// The sizes of an aggregation that has kernels.
enum Shape {
    Boq(BoqShape),
    MixVpr(MixShape),
    Salad(SaladShape),
}

fn shape_of(model: &R2Former) -> Result<Shape, KernelError> {
    let config = model.config();
    let width = config.backbone_dim();
    let epsilon = EPSILON as f32;
    match (&config.global, config.precision) {
        (GlobalConfig::Boq(c), Precision::F32 | Precision::Int8) => Ok(Shape::Boq(BoqShape {
            input: width,
            width: c.width,
            heads: c.heads,
            hidden: 4 * c.width,
            queries: c.queries,
            layers: c.layers,
            epsilon,
        })),
        (GlobalConfig::MixVpr(c), Precision::F32 | Precision::Int8) => Ok(Shape::MixVpr(MixShape {
            width,
            positions: c.positions(),
            hidden: c.hidden,
            depth: c.depth,
            channels: c.channels,
            rows: c.rows,
            epsilon,
        })),
        (GlobalConfig::Salad(c), Precision::F32 | Precision::Int8) => {
            let shape = SaladShape {
                input: width,
                hidden: c.hidden,
                token: c.token,
                dim: c.dim,
                clusters: c.clusters,
                linear: c.linear,
                rounds: SINKHORN_ROUNDS,
            };
            // Refused before anything is taken.
            shape.check()?;
            Ok(Shape::Salad(shape))
        }
        _ => Err(KernelError::Unsupported("this aggregation".into())),
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
