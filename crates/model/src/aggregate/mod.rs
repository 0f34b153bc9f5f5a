//! Aggregations with layers of their own: from a feature map to the global descriptor.

mod mixvpr;
mod netvlad;

pub use mixvpr::MixVpr;
pub use netvlad::NetVlad;

use crate::weights::{TensorReader, TensorWriter};
use crate::{GlobalConfig, ModelConfig};
use burn::module::Module;
use burn::tensor::Tensor;

/// One of the supported aggregations.
#[derive(Module, Debug)]
pub enum Aggregator {
    /// MixVPR.
    MixVpr(MixVpr),
    /// NetVLAD.
    NetVlad(NetVlad),
}

impl Aggregator {
    /// Builds the aggregation from the tensors under `aggregator.`; `None` if the global head is another.
    pub fn load(reader: &mut TensorReader, config: &ModelConfig) -> Option<Self> {
        let width = config.backbone_dim();
        match &config.global {
            GlobalConfig::MixVpr(mix) => Some(Self::MixVpr(MixVpr::load(reader, "aggregator", mix, width))),
            GlobalConfig::NetVlad(vlad) => {
                Some(Self::NetVlad(NetVlad::load(reader, "aggregator", vlad, width)))
            }
            GlobalConfig::Linear { .. } | GlobalConfig::Pooled { .. } => None,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter) {
        match self {
            Self::MixVpr(mix) => mix.save(writer, "aggregator"),
            Self::NetVlad(vlad) => vlad.save(writer, "aggregator"),
        }
    }

    /// The descriptor before its normalisation, `[batch, dim]`, of a map `[batch, positions, width]`.
    pub fn forward(&self, map: Tensor<3>) -> Tensor<2> {
        match self {
            Self::MixVpr(mix) => mix.forward(map),
            Self::NetVlad(vlad) => vlad.forward(map),
        }
    }
}
