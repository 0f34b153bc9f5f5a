use super::plan::Shot;
use super::*;
use crate::config::{BatchKind, SourceConfig, SourceKind, Stage, TrainConfig};
use crate::pool::{Excluded, Pool, Relation};

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
