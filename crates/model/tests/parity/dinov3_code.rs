//! DINOv3's own code, and transformers' DINOv2 and DINOv3: descriptors of small transformers on grids of several shapes, files
//! and folders in their names, and files that are not whole.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::Device;
use r2former_model::backbone::Backbone;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{BackboneConfig, PositionMode, R2Former, ResizeMode, VitConfig};
use std::path::Path;

const SIZES: [[usize; 2]; 4] = [[64, 64], [48, 112], [80, 16], [16, 16]];
const TOLERANCE: f32 = 1e-5;

type Shapes = Vec<(String, Vec<usize>)>;

fn outputs() -> Outputs {
    Outputs::open(&data("dinov3.outputs.safetensors"))
}

fn write(path: &Path, shapes: &Shapes) {
    generate::write(path, shapes, str::to_string);
}

/// Imports a file of generated weights under a name.
fn file(shapes: &Shapes, name: &str) -> Result<Imported, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join(name);
    write(&path, shapes);
    // The narrow models have fewer heads than is assumed without a configuration.
    let heads = Some(2).filter(|_| shapes.iter().any(|(name, _)| name.starts_with("encoder.")));
    import(&path, &ImportOptions { heads, ..Default::default() }).map_err(|error| error.to_string())
}

fn vit(imported: &Imported) -> &VitConfig {
    let BackboneConfig::Vit(vit) = &imported.config.backbone else { panic!("a transformer") };
    vit
}

fn check(case: &str, imported: &Imported, sizes: &[[usize; 2]]) {
    let model = R2Former::from_tensors(&imported.config, imported.tensors.clone(), &Device::flex());
    let model = model.expect("builds");
    assert!(model.to_tensors().expect("reads") == imported.tensors, "{case}: what is read is written");
    let Backbone::Vit(network) = model.backbone() else { panic!("a transformer") };
    for size in sizes {
        let tokens = network.forward(generate::image(*size)).expect("multiples of the patch");
        let count = tokens.last.dims()[1] - tokens.last_prefix;
        let case = format!("{case}.{}x{}", size[0], size[1]);
        let cls = host(tokens.last.clone().narrow(1, 0, 1));
        close(&cls, &outputs().values(&format!("{case}.cls")), TOLERANCE, &case);
        let mean = host(tokens.last.narrow(1, tokens.last_prefix, count).mean_dim(1));
        close(&mean, &outputs().values(&format!("{case}.mean")), TOLERANCE, &case);
    }
}

#[test]
fn own_files() {
    for (case, swiglu) in [("s", None), ("splus", Some(512))] {
        let imported = file(&outputs().shapes(case), "dinov3_pretrain_lvd1689m.pth").expect(case);
        assert_eq!(imported.leftovers, ["mask_token"]);
        let vit = vit(&imported);
        assert_eq!((vit.heads, vit.registers, vit.swiglu, vit.rotary.len()), (2, 4, swiglu, 16), "{case}");
        assert!(vit.layer_scale && (vit.norm_eps - 1e-5).abs() < 1e-12);
        let input = &imported.config.input;
        assert_eq!(([input.height, input.width], input.resize), ([256, 256], ResizeMode::Antialias));
        let license = imported.config.license().expect("is stated");
        assert!(license.starts_with("DINOv3 License"), "{license}");
        check(case, &imported, &SIZES);
    }
}

#[test]
fn satellite_photographs_have_a_normalisation_of_their_own() {
    let mut shapes = outputs().shapes("s");
    shapes.extend(["weight", "bias"].map(|part| (format!("local_cls_norm.{part}"), vec![128])));
    let imported = file(&shapes, "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth").expect("imports");
    assert!((imported.config.input.mean[0] - 0.43).abs() < 1e-6, "{:?}", imported.config.input);
    assert_eq!(imported.leftovers, ["local_cls_norm.bias", "local_cls_norm.weight", "mask_token"]);
}

