//! DeiT, timm, DINOv2 and DINOv3 transformers: a backbone without trained heads.

use super::read::SourceFile;
use super::{Draft, ImportOptions, Normalisation, dinov3, names, transformers};
use crate::catalog;
use crate::config::{DINOV3_BASE, FORMAT};
use crate::weights::{RawTensor, Tensors};
use crate::{
    BackboneConfig, GlobalConfig, ModelConfig, ModelError, Pooling, PositionMode, Precision, RerankerConfig,
    ResizeMode, Result, Trained, VitConfig,
};

/// Patches along a side of DINOv3's own image size, 256 pixels.
const DINOV3_GRID: usize = 16;

pub(super) fn draft(file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let source = Source::of(&file.tensors);
    let mut file = file;
    let mut tensors = match source {
        Source::Transformers { .. } => transformers::original(file.tensors)?,
        _ => names::rename(file.tensors, &[("reg_token", "register_tokens")]),
    };
    let stated = |key: &str| file.metadata.get(key).map(String::as_str);
    let heads =
        options.heads.or_else(|| stated("num_attention_heads")?.parse().ok().filter(|heads| *heads > 0));
    let options = &ImportOptions { heads, ..options.clone() };
    let rotary = match source {
        Source::Dinov3 => dinov3::fold(&mut tensors)?,
        Source::Transformers { dinov3: true } => rotary(&tensors, &stated, heads)?,
        _ => Vec::new(),
    };
    // Every published DINOv3 model has some.
    if !rotary.is_empty() && !tensors.contains_key("register_tokens") {
        let theirs = if source == Source::Dinov3 { "storage_tokens" } else { "register_tokens" };
        return Err(ModelError::Config(format!("{theirs} is missing")));
    }
    let mut tensors = dinov2_mlp_names(tensors);
    // A classifier of DIST stands for a missing token.
    let mut vit = architecture(&tensors, "", rotary, options)?;
    let mut leftovers = names::set_aside(&mut tensors, |name| {
        matches!(name, "mask_token" | "local_cls_norm.weight" | "local_cls_norm.bias")
            || name.starts_with("head.")
            || name.starts_with("head_dist.")
    });
    vit.position = options.position.unwrap_or_else(|| source.position(&vit));
    vit.norm_eps = match stated("layer_norm_eps").map(str::parse::<f64>) {
        Some(Ok(eps)) if eps.is_finite() && eps > 0.0 => eps,
        _ if vit.rotary.is_empty() => 1e-6,
        _ => 1e-5,
    };
    add_class_position(&mut tensors, &vit)?;
    let name =
        file.provenance.get("source").and_then(|name| name.as_str()).unwrap_or_default().to_lowercase();
    let by_file = normalisation(&vit, &name, &stated);
    let normalisation =
        options.normalisation.unwrap_or(by_file.unwrap_or(if vit.distilled || vit.layer_scale {
            Normalisation::ImageNet
        } else {
            Normalisation::Half
        }));
    let pooling = options.pooling.unwrap_or(Pooling::Gem);
    let mut notes = vec![untrained_note(&format!("{pooling:?}").to_lowercase())];
    if options.normalisation.is_none() && by_file.is_none() {
        let (mean, std) = normalisation.values();
        notes.push(format!(
            "assumed a normalisation of mean {mean:?}, std {std:?} (change it with --normalisation)"
        ));
    }
    if options.position.is_none() && source == Source::Timm && vit.layer_scale && vit.registers == 0 {
        notes.push(
            "positions are fitted to other sizes as timm does; if this is DINOv2's own file without its mask_token, \
             import it with --position dinov2"
                .into(),
        );
    }
    if !vit.rotary.is_empty() {
        super::state_origin(&mut file.provenance, &catalog::DINOV3);
    } else if vit.layer_scale && vit.patch == 14 {
        super::state_origin(&mut file.provenance, &catalog::DINOV2);
    }
    let size = stated("image_size").and_then(size).filter(|_| !vit.rotary.is_empty());
    let size = size.unwrap_or(vit.grid.map(|cells| cells * vit.patch));
    let resize = match source {
        // The processor of transformers resizes values, the original code 8-bit pixels.
        Source::Transformers { dinov3: true } => ResizeMode::TensorBilinear,
        _ => ResizeMode::Antialias,
    };
    let input = options.input(normalisation, size, resize);
    leftovers.sort();
    let config = ModelConfig {
        format: FORMAT,
        name: String::new(),
        backbone: BackboneConfig::Vit(vit),
        global: GlobalConfig::Pooled { pooling },
        local: None,
        reranker: Some(RerankerConfig { neighbours: options.neighbours.unwrap_or(5), ..Default::default() }),
        input,
        precision: Precision::F32,
        trained: Trained { global: false, local: false, reranker: false },
        provenance: file.provenance,
        calibration: None,
        checks: Vec::new(),
        reranker_check: None,
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

/// Whose file a transformer's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// DINOv2's own.
    Dinov2,
    /// DINOv3's own.
    Dinov3,
    /// Either of them in the names of transformers.
    Transformers { dinov3: bool },
    /// timm's, or DeiT's.
    Timm,
}

impl Source {
    fn of(tensors: &Tensors) -> Self {
        if transformers::recognise(tensors) {
            Self::Transformers { dinov3: transformers::is_dinov3(tensors) }
        } else if dinov3::recognise(tensors) {
            Self::Dinov3
        } else if is_hub_dinov2(tensors) {
            Self::Dinov2
        } else {
            Self::Timm
        }
    }

    /// How the code that belongs to the file fits position embeddings.
    fn position(self, vit: &VitConfig) -> PositionMode {
        match self {
            Self::Dinov2 => position(vit),
            Self::Transformers { .. } if vit.registers == 0 => PositionMode::Bicubic,
            _ => PositionMode::Antialias,
        }
    }
}

/// Whether the names are those of DINOv2's own files, which timm's copies rename or lack.
fn is_hub_dinov2(tensors: &Tensors) -> bool {
    ["mask_token", "register_tokens", "blocks.0.mlp.w12.weight"]
        .iter()
        .any(|name| tensors.contains_key(*name))
}

/// How DINOv2's own code fits position embeddings: with an offset, that of its models with registers with antialiasing.
pub(super) fn position(vit: &VitConfig) -> PositionMode {
    if vit.registers == 0 { PositionMode::Dinov2 } else { PositionMode::Antialias }
}

/// The periods of DINOv3's positions, which files of transformers do not hold.
fn rotary<'a>(
    tensors: &Tensors,
    stated: &impl Fn(&str) -> Option<&'a str>,
    heads: Option<usize>,
) -> Result<Vec<f32>> {
    let dim = names::rows(tensors, "patch_embed.proj.weight")
        .ok_or_else(|| ModelError::Config("embeddings.patch_embeddings.weight is missing".into()))?;
    let base = stated("rope_theta").and_then(|text| text.parse().ok()).unwrap_or(DINOV3_BASE);
    Ok(VitConfig::rotary_periods(base, dim / heads.unwrap_or(dim / 64).max(1)))
}

