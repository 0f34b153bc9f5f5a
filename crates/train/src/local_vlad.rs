//! A global descriptor that is made of a model's own local features, fitted to photographs without labels.

use crate::all_patches::{PLACE, drawn, each, of_all_patches, without_global};
use crate::principal::{Principal, principal};
use crate::random::{Rng, Use, at};
use crate::{Result, TrainError};
use burn::tensor::{Tensor, TensorData};
use r2former_engine::{EngineError, LoadedModel, Progress};
use r2former_model::aggregate::{NAME, residuals};
use r2former_model::weights::{RawTensor, Tensors, expanded};
use r2former_model::{Device, GlobalConfig, LocalVladConfig, ModelConfig, Selection};
use rand::seq::index::sample;
use rayon::prelude::*;
use std::path::Path;

/// Photographs that are looked at, at most.
const PHOTOS: usize = 4096;
/// Photographs whose features are clustered.
const CLUSTERED: usize = 512;
/// Rounds of clustering.
const ROUNDS: usize = 25;
/// Directions with less than this share of the first one's variance count as having it: noise is not enlarged further.
const NOISE: f64 = 1e-6;

/// How a descriptor is fitted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LocalVladOptions {
    /// Its sizes.
    pub sizes: LocalVladConfig,
    /// Decides which photographs and features are looked at, and where clusters begin.
    pub seed: u64,
}

impl Default for LocalVladOptions {
    /// 16 clusters, 256 dimensions, cosines times 8.
    fn default() -> Self {
        Self { sizes: LocalVladConfig { clusters: 16, dim: 256, softness: 8.0 }, seed: 1 }
    }
}

/// Gives a model a global descriptor made of its local features (VLAD, softly assigned and whitened), in place of the one that it
/// has: centres are clusters of the local features of photographs, and the whitening is that of their residuals. No labels are
/// needed. Photographs that cannot be read are left out, and handed to `skipped`. Returns configuration and tensors of
/// the new model, and the number of photographs that it was fitted to.
///
/// # Errors
/// - [`TrainError::Config`]: a model without local features, sizes that do not fit it, or too few photographs: more are needed
///   than the descriptor has dimensions.
/// - [`TrainError::Engine`]: a device that fails.
pub fn fit_local_vlad(
    loaded: &LoadedModel,
    files: &[&Path],
    options: &LocalVladOptions,
    progress: &dyn Progress,
    mut skipped: impl FnMut(&Path, EngineError),
) -> Result<(ModelConfig, Tensors, usize)> {
    let sizes = &options.sizes;
    let mut config = loaded.config.clone();
    config.global = GlobalConfig::LocalVlad(sizes.clone());
    config.trained.global = true;
    if let Some(local) = config.local.as_mut().filter(|local| local.select == Selection::Aggregation) {
        local.select =
            if config.backbone.is_convolutional() { Selection::Norm } else { Selection::Attention };
    }
    config.forget_measured();
    config.validate()?;
    let extractor = of_all_patches(loaded)?;
    let row = extractor.config().local_row();
    let width = row - PLACE;

    let rng = &mut at(options.seed, Use::Fitting, [0, 0]);
    let chosen = sample(rng, files.len(), files.len().min(PHOTOS));
    let chosen: Vec<&Path> = chosen.into_iter().map(|i| files[i]).collect();
    let first = &chosen[..chosen.len().min(CLUSTERED)];
    progress.start("photographs", (first.len() + chosen.len()) as u64);
    let features = drawn(&extractor, first, rng, progress, &mut |_, _| {})?;
    let features: Vec<f32> = features.chunks_exact(width).flat_map(unit).collect();
    let centres = clusters(&features, width, sizes.clusters, rng)?;

    let centre_tensor =
        Tensor::<2>::from_data(TensorData::new(centres.clone(), [sizes.clusters, width]), &Device::flex());
    let (mut summed, mut photos) = (Vec::new(), 0);
    each(
        &extractor,
        &chosen,
        progress,
        &mut |_, rows| {
            let count = rows.len() / row;
            let features: Vec<f32> = rows.chunks_exact(row).flat_map(|row| &row[PLACE..]).copied().collect();
            let features =
                Tensor::<3>::from_data(TensorData::new(features, [1, count, width]), &Device::flex());
            let found = residuals(features, centre_tensor.clone(), sizes.softness);
            summed.extend(found.into_data().iter::<f32>());
            photos += 1;
        },
        &mut |file, error| skipped(file, error),
    )?;
    progress.finish();
    if photos <= sizes.dim {
        return Err(TrainError::Config(format!(
            "{photos} photographs: a descriptor of {} dimensions is fitted to more than that; add photographs, or ask for fewer \
             dimensions",
            sizes.dim
        )));
    }
    let found = principal(&summed, sizes.residuals(width), sizes.dim, rng);

    let mut tensors = expanded(loaded.tensors().clone());
    without_global(&mut tensors);
    put(&mut tensors, sizes, width, centres, &found);
    Ok((config, tensors, photos))
}

