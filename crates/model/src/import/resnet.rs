//! torchvision's ResNets: a backbone without trained heads.

use super::read::SourceFile;
use super::vit::untrained_note;
use super::{Draft, ImportOptions, Normalisation, cnn, names};
use crate::config::FORMAT;
use crate::{
    BackboneConfig, GlobalConfig, ModelConfig, Pooling, Precision, RerankerConfig, ResizeMode, Result,
    Trained,
};

pub(super) fn draft(file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let mut tensors = file.tensors;
    let leftovers = names::set_aside(&mut tensors, |name| {
        name.starts_with("fc.") || name.ends_with(".num_batches_tracked")
    });
    let tensors = names::rename(tensors, &[("", "backbone.")]);
    let pooling = options.pooling.unwrap_or(Pooling::Gem);
    let config = ModelConfig {
        format: FORMAT,
        name: String::new(),
        backbone: BackboneConfig::ResNet(cnn::resnet(&tensors, 4)?),
        global: GlobalConfig::Pooled { pooling },
        local: None,
        reranker: Some(RerankerConfig { neighbours: options.neighbours.unwrap_or(5), ..Default::default() }),
        input: options.input(Normalisation::ImageNet, [480, 640], ResizeMode::Antialias),
        precision: Precision::F32,
        trained: Trained { global: false, local: false, reranker: false },
        provenance: file.provenance,
        calibration: None,
        checks: Vec::new(),
        reranker_check: None,
    };
    let notes = vec![untrained_note(&format!("{pooling:?}").to_lowercase())];
    Ok(Draft { config, tensors, leftovers, notes })
}