/// The normalisation that the file, or its name, states.
fn normalisation<'a>(
    vit: &VitConfig,
    source: &str,
    stated: &impl Fn(&str) -> Option<&'a str>,
) -> Option<Normalisation> {
    let triple = |key: &str| -> Option<[f32; 3]> {
        let values: Vec<f32> = stated(key)?.split(' ').filter_map(|text| text.parse().ok()).collect();
        values.try_into().ok()
    };
    if let (Some(mean), Some(std)) = (triple("image_mean"), triple("image_std")) {
        return Normalisation::ALL.into_iter().find(|kind| kind.values() == (mean, std));
    }
    match stated("normalisation") {
        Some("mean 0.5, std 0.5") => Some(Normalisation::Half),
        Some(_) => Some(Normalisation::ImageNet),
        // timm's DeiT has the tensors of its ViT, and other statistics.
        None if vit.rotary.is_empty() => {
            source.to_lowercase().contains("deit").then_some(Normalisation::ImageNet)
        }
        // Files of DINOv3 are called by what they were trained on.
        None if source.contains("sat493m") => Some(Normalisation::Satellite),
        None => source.contains("lvd1689m").then_some(Normalisation::ImageNet),
    }
}

/// `HxW`.
fn size(text: &str) -> Option<[usize; 2]> {
    let (height, width) = text.split_once('x')?;
    Some([height.parse().ok()?, width.parse().ok()?])
}

