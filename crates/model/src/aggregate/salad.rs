//! SALAD (Izquierdo and Civera, Optimal Transport Aggregation for Visual Place Recognition, CVPR 2024), and the linear
//! layer that MegaLoc (Berton and Masone, 2025) adds.

use crate::layers::Projection;
use crate::pooling::unit;
use crate::weights::{Init, StoredValues, TensorReader, TensorWriter};
use crate::{Precision, SaladConfig};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Rounds of the Sinkhorn algorithm.
pub const ROUNDS: usize = 3;

/// Assigns the patches to clusters by optimal transport, and sums their features by cluster.
#[derive(Module, Debug)]
pub struct Salad {
    token: Mlp,
    features: Mlp,
    scores: Mlp,
    /// Score of every patch for being unused.
    dust_bin: Param<Tensor<1>>,
    linear: Option<Projection>,
    clusters: usize,
}

/// Two layers with a ReLU between. Those of patches are stored as convolutions of 1 x 1.
#[derive(Module, Debug)]
struct Mlp {
    first: Projection,
    second: Projection,
}

/// Where an [`Mlp`] is stored: its name, the number of its second layer, and whether its layers are convolutions.
struct Place(&'static str, usize, bool);

const TOKEN: Place = Place("token_features", 2, false);
const FEATURES: Place = Place("cluster_features", 3, true);
const SCORES: Place = Place("score", 3, true);

impl Salad {
    /// Builds the aggregation of tokens of `width` from the tensors under `{name}.`.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        width: usize,
        c: &SaladConfig,
        precision: Precision,
    ) -> Self {
        let mut mlp = |place: Place, out: usize| {
            let Place(part, second, _) = place;
            let layer = |reader: &mut TensorReader, index: usize, d_in: usize, d_out: usize| {
                let shape = [d_out, d_in, 1, 1];
                let shape = if place.2 { &shape[..] } else { &shape[..2] };
                Projection::load_shaped(
                    reader,
                    &format!("{name}.{part}.{index}"),
                    d_in,
                    d_out,
                    shape,
                    precision,
                )
            };
            Mlp { first: layer(reader, 0, width, c.hidden), second: layer(reader, second, c.hidden, out) }
        };
        let (token, features, scores) = (mlp(TOKEN, c.token), mlp(FEATURES, c.dim), mlp(SCORES, c.clusters));
        Self {
            token,
            features,
            scores,
            dust_bin: reader.param(&format!("{name}.dust_bin"), [1], Init::Constant(1.0)),
            linear: c.linear.map(|dim| {
                Projection::load_large(reader, &format!("{name}.linear"), c.aggregated(), dim, precision)
            }),
            clusters: c.clusters,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        let parts = [(&self.token, TOKEN), (&self.features, FEATURES), (&self.scores, SCORES)];
        for (mlp, Place(part, second, convolution)) in parts {
            for (index, layer) in [(0, &mlp.first), (second, &mlp.second)] {
                layer.save_shaped(writer, &format!("{name}.{part}.{index}"), convolution);
            }
        }
        writer.tensor(&format!("{name}.dust_bin"), self.dust_bin.val());
        if let Some(linear) = &self.linear {
            linear.save(writer, &format!("{name}.linear"));
        }
    }

    /// Takes the values of the linear layer's weight `[d_out, d_in]` and bias, if there is one: the aggregation itself is of no
    /// use without them.
    pub(crate) fn take_linear(&mut self) -> Option<[StoredValues; 2]> {
        self.linear.take()?.into_values()
    }

    /// Whether the linear layer of a configuration was taken.
    pub(crate) fn is_released(&self, c: &SaladConfig) -> bool {
        self.linear.is_some() != c.linear.is_some()
    }

    /// Aggregates the tokens of a batch of images. Clusters lie in the descriptor as `channel * clusters + cluster`,
    /// after the feature of CLS.
    ///
    /// # Shapes
    /// - patches: `[batch, patches, width]`, more of them than clusters ([`SaladConfig::check_patches`])
    /// - token: `[batch, width]`
    /// - output: `[batch, descriptor]`, of unit length unless there is a linear layer, and the share of each patch that
    ///   clusters get, `[batch, patches]`
    pub fn forward(&self, patches: Tensor<3>, token: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let features = self.features.forward(patches.clone());
        let assigned = self.transport(self.scores.forward(patches));
        let [batch, count, _] = assigned.dims();
        let used = assigned.clone().sum_dim(2).reshape([batch, count]);
        // [batch, dim, clusters], of which each column has unit length.
        let sums = features.swap_dims(1, 2).matmul(assigned);
        let [batch, dim, clusters] = sums.dims();
        let sums = unit(sums.swap_dims(1, 2)).swap_dims(1, 2).reshape([batch, dim * clusters]);
        let aggregated = unit(Tensor::cat(vec![unit(self.token.forward(token)), sums], 1));
        let descriptor = match &self.linear {
            Some(linear) => linear.forward(aggregated),
            None => aggregated,
        };
        (descriptor, Some(used))
    }

    /// How much of each patch belongs to each cluster, `[batch, patches, clusters]`, by the Sinkhorn algorithm on
    /// logarithms. Each cluster takes the mass of one patch, and the dust bin the rest.
    fn transport(&self, scores: Tensor<3>) -> Tensor<3> {
        let [batch, patches, clusters] = scores.dims();
        let dust = self.dust_bin.val().reshape([1, 1, 1]).expand([batch, patches, 1]);
        let scores = Tensor::cat(vec![scores, dust], 2);
        let mass = -((patches + clusters) as f64).ln();
        let rest = ((patches as f64) - (clusters as f64)).ln();
        let device = scores.device();
        let to = Tensor::cat(
            vec![
                Tensor::<3>::full([1, 1, clusters], mass, &device),
                Tensor::full([1, 1, 1], mass + rest, &device),
            ],
            2,
        );
        let mut from: Tensor<3> = Tensor::zeros([batch, patches, 1], &device);
        let mut into = to.clone().expand([batch, 1, clusters + 1]);
        for _ in 0..ROUNDS {
            into = to.clone() - log_sum_exp(scores.clone() + from, 1);
            from = -(log_sum_exp(scores.clone() + into.clone(), 2) - mass);
        }
        (scores + into + from - mass).exp().narrow(2, 0, self.clusters)
    }
}

impl Mlp {
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.second.forward(relu(self.first.forward(x)))
    }
}

/// The logarithm of the sum of exponentials along an axis, which stays with length 1.
fn log_sum_exp(x: Tensor<3>, axis: usize) -> Tensor<3> {
    let largest = x.clone().max_dim(axis).detach();
    (x - largest.clone()).exp().sum_dim(axis).log() + largest
}
