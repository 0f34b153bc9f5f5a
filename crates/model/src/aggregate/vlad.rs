//! VLAD with a vocabulary that is part of no training: AnyLoc (Keetha et al., RA-L 2024).

use crate::VladConfig;
use crate::layers::numbers;
use crate::pooling::unit;
use crate::weights::{Init, TensorReader, TensorWriter};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

/// Sums of residuals to the centre that is nearest by angle.
#[derive(Module, Debug)]
pub struct Vlad {
    /// `[clusters, width]`, of any length: residuals are taken to them as they are.
    centres: Param<Tensor<2>>,
}

impl Vlad {
    /// Builds it from `{name}.centroids`, `[clusters, width]`.
    pub fn load(reader: &mut TensorReader, name: &str, config: &VladConfig, width: usize) -> Self {
        let shape = [config.clusters, width];
        Self { centres: reader.param(&format!("{name}.centroids"), shape, Init::Normal(0.05)) }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.tensor(&format!("{name}.centroids"), self.centres.val());
    }

    /// The descriptor before its last normalisation: the residuals of a cluster are neighbours, and zero if no feature is in
    /// it.
    ///
    /// # Shapes
    /// - features: `[batch, positions, width]`
    /// - output: `[batch, clusters * width]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = features.dims();
        let centres = self.centres.val();
        let clusters = centres.dims()[0];
        let features = unit(features);
        let scores = features.clone().matmul(unit(centres.clone()).transpose().unsqueeze());
        let all: Tensor<3, Int> = numbers(&features.device(), clusters).int().reshape([1, 1, clusters]);
        let nearest = scores.argmax(2).expand([batch, features.dims()[1], clusters]);
        let members =
            nearest.equal(all.expand([batch, features.dims()[1], clusters])).float().swap_dims(1, 2);
        // The sum of residuals: the features, less the centre as often as one was assigned.
        let assigned = members.clone().sum_dim(2);
        let residuals = members.matmul(features) - assigned * centres.unsqueeze();
        unit(residuals).reshape([batch, clusters * width])
    }
}
