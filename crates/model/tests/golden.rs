//! Against outputs of the published code at five image sizes: the native one, two that crop the position embedding, and
//! two that resize it (`golden/README.md`).

mod common;

use burn::tensor::{Device, Tensor};
use common::{Outputs, close, host};
use r2former_model::import::{ImportOptions, import};
use r2former_model::{R2Former, Reranker};
use std::path::Path;

const SIZES: [&str; 5] = ["96x128", "64x96", "96x64", "160x128", "112x192"];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn model() -> R2Former {
    let imported = import(&folder().join("tiny.pth"), &ImportOptions::default()).expect("fixture imports");
    assert_eq!(imported.leftovers, ["Reranker.decoder_pos_embed", "Reranker.ratio"]);
    R2Former::from_tensors(&imported.config, imported.tensors, &Device::flex()).expect("fixture loads")
}

#[test]
fn descriptors_and_local_features_equal_the_published_code() {
    let (model, outputs) = (model(), Outputs::open(&folder().join("tiny.outputs.safetensors")));
    for size in SIZES {
        for suffix in ["", "2"] {
            let images: Tensor<4> = outputs.tensor(&format!("{size}.image{suffix}"));
            let features = model.extract(images).expect("native sizes are accepted");
            let what = format!("{size}{suffix}");
            close(&host(features.global), &outputs.values(&format!("{size}.global{suffix}")), 1e-5, &what);
            let local = host(features.local.expect("a full model has local features"));
            // Row by row, so that the order of the features is compared too.
            close(&local, &outputs.values(&format!("{size}.local{suffix}")), 1e-4, &what);
        }
    }
}

#[test]
fn logits_and_scores_equal_the_published_code() {
    let (model, outputs) = (model(), Outputs::open(&folder().join("tiny.outputs.safetensors")));
    let reranker = model.reranker.as_ref().expect("a full model has a reranker");
    for size in SIZES {
        let query: Tensor<3> = outputs.tensor(&format!("{size}.local"));
        let reference: Tensor<3> = outputs.tensor(&format!("{size}.local2"));
        // Pairs: (image_i, image2_i), then (image_i, image2_{1-i}).
        let queries = Tensor::cat(vec![query.clone(), query], 0);
        let references = Tensor::cat(vec![reference.clone(), reference.flip([0])], 0);
        let logits = reranker.forward(queries, references).expect("shapes belong together");
        close(&host(logits.clone()), &outputs.values(&format!("{size}.rerank_logits")), 1e-4, size);
        // The fixture's `final_score` is the mean of the score and the global similarity; places are ranked by the score
        // alone.
        let scores = host(Reranker::score(logits));
        let similarity = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let (global, global2) =
            (outputs.values(&format!("{size}.global")), outputs.values(&format!("{size}.global2")));
        let (a, b) = (global.split_at(32), global2.split_at(32));
        let similarities =
            [similarity(a.0, b.0), similarity(a.1, b.1), similarity(a.0, b.1), similarity(a.1, b.0)];
        let mean: Vec<f32> = scores.iter().zip(similarities).map(|(s, g)| (s + g) / 2.0).collect();
        close(&mean, &outputs.values(&format!("{size}.final_score")), 1e-4, size);
    }
}

#[test]
fn a_saved_checkpoint_restores_the_model() {
    let imported = import(&folder().join("tiny.pth"), &ImportOptions::default()).expect("fixture imports");
    let file = tempfile::tempdir().expect("temporary folder");
    let path = file.path().join("tiny.safetensors");
    let storage = r2former_model::checkpoint::Storage::F32;
    r2former_model::save(&path, &imported.config, &imported.tensors, storage).expect("writes");
    let back = r2former_model::load(&path).expect("reads its own file");
    assert_eq!(back.config, imported.config);
    assert_eq!(back.tensors, imported.tensors);
    let model = back.model(&Device::flex()).expect("builds");
    assert_eq!(model.to_tensors().expect("reads back"), imported.tensors);
}
