use super::*;
use crate::ablate::Selection;
use crate::evaluate;
use r2former_data::dataset::DatasetSpec;
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::NoProgress;
use r2former_model::ModelConfig;
use r2former_model::checkpoint::{Storage, save};
use std::path::Path;

/// Ten places, each with a database photograph and a query of another brightness, and a model of random weights.
fn world(dir: &Path) {
    let place = |i: usize, light: usize| {
        let pixels = (0..3 * 64 * 32).map(|p| {
            let (x, y) = (p / 3 % 64, p / 192);
            ((x * (i + 2) / 3 + y * (2 * i + 1) + (x / 8 * i) % 5 * 31 + 9 * light) % 230) as u8
        });
        Rgb8 { width: 64, height: 32, pixels: pixels.collect() }
    };
    let mut table = "query,reference\n".to_string();
    for side in ["db", "q"] {
        std::fs::create_dir(dir.join(side)).unwrap();
    }
    for i in 0..10 {
        for (side, light) in [("db", 0), ("q", 1 + i % 3)] {
            let bytes = jpeg_with_tags(&place(i, light), 95, &PhotoTags::default()).unwrap();
            std::fs::write(dir.join(side).join(format!("{i}.jpg")), bytes).unwrap();
        }
        table += &format!("{i}.jpg,{i}.jpg\n");
    }
    std::fs::write(dir.join("positives.csv"), table).unwrap();
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    (config.input.height, config.input.width) = (32, 64);
    config.trained.reranker = true;
    let model = LoadedModel::random(&config, 3).unwrap();
    model
        .with(|config, tensors| save(&dir.join("m.safetensors"), config, tensors, Storage::F32).unwrap())
        .unwrap();
}

const CONFIG: &str = r#"
candidates = 6
[[dataset]]
kind = "pairs"
name = "ten places"
database = "db"
queries = "q"
positives = "positives.csv"
[[model]]
path = "m.safetensors"
[baseline]
local_features = 6
[axes]
rerank = ["none", "ransac"]
local_features = [2, 8]
selection = ["random"]
neighbours = [1, 9]
official_gather = [true]
layer = [3]
bits = [16, 32]
adaptive = [0.0, 0.001, 2.0]
"#;

fn config(dir: &Path) -> AblationConfig {
    let path = dir.join("ablation.toml");
    std::fs::write(&path, CONFIG).unwrap();
    AblationConfig::read(&path).unwrap()
}

fn run(dir: &Path) -> Ablation {
    ablate(&config(dir), &Device::flex(), &FeatureStorage::default(), &NoProgress).unwrap()
}

#[test]
fn rows_equal_an_evaluation_of_each_setting() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let found = run(dir);
    let rows = &found.datasets[0].rows;
    let named = |axis: &str, value: &str| -> &AblationRow {
        rows.iter().find(|row| row.axis == axis && row.value == value).unwrap()
    };
    assert_eq!(rows.len(), 15, "{rows:?}");
    assert_eq!((rows[0].axis.as_str(), &rows[0].difference), ("baseline", &None));
    assert!(rows[1..].iter().all(|row| row.difference.is_some()));

    let dataset = DatasetSpec::Pairs {
        database: dir.join("db"),
        queries: dir.join("q"),
        positives: dir.join("positives.csv"),
    };
    let dataset = dataset.read().unwrap();
    let loaded = LoadedModel::open(&dir.join("m.safetensors")).unwrap();
    let of_layer = |layer: Option<usize>,
                    rerank: RerankMethod,
                    count: usize,
                    gather: bool,
                    neighbours: usize,
                    adaptive: Option<f32>| {
        let changed = loaded
            .with(|config, _| {
                let local = config.local.as_mut().unwrap();
                (local.count, local.official_gather, local.layer) = (count, gather, layer);
                config.reranker.as_mut().unwrap().neighbours = neighbours;
            })
            .unwrap();
        let settings = Settings::of(&changed.config);
        let extractor = Extractor::new(changed, settings, &Device::flex()).unwrap();
        let options = EvalOptions::default().rerank(vec![rerank]).candidates(6).adaptive(adaptive);
        let found = evaluate(&dataset, &extractor, &options, &NoProgress).unwrap();
        let skipped = found.summary.adaptive.map(|adaptive| adaptive.skipped);
        (found.summary.quality.get(rerank).unwrap().recall, skipped)
    };
    let recall =
        |rerank: RerankMethod, count: usize, gather: bool, neighbours: usize, adaptive: Option<f32>| {
            of_layer(None, rerank, count, gather, neighbours, adaptive)
        };
    let model = RerankMethod::Model;
    for (row, (expected, skipped)) in [
        (&rows[0], recall(model, 6, false, 5, None)),
        (named("rerank", "none"), recall(RerankMethod::None, 6, false, 5, None)),
        (named("rerank", "ransac"), recall(RerankMethod::Ransac, 6, false, 5, None)),
        (named("local_features", "2"), recall(model, 2, false, 5, None)),
        (named("local_features", "8"), recall(model, 8, false, 5, None)),
        (named("neighbours", "1"), recall(model, 6, false, 1, None)),
        (named("neighbours", "9"), recall(model, 6, false, 9, None)),
        (named("official_gather", "on"), recall(model, 6, true, 5, None)),
        (named("layer", "3"), of_layer(Some(3), model, 6, false, 5, None)),
        (named("adaptive", "0.001"), recall(model, 6, false, 5, Some(0.001))),
        (named("adaptive", "0"), recall(model, 6, false, 5, Some(0.0))),
        (named("adaptive", "2"), recall(model, 6, false, 5, Some(2.0))),
    ] {
        assert_eq!((&row.recall, row.skipped), (&expected, skipped), "{} {}", row.axis, row.value);
    }
    assert_eq!(named("adaptive", "0").skipped, Some(1.0));
    assert_eq!(named("adaptive", "0").recall, named("rerank", "none").recall);
    assert_eq!(named("adaptive", "2").recall, rows[0].recall);

    let bytes = |row: &AblationRow| row.bytes_per_image - 4 * 256;
    assert_eq!((bytes(&rows[0]), bytes(named("bits", "32"))), (6 * 131, 6 * 131 * 4));
    assert_eq!((bytes(named("rerank", "none")), bytes(named("bits", "16"))), (0, 6 * 131 * 2));
    assert_eq!(named("selection", "random").setting.selection, Selection::Random);
    assert_eq!(run(dir).datasets[0].rows[5].recall, rows[5].recall, "random selection repeats");
}

