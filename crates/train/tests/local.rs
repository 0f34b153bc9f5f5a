//! Stage `local` from its start to a resumed end, and later stages that leave its backbone or local features alone.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::Quiet;
use r2former_data::dataset::DatasetSpec;
use r2former_model::checkpoint::{Checkpoint, Storage, load, save};
use r2former_model::{
    BackboneConfig, Device, GlobalConfig, LocalConfig, ModelConfig, Pooling, R2Former, RerankerConfig,
    VitConfig,
};
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use r2former_train::{
    LogEntry, MiningKind, Ranking, Schedule, SourceConfig, SourceKind, Stage, TrainConfig, ValidationConfig,
    preview, read_log, train,
};
use std::path::Path;

/// A small model of random weights.
fn start(path: &Path) {
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        *vit = VitConfig { dim: 24, depth: 3, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
    }
    config.local = Some(LocalConfig { dim: 16, count: 12, ..Default::default() });
    config.reranker =
        Some(RerankerConfig { dim: 16, heads: 2, pair_depth: 1, depth: 2, ..Default::default() });
    (config.trained.local, config.trained.reranker) = (true, true);
    [config.input.height, config.input.width] = [48, 64];
    let tensors = R2Former::random(&config, 1, &Device::flex()).unwrap().to_tensors().unwrap();
    save(path, &config, &tensors, Storage::F32).unwrap();
}

fn config(stage: Stage, start: &Path) -> TrainConfig {
    let mut config = TrainConfig::preset(stage);
    let town = SourceKind::Town { seed: 1, blocks: 2, spacing: 16.0, conditions: Vec::new() };
    config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
    (config.places.positive_m, config.places.heading_deg) = (18.0, 40.0);
    config.start = start.to_path_buf().into();
    (config.batch.size, config.batch.negatives) = (3, 1);
    (config.schedule.kind, config.schedule.warmup) = (Schedule::Constant, 0.0);
    (config.schedule.epochs, config.schedule.steps) = (2, 3);
    config.optimizer.ema_decay = 0.9;
    config
}

fn run(config: &TrainConfig, out: &Path, resume: bool) -> Checkpoint {
    let outcome = train(config, out, resume, &[Device::flex()], &Quiet).unwrap();
    load(&outcome.model).unwrap()
}

/// Names of tensors that differ.
fn changed(a: &Checkpoint, b: &Checkpoint) -> Vec<String> {
    assert_eq!(a.tensors.len(), b.tensors.len());
    a.tensors.iter().filter(|(name, raw)| b.tensors[*name] != **raw).map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_resumed_run_is_bit_identical_frozen_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    start(&home.join("start.safetensors"));
    let before = load(&home.join("start.safetensors")).unwrap();
    for freeze_blocks in [100, 1] {
        let mut config = config(Stage::Local, &home.join("start.safetensors"));
        config.model.freeze_blocks = freeze_blocks;
        config.model.fresh_local_head = true;
        config.model.local_dim = 16;
        config.model.local_layer = Some(2);
        config.loss.distillation_weight = if freeze_blocks == 1 { 1.0 } else { 0.0 };
        let whole = run(&config, &home.join(format!("whole-{freeze_blocks}")), false);
        let out = home.join(format!("cut-{freeze_blocks}"));
        let first = run(
            &TrainConfig {
                schedule: r2former_train::ScheduleConfig { epochs: 1, ..config.schedule },
                ..config.clone()
            },
            &out,
            false,
        );
        std::fs::remove_file(out.join("best.safetensors")).unwrap();
        let resumed = run(&config, &out, true);
        assert!(!changed(&first, &whole).is_empty());
        assert_eq!(changed(&resumed, &whole), Vec::<String>::new());
        assert_eq!(resumed.config.trained, whole.config.trained);
        assert!(whole.config.trained.local && !whole.config.trained.reranker);
        let moved = changed(&before, &whole);
        match freeze_blocks {
            100 => assert_eq!(moved, ["local_head.bias", "local_head.weight"]),
            _ => assert!(moved.iter().any(|name| name.starts_with("backbone.blocks.2."))),
        }
        assert!(moved.iter().all(|name| !name.starts_with("reranker") && !name.starts_with("head")));
        let log = read_log(&out.join("log.jsonl")).unwrap();
        let steps = log.iter().filter(|entry| {
            matches!(entry, LogEntry::Step { local_loss: Some(_), local_accuracy: Some(_), distillation_loss, .. }
                if distillation_loss.is_some() == (freeze_blocks == 1))
        });
        assert_eq!(steps.count(), 6);
    }
}

