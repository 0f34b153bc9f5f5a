//! Freshly initialised heads: whitened PCAs of what they project, on the training pictures.

use crate::batch::{Loader, Pairs, Planner, preprocessing};
use crate::config::TrainConfig;
use crate::pool::{Excluded, LeftOut, Pool};
use crate::principal::eigen;
use crate::random::{self, Use};
use crate::step::Frozen;
use crate::{Result, TrainError};
use r2former_data::image::{Preprocess, to_input};
use r2former_model::weights::RawTensor;
use r2former_model::{Checkpoint, Device, GlobalConfig, R2Former};
use rayon::prelude::*;

/// Pictures whose tokens a local head is fitted to.
const PICTURES: usize = 48;

/// Pictures that a global head is fitted to, at most.
const POOLED: usize = 1024;

/// Pictures that are extracted together.
const CHUNK: usize = 32;

/// Directions with less than this share of the first one's variance count as noise and are not enlarged further.
pub(crate) const LOCAL_NOISE: f64 = 1e-12;
const GLOBAL_NOISE: f64 = 1e-3;

/// What heads are fitted with: the frozen start model, the training pictures and their preprocessing.
struct Fitting {
    frozen: Frozen,
    pool: Pool,
    preprocess: Preprocess,
    /// Height and width.
    size: [usize; 2],
}

impl Fitting {
    fn open(config: &TrainConfig, start: &Checkpoint, device: &Device) -> Result<Self> {
        let model = R2Former::from_tensors(&start.config, start.tensors.clone(), device)?;
        let input = &start.config.input;
        let size = [input.height, input.width];
        Ok(Self {
            frozen: Frozen::new(&model, size, device)?,
            pool: Pool::of(config, 0)?,
            preprocess: preprocessing(input),
            size,
        })
    }
}

/// Replaces the global head of a start model.
pub(crate) fn fit_global(config: &TrainConfig, start: &mut Checkpoint, device: &Device) -> Result<()> {
    let GlobalConfig::Linear { dim, .. } = start.config.global else { return Ok(()) };
    let Fitting { frozen, pool, preprocess, size: [height, width] } = Fitting::open(config, start, device)?;
    let rng = &mut random::at(config.seed, Use::Image, [u64::MAX, u64::MAX]);
    let items = rand::seq::index::sample(rng, pool.len(), pool.len().min(POOLED)).into_vec();
    let input = |item: &usize| -> Result<Vec<f32>> {
        Ok(to_input(&pool.image(*item, [height, width], None)?, height, width, &preprocess)?)
    };
    let mut rows = Vec::new();
    for chunk in items.chunks(CHUNK) {
        let mut readable = Vec::with_capacity(chunk.len());
        for input in chunk.par_iter().map(input).collect::<Vec<_>>() {
            match input {
                Ok(input) => readable.push(input),
                // A photograph that cannot be read is named when a batch wants it; other errors come back here.
                Err(error) => drop(LeftOut::of(error)?),
            }
        }
        if !readable.is_empty() {
            rows.extend(frozen.pooled(&readable)?);
        }
    }
    if rows.is_empty() {
        return Err(TrainError::Unreadable("no photograph can be read to fit a global head to".into()));
    }
    put(start, "head", whitening(&rows, start.config.backbone_dim(), dim, GLOBAL_NOISE), dim);
    Ok(())
}

/// Replaces the local head of a start model.
pub(crate) fn fit_local(config: &TrainConfig, start: &mut Checkpoint, device: &Device) -> Result<()> {
    let Fitting { frozen, pool, preprocess, size } = Fitting::open(config, start, device)?;
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size,
        seed: config.seed,
        cache: None,
        pairs: Pairs::of(config, start.config.stride()),
    };
    let planner = Planner::new(&pool, None, config, Excluded::new());
    let (mut rows, mut pictures, mut width) = (Vec::new(), 0, 1);
    // Steps that no run reaches.
    for step in (0..u64::MAX).rev() {
        let batch = loader.load(&planner, step, 0)?;
        let tokens = frozen.tokens(&batch.inputs)?;
        let local = frozen.described(&tokens)?;
        let dim = local.dims()[2];
        rows.extend(local.into_data().iter::<f32>());
        (pictures, width) = (pictures + batch.inputs.len(), dim);
        if pictures >= PICTURES {
            break;
        }
    }
    let dim = start.config.local.as_ref().map_or(0, |local| local.dim);
    if dim > width {
        return Err(TrainError::Config(format!(
            "model.local_dim = {dim}: a fresh local head is a PCA of the backbone's {width} dimensions"
        )));
    }
    put(start, "local_head", whitening(&rows, width, dim, LOCAL_NOISE), dim);
    Ok(())
}

