//! MegaLoc, DINOv2-SALAD and BoQ: descriptors against their own code, each published layout of names, and files that are
//! not whole.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::Device;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{
    BackboneConfig, BoqConfig, GlobalConfig, ModelError, PositionMode, R2Former, SaladConfig,
};

const SIZES: [[usize; 2]; 3] = [[98, 98], [126, 84], [322, 322]];

type Shapes = Vec<(String, Vec<usize>)>;

fn shapes(case: &str) -> Shapes {
    outputs().shapes(case)
}

fn outputs() -> Outputs {
    Outputs::open(&data("aggregations.outputs.safetensors"))
}

/// Writes a file of generated weights under changed names, and imports it.
fn imported(shapes: &Shapes, rename: impl Fn(&str) -> String) -> Result<Imported, ModelError> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("published.safetensors");
    generate::write(&path, shapes, rename);
    import(&path, &ImportOptions::default())
}

fn plain(name: &str) -> String {
    name.to_string()
}

fn check(case: &str, imported: &Imported) -> R2Former {
    let input = &imported.config.input;
    assert_eq!([input.height, input.width], [322, 322], "{case}");
    let BackboneConfig::Vit(vit) = &imported.config.backbone else { panic!("a transformer") };
    assert_eq!((vit.position, vit.final_norm), (PositionMode::Dinov2, case != "boq"), "{case}");
    assert!(imported.config.trained.global && imported.config.reranker.is_none(), "{case}");
    let model = R2Former::from_tensors(&imported.config, imported.tensors.clone(), &Device::flex());
    let model = model.expect("builds");
    for size in SIZES {
        let found = host(model.extract(generate::image(size)).expect("large enough").global);
        let what = format!("{case}.{}x{}", size[0], size[1]);
        close(&found, &outputs().values(&what), 1e-5, &what);
    }
    // What is written is what was read.
    assert!(model.to_tensors().expect("reads") == imported.tensors, "{case}: saved tensors");
    model
}

#[test]
fn megaloc_in_both_layouts() {
    let hub = imported(&shapes("megaloc"), plain).expect("imports");
    let expected = SaladConfig { clusters: 16, dim: 24, token: 32, hidden: 64, linear: Some(96) };
    assert_eq!(hub.config.global, GlobalConfig::Salad(expected));
    assert!(hub.leftovers.is_empty());
    let model = check("megaloc", &hub);
    assert_eq!(hub.config.provenance["code_license"], "MIT");

    // 16 patches for 16 clusters.
    let error = model.extract(generate::image([56, 56])).expect_err("too small").to_string();
    assert!(error.contains("more than 16 patches"), "{error}");
    assert!(hub.config.check_size(56, 56).is_err() && hub.config.check_size(56, 70).is_ok());
    model.extract(generate::image([56, 70])).expect("17 patches suffice, and here are 20");

    // megaloc.torch has the names of DINOv2's own model, and its mask token.
    let mut older = shapes("megaloc");
    older.push(("backbone.mask_token".into(), vec![1, 192]));
    let older = imported(&older, |name| name.replace("backbone.", "backbone.model.")).expect("imports");
    assert_eq!(older.leftovers, ["backbone.model.mask_token"]);
    assert!(older.tensors == hub.tensors && older.config.global == hub.config.global);
}

#[test]
fn salad_with_and_without_wrappers() {
    let bare = imported(&shapes("salad"), plain).expect("imports");
    let expected = SaladConfig { clusters: 16, dim: 24, token: 32, hidden: 512, linear: None };
    assert_eq!(bare.config.global, GlobalConfig::Salad(expected));
    assert_eq!(bare.leftovers, ["backbone.model.mask_token"]);
    check("salad", &bare);
    assert_eq!(bare.config.provenance["code_license"], "GPL-3.0");
    let wrapped = imported(&shapes("salad"), |name| format!("module.model.{name}")).expect("imports");
    assert!(wrapped.tensors == bare.tensors);
}

#[test]
fn boq() {
    let imported = imported(&shapes("boq"), plain).expect("imports");
    let expected = BoqConfig { width: 128, heads: 2, layers: 2, queries: 12, rows: 4 };
    assert_eq!(imported.config.global, GlobalConfig::Boq(expected));
    let unused = ["mask_token", "norm.bias", "norm.weight"].map(|name| format!("backbone.dino.{name}"));
    assert_eq!(imported.leftovers, unused);
    check("boq", &imported);
}

#[test]
fn files_that_are_not_whole_name_the_tensor() {
    let cases = [
        ("megaloc", "aggregator.agg.dust_bin"),
        ("megaloc", "aggregator.agg.score.3.weight"),
        ("megaloc", "aggregator.linear.weight"),
        ("megaloc", "backbone.pos_embed"),
        ("salad", "backbone.model.blocks.1.ls1.gamma"),
        ("salad", "aggregator.cluster_features.0.bias"),
        ("salad", "aggregator.token_features.2.weight"),
        ("boq", "backbone.dino.blocks.0.mlp.fc2.bias"),
        ("boq", "aggregator.boqs.1.queries"),
        ("boq", "aggregator.boqs.0.norm_q.bias"),
        ("boq", "aggregator.boqs.0.encoder.self_attn.in_proj_weight"),
        ("boq", "aggregator.fc.bias"),
    ];
    for (case, removed) in cases {
        let mut missing = shapes(case);
        missing.retain(|(name, _)| name != removed);
        assert_ne!(missing.len(), shapes(case).len(), "{removed}");
        let error = imported(&missing, plain).expect_err(removed).to_string();
        assert!(error.contains(removed) && error.contains("missing"), "{removed}: {error}");
        assert!(error.contains("published.safetensors"), "{removed}: {error}");

        let mut other = shapes(case);
        let (_, shape) = other.iter_mut().find(|(name, _)| name == removed).expect("present");
        match shape.last_mut() {
            Some(last) => *last += 1,
            None => shape.push(2),
        }
        let error = imported(&other, plain).expect_err(removed).to_string();
        assert!(error.contains("shape") || error.contains("position"), "{removed}: {error}");

        let mut more = shapes(case);
        more.push(("aggregator.extra.weight".into(), vec![3]));
        let error = imported(&more, plain).expect_err("unexpected").to_string();
        assert!(error.contains("aggregator.extra.weight: not expected"), "{error}");
    }
}
