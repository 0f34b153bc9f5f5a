//! Convolutional networks by the kernels of every level of this machine beside the model's own operations.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use burn::tensor::{Device, Tensor, TensorData};
use r2former_engine::{
    Extractor, FusedBackbone, LoadedModel, NoProgress, PrecisionChoice, Settings, check_model,
};
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::{
    BackboneConfig, BoqConfig, GlobalConfig, LocalConfig, MixVprConfig, ModelConfig, NetVladConfig, Pooling,
    Precision, PrecisionCheck, R2Former, ResNetConfig,
};
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use std::path::Path;

/// Largest difference, relative to the root mean square of the map.
const TOLERANCE: f64 = 1e-5;

struct Random(u64);

impl Random {
    /// -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1 << 23) as f32 - 1.0
    }
}

fn config(backbone: BackboneConfig, global: GlobalConfig) -> ModelConfig {
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    (config.backbone, config.global) = (backbone, global);
    (config.local, config.reranker) = (None, None);
    (config.input.height, config.input.width) = (96, 128);
    config
}

/// A model whose activations stay of one size, with batch norms that do something.
fn model(config: &ModelConfig, seed: u64) -> R2Former {
    let mut tensors = R2Former::random(config, seed, &Device::flex()).unwrap().to_tensors().unwrap();
    let mut random = Random(seed + 1);
    for (name, tensor) in &mut tensors {
        let kernel: usize = tensor.shape.iter().skip(1).product();
        let (middle, range) = match tensor.shape.len() {
            4 => (0.0, (6.0 / kernel as f32).sqrt()),
            _ if name.ends_with("running_var") => (1.0, 0.3),
            1 if name.starts_with("backbone") && name.ends_with("weight") => (0.35, 0.15),
            1 if name.starts_with("backbone") => (0.0, 0.1),
            _ => continue,
        };
        tensor.data.iter_mut().for_each(|v| *v = middle + range * random.next());
    }
    R2Former::from_tensors(config, tensors, &Device::flex()).unwrap()
}

fn pixels([height, width]: [usize; 2], seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..3 * height * width).map(|i| (i % 97) as f32 / 97.0 + random.next()).collect()
}

fn compare(config: &ModelConfig, size: [usize; 2], what: &str) {
    let model = model(config, 3);
    let image = pixels(size, 5);
    let images =
        Tensor::<4>::from_data(TensorData::new(image.clone(), [1, 3, size[0], size[1]]), &Device::flex());
    let expected = model.backbone().forward(images).unwrap();
    let host = |tensor: Tensor<3>| tensor.try_into_vec_as::<f32>().unwrap();
    for level in Level::available() {
        let fused = FusedBackbone::new(&model, level, MatmulPrecision::F32, size).unwrap();
        // Another size first: its memory is found again.
        fused.at(&model, [96, 64]).unwrap().tokens(&pixels([96, 64], 9)).unwrap();
        let found = fused.tokens(&image).unwrap();
        assert_eq!(found.grid, expected.grid, "{what}");
        assert_eq!((found.last_prefix, found.local_prefix), (0, 0));
        for (part, found, expected) in [
            ("last", found.last.clone(), expected.last.clone()),
            ("local", found.local.clone(), expected.local.clone()),
        ] {
            assert_eq!(found.dims(), expected.dims(), "{what} {part}");
            let (found, expected) = (host(found), host(expected));
            let square = expected.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            let scale = (square / expected.len() as f64).sqrt();
            let differences = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).abs());
            let (most, sum) = differences.fold((0.0f64, 0.0), |(most, sum), d| (most.max(d), sum + d * d));
            let relative = (sum / square).sqrt();
            eprintln!("{what} {part}, {level}: {:.2e} at most, {relative:.2e} in all", most / scale);
            assert!(relative <= TOLERANCE, "{what} {part}, {level}: {relative}");
            assert!(most <= 5.0 * TOLERANCE * scale, "{what} {part}, {level}: {most} of {scale}");
        }
    }
}

fn resnet(depth: usize, stages: usize) -> BackboneConfig {
    BackboneConfig::ResNet(ResNetConfig::new(depth, stages))
}

fn pooled(pooling: Pooling) -> GlobalConfig {
    GlobalConfig::Pooled { pooling }
}

