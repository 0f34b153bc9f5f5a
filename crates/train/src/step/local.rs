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
