use super::plan::Shot;
use super::*;
use crate::augment::AugmentConfig;
use crate::config::{BatchKind, SourceConfig, SourceKind, Stage, TrainConfig, WarpConfig};
use crate::pool::{Excluded, Pool, Relation};
use crate::view_cache::ViewCache;

fn config(kind: BatchKind) -> TrainConfig {
    let mut config = TrainConfig::preset(Stage::Global);
    let town = SourceKind::Town { seed: 3, blocks: 2, spacing: 12.0, conditions: Vec::new() };
    config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
    config.places.positive_m = 14.0;
    config.places.heading_deg = 40.0;
    config.batch.kind = kind;
    config.batch.size = 6;
    config.batch.views = 3;
    config.batch.horizontal_flip = 0.5;
    config
}

#[test]
fn places_of_a_batch_are_apart_and_their_views_together() {
    let config = config(BatchKind::Places);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let planner = Planner::new(&pool, None, &config, Excluded::new());
    for step in 0..5 {
        let plan = planner.plan(step, 0).unwrap();
        assert_eq!(plan, planner.plan(step, 0).unwrap());
        assert_eq!((plan.shots.len(), plan.triplets.len()), (18, 0));
        for (a, x) in plan.shots.iter().enumerate() {
            for (b, y) in plan.shots.iter().enumerate() {
                match a / 3 == b / 3 {
                    true => assert_eq!(x.flipped, y.flipped),
                    false if x.flipped == y.flipped && a % 3 == 0 && b % 3 == 0 => {
                        assert_eq!(pool.relation(x.item, y.item), Relation::Negative);
                    }
                    false => {}
                }
            }
            let anchor = plan.shots[a / 3 * 3];
            assert!(pool.relation(anchor.item, x.item) == Relation::Positive);
        }
    }
    assert_ne!(planner.plan(0, 0).unwrap(), planner.plan(1, 0).unwrap());
    assert_ne!(planner.plan(0, 0).unwrap(), planner.plan(0, 1).unwrap());
}

#[test]
fn triplets_have_a_positive_and_negatives() {
    let config = config(BatchKind::Triplets);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let plan = Planner::new(&pool, None, &config, Excluded::new()).plan(7, 0).unwrap();
    assert_eq!((plan.shots.len(), plan.triplets.len()), (6 * 4, 6 * 2));
    for [q, p, n] in &plan.triplets {
        let item = |i: &usize| plan.shots[*i].item;
        assert_eq!(pool.relation(item(q), item(p)), Relation::Positive);
        assert_eq!(pool.relation(item(q), item(n)), Relation::Negative);
    }
}

#[test]
fn batches_load_alike_on_any_thread_and_stop_on_request() {
    let config = config(BatchKind::Places);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: [16, 16],
        seed: 5,
        cache: None,
        pairs: None,
    };
    let planner = Planner::new(&pool, None, &config, Excluded::new());
    let mut seen = Vec::new();
    let all = loader.run(&planner, [4, 9], 2, |step, batches| {
        assert_eq!(batches.len(), 2);
        let again = loader.load(&planner, step, 1).unwrap();
        assert_eq!(again.inputs, batches[1].inputs);
        assert_ne!(batches[0].inputs, batches[1].inputs);
        seen.push(step);
        Ok(step < 6)
    });
    all.unwrap();
    assert_eq!(seen, [4, 5, 6]);
}

/// Folders of photographs, two of which are broken: one is empty, one is cut short.
fn broken_folders(dir: &std::path::Path) -> (TrainConfig, [std::path::PathBuf; 2]) {
    use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
    for place in 0..4u8 {
        let folder = dir.join(format!("place-{place}"));
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..3u8 {
            let pixels =
                (0..64 * 48 * 3u32).map(|p| (p as u8).wrapping_mul(7 + i).wrapping_add(60 * place)).collect();
            let image = Rgb8 { width: 64, height: 48, pixels };
            let bytes = jpeg_with_tags(&image, 90, &PhotoTags::default()).unwrap();
            std::fs::write(folder.join(format!("{i}.jpg")), bytes).unwrap();
        }
    }
    let (empty, cut) = (dir.join("place-0/0.jpg"), dir.join("place-1/2.jpg"));
    std::fs::write(&empty, b"").unwrap();
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut config = config(BatchKind::Triplets);
    let kind = SourceKind::Folders { path: dir.into(), exclude: Vec::new(), aligned: false };
    config.data = vec![SourceConfig { kind, weight: 1.0 }];
    (config, [empty, cut])
}