#[test]
fn folders_of_a_hub() {
    for (case, sizes) in [("hub_s", &SIZES[..]), ("hub_splus", &SIZES), ("hub_dinov2", &[[70, 70], [56, 98]])]
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
        write(&folder.path().join("model.safetensors"), &outputs().shapes(case));
        let eps = if case == "hub_dinov2" { 1e-6 } else { 1e-5 };
        put(
            "config.json",
            &format!(r#"{{"layer_norm_eps": {eps}, "rope_theta": 100.0, "num_attention_heads": 2}}"#),
        );
        put(
            "preprocessor_config.json",
            r#"{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": {"height": 224, "width": 224}}"#,
        );
        let imported = import(folder.path(), &ImportOptions::default()).expect(case);
        assert_eq!(imported.leftovers, ["mask_token"]);
        assert!(imported.notes.iter().all(|note| !note.contains("assumed")), "{:?}", imported.notes);
        if case == "hub_dinov2" {
            assert_eq!(vit(&imported).position, PositionMode::Bicubic);
        } else {
            let input = &imported.config.input;
            assert_eq!(([input.height, input.width], input.resize), ([224, 224], ResizeMode::TensorBilinear));
        }
        check(case, &imported, sizes);

        // The same in two files with an index.
        let shapes = outputs().shapes(case);
        let (first, second) = shapes.split_at(shapes.len() / 2);
        std::fs::remove_file(folder.path().join("model.safetensors")).expect("is there");
        let mut map = serde_json::Map::new();
        for (name, part) in [("model-1-of-2.safetensors", first), ("model-2-of-2.safetensors", second)] {
            write(&folder.path().join(name), &part.to_vec());
            map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.into())));
        }
        put("model.safetensors.index.json", &serde_json::json!({ "weight_map": map }).to_string());
        let sharded = import(folder.path(), &ImportOptions::default()).expect(case);
        assert!(sharded.tensors == imported.tensors);

        put("model.safetensors.index.json", r#"{"weight_map": {"a": "../model.safetensors"}}"#);
        let error = import(folder.path(), &ImportOptions::default()).expect_err("elsewhere").to_string();
        assert!(error.contains("../model.safetensors"), "{error}");
    }
}

#[test]
fn files_that_are_not_whole_name_the_tensor() {
    let cases = [
        ("s", "rope_embed.periods"),
        ("s", "storage_tokens"),
        ("s", "cls_token"),
        ("s", "blocks.1.attn.qkv.bias_mask"),
        ("s", "blocks.2.mlp.fc1.bias"),
        ("s", "blocks.0.ls1.gamma"),
        ("s", "norm.weight"),
        ("splus", "blocks.1.mlp.w1.weight"),
        ("splus", "blocks.1.mlp.w2.bias"),
        ("splus", "blocks.1.mlp.w3.bias"),
        ("hub_s", "layer.1.attention.v_proj.bias"),
        ("hub_s", "layer.1.attention.k_proj.weight"),
        ("hub_s", "layer.0.layer_scale1.lambda1"),
        ("hub_s", "layer.2.mlp.up_proj.weight"),
        ("hub_s", "embeddings.patch_embeddings.bias"),
        ("hub_splus", "layer.0.mlp.gate_proj.weight"),
        ("hub_splus", "layer.0.mlp.down_proj.bias"),
        ("hub_dinov2", "encoder.layer.1.attention.output.dense.weight"),
        ("hub_dinov2", "encoder.layer.1.attention.attention.query.bias"),
        ("hub_dinov2", "embeddings.position_embeddings"),
        ("hub_dinov2", "layernorm.bias"),
    ];
    for (case, removed) in cases {
        let mut missing = outputs().shapes(case);
        missing.retain(|(name, _)| name != removed);
        assert_ne!(missing.len(), outputs().shapes(case).len(), "{removed}");
        let error = file(&missing, "part.safetensors").expect_err(removed);
        assert!(error.contains(removed) && error.contains("missing"), "{removed}: {error}");

        let mut other = outputs().shapes(case);
        let (_, shape) = other.iter_mut().find(|(name, _)| name == removed).expect("present");
        shape.push(2);
        let error = file(&other, "part.safetensors").expect_err(removed);
        assert!(error.contains("shape") || error.contains("dimensions"), "{removed}: {error}");

        let mut more = outputs().shapes(case);
        more.push(("extra.weight".into(), vec![3]));
        let error = file(&more, "part.safetensors").expect_err("unexpected");
        assert!(error.contains("extra.weight: not expected"), "{error}");
    }
}

#[test]
fn presets_have_the_published_sizes() {
    for (name, dim, periods) in
        [("dinov3-s", 384, 16), ("dinov3-s-plus", 384, 16), ("dinov3-b", 768, 16), ("dinov3-l", 1024, 16)]
    {
        let vit = VitConfig::preset(name).expect(name);
        assert_eq!((vit.dim, vit.rotary.len()), (dim, periods));
        assert!(
            (vit.rotary[0] - 1.0).abs() < 1e-6 && (vit.rotary[8] - 10.0).abs() < 1e-4,
            "{:?}",
            vit.rotary
        );
    }
}
