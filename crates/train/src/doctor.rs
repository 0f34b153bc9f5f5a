//! The stages of a training step for [`r2former_engine::doctor`]: its loss and its gradients.
//!
//! The reference is Burn's automatic differentiation of plain operations on the CPU. There the kernels of training are
//! compared with it, elsewhere the device.

use crate::TrainError;
use crate::batch::{Batch, Plan};
use crate::config::{Stage as TrainStage, TrainConfig};
use crate::step::{Fixed, forward, step};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use r2former_engine::doctor::{Comparison, Extent, Kind, Setup, Stage, guarded, images, timed};
use r2former_engine::{EngineError, LoadedModel, Result};
use r2former_model::layers::without_gradient_kernels;
use r2former_model::{Device, R2Former};

/// The stages, in their order.
pub fn stages() -> [&'static dyn Stage; 2] {
    [&StepLoss, &StepGradients]
}

/// The loss of a step.
struct StepLoss;

/// The gradient of every parameter.
struct StepGradients;

/// Triplets of a batch, and patches along the sides of an image: few features, then more than one vector of them.
const BATCHES: [(usize, usize); 3] = [(2, 6), (1, 10), (5, 4)];

impl Stage for StepLoss {
    fn name(&self) -> &'static str {
        "loss of a step"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_batches(setup, 1e-3, |case, model, device| {
            let (_, losses) =
                forward(model, device, Fixed::default(), &case.batch, &case.config, case.size, 0)?;
            Ok(vec![vec![losses.total]])
        })
    }
}

impl Stage for StepGradients {
    fn name(&self) -> &'static str {
        "gradients of a step"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_batches(setup, 1e-2, |case, model, device| {
            let (grads, _) = step(model, device, Fixed::default(), &case.batch, &case.config, case.size, 0)?;
            let mut gradients = Gradients { grads, found: Vec::new() };
            model.visit(&mut gradients);
            Ok(gradients.found)
        })
    }
}

/// A batch of synthetic photographs, and what is minimised over it.
struct Case {
    batch: Batch,
    config: TrainConfig,
    size: [usize; 2],
}

impl Case {
    fn new(loaded: &LoadedModel, triplets: usize, side: usize, seed: u64) -> Self {
        let config = &loaded.config;
        let size = [side * config.size_step(); 2];
        let images = images(config, Kind::PhotoLike, 3 * triplets, size, seed);
        let plan = Plan {
            shots: Vec::new(),
            triplets: (0..triplets).map(|t| [3 * t, 3 * t + 1, 3 * t + 2]).collect(),
        };
        let inputs = images.rows().map(<[f32]>::to_vec).collect();
        // Both losses, where the model has both.
        let stage = if config.reranker.is_some() { TrainStage::EndToEnd } else { TrainStage::Global };
        let mut config = TrainConfig::preset(stage);
        // A margin that no triplet keeps: else nothing is left to learn.
        config.loss.margin = 2.5;
        Self {
            batch: Batch {
                plan,
                inputs,
                cached: None,
                pairs: None,
                relations: Vec::new(),
                left_out: Vec::new(),
            },
            config,
            size,
        }
    }
}

/// Compares what `run` gives for every batch: groups of values, each by its largest.
fn over_batches(
    setup: &Setup<'_>,
    tolerance: f32,
    run: impl Fn(&Case, &R2Former, &Device) -> crate::Result<Vec<Vec<f32>>>,
) -> Result<Vec<Comparison>> {
    let count = if setup.extent == Extent::Full { BATCHES.len() } else { 1 };
    let mut compared = Vec::with_capacity(count);
    for (seed, (triplets, side)) in BATCHES[..count].iter().enumerate() {
        let case = Case::new(setup.loaded, *triplets, *side, 91 + seed as u64);
        let on = |device: Device| {
            let device = device.autodiff();
            let mut checkpoint = setup.loaded.clone().into_checkpoint();
            checkpoint.config.precision = setup.precision;
            let model = checkpoint.model(&device)?;
            run(&case, &model, &device).map_err(failed)
        };
        let (expected, reference_ms) = timed(|| without_gradient_kernels(|| on(Device::flex())))?;
        let (found, device_ms) = timed(|| guarded(|| on(setup.device.clone())))?;
        let [height, width] = case.size;
        compared.push(Comparison {
            input: format!("photo-like, {} images of {height}x{width}", 3 * triplets),
            deviation: apart(&found, &expected),
            tolerance,
            device_ms,
            reference_ms,
        });
    }
    Ok(compared)
}