#[test]
fn broken_photographs_are_replaced_alike_whenever_a_batch_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, [empty, cut]) = broken_folders(dir.path());
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    for kind in [BatchKind::Triplets, BatchKind::Places] {
        (config.batch.kind, config.batch.size, config.batch.views) = (kind, 3, 2);
        let pool = Pool::open(&config.data, config.places, 0).unwrap();
        // The header of the empty file is enough to leave it out; the other's damage shows in its pixels.
        assert_eq!(pool.len(), 11);
        assert_eq!(pool.left_out().iter().map(|l| &l.path).collect::<Vec<_>>(), [&empty]);
        let augment = &config.augment;
        let loader = Loader {
            pool: &pool,
            augment,
            preprocess: &preprocess,
            size: [16, 16],
            seed: 5,
            cache: None,
            pairs: None,
        };
        let planner = Planner::new(&pool, None, &config, Excluded::new());
        let mut named = 0;
        for step in 0..20 {
            let batch = loader.load(&planner, step, 0).unwrap();
            assert_eq!(batch.inputs.len(), batch.plan.shots.len());
            assert!(batch.inputs.iter().all(|input| input.len() == 3 * 16 * 16));
            assert!(batch.plan.shots.iter().all(|shot| pool.photo(shot.item).path != cut));
            for [q, p, n] in &batch.plan.triplets {
                let item = |i: &usize| batch.plan.shots[*i].item;
                assert_eq!(pool.relation(item(q), item(p)), Relation::Positive);
                assert_eq!(pool.relation(item(q), item(n)), Relation::Negative);
            }
            if kind == BatchKind::Places {
                let same = |pair: &[Shot]| pool.relation(pair[0].item, pair[1].item) == Relation::Positive;
                assert!(batch.plan.shots.chunks(2).all(same));
            }
            named += batch.left_out.len();
            assert!(batch.left_out.iter().all(|left_out| left_out.path == cut));
            // What is loaded depends on nothing that was loaded before.
            let again = loader.load(&Planner::new(&pool, None, &config, Excluded::new()), step, 0).unwrap();
            assert_eq!((again.inputs, again.left_out), (batch.inputs, batch.left_out));
        }
        assert!(named > 0, "no batch drew the broken photograph");
    }
}

#[test]
fn a_source_without_readable_photographs_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = broken_folders(dir.path());
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    std::fs::read_dir(dir.path()).unwrap().flatten().for_each(|e| std::fs::remove_dir_all(e.path()).unwrap());
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    let augment = &config.augment;
    let loader = Loader {
        pool: &pool,
        augment,
        preprocess: &preprocess,
        size: [16, 16],
        seed: 5,
        cache: None,
        pairs: None,
    };
    let error = loader.load(&Planner::new(&pool, None, &config, Excluded::new()), 0, 0).unwrap_err();
    assert!(matches!(error, crate::TrainError::Unreadable(_)), "{error}");
}

#[test]
fn pairs_show_the_same_photograph_or_an_aligned_one_under_a_warp() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, [_, cut]) = broken_folders(dir.path());
    config = TrainConfig { data: config.data, ..TrainConfig::preset(Stage::Local) };
    config.batch.size = 4;
    config.loss.distillation_weight = 1.0;
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    for aligned in [false, true] {
        let SourceKind::Folders { aligned: key, .. } = &mut config.data[0].kind else { panic!("folders") };
        *key = aligned;
        let pool = Pool::of(&config, 0).unwrap();
        let plain = AugmentConfig::default();
        let load = |config: &TrainConfig, step: u64| {
            let loader = Loader {
                pool: &pool,
                augment: &plain,
                preprocess: &preprocess,
                size: [32, 32],
                seed: 5,
                cache: None,
                pairs: Pairs::of(config, 8),
            };
            loader.load(&Planner::new(&pool, None, config, Excluded::new()), step, 0).unwrap()
        };
        let mut named = 0;
        for step in 0..20 {
            let batch = load(&config, step);
            let pairs = batch.pairs.as_ref().unwrap();
            assert_eq!((batch.inputs.len(), pairs.matches.len(), pairs.teacher.len()), (8, 4, 8));
            for (i, shots) in batch.plan.shots.chunks(2).enumerate() {
                assert_eq!(shots[0].item != shots[1].item, aligned);
                assert!(shots.iter().all(|shot| pool.photo(shot.item).path != cut));
                assert_eq!(pool.relation(shots[0].item, shots[1].item), Relation::Positive);
                assert_eq!(pairs.matches[i].len(), 16);
                // Without a change of light the teacher sees the same, unless it sees a photograph of its own.
                let same = pairs.teacher[2 * i] == batch.inputs[2 * i];
                assert!(same || aligned);
            }
            named += batch.left_out.len();
            let again = load(&config, step);
            assert_eq!((again.inputs, again.pairs), (batch.inputs.clone(), batch.pairs.clone()));
            // A warp of nothing is the same picture, patch for patch.
            let mut still = config.clone();
            still.warp =
                WarpConfig { zoom: [1.0, 1.0], shift: 0.0, rotation_deg: 0.0, aspect: 0.0, corners: 0.0 };
            let still = load(&still, step);
            assert_eq!(still.inputs[0] == still.inputs[1], !aligned);
            let all: Vec<Option<u32>> = (0..16).map(Some).collect();
            assert!(still.pairs.unwrap().matches.iter().all(|matches| *matches == all));
        }
        assert!(named > 0, "no batch drew the broken photograph");
    }
}

