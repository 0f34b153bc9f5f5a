//! Optimiser, learning rate schedule, gradient clipping and the moving average of the weights.

use crate::config::{OptimizerConfig, OptimizerKind, Schedule, ScheduleConfig};
use crate::{Result, TrainError};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;
use r2former_model::R2Former;
use r2former_model::weights::{Tensors, param_id};
use std::path::Path;

/// Adam's epsilon, as in PyTorch.
const EPSILON: f32 = 1e-8;

/// Two optimisers: the backbone may have another learning rate than the rest.
pub(crate) struct Optimizer {
    backbone: ModuleOptimizer,
    rest: ModuleOptimizer,
    backbone_ids: Vec<ParamId>,
    config: OptimizerConfig,
}

impl Optimizer {
    /// An optimiser of the parameters with these names.
    pub(crate) fn new(config: OptimizerConfig, tensors: &Tensors) -> Self {
        let own = tensors.keys().filter(|name| name.starts_with("backbone."));
        let backbone_ids: Vec<ParamId> = own.map(|name| param_id(name)).collect();
        // Norms and biases are vectors; nothing else is.
        let plain: Vec<ParamId> = tensors
            .iter()
            .filter(|(_, tensor)| tensor.shape.len() < 2)
            .map(|(name, _)| param_id(name))
            .collect();
        let build = || match config.kind {
            OptimizerKind::Adam => {
                let base = AdamConfig::new()
                    .with_beta_1(config.betas[0] as f32)
                    .with_beta_2(config.betas[1] as f32)
                    .with_epsilon(EPSILON);
                let decay = WeightDecayConfig { penalty: config.weight_decay as f32 };
                let decayed = base.clone().with_weight_decay((config.weight_decay > 0.0).then_some(decay));
                ModuleOptimizer::from(decayed.build()).with_group(
                    ParamGroup::from_ids(plain.clone()),
                    base.build(),
                    None,
                )
            }
            OptimizerKind::Adamw => {
                let base = AdamWConfig::new()
                    .with_beta_1(config.betas[0] as f32)
                    .with_beta_2(config.betas[1] as f32)
                    .with_epsilon(EPSILON);
                let still = base.clone().with_weight_decay(0.0);
                ModuleOptimizer::from(base.with_weight_decay(config.weight_decay as f32).build()).with_group(
                    ParamGroup::from_ids(plain.clone()),
                    still.build(),
                    None,
                )
            }
            OptimizerKind::Sgd => {
                let momentum = MomentumConfig::new().with_momentum(config.betas[0]).with_dampening(0.0);
                let base = SgdConfig::new().with_momentum((config.betas[0] > 0.0).then_some(momentum));
                let decay = WeightDecayConfig { penalty: config.weight_decay as f32 };
                let decayed = base.clone().with_weight_decay((config.weight_decay > 0.0).then_some(decay));
                ModuleOptimizer::from(decayed.build()).with_group(
                    ParamGroup::from_ids(plain.clone()),
                    base.build(),
                    None,
                )
            }
        };
        Self { backbone: build(), rest: build(), backbone_ids, config }
    }

    /// One step; returns the gradient's norm before clipping.
    pub(crate) fn step(&mut self, lr: f64, model: R2Former, mut grads: GradientsParams) -> (R2Former, f32) {
        let mut norm = Norm { grads: &grads, square: 0.0 };
        model.visit(&mut norm);
        let norm = norm.square.sqrt() as f32;
        let scale = match self.config.clip as f32 {
            clip if clip > 0.0 && norm > clip => clip / norm,
            _ => 1.0,
        };
        let mut parts = Parts {
            grads: &mut grads,
            backbone: &self.backbone_ids,
            scale,
            found: [GradientsParams::new(), GradientsParams::new()],
        };
        model.visit(&mut parts);
        let [backbone, rest] = parts.found;
        let model = self.backbone.step(lr * self.config.backbone_lr_scale, model, backbone);
        (self.rest.step(lr, model, rest), norm)
    }

    /// Writes its state.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        for (name, part) in [("backbone", &self.backbone), ("rest", &self.rest)] {
            let path = dir.join(format!("optimizer-{name}.bpk"));
            let bytes = part.into_bytes().map_err(|e| TrainError::run(&path, e.to_string()))?;
            std::fs::write(&path, &bytes[..]).map_err(TrainError::io(path))?;
        }
        Ok(())
    }

    /// Reads the state written by [`Optimizer::save`].
    pub(crate) fn load(mut self, dir: &Path) -> Result<Self> {
        let read = |name: &str, part: ModuleOptimizer| {
            let path = dir.join(format!("optimizer-{name}.bpk"));
            let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
            part.from_bytes(burn::tensor::Bytes::from_bytes_vec(bytes))
                .map_err(|e| TrainError::run(&path, e.to_string()))
        };
        self.backbone = read("backbone", self.backbone)?;
        self.rest = read("rest", self.rest)?;
        Ok(self)
    }
}

