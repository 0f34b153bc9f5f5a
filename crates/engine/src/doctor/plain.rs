//! The model's own operations, on any device.

use super::{Array, BackboneOutput, BestMatches, Compute};
use crate::{EngineError, LoadedModel, Result};
use burn::tensor::{Device, Int, Tensor};
use r2former_model::backbone::Tokens;
use r2former_model::layers::{Block, BlockConfig};
use r2former_model::local::select;
use r2former_model::weights::TensorReader;
use r2former_model::{BackboneConfig, Checkpoint, Precision, R2Former, Reranker};

/// A model on a device, without any kernel of this project but those that gradients run on the CPU.
pub(super) struct Plain {
    pub(super) model: R2Former,
    device: Device,
    /// The last block of a vision transformer, and its class tokens.
    block: Option<(Block, usize)>,
}

impl Plain {
    pub(super) fn new(loaded: &LoadedModel, precision: Precision, device: &Device) -> Result<Self> {
        let mut checkpoint = loaded.clone().into_checkpoint();
        checkpoint.config.precision = precision;
        let block = last_block(&checkpoint, device)?;
        Ok(Self { model: checkpoint.model(device)?, device: device.clone(), block })
    }

    pub(super) fn reranker(&self) -> Result<&Reranker> {
        self.model.reranker.as_ref().ok_or_else(|| EngineError::Request("a model without a reranker".into()))
    }
}

fn last_block(checkpoint: &Checkpoint, device: &Device) -> Result<Option<(Block, usize)>> {
    let BackboneConfig::Vit(vit) = &checkpoint.config.backbone else { return Ok(None) };
    let name = format!("backbone.blocks.{}", vit.depth.saturating_sub(1));
    let own = format!("{name}.");
    let tensors = checkpoint.tensors.iter().filter(|(tensor, _)| tensor.starts_with(&own));
    let mut take = TensorReader::from_tensors(tensors.map(|(k, v)| (k.clone(), v.clone())).collect(), device);
    let config = BlockConfig {
        dim: vit.dim,
        heads: vit.heads,
        hidden: vit.swiglu.unwrap_or(vit.dim * vit.mlp_ratio),
        gated: vit.swiglu.is_some(),
        norm_eps: vit.norm_eps,
        layer_scale: vit.layer_scale,
        precision: checkpoint.config.precision,
    };
    let block = Block::load(&mut take, &name, &config);
    take.finish()?;
    Ok(Some((block, vit.class_tokens())))
}

impl Compute for Plain {
    fn tokens(&self, images: &Array) -> Result<BackboneOutput> {
        BackboneOutput::of(self.model.backbone().forward(images.on(&self.device))?)
    }

    fn block(&self, tokens: &Array) -> Result<Option<[Array; 2]>> {
        let Some((block, class_tokens)) = &self.block else { return Ok(None) };
        let (out, attention) = block.forward_with_attention(tokens.on(&self.device), *class_tokens);
        Ok(Some([Array::of(out)?, Array::of(attention)?]))
    }

    fn select(&self, attention: &Array, tokens: &Array, count: usize) -> Result<Array> {
        let ([_, patches], [_, all, _]) = (axes(attention), axes(tokens));
        let stride = self.model.config().stride();
        // One row of patches: which of them are chosen does not depend on how they lie.
        let size = [stride, patches * stride];
        let (places, kept) = select(
            attention.on(&self.device),
            tokens.on(&self.device),
            count,
            all - patches,
            size,
            stride,
            None,
        );
        Array::of(Tensor::cat(vec![places, kept], 2))
    }

    fn global(&self, last: &Array, prefix: usize) -> Result<Array> {
        let last: Tensor<3> = last.on(&self.device);
        let tokens = Tokens {
            // One row of patches: how they lie is nothing to compare.
            grid: [1, last.dims()[1].saturating_sub(prefix)],
            local: last.clone(),
            last,
            last_prefix: prefix,
            local_prefix: prefix,
            attention: None,
        };
        Array::of(self.model.global(tokens))
    }

    fn local(&self, selected: &Array) -> Result<Option<Array>> {
        let all: Tensor<3> = selected.on(&self.device);
        let width = all.dims()[2];
        let (places, kept) = (all.clone().narrow(2, 0, 3), all.narrow(2, 3, width - 3));
        self.model.project_local(places, kept).map(Array::of).transpose()
    }

    fn correlate(&self, query: &Array, reference: &Array) -> Result<[BestMatches; 2]> {
        let [query, reference] = [query, reference].map(|rows| unit_features(rows).on::<3>(&self.device));
        let [of_query, of_reference] = self.reranker()?.correlate(query, reference);
        Ok([best(of_query)?, best(of_reference)?])
    }

    fn feature_tokens(&self, matches: &Array) -> Result<Array> {
        Array::of(self.reranker()?.feature_tokens(matches.on(&self.device)))
    }

    fn pair_tokens(&self, features: &Array) -> Result<Array> {
        Array::of(self.reranker()?.pair_tokens(features.on(&self.device)))
    }

    fn logits(&self, query: &Array, reference: &Array) -> Result<Array> {
        Array::of(self.reranker()?.forward(query.on(&self.device), reference.on(&self.device))?)
    }
}

fn best((correlation, index): (Tensor<3>, Tensor<3, Int>)) -> Result<BestMatches> {
    let other = index.try_into_vec_as::<i64>().map_err(|e| EngineError::Compute(e.to_string()))?;
    Ok(BestMatches { correlation: Array::of(correlation)?, other })
}

/// The axes of an array that has `D` of them.
pub(super) fn axes<const D: usize>(array: &Array) -> [usize; D] {
    std::array::from_fn(|axis| array.dims.get(axis).copied().unwrap_or(1))
}

/// Features of local rows `[pairs, count, 3 + dim]`, scaled to unit length: `[pairs, count, dim]`.
pub(super) fn unit_features(rows: &Array) -> Array {
    let [pairs, count, row] = axes(rows);
    let mut values = Vec::with_capacity(pairs * count * (row - 3));
    for row in rows.values.chunks_exact(row) {
        let length = row[3..].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
        values.extend(row[3..].iter().map(|v| (f64::from(*v) / length) as f32));
    }
    Array { dims: vec![pairs, count, row - 3], values }
}