#[test]
fn resnets_equal_the_model() {
    for (depth, stages, size) in [
        (18, 4, [96, 128]),
        (18, 3, [75, 111]),
        (34, 4, [48, 48]),
        (50, 4, [130, 97]),
        (50, 3, [64, 96]),
        (101, 4, [33, 48]),
        (152, 4, [48, 33]),
    ] {
        let config = config(resnet(depth, stages), pooled(Pooling::Gem));
        compare(&config, size, &format!("ResNet-{depth} of {stages} stages, {size:?}"));
    }
}

#[test]
fn vgg16_equals_the_model() {
    for size in [[64, 96], [75, 51]] {
        compare(&config(BackboneConfig::Vgg16, pooled(Pooling::Gem)), size, &format!("VGG16, {size:?}"));
    }
}

/// Descriptors of whole models, which take the kernels on a CPU, beside those of the model's operations.
#[test]
fn descriptors_equal_the_model() {
    let mix = MixVprConfig { grid: [6, 8], depth: 2, hidden: 48, channels: 32, rows: 4 };
    let vlad = NetVladConfig { clusters: 8, whitened: Some(64) };
    let gem = GlobalConfig::Linear { dim: 128, pooling: Pooling::Gem };
    let mut cases = vec![
        ("CosPlace", config(resnet(50, 4), gem.clone())),
        ("MixVPR", config(resnet(50, 3), GlobalConfig::MixVpr(mix))),
        ("NetVLAD", config(BackboneConfig::Vgg16, GlobalConfig::NetVlad(vlad))),
        ("mean", config(resnet(18, 4), pooled(Pooling::Mean))),
    ];
    let mut local = config(resnet(50, 4), gem);
    local.local = Some(LocalConfig { dim: 32, count: 20, ..LocalConfig::default() });
    cases.push(("local features", local));
    for (what, config) in cases {
        let model = model(&config, 11);
        let loaded = LoadedModel::of(&config, &model.to_tensors().unwrap()).unwrap();
        let (height, width) = (96, 128);
        let settings = Settings { height, width, rule: None, precision: config.precision };
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        assert!(extractor.fused_backbone().is_some(), "{what}: the kernels are what is tested");
        let image = pixels([height, width], 21);
        let found = extractor.extract(std::slice::from_ref(&image)).unwrap().remove(0);
        let images = Tensor::<4>::from_data(TensorData::new(image, [1, 3, height, width]), &Device::flex());
        let expected = model.extract(images).unwrap();
        let global = expected.global.try_into_vec_as::<f32>().unwrap();
        assert_eq!(found.global.len(), global.len());
        for (a, b) in found.global.iter().zip(&global) {
            assert!((a - b).abs() <= 1e-5, "{what}: {a}, not {b}");
        }
        if let Some(local) = expected.local {
            let local = local.try_into_vec_as::<f32>().unwrap();
            assert_eq!(found.local.len(), local.len());
            for (a, b) in found.local.iter().zip(&local) {
                assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{what}: {a}, not {b}");
            }
        }
    }
}

/// A model and the pixels of some photographs of the rendered town, as it takes them.
fn with_photographs(config: &ModelConfig, count: usize) -> (R2Former, Vec<Vec<f32>>) {
    let model = model(config, 11);
    let loaded = LoadedModel::of(config, &model.to_tensors().unwrap()).unwrap();
    let extractor = Extractor::new(loaded, Settings::of(config), &Device::flex()).unwrap();
    let photographs = photographs(count);
    let inputs = photographs.iter().map(|photograph| extractor.prepare(photograph).unwrap().values).collect();
    (model, inputs)
}

