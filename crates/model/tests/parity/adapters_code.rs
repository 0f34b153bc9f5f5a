//! CricaVPR, SelaVPR and SelaVPR++: descriptors against their own code, files in the published layout, and files that are not
//! whole.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::{Device, Tensor};
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{
    AdapterConfig, BackboneConfig, CricaConfig, GemConfig, GlobalConfig, PositionMode, R2Former, ResizeMode,
};

type Shapes = Vec<(String, Vec<usize>)>;

fn outputs() -> Outputs {
    Outputs::open(&data("adapters.outputs.safetensors"))
}

/// Imports a file of generated weights under names as from parallel training.
fn imported(shapes: &Shapes) -> Result<Imported, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("published.safetensors");
    generate::write(&path, shapes, |name| format!("module.{name}"));
    import(&path, &ImportOptions::default()).map_err(|error| error.to_string())
}

fn check(case: &str, sides: &[usize], adapters: AdapterConfig, global: GlobalConfig) -> (Imported, R2Former) {
    let imported = imported(&outputs().shapes(case)).expect(case);
    let config = &imported.config;
    let BackboneConfig::Vit(vit) = &config.backbone else { panic!("a transformer") };
    assert_eq!((vit.adapters, vit.position), (Some(adapters), PositionMode::Dinov2), "{case}");
    assert_eq!((&config.global, config.input.resize), (&global, ResizeMode::TensorBilinear), "{case}");
    assert!(config.trained.global && config.local.is_some() && config.provenance["code_license"] == "MIT");
    let model = R2Former::from_tensors(config, imported.tensors.clone(), &Device::flex()).expect("builds");
    assert!(model.to_tensors().expect("reads") == imported.tensors, "{case}: what is read is written");
    for side in sides {
        let found = host(model.extract(generate::image([*side; 2])).expect("large enough").global);
        let case = format!("{case}.{side}x{side}");
        close(&found, &outputs().values(&case), 1e-5, &case);
    }
    (imported, model)
}

#[test]
fn cricavpr_one_image_at_a_time() {
    let adapters = AdapterConfig::Parallel { width: 96 };
    let global = GlobalConfig::Crica(CricaConfig { layers: 2, hidden: 256 });
    let (imported, model) = check("cricavpr", &[224], adapters, global);
    assert_eq!(imported.config.global_dim(), 14 * 192);
    assert!(imported.notes.iter().any(|note| note.contains("batch size 1")), "{:?}", imported.notes);
    assert!(imported.config.check_size(224, 238).is_err());
    assert!(model.extract(generate::image([98, 98])).is_err());
    // Another image in the batch changes nothing.
    let one = generate::image([224, 224]);
    let both = Tensor::cat(vec![one.clone(), one.clone() * 0.5], 0);
    let alone = host(model.extract(one).expect("fits").global);
    let beside = host(model.extract(both).expect("fits").global.narrow(0, 0, 1));
    close(&beside, &alone, 1e-6, "in a batch");
}

#[test]
fn selavpr_with_and_without_registers() {
    for case in ["selavpr", "selavpr_reg"] {
        let global = GlobalConfig::Gem(GemConfig { projected: false, dim: None });
        let (imported, _) = check(case, &[224], AdapterConfig::Linear { width: 512 }, global);
        assert_eq!(imported.config.input.height, 224);
        let unused = |name: &&String| name.contains("LocalAdapt.");
        assert_eq!(imported.leftovers.iter().filter(unused).count(), 4, "{:?}", imported.leftovers);
    }
}

#[test]
fn selavprplusplus_of_both_sizes_and_branches() {
    let global = || GlobalConfig::Gem(GemConfig { projected: true, dim: Some(80) });
    let base = AdapterConfig::Side { width: 96, count: 12 };
    check("selavprplusplus_base", &[98, 322], base, global());
    let large = AdapterConfig::Side { width: 96, count: 16 };
    let (imported, _) = check("selavprplusplus_large_rerank", &[98], large, global());
    let binary = |name: &&String| name.contains("hashing") && !name.ends_with("num_batches_tracked");
    assert_eq!(imported.leftovers.iter().filter(binary).count(), 16 * 34 + 1);
    assert!(imported.notes.iter().any(|note| note.contains("binary")), "{:?}", imported.notes);
}

#[test]
fn files_that_are_not_whole_name_the_tensor() {
    let cases = [
        ("cricavpr", "backbone.blocks.1.adapter.branch2.1.bn.running_mean"),
        ("cricavpr", "backbone.blocks.0.adapter.branch3.0.conv.weight"),
        ("cricavpr", "backbone.blocks.0.adapter.D_fc1.weight"),
        ("cricavpr", "backbone.blocks.1.ls2.gamma"),
        ("cricavpr", "encoder.layers.1.self_attn.out_proj.bias"),
        ("cricavpr", "encoder.layers.0.norm2.weight"),
        ("cricavpr", "aggregation.1.p"),
        ("selavpr", "backbone.blocks.0.adapter1.D_fc2.bias"),
        ("selavpr", "backbone.blocks.0.adapter2.D_fc1.weight"),
        ("selavprplusplus_base", "backbone.adapters.11.branch1.bn.weight"),
        ("selavprplusplus_base", "backbone.adapters.3.D_fc2.weight"),
        ("selavprplusplus_base", "linear1.bias"),
        ("selavprplusplus_base", "linear2.weight"),
        ("selavprplusplus_base", "backbone.pos_embed"),
    ];
    for (case, removed) in cases {
        let mut missing = outputs().shapes(case);
        missing.retain(|(name, _)| name != removed);
        assert_ne!(missing.len(), outputs().shapes(case).len(), "{removed}");
        let error = imported(&missing).expect_err(removed);
        assert!(
            error.contains(&format!("module.{removed}")) && error.contains("missing"),
            "{removed}: {error}"
        );

        let mut other = outputs().shapes(case);
        let (_, shape) = other.iter_mut().find(|(name, _)| name == removed).expect("present");
        shape.push(2);
        let error = imported(&other).expect_err(removed);
        assert!(error.contains("shape"), "{removed}: {error}");
    }
    let mut more = outputs().shapes("cricavpr");
    more.push(("backbone.extra.weight".into(), vec![3]));
    let error = imported(&more).expect_err("unexpected");
    assert!(error.contains("module.backbone.extra.weight: not expected"), "{error}");

    // What is recognised and not supported is named for what it is.
    let mut binary = outputs().shapes("selavprplusplus_large_rerank");
    binary.retain(|(name, _)| {
        !name.starts_with("backbone.adapters.")
            && !name.starts_with("aggregation.")
            && !name.starts_with("linear1")
            && !name.starts_with("linear2")
    });
    let error = imported(&binary).expect_err("binary");
    assert!(error.contains("SelaVPR++ checkpoint of binary descriptors alone"), "{error}");
}
