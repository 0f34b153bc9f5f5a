//! Aggregations on kernels against the model's own, on every level of vector instructions of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod random_models;

use burn::tensor::{Device, Tensor, TensorData};
use r2former_engine::FusedAggregate;
use r2former_kernels::Level;
use r2former_model::backbone::Tokens;
use r2former_model::{BoqConfig, GlobalConfig, MixVprConfig, Precision, R2Former, SaladConfig};
use random_models::{Random, transformer};

/// BoQ by the kernels of every level beside the model's own: grids, heads and numbers of queries that fill no panel.
#[test]
fn boq_equals_the_model() {
    let cases = [
        ("one head", BoqConfig { width: 64, heads: 1, layers: 2, queries: 5, rows: 3 }, [96, 80]),
        (
            "more queries than a panel",
            BoqConfig { width: 48, heads: 3, layers: 2, queries: 37, rows: 4 },
            [48, 208],
        ),
        ("one patch", BoqConfig { width: 20, heads: 2, layers: 1, queries: 4, rows: 2 }, [16, 16]),
    ];
    for (seed, (what, boq, size)) in cases.into_iter().enumerate() {
        for found in compare_aggregate(GlobalConfig::Boq(boq), size, 80 + seed as u64, what) {
            assert!(found.is_some(), "{what}: BoQ weighs patches");
        }
    }
}

/// MixVPR's aggregation likewise: widths and numbers of rows that fill no panel.
#[test]
fn mixvpr_equals_the_model() {
    let cases = [
        (
            "one row",
            MixVprConfig { grid: [3, 5], depth: 2, hidden: 15, channels: 7, rows: 1 },
            [3 * 16, 5 * 16],
        ),
        (
            "more rows than a panel",
            MixVprConfig { grid: [5, 4], depth: 4, hidden: 50, channels: 65, rows: 37 },
            [80, 64],
        ),
        ("one position", MixVprConfig { grid: [1, 1], depth: 1, hidden: 2, channels: 3, rows: 2 }, [16, 16]),
    ];
    for (seed, (what, mix, size)) in cases.into_iter().enumerate() {
        let global = GlobalConfig::MixVpr(mix);
        for (i, found) in compare_aggregate(global, size, 90 + seed as u64, what).into_iter().enumerate() {
            assert!(found.is_none(), "{what} {i}: MixVPR has no weights of patches");
        }
    }
}

/// SALAD likewise, with MegaLoc's linear layer and without: clusters and dimensions that fill no vector.
#[test]
fn salad_equals_the_model() {
    let cases = [
        ("one cluster", SaladConfig { clusters: 1, dim: 3, token: 2, hidden: 9, linear: None }, [16, 32]),
        ("MegaLoc", SaladConfig { clusters: 6, dim: 7, token: 5, hidden: 20, linear: Some(33) }, [80, 64]),
        (
            "more patches than a panel",
            SaladConfig { clusters: 10, dim: 16, token: 8, hidden: 32, linear: Some(130) },
            [96, 112],
        ),
    ];
    for (seed, (what, salad, size)) in cases.into_iter().enumerate() {
        for found in compare_aggregate(GlobalConfig::Salad(salad), size, 100 + seed as u64, what) {
            assert!(
                found.is_some_and(|used| used.iter().all(|share| (0.0..=1.01).contains(share))),
                "{what}"
            );
        }
    }
}

