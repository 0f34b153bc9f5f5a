use super::*;
use crate::suite::BaselineEntry;
use crate::{EvalOptions, evaluate};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::{Extractor, LoadedModel, NoProgress, Settings};
use r2former_model::ModelConfig;
use r2former_model::checkpoint::{Storage, save};
use std::path::Path;

/// Ten places, whose queries are split into two sets, and two models of random weights, the second without reranker.
fn world(dir: &Path) {
    let place = |i: usize, light: usize| {
        let pixels = (0..3 * 64 * 32).map(|p| {
            let (x, y) = (p / 3 % 64, p / 192);
            ((x * (i + 2) / 3 + y * (2 * i + 1) + (x / 8 * i) % 5 * 31 + 9 * light) % 230) as u8
        });
        Rgb8 { width: 64, height: 32, pixels: pixels.collect() }
    };
    let photo = |side: &str, i: usize, light: usize| {
        std::fs::create_dir_all(dir.join(side)).unwrap();
        let bytes = jpeg_with_tags(&place(i, light), 95, &PhotoTags::default()).unwrap();
        std::fs::write(dir.join(side).join(format!("{i}.jpg")), bytes).unwrap();
    };
    for i in 0..10 {
        photo("db", i, 0);
        photo(set_of_query(i), i, 1 + i % 3);
    }
    for set in ["day", "night"] {
        let lines: String =
            (0..10).filter(|i| set_of_query(*i) == set).map(|i| format!("{i}.jpg,{i}.jpg\n")).collect();
        std::fs::write(dir.join(format!("{set}.csv")), format!("query,reference\n{lines}")).unwrap();
    }
    for (name, seed, reranker) in [("full", 3, true), ("plain", 5, false)] {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        (config.input.height, config.input.width) = (32, 64);
        config.trained.reranker = reranker;
        let model = LoadedModel::random(&config, seed).unwrap();
        let path = dir.join(format!("{name}.safetensors"));
        model.with(|config, tensors| save(&path, config, tensors, Storage::F32).unwrap()).unwrap();
    }
}

fn set_of_query(i: usize) -> &'static str {
    if i < 6 { "day" } else { "night" }
}

fn dataset(set: &str, more: &str) -> String {
    format!(
        "[[dataset]]\nkind = \"pairs\"\nname = \"{set}\"\ndatabase = \"db\"\nqueries = \"{set}\"\n\
         positives = \"{set}.csv\"\n{more}"
    )
}

const MODELS: &str = "[[model]]\nname = \"full\"\npath = \"full.safetensors\"\n[[model]]\nname = \"plain\"\n\
                      path = \"plain.safetensors\"\n";

fn config(dir: &Path, text: &str) -> SuiteConfig {
    let path = dir.join("suite.toml");
    std::fs::write(&path, format!("candidates = 6\n{text}")).unwrap();
    SuiteConfig::read(&path).unwrap()
}

fn both(dir: &Path) -> SuiteConfig {
    config(dir, &(dataset("day", "") + &dataset("night", "") + MODELS))
}

fn run(config: &SuiteConfig) -> Result<Suite> {
    suite(config, &Device::flex(), &SuiteOptions::default(), &NoProgress)
}

fn of<'a>(suite: &'a Suite, set: usize, model: &str, rerank: RerankMethod) -> &'a RankingResults {
    let mut rankings = suite.sets[set].rankings.iter();
    rankings.find(|ranking| ranking.model == model && ranking.rerank == rerank).unwrap()
}

