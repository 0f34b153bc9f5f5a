//! How long a step takes, its parts apart.

use crate::loss::triplet;
use crate::optim::Optimizer;
use crate::{Result, Stage, TrainConfig, TrainError};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use r2former_model::{Device, ModelConfig, ModelError, R2Former};
use serde::Serialize;
use std::time::Instant;

/// Seconds of the parts of a step, each the median of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepTime {
    /// Images to the loss.
    pub forward_s: f64,
    /// The loss to the gradients of every parameter.
    pub backward_s: f64,
    /// Gradients to new parameters (AdamW).
    pub optimizer_s: f64,
    /// Parameters of the network.
    pub parameters: usize,
}

/// Times a step of the global stage: `batch` random images as triplets, every parameter of the backbone and the
/// global head trained, after one step that is not counted.
///
/// # Errors
/// An unknown preset, a batch below 3 images, or an image size that does not suit the backbone.
pub fn time_step(preset: &str, [height, width]: [usize; 2], batch: usize, runs: usize) -> Result<StepTime> {
    let mut config =
        ModelConfig::preset(preset).ok_or_else(|| ModelError::Config(format!("no preset '{preset}'")))?;
    (config.local, config.reranker) = (None, None);
    config.check_size(height, width)?;
    if batch < 3 {
        return Err(TrainError::Config(format!("a batch of {batch} images: a triplet needs 3")));
    }
    let device = Device::flex().autodiff();
    let mut model = R2Former::random(&config, 0, &device)?;
    let tensors = model.to_tensors()?;
    let optimizer = TrainConfig::preset(Stage::Joint).optimizer;
    let mut optimizer = Optimizer::new(optimizer, &tensors);
    let triplets: Vec<[usize; 3]> = (0..batch / 3).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..batch * 3 * height * width).map(|_| noise()).collect();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..=runs {
        let images =
            Tensor::<4>::from_data(TensorData::new(values.clone(), [batch, 3, height, width]), &device);
        let start = Instant::now();
        let loss = triplet(&model.extract(images)?.global, &triplets, 0.1, false);
        let forward = start.elapsed();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let backward = start.elapsed() - forward;
        (model, _) = optimizer.step(1e-5, model, grads);
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