#[test]
fn tables_hold_every_row() {
    let home = tempfile::tempdir().unwrap();
    world(home.path());
    let found = run(home.path());
    let table = found.table();
    assert_eq!((table.heads.len(), table.rows.len()), (13, 15));
    assert!(table.rows.iter().all(|row| row.len() == 13 && row[0] == "ten places"));
    assert_eq!(table.rows[0][7], "");
    assert!(found.markdown().contains("10 queries, 10 database images"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["datasets"][0]["rows"][1]["setting"]["rerank"], "none");
    assert_eq!(json["datasets"][0]["rows"][0]["setting"]["bits"], 8);
}

#[test]
fn pooled_datasets_are_also_reported_as_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let part = |name: &str, of: std::ops::Range<usize>| {
        std::fs::create_dir(dir.join(name)).unwrap();
        let mut table = "query,reference\n".to_string();
        for i in of {
            std::fs::copy(dir.join(format!("q/{i}.jpg")), dir.join(format!("{name}/{i}.jpg"))).unwrap();
            table += &format!("{i}.jpg,{i}.jpg\n");
        }
        std::fs::write(dir.join(format!("{name}.csv")), table).unwrap();
        format!(
            "[[dataset]]\nkind = \"pairs\"\nname = \"{name}\"\npooled = \"all\"\ndatabase = \"db\"\n\
             queries = \"{name}\"\npositives = \"{name}.csv\"\n"
        )
    };
    let axes = "[[model]]\npath = \"m.safetensors\"\n[baseline]\nlocal_features = 6\n[axes]\nrerank = [\"none\"]\n\
                adaptive = [0.001]\n";
    let several = |parts: String| {
        std::fs::write(dir.join("parts.toml"), format!("candidates = 6\n{parts}{axes}")).unwrap();
        let config = AblationConfig::read(&dir.join("parts.toml")).unwrap();
        ablate(&config, &Device::flex(), &FeatureStorage::default(), &NoProgress).unwrap()
    };
    let parts = several(part("first", 0..4) + &part("second", 4..10));
    let whole = several(part("whole", 0..10));
    assert_eq!((parts.datasets.len(), parts.pooled.len()), (2, 1));
    let (pool, expected) = (&parts.pooled[0], &whole.datasets[0]);
    assert_eq!(
        (pool.name.as_str(), pool.queries, pool.parts.join("+").as_str()),
        ("all", 10, "first+second")
    );
    for (row, expected) in pool.rows.iter().zip(&expected.rows) {
        assert_eq!(row.recall, expected.recall);
        assert_eq!(row.difference, expected.difference);
        assert_eq!(row.skipped.map(|s| (10.0 * s).round()), expected.skipped.map(|s| (10.0 * s).round()));
    }
    assert!(parts.markdown().contains("all: the pooled 10 queries of first, second"));
    assert_eq!(parts.table().rows.len(), 9, "two datasets and their pool, three rows each");
}

#[test]
fn settings_with_equal_features_share_an_extraction() {
    let home = tempfile::tempdir().unwrap();
    world(home.path());
    let loaded = LoadedModel::open(&home.path().join("m.safetensors")).unwrap();
    let settings = Settings::of(&loaded.config);
    let (planned, _) = plan(&config(home.path()), &[(loaded, settings)]).unwrap();
    let groups = extractions(&planned);
    assert_eq!(groups.len(), 3);
    assert!(
        groups[1..].iter().all(|group| group.len() == 1),
        "only other layers and positions are extracted again"
    );
    assert_eq!([1, 2].map(|group: usize| planned[groups[group][0]].axis), ["official_gather", "layer"]);
}
