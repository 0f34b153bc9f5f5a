//! Stage `local`: patches that are known to correspond, and the start model's tokens.

use super::{Fixed, Losses, scalar};
use crate::batch::Batch;
use crate::config::TrainConfig;
use crate::{Result, TrainError};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use r2former_model::backbone::Tokens;
use r2former_model::{Device, ModelError, R2Former};

/// Corresponding patches below which a pair is in no loss.
const LEAST: usize = 8;

/// Weight, within the distillation, of the mean of an image's tokens.
const POOLED: f64 = 2.0;

/// The loss of a batch of pairs.
pub(super) fn forward(
    model: &R2Former,
    device: &Device,
    fixed: Fixed<'_>,
    batch: &Batch,
    config: &TrainConfig,
    size: [usize; 2],
) -> Result<(Tensor<1>, Losses)> {
    let Some(pairs) = &batch.pairs else {
        return Err(TrainError::Config("batch.kind: stage local needs warps".into()));
    };
    let tokens = super::tokens(model, device, fixed, batch, size)?;
    let features = model
        .local_features(&tokens)
        .ok_or_else(|| ModelError::Config("the model has no local features to train".into()))?;
    let (mut total, accuracy) = contrast(features, &pairs.matches, config.loss.temperature);
    let mut losses =
        Losses { local: Some(scalar(total.clone())?), local_accuracy: Some(accuracy), ..Losses::default() };
    if let Some(teacher) = fixed.teacher {
        let distillation = distillation(&tokens, &teacher.tokens(&pairs.teacher)?, device);
        losses.distillation = Some(scalar(distillation.clone())?);
        total = total + distillation.mul_scalar(config.loss.distillation_weight);
    }
    losses.total = scalar(total.clone())?;
    Ok((total, losses))
}

/// InfoNCE in both directions (van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018):
/// each patch of a picture that is seen in the other one of its pair has to find its counterpart among all patches of the
/// other pictures of the batch. Averaged over patches, directions and pairs. Also the share of patches of first pictures
/// whose most similar patch is the counterpart.
///
/// # Shapes
/// - features: `[2 * pairs, patches, dim]`, the pictures of a pair one after the other
/// - matches: for each pair, the patch of the second picture that each of the first is seen in
fn contrast(features: Tensor<3>, matches: &[Vec<Option<u32>>], temperature: f64) -> (Tensor<1>, f32) {
    let [images, patches, dim] = features.dims();
    let device = features.device();
    let unit = unit(features).reshape([images / 2, 2, patches * dim]);
    let [a, b] = [0, 1].map(|side| unit.clone().narrow(1, side, 1).reshape([images / 2 * patches, dim]));

    let used = |pair: &&Vec<Option<u32>>| pair.iter().flatten().count() >= LEAST;
    let pairs = matches.iter().filter(used).count();
    let (mut from_a, mut from_b, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (number, pair) in matches.iter().enumerate().filter(|(_, pair)| used(pair)) {
        let weight = 1.0 / (pair.iter().flatten().count() * pairs) as f32;
        for (i, j) in pair.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)?))) {
            from_a.push((number * patches + i) as i64);
            from_b.push((number * patches) as i64 + i64::from(j));
            weights.push(weight);
        }
    }
    let count = weights.len();
    if count == 0 {
        return (a.sum().mul_scalar(0.0), 0.0);
    }
    let index = |of: &[i64]| Tensor::<1, Int>::from_data(TensorData::new(of.to_vec(), [count]), &device);
    let weight = Tensor::<2>::from_data(TensorData::new(weights.clone(), [count, 1]), &device);
    let direction = |queries: &Tensor<2>, candidates: &Tensor<2>, asked: &[i64], wanted: &[i64]| {
        let queries = queries.clone().select(0, index(asked));
        let logits = queries.matmul(candidates.clone().transpose()).div_scalar(temperature);
        let found = logits.clone().argmax(1);
        let chosen = log_softmax(logits, 1).gather(1, index(wanted).reshape([count, 1]));
        ((chosen * weight.clone()).sum().neg(), found)
    };
    let (forth, found) = direction(&a, &b, &from_a, &from_b);
    let (back, _) = direction(&b, &a, &from_b, &from_a);
    let found = found.into_data();
    let right = found.iter::<i64>().zip(&from_b).zip(&weights).filter(|((f, wanted), _)| f == *wanted);
    ((forth + back).div_scalar(2.0), right.map(|(_, weight)| weight).sum())
}