fn photographs(count: usize) -> Vec<r2former_data::Rgb8> {
    let town = Town::new(&TownConfig { seed: 11, blocks: (3, 3), ..TownConfig::default() }).unwrap();
    let spots = town.street_positions(25.0);
    (0..count)
        .map(|i| {
            let at = &spots[i * spots.len() / count];
            let camera = Camera { x: at.x, y: at.y, heading: at.heading, ..Camera::default() };
            town.render(&View { camera, condition: Condition::Day, visit: 0 }, 320, 240).unwrap()
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// In 8 bits descriptors have nearly the direction that they have in 32, and lie far nearer to them than those of another
/// photograph do.
#[test]
fn descriptors_in_8_bits_stay_close() {
    let mix = MixVprConfig { grid: [6, 8], depth: 2, hidden: 48, channels: 32, rows: 4 };
    let vlad = NetVladConfig { clusters: 8, whitened: None };
    let boq = BoqConfig { width: 64, heads: 2, layers: 1, queries: 8, rows: 8 };
    let gem = GlobalConfig::Linear { dim: 128, pooling: Pooling::Gem };
    for (what, config) in [
        ("CosPlace", config(resnet(50, 4), gem)),
        ("CosPlace over ResNet-18", config(resnet(18, 4), pooled(Pooling::Gem))),
        ("MixVPR", config(resnet(50, 3), GlobalConfig::MixVpr(mix))),
        ("BoQ", config(resnet(50, 3), GlobalConfig::Boq(boq))),
        ("NetVLAD", config(BackboneConfig::Vgg16, GlobalConfig::NetVlad(vlad))),
    ] {
        let (model, inputs) = with_photographs(&config, 2);
        let size = [config.input.height, config.input.width];
        for level in Level::available() {
            let descriptors = |products| -> (Precision, Vec<Vec<f32>>) {
                let backbone = FusedBackbone::new(&model, level, products, size).unwrap();
                let of = |input: &Vec<f32>| {
                    let features = model.features(backbone.tokens(input).unwrap(), size).unwrap();
                    features.global.try_into_vec_as::<f32>().unwrap()
                };
                (backbone.products(), inputs.iter().map(of).collect())
            };
            let (_, exact) = descriptors(MatmulPrecision::F32);
            let (computed, found) = descriptors(MatmulPrecision::Int8);
            if computed == Precision::F32 {
                assert_eq!(exact, found, "{what}, {level}");
                continue;
            }
            assert!(level.multiplies_int8(), "{what}, {level}");
            let other = cosine(&exact[0], &exact[1]);
            for (exact, found) in exact.iter().zip(&found) {
                let own = cosine(exact, found);
                eprintln!(
                    "{what}, {level}: 1 - {:.1e}; of another photograph 1 - {:.1e}",
                    1.0 - own,
                    1.0 - other
                );
                assert_ne!(exact, found, "{what}, {level}: 8 bits changed nothing, so they were not used");
                assert!(own >= PrecisionCheck::LEAST_COSINE, "{what}, {level}: {own}");
                // Descriptors of random weights resemble each other: what differs between photographs is what counts.
                assert!(1.0 - own < 0.1 * (1.0 - other), "{what}, {level}: {own}, {other}");
            }
        }
    }
}

/// A check measures a convolutional network, too, and `auto` uses what it allows.
#[test]
fn a_check_decides_on_8_bits() {
    let config = config(resnet(18, 4), pooled(Pooling::Gem));
    let loaded = LoadedModel::of(&config, &model(&config, 11).to_tensors().unwrap()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..22).map(|i| home.path().join(format!("{i}.jpg"))).collect();
    for (file, photograph) in files.iter().zip(&photographs(22)) {
        let bytes = r2former_data::image::jpeg_with_tags(photograph, 92, &Default::default()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let files: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
    let found = check_model(&loaded, Precision::Int8, &files, &NoProgress, |_, _| {});
    if !Level::current().unwrap().multiplies_int8() {
        assert!(found.unwrap_err().to_string().contains("nothing to compare"));
        return;
    }
    let check = found.unwrap().precision;
    assert!(check.images == 22 && check.least_cosine < 1.0, "{check:?}");
    let (cpu, own) = (Device::flex(), Settings::of(&loaded.config));
    let auto = |config: &ModelConfig| own.with_precision(PrecisionChoice::Auto, config, &cpu).precision;
    assert_eq!(auto(&loaded.config), Precision::F32);
    let measured = loaded.with(|config, _| config.checks = vec![check.clone()]).unwrap();
    let kept = measured.config.keeps_ranking(Precision::Int8);
    assert_eq!(auto(&measured.config), if kept { Precision::Int8 } else { Precision::F32 }, "{check:?}");
    let worse = PrecisionCheck { least_cosine: 0.9, ..check };
    let measured = loaded.with(|config, _| config.checks = vec![worse]).unwrap();
    assert_eq!(auto(&measured.config), Precision::F32);
}
