//! VLAD of a model's own local features, softly assigned and whitened.

use crate::layers::Projection;
use crate::pooling::unit;
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{LocalVladConfig, Precision};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Sums of residuals to the centres, and their whitening.
#[derive(Module, Debug)]
pub struct LocalVlad {
    /// `[clusters, width]`, of unit length.
    centres: Param<Tensor<2>>,
    whitening: Projection,
    #[module(skip)]
    softness: f64,
}

impl LocalVlad {
    /// Builds it from `{name}.centroids`, `[clusters, width]`, and `{name}.whitening.weight` and `.bias`; `width` is that of
    /// local features.
    pub fn load(reader: &mut TensorReader, name: &str, config: &LocalVladConfig, width: usize) -> Self {
        let shape = [config.clusters, width];
        let centres = reader.param(&format!("{name}.centroids"), shape, Init::Normal(0.05));
        let whitening = format!("{name}.whitening");
        let residuals = config.residuals(width);
        let whitening = Projection::load(reader, &whitening, residuals, config.dim, Precision::F32);
        Self { centres, whitening, softness: config.softness }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.tensor(&format!("{name}.centroids"), self.centres.val());
        self.whitening.save(writer, &format!("{name}.whitening"));
    }

    /// The descriptor before its last normalisation.
    ///
    /// # Shapes
    /// - features: `[batch, patches, width]`, of any length
    /// - output: `[batch, dim]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        self.whitening.forward(residuals(features, self.centres.val(), self.softness))
    }
}

/// What is whitened: for each centre the sum of the features' residuals to it, weighted by how much each is assigned to it,
/// of unit length; all together of unit length, too.
///
/// # Shapes
/// - features: `[batch, patches, width]`, of any length
/// - centres: `[clusters, width]`, of unit length
/// - output: `[batch, clusters * width]`
pub fn residuals(features: Tensor<3>, centres: Tensor<2>, softness: f64) -> Tensor<2> {
    let [batch, _, width] = features.dims();
    let clusters = centres.dims()[0];
    let features = unit(features);
    let scores = features.clone().matmul(centres.clone().transpose().unsqueeze());
    let shares = softmax(scores.mul_scalar(softness), 2).swap_dims(1, 2);
    let assigned = shares.clone().sum_dim(2);
    let sums = shares.matmul(features) - assigned * centres.unsqueeze();
    unit(unit(sums).reshape([batch, clusters * width]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Numbers between -1 and 1 that look like chance.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    fn length(values: &[f64]) -> f64 {
        values.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12)
    }

    /// By its definition, one number after the other.
    fn by_hand(features: &[f32], centres: &[f32], width: usize, softness: f64) -> Vec<f64> {
        let wide = |row: &[f32]| row.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let centres: Vec<Vec<f64>> = centres.chunks(width).map(wide).collect();
        let mut sums = vec![vec![0.0; width]; centres.len()];
        for feature in features.chunks(width).map(wide) {
            let unit: Vec<f64> = feature.iter().map(|v| v / length(&feature)).collect();
            let cosine = |centre: &Vec<f64>| unit.iter().zip(centre).map(|(a, b)| a * b).sum::<f64>();
            let raised: Vec<f64> = centres.iter().map(|centre| (softness * cosine(centre)).exp()).collect();
            let total: f64 = raised.iter().sum();
            for ((sum, centre), raised) in sums.iter_mut().zip(&centres).zip(&raised) {
                for (d, sum) in sum.iter_mut().enumerate() {
                    *sum += raised / total * (unit[d] - centre[d]);
                }
            }
        }
        let all: Vec<f64> = sums.iter().flat_map(|sum| sum.iter().map(move |v| v / length(sum))).collect();
        all.iter().map(|v| v / length(&all)).collect()
    }

    #[test]
    fn residuals_are_those_of_the_definition() {
        let device = Device::flex();
        for (patches, width, clusters, softness) in
            [(1, 5, 1, 8.0), (37, 12, 4, 8.0), (400, 16, 3, 0.5), (20, 7, 9, 90.0)]
        {
            let features = numbers(2 * patches * width, patches);
            let centres: Vec<f32> = numbers(clusters * width, width)
                .chunks(width)
                .flat_map(|row| {
                    let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                    row.iter().map(move |v| v / length).collect::<Vec<_>>()
                })
                .collect();
            let found = residuals(
                Tensor::from_data(TensorData::new(features.clone(), [2, patches, width]), &device),
                Tensor::from_data(TensorData::new(centres.clone(), [clusters, width]), &device),
                softness,
            );
            assert_eq!(found.dims(), [2, clusters * width]);
            let found: Vec<f32> = found.into_data().iter::<f32>().collect();
            let expected: Vec<f64> = features
                .chunks(patches * width)
                .flat_map(|one| by_hand(one, &centres, width, softness))
                .collect();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-5,
                    "{patches} patches: {found}, not {expected}"
                );
            }
        }
    }
}