fn unit(feature: &[f32]) -> impl Iterator<Item = f32> + '_ {
    let length = feature.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    feature.iter().map(move |v| v / length)
}

/// Centres of unit length, `[count, width]`: k-means by cosine of features of unit length.
fn clusters(features: &[f32], width: usize, count: usize, rng: &mut Rng) -> Result<Vec<f32>> {
    let number = features.len() / width;
    if number < count {
        return Err(TrainError::Config(format!(
            "{number} local features: {count} clusters need at least as many; add photographs, or ask for fewer clusters"
        )));
    }
    let feature = |i: usize| &features[i * width..(i + 1) * width];
    let mut centres: Vec<f32> = sample(rng, number, count).into_iter().flat_map(feature).copied().collect();
    for _ in 0..ROUNDS {
        let cosine = |feature: &[f32], c: usize| -> f32 {
            feature.iter().zip(&centres[c * width..]).map(|(a, b)| a * b).sum()
        };
        let nearest: Vec<usize> = features
            .par_chunks_exact(width)
            .map(|feature| {
                let cosines = (0..count).map(|c| (c, cosine(feature, c)));
                cosines.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(c, _)| c)
            })
            .collect();
        let mut sums = vec![0.0f32; count * width];
        let mut members = vec![0usize; count];
        for (c, feature) in nearest.into_iter().zip(features.chunks_exact(width)) {
            sums[c * width..][..width].iter_mut().zip(feature).for_each(|(sum, v)| *sum += v);
            members[c] += 1;
        }
        for (c, sum) in sums.chunks_exact(width).enumerate() {
            // A centre without features begins again at one of them.
            let from = if members[c] > 0 { sum } else { feature(sample(rng, number, 1).index(0)) };
            let own: Vec<f32> = unit(from).collect();
            centres[c * width..][..width].copy_from_slice(&own);
        }
    }
    Ok(centres)
}

fn put(tensors: &mut Tensors, sizes: &LocalVladConfig, width: usize, centres: Vec<f32>, found: &Principal) {
    let Principal { mean, variances, directions } = found;
    let largest = variances.first().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let wide = sizes.residuals(width);
    let (mut weight, mut bias) = (Vec::with_capacity(directions.len()), Vec::with_capacity(sizes.dim));
    for (variance, direction) in variances.iter().zip(directions.chunks_exact(wide)) {
        // The root of its standard deviation: between a PCA and whitening, which enlarges what 8-bit arithmetic rounds. In
        // proportion to the first one's, so that 16-bit weights keep their digits.
        let scale = (largest / variance.max(NOISE * largest)).powf(0.25) as f32;
        weight.extend(direction.iter().map(|v| v * scale));
        bias.push(-scale * direction.iter().zip(mean).map(|(v, m)| v * m).sum::<f32>());
    }
    let mut insert = |name: &str, shape: Vec<usize>, data: Vec<f32>| {
        tensors.insert(format!("{NAME}.{name}"), RawTensor { shape, data });
    };
    insert("centroids", vec![sizes.clusters, width], centres);
    insert("whitening.weight", vec![sizes.dim, wide], weight);
    insert("whitening.bias", vec![sizes.dim], bias);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn clusters_are_found() {
        let (width, count) = (8, 3);
        let rng = &mut at(3, Use::Fitting, [0, 0]);
        // Features near three of the axes.
        let features: Vec<f32> = (0..300)
            .flat_map(|i| {
                let noisy: Vec<f32> = (0..width)
                    .map(|d| f32::from(u8::from(d == i % count)) + rng.random_range(-0.1..0.1))
                    .collect();
                unit(&noisy).collect::<Vec<_>>()
            })
            .collect();
        let found = clusters(&features, width, count, rng).expect("enough features");
        let mut axes: Vec<usize> = found
            .chunks_exact(width)
            .map(|centre| centre.iter().position(|v| *v > 0.95).expect("near an axis"))
            .collect();
        axes.sort_unstable();
        assert_eq!(axes, [0, 1, 2]);
        let error =
            clusters(&features[..2 * width], width, count, rng).expect_err("two features").to_string();
        assert!(error.contains("2 local features"), "{error}");
    }
}