/// Replaces weight and bias of a projection to `dim` dimensions.
fn put(start: &mut Checkpoint, name: &str, (weight, bias): (Vec<f32>, Vec<f32>), dim: usize) {
    let shape = vec![dim, weight.len() / dim.max(1)];
    start.tensors.insert(format!("{name}.weight"), RawTensor { shape, data: weight });
    start.tensors.insert(format!("{name}.bias"), RawTensor { shape: vec![dim], data: bias });
}

/// Weight `[dim, width]` and bias of a projection onto the first principal directions of some rows, each divided by the
/// root of its standard deviation: between a PCA, whose first directions outweigh all others, and whitening, whose last
/// ones are noise. Those with less than the share `noise` of the first one's variance count as having it.
pub(crate) fn whitening(rows: &[f32], width: usize, dim: usize, noise: f64) -> (Vec<f32>, Vec<f32>) {
    let count = (rows.len() / width).max(1) as f64;
    let mut mean = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v) / count);
    }
    let mut covariance = vec![0.0f64; width * width];
    let mut centred = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        centred.iter_mut().zip(row).zip(&mean).for_each(|((c, v), mean)| *c = f64::from(*v) - mean);
        for (i, own) in centred.iter().enumerate() {
            let line = &mut covariance[i * width..][..width];
            line.iter_mut().zip(&centred).for_each(|(sum, other)| *sum += own * other / count);
        }
    }
    let (values, vectors) = eigen(covariance, width);
    let largest = values.first().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let (mut weight, mut bias) = (Vec::with_capacity(dim * width), Vec::with_capacity(dim));
    for (value, vector) in values.iter().zip(vectors.chunks_exact(width)).take(dim) {
        let scale = value.max(noise * largest).sqrt().sqrt().recip();
        weight.extend(vector.iter().map(|v| (v * scale) as f32));
        bias.push((-scale * vector.iter().zip(&mean).map(|(v, m)| v * m).sum::<f64>()) as f32);
    }
    (weight, bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Use, at};
    use rand::Rng as _;

    #[test]
    fn projected_rows_have_the_roots_of_their_deviations() {
        let (width, dim, count) = (6, 4, 4000);
        let rng = &mut at(2, Use::Image, [0, 0]);
        // Axis i has standard deviation 2^-i around i.
        let rows: Vec<f32> = (0..count)
            .flat_map(|_| {
                (0..width)
                    .map(|i| i as f32 + 12f32.sqrt() * (rng.random::<f32>() - 0.5) / (1 << i) as f32)
                    .collect::<Vec<_>>()
            })
            .collect();
        let (weight, bias) = whitening(&rows, width, dim, LOCAL_NOISE);
        for k in 0..dim {
            let project = |row: &[f32]| -> f64 {
                row.iter().zip(&weight[k * width..]).map(|(x, w)| f64::from(x * w)).sum::<f64>()
                    + f64::from(bias[k])
            };
            let found: Vec<f64> = rows.chunks_exact(width).map(project).collect();
            let mean = found.iter().sum::<f64>() / count as f64;
            let variance = found.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
            assert!(mean.abs() < 1e-4);
            // Deviation sd over sqrt(sd): the variance is sd.
            let expected = 0.5f64.powi(k as i32);
            assert!((variance / expected - 1.0).abs() < 0.1, "{k}: {variance}");
        }
    }

    #[test]
    fn directions_without_variance_are_not_blown_up() {
        let rows: Vec<f32> = (0..100).flat_map(|i| [i as f32, 0.0]).collect();
        let (weight, _) = whitening(&rows, 2, 2, GLOBAL_NOISE);
        let length = |row: &[f32]| row[0].hypot(row[1]);
        let ratio = length(&weight[2..]) / length(&weight[..2]);
        assert!((ratio - (GLOBAL_NOISE as f32).powf(-0.25)).abs() < 1e-3, "{ratio}");
    }
}