#[test]
fn a_global_head_alone_starts_as_a_pca() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("start.safetensors");
    start(&path);
    // A backbone whose tokens are only pooled.
    let mut before = load(&path).unwrap();
    before.config.global = GlobalConfig::Pooled { pooling: Pooling::Gem };
    before.tensors.retain(|name, _| !name.starts_with("head."));
    save(&path, &before.config, &before.tensors, Storage::F32).unwrap();
    let mut config = config(Stage::Global, &path);
    config.model.freeze_blocks = 3;
    let whole = run(&config, &dir.path().join("whole"), false);
    // No more dimensions than the tokens have.
    assert_eq!(whole.config.global, GlobalConfig::Linear { dim: 24, pooling: Pooling::Gem });
    assert!(whole.config.trained.global && whole.config.trained.local && whole.config.trained.reranker);
    for (name, raw) in &before.tensors {
        assert_eq!(whole.tensors[name], *raw, "{name}");
    }
    // Rows of a PCA are orthogonal; a few small steps have not changed that much.
    let rows: Vec<&[f32]> = whole.tensors["head.weight"].data.chunks_exact(24).collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    for (i, a) in rows.iter().enumerate() {
        for b in &rows[..i] {
            assert!(dot(a, b).abs() < 0.05 * (dot(a, a) * dot(b, b)).sqrt());
        }
    }
}

#[test]
fn ransac_decides_and_pairs_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    start(&home.join("start.safetensors"));
    let town = Town::new(&TownConfig { seed: 4711, blocks: (2, 2), ..Default::default() }).unwrap();
    let data = TownDatasetConfig {
        spacing: 24.0,
        size: (64, 48),
        queries: vec![Condition::Overcast],
        n_queries: 6,
        ..Default::default()
    };
    write_dataset(&town, &data, &home.join("town"), &|_, _| {}).unwrap();
    let mut config = config(Stage::Local, &home.join("start.safetensors"));
    config.schedule.epochs = 1;
    config.validation = Some(ValidationConfig {
        set: DatasetSpec::Photos {
            database: home.join("town/database.csv"),
            queries: home.join("town/queries.csv"),
            utm_zone: None,
        },
        radius_m: 25.0,
        candidates: 10,
        part: [0.0, 1.0],
        max_queries: 0,
        best_by: 1,
        every_epochs: 1,
    });
    let out = home.join("run");
    let outcome = train(&config, &out, false, &[Device::flex()], &Quiet).unwrap();
    assert_eq!(outcome.best.unwrap().ranking, Ranking::Ransac);
    let log = read_log(&out.join("log.jsonl")).unwrap();
    assert!(matches!(log[0], LogEntry::Baseline { reranked_recall: Some(_), .. }));
    preview(&config, 0, &home.join("batch.png")).unwrap();
    assert_eq!(image::image_dimensions(home.join("batch.png")).unwrap(), (2 * 64 + 18, 3 * 54 + 6));
}

#[test]
fn a_distillation_without_a_trained_block_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("start.safetensors");
    start(&path);
    let mut config = config(Stage::Local, &path);
    config.loss.distillation_weight = 1.0;
    let error = train(&config, &dir.path().join("run"), false, &[Device::flex()], &Quiet).unwrap_err();
    assert!(error.to_string().contains("model.freeze_blocks"), "{error}");
}

#[test]
fn a_frozen_local_head_stays_bit_identical() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("start.safetensors");
    start(&path);
    let before = load(&path).unwrap();
    for cached_views in [0, 2] {
        let mut config = config(Stage::Rerank, &path);
        config.mining.kind = MiningKind::Random;
        config.model.freeze_local_head = true;
        (config.batch.cached_views, config.batch.same_photo) = (cached_views, 0.5);
        let after = run(&config, &dir.path().join(format!("run-{cached_views}")), false);
        let moved = changed(&before, &after);
        assert!(moved.len() > 10 && moved.iter().all(|name| name.starts_with("reranker.")), "{moved:?}");
        assert!(after.config.trained.local && after.config.trained.reranker);
    }
}
