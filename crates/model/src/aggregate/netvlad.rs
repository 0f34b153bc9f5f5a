//! NetVLAD (Arandjelović et al., CVPR 2016) as Patch-NetVLAD has it, with whitening by a linear layer.

use crate::NetVladConfig;
use crate::pooling::unit;
use crate::weights::{Init, TensorReader, TensorWriter};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Soft assignment of features to clusters, and the sum of their residuals.
#[derive(Module, Debug)]
pub struct NetVlad {
    /// `[clusters, width]`; assignment has no bias.
    assign: Param<Tensor<2>>,
    centres: Param<Tensor<2>>,
    whitening: Option<Linear>,
}

impl NetVlad {
    /// Builds the layers from `{name}.assign` and `{name}.centroids`, both `[clusters, width]`, and the linear layer
    /// `{name}.whitening`.
    pub fn load(reader: &mut TensorReader, name: &str, config: &NetVladConfig, width: usize) -> Self {
        let shape = [config.clusters, width];
        Self {
            assign: reader.param(&format!("{name}.assign"), shape, Init::Normal(1.0)),
            centres: reader.param(&format!("{name}.centroids"), shape, Init::Normal(0.05)),
            whitening: config
                .whitened
                .map(|dim| reader.linear(&format!("{name}.whitening"), config.clusters * width, dim)),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.tensor(&format!("{name}.assign"), self.assign.val());
        writer.tensor(&format!("{name}.centroids"), self.centres.val());
        if let Some(whitening) = &self.whitening {
            writer.linear(&format!("{name}.whitening"), whitening);
        }
    }

    /// The descriptor before its last normalisation: the residuals of a cluster are neighbours.
    ///
    /// # Shapes
    /// - map: `[batch, positions, width]`
    /// - output: `[batch, clusters * width]`, or the whitened dimensions
    pub fn forward(&self, map: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = map.dims();
        let features = unit(map);
        let scores = features.clone().matmul(self.assign.val().transpose().unsqueeze());
        let shares = softmax(scores, 2).swap_dims(1, 2);
        let [_, clusters, _] = shares.dims();
        // The sum of weighted residuals: weighted features, less the centre as often as it was assigned.
        let assigned = shares.clone().sum_dim(2);
        let residuals = shares.matmul(features) - assigned * self.centres.val().unsqueeze();
        let vlad = unit(unit(residuals).reshape([batch, clusters * width]));
        match &self.whitening {
            Some(whitening) => whitening.forward(vlad),
            None => vlad,
        }
    }
}