/// How far tokens of patches have turned from a teacher's, by the cosine: the mean over patches, and that of the images'
/// mean tokens.
fn distillation(student: &Tokens, teacher: &Tokens, device: &Device) -> Tensor<1> {
    let patches = |tokens: &Tokens| {
        let count = tokens.last.dims()[1] - tokens.last_prefix;
        tokens.last.clone().narrow(1, tokens.last_prefix, count)
    };
    let (student, teacher) = (patches(student), patches(teacher).to_device(device).detach());
    let turned = |a: Tensor<3>, b: Tensor<3>| (unit(a) * unit(b)).sum_dim(2).mean().neg().add_scalar(1.0);
    let pooled = turned(student.clone().mean_dim(1), teacher.clone().mean_dim(1));
    turned(student, teacher) + pooled.mul_scalar(POOLED)
}

/// Rows at unit length.
fn unit(x: Tensor<3>) -> Tensor<3> {
    let length = x.clone().powi_scalar(2).sum_dim(2).add_scalar(1e-12).sqrt();
    x / length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Loader, Pairs, Planner};
    use crate::config::{SourceConfig, SourceKind, Stage};
    use crate::optim::{Freeze, Optimizer};
    use crate::pool::{Excluded, Pool};
    use crate::random::{Use, at};
    use crate::start::{backbone_is_frozen, frozen_parameters};
    use crate::step::{Frozen, step};
    use burn::module::Module;
    use r2former_data::image::{Preprocess, ResizeMode};
    use r2former_model::{BackboneConfig, Checkpoint, LocalConfig, ModelConfig, VitConfig};
    use rand::Rng as _;

    const SIZE: [usize; 2] = [48, 64];

    fn checkpoint() -> Checkpoint {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        if let BackboneConfig::Vit(vit) = &mut config.backbone {
            *vit = VitConfig { dim: 24, depth: 3, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
        }
        config.local = Some(LocalConfig {
            dim: 16,
            count: 12,
            official_gather: false,
            layer: Some(2),
            ..Default::default()
        });
        config.trained.local = true;
        [config.input.height, config.input.width] = SIZE;
        let tensors = R2Former::random(&config, 1, &Device::flex()).unwrap().to_tensors().unwrap();
        Checkpoint { config, tensors, fingerprint: String::new() }
    }

    fn config() -> TrainConfig {
        let mut config = TrainConfig::preset(Stage::Local);
        let town = SourceKind::Town { seed: 3, blocks: 2, spacing: 16.0, conditions: Vec::new() };
        config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
        config.batch.size = 3;
        config
    }

    fn batch(config: &TrainConfig) -> Batch {
        let pool = Pool::of(config, 0).unwrap();
        let preprocess = Preprocess::half(ResizeMode::Antialias);
        let loader = Loader {
            pool: &pool,
            augment: &config.augment,
            preprocess: &preprocess,
            size: SIZE,
            seed: 5,
            cache: None,
            pairs: Pairs::of(config, 8),
        };
        loader.load(&Planner::new(&pool, None, config, Excluded::new()), 2, 0).unwrap()
    }

    fn value(loss: Tensor<1>) -> f64 {
        f64::from(scalar(loss).unwrap())
    }

    #[test]
    fn the_contrast_is_a_plain_loops() {
        let (pairs, patches, dim, temperature) = (3, 14, 5, 0.2);
        let rng = &mut at(1, Use::Image, [0, 0]);
        let values: Vec<f32> = (0..2 * pairs * patches * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        // The last pair has too few corresponding patches.
        let matches: Vec<Vec<Option<u32>>> = (0..pairs)
            .map(|p| {
                let some = |i: usize, rng: &mut crate::random::Rng| {
                    let seen = if p == 2 { i < 7 } else { i % 4 != p };
                    seen.then(|| rng.random_range(0..patches as u32))
                };
                (0..patches).map(|i| some(i, rng)).collect()
            })
            .collect();
        let row = |picture: usize, patch: usize| -> Vec<f64> {
            let raw: Vec<f64> =
                values[(picture * patches + patch) * dim..][..dim].iter().map(|v| f64::from(*v)).collect();
            let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
            raw.into_iter().map(|v| v / length).collect()
        };
        let similar = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / temperature;
        // Cross-entropy of a patch against all patches of the other side (0: first pictures), and whether it is found.
        let asked = |side: usize, pair: usize, patch: usize, wanted: usize| {
            let own = row(2 * pair + side, patch);
            let all: Vec<f64> = (0..pairs * patches)
                .map(|k| similar(&own, &row(2 * (k / patches) + 1 - side, k % patches)))
                .collect();
            let right = all[pair * patches + wanted];
            let sum: f64 = all.iter().map(|v| v.exp()).sum();
            (sum.ln() - right, all.iter().all(|v| *v <= right))
        };
        let (mut expected, mut share) = (0.0, 0.0);
        for (p, pair) in matches.iter().take(2).enumerate() {
            let list: Vec<(usize, usize)> =
                pair.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)? as usize))).collect();
            for (i, j) in &list {
                let (forth, found) = asked(0, p, *i, *j);
                let (back, _) = asked(1, p, *j, *i);
                expected += (forth + back) / 2.0 / list.len() as f64 / 2.0;
                share += f64::from(u8::from(found)) / list.len() as f64 / 2.0;
            }
        }
        let device = Device::flex().autodiff();
        let features =
            Tensor::<3>::from_data(TensorData::new(values.clone(), [2 * pairs, patches, dim]), &device)
                .require_grad();
        let (loss, accuracy) = contrast(features.clone(), &matches, temperature);
        assert!((value(loss.clone()) - expected).abs() < 1e-4, "{} {expected}", value(loss));
        assert!((f64::from(accuracy) - share).abs() < 1e-5);
        // Nothing corresponds: no loss, and a backward pass all the same.
        let (none, _) = contrast(features, &[vec![None; 14], vec![None; 14], vec![None; 14]], temperature);
        assert_eq!(value(none.clone()), 0.0);
        none.backward();
    }

    #[test]
    fn identical_models_distil_nothing_from_unlit_pictures() {
        let start = checkpoint();
        let mut config = config();
        config.model.freeze_blocks = 0;
        config.loss.distillation_weight = 2.0;
        let device = Device::flex().autodiff();
        let model = R2Former::from_tensors(&start.config, start.tensors.clone(), &device).unwrap();
        let teacher = Frozen::teacher(&start, SIZE, &Device::flex()).unwrap();
        let fixed = Fixed { backbone: None, teacher: Some(&teacher) };
        let run = |config: &TrainConfig| {
            step(&model, &device, fixed, &batch(config), config, SIZE, 0).unwrap().1.distillation.unwrap()
        };
        let lit = run(&config);
        config.augment = crate::AugmentConfig::default();
        let unlit = run(&config);
        assert!(unlit.abs() < 1e-5 && lit > 1e-3, "{unlit} {lit}");
    }

    /// Names of parameters that a step has changed.
    fn changed(freeze_blocks: usize) -> Vec<String> {
        let start = checkpoint();
        let mut config = config();
        config.model.freeze_blocks = freeze_blocks;
        config.loss.distillation_weight = if freeze_blocks < 3 { 1.0 } else { 0.0 };
        let device = Device::flex().autodiff();
        let model = R2Former::from_tensors(&start.config, start.tensors.clone(), &device).unwrap();
        let model = model.map(&mut Freeze(&frozen_parameters(&config, &start.config, &start.tensors)));
        let still = backbone_is_frozen(&config, &start.config);
        assert_eq!(still, freeze_blocks >= 3);
        let backbone = still.then(|| Frozen::new(&model, SIZE, &Device::flex()).unwrap());
        let teacher = (!still).then(|| Frozen::teacher(&start, SIZE, &Device::flex()).unwrap());
        let fixed = Fixed { backbone: backbone.as_ref(), teacher: teacher.as_ref() };
        let (grads, losses) = step(&model, &device, fixed, &batch(&config), &config, SIZE, 0).unwrap();
        assert!(losses.local.unwrap() > 0.0 && losses.global.is_none() && losses.rerank.is_none());
        let mut optimizer = Optimizer::new(config.optimizer, &start.tensors);
        let (model, norm) = optimizer.step(1e-3, model, grads);
        assert!(norm > 0.0);
        let after = model.to_tensors().unwrap();
        start
            .tensors
            .iter()
            .filter(|(name, raw)| after[*name] != **raw)
            .map(|(name, _)| name.clone())
            .collect()
    }

    #[test]
    fn only_what_is_not_frozen_changes() {
        assert_eq!(changed(100), ["local_head.bias", "local_head.weight"]);
        assert_eq!(changed(3), ["local_head.bias", "local_head.weight"]);
        let moved = changed(1);
        let trained = |name: &String| {
            name.starts_with("local_head")
                || ["1", "2"].iter().any(|b| name.starts_with(&format!("backbone.blocks.{b}.")))
        };
        assert!(moved.iter().all(trained), "{moved:?}");
        for block in ["backbone.blocks.1.", "backbone.blocks.2."] {
            assert!(moved.iter().any(|name| name.starts_with(block)), "{moved:?}");
        }
    }
}
