//! `train` killed in the middle and gone on with: the same bits as a run that was left alone.

mod common;

use common::{PROGRAM, fails, names, r2former};
use r2former_model::checkpoint::{Storage, save};
use r2former_model::{
    BackboneConfig, Device, GlobalConfig, LocalConfig, ModelConfig, Pooling, R2Former, RerankerConfig,
    VitConfig,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A small model and a run over the rendered town that uses everything: both losses, mining, averaging.
fn run_in(home: &Path) -> PathBuf {
    let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        *vit = VitConfig { dim: 24, depth: 2, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
    }
    config.global = GlobalConfig::Linear { dim: 16, pooling: Pooling::Gem };
    config.local = Some(LocalConfig { dim: 16, count: 12, official_gather: false, layer: None });
    config.reranker =
        Some(RerankerConfig { dim: 16, heads: 2, pair_depth: 1, depth: 2, ..Default::default() });
    [config.input.height, config.input.width] = [32, 32];
    let tensors =
        R2Former::random(&config, 1, &Device::flex()).and_then(|m| m.to_tensors()).expect("a model");
    save(&home.join("start.safetensors"), &config, &tensors, Storage::F32).expect("can be written");
    let file = home.join("run.toml");
    let text = r#"
        name = "small"
        start = "start.safetensors"
        [places]
        positive_m = 14.0
        heading_deg = 40.0
        [batch]
        size = 6
        negatives = 1
        [mining]
        kind = "full"
        pool = 30
        refresh = 30
        [optimizer]
        lr = 1e-3
        average = 0.9
        clip = 1.0
        [schedule]
        epochs = 2
        steps = 12
        kind = "cosine_steps"
        [augment]
        crop = 0.5
        noise = 0.5
        [keep]
        every = 2
        [[data]]
        kind = "town"
        blocks = 2
        spacing = 12.0
    "#;
    std::fs::write(&file, text).expect("temporary folders can be written");
    file
}

/// A run of a stage, with what is set differently from its file.
fn train(stage: &[&str], file: &Path, out: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("train").args(stage).arg("--config").arg(file).arg("--out").arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Every line of the log without what a clock says.
fn log(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("log.jsonl")).expect("a log");
    let timeless = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line.as_object_mut().expect("an object").remove("images_per_second");
        line
    };
    text.lines().map(timeless).collect()
}

/// Leaves a run alone in one folder and kills it three times in another; both folders come back.
fn left_and_killed(stage: &[&str], file: &Path, home: &Path) -> (PathBuf, PathBuf) {
    let (whole, cut) = (home.join("whole"), home.join("cut"));
    assert!(train(stage, file, &whole).status().expect("the program starts").success());

    let mut kills = 0;
    let mut command = train(stage, file, &cut);
    loop {
        let mut child = command.spawn().expect("the program starts");
        let start = Instant::now();
        // Later in each round, so that some step is reached even on a slow machine.
        let ended = loop {
            if let Some(status) = child.try_wait().expect("it was started") {
                break Some(status);
            }
            let lines = std::fs::read_to_string(cut.join("log.jsonl")).map_or(0, |text| text.lines().count());
            if lines > 5 + 7 * kills && kills < 3 {
                child.kill().expect("it runs");
                child.wait().expect("it was started");
                break None;
            }
            assert!(start.elapsed() < Duration::from_secs(300), "round {kills} does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        match ended {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kills += 1,
        }
        command = train(stage, file, &cut);
        command.arg("--resume");
    }
    assert_eq!(kills, 3);
    assert_eq!(log(&cut), log(&whole));
    let model = |out: &Path| std::fs::read(out.join("best.safetensors")).expect("a model");
    assert!(model(&cut) == model(&whole), "another model came out");
    (whole, cut)
}

/// Keeps views of each photograph, two an epoch.
const KEPT: [&str; 9] = [
    "rerank",
    "--set",
    "batch.kept_views=2",
    "--set",
    "mining.kind=\"global\"",
    "--set",
    "mining.positive=\"any\"",
    "--set",
    "loss.order_weight=0.5",
];

#[test]
fn a_killed_run_over_kept_views_goes_on_to_the_same_bits() {
    let home = tempfile::tempdir().expect("temporary folder");
    left_and_killed(&KEPT, &run_in(home.path()), home.path());
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let (whole, cut) = left_and_killed(&["end-to-end"], &file, home.path());
    let mut again = r2former();
    again.args(["train", "end-to-end", "--config"]).arg(&file).arg("--out").arg(&whole);
    names(&fails(&mut again, 1), &["already holds a run", "--resume"]);
    names(&fails(again.args(["--resume", "--set", "batch.size=5"]), 1), &["another configuration"]);
    for file in ["curves.csv", "curves.svg", "config.toml"] {
        assert!(cut.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn what_cannot_be_trained_is_told() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let out = home.path().join("out");
    let tell = |changes: &[&str], resume: bool| {
        let mut command = r2former();
        command.args(["train", "end-to-end", "--config"]).arg(&file).arg("--out").arg(&out);
        for change in changes {
            command.args(["--set", change]);
        }
        if resume {
            command.arg("--resume");
        }
        fails(&mut command, 1)
    };
    names(&tell(&[], true), &["no checkpoint", "--resume"]);
    names(&tell(&["start=\"none.safetensors\""], false), &["none.safetensors"]);
    names(&tell(&["optimizer.lr=-1"], false), &["lr"]);
    names(&tell(&["optimizer.speed=1"], false), &["speed"]);
    names(&tell(&["schedule.steps=0"], false), &["steps"]);
    names(&tell(&["data=[]"], false), &["data"]);
    names(&tell(&["data=[{kind=\"folders\",path=\"nowhere\"}]"], false), &["nowhere"]);
    names(&tell(&["model.local_layer=2"], false), &["local.layer 2", "1 to 1"]);
    // A rate that blows the weights up: the batch is kept, and the message says what to do.
    let said = tell(
        &["optimizer.lr=1e30", "optimizer.kind=\"sgd\"", "optimizer.clip=0.0", "mining.kind=\"random\""],
        false,
    );
    names(&said, &["not a finite number", "not-finite-step", "learning rate"]);
    let pictures = std::fs::read_dir(&out).expect("the run's folder");
    assert!(pictures.flatten().any(|f| f.file_name().to_string_lossy().starts_with("not-finite")));
}
