//! Timing of the parts of a step.

use crate::loss::{cross_entropy, triplet};
use crate::optim::Optimizer;
use crate::{Result, Stage, TrainConfig, TrainError};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use r2former_model::{Device, LocalConfig, ModelConfig, ModelError, R2Former, RerankerConfig};
use serde::Serialize;
use std::time::Instant;

/// Seconds per part of a step, each the median of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepTime {
    /// From the inputs to the loss.
    pub forward_s: f64,
    /// From the loss to the gradients of every trained parameter.
    pub backward_s: f64,
    /// From the gradients to new parameters (AdamW).
    pub optimizer_s: f64,
    /// Number of parameters of the network.
    pub parameters: usize,
}

/// Times a step of stage `global`: `batch` random images as triplets, every parameter of the backbone and the global head
/// trained, after one warm-up step. Each part ends when the device has computed it.
///
/// # Errors
/// [`TrainError::Model`] for an unknown preset or an image size that does not suit the backbone, [`TrainError::Config`]
/// for a batch of fewer than 3 images, [`ModelError::Device`] for a failing device.
pub fn time_global_step(
    preset: &str,
    [height, width]: [usize; 2],
    batch: usize,
    runs: usize,
    device: &Device,
) -> Result<StepTime> {
    let mut config = preset_of(preset)?;
    (config.local, config.reranker) = (None, None);
    config.check_size(height, width)?;
    if batch < 3 {
        return Err(TrainError::Config(format!("a batch of {batch} images: a triplet needs 3")));
    }
    let triplets: Vec<[usize; 3]> = (0..batch / 3).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    let mut noise = Noise(1);
    let images = noise.values(batch * 3 * height * width);
    time(&config, runs, device, |model, device| {
        let images = TensorData::new(images.clone(), [batch, 3, height, width]);
        let found = model.extract(Tensor::from_data(images, device))?;
        Ok(triplet(&found.global, &triplets, 0.1, false))
    })
}

/// Times a step of the paper's reranker alone: `pairs` pairs of `count` random local features of 128 dimensions per image,
/// with cross-entropy, after one warm-up step.
///
/// # Errors
/// [`TrainError::Config`] for no pairs or no local features, [`ModelError::Device`] for a failing device.
pub fn time_rerank_step(pairs: usize, count: usize, runs: usize, device: &Device) -> Result<StepTime> {
    if pairs * count == 0 {
        return Err(TrainError::Config(format!(
            "{pairs} pairs of {count} local features: at least 1 of each"
        )));
    }
    let mut config = preset_of("vit-tiny")?;
    config.local = Some(LocalConfig { dim: 128, count, ..Default::default() });
    config.reranker = Some(RerankerConfig::default());
    let mut noise = Noise(1);
    let mut side = || noise.values(pairs * count * 131);
    let sides = [side(), side()];
    let same: Vec<bool> = (0..pairs).map(|i| i % 2 == 0).collect();
    time(&config, runs, device, |model, device| {
        let [query, reference] = sides
            .clone()
            .map(|values| Tensor::<3>::from_data(TensorData::new(values, [pairs, count, 131]), device));
        let none = || ModelError::Config("no reranker".into());
        let logits = model.reranker.as_ref().ok_or_else(none)?.forward(query, reference)?;
        Ok(cross_entropy(logits, &same))
    })
}

fn preset_of(name: &str) -> Result<ModelConfig> {
    Ok(ModelConfig::preset(name).ok_or_else(|| ModelError::Config(format!("no preset '{name}'")))?)
}

/// Pseudo-random values between -1 and 1, the same in every run.
struct Noise(u32);

impl Noise {
    fn values(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}

fn time(
    config: &ModelConfig,
    runs: usize,
    device: &Device,
    loss: impl Fn(&R2Former, &Device) -> Result<Tensor<1>>,
) -> Result<StepTime> {
    let device = device.clone().autodiff();
    // A GPU has not computed what was given to it.
    let computed = || device.sync().map_err(|error| ModelError::Device(error.to_string()));
    let mut model = R2Former::random(config, 0, &device)?;
    let tensors = model.to_tensors()?;
    let mut optimizer = Optimizer::new(TrainConfig::preset(Stage::Joint).optimizer, &tensors);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..=runs {
        let start = Instant::now();
        let loss = loss(&model, &device)?;
        computed()?;
        let forward = start.elapsed();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        computed()?;
        let backward = start.elapsed() - forward;
        (model, _) = optimizer.step(1e-5, model, grads);
        computed()?;
        let whole = start.elapsed();
        for (list, time) in times.iter_mut().zip([forward, backward, whole - forward - backward]) {
            list.push(time.as_secs_f64());
        }
    }
    let [forward_s, backward_s, optimizer_s] = times.map(|list| {
        let mut counted = list[1..].to_vec();
        counted.sort_by(f64::total_cmp);
        counted.get(counted.len() / 2).copied().unwrap_or(f64::NAN)
    });
    let parameters = tensors.values().map(|t| t.data.len()).sum();
    Ok(StepTime { forward_s, backward_s, optimizer_s, parameters })
}
