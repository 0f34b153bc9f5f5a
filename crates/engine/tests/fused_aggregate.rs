//! Aggregations on kernels against the model's own, on every level of vector instructions of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod random_models;

use burn::tensor::{Device, Tensor, TensorData};
use r2former_engine::FusedAggregate;
use r2former_kernels::Level;
use r2former_model::{BoqConfig, GlobalConfig, MixVprConfig, R2Former};
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

/// Compares an aggregation by the kernels of every level with the model's own, with random weights. Returns the weights of
/// patches that each level found.
fn compare_aggregate(global: GlobalConfig, size: [usize; 2], seed: u64, what: &str) -> Vec<Option<Vec<f32>>> {
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
    let tokens = || model.backbone().forward(images.clone()).unwrap();
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
