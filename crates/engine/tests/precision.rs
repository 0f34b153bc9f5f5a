//! Extraction in 8-bit integers beside 32 bits: the built-in model on photographs of the rendered town.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use r2former_engine::{
    Extractor, FusedBackbone, LoadedModel, ModelCheck, NoProgress, PlaceIndex, PrecisionChoice, Settings,
    check_model, score_pair,
};
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::{Device, Precision, PrecisionCheck, R2Former, RerankedCheck, RerankerCheck};
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use std::path::{Path, PathBuf};

/// Photographs of places of a town: of each one by day, one at dusk on another day.
fn photographs(places: usize) -> Vec<[r2former_data::Rgb8; 2]> {
    let town = Town::new(&TownConfig { seed: 11, blocks: (3, 3), ..TownConfig::default() }).unwrap();
    let spots = town.street_positions(25.0);
    (0..places)
        .map(|i| {
            let at = &spots[i * spots.len() / places];
            let camera = Camera { x: at.x, y: at.y, heading: at.heading, ..Camera::default() };
            [(Condition::Day, 0), (Condition::Dusk, 1)]
                .map(|(condition, visit)| town.render(&View { camera, condition, visit }, 320, 320).unwrap())
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
}

fn descriptors(
    model: &R2Former,
    level: Level,
    products: MatmulPrecision,
    inputs: &[Vec<f32>],
) -> Vec<Vec<f32>> {
    let input = &model.config().input;
    let size = [input.height, input.width];
    let backbone = FusedBackbone::new(model, level, products, size).unwrap();
    let int8 = products == MatmulPrecision::Int8;
    assert_eq!(backbone.products(), if int8 { Precision::Int8 } else { Precision::F32 }, "{level}");
    inputs
        .iter()
        .map(|input| {
            let features = model.features(backbone.tokens(input).unwrap(), size).unwrap();
            features.global.try_into_vec_as::<f32>().unwrap()
        })
        .collect()
}

#[test]
fn the_built_in_model_ranks_alike_at_every_level() {
    let loaded = LoadedModel::built_in().unwrap();
    let settings = Settings::of(&loaded.config);
    let extractor = Extractor::new(loaded.clone(), settings, &Device::flex()).unwrap();
    let model = loaded.into_checkpoint().model(&Device::flex()).unwrap();
    let photographs = photographs(16);
    let inputs = |side: usize| -> Vec<Vec<f32>> {
        photographs.iter().map(|pair| extractor.prepare(&pair[side]).unwrap().values).collect()
    };
    let (references, queries) = (inputs(0), inputs(1));
    for level in Level::available().filter(|level| level.multiplies_int8()) {
        let of = |products, inputs: &[Vec<f32>]| descriptors(&model, level, products, inputs);
        let exact = [of(MatmulPrecision::F32, &references), of(MatmulPrecision::F32, &queries)];
        let rounded = [of(MatmulPrecision::Int8, &references), of(MatmulPrecision::Int8, &queries)];
        for (a, b) in exact.iter().flatten().zip(rounded.iter().flatten()) {
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine >= 0.998, "{level}: {cosine}");
            assert_ne!(a, b, "{level}: 8 bits changed nothing, so they were not used");
        }
        // The first answer, and the order of all references that differ in similarity by more than 0.01.
        for (exact_query, query) in exact[1].iter().zip(&rounded[1]) {
            let exact: Vec<f64> = exact[0].iter().map(|reference| dot(exact_query, reference)).collect();
            let mut ranking: Vec<usize> = (0..exact.len()).collect();
            ranking.sort_by(|i, j| dot(query, &rounded[0][*j]).total_cmp(&dot(query, &rounded[0][*i])));
            for (before, after) in (0..ranking.len()).flat_map(|j| (0..j).map(move |i| (i, j))) {
                let lost = exact[ranking[after]] - exact[ranking[before]];
                assert!(lost < 0.01, "{level}: ranked before although less similar by {lost}");
            }
            let best = exact.iter().copied().fold(f64::MIN, f64::max);
            assert!(exact[ranking[0]] >= best - PrecisionCheck::TIE, "{level}: another first answer");
        }
    }
}

/// Files of photographs of 11 places, and one that is none.
fn files(home: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (i, pair) in photographs(11).iter().enumerate() {
        for (side, picture) in pair.iter().enumerate() {
            let path = home.join(format!("{i}-{side}.jpg"));
            let bytes = r2former_data::image::jpeg_with_tags(picture, 92, &Default::default()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            files.push(path);
        }
    }
    let broken = home.join("broken.jpg");
    std::fs::write(&broken, b"no photograph").unwrap();
    files.push(broken);
    files
}

/// What a reranker in 16 bits has been measured to do decides whether it is used.
fn the_reranker_scores_in_16_bits_once_it_was_measured(
    loaded: &LoadedModel,
    check: RerankerCheck,
    files: &[&Path],
) {
    let settings = Settings::of(&loaded.config);
    let scores = |check: Option<RerankerCheck>| {
        let model = loaded.with(|config, _| config.reranker_check = check).unwrap();
        let extractor = Extractor::new(model, settings, &Device::flex()).unwrap();
        let [query, reference] = [0, 1].map(|i| extractor.extract_file(files[i]).unwrap().local);
        score_pair(&extractor, &query, &reference).unwrap().logits
    };
    let [exact, measured] = [scores(None), scores(Some(check))];
    assert_eq!(
        exact,
        scores(Some(RerankerCheck { reordered: 1, ..check })),
        "not used where the order changes"
    );
    assert_ne!(exact, measured);
    assert!(exact.iter().zip(&measured).all(|(a, b)| (a - b).abs() < 0.02), "{exact:?}, {measured:?}");
}

#[test]
fn a_check_measures_what_an_index_then_allows() {
    let built_in = LoadedModel::built_in().unwrap();
    let loaded = built_in.with(|config, _| config.checks.clear()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path());
    let files: Vec<_> = files.iter().map(|file| file.as_path()).collect();
    let mut left_out = Vec::new();
    let found = check_model(&loaded, Precision::Int8, &files, &NoProgress, |i, _| left_out.push(i));
    let level = Level::current().unwrap();
    if !level.multiplies_int8() {
        assert!(found.unwrap_err().to_string().contains("nothing to compare"));
        return;
    }
    let ModelCheck { precision: check, reranker } = found.unwrap();
    assert_eq!(left_out, [22]);
    assert_eq!(check.images, 22);
    assert!(
        check.least_cosine < 1.0 && check.least_cosine > 0.998 && check.mean_cosine > 0.9985,
        "{check:?}"
    );
    let Some(RerankedCheck { queries: 22, ransac, model: Some(model) }) = check.reranked else {
        panic!("{check:?}");
    };
    assert!(ransac.min(model) >= 0.9, "{check:?}");
    assert_eq!(reranker.is_some(), level.multiplies_int16());
    if let Some(check) = reranker {
        assert_eq!((check.images, check.pairs), (22, 22 * 20));
        assert!(check.keeps_order() && check.largest_difference > 0.0, "{check:?}");
        the_reranker_scores_in_16_bits_once_it_was_measured(&loaded, check, &files);
    }
    let too_few = check_model(&loaded, Precision::Int8, &files[21..], &NoProgress, |_, _| {});
    assert!(too_few.unwrap_err().to_string().contains("1 photographs"), "a photograph has no pairs");
    // An untrained reranker's answers are not compared.
    let untrained = loaded.with(|config, _| config.trained.reranker = false).unwrap();
    let found = check_model(&untrained, Precision::Int8, &files[..4], &NoProgress, |_, _| {}).unwrap();
    assert_eq!(found.precision.reranked.map(|own| (own.queries, own.model)), Some((4, None)));

    // A model that says so is extracted in 8 bits, into an index of 32 bits, too.
    let exact = Settings::of(&loaded.config);
    let own = PlaceIndex::create(home.path().join("unmeasured"), &loaded, exact).unwrap();
    let cpu = Device::flex();
    let asked = Some(PrecisionChoice::Only(Precision::Int8));
    assert!(own.settings.mixed(asked, &loaded.config, &cpu).is_err());
    let int8 = Settings { precision: Precision::Int8, ..exact };
    let refused = PlaceIndex::open_or_create(own.address(), &loaded, int8).unwrap_err().to_string();
    assert!(refused.contains("in f32") && refused.contains("in int8"), "{refused}");

    // What these few rendered photographs say of answers is not the point here.
    let reranked = Some(RerankedCheck { queries: 22, ransac: 1.0, model: Some(1.0) });
    let check = PrecisionCheck { reranked, ..check };
    let measured = loaded.with(|config, _| config.checks = vec![check]).unwrap();
    assert!(measured.config.keeps_ranking(Precision::Int8));
    assert_eq!(exact.with_precision(PrecisionChoice::Auto, &measured.config, &cpu), int8);
    let index = PlaceIndex::create(home.path().join("measured"), &measured, exact).unwrap();
    assert_eq!(index.settings.mixed(asked, &measured.config, &cpu).unwrap(), int8);
    // The index stays what it is, however it is opened.
    assert_eq!(PlaceIndex::open_or_create(index.address(), &measured, int8).unwrap().settings, exact);
}