#[test]
fn sets_have_the_rankings_of_an_evaluation() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let config = both(dir);
    let found = run(&config).unwrap();
    assert_eq!(found.sets.iter().map(|set| set.queries.len()).collect::<Vec<_>>(), [6, 4]);
    assert_eq!(found.sets[1].queries[0], "6.jpg");
    for name in ["full", "plain"] {
        let loaded = LoadedModel::open(&dir.join(format!("{name}.safetensors"))).unwrap();
        let settings = Settings::of(&loaded.config);
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        let methods = vec![RerankMethod::Ransac, RerankMethod::Model];
        let options = EvalOptions::default().rerank(methods).candidates(6);
        for (i, entry) in config.dataset.iter().enumerate() {
            let data = entry.spec.read().unwrap();
            let expected = evaluate(&data, &extractor, &options, &NoProgress).unwrap();
            for (method, quality) in expected.summary.quality.iter() {
                if (name, method) == ("plain", RerankMethod::Model) {
                    // Its reranker is not trained.
                    assert!(
                        found.sets[i].rankings.iter().all(|r| (r.model.as_str(), r.rerank) != (name, method))
                    );
                    continue;
                }
                let ranking = of(&found, i, name, method);
                assert_eq!(ranking.recall, quality.recall, "{name} {method:?}");
                for (n, interval) in &ranking.recall {
                    let hits = ranking.hits(*n);
                    assert_eq!(crate::bootstrap(&hits), *interval);
                }
            }
        }
    }
    // Mean and worst by hand.
    for overall in &found.overall {
        let recall = [0, 1].map(|i| of(&found, i, &overall.model, overall.rerank).recall[0].1.value);
        assert!((overall.mean[0].1.value - (recall[0] + recall[1]) / 2.0).abs() < 1e-12);
        assert_eq!(overall.worst.value, recall[0].min(recall[1]));
        assert_eq!(overall.mean_difference, None);
    }
    let table = found.table();
    assert_eq!((table.heads.len(), table.rows.len()), (2 + 6, 2 + 2));
    assert_eq!((table.rows[0][7].as_str(), table.rows[3][0].as_str()), ("-", "worst"));
    let csv = found.csv_table();
    assert_eq!(csv.rows.len(), 5 * 4);
    assert!(csv.rows.iter().all(|row| row.len() == csv.heads.len()));
}

#[test]
fn models_are_compared_with_one_of_the_suite_and_with_an_earlier_run() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let mut config = both(dir);
    config.baseline = Some(BaselineEntry { file: None, model: Some("plain".into()) });
    let found = run(&config).unwrap();
    for (i, queries) in [6, 4].into_iter().enumerate() {
        assert_eq!(of(&found, i, "plain", RerankMethod::None).difference, None);
        assert_eq!(
            of(&found, i, "full", RerankMethod::Model).difference,
            None,
            "the baseline has no reranker"
        );
        for method in [RerankMethod::None, RerankMethod::Ransac] {
            let (a, b) = (of(&found, i, "plain", method), of(&found, i, "full", method));
            let difference = b.difference.as_ref().unwrap();
            assert_eq!(difference.queries, queries);
            assert_eq!(difference.test, crate::paired_test(&a.hits(1), &b.hits(1)));
        }
    }
    let overall = found.overall.iter().find(|o| o.model == "full" && o.rerank == RerankMethod::None).unwrap();
    let values = [0, 1].map(|i| of(&found, i, "full", RerankMethod::None).recall[0].1.value);
    let before = [0, 1].map(|i| of(&found, i, "plain", RerankMethod::None).recall[0].1.value);
    let worst = overall.worst_difference.as_ref().unwrap().value;
    assert!((worst - (values[0] - before[0]).min(values[1] - before[1])).abs() < 1e-12);
    assert!(found.table().heads.contains(&"full global, change".to_string()));
    assert!(found.markdown().contains("the baseline, model plain, by"));

    // The same, written and read back; a model under another name and fewer queries of one set.
    let file = dir.join("before.json");
    std::fs::write(&file, serde_json::to_vec(&found).unwrap()).unwrap();
    config.dataset[0].max_queries = Some(3);
    config.model.remove(1);
    config.baseline = Some(BaselineEntry { file: Some(file.clone()), model: Some("plain".into()) });
    let later = run(&config).unwrap();
    let now = of(&later, 1, "full", RerankMethod::Ransac);
    assert_eq!(
        now.difference.as_ref().unwrap().test,
        of(&found, 1, "full", RerankMethod::Ransac).difference.as_ref().unwrap().test
    );
    assert_eq!(of(&later, 0, "full", RerankMethod::None).difference.as_ref().unwrap().queries, 3);
    assert_eq!(later.notes.len(), 1, "{:?}", later.notes);
    assert!(later.notes[0].contains("day") && later.notes[0].contains("3 queries"), "{:?}", later.notes);
    let csv = later.csv_table();
    assert!(csv.rows.iter().all(|row| row.len() == csv.heads.len()));

    // Itself: no query differs.
    config.baseline = Some(BaselineEntry { file: Some(file.clone()), model: None });
    let again = run(&config).unwrap();
    let same = of(&again, 1, "full", RerankMethod::Model).difference.clone().unwrap();
    assert_eq!((same.test.only_first, same.test.only_second, same.test.p), (0, 0, 1.0));

    config.candidates = 5;
    assert_eq!(run(&config).unwrap().notes[0], "The baseline reranked 6 candidates, this run 5.");
    config.candidates = 6;

    config.baseline = Some(BaselineEntry { file: Some(file.clone()), model: Some("other".into()) });
    let error = run(&config).unwrap_err().to_string();
    assert!(error.contains("before.json") && error.contains("full, plain"), "{error}");
    config.baseline = Some(BaselineEntry { file: None, model: Some("other".into()) });
    let error = run(&config).unwrap_err().to_string();
    assert!(error.contains("baseline.model") && error.contains("other"), "{error}");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("as listed by the dataset", "by hand")).unwrap();
    config.baseline = Some(BaselineEntry { file: Some(file), model: None });
    let other = run(&config).unwrap();
    assert!(other.notes.iter().all(|note| note.contains("another positives")), "{:?}", other.notes);
    assert_eq!(of(&other, 1, "full", RerankMethod::None).difference, None);
}

