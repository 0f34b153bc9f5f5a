//! One step: from a batch to the gradients of its loss.

mod frozen;
mod local;
mod spread;
#[cfg(test)]
mod tests;

pub(crate) use frozen::Frozen;
pub(crate) use spread::spread;

use crate::batch::Batch;
use crate::config::{GlobalLoss, Stage, TrainConfig};
use crate::loss::{cross_entropy, multi_similarity, ranking_loss, triplet};
use crate::pool::Relation;
use crate::random::{self, Use};
use crate::{Result, TrainError};
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData};
use r2former_model::backbone::Tokens;
use r2former_model::{Device, ModelError, R2Former};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde::Serialize;

/// In batches of places, each negative of a photograph is drawn from this many times the number needed, the most
/// similar first.
const HARDEST: usize = 4;

/// Losses of a step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Losses {
    /// The global loss, in stages that minimise it.
    pub global: Option<f32>,
    /// The reranker's loss, in stages that minimise it.
    pub rerank: Option<f32>,
    /// Share of pairs that the reranker classifies correctly.
    pub rerank_accuracy: Option<f32>,
    /// The contrastive loss over patches, in stage `local`.
    pub local: Option<f32>,
    /// Share of patches whose most similar patch is their counterpart.
    pub local_accuracy: Option<f32>,
    /// How far the tokens have turned from the start model's, where that is in the loss.
    pub distillation: Option<f32>,
    /// The weighted sum, which is minimised.
    pub total: f32,
}

/// What a step runs besides the model that is trained.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fixed<'a> {
    /// A frozen backbone.
    pub(crate) backbone: Option<&'a Frozen>,
    /// The start model, which the tokens are held to.
    pub(crate) teacher: Option<&'a Frozen>,
}

/// Two photographs of a batch, and whether they show the same place.
type Pair = (usize, usize, bool);

/// Forward and backward pass of a batch on the model's device, an autodiff device. The loss may be NaN or infinite: the
/// caller checks it.
pub(crate) fn step(
    model: &R2Former,
    device: &Device,
    fixed: Fixed<'_>,
    batch: &Batch,
    config: &TrainConfig,
    size: [usize; 2],
    number: u64,
) -> Result<(GradientsParams, Losses)> {
    let (total, losses) = forward(model, device, fixed, batch, config, size, number)?;
    Ok((GradientsParams::from_grads(total.backward(), model), losses))
}

/// The loss of a batch, as a tensor and by its parts.
pub(crate) fn forward(
    model: &R2Former,
    device: &Device,
    fixed: Fixed<'_>,
    batch: &Batch,
    config: &TrainConfig,
    size: [usize; 2],
    number: u64,
) -> Result<(Tensor<1>, Losses)> {
    if config.stage == Stage::Local {
        return local::forward(model, device, fixed, batch, config, size);
    }
    let features = match &batch.cached {
        Some(cached) => cached.features(model, device),
        None => {
            let tokens = tokens(model, device, fixed, batch, size)?;
            let tokens = match config.loss.detach_local {
                true => Tokens { local: tokens.local.detach(), ..tokens },
                false => tokens,
            };
            model.features(tokens, size)?
        }
    };
    let mut losses = Losses::default();
    let mut total: Option<Tensor<1>> = None;
    let mut add = |loss: Tensor<1>, weight: f64| {
        let weighted = loss.mul_scalar(weight);
        total = Some(match total.take() {
            Some(sum) => sum + weighted,
            None => weighted,
        });
    };
    let l = &config.loss;
    if config.stage.trains_global() {
        let loss = match l.global {
            GlobalLoss::MultiSimilarity => {
                multi_similarity(&features.global, &batch.relations, l.multi_similarity)
            }
            kind => {
                let squared = kind == GlobalLoss::TripletSquared;
                triplet(&features.global, &batch.plan.triplets, l.margin, squared)
            }
        };
        losses.global = Some(scalar(loss.clone())?);
        add(loss, l.global_weight);
    }
    if config.stage.trains_reranker() {
        let (Some(local), Some(reranker)) = (features.local, &model.reranker) else {
            return Err(ModelError::Config("the model has no reranker to train".into()).into());
        };
        let pairs = pairs(batch, &features.global, config, number)?;
        let side = |which: usize| {
            let numbers: Vec<i64> = pairs.iter().map(|p| [p.0, p.1][which] as i64).collect();
            let index = TensorData::new(numbers, [pairs.len()]);
            local.clone().select(0, Tensor::<1, Int>::from_data(index, &local.device()))
        };
        let logits = reranker.forward(side(0), side(1))?;
        let same: Vec<bool> = pairs.iter().map(|p| p.2).collect();
        losses.rerank_accuracy = Some(accuracy(&logits, &same)?);
        let mut loss = cross_entropy(logits.clone(), &same);
        if l.ranking_loss_weight > 0.0
            && let Some(ranking) = ranking_loss(&logits, &pairs)
        {
            loss = loss + ranking.mul_scalar(l.ranking_loss_weight);
        }
        losses.rerank = Some(scalar(loss.clone())?);
        add(loss, l.rerank_weight);
    }
    let Some(total) = total else {
        return Err(TrainError::Config("this stage has no loss".into()));
    };
    losses.total = scalar(total.clone())?;
    Ok((total, losses))
}