fn failed(error: TrainError) -> EngineError {
    EngineError::Compute(error.to_string())
}

/// The largest difference over the largest value of its group. A group a thousand times smaller than the largest is
/// measured by that: its values are the rounding of larger ones.
fn apart(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let largest = |group: &[f32]| group.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let least = 1e-3 * expected.iter().map(|group| largest(group)).fold(f32::MIN_POSITIVE, f32::max);
    let shaped = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.len() == e.len());
    let finite = found.iter().chain(expected).flatten().all(|v| v.is_finite());
    if !shaped || !finite {
        return f32::INFINITY;
    }
    let group = |(found, expected): (&Vec<f32>, &Vec<f32>)| {
        let worst = found.iter().zip(expected).fold(0.0f32, |worst, (f, e)| worst.max((f - e).abs()));
        worst / largest(expected).max(least)
    };
    found.iter().zip(expected).map(group).fold(0.0, f32::max)
}

/// Collects the gradients of a module's parameters, in its order.
struct Gradients {
    grads: GradientsParams,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Gradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.grads.get::<D>(param.id) {
            self.found.push(gradient.into_data().iter::<f32>().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_engine::NoProgress;
    use r2former_engine::doctor::{Options, Verdict, check};
    use r2former_model::{BackboneConfig, GlobalConfig, LocalConfig, ModelConfig, Pooling, VitConfig};

    fn small() -> LoadedModel {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        let BackboneConfig::Vit(vit) = config.backbone else { panic!("a transformer") };
        config.backbone = BackboneConfig::Vit(VitConfig { depth: 2, dim: 48, ..vit });
        config.global = GlobalConfig::Linear { dim: 16, pooling: Pooling::Cls };
        config.local = Some(LocalConfig { dim: 12, count: 24, ..Default::default() });
        config.reranker.get_or_insert_default();
        LoadedModel::random(&config, 3).unwrap()
    }

    #[test]
    fn the_kernels_of_training_agree_with_plain_operations() {
        let mut options = Options::new(Extent::Full);
        options.stages.extend(stages());
        let report = check(&small(), &Device::flex(), &options, &NoProgress).unwrap();
        for name in ["loss of a step", "gradients of a step"] {
            let stage = report.stages.iter().find(|stage| stage.stage == name).unwrap();
            assert_eq!(stage.verdict, Verdict::Agrees, "{stage:#?}");
            assert_eq!(stage.comparisons.len(), BATCHES.len());
        }
    }

    #[test]
    fn a_gradient_of_another_model_is_found() {
        let loaded = small();
        let other = loaded
            .with(|_, tensors| {
                let name = "reranker.blocks.0.attn.qkv.weight";
                tensors.get_mut(name).unwrap().data.iter_mut().for_each(|v| *v *= 1.5);
            })
            .unwrap();
        let case = Case::new(&loaded, 2, 6, 91);
        let gradients = |loaded: &LoadedModel| {
            let device = Device::flex().autodiff();
            let model = loaded.clone().into_checkpoint().model(&device).unwrap();
            let (grads, _) =
                step(&model, &device, Fixed::default(), &case.batch, &case.config, case.size, 0).unwrap();
            let mut gradients = Gradients { grads, found: Vec::new() };
            model.visit(&mut gradients);
            gradients.found
        };
        let (right, wrong) = (gradients(&loaded), gradients(&other));
        assert!(right.len() > 40);
        assert_eq!(apart(&right, &right), 0.0);
        assert!(apart(&wrong, &right) > 1e-2);
        assert_eq!(apart(&wrong[1..], &right), f32::INFINITY);
    }
}