#[test]
fn pooled_datasets_are_one_set() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let pool = "pooled = \"all\"\n";
    let text = dataset("day", pool) + &dataset("night", pool) + MODELS;
    let found = run(&config(dir, &text)).unwrap();
    let single = run(&both(dir)).unwrap();
    assert_eq!(found.sets.len(), 1);
    let set = &found.sets[0];
    assert_eq!((set.name.as_str(), set.queries.len(), set.queries[9].as_str()), ("all", 10, "night: 9.jpg"));
    let hits = |i: usize| of(&single, i, "full", RerankMethod::Model).correct_at.clone();
    assert_eq!(of(&found, 0, "full", RerankMethod::Model).correct_at, [hits(0), hits(1)].concat());
    assert!(found.markdown().contains("all: the pooled 10 queries of day, night"));
}

#[test]
fn missing_datasets_are_named_or_skipped() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let text = dataset("day", "") + &dataset("dusk", "") + MODELS;
    let config = config(dir, &text);
    let error = run(&config).unwrap_err();
    assert!(matches!(&error, EvalError::Dataset { name, .. } if name == "dusk"), "{error}");
    assert!(error.to_string().contains(&dir.join("dusk").display().to_string()), "{error}");
    let options = SuiteOptions { skip_missing: true, ..Default::default() };
    let found = suite(&config, &Device::flex(), &options, &NoProgress).unwrap();
    assert_eq!((found.sets.len(), found.skipped.len(), found.is_whole()), (1, 1, false));
    assert!(found.markdown().contains("SKIPPED: dusk"));
}

#[test]
fn what_cannot_be_measured_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    world(dir);
    let refused = |text: String, parts: &[&str]| {
        let error = run(&config(dir, &text)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let twice = MODELS.replace("name = \"plain\"", "name = \"full\"");
    refused(dataset("day", "") + &twice, &["model.name", "full"]);
    refused(dataset("day", "") + &dataset("day", "") + MODELS, &["dataset.name", "day"]);
    refused(dataset("day", ""), &["--model NAME=FILE"]);
    // Asked for by name, an untrained reranker is measured.
    let asked = format!("{}{MODELS}rerank = [\"model\"]\n", dataset("day", ""));
    let found = run(&config(dir, &asked)).unwrap();
    let methods: Vec<RerankMethod> =
        found.sets[0].rankings.iter().filter(|r| r.model == "plain").map(|r| r.rerank).collect();
    assert_eq!(methods, [RerankMethod::None, RerankMethod::Model]);
}
