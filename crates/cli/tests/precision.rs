//! 8-bit extraction through the program: a model is checked, and its index says what its descriptors are made with.

mod common;

use common::{fails, names, r2former};
use r2former_model::checkpoint::{load, save_with_config};
use r2former_model::{Precision, PrecisionCheck};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn json(command: &mut common::Command) -> Value {
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).expect("JSON")
}

fn text(command: &mut common::Command) -> String {
    String::from_utf8_lossy(&command.assert().success().get_output().stdout).into_owned()
}

/// A rendered town with at least 20 photographs in its database.
fn town(home: &Path) -> PathBuf {
    let dir = home.join("town");
    let mut command = r2former();
    command.arg("town").arg(&dir).args(["--blocks", "1x1", "--spacing", "20", "--conditions", "dusk"]);
    command.args(["--queries", "4", "--size", "240x320"]).assert().success();
    dir
}

/// Whether this machine multiplies 8-bit integers, by what a measurement says.
fn multiplies_int8() -> bool {
    let mut command = r2former();
    command.args(["bench", "extract", "--preset", "vit-tiny", "--image-size", "64x64", "--runs", "1"]);
    let found = json(command.args(["--precision", "int8", "--json"]));
    assert_eq!(found["precision"], "int8");
    found["products"] == "int8"
}

/// The matches of each query by the global ranking, best first.
fn matches(index: &Path, photos: &Path, options: &[&str]) -> Vec<Vec<Value>> {
    let mut command = r2former();
    command.arg("query").arg(index).arg(photos).args(["--rerank", "none", "--json"]).args(options);
    let found = json(&mut command);
    let answers = found["answers"].as_array().expect("a list").clone();
    answers.into_iter().map(|answer| answer["matches"].as_array().expect("a list").clone()).collect()
}

/// The built-in model as it is before its arithmetic is checked.
fn unchecked(home: &Path) -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/r2former-tiny.safetensors");
    let mut config = load(&built_in).expect("the built-in model").config;
    config.checks.clear();
    let path = home.join("unchecked.safetensors");
    save_with_config(&built_in, &path, &config).expect("a model");
    path
}

#[test]
fn a_checked_model_is_extracted_in_8_bits_and_mixed() {
    if !multiplies_int8() {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: this CPU multiplies 8-bit integers no faster");
        return;
    }
    let home = tempfile::tempdir().expect("temporary folder");
    let home = home.path();
    let town = town(home);
    let (unchecked, checked) = (unchecked(home), home.join("checked.safetensors"));
    let mut command = r2former();
    command.args(["model", "check", "--json"]).arg(&unchecked).arg("--images").arg(town.join("database"));
    let found = json(command.arg("--out").arg(&checked));
    assert_eq!(
        (&found["keeps_ranking"], &found["check"]["precision"]),
        (&true.into(), &"int8".into()),
        "{found}"
    );
    assert!(found["check"]["least_cosine"].as_f64() >= Some(0.998), "{found}");
    let config = load(&checked).expect("a model").config;
    assert!(config.keeps_ranking(Precision::Int8));
    let reranker = &found["reranker"];
    if !reranker.is_null() {
        assert_eq!(found["reranker_keeps_order"], true, "{found}");
        assert_eq!(
            reranker["pairs"].as_u64(),
            config.reranker_check.map(|check| check.pairs as u64),
            "what was measured is stored"
        );
    }
    let about = text(r2former().args(["model", "info"]).arg(&checked));
    names(
        &about,
        &["int8         rankings stay: cosine to f32 ", "% of first answers the same (reranked by RANSAC "],
    );
    let reranked = &found["check"]["reranked"];
    assert!(reranked["ransac"].as_f64() >= Some(0.98) && reranked["model"].as_f64() >= Some(0.98), "{found}");

    // Without being asked.
    let [places, exact] = ["places", "exact"].map(|name| home.join(name));
    let create = |index: &Path, options: &[&str]| {
        let mut command = r2former();
        command.args(["index", "create"]).arg(index).arg("--model").arg(&checked).args(options);
        command.assert().success();
        r2former().args(["index", "add"]).arg(index).arg(town.join("database.csv")).assert().success();
    };
    create(&places, &[]);
    create(&exact, &["--precision", "f32"]);
    names(&text(r2former().args(["index", "info"]).arg(&places)), &["288x288, int8"]);
    names(&text(r2former().args(["index", "info"]).arg(&exact)), &["288x288, f32"]);
    let queries = town.join("queries");
    let exactly = matches(&exact, &queries, &[]);
    assert_eq!(exactly.len(), 4);
    for (index, options) in [
        (&places, &[][..]),
        (&places, &["--precision", "f32"]),
        (&exact, &["--precision", "int8"]),
        (&exact, &["--precision", "auto"]),
    ] {
        // The first answer is the same, or one that is as similar in 32 bits: what a check calls a ranking that stays.
        for (found, exactly) in matches(index, &queries, options).iter().zip(&exactly) {
            let similarity = |of: &Value| of["similarity"].as_f64().expect("a number");
            let same =
                exactly.iter().find(|other| other["path"] == found[0]["path"]).expect("among the first");
            assert!(
                similarity(same) >= similarity(&exactly[0]) - PrecisionCheck::TIE,
                "{options:?}: {found:?}, {exactly:?}"
            );
        }
    }
    // An arithmetic that was not measured.
    let mut command = r2former();
    command.arg("query").arg(&places).arg(&queries).args(["--precision", "bf16"]);
    names(&fails(&mut command, 1), &["in int8, not bf16", "r2former-tiny", "model check"]);
}

#[test]
fn an_unchecked_model_is_not_mixed() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (index, photos) = (home.path().join("index"), common::photo_folder());
    r2former()
        .args(["index", "create"])
        .arg(&index)
        .arg("--model")
        .arg(unchecked(home.path()))
        .assert()
        .success();
    r2former().args(["index", "add"]).arg(&index).arg(photos.path()).assert().success();
    for command in ["query", "index add"] {
        let mut program = r2former();
        program.args(command.split(' ')).arg(&index).arg(photos.path()).args(["--precision", "int8"]);
        names(&fails(&mut program, 1), &["in f32, not int8", "r2former-tiny", "model check"]);
    }
    // What is asked for is done where nothing is mixed.
    let out = photos.path().join("out.safetensors");
    let mut command = r2former();
    command.arg("extract").arg(photos.path()).arg("--out").arg(&out).args(["--precision", "int8"]);
    command.assert().success();
    names(
        &fails(r2former().args(["bench", "extract", "--precision", "int7"]), 2),
        &["int7", "auto, f32, bf16 or int8"],
    );
    let mut command = r2former();
    command.args(["model", "check", "--precision", "f32", "--images"]).arg(photos.path());
    names(&fails(&mut command, 2), &["int8 or bf16"]);
}
