//! Photographs in their own shape: inputs as published code makes them, descriptors of any size in one call, and what is
//! refused.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use burn::tensor::{Tensor, TensorData};
use r2former_data::Rgb8;
use r2former_engine::{EngineError, Extractor, Framing, LoadedModel, PlaceIndex, Settings, Verifier};
use r2former_model::{
    BackboneConfig, Device, GlobalConfig, ImageSize, LocalConfig, MixVprConfig, ModelConfig, Placement,
    Pooling, R2Former, ResNetConfig, ResizeMode, SizeRule,
};
use std::path::Path;

#[derive(serde::Deserialize)]
struct Case {
    rule: ImageSize,
    step: usize,
    resize: ResizeMode,
    photograph: [usize; 2],
    input: [usize; 2],
    values: Vec<f32>,
}

/// The picture of `size_rules.py`.
fn noise([height, width]: [usize; 2]) -> Rgb8 {
    let mut state = 1u32;
    let pixels = (0..height * width * 3).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    Rgb8 { width, height, pixels: pixels.collect() }
}

/// A smooth picture, part of one that is larger than any here; features of two parts match where they overlap.
fn part([height, width]: [usize; 2], [top, left]: [usize; 2], scale: f32) -> Rgb8 {
    let value = |x: f32, y: f32, c: f32| {
        let waves = (x * 0.061 + y * 0.017 + c).sin()
            + (y * 0.083 - x * 0.029 + 2.0 * c).sin()
            + (x * y * 0.00021).sin();
        (127.0 + 40.0 * waves) as u8
    };
    let pixels = (0..height).flat_map(|y| {
        (0..width).flat_map(move |x| {
            let (x, y) = ((x + left) as f32 / scale, (y + top) as f32 / scale);
            [value(x, y, 0.0), value(x, y, 1.0), value(x, y, 2.0)]
        })
    });
    Rgb8 { width, height, pixels: pixels.collect() }
}

/// A network that takes multiples of 14, or any size.
fn config(step: usize) -> ModelConfig {
    let mut config = ModelConfig::preset("dinov2-s").unwrap();
    (config.local, config.reranker) = (None, None);
    config.global = GlobalConfig::Pooled { pooling: Pooling::Mean };
    match &mut config.backbone {
        BackboneConfig::Vit(vit) if step == 14 => (vit.dim, vit.depth, vit.heads) = (48, 2, 3),
        backbone => *backbone = BackboneConfig::ResNet(ResNetConfig::new(18, 3)),
    }
    config.set_image_size(ImageSize::Fixed([70, 84])).unwrap();
    config
}

fn extractor(config: &ModelConfig, size: &str) -> Result<Extractor, EngineError> {
    let loaded = LoadedModel::random(config, 1).unwrap();
    let settings = Settings::of(config).sized(size.parse().unwrap(), config);
    Extractor::new(loaded, settings, &Device::flex())
}

