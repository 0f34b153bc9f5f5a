//! Models whose files have weights of 16 bits: descriptors are those of the same weights in 32.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod random_models;

use burn::tensor::Device;
use r2former_engine::{Extractor, FusedAggregate, FusedBackbone, LoadedModel, Settings};
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::checkpoint::{Storage, load, load_stored, save};
use r2former_model::{
    AdapterConfig, BackboneConfig, Facet, GlobalConfig, ModelConfig, Precision, R2Former, SaladConfig,
};
use random_models::{Random, fixture, transformer};
use std::path::{Path, PathBuf};

/// Models of different parts, each with the precisions that it is extracted in.
fn models() -> Vec<(&'static str, R2Former)> {
    let salad =
        |linear| GlobalConfig::Salad(SaladConfig { clusters: 6, dim: 7, token: 5, hidden: 20, linear });
    let with = |model: R2Former, change: &dyn Fn(&mut ModelConfig)| {
        let mut config = model.config().clone();
        change(&mut config);
        let mut tensors = R2Former::random(&config, 3, &Device::flex()).unwrap().to_tensors().unwrap();
        tensors.extend(
            model.to_tensors().unwrap().into_iter().filter(|(name, _)| name.starts_with("backbone.")),
        );
        R2Former::from_tensors(&config, tensors, &Device::flex()).unwrap()
    };
    let dinov2 = |seed: u64| {
        let plain = |c: &mut r2former_model::VitConfig| (c.distilled, c.layer_scale) = (false, true);
        transformer(plain, None, seed)
    };
    let global_only = |global: GlobalConfig| {
        move |config: &mut ModelConfig| {
            config.global = global.clone();
            (config.local, config.reranker) = (None, None);
        }
    };
    let adapted = |adapters: AdapterConfig| {
        transformer(|c| (c.distilled, c.layer_scale, c.adapters) = (false, true, Some(adapters)), None, 24)
    };
    let ends_in_values =
        |seed: u64| transformer(|c| (c.distilled, c.values, c.final_norm) = (false, true, false), None, seed);
    vec![
        ("two stages", fixture()),
        ("MegaLoc's parts", with(dinov2(20), &global_only(salad(Some(33))))),
        ("SALAD", with(dinov2(21), &global_only(salad(None)))),
        ("SwiGLU", transformer(|c| (c.distilled, c.swiglu) = (false, Some(40)), None, 22)),
        (
            "keys as local features",
            with(dinov2(23), &|config| {
                let local = config.local.as_mut().unwrap();
                (local.facet, local.layer, local.dim) = (Facet::Key, Some(1), local_width(&config.backbone));
                (local.projected, local.official_gather, config.reranker) = (false, false, None);
            }),
        ),
        ("linear adapters", adapted(AdapterConfig::Linear { width: 8 })),
        ("adapters of convolutions", adapted(AdapterConfig::Parallel { width: 16 })),
        ("adapters on a path of their own", adapted(AdapterConfig::Side { width: 16, count: 2 })),
        ("wide adapters, which have no kernels", adapted(AdapterConfig::Parallel { width: 64 })),
        (
            "values, which are local features, too",
            with(ends_in_values(25), &|config| {
                let local = config.local.as_mut().unwrap();
                (local.facet, local.layer, local.dim) = (Facet::Value, None, 5);
                (local.official_gather, config.reranker) = (false, None);
            }),
        ),
    ]
}

fn local_width(backbone: &BackboneConfig) -> usize {
    match backbone {
        BackboneConfig::Vit(vit) => vit.dim,
        _ => 0,
    }
}

/// The model in 16 bits, and the same weights in 32.
fn files(folder: &Path, model: &R2Former) -> [PathBuf; 2] {
    let [half, full] = ["half", "full"].map(|name| folder.join(format!("{name}.safetensors")));
    save(&half, model.config(), &model.to_tensors().unwrap(), Storage::F16).unwrap();
    let rounded = load(&half).unwrap();
    save(&full, &rounded.config, &rounded.tensors, Storage::F32).unwrap();
    [half, full]
}

fn pixels(config: &ModelConfig) -> Vec<f32> {
    let mut random = Random(9);
    (0..3 * config.input.height * config.input.width).map(|_| 2.0 * random.next()).collect()
}

#[test]
fn features_are_those_of_the_same_weights_in_32_bits() {
    for (what, model) in models() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), &model);
        let transformer = !what.contains("no kernels");
        let precisions = [Precision::F32, Precision::Int8, Precision::Bf16];
        for precision in precisions.into_iter().take(if transformer { 3 } else { 1 }) {
            let [half, full] = files.each_ref().map(|file| {
                let loaded = LoadedModel::open(file).unwrap();
                let settings = Settings { precision, ..Settings::of(&loaded.config) };
                let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
                assert_eq!(extractor.fused_backbone().is_some(), transformer, "{what}");
                let other = [extractor.config().input.height / 2, extractor.config().input.width];
                let found = extractor.extract(&[pixels(extractor.config())]).unwrap();
                // The model still embeds blank images of other sizes.
                if let Some(backbone) = extractor.fused_backbone() {
                    backbone.at(extractor.model(), other).unwrap();
                }
                found
            });
            assert!(half[0].global.iter().all(|v| v.is_finite()), "{what}");
            assert_eq!(half, full, "{what} in {precision}");
        }
    }
}

#[test]
fn every_level_computes_the_same_from_16_bits() {
    for (what, model) in models().into_iter().filter(|(what, _)| !what.contains("no kernels")) {
        let folder = tempfile::tempdir().unwrap();
        let [half, _] = files(folder.path(), &model);
        let config = model.config();
        let size = [config.input.height, config.input.width];
        let (stored, expanded) = (load_stored(&half).unwrap().tensors, load(&half).unwrap().tensors);
        for level in Level::available() {
            let models = [
                R2Former::from_stored(config, stored.clone(), &Device::flex()).unwrap(),
                R2Former::from_tensors(config, expanded.clone(), &Device::flex()).unwrap(),
            ];
            let [half, full] = models.map(|mut model| {
                let backbone = FusedBackbone::taking(&mut model, level, MatmulPrecision::F32, size).unwrap();
                let aggregate = FusedAggregate::taking(&mut model, level).ok();
                let (model, tokens) = (model.expand(), backbone.tokens(&pixels(config)).unwrap());
                let features = match &aggregate {
                    Some(aggregate) => aggregate.features(&model, tokens, size),
                    None => Ok(model.features(tokens, size).unwrap()),
                };
                features.unwrap().global.try_into_vec_as::<f32>().unwrap()
            });
            assert_eq!(half, full, "{what}, {level}");
        }
    }
}

/// A value that is not finite is found in 16 bits, too.
#[test]
fn non_finite_values_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture();
    let mut tensors = model.to_tensors().unwrap();
    // Beyond the largest f16.
    tensors.get_mut("backbone.blocks.0.attn.qkv.weight").unwrap().data[3] = 1e6;
    let file = folder.path().join("m.safetensors");
    save(&file, model.config(), &tensors, Storage::F16).unwrap();
    let loaded = LoadedModel::open(&file).unwrap();
    let settings = Settings::of(&loaded.config);
    let error = Extractor::new(loaded, settings, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("backbone.blocks.0.attn.qkv.weight: value 3 is inf"), "{error}");
}
