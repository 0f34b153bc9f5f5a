//! Local features of models that were published without any: weights of patches by the code of SALAD, MegaLoc and BoQ,
//! facets by DINOv2's own.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::{Device, Tensor};
use r2former_model::import::{ImportOptions, Imported, LocalDim, LocalOptions, LocalPreset, import};
use r2former_model::{
    BackboneConfig, Facet, GlobalConfig, ImageSize, ModelConfig, ModelError, Pooling, R2Former, ResNetConfig,
    Selection,
};

fn outputs() -> Outputs {
    Outputs::open(&data("local.outputs.safetensors"))
}

fn imported(case: &str, size: [usize; 2], local: LocalOptions) -> Result<Imported, ModelError> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("published.safetensors");
    generate::write(&path, &outputs().shapes(case), str::to_string);
    import(&path, &ImportOptions { image_size: Some(ImageSize::Fixed(size)), local, ..Default::default() })
}

fn built(imported: &Imported) -> R2Former {
    let model = R2Former::from_tensors(&imported.config, imported.tensors.clone(), &Device::flex());
    model.expect("builds")
}

/// Rows of an image: patch, attention, feature.
fn rows(model: &R2Former, image: Tensor<4>) -> Vec<(usize, f32, Vec<f32>)> {
    let [_, _, height, width] = image.dims();
    let (row, stride) = (model.config().local_row(), model.config().stride());
    let local = host(model.extract(image).expect("fits").local.expect("has local features"));
    let cell = |v: f32| (v * height.max(width) as f32 / stride as f32 - 0.5).round() as usize;
    let patch = |row: &[f32]| cell(row[1]) * (width / stride) + cell(row[0]);
    local.chunks_exact(row).map(|row| (patch(row), row[2], row[3..].to_vec())).collect()
}

#[test]
fn aggregations_rank_patches_by_their_own_weights() {
    for (case, size) in [("megaloc", [98, 98]), ("salad", [126, 84]), ("boq", [98, 98]), ("boq", [126, 84])] {
        let imported = imported(case, size, LocalOptions::default()).expect("imports");
        let local = imported.config.local.as_ref().expect("local features");
        assert_eq!((local.select, local.dim, local.count), (Selection::Aggregation, 128, 500), "{case}");
        assert_eq!(local.layer, Some(1), "{case}: half of two blocks");
        assert!(imported.config.reranker.is_none() && !imported.config.trained.local);
        let note = imported.notes.last().expect("a note");
        assert!(note.contains("--rerank ransac") && note.contains("bytes per image"), "{note}");
        let model = built(&imported);
        let weights = outputs().values(&format!("{case}.{}x{}", size[0], size[1]));
        let most = weights.iter().copied().fold(0.0, f32::max);
        let found = rows(&model, generate::image(size));
        // Fewer patches than features.
        assert_eq!(found.len(), weights.len(), "{case}");
        assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{case}");
        let own: Vec<f32> = found.iter().map(|(_, attention, _)| *attention).collect();
        let theirs: Vec<f32> = found.iter().map(|(patch, ..)| weights[*patch] / most).collect();
        close(&own, &theirs, 1e-5, case);
        // What is written is what was read, the random projection included.
        assert!(model.to_tensors().expect("reads") == imported.tensors, "{case}");
    }
}

#[test]
fn facets_as_the_blocks_compute_them() {
    let size = [98, 126];
    let shape = [1, 3, size[0], size[1]];
    let image = || {
        let values = generate::uniform("view 0", shape.iter().product(), -2.0, 2.0);
        Tensor::<4>::from_data(burn::tensor::TensorData::new(values, shape), &Device::flex())
    };
    for (facet, layer) in [
        (Facet::Tokens, None),
        (Facet::Query, None),
        (Facet::Key, Some(2)),
        (Facet::Value, None),
        (Facet::Value, Some(1)),
    ] {
        let name = format!("reg.{facet}.{}", layer.unwrap_or(2));
        let dim = Some(LocalDim::All);
        let options =
            LocalOptions { facet: Some(facet), layer, dim, count: Some(40), ..LocalOptions::default() };
        let model = built(&imported("reg", size, options.clone()).expect("imports"));
        let expected = outputs().values(&name);
        let found = rows(&model, image());
        assert_eq!(found.len(), 40);
        for (patch, _, feature) in &found {
            close(feature, &expected[patch * 48..][..48], 1e-5, &name);
        }

        // By length: the longest first.
        let by_norm = LocalOptions { select: Some(Selection::Norm), ..options };
        let found = rows(&built(&imported("reg", size, by_norm).expect("imports")), image());
        let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let lengths = expected.chunks_exact(48).map(length);
        let most = lengths.fold(0.0, f32::max);
        for (patch, attention, feature) in &found {
            close(feature, &expected[patch * 48..][..48], 1e-5, &name);
            close(&[*attention], &[length(feature) / most], 1e-5, &name);
        }
    }

    let effovpr = LocalOptions { preset: Some(LocalPreset::Effovpr), ..Default::default() };
    let whole = LocalOptions { min_attention: Some(0.0), count: Some(63), ..effovpr.clone() };
    let model = built(&imported("reg", size, whole).expect("imports"));
    let (scores, values) = (outputs().values("reg.cls_key"), outputs().values("reg.value.2"));
    let most = scores.iter().copied().fold(0.0, f32::max);
    for (patch, attention, feature) in rows(&model, image()) {
        close(&[attention], &[scores[patch] / most], 1e-5, "cls_key");
        close(&feature, &values[patch * 48..][..48], 1e-5, "values");
    }
    // At most 20 patches have more than 0.05 of a sum of one; rows of the others are zero.
    let preset = imported("reg", size, effovpr).expect("imports");
    assert_eq!(preset.config.local.as_ref().map(|local| local.count), Some(20));
    for (patch, attention, feature) in rows(&built(&preset), image()) {
        let kept = scores[patch] > 0.05;
        assert_eq!((attention > 0.0, feature.iter().any(|v| *v != 0.0)), (kept, kept));
    }
}

