//! What every implementation is compared with: the model's own operations on the CPU, and plain loops where those
//! are sorting and gathering.

use super::plain::{Plain, axes, unit_features};
use super::{Array, BackboneOutput, BestMatches, Compute};
use crate::{LoadedModel, Result};
use r2former_model::{Device, Precision};

pub(super) struct Reference(Plain);

impl Reference {
    pub(super) fn new(loaded: &LoadedModel, precision: Precision) -> Result<Self> {
        Ok(Self(Plain::new(loaded, precision, &Device::flex())?))
    }
}

impl Compute for Reference {
    fn tokens(&self, images: &Array) -> Result<BackboneOutput> {
        self.0.tokens(images)
    }

    fn block(&self, tokens: &Array) -> Result<Option<[Array; 2]>> {
        self.0.block(tokens)
    }

    fn select(&self, attention: &Array, tokens: &Array, count: usize) -> Result<Array> {
        let ([batch, patches], [_, all, width]) = (axes(attention), axes(tokens));
        let count = count.min(patches);
        let longer = patches as f32;
        let mut values = Vec::with_capacity(batch * count * (3 + width));
        for (attention, tokens) in attention.rows().zip(tokens.rows()) {
            let order = descending(attention);
            let largest = order.first().map_or(1.0, |first| attention[*first]);
            for patch in &order[..count] {
                values.extend([(*patch as f32 + 0.5) / longer, 0.5 / longer, attention[*patch] / largest]);
                let token = all - patches + patch;
                values.extend(&tokens[token * width..(token + 1) * width]);
            }
        }
        Ok(Array { dims: vec![batch, count, 3 + width], values })
    }

    fn global(&self, last: &Array, prefix: usize) -> Result<Array> {
        self.0.global(last, prefix)
    }

    fn local(&self, selected: &Array) -> Result<Option<Array>> {
        self.0.local(selected)
    }

    fn correlate(&self, query: &Array, reference: &Array) -> Result<[BestMatches; 2]> {
        let k = self.0.model.config().reranker.as_ref().map_or(1, |reranker| reranker.neighbours);
        let [query, reference] = [query, reference].map(unit_features);
        Ok([best(&query, &reference, k), best(&reference, &query, k)])
    }

    fn feature_tokens(&self, matches: &Array) -> Result<Array> {
        self.0.feature_tokens(matches)
    }

    fn pair_tokens(&self, features: &Array) -> Result<Array> {
        self.0.pair_tokens(features)
    }

    fn logits(&self, query: &Array, reference: &Array) -> Result<Array> {
        self.0.logits(query, reference)
    }
}

/// Positions of values, the largest first; of equal ones, the first.
fn descending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order
}

/// The `k` features of `other` nearest to each of `own`, both `[pairs, count, dim]` of unit length.
fn best(own: &Array, other: &Array, k: usize) -> BestMatches {
    let ([pairs, rows, dim], [_, columns, _]) = (axes(own), axes(other));
    let k = k.min(columns);
    let (mut values, mut numbers) = (Vec::new(), Vec::new());
    for (own, other) in own.rows().zip(other.rows()) {
        for feature in own.chunks_exact(dim) {
            let correlations: Vec<f32> = other.chunks_exact(dim).map(|o| dot(feature, o)).collect();
            for number in &descending(&correlations)[..k] {
                values.push(correlations[*number]);
                numbers.push(*number as i64);
            }
        }
    }
    BestMatches { correlation: Array { dims: vec![pairs, rows, k], values }, other: numbers }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}
