//! `model average` through the program.

mod common;

use common::{fails, names, r2former};
use r2former_model::checkpoint::{Storage, load, save};
use r2former_model::{Device, ModelConfig, R2Former};
use std::path::{Path, PathBuf};

/// A random model of one seed, for images of 32 x 64 pixels.
fn random(dir: &Path, seed: u64, change: impl FnOnce(&mut ModelConfig)) -> PathBuf {
    let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
    (config.input.height, config.input.width) = (32, 64);
    change(&mut config);
    let model = R2Former::random(&config, seed, &Device::flex()).expect("a sound configuration");
    let path = dir.join(format!("{seed}.safetensors"));
    save(&path, &config, &model.to_tensors().expect("tensors"), Storage::F32).expect("can be written");
    path
}

#[test]
fn two_models_are_averaged() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (a, b) = (random(home.path(), 1, |_| ()), random(home.path(), 2, |config| config.reranker = None));
    let out = home.path().join("out.safetensors");
    let run = |options: &[&str]| {
        let mut command = r2former();
        command.args(["model", "average"]).arg(&a).arg(&b).arg(&out).args(options);
        command
    };
    let ended =
        run(&["--weight", "0.25", "--only", "head", "--name", "between", "--json"]).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&ended.get_output().stdout).expect("JSON");
    let origin = &report["model"]["config"]["provenance"]["averaged"];
    assert_eq!((&origin["weight"], &origin["only"][0]), (&0.25.into(), &"head".into()));
    let [a_read, b_read, found] = [&a, &b, &out].map(|path| load(path).expect("a model"));
    assert_eq!((found.config.name.as_str(), found.config.reranker.is_some()), ("between", true));
    let value = |of: &r2former_model::Checkpoint| of.tensors["head.weight"].data[0];
    assert!((value(&found) - (0.75 * value(&a_read) + 0.25 * value(&b_read))).abs() < 1e-6);
    let other = found.tensors.iter().filter(|(name, _)| !name.starts_with("head"));
    assert!(other.map(|(name, tensor)| (&a_read.tensors[name], tensor)).all(|(a, b)| a == b));

    let ended = run(&["--half"]).assert().success();
    names(&String::from_utf8_lossy(&ended.get_output().stdout), &["averaged ", "only A has", "reranker."]);
    assert!(std::fs::metadata(&out).expect("a file").len() < std::fs::metadata(&a).expect("a file").len());
    for weight in ["1.5", "-0.5", "nan"] {
        names(&fails(&mut run(&["--weight", weight]), 2), &["--weight", weight]);
    }
    names(&fails(&mut run(&["--only", "bones"]), 1), &["1.safetensors", "'bones'", "backbone"]);
}

#[test]
fn another_shape_is_named() {
    let home = tempfile::tempdir().expect("temporary folder");
    let wide = |config: &mut ModelConfig| {
        config.global =
            r2former_model::GlobalConfig::Linear { dim: 128, pooling: r2former_model::Pooling::Cls };
    };
    let (a, b) = (random(home.path(), 1, |_| ()), random(home.path(), 2, wide));
    let out = home.path().join("out.safetensors");
    let mut command = r2former();
    command.args(["model", "average"]).arg(a).arg(b).arg(&out);
    names(&fails(&mut command, 1), &["2.safetensors", "head.", "256", "128"]);
    assert!(!out.exists());
}
