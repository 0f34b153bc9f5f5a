//! Fewer dimensions of a model's local features: their principal directions over photographs, found without labels.

use crate::all_patches::{drawn, of_all_patches, without_global};
use crate::heads::{LOCAL_NOISE, whitening};
use crate::random::{Use, at};
use crate::{LocalVladOptions, Result, TrainError, fit_local_vlad};
use r2former_engine::{EngineError, LoadedModel, Progress};
use r2former_model::weights::{RawTensor, Tensors, expanded};
use r2former_model::{GlobalConfig, ModelConfig, Pooling};
use rand::seq::index::sample;
use std::path::Path;

/// Photographs that are looked at, at most.
const PHOTOS: usize = 1024;

/// Projects a model's local features onto their first `dim` principal directions over photographs, half whitened: each direction
/// is divided by the root of its standard deviation. Together with more of them per image (`count`) they take as many bytes as
/// before and hold more. A reranker stays as it is, since it sees coordinates, attention and cosines alone; a global descriptor that is made of
/// local features is fitted again, to the same photographs. Photographs that cannot be read are left out, and handed to `skipped`.
/// Returns configuration and tensors of the new model, and the number of photographs that it was fitted to.
///
/// # Errors
/// - [`TrainError::Config`]: a model without local features, more dimensions than they have, or too few photographs.
/// - [`TrainError::Engine`]: a device that fails.
pub fn fit_local_pca(
    loaded: &LoadedModel,
    files: &[&Path],
    dim: usize,
    seed: u64,
    progress: &dyn Progress,
    mut skipped: impl FnMut(&Path, EngineError),
) -> Result<(ModelConfig, Tensors, usize)> {
    let Some(width) = loaded.config.local.as_ref().map(|local| local.dim) else {
        return Err(TrainError::Config(format!(
            "{} has no local features: give it some (model copy --local patches)",
            loaded.config.name
        )));
    };
    if dim == 0 || dim > width {
        return Err(TrainError::Config(format!(
            "{dim} dimensions: the local features of {} have {width}, of which 1 to {width} can be kept",
            loaded.config.name
        )));
    }
    let extractor = of_all_patches(loaded)?;
    let rng = &mut at(seed, Use::Fitting, [1, 0]);
    let chosen = sample(rng, files.len(), files.len().min(PHOTOS));
    let chosen: Vec<&Path> = chosen.into_iter().map(|i| files[i]).collect();
    progress.start("photographs", chosen.len() as u64);
    // Those that a descriptor is fitted to, too, are handed over there.
    let refitted = matches!(loaded.config.global, GlobalConfig::LocalVlad(_));
    let mut unreadable = 0;
    let features = drawn(&extractor, &chosen, rng, progress, &mut |file, error| {
        unreadable += 1;
        if !refitted {
            skipped(file, error);
        }
    })?;
    progress.finish();
    let found = features.len() / width;
    if found <= width {
        return Err(TrainError::Config(format!(
            "{found} local features: directions of {width} dimensions are found in more than that; add photographs"
        )));
    }

    let (mut config, mut tensors) = (loaded.config.clone(), expanded(loaded.tensors().clone()));
    project(&mut config, &mut tensors, whitening(&features, width, dim, LOCAL_NOISE));
    config.forget_measured();
    let GlobalConfig::LocalVlad(sizes) = config.global.clone() else {
        config.validate()?;
        return Ok((config, tensors, chosen.len() - unreadable));
    };
    config.global = GlobalConfig::Pooled { pooling: Pooling::Mean };
    without_global(&mut tensors);
    let projected = LoadedModel::of(&config, &tensors)?;
    fit_local_vlad(&projected, files, &LocalVladOptions { sizes, seed }, progress, skipped)
}

/// Puts a projection, weight `[dim, width]` and bias, behind what describes a patch so far.
fn project(config: &mut ModelConfig, tensors: &mut Tensors, (weight, bias): (Vec<f32>, Vec<f32>)) {
    let Some(local) = config.local.as_mut() else { return };
    let (dim, width) = (bias.len(), weight.len() / bias.len().max(1));
    let [own_weight, own_bias] = ["weight", "bias"].map(|part| format!("local_head.{part}"));
    let (weight, bias) = match (tensors.get(&own_weight), tensors.get(&own_bias)) {
        (Some(before), Some(offset)) if local.projected => {
            let inputs = before.data.len() / width;
            let of = |row: &[f32], column: usize| -> f64 {
                let before = before.data.iter().skip(column).step_by(inputs);
                row.iter().zip(before).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let rows = weight.chunks_exact(width);
            let composed = rows.clone().flat_map(|row| (0..inputs).map(move |c| of(row, c) as f32)).collect();
            let shifted = rows.zip(&bias).map(|(row, bias)| {
                let shift: f64 =
                    row.iter().zip(&offset.data).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                (shift + f64::from(*bias)) as f32
            });
            (composed, shifted.collect())
        }
        _ => (weight, bias),
    };
    (local.dim, local.projected) = (dim, true);
    let inputs = weight.len() / dim.max(1);
    tensors.insert(own_weight, RawTensor { shape: vec![dim, inputs], data: weight });
    tensors.insert(own_bias, RawTensor { shape: vec![dim], data: bias });
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_model::LocalConfig;

    #[test]
    fn a_projection_of_a_projection_is_one() {
        // From 2 to 3 dimensions, and from 3 to 2.
        let (first, shift) = (vec![1.0, 2.0, 0.0, -1.0, 3.0, 0.5], vec![0.1, 0.2, 0.3]);
        let (second, bias) = (vec![1.0, -1.0, 2.0, 0.5, 0.0, 4.0], vec![-1.0, 1.0]);
        let apply = |weight: &[f32], bias: &[f32], x: &[f32]| -> Vec<f32> {
            let rows = weight.chunks_exact(x.len()).zip(bias);
            rows.map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b).collect()
        };
        let x = [0.7, -1.3];
        let expected = apply(&second, &bias, &apply(&first, &shift, &x));

        let mut config = LoadedModel::built_in().expect("the built-in model").config;
        config.local = Some(LocalConfig { dim: 3, ..LocalConfig::default() });
        let tensor = |shape: Vec<usize>, data: Vec<f32>| RawTensor { shape, data };
        let mut tensors = Tensors::from([
            ("local_head.weight".to_owned(), tensor(vec![3, 2], first)),
            ("local_head.bias".to_owned(), tensor(vec![3], shift)),
        ]);
        project(&mut config, &mut tensors, (second.clone(), bias.clone()));
        assert_eq!(config.local.as_ref().map(|local| (local.dim, local.projected)), Some((2, true)));
        assert_eq!(tensors["local_head.weight"].shape, [2, 2]);
        let found = apply(&tensors["local_head.weight"].data, &tensors["local_head.bias"].data, &x);
        found
            .iter()
            .zip(&expected)
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}"));

        // Features that were stored as they are: the projection alone.
        config.local = Some(LocalConfig { dim: 3, projected: false, ..LocalConfig::default() });
        let mut tensors = Tensors::new();
        project(&mut config, &mut tensors, (second.clone(), bias));
        assert_eq!(tensors["local_head.weight"].data, second);
        assert_eq!(config.local.map(|local| (local.dim, local.projected)), Some((2, true)));
    }
}