#[test]
fn inputs_are_those_of_published_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/size_rules.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 48);
    for same in cases.chunk_by(|a, b| (a.rule, a.step) == (b.rule, b.step)) {
        let mut config = config(same[0].step);
        config.input.resize = same[0].resize;
        let extractor = extractor(&config, &same[0].rule.to_string()).unwrap();
        for case in same {
            let view = extractor.prepare(&noise(case.photograph)).unwrap();
            let what = format!("{} of {:?}", case.rule, case.photograph);
            assert_eq!(view.size, case.input, "{what}");
            let last = view.values.len() - 1;
            for (i, expected) in case.values.iter().enumerate() {
                let found = view.values[i * last / (case.values.len() - 1)];
                assert!((found - expected).abs() <= 2e-5, "{what}, value {i}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn photographs_of_any_size_in_one_call() {
    for step in [14, 1] {
        let extractor = extractor(&config(step), "native").unwrap();
        assert!(extractor.fused_backbone().is_some());
        let model = R2Former::random(extractor.config(), 1, &Device::flex()).unwrap();
        // More sizes than are kept, in an order that evicts and comes back, and one above what is computed at once.
        let sizes = [[98, 126], [126, 98], [98, 126], [33, 250], [70, 70], [42, 56], [98, 126], [1500, 2000]];
        let views: Vec<_> = sizes.iter().map(|size| extractor.prepare(&noise(*size)).unwrap()).collect();
        let found = extractor.extract_views(&views).unwrap();
        assert_eq!(found.len(), sizes.len());
        assert_eq!((&found[0], &found[0]), (&found[2], &found[6]));
        for (view, features) in views.iter().zip(&found).take(6) {
            let [height, width] = view.size;
            let data = TensorData::new(view.values.clone(), [1, 3, height, width]);
            let images = Tensor::<4>::from_data(data, &Device::flex());
            let expected = model.extract(images).unwrap().global.try_into_vec_as::<f32>().unwrap();
            assert!(
                features.global.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5),
                "{:?}",
                view.size
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |config: &ModelConfig, size: &str, parts: &[&str]| {
        let error = extractor(config, size).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    };
    let mut fixed = config(1);
    fixed.global =
        GlobalConfig::MixVpr(MixVprConfig { grid: [6, 8], depth: 1, hidden: 16, channels: 8, rows: 2 });
    fixed.input.height = 96;
    fixed.input.width = 128;
    refused(&fixed, "native", &["image size native", "96x128 only"]);
    // A transformer is given fewer pixels than a convolutional network.
    refused(&config(14), "longest:2000", &["longest:2000", "1500x2000", "1048576"]);
    assert!(extractor(&config(1), "longest:2000").is_ok());

    let extractor = extractor(&config(1), "native").unwrap();
    let error = extractor.prepare(&noise([20, 90])).unwrap_err();
    assert!(matches!(error, EngineError::Data(_)), "an error of this image, not of the run: {error}");
    let error = error.to_string();
    assert!(["90 x 20 pixels", "native", "at least 32"].iter().all(|part| error.contains(part)), "{error}");
    let error = extractor.frame(&noise([64, 90]), Framing::FiveCrops).unwrap_err().to_string();
    assert!(error.contains("native") && error.contains("hard_resize"), "{error}");
    // A panorama of 100 megapixels is shrunk to what the network is given.
    let place = extractor.place([5000, 20_000]);
    assert_eq!(place, Placement::whole(place.resized));
    assert!(place.size[0] * place.size[1] <= SizeRule::CONVOLUTIONAL_PIXELS + 4096, "{place:?}");
    assert!((place.size[1] as f64 / place.size[0] as f64 - 4.0).abs() < 0.01);
}

/// An index remembers its rule, is opened by it again, and refuses another.
#[test]
fn an_index_is_of_one_rule() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("places");
    let config = config(1);
    let model = LoadedModel::random(&config, 1).unwrap();
    let settings = |size: &str| Settings::of(&config).sized(size.parse().unwrap(), &config);
    let made = PlaceIndex::open_or_create(&dir, &model, settings("longest:500")).unwrap();
    assert_eq!(made.settings.image_size().to_string(), "longest:500");
    let opened = PlaceIndex::open_or_create(&dir, &model, settings("longest:500")).unwrap();
    assert_eq!(opened.settings, made.settings);
    for other in ["longest:504", "longest:500:crop", "native", "375x500"] {
        let error = PlaceIndex::open_or_create(&dir, &model, settings(other)).unwrap_err().to_string();
        assert!(
            error.contains("longest:500 in f32") && error.contains(&format!("not {other} in f32")),
            "{error}"
        );
    }
    // As settings were written before there were rules.
    let old: Settings = serde_json::from_str(r#"{"height":480,"width":640,"precision":"f32"}"#).unwrap();
    assert_eq!(old.image_size(), ImageSize::Fixed([480, 640]));
    assert!(!serde_json::to_string(&old).unwrap().contains("rule"));
}

/// A reference that shows the query's middle, enlarged and of another shape: inliers are counted by shares of the longer sides, and
/// positions lead back to the pixels of each photograph.
#[test]
fn features_of_photographs_of_different_sizes_match() {
    let mut config = config(14);
    config.local = Some(LocalConfig { count: 400, dim: 48, projected: false, ..LocalConfig::default() });
    // Patches as they are embedded: a network of random weights moves little of what it sees.
    let extractor = extractor(&config, "native").unwrap();
    let (query, reference) = (part([280, 420], [0, 0], 1.0), part([420, 280], [28, 98], 1.0));
    let [q, r] = [&query, &reference].map(|image| extractor.extract_image(image).unwrap());
    let found = Verifier::new(&extractor, &q.local).unwrap().verify(r.local.as_slice());
    assert!(found.inliers >= 30, "{} of {}", found.inliers, found.pairs.len());
    // The same point is 98 columns and 28 rows further in the query.
    let [in_query, in_reference] =
        [[280, 420], [420, 280]].map(|size: [usize; 2]| (extractor.place(size), size));
    let pixel = |(place, size): (Placement, [usize; 2]), at: [f32; 2]| {
        let [x, y] = place.share(at);
        [x * size[1] as f64, y * size[0] as f64]
    };
    let close = found.pairs.iter().filter(|pair| pair.inlier).filter(|pair| {
        let (a, b) = (pixel(in_query, pair.query), pixel(in_reference, pair.reference));
        (a[0] - b[0] - 98.0).abs() <= 20.0 && (a[1] - b[1] - 28.0).abs() <= 20.0
    });
    let close = close.count();
    assert!(10 * close >= 9 * found.inliers, "{close} of {} inliers", found.inliers);
    // And the homography maps it so, in pixels of which the longer side of either has as many.
    let side = extractor.settings().height.max(extractor.settings().width) as f64;
    let h = found.homography.unwrap();
    let [x, y] = [210.0 * side / 420.0, 140.0 * side / 420.0];
    let w = h[6] * x + h[7] * y + h[8];
    let at = [(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w].map(|v| v * 420.0 / side);
    assert!((at[0] - 112.0).abs() < 14.0 && (at[1] - 112.0).abs() < 14.0, "{at:?}");
}
