//! A small training from random weights on the rendered town: recall rises on streets that were not trained on, and the
//! reranker improves the global ranking there.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::Quiet;
use r2former_data::dataset::DatasetSpec;
use r2former_engine::LoadedModel;
use r2former_model::checkpoint::{Storage, save};
use r2former_model::weights::expanded;
use r2former_model::{BackboneConfig, Device, GlobalConfig, ModelConfig, Pooling, R2Former, VitConfig};
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use r2former_train::{
    AugmentConfig, BatchKind, GlobalLoss, LogEntry, MiningKind, Schedule, SourceConfig, SourceKind, Stage,
    TrainConfig, ValidationConfig, read_log, train,
};
use std::path::Path;

/// Side of every image in pixels.
const SIDE: usize = 64;

/// A model of random weights.
fn start(path: &Path) {
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        *vit = VitConfig { dim: 64, depth: 4, heads: 2, patch: 8, grid: [8, 8], ..vit.clone() };
    }
    config.global = GlobalConfig::Linear { dim: 64, pooling: Pooling::Gem };
    (config.local, config.reranker) = (None, None);
    [config.input.height, config.input.width] = [SIDE, SIDE];
    let tensors = R2Former::random(&config, 1, &Device::flex()).unwrap().to_tensors().unwrap();
    save(path, &config, &tensors, Storage::F32).unwrap();
}

/// Streets of another town by day, with queries by day and under clouds.
fn held_out(dir: &Path) {
    let town = Town::new(&TownConfig { seed: 4711, blocks: (2, 2), ..Default::default() }).unwrap();
    let config = TownDatasetConfig {
        spacing: 12.0,
        size: (SIDE, SIDE),
        queries: vec![Condition::Day, Condition::Overcast],
        n_queries: 60,
        ..Default::default()
    };
    write_dataset(&town, &config, dir, &|_, _| {}).unwrap();
}

fn config(stage: Stage, home: &Path) -> TrainConfig {
    let mut config = TrainConfig::preset(stage);
    let conditions = vec![Condition::Day, Condition::Overcast, Condition::Dusk];
    config.data = vec![SourceConfig {
        kind: SourceKind::Town { seed: 1, blocks: 3, spacing: 6.0, conditions },
        weight: 1.0,
    }];
    config.places.positive_m = 8.0;
    config.places.heading_deg = 40.0;
    config.batch.kind = BatchKind::Places;
    config.batch.size = 12;
    config.batch.views = 3;
    config.mining.kind = MiningKind::Random;
    config.loss.global = GlobalLoss::MultiSimilarity;
    config.optimizer.lr = 1e-3;
    config.optimizer.clip = 1.0;
    config.schedule.kind = Schedule::CosineSteps;
    config.schedule.warmup = 0.5;
    config.augment = AugmentConfig { crop: 0.3, crop_area: 0.7, colour: 0.5, ..Default::default() };
    config.validation = Some(ValidationConfig {
        set: DatasetSpec::Photos {
            database: home.join("town/database.csv"),
            queries: home.join("town/queries.csv"),
            utm_zone: None,
        },
        radius_m: 25.0,
        candidates: 0,
        part: [0.0, 1.0],
        max_queries: 0,
        best_by: 1,
        every_epochs: 1,
    });
    config
}

/// Recall@1 of the last validation: of the global ranking, and after reranking if it was reranked.
fn recall(run: &Path) -> (f64, Option<f64>) {
    let entries = read_log(&run.join("log.jsonl")).unwrap();
    let last = entries.iter().rev().find_map(|entry| match entry {
        LogEntry::Epoch { global_recall: Some(global), reranked_recall, .. } => {
            Some((global[0], reranked_recall.as_ref().map(|reranked| reranked[0])))
        }
        _ => None,
    });
    last.unwrap()
}

#[test]
fn a_small_training_learns_places() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    start(&home.join("start.safetensors"));
    held_out(&home.join("town"));

    // One step at a negligible learning rate: the recall of random weights.
    let mut before = config(Stage::Global, home);
    before.start = home.join("start.safetensors").into();
    (before.schedule.epochs, before.schedule.steps, before.optimizer.lr) = (1, 1, 1e-12);
    train(&before, &home.join("before"), false, &[Device::flex()], &Quiet).unwrap();

    let mut global = config(Stage::Global, home);
    global.start = home.join("start.safetensors").into();
    (global.schedule.epochs, global.schedule.steps) = (4, 60);
    train(&global, &home.join("global"), false, &[Device::flex()], &Quiet).unwrap();

    let (untrained, trained) = (recall(&home.join("before")).0, recall(&home.join("global")).0);
    eprintln!("recall@1: untrained {untrained:.3}, trained {trained:.3}");
    assert!(trained > untrained + 0.1, "recall@1 went from {untrained} to {trained}");
}

#[test]
fn a_small_reranker_improves_the_global_ranking() {
    /// Pixels per side, enough for patches of 16 to differ.
    const FINE: usize = 112;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    // A reranker of random weights over a trained backbone, and the global ranking by its CLS token: that of its trained
    // head leaves nothing to improve in a minute of training.
    let pooled = LoadedModel::built_in().unwrap().with(|config, tensors| {
        config.global = GlobalConfig::Pooled { pooling: Pooling::Cls };
        tensors.retain(|name, _| !name.starts_with("head."));
    });
    let pooled = pooled.unwrap();
    save(&home.join("start.safetensors"), &pooled.config, &expanded(pooled.tensors().clone()), Storage::F32)
        .unwrap();
    held_out(&home.join("town"));

    let mut rerank = config(Stage::Rerank, home);
    rerank.start = home.join("start.safetensors").into();
    rerank.model.image_size = Some([FINE, FINE]);
    rerank.model.local_count = Some((FINE / 16) * (FINE / 16));
    rerank.model.fresh_reranker = true;
    (rerank.schedule.epochs, rerank.schedule.steps, rerank.schedule.warmup) = (1, 110, 0.1);
    (rerank.batch.size, rerank.batch.views) = (8, 3);
    rerank.optimizer.clip = 5.0;
    rerank.augment = AugmentConfig { crop: 0.1, crop_area: 0.9, colour: 0.3, ..Default::default() };
    if let Some(validation) = &mut rerank.validation {
        validation.candidates = 20;
    }
    train(&rerank, &home.join("rerank"), false, &[Device::flex()], &Quiet).unwrap();

    let (global, reranked) = recall(&home.join("rerank"));
    let reranked = reranked.unwrap();
    eprintln!("recall@1: global {global:.3}, reranked {reranked:.3}");
    assert!(reranked > global + 0.02, "recall@1: global {global}, reranked {reranked}");
}
