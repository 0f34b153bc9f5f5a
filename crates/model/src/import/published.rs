//! Published R2Former checkpoints, full and global-only.

use super::read::SourceFile;
use super::{Draft, GLOBAL_ONLY, ImportOptions, Normalisation, names, vit};
use crate::config::FORMAT;
use crate::weights::Tensors;
use crate::{
    BackboneConfig, GlobalConfig, LocalConfig, ModelConfig, ModelError, Pooling, PositionMode, Precision,
    RerankerConfig, ResizeMode, Result, Trained,
};

pub(super) fn draft(file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let plain = names::rename(file.tensors, &[(names::PUBLISHED, "")]);
    let full = plain.keys().any(|k| k.starts_with("Reranker."));
    let mut tensors = if full {
        plain
    } else {
        // Global-only files hold the backbone and its heads without a prefix.
        names::rename(plain, &[("", "backbone.")])
    };
    let window = tensors.get("Reranker.decoder_pos_embed").and_then(|t| t.shape.get(1).copied());
    let leftovers = names::set_aside(&mut tensors, |name| {
        matches!(name, "Reranker.decoder_pos_embed" | "Reranker.ratio")
    });
    let mut architecture = vit::architecture(&tensors, "backbone.", Vec::new(), options)?;
    architecture.position = PositionMode::Official;
    let tensors = names::rename(
        tensors,
        &[("backbone.head.", "head."), ("backbone.head_dist.", "head_dist."), ("Reranker.", "reranker.")],
    );

    let rows = |name: &str| {
        names::rows(&tensors, name).ok_or_else(|| ModelError::Config(format!("{name} is missing")))
    };
    let global_dim = rows("head.weight")?;
    let local = if full {
        Some(LocalConfig {
            dim: rows("local_head.weight")?,
            // The embedding has one position for CLS and one per local feature of both images.
            count: options.local.count.or(window.map(|n| n.saturating_sub(1) / 2)).unwrap_or(500),
            official_gather: true,
            ..Default::default()
        })
    } else {
        None
    };
    let reranker = if full { Some(reranker(&tensors, options)?) } else { None };

    let mut notes = Vec::new();
    if !full {
        notes.push(GLOBAL_ONLY.to_string());
    }
    if options.heads.is_none() && architecture.dim % 64 != 0 {
        notes.push(format!(
            "the tensors do not determine the number of attention heads; assumed {} (change it with --heads)",
            architecture.heads
        ));
    }
    let size = architecture.grid.map(|cells| cells * architecture.patch);
    let config = ModelConfig {
        format: FORMAT,
        name: String::new(),
        backbone: BackboneConfig::Vit(architecture),
        global: GlobalConfig::Linear { dim: global_dim, pooling: Pooling::Cls },
        trained: Trained { global: true, local: local.is_some(), reranker: full },
        local,
        reranker,
        input: options.input(Normalisation::ImageNet, size, ResizeMode::Direct),
        precision: Precision::F32,
        provenance: file.provenance,
        calibration: None,
        checks: Vec::new(),
        reranker_check: None,
    };
    Ok(Draft { config, tensors, leftovers, notes })
}

fn reranker(tensors: &Tensors, options: &ImportOptions) -> Result<RerankerConfig> {
    let sizes = |name: &str| match tensors.get(name).map(|t| t.shape.as_slice()) {
        Some([rows, columns]) => Ok([*rows, *columns]),
        _ => Err(ModelError::Config(format!("{name} is missing or not a matrix"))),
    };
    let [dim, channels] = sizes("reranker.pair_head.weight")?;
    let config = RerankerConfig::default();
    if channels != config.channels() {
        return Err(ModelError::Config(format!(
            "reranker.pair_head.weight has {channels} input channels; published models have {}",
            config.channels()
        )));
    }
    let [hidden, _] = sizes("reranker.blocks.0.mlp.fc1.weight")?;
    Ok(RerankerConfig {
        dim,
        pair_depth: names::depth(tensors, "reranker.blocks_2."),
        depth: names::depth(tensors, "reranker.blocks."),
        mlp_ratio: hidden / dim.max(1),
        neighbours: options.neighbours.unwrap_or(config.neighbours),
        ..config
    })
}