/// In 8 bits SALAD's descriptor has nearly the direction that it has in 32.
#[test]
fn salad_in_8_bits_is_close() {
    let salad = SaladConfig { clusters: 8, dim: 32, token: 16, hidden: 64, linear: Some(96) };
    let (model, tokens, size) = aggregated(GlobalConfig::Salad(salad), [112, 96], 110);
    let mut config = model.config().clone();
    config.precision = Precision::Int8;
    let tensors = model.to_tensors().unwrap();
    let int8 = || R2Former::from_tensors(&config, tensors.clone(), &Device::flex()).unwrap();
    for level in Level::available().filter(|level| level.multiplies_int8()) {
        let descriptor = |fused: FusedAggregate, model: &R2Former| {
            fused.features(model, tokens(), size).unwrap().global.try_into_vec_as::<f32>().unwrap()
        };
        let exact = descriptor(FusedAggregate::new(&model, level).unwrap(), &model);
        let mut taken = int8();
        let fused = FusedAggregate::taking(&mut taken, level).unwrap();
        let found = descriptor(fused, &taken);
        let cosine: f32 = exact.iter().zip(&found).map(|(a, b)| a * b).sum();
        assert!((0.999..0.999_999_9).contains(&cosine), "{level}: {cosine}");
        // The model has no linear layer any longer, and says so.
        let error = taken.features(tokens(), size).unwrap_err().to_string();
        assert!(error.contains("released"), "{error}");
        assert_eq!(descriptor(FusedAggregate::new(&int8(), level).unwrap(), &int8()), found, "{level}");
    }
}

/// Compares an aggregation by the kernels of every level with the model's own, with random weights. Returns the weights of
/// patches that each level found.
fn compare_aggregate(global: GlobalConfig, size: [usize; 2], seed: u64, what: &str) -> Vec<Option<Vec<f32>>> {
    let (model, tokens, size) = aggregated(global, size, seed);
    let host = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>().unwrap();
    let (expected, weights) = model.aggregate().unwrap().forward_with_weights(&tokens());
    let length = host(expected.clone()).iter().map(|v| v * v).sum::<f32>().sqrt();
    let (expected, weights) = (host(expected.div_scalar(length)), weights.map(host));
    let compare = |level: Level| {
        let fused = FusedAggregate::new(&model, level).unwrap();
        // The second run finds the memory of the first.
        fused.features(&model, tokens(), size).unwrap();
        let (found, attention) = fused.aggregate(&model, &tokens()).unwrap().unwrap();
        let (found, attention) = (host(found.div_scalar(length)), attention.map(host));
        let parts = [
            ("descriptor", Some(&found), Some(&expected)),
            ("weights", attention.as_ref(), weights.as_ref()),
        ];
        for (part, found, expected) in parts {
            let [found, expected] = [found, expected].map(|values| values.map_or(&[][..], |v| v));
            assert_eq!(found.len(), expected.len(), "{what} {part}");
            for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                assert!((a - b).abs() <= 1e-5, "{what} {part} {i}, {level}: {a}, not {b}");
            }
        }
        attention
    };
    Level::available().map(compare).collect()
}

/// A model with an aggregation and random weights, the tokens of a random image, and its size.
fn aggregated(
    global: GlobalConfig,
    size: [usize; 2],
    seed: u64,
) -> (R2Former, impl Fn() -> Tokens, [usize; 2]) {
    let mut config = transformer(|c| c.distilled = false, None, 80).config().clone();
    config.global = global;
    [config.input.height, config.input.width] = size;
    config.local = None;
    config.reranker = None;
    let mut tensors = R2Former::random(&config, 7, &Device::flex()).unwrap().to_tensors().unwrap();
    let mut random = Random(seed);
    for (name, tensor) in &mut tensors {
        let norm = name.contains("norm") || name.ends_with("mix.0.weight");
        let base = if norm && name.ends_with("weight") { 1.0 } else { 0.0 };
        tensor.data.iter_mut().for_each(|v| *v = base + 0.2 * random.next());
    }
    let model = R2Former::from_tensors(&config, tensors, &Device::flex()).unwrap();
    let pixels: Vec<f32> = (0..3 * size[0] * size[1]).map(|_| 2.0 * random.next()).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [1, 3, size[0], size[1]]), &Device::flex());
    let tokens = model.backbone().forward(images).unwrap();
    (model, move || tokens.clone(), size)
}
