//! DeiT, timm and DINOv2 transformers: a backbone without trained heads.

use super::read::SourceFile;
use super::{Draft, ImportOptions, Normalisation, names};
use crate::config::FORMAT;
use crate::weights::{RawTensor, Tensors};
use crate::{
    BackboneConfig, GlobalConfig, LocalConfig, ModelConfig, ModelError, Pooling, PositionMode, Precision,
    RerankerConfig, ResizeMode, Result, Trained, VitConfig,
};

pub(super) fn draft(file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let hub = is_hub_dinov2(&file.tensors);
    let tensors = names::rename(file.tensors, &[("reg_token", "register_tokens")]);
    let mut tensors = dinov2_mlp_names(tensors);
    let mut vit = architecture(&tensors, options)?;
    vit.position = position(&vit, hub);
    let mut leftovers = names::set_aside(&mut tensors, |name| {
        name == "mask_token" || name.starts_with("head.") || name.starts_with("head_dist.")
    });
    vit.norm_eps = match file.metadata.get("layer_norm_eps").map(|text| text.parse::<f64>()) {
        Some(Ok(eps)) if eps.is_finite() && eps > 0.0 => eps,
        _ => 1e-6,
    };
    add_class_position(&mut tensors, &vit)?;
    let stated = file.metadata.get("normalisation").map(String::as_str);
    let normalisation = options.normalisation.unwrap_or(match (stated, vit.distilled || vit.layer_scale) {
        (Some("mean 0.5, std 0.5"), _) | (None, false) => Normalisation::Half,
        _ => Normalisation::ImageNet,
    });
    let pooling = options.pooling.unwrap_or(Pooling::Gem);
    let mut notes = vec![untrained_note(&format!("{pooling:?}").to_lowercase())];
    if options.normalisation.is_none() && stated.is_none() {
        let (mean, std) = normalisation.values();
        notes.push(format!(
            "assumed a normalisation of mean {mean:?}, std {std:?} (change it with --normalisation)"
        ));
    }
    let input = options.input(normalisation, vit.grid.map(|cells| cells * vit.patch), ResizeMode::Antialias);
    leftovers.sort();
    let config = ModelConfig {
        format: FORMAT,
        name: String::new(),
        backbone: BackboneConfig::Vit(vit),
        global: GlobalConfig::Pooled { pooling },
        local: Some(LocalConfig {
            dim: 128,
            count: options.local_count.unwrap_or(500),
            official_gather: false,
            layer: None,
        }),
        reranker: Some(RerankerConfig { neighbours: options.neighbours.unwrap_or(5), ..Default::default() }),
        input,
        precision: Precision::F32,
        trained: Trained { global: false, local: false, reranker: false },
        provenance: file.provenance,
        calibration: None,
    };
    let tensors = names::rename(tensors, &[("", "backbone.")]);
    Ok(Draft { config, tensors, leftovers, notes })
}

/// Renames timm's packed gated MLPs (`fc1` twice as wide as `fc2` is deep) as DINOv2 names them.
fn dinov2_mlp_names(tensors: Tensors) -> Tensors {
    let width = |name: &str, axis: usize| tensors.get(name).and_then(|t| t.shape.get(axis)).copied();
    let inner = [width("blocks.0.mlp.fc1.weight", 0), width("blocks.0.mlp.fc2.weight", 1)];
    let [Some(first), Some(second)] = inner else { return tensors };
    if first != 2 * second {
        return tensors;
    }
    let renamed = |name: String| name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.");
    tensors.into_iter().map(|(name, tensor)| (renamed(name), tensor)).collect()
}

/// Whether the names are those of DINOv2's own files, which timm's copies rename or lack.
pub(super) fn is_hub_dinov2(tensors: &Tensors) -> bool {
    ["mask_token", "register_tokens"].iter().any(|name| tensors.contains_key(*name))
}

/// How the code that belongs to the file fits position embeddings: DINOv2's with an offset, that of its models with
/// registers and timm's with antialiasing.
pub(super) fn position(vit: &VitConfig, hub: bool) -> PositionMode {
    if hub && vit.registers == 0 { PositionMode::Dinov2 } else { PositionMode::Antialias }
}