#[test]
fn sources_without_positives_suit_pairs_and_queries_of_the_same_photograph() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, _) = broken_folders(dir.path());
    for place in 0..4 {
        (1..3).for_each(|i| drop(std::fs::remove_file(dir.path().join(format!("place-{place}/{i}.jpg")))));
    }
    assert!(Pool::of(&config, 0).is_err());
    config.batch.same_photo = 1.0;
    let pool = Pool::of(&config, 0).unwrap();
    let plan = Planner::new(&pool, None, &config, Excluded::new()).plan(0, 0).unwrap();
    for [q, p, n] in &plan.triplets {
        assert_eq!(plan.shots[*q].item, plan.shots[*p].item);
        assert_ne!(plan.shots[*q].item, plan.shots[*n].item);
    }
    config = TrainConfig { data: config.data, ..TrainConfig::preset(Stage::Local) };
    let pool = Pool::of(&config, 0).unwrap();
    let plan = Planner::new(&pool, None, &config, Excluded::new()).plan(0, 0).unwrap();
    assert!(plan.shots.chunks(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn positives_of_the_same_photograph_are_other_views() {
    let mut config = config(BatchKind::Triplets);
    config.batch.same_photo = 0.5;
    let pool = Pool::of(&config, 0).unwrap();
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: [16, 16],
        seed: 5,
        cache: None,
        pairs: None,
    };
    let planner = Planner::new(&pool, None, &config, Excluded::new());
    for views in [2, 3] {
        // A view's global descriptor is its number.
        let mut cache = ViewCache::new(views, 0, false);
        (0..pool.len() * views).for_each(|view| cache.push([vec![0.0; 3], vec![0.0], vec![view as f32]]));
        let loader = Loader { cache: Some(&cache), ..loader };
        let (mut own, mut queries) = (0, 0);
        for step in 0..20 {
            let batch = loader.load(&planner, step, 0).unwrap();
            let device = r2former_model::Device::flex();
            let model = r2former_model::R2Former::random(
                &r2former_model::ModelConfig { local: None, reranker: None, ..tiny() },
                1,
                &device,
            );
            let global = batch.cached.unwrap().features(&model.unwrap(), &device).global;
            let drawn: Vec<f32> = global.into_data().iter::<f32>().collect();
            for [q, p, _] in batch.plan.triplets.iter().step_by(2) {
                let (query, positive) = (batch.plan.shots[*q].item, batch.plan.shots[*p].item);
                queries += 1;
                own += usize::from(query == positive);
                assert_ne!(drawn[*q], drawn[*p]);
                assert_eq!((drawn[*q] as usize / views, drawn[*p] as usize / views), (query, positive));
            }
        }
        assert!((queries / 4..queries * 3 / 4).contains(&own), "{own} of {queries}");
    }
}

fn tiny() -> r2former_model::ModelConfig {
    let mut config = r2former_model::ModelConfig::preset("vit-tiny").unwrap();
    if let r2former_model::BackboneConfig::Vit(vit) = &mut config.backbone {
        (vit.dim, vit.depth, vit.heads) = (24, 1, 2);
    }
    config
}