/// The norm of the gradient of all parameters.
struct Norm<'a> {
    grads: &'a GradientsParams,
    square: f64,
}

impl ModuleVisitor for Norm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.square += grad.powi_scalar(2).sum().into_data().iter::<f64>().sum::<f64>();
        }
    }
}

/// Scales gradients and passes each to its optimiser.
struct Parts<'a> {
    grads: &'a mut GradientsParams,
    backbone: &'a [ParamId],
    scale: f32,
    found: [GradientsParams; 2],
}

impl ModuleVisitor for Parts<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let grad = if self.scale == 1.0 { grad } else { grad.mul_scalar(self.scale) };
            self.found[usize::from(!self.backbone.contains(&param.id))].register(param.id, grad);
        }
    }
}

/// Multiplies gradients of a model's parameters.
struct Scale<'a>(&'a mut GradientsParams, f32);

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.0.remove::<D>(param.id) {
            self.0.register(param.id, grad.mul_scalar(self.1));
        }
    }
}

/// `factor` times the gradients of a model.
pub(crate) fn scaled(mut grads: GradientsParams, model: &R2Former, factor: f32) -> GradientsParams {
    if factor != 1.0 {
        model.visit(&mut Scale(&mut grads, factor));
    }
    grads
}

/// The learning rate at a step (from 0) of a run.
pub(crate) fn learning_rate(base: f64, schedule: &ScheduleConfig, step: u64) -> f64 {
    let epochs = schedule.epochs as f64;
    let epoch = match schedule.kind {
        Schedule::CosineSteps => step as f64 / schedule.steps as f64,
        _ => (step / schedule.steps) as f64,
    };
    let warm = match schedule.warmup {
        // Warm-up by step under a schedule by step, by epoch otherwise.
        warmup if epoch < warmup => epoch / warmup,
        _ => 1.0,
    };
    let course = match schedule.kind {
        Schedule::Constant => 1.0,
        Schedule::Cosine | Schedule::CosineSteps if epoch < schedule.warmup => 1.0,
        Schedule::Cosine | Schedule::CosineSteps => {
            0.5 * (1.0 + (std::f64::consts::PI * epoch / epochs).cos())
        }
    };
    base * (0.1 * (1.0 - warm) + warm) * course
}

/// Collects a model's trained parameters without gradients.
struct Values(GradientsParams);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // An average of equal values may differ from them by its rounding.
        if param.is_require_grad() {
            self.0.register(param.id, param.val().inner());
        }
    }
}

/// Moves an average towards new values.
struct Towards {
    values: GradientsParams,
    decay: f32,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.remove::<D>(param.id) else { return param };
        let decay = self.decay;
        param.map(|old| old.mul_scalar(decay) + value.mul_scalar(1.0 - decay))
    }
}

/// `decay * average + (1 - decay) * model`, parameter by parameter; the average has no gradients. Frozen parameters stay
/// as they are.
pub(crate) fn towards(average: R2Former, model: &R2Former, decay: f32) -> R2Former {
    let mut values = Values(GradientsParams::new());
    model.visit(&mut values);
    average.map(&mut Towards { values: values.0, decay })
}

/// Freezes parameters.
pub(crate) struct Freeze<'a>(pub(crate) &'a [ParamId]);

impl ModuleMapper for Freeze<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.0.contains(&param.id) { param.set_require_grad(false) } else { param }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates_follow_the_published_schedule() {
        let schedule =
            ScheduleConfig { epochs: 50, steps: 10, warmup: 5.0, kind: Schedule::Cosine, patience: 0 };
        let at = |step| learning_rate(5e-4, &schedule, step);
        assert!((at(0) - 5e-5).abs() < 1e-12 && (at(9) - 5e-5).abs() < 1e-12);
        // Epoch 2 of 5: lr (0.1 (1 - 0.4) + 0.4).
        assert!((at(25) - 5e-4 * 0.46).abs() < 1e-12);
        assert!((at(250) - 5e-4 * 0.5).abs() < 1e-12);
        assert!(at(499) < 1e-5);
        let steps = ScheduleConfig { kind: Schedule::CosineSteps, ..schedule };
        assert!(learning_rate(1.0, &steps, 400) < learning_rate(1.0, &steps, 399));
        assert_eq!(
            learning_rate(1.0, &ScheduleConfig { kind: Schedule::Constant, warmup: 0.0, ..schedule }, 7),
            1.0
        );
    }
}
