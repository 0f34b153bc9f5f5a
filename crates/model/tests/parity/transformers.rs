//! Transformers of timm and DINOv2: import, fitting of positions, pooling, attention, local features.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::Device;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{BackboneConfig, GlobalConfig, Pooling, PositionMode, R2Former, VitConfig};

/// Descriptors and attention values are near one; tokens grow from block to block.
const TOLERANCE: f32 = 1e-5;

fn architecture(imported: &Imported) -> &VitConfig {
    match &imported.config.backbone {
        BackboneConfig::Vit(vit) => vit,
        other => panic!("{other:?} is not a transformer"),
    }
}

/// Replaces the untrained projection of local features by the identity.
fn keep_local_features(imported: &mut Imported) {
    let dim = imported.config.backbone_dim();
    let weight = imported.tensors.get_mut("local_head.weight").expect("imports add a local head");
    weight.data.fill(0.0);
    for channel in 0..dim {
        weight.data[channel * dim + channel] = 1.0;
    }
}

/// Compares all outputs at every size. The file names the case; the first size is the model's default.
fn check(file: &str, sizes: &[[usize; 2]], position: PositionMode) -> Imported {
    let outputs = Outputs::open(&data("transformers.outputs.safetensors"));
    let (case, _) = file.split_once('.').expect("a file name with an extension");
    let mut imported = import(&data(file), &ImportOptions::default()).expect(file);
    keep_local_features(&mut imported);
    let vit = architecture(&imported);
    assert_eq!([imported.config.input.height, imported.config.input.width], sizes[0], "{file}");
    assert_eq!((vit.dim, vit.depth, vit.heads, vit.mlp_ratio), (48, 3, 3, 4), "{file}");
    assert_eq!(vit.position, position, "{file}");

    for (name, pooling) in [("cls", Pooling::Cls), ("mean", Pooling::Mean), ("gem", Pooling::Gem)] {
        let options = ImportOptions { pooling: Some(pooling), ..Default::default() };
        let config = import(&data(file), &options).expect(file).config;
        assert_eq!(config.global, GlobalConfig::Pooled { pooling });
        let model =
            R2Former::from_tensors(&config, imported.tensors.clone(), &Device::flex()).expect("builds");
        for &size in sizes {
            let [height, width] = size;
            let output = |what: &str| outputs.values(&format!("{case}.{height}x{width}.{what}"));
            let what = format!("{case} {height}x{width} {name}");
            let features = model.extract(generate::image(size)).expect("multiples of the patch");
            close(&host(features.global), &output(name), TOLERANCE, &what);
            let attention = host(model.attention(generate::image(size)).expect("multiples of the patch"));
            close(&attention, &output("attention"), TOLERANCE, &what);
            let local = host(features.local.expect("imports have local features"));
            check_local(&local, &output("attention"), &output("local"), size, vit, &what);
        }
    }
    imported
}

/// Rows of x, y, attention and the last block's input, by attention.
fn check_local(
    found: &[f32],
    attention: &[f32],
    tokens: &[f32],
    [height, width]: [usize; 2],
    vit: &VitConfig,
    what: &str,
) {
    const ROW: usize = 3 + 128;
    assert_eq!(found.len(), attention.len() * ROW, "{what}: one row per patch");
    let mut ranking: Vec<usize> = (0..attention.len()).collect();
    ranking.sort_by(|a, b| attention[*b].total_cmp(&attention[*a]));
    let (columns, longer) = (width / vit.patch, height.max(width) as f32);
    let centre = |cell: usize| (cell * vit.patch) as f32 + vit.patch as f32 / 2.0;
    for (row, patch) in found.chunks_exact(ROW).zip(&ranking) {
        let place = [
            centre(patch % columns) / longer,
            centre(patch / columns) / longer,
            attention[*patch] / attention[ranking[0]],
        ];
        close(&row[..3], &place, TOLERANCE, &format!("{what}: place of patch {patch}"));
        let token = &tokens[patch * vit.dim..(patch + 1) * vit.dim];
        close(&row[3..3 + vit.dim], token, TOLERANCE, &format!("{what}: feature of patch {patch}"));
    }
}

#[test]
fn timm_vit() {
    let imported = check("timm_vit.safetensors", &[[96, 128], [64, 160], [112, 80]], PositionMode::Antialias);
    assert_eq!(imported.leftovers, ["head.bias", "head.weight"]);
    let vit = architecture(&imported);
    assert_eq!((vit.patch, vit.distilled, vit.registers, vit.layer_scale), (16, false, 0, false));
}

#[test]
fn timm_distilled_deit() {
    let imported = check("deit.pth", &[[96, 128], [128, 96]], PositionMode::Antialias);
    assert_eq!(imported.leftovers, ["head.bias", "head.weight", "head_dist.bias", "head_dist.weight"]);
    let vit = architecture(&imported);
    assert_eq!((vit.patch, vit.distilled, vit.registers, vit.layer_scale), (16, true, 0, false));
}

#[test]
fn timm_dinov2() {
    let imported = check("timm_dinov2.safetensors", &[[84, 112], [70, 98]], PositionMode::Antialias);
    assert!(imported.leftovers.is_empty());
    let vit = architecture(&imported);
    assert_eq!((vit.patch, vit.distilled, vit.registers, vit.layer_scale), (14, false, 0, true));
}

#[test]
fn timm_dinov2_with_registers() {
    let imported = check("timm_dinov2_reg.safetensors", &[[70, 70], [56, 98]], PositionMode::Antialias);
    assert!(imported.leftovers.is_empty());
    let vit = architecture(&imported);
    assert_eq!((vit.patch, vit.distilled, vit.registers, vit.layer_scale), (14, false, 4, true));
}

#[test]
fn dinov2() {
    let imported = check("dinov2.pth", &[[70, 70], [84, 56]], PositionMode::Dinov2);
    assert_eq!(imported.leftovers, ["mask_token"]);
    assert_eq!(architecture(&imported).registers, 0);
}

#[test]
fn dinov2_with_registers() {
    let imported = check("dinov2_reg.pth", &[[70, 70], [84, 56]], PositionMode::Antialias);
    assert_eq!(imported.leftovers, ["mask_token"]);
    assert_eq!(architecture(&imported).registers, 4);
}