/// The note on a model without trained heads.
pub(super) fn untrained_note(pooling: &str) -> String {
    format!(
        "a backbone without trained heads: the global descriptor is its {pooling}-pooled output, L2-normalised; local \
         projection and reranker are randomly initialised, so queries are not reranked by default"
    )
}

/// Derives the sizes from the shapes of the tensors whose names begin with `stem`. With periods of `rotary` positions there
/// is no position embedding.
pub(super) fn architecture(
    tensors: &Tensors,
    stem: &str,
    rotary: Vec<f32>,
    options: &ImportOptions,
) -> Result<VitConfig> {
    let get = |name: &str| tensors.get(&format!("{stem}{name}"));
    let shape = |name: &str, rank: usize| match get(name) {
        Some(t) if t.shape.len() == rank => Ok(t.shape.clone()),
        Some(t) => Err(ModelError::Config(format!(
            "{stem}{name} has shape {:?}, expected {rank} dimensions",
            t.shape
        ))),
        None => Err(ModelError::Config(format!("{stem}{name} is missing"))),
    };
    let any = |part: &str, inside: &str| {
        tensors
            .keys()
            .filter_map(|name| name.strip_prefix(stem))
            .any(|name| name.starts_with(part) && name.contains(inside))
    };
    let kernel = shape("patch_embed.proj.weight", 4)?;
    let (dim, patch) = (kernel[0], kernel[2]);
    let gated = get("blocks.0.mlp.w12.weight").is_some();
    let swiglu = match gated {
        true => Some(shape("blocks.0.mlp.w12.weight", 2)?[0] / 2),
        false => None,
    };
    let hidden = if gated { 4 * dim } else { shape("blocks.0.mlp.fc1.weight", 2)?[0] };
    // One tensor of a part suffices, so that errors name the missing ones.
    let distilled = get("dist_token").is_some() || any("head_dist.", "");
    let layer_scale = any("blocks.", ".ls1.") || any("blocks.", ".ls2.");
    let registers = match get("register_tokens") {
        Some(_) => shape("register_tokens", 3)?[1],
        None => 0,
    };
    let grid = match options.grid {
        Some(grid) => grid,
        None if !rotary.is_empty() => [DINOV3_GRID; 2],
        None => {
            let positions = shape("pos_embed", 3)?[1];
            // timm's DINOv2 models with registers have no position embedding for CLS.
            guess_grid(positions.saturating_sub(1 + usize::from(distilled)))
                .or_else(|| guess_grid(positions))
                .ok_or_else(|| {
                    ModelError::Config(format!(
                        "{stem}pos_embed has {positions} positions, which is neither a square nor a 3:4 grid: give --grid ROWSxCOLUMNS"
                    ))
                })?
        }
    };
    if !rotary.is_empty() && dim % (4 * rotary.len()) != 0 {
        return Err(ModelError::Config(format!(
            "{stem}rope_embed.periods has {} periods, which do not fit {dim} channels",
            rotary.len()
        )));
    }
    if dim == 0 || hidden % dim != 0 {
        return Err(ModelError::Config(format!(
            "an MLP of width {hidden} over {dim} channels is not supported"
        )));
    }
    Ok(VitConfig {
        dim,
        depth: names::depth(tensors, &format!("{stem}blocks.")),
        heads: match rotary.len() {
            0 => options.heads.unwrap_or((dim / 64).max(3)),
            quarter => dim / (4 * quarter),
        },
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
        rotary,
        values: false,
        adapters: None,
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