/// The note on a model without trained heads.
pub(super) fn untrained_note(pooling: &str) -> String {
    format!(
        "a backbone without trained heads: the global descriptor is its {pooling}-pooled output, L2-normalised; local \
         projection and reranker are randomly initialised, so queries are not reranked by default"
    )
}

/// Derives the sizes from the shapes of the tensors.
pub(super) fn architecture(tensors: &Tensors, options: &ImportOptions) -> Result<VitConfig> {
    let shape = |name: &str, rank: usize| match tensors.get(name) {
        Some(t) if t.shape.len() == rank => Ok(t.shape.clone()),
        Some(t) => {
            Err(ModelError::Config(format!("{name} has shape {:?}, expected {rank} dimensions", t.shape)))
        }
        None => Err(ModelError::Config(format!("{name} is missing"))),
    };
    let kernel = shape("patch_embed.proj.weight", 4)?;
    let (dim, patch) = (kernel[0], kernel[2]);
    let gated = tensors.contains_key("blocks.0.mlp.w12.weight");
    let swiglu = match gated {
        true => Some(shape("blocks.0.mlp.w12.weight", 2)?[0] / 2),
        false => None,
    };
    let hidden = if gated { 4 * dim } else { shape("blocks.0.mlp.fc1.weight", 2)?[0] };
    // One tensor of a part suffices, so that errors name the missing ones.
    let distilled = tensors.contains_key("dist_token") || tensors.keys().any(|k| k.starts_with("head_dist."));
    let layer_scale =
        tensors.keys().any(|k| k.starts_with("blocks.") && (k.contains(".ls1.") || k.contains(".ls2.")));
    let registers = match tensors.get("register_tokens") {
        Some(_) => shape("register_tokens", 3)?[1],
        None => 0,
    };
    let positions = shape("pos_embed", 3)?[1];
    let prefix = 1 + usize::from(distilled);
    let grid = match options.grid {
        Some(grid) => grid,
        // timm's DINOv2 models with registers have no position embedding for CLS.
        None => guess_grid(positions.saturating_sub(prefix))
            .or_else(|| guess_grid(positions))
            .ok_or_else(|| {
                ModelError::Config(format!(
                    "pos_embed has {positions} positions, which is neither a square nor a 3:4 grid: give --grid ROWSxCOLUMNS"
                ))
            })?,
    };
    if dim == 0 || hidden % dim != 0 {
        return Err(ModelError::Config(format!(
            "an MLP of width {hidden} over {dim} channels is not supported"
        )));
    }
    Ok(VitConfig {
        dim,
        depth: names::depth(tensors, "blocks."),
        heads: options.heads.unwrap_or((dim / 64).max(3)),
        patch,
        mlp_ratio: hidden / dim,
        swiglu,
        distilled,
        registers,
        layer_scale,
        norm_eps: 1e-6,
        final_norm: true,
        grid,
        position: PositionMode::Antialias,
    })
}

/// A square grid, or one of 3:4 (480x640 and similar).
fn guess_grid(cells: usize) -> Option<[usize; 2]> {
    let side = cells.isqrt();
    if side > 0 && side * side == cells {
        return Some([side, side]);
    }
    let unit = (cells / 12).isqrt();
    (unit > 0 && 12 * unit * unit == cells).then_some([3 * unit, 4 * unit])
}

/// Adds a zero position embedding for the class tokens if the file has only those of patches.
fn add_class_position(tensors: &mut Tensors, vit: &VitConfig) -> Result<()> {
    let cells = vit.grid[0] * vit.grid[1];
    let Some(RawTensor { shape, data }) = tensors.get_mut("pos_embed") else { return Ok(()) };
    if shape[1] == cells {
        let missing = vit.class_tokens();
        shape[1] += missing;
        data.splice(0..0, std::iter::repeat_n(0.0, missing * vit.dim));
    }
    Ok(())
}