/// Cells of `layer3` by their length: any size in steps of 16, and fewer cells than features.
#[test]
fn convolutional_networks_by_the_length_of_their_cells() {
    let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
    config.backbone = BackboneConfig::ResNet(ResNetConfig::new(18, 4));
    config.global = GlobalConfig::Linear { dim: 8, pooling: Pooling::Cls };
    (config.local, config.reranker) = (None, None);
    [config.input.height, config.input.width] = [80, 48];
    let mut tensors =
        R2Former::random(&config, 1, &Device::flex()).expect("builds").to_tensors().expect("reads");
    let power = tensors["gem.p"].clone();
    LocalOptions { preset: Some(LocalPreset::Patches), ..Default::default() }
        .apply(&mut config, &mut tensors)
        .expect("has cells");
    assert_eq!(config.local.as_ref().map(|local| local.select), Some(Selection::Norm));
    assert_eq!(tensors["gem.p"], power);
    let model = R2Former::from_tensors(&config, tensors, &Device::flex()).expect("builds");
    let found = rows(&model, generate::image([80, 48]));
    assert_eq!(found.len(), 15);
    assert!(found[0].1 == 1.0 && found[14].1 > 0.0);
    let mut patches: Vec<usize> = found.iter().map(|(patch, ..)| *patch).collect();
    patches.sort_unstable();
    assert!(patches.into_iter().eq(0..15));

    let refused = |options: LocalOptions| {
        let (mut config, mut tensors) = (config.clone(), Default::default());
        options.apply(&mut config, &mut tensors).expect_err("needs a transformer").to_string()
    };
    for options in [
        LocalOptions { facet: Some(Facet::Value), ..Default::default() },
        LocalOptions { layer: Some(3), ..Default::default() },
        LocalOptions { select: Some(Selection::ClsKey), ..Default::default() },
        LocalOptions { preset: Some(LocalPreset::Effovpr), ..Default::default() },
    ] {
        let error = refused(options);
        assert!(error.contains("vision transformer"), "{error}");
    }
    let error = refused(LocalOptions { select: Some(Selection::Aggregation), ..Default::default() });
    assert!(error.contains("SALAD or BoQ"), "{error}");
}

#[test]
fn copies_change_untrained_features_only() {
    let Imported { mut config, mut tensors, .. } =
        imported("salad", [98, 98], LocalOptions { preset: Some(LocalPreset::None), ..Default::default() })
            .expect("imports");
    assert!(config.local.is_none() && !tensors.keys().any(|name| name.starts_with("local_head")));
    let apply = |options: LocalOptions, config: &mut ModelConfig, tensors: &mut _| {
        options.apply(config, tensors).map(|()| R2Former::check(config, tensors).expect("fits"))
    };
    let width = Some(LocalDim::Projected(16));
    apply(LocalOptions { dim: width, ..Default::default() }, &mut config, &mut tensors).expect("gets some");
    assert_eq!(config.local.as_ref().map(|local| local.select), Some(Selection::Aggregation));
    let head = tensors["local_head.weight"].clone();
    assert_eq!(head.shape, [16, 192]);
    // What stays as it is keeps its projection.
    apply(LocalOptions { count: Some(9), ..Default::default() }, &mut config, &mut tensors).expect("counts");
    assert_eq!((tensors["local_head.weight"] == head, config.local_count(98, 98)), (true, 9));
    let mut trained = (config.clone(), tensors.clone());
    apply(LocalOptions { dim: Some(LocalDim::All), ..Default::default() }, &mut config, &mut tensors)
        .expect("drops the projection");
    assert_eq!((config.local_row(), tensors.contains_key("local_head.weight")), (195, false));

    trained.0.trained.local = true;
    let count = LocalOptions { count: Some(5), ..Default::default() };
    apply(count, &mut trained.0, &mut trained.1).expect("a count is no training");
    for options in [
        LocalOptions { dim: width, ..Default::default() },
        LocalOptions { layer: Some(1), ..Default::default() },
        LocalOptions { preset: Some(LocalPreset::Patches), ..Default::default() },
    ] {
        let error = apply(options, &mut trained.0, &mut trained.1).expect_err("trained").to_string();
        assert!(error.contains("was trained"), "{error}");
    }
}
