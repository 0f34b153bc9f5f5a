//! Global-only published files, and the error of bfloat16 and of 8-bit local features.

use crate::common::{Outputs, close, host};
use crate::{data, golden};
use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::import::{ImportOptions, import};
use r2former_model::quantize::{dequantize, quantize};
use r2former_model::{Precision, R2Former, Reranker};

const SIZES: [&str; 5] = ["96x128", "64x96", "96x64", "160x128", "112x192"];

fn outputs() -> Outputs {
    Outputs::open(&golden("tiny.outputs.safetensors"))
}

fn model(precision: Precision) -> R2Former {
    let mut imported = import(&golden("tiny.pth"), &ImportOptions::default()).expect("fixture imports");
    imported.config.precision = precision;
    R2Former::from_tensors(&imported.config, imported.tensors, &Device::flex()).expect("fixture loads")
}

#[test]
fn global_only_files_in_both_formats() {
    for file in ["global_only.pth", "global_only_legacy.pth"] {
        let imported = import(&data(file), &ImportOptions::default()).expect(file);
        assert!(imported.leftovers.is_empty(), "{file}: {:?}", imported.leftovers);
        assert!(imported.config.trained.global && !imported.config.trained.reranker);
        // Local features of its own it has none; those of any transformer suffice for RANSAC.
        assert!(imported.config.local.is_some() && imported.config.reranker.is_none());
        assert!(!imported.config.trained.local);
        let model =
            R2Former::from_tensors(&imported.config, imported.tensors, &Device::flex()).expect("loads");
        for size in SIZES {
            let features = model.extract(outputs().tensor(&format!("{size}.image"))).expect("native sizes");
            assert!(features.local.is_some());
            close(&host(features.global), &outputs().values(&format!("{size}.global")), 1e-5, file);
        }
    }
}

fn lowest_cosine(a: &[f32], b: &[f32], width: usize) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.chunks_exact(width).zip(b.chunks_exact(width)).map(cosine).fold(f32::INFINITY, f32::min)
}

#[test]
fn bfloat16_descriptors_stay_close() {
    let (exact, rounded) = (model(Precision::F32), model(Precision::Bf16));
    for size in SIZES {
        let images: Tensor<4> = outputs().tensor(&format!("{size}.image"));
        let a = host(exact.extract(images.clone()).expect("native sizes").global);
        let b = host(rounded.extract(images).expect("native sizes").global);
        let cosine = lowest_cosine(&a, &b, 32);
        eprintln!("bf16 {size}: lowest cosine {cosine}");
        assert!(a != b, "{size}: bf16 changed nothing, so it was not used");
        assert!(cosine >= 0.999, "{size}: cosine {cosine}");
    }
}

#[test]
fn eight_bit_local_features_change_scores_by_less_than_2_percent() {
    const ROW: usize = 19;
    let model = model(Precision::F32);
    let reranker = model.reranker.as_ref().expect("a full model");
    let packed = |rows: Tensor<3>| {
        let shape = rows.dims();
        let rows = dequantize(&quantize(&host(rows), ROW), ROW);
        Tensor::<3>::from_data(TensorData::new(rows, shape), &Device::flex())
    };
    let score = |q, r| {
        let logits = reranker.forward(q, r).expect("shapes belong together");
        (host(logits.clone()), host(Reranker::score(logits)))
    };
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    for size in SIZES {
        let query: Tensor<3> = outputs().tensor(&format!("{size}.local"));
        let reference: Tensor<3> = outputs().tensor(&format!("{size}.local2"));
        for (pairs, reference) in [("equal", reference.clone()), ("crossed", reference.flip([0]))] {
            let (logits, scores) = score(query.clone(), reference.clone());
            let (logits8, scores8) = score(packed(query.clone()), packed(reference));
            let moved = largest(&scores, &scores8);
            eprintln!("8 bit {size} {pairs}: logits by {}, scores by {moved}", largest(&logits, &logits8));
            assert!(moved < 0.02, "{size}: scores moved by {moved}");
        }
    }
}
