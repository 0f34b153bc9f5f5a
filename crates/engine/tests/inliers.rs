//! Scores that weigh RANSAC's inliers beside the network's logits.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use r2former_engine::doctor::{self, Kind};
use r2former_engine::{
    Extractor, LoadedModel, RerankMethod, Settings, Verifier, best_first, cascade_split, rerank,
};
use r2former_model::{Device, Geometry, InlierWeights, quantize};

/// The built-in model with these weights, at 160 x 160 pixels.
fn extractor(weights: Option<InlierWeights>) -> Extractor {
    let loaded = LoadedModel::built_in().unwrap();
    let loaded = loaded.with(|config, _| config.reranker.as_mut().unwrap().inliers = weights).unwrap();
    let settings = Settings { height: 160, width: 160, ..Settings::of(&loaded.config) };
    Extractor::new(loaded, settings, &Device::flex()).unwrap()
}

/// Local features of some pictures, and of the first one once more.
fn locals(extractor: &Extractor) -> Vec<Vec<f32>> {
    let photos = doctor::images(extractor.config(), Kind::PhotoLike, 4, [160, 160], 11);
    let inputs: Vec<Vec<f32>> = photos.rows().map(<[f32]>::to_vec).collect();
    let mut all: Vec<Vec<f32>> =
        extractor.extract(&inputs).unwrap().into_iter().map(|features| features.local).collect();
    all.push(all[0].clone());
    all
}

#[test]
fn a_score_is_made_of_logits_and_inliers() {
    let weights = InlierWeights { logit: 0.5, inliers: 1.5, bias: -4.0 };
    let (plain, weighed) = (extractor(None), extractor(Some(weights)));
    let locals = locals(&plain);
    let rows: Vec<&[f32]> = locals.iter().map(Vec::as_slice).collect();
    let verifier = Verifier::new(&plain, rows[0]).unwrap();
    let (before, after) =
        (rerank(&plain, rows[0], &rows).unwrap(), rerank(&weighed, rows[0], &rows).unwrap());
    for ((before, after), rows) in before.iter().zip(&after).zip(&rows) {
        assert_eq!(before.logits, after.logits);
        assert_eq!(after.score, weights.score(after.logits, verifier.score(*rows)));
        assert_eq!(before.score, 1.0 / (1.0 + (before.logits[0] - before.logits[1]).exp()));
    }
    // In 8 bits, as an index stores them, likewise; a picture agrees with itself, whatever the network says of it.
    let row = plain.config().local_row();
    let packed: Vec<Vec<u8>> = locals.iter().map(|rows| quantize::quantize(rows, row)).collect();
    let packed: Vec<&[u8]> = packed.iter().map(Vec::as_slice).collect();
    let scores = RerankMethod::Model.scores(&weighed, rows[0], &packed).unwrap();
    for (score, pair) in scores.iter().zip(rerank(&weighed, rows[0], &packed).unwrap()) {
        assert_eq!(*score, pair.score);
    }
    assert_eq!(scores[0], scores[4]);
    assert!(rerank(&weighed, rows[0], &[] as &[&[f32]]).unwrap().is_empty());
}

#[test]
fn weights_that_mean_nothing_are_refused() {
    let loaded = LoadedModel::built_in().unwrap();
    for weights in [
        InlierWeights { logit: -1.0, inliers: 1.0, bias: 0.0 },
        InlierWeights { logit: 1.0, inliers: -1.0, bias: 0.0 },
    ] {
        let changed = loaded.with(|config, _| config.reranker.as_mut().unwrap().inliers = Some(weights));
        let error = changed.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("reranker.inliers"), "{error}");
    }
}

#[test]
fn a_cascade_scores_what_geometry_ranks_first_alike() {
    let weighed = extractor(Some(InlierWeights { logit: 1.0, inliers: 4.0, bias: -12.0 }));
    let locals = locals(&weighed);
    let rows: Vec<&[f32]> = locals.iter().map(Vec::as_slice).collect();
    let all = rerank(&weighed, rows[1], &rows).unwrap();
    let geometry = RerankMethod::Ransac.scores(&weighed, rows[1], &rows).unwrap();
    assert_eq!(best_first(&geometry)[0], 1, "a picture agrees most with itself");
    let (chosen, _) = cascade_split(&geometry, 2);
    let picked: Vec<&[f32]> = chosen.iter().map(|i| rows[*i]).collect();
    for (i, pair) in chosen.iter().zip(rerank(&weighed, rows[1], &picked).unwrap()) {
        assert_eq!(pair, all[*i]);
    }
}

#[test]
fn the_models_file_says_what_is_fitted() {
    let of = |geometry| {
        let loaded = LoadedModel::built_in().unwrap();
        let loaded = loaded.with(|config, _| config.local.as_mut().unwrap().geometry = geometry).unwrap();
        let settings = Settings { height: 160, width: 160, ..Settings::of(&loaded.config) };
        Extractor::new(loaded, settings, &Device::flex()).unwrap()
    };
    let extractors = [Geometry::Homography, Geometry::Similarity].map(of);
    let locals = locals(&extractors[0]);
    for rows in &locals {
        let [homography, similarity] = extractors
            .each_ref()
            .map(|extractor| Verifier::new(extractor, &locals[0]).unwrap().verify(rows.as_slice()));
        // The same matches; those of a homography count, those of a similarity by their errors.
        assert_eq!(homography.pairs.len(), similarity.pairs.len());
        assert_eq!(homography.score, homography.inliers as f32);
        assert!(similarity.score <= similarity.inliers as f32);
        if let Some([a, b, _, c, d, _, x, y, z]) = similarity.homography {
            assert_eq!((a, b, x, y, z), (d, -c, 0.0, 0.0, 1.0));
        }
    }
    let itself = Verifier::new(&extractors[1], &locals[0]).unwrap().verify(locals[0].as_slice());
    assert!((itself.score - itself.pairs.len() as f32).abs() < 0.01, "{}", itself.score);
}
