//! Local features of all patches of photographs, which descriptors and projections are fitted to.

use crate::Result;
use crate::random::Rng;
use r2former_engine::{EngineError, Extractor, LoadedModel, Progress, Settings, extract_stream};
use r2former_model::weights::{RawTensor, Tensors};
use r2former_model::{Device, GlobalConfig, Pooling, Precision, Selection};
use rand::seq::index::sample;
use std::path::Path;

/// Values of a local feature's row before the feature: x, y and attention.
pub(crate) const PLACE: usize = 3;
/// Features that are drawn of a photograph.
const EACH: usize = 64;

/// The model's local features of all patches, in f32; its other parts are left out.
pub(crate) fn of_all_patches(loaded: &LoadedModel) -> Result<Extractor> {
    let whole = loaded.with(|config, tensors| {
        let convolutional = config.backbone.is_convolutional();
        config.global = GlobalConfig::Pooled { pooling: Pooling::Mean };
        config.reranker = None;
        config.trained.reranker = false;
        config.forget_measured();
        if let Some(local) = &mut config.local {
            local.count = 16_384;
            local.min_attention = None;
            local.select = if convolutional { Selection::Norm } else { Selection::Attention };
        }
        without_global(tensors);
        tensors.retain(|name, _| !name.starts_with("reranker."));
        if convolutional {
            tensors.insert("gem.p".into(), RawTensor { shape: vec![1], data: vec![3.0] });
        }
    })?;
    let settings = Settings { precision: Precision::F32, ..Settings::of(&whole.config) };
    Ok(Extractor::new(whole, settings, &Device::flex())?)
}

/// Removes what the global descriptor of a model is computed by.
pub(crate) fn without_global(tensors: &mut Tensors) {
    let parts = ["head.", "head_dist.", "gem.", "aggregator."];
    tensors.retain(|name, _| !parts.iter().any(|part| name.starts_with(part)));
}

/// Hands over the rows of local features of each photograph that can be read.
pub(crate) fn each(
    extractor: &Extractor,
    files: &[&Path],
    progress: &dyn Progress,
    found: &mut dyn FnMut(usize, &[f32]),
    skipped: &mut dyn FnMut(&Path, EngineError),
) -> Result<()> {
    extract_stream(extractor, files, progress, |i, features| {
        match features {
            Ok(features) => found(i, &features.local),
            Err(error @ EngineError::Data(_)) => skipped(files[i], error),
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    Ok(())
}

/// Some local features of each photograph that can be read, one after the other.
pub(crate) fn drawn(
    extractor: &Extractor,
    files: &[&Path],
    rng: &mut Rng,
    progress: &dyn Progress,
    skipped: &mut dyn FnMut(&Path, EngineError),
) -> Result<Vec<f32>> {
    let row = extractor.config().local_row();
    let mut features = Vec::new();
    let mut draw = |_, rows: &[f32]| {
        let count = rows.len() / row;
        for i in sample(rng, count, count.min(EACH)) {
            features.extend_from_slice(&rows[i * row + PLACE..(i + 1) * row]);
        }
    };
    each(extractor, files, progress, &mut draw, skipped)?;
    Ok(features)
}
