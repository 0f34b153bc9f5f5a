//! AnyLoc-VLAD-DINOv2: the values of one of DINOv2's blocks, and a vocabulary of cluster centres in a file of its own.

use super::archive::ALONE;
use super::{Draft, GLOBAL_ONLY, ImportOptions, names, read, state_origin};
use crate::catalog;
use crate::weights::{RawTensor, Tensors};
use crate::{
    BackboneConfig, Fit, GlobalConfig, ImageSize, ModelError, ResizeMode, Result, Sides, SizeRule, Trained,
    VladConfig,
};
use std::path::Path;

/// The block, from 0, whose values the published vocabularies are of.
const LAYER: usize = 31;

/// The size at which AnyLoc takes photographs.
const SIZE: SizeRule = SizeRule { sides: Sides::Longest(1024), fit: Fit::Crop };

/// Whether the tensors are a vocabulary's. It is of no use without a backbone.
pub(super) fn is_vocabulary(tensors: &Tensors) -> bool {
    tensors.len() == 1 && tensors.get(ALONE).is_some_and(|tensor| tensor.shape.len() == 2)
}

/// What to do with a vocabulary.
pub(super) fn refuse_vocabulary(tensors: &Tensors) -> ModelError {
    let shape = tensors.get(ALONE).map(|tensor| tensor.shape.clone()).unwrap_or_default();
    ModelError::Config(format!(
        "is a vocabulary of cluster centres ({shape:?}), as AnyLoc has them: import the backbone, such as \
         dinov2_vitg14_pretrain.pth, with --vocabulary and this file"
    ))
}

/// Turns an imported backbone and a file of centres into AnyLoc's model.
pub(super) fn draft(mut backbone: Draft, vocabulary: &Path, options: &ImportOptions) -> Result<Draft> {
    let bad = |problem: String| ModelError::checkpoint(vocabulary, problem);
    let file = read::read(vocabulary)?;
    let name = vocabulary.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if let Some(facet) =
        ["query", "key", "token"].into_iter().find(|facet| name.contains(&format!("_{facet}_")))
    {
        return Err(bad(format!("is a vocabulary of the facet {facet} by its name; value is supported")));
    }
    let layer = options.layer.or_else(|| layer_of(&name)).unwrap_or(LAYER);
    let centres = match file.tensors.into_iter().next() {
        Some((key, tensor)) if key == ALONE && tensor.shape.len() == 2 => tensor,
        _ => return Err(bad("is no vocabulary: one matrix of cluster centres saved by torch.save".into())),
    };
    let BackboneConfig::Vit(vit) = &mut backbone.config.backbone else {
        return Err(ModelError::Config("is no vision transformer, which a vocabulary needs".into()));
    };
    if centres.shape[1] != vit.dim {
        return Err(bad(format!(
            "has centres of {} dimensions, the backbone has {} (the published ones are for dinov2_vitg14, 1536)",
            centres.shape[1], vit.dim
        )));
    }
    if layer >= vit.depth {
        return Err(ModelError::Config(format!(
            "has {} blocks, and the vocabulary is of block {layer} (from 0; --layer)",
            vit.depth
        )));
    }
    // What comes after the values is neither computed nor kept.
    let own = [format!("backbone.blocks.{layer}.norm1."), format!("backbone.blocks.{layer}.attn.qkv.")];
    let block = |name: &str| name.strip_prefix("backbone.blocks.")?.split_once('.')?.0.parse::<usize>().ok();
    let later = names::set_aside(&mut backbone.tensors, |name| match block(name) {
        Some(i) => i > layer || (i == layer && !own.iter().any(|stem| name.starts_with(stem))),
        None => name.starts_with("backbone.norm."),
    });
    backbone.leftovers.extend(later.into_iter().map(|name| name.replacen("backbone.", "", 1)));
    (vit.depth, vit.values, vit.final_norm) = (layer + 1, true, false);
    let clusters = centres.shape[0];
    backbone.tensors.insert("aggregator.centroids".into(), RawTensor { ..centres });

    let config = &mut backbone.config;
    config.global = GlobalConfig::Vlad(VladConfig { clusters });
    (config.local, config.reranker) = (None, None);
    config.trained = Trained { global: true, local: false, reranker: false };
    if options.image_size.is_none() {
        config.set_image_size(ImageSize::Rule(SIZE))?;
    }
    config.input.resize = options.resize.unwrap_or(ResizeMode::TensorBicubic);
    state_origin(&mut config.provenance, &catalog::ANYLOC);
    config.provenance["vocabulary"] = file.provenance;
    // The others are about a backbone without a head.
    backbone.notes.retain(|note| note.contains("--position"));
    backbone.notes.push(GLOBAL_ONLY.into());
    Ok(backbone)
}

/// The number after `_l` in a published vocabulary's name.
fn layer_of(name: &str) -> Option<usize> {
    name.split('_').find_map(|part| part.strip_prefix('l')?.parse().ok())
}
