//! A device other than the CPU against the CPU, where there is one.
//!
//!     R2FORMER_TEST_DEVICE=wgpu cargo test --release -p r2former-engine --features r2former-model/wgpu --test device
//!
//! A software adapter will do (Debian: `mesa-vulkan-drivers`).

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use r2former_engine::doctor::{self, Extent, Kind, Options};
use r2former_engine::{
    Extractor, LoadedModel, LocalRows, NoProgress, OpenIndex, PlaceIndex, Settings, rerank,
};
use r2former_model::device::describe;
use r2former_model::{Device, Precision, parse_device, quantize};
use std::io::Write as _;

/// The device that the environment names; none, said loudly, where it names none.
fn device() -> Option<Device> {
    let name = std::env::var("R2FORMER_TEST_DEVICE").unwrap_or_default();
    if name.is_empty() {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no device is tested; set R2FORMER_TEST_DEVICE, as in R2FORMER_TEST_DEVICE=wgpu"
        );
        return None;
    }
    let device = parse_device(&name).unwrap();
    let _ = writeln!(std::io::stderr(), "testing {}", describe(&name, &device));
    Some(device)
}

#[test]
fn every_stage_agrees() {
    let Some(device) = device() else { return };
    let loaded = LoadedModel::built_in().unwrap();
    let report = doctor::check(&loaded, &device, &Options::new(Extent::Short), &NoProgress).unwrap();
    assert!(report.agrees(), "{:#?}", report.first_fault());
}

#[test]
fn descriptors_and_scores_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    let loaded = LoadedModel::built_in().unwrap();
    let settings = Settings { height: 160, width: 160, ..Settings::of(&loaded.config) };
    let photos = doctor::images(&loaded.config, Kind::PhotoLike, 3, [160, 160], 7);
    let inputs: Vec<Vec<f32>> = photos.rows().map(<[f32]>::to_vec).collect();
    let run = |device: &Device| {
        let extractor = Extractor::new(loaded.clone(), settings, device).unwrap();
        let features = extractor.extract(&inputs).unwrap();
        let locals: Vec<&[f32]> = features.iter().map(|f| f.local.as_slice()).collect();
        let scores = rerank(&extractor, locals[0], &locals).unwrap();
        (features, scores)
    };
    let ((found, found_scores), (expected, scores)) = (run(&device), run(&Device::flex()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(doctor::deviation(&found.global, &expected.global) < 1e-3);
        assert_eq!(found.local.len(), expected.local.len());
    }
    for (found, expected) in found_scores.iter().zip(&scores) {
        let apart = doctor::deviation(&found.logits, &expected.logits);
        assert!(apart < 0.02, "{found:?}, not {expected:?}");
    }
}

#[test]
fn bytes_become_local_features_as_on_the_host() {
    let Some(device) = device() else { return };
    for [images, features, width] in [[1, 1, 4], [3, 5, 7], [2, 9, 67], [7, 31, 131], [1, 256, 5]] {
        let bytes: Vec<u8> = (0..images * features * width).map(|i| (i * 7919 % 256) as u8).collect();
        let found = quantize::dequantize_on(&bytes, [images, features, width], &device);
        let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
        let expected = quantize::dequantize(&bytes, width);
        assert!(doctor::deviation(&found, &expected) <= 1e-6, "{images} x {features} x {width}");
    }
}

#[test]
fn candidates_in_8_bits_and_in_32_have_the_scores_of_the_cpu() {
    let Some(device) = device() else { return };
    let loaded = LoadedModel::built_in().unwrap();
    let (settings, row) = (Settings::of(&loaded.config), loaded.config.local_row());
    let bytes = |seed: usize, features: usize| -> Vec<u8> {
        (0..features * row).map(|i| (1 + (i * 7919 + i * i * seed) % 255) as u8).collect()
    };
    // More than a batch takes of a software adapter, of several lengths, one of them in 32 bits.
    let packed: Vec<Vec<u8>> = (0..45).map(|seed| bytes(seed, if seed < 40 { 324 } else { 150 })).collect();
    let whole = quantize::dequantize(&packed[3], row);
    let query = quantize::dequantize(&packed[7], row);
    let mut candidates: Vec<LocalRows<'_>> = packed.iter().map(|rows| rows.as_slice().into()).collect();
    candidates.insert(20, whole.as_slice().into());
    let run = |device: &Device| {
        let extractor = Extractor::new(loaded.clone(), settings, device).unwrap();
        rerank(&extractor, &query, &candidates).unwrap()
    };
    let (found, expected) = (run(&device), run(&Device::flex()));
    assert_eq!(found.len(), candidates.len());
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let apart = doctor::deviation(&found.logits, &expected.logits);
        assert!(apart < 0.02, "candidate {number}: {found:?}, not {expected:?}");
    }
    assert!(doctor::deviation(&found[20].logits, &found[3].logits) < 1e-3);
}

#[test]
fn an_index_of_8_bits_is_searched_in_32() {
    if device().is_none() {
        return;
    }
    let built_in = LoadedModel::built_in().unwrap();
    let measured = built_in.with(|config, _| config.checks = vec![common::ranks_alike()]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("places");
    let settings = Settings { precision: Precision::Int8, ..Settings::of(&measured.config) };
    PlaceIndex::create(&dir, &measured, settings).unwrap();
    let index = OpenIndex::open(&dir, &std::env::var("R2FORMER_TEST_DEVICE").unwrap()).unwrap();
    assert_eq!(index.extractor().unwrap().settings().precision, Precision::F32);
}
