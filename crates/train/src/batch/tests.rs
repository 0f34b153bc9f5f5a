use super::*;
use crate::config::{BatchKind, SourceConfig, SourceKind, Stage, TrainConfig};
use crate::pool::{Pool, Relation};

fn config(kind: BatchKind) -> TrainConfig {
    let mut config = TrainConfig::preset(Stage::Global);
    let town = SourceKind::Town { seed: 3, blocks: 2, spacing: 12.0, conditions: Vec::new() };
    config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
    config.places.positive_m = 14.0;
    config.places.heading_deg = 40.0;
    config.batch.kind = kind;
    config.batch.size = 6;
    config.batch.views = 3;
    config.batch.mirror = 0.5;
    config
}

#[test]
fn places_of_a_batch_are_apart_and_their_views_together() {
    let config = config(BatchKind::Places);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let planner = Planner::new(&pool, None, &config);
    for step in 0..5 {
        let plan = planner.plan(step, 0);
        assert_eq!(plan, planner.plan(step, 0));
        assert_eq!((plan.shots.len(), plan.triplets.len()), (18, 0));
        for (a, x) in plan.shots.iter().enumerate() {
            for (b, y) in plan.shots.iter().enumerate() {
                match a / 3 == b / 3 {
                    true => assert_eq!(x.mirror, y.mirror),
                    false if x.mirror == y.mirror && a % 3 == 0 && b % 3 == 0 => {
                        assert_eq!(pool.relation(x.item, y.item), Relation::Negative);
                    }
                    false => {}
                }
            }
            let anchor = plan.shots[a / 3 * 3];
            assert!(pool.relation(anchor.item, x.item) == Relation::Positive);
        }
    }
    assert_ne!(planner.plan(0, 0), planner.plan(1, 0));
    assert_ne!(planner.plan(0, 0), planner.plan(0, 1));
}

#[test]
fn triplets_hold_what_they_promise() {
    let config = config(BatchKind::Triplets);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let plan = Planner::new(&pool, None, &config).plan(7, 0);
    assert_eq!((plan.shots.len(), plan.triplets.len()), (6 * 4, 6 * 2));
    for [q, p, n] in &plan.triplets {
        let item = |i: &usize| plan.shots[*i].item;
        assert_eq!(pool.relation(item(q), item(p)), Relation::Positive);
        assert_eq!(pool.relation(item(q), item(n)), Relation::Negative);
    }
}

#[test]
fn batches_load_alike_on_any_thread_and_stop_when_told() {
    let config = config(BatchKind::Places);
    let pool = Pool::open(&config.data, config.places, 0).unwrap();
    let preprocess = r2former_data::image::Preprocess::half(r2former_data::image::ResizeMode::Antialias);
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: [16, 16],
        seed: 5,
        bank: None,
    };
    let planner = Planner::new(&pool, None, &config);
    let mut seen = Vec::new();
    let all = loader.run(&planner, [4, 9], 2, |step, batches| {
        assert_eq!(batches.len(), 2);
        let again = loader.load(planner.plan(step, 1), step, 1).unwrap();
        assert_eq!(again.inputs, batches[1].inputs);
        assert_ne!(batches[0].inputs, batches[1].inputs);
        seen.push(step);
        Ok(step < 6)
    });
    all.unwrap();
    assert_eq!(seen, [4, 5, 6]);
}