/// The backbone's tokens of a batch.
fn tokens(
    model: &R2Former,
    device: &Device,
    fixed: Fixed<'_>,
    batch: &Batch,
    size: [usize; 2],
) -> Result<Tokens> {
    if let Some(backbone) = fixed.backbone {
        return backbone.tokens(&batch.inputs);
    }
    let shape = [batch.inputs.len(), 3, size[0], size[1]];
    let images = Tensor::<4>::from_data(TensorData::new(batch.inputs.concat(), shape), device);
    Ok(model.backbone().forward(images)?)
}

/// Pairs for the reranker: those of the triplets, or for batches of places, each photograph with another of its place
/// and with some of the most similar ones of other places.
fn pairs(batch: &Batch, global: &Tensor<2>, config: &TrainConfig, number: u64) -> Result<Vec<Pair>> {
    let rng = &mut random::at(config.seed, Use::Pairs, [number, 0]);
    let mut pairs: Vec<Pair> = Vec::new();
    if batch.plan.triplets.is_empty() {
        let count = batch.plan.shots.len();
        let plain = global.clone().inner();
        let similarity: Vec<f32> =
            plain.clone().matmul(plain.transpose()).into_data().iter::<f32>().collect();
        for i in 0..count {
            let relation = |j: usize| batch.relations[i * count + j];
            let same: Vec<usize> =
                (0..count).filter(|j| *j != i && relation(*j) == Relation::Positive).collect();
            let mut other: Vec<usize> = (0..count).filter(|j| relation(*j) == Relation::Negative).collect();
            other.sort_by(|a, b| similarity[i * count + b].total_cmp(&similarity[i * count + a]));
            other.truncate(HARDEST * config.batch.negatives);
            pairs.extend(same.choose(rng).map(|j| (i, *j, true)));
            let drawn = other.choose_multiple(rng, config.batch.negatives);
            pairs.extend(drawn.map(|j| (i, *j, false)));
        }
    } else {
        for [query, positive, negative] in &batch.plan.triplets {
            // A query with several negatives has one positive.
            if pairs.last().is_none_or(|last: &Pair| last.0 != *query) {
                pairs.push((*query, *positive, true));
            }
            pairs.push((*query, *negative, false));
        }
    }
    if config.loss.max_pairs > 0 && pairs.len() > config.loss.max_pairs {
        pairs.shuffle(rng);
        pairs.truncate(config.loss.max_pairs);
    }
    Ok(pairs)
}

fn scalar(loss: Tensor<1>) -> Result<f32> {
    let values = loss.into_data();
    values.iter::<f32>().next().ok_or_else(|| TrainError::Config("a loss without a value".into()))
}

/// Share of pairs whose larger logit is the correct one.
fn accuracy(logits: &Tensor<2>, same: &[bool]) -> Result<f32> {
    let values: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
    let correct = values.chunks_exact(2).zip(same).filter(|(l, same)| (l[1] > l[0]) == **same).count();
    Ok(correct as f32 / same.len().max(1) as f32)
}
