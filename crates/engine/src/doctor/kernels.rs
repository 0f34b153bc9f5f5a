//! The CPU kernels, those of inference and those of training.

use super::plain::{Plain, axes};
use super::{Array, BackboneOutput, BestMatches, Compute};
use crate::fused::{FusedBackbone, fused_reranker};
use crate::{EngineError, LoadedModel, Result};
use r2former_kernels::gradient::{CHANNELS, MatchShape, match_features};
use r2former_kernels::{KernelError, Level, MatmulPrecision, Reranker, RerankerArithmetic};
use r2former_model::{Device, Precision};

/// What the CPU computes a model with.
pub(super) struct Kernels {
    /// Blocks, both stacks of the reranker: with gradients they are the kernels of training.
    training: Plain,
    /// What has no kernel, an image at a time as extraction runs it.
    plain: Plain,
    reranker: Option<Reranker>,
    level: Level,
    products: MatmulPrecision,
}

impl Kernels {
    pub(super) fn new(loaded: &LoadedModel, precision: Precision) -> Result<Self> {
        let level = Level::current().map_err(|error| EngineError::Request(error.to_string()))?;
        let plain = Plain::new(loaded, precision, &Device::flex())?;
        Ok(Self {
            training: Plain::new(loaded, precision, &Device::flex().autodiff())?,
            reranker: fused_reranker(&plain.model, level, RerankerArithmetic::F32).ok(),
            level,
            products: products(precision),
            plain,
        })
    }

    fn backbone(&self, size: [usize; 2]) -> Option<FusedBackbone> {
        let packed = |products| FusedBackbone::new(&self.plain.model, self.level, products, size).ok();
        let found = packed(self.products)?;
        match self.products {
            // Where the machine lacks the instruction, the rounding is checked all the same.
            MatmulPrecision::Bf16 if found.products() != Precision::Bf16 => {
                packed(MatmulPrecision::Bf16Emulated)
            }
            _ => Some(found),
        }
    }
}

fn products(precision: Precision) -> MatmulPrecision {
    match precision {
        Precision::F32 => MatmulPrecision::F32,
        Precision::Bf16 => MatmulPrecision::Bf16,
        Precision::Int8 => MatmulPrecision::Int8,
    }
}

fn failed(error: &KernelError) -> EngineError {
    EngineError::Compute(error.to_string())
}

impl Compute for Kernels {
    fn tokens(&self, images: &Array) -> Result<BackboneOutput> {
        let [_, _, height, width] = axes(images);
        let Some(backbone) = self.backbone([height, width]) else { return self.plain.tokens(images) };
        let (mut last, mut local, mut attention) = (Vec::new(), Vec::new(), Vec::new());
        let mut prefix = [0; 2];
        for image in images.rows() {
            let one = BackboneOutput::of(backbone.tokens(image)?)?;
            prefix = one.prefix;
            last.push(one.last);
            local.push(one.local);
            attention.extend(one.attention);
        }
        let none = || EngineError::Request("no image".into());
        Ok(BackboneOutput {
            last: Array::joined(last).ok_or_else(none)?,
            local: Array::joined(local).ok_or_else(none)?,
            attention: Array::joined(attention),
            prefix,
        })
    }

    fn block(&self, tokens: &Array) -> Result<Option<[Array; 2]>> {
        self.training.block(tokens)
    }

    fn select(&self, attention: &Array, tokens: &Array, count: usize) -> Result<Array> {
        self.plain.select(attention, tokens, count)
    }

    fn global(&self, last: &Array, prefix: usize) -> Result<Array> {
        let parts = last.singles().map(|one| self.plain.global(&one, prefix)).collect::<Result<_>>()?;
        Array::joined(parts).ok_or_else(|| EngineError::Request("no image".into()))
    }

    fn local(&self, selected: &Array) -> Result<Option<Array>> {
        let parts = selected.singles().map(|one| self.plain.local(&one)).collect::<Result<Option<_>>>()?;
        Ok(parts.and_then(Array::joined))
    }

    fn correlate(&self, query: &Array, reference: &Array) -> Result<[BestMatches; 2]> {
        let k = self.plain.model.config().reranker.as_ref().map_or(1, |reranker| reranker.neighbours);
        let ([pairs, nq, row], [_, nr, _]) = (axes(query), axes(reference));
        let shape = MatchShape { feature: row - 3, neighbours: k, query: nq, reference: nr };
        if shape.check().is_err() {
            return self.plain.correlate(query, reference);
        }
        let found = match_features(self.level, shape, &query.values, &reference.values)
            .map_err(|error| failed(&error))?;
        // Rows of a pair: those of the query's features first.
        let (rows, each) = (found.channels.as_chunks::<CHANNELS>().0, (nq + nr) * k);
        let side = |first: usize, count: usize| {
            let of_pairs =
                (0..pairs).flat_map(move |pair| pair * each + first..pair * each + first + count * k);
            BestMatches {
                correlation: Array {
                    dims: vec![pairs, count, k],
                    values: of_pairs.clone().map(|i| rows[i][CHANNELS - 1]).collect(),
                },
                other: of_pairs.map(|i| i64::from(found.others[i])).collect(),
            }
        };
        Ok([side(0, nq), side(nq * k, nr)])
    }

    fn feature_tokens(&self, matches: &Array) -> Result<Array> {
        self.training.feature_tokens(matches)
    }

    fn pair_tokens(&self, features: &Array) -> Result<Array> {
        self.training.pair_tokens(features)
    }

    fn logits(&self, query: &Array, reference: &Array) -> Result<Array> {
        let [pairs, _, _] = axes(query);
        let Some(reranker) = &self.reranker else { return self.plain.logits(query, reference) };
        let mut values = Vec::with_capacity(2 * pairs);
        for (query, reference) in query.singles().zip(reference.singles()) {
            let logits = reranker
                .query(&query.values)
                .and_then(|prepared| reranker.score_floats(&prepared, &reference.values));
            match logits {
                Ok(logits) => values.extend(logits),
                Err(KernelError::Unsupported(_)) => {
                    values.extend(self.plain.logits(&query, &reference)?.values)
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(Array { dims: vec![pairs, 2], values })
    }
}
