//! Learned aggregations: from all tokens, or all positions of a feature map, to one descriptor. Names of tensors are those of
//! the published files.

mod boq;
mod crica;
mod gem;
mod local_vlad;
mod mixvpr;
mod netvlad;
mod salad;
mod vlad;

pub use boq::Boq;
pub use crica::{Crica, HALVES as CRICA_HALVES, THIRDS as CRICA_THIRDS};
pub use gem::Gem;
pub use local_vlad::{LocalVlad, residuals};
pub use mixvpr::MixVpr;
pub use netvlad::NetVlad;
pub use salad::{ROUNDS as SINKHORN_ROUNDS, Salad};
pub use vlad::Vlad;

use crate::backbone::Tokens;
use crate::weights::{TensorReader, TensorWriter};
use crate::{GlobalConfig, ModelConfig};
use burn::module::Module;
use burn::tensor::Tensor;

/// Prefix of an aggregation's tensors.
pub const NAME: &str = "aggregator";

/// Epsilon of every layer norm: PyTorch's default.
pub const EPSILON: f64 = 1e-5;

/// One of the supported aggregations.
#[allow(clippy::large_enum_variant, reason = "a model has one")]
#[derive(Module, Debug)]
pub enum Aggregate {
    /// Optimal transport to clusters.
    Salad(Salad),
    /// Attention of learned queries.
    Boq(Boq),
    /// Mixing of positions.
    MixVpr(MixVpr),
    /// Residuals to cluster centres.
    NetVlad(NetVlad),
    /// Residuals to the nearest centre.
    Vlad(Vlad),
    /// Residuals of local features.
    LocalVlad(LocalVlad),
    /// GeM between linear layers.
    Gem(Gem),
    /// Regions and an encoder.
    Crica(Crica),
}

impl Aggregate {
    /// Builds the aggregation from the tensors under `aggregator.`; `None` if the configuration has another global head.
    pub fn load(reader: &mut TensorReader, config: &ModelConfig) -> Option<Self> {
        let width = config.backbone_dim();
        match &config.global {
            GlobalConfig::Salad(salad) => {
                Some(Self::Salad(Salad::load(reader, NAME, width, salad, config.precision)))
            }
            GlobalConfig::Boq(boq) => Some(Self::Boq(Boq::load(reader, NAME, width, boq, config.precision))),
            GlobalConfig::MixVpr(mix) => Some(Self::MixVpr(MixVpr::load(reader, NAME, mix, width))),
            GlobalConfig::NetVlad(vlad) => Some(Self::NetVlad(NetVlad::load(reader, NAME, vlad, width))),
            GlobalConfig::Vlad(vlad) => Some(Self::Vlad(Vlad::load(reader, NAME, vlad, width))),
            GlobalConfig::LocalVlad(vlad) => {
                let width = config.local.as_ref().map_or(0, |local| local.dim);
                Some(Self::LocalVlad(LocalVlad::load(reader, NAME, vlad, width)))
            }
            GlobalConfig::Gem(gem) => Some(Self::Gem(Gem::load(reader, NAME, width, gem, config.precision))),
            GlobalConfig::Crica(crica) => {
                Some(Self::Crica(Crica::load(reader, NAME, width, crica, config.precision)))
            }
            GlobalConfig::Linear { .. } | GlobalConfig::Pooled { .. } => None,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter) {
        match self {
            Self::Salad(salad) => salad.save(writer, NAME),
            Self::Boq(boq) => boq.save(writer, NAME),
            Self::MixVpr(mix) => mix.save(writer, NAME),
            Self::NetVlad(vlad) => vlad.save(writer, NAME),
            Self::Vlad(vlad) => vlad.save(writer, NAME),
            Self::LocalVlad(vlad) => vlad.save(writer, NAME),
            Self::Gem(gem) => gem.save(writer, NAME),
            Self::Crica(crica) => crica.save(writer, NAME),
        }
    }

    /// The descriptor before the last normalisation, `[batch, dim]`.
    pub fn forward(&self, tokens: &Tokens) -> Tensor<2> {
        self.forward_with_weights(tokens).0
    }

    /// [`forward`](Self::forward), and how much each patch counts in it, `[batch, patches]`: the share that SALAD assigns to
    /// clusters, or the attention of BoQ's queries, summed over queries and averaged over heads and blocks. `None` for
    /// aggregations in which all positions count alike.
    pub fn forward_with_weights(&self, tokens: &Tokens) -> (Tensor<2>, Option<Tensor<2>>) {
        let [batch, count, width] = tokens.last.dims();
        let patches = tokens.last.clone().narrow(1, tokens.last_prefix, count - tokens.last_prefix);
        match self {
            Self::Salad(salad) => {
                let token = tokens.last.clone().narrow(1, 0, 1).reshape([batch, width]);
                salad.forward(patches, token)
            }
            Self::Boq(boq) => boq.forward(patches, tokens.grid),
            Self::MixVpr(mix) => (mix.forward(patches), None),
            Self::NetVlad(vlad) => (vlad.forward(patches), None),
            // Of features that the local head has projected.
            Self::LocalVlad(vlad) => (vlad.forward(patches), None),
            Self::Vlad(vlad) => (vlad.forward(patches), None),
            Self::Gem(gem) => (gem.forward(patches), None),
            Self::Crica(crica) => (crica.forward(patches, tokens.last.clone().narrow(1, 0, 1)), None),
        }
    }
}
