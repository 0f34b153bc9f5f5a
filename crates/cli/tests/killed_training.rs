//! `train` killed in the middle and resumed: the same bits as an uninterrupted run. Also its output and its errors.

mod common;

use common::{PROGRAM, fails, names, picture, r2former};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_model::checkpoint::{Storage, save};
use r2former_model::{
    BackboneConfig, Device, GlobalConfig, LocalConfig, ModelConfig, Pooling, R2Former, RerankerConfig,
    VitConfig,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A small model and a run over the rendered town with both losses, mining and a moving average.
fn run_in(home: &Path) -> PathBuf {
    let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        *vit = VitConfig { dim: 24, depth: 2, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
    }
    config.global = GlobalConfig::Linear { dim: 16, pooling: Pooling::Gem };
    config.local = Some(LocalConfig { dim: 16, count: 12, ..Default::default() });
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
        ema_decay = 0.9
        clip = 1.0
        [schedule]
        epochs = 2
        steps = 12
        kind = "cosine_steps"
        [augment]
        crop = 0.5
        noise = 0.5
        [checkpoint]
        every = 2
        [[data]]
        kind = "town"
        blocks = 2
        spacing = 12.0
    "#;
    std::fs::write(&file, text).expect("temporary folders can be written");
    file
}

/// A run of a stage, with overrides of its file.
fn train(stage: &[&str], file: &Path, out: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("train").args(stage).arg("--config").arg(file).arg("--out").arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Every entry of the log without its timing.
fn log(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("log.jsonl")).expect("a log");
    let timeless = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line.as_object_mut().expect("an object").remove("images_per_second");
        line
    };
    text.lines().map(timeless).collect()
}

/// Runs to the end in one folder, and in another killed three times; `code` is the exit code. Returns both folders.
fn whole_and_killed(stage: &[&str], file: &Path, home: &Path, code: i32) -> (PathBuf, PathBuf) {
    let (whole, cut) = (home.join("whole"), home.join("cut"));
    assert_eq!(train(stage, file, &whole).status().expect("the program starts").code(), Some(code));

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
                assert_eq!(status.code(), Some(code));
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

/// Caches two views per photograph and epoch.
const CACHED: [&str; 9] = [
    "rerank",
    "--set",
    "batch.cached_views=2",
    "--set",
    "mining.kind=\"global\"",
    "--set",
    "mining.positive=\"any\"",
    "--set",
    "loss.ranking_loss_weight=0.5",
];

#[test]
fn a_killed_run_over_cached_views_resumes_to_the_same_bits() {
    let home = tempfile::tempdir().expect("temporary folder");
    whole_and_killed(&CACHED, &run_in(home.path()), home.path(), 0);
}

/// Pairs of warps, with the last block trained and held to the start model.
const PAIRS: [&str; 11] = [
    "local",
    "--set",
    "model.local_dim=16",
    "--set",
    "mining.kind=\"random\"",
    "--set",
    "augment.crop=0.0",
    "--set",
    "model.freeze_blocks=1",
    "--set",
    "loss.distillation_weight=1.0",
];

#[test]
fn a_killed_run_over_pairs_resumes_to_the_same_bits() {
    let home = tempfile::tempdir().expect("temporary folder");
    whole_and_killed(&PAIRS, &run_in(home.path()), home.path(), 0);
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let (whole, cut) = whole_and_killed(&["end-to-end"], &file, home.path(), 0);
    let mut again = r2former();
    again.args(["train", "end-to-end", "--config"]).arg(&file).arg("--out").arg(&whole);
    names(&fails(&mut again, 1), &["already holds a run", "--resume"]);
    names(&fails(again.args(["--resume", "--set", "batch.size=5"]), 1), &["another configuration"]);
    for file in ["curves.csv", "curves.svg", "config.toml"] {
        assert!(cut.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn configurations_and_data_that_cannot_be_used_are_errors() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let out = home.path().join("out");
    let error = |changes: &[&str], resume: bool| {
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
    names(&error(&[], true), &["no checkpoint", "--resume"]);
    names(&error(&["start=\"none.safetensors\""], false), &["none.safetensors"]);
    names(&error(&["optimizer.lr=-1"], false), &["lr"]);
    names(&error(&["optimizer.speed=1"], false), &["speed"]);
    names(&error(&["schedule.steps=0"], false), &["steps"]);
    names(&error(&["data=[]"], false), &["data"]);
    names(&error(&["data=[{kind=\"folders\",path=\"nowhere\"}]"], false), &["nowhere"]);
    names(&error(&["model.local_layer=2"], false), &["local.layer 2", "1 to 1"]);
    for key in ["loss.margin", "optimizer.lr", "optimizer.ema_decay", "places.heading_deg"] {
        names(&error(&[&format!("{key}=nan")], false), &[key, "finite"]);
    }
    for (old, new) in [
        ("loss.order_weight=1.0", "loss.ranking_loss_weight"),
        ("batch.kept_views=1", "batch.cached_views"),
        ("batch.mirror=0.5", "batch.horizontal_flip"),
        ("keep.every=5", "checkpoint.every"),
        ("optimizer.average=0.9", "optimizer.ema_decay"),
    ] {
        names(&error(&[old], false), &[old.split('=').next().unwrap_or_default(), new]);
    }
    // The reason of the operating system is printed once.
    let missing = error(&["start=\"none.safetensors\""], false);
    assert_eq!(missing.matches("No such file").count(), 1, "{missing}");
    // A learning rate that makes the weights explode: the batch is saved, and the message says what to do.
    let said = error(
        &["optimizer.lr=1e30", "optimizer.kind=\"sgd\"", "optimizer.clip=0.0", "mining.kind=\"random\""],
        false,
    );
    names(&said, &["not a finite number", "not-finite-step", "learning rate"]);
    let pictures = std::fs::read_dir(&out).expect("the run's folder");
    assert!(pictures.flatten().any(|f| f.file_name().to_string_lossy().starts_with("not-finite")));
}

/// Folders of photographs, one of them cut short and one empty, and a run over them.
fn broken_photographs(home: &Path) -> PathBuf {
    let file = run_in(home);
    for place in 0..4u32 {
        let folder = home.join(format!("places/{place}"));
        std::fs::create_dir_all(&folder).expect("temporary folders can be written");
        for i in 0..3u32 {
            let image = picture(3 * place + i, 48, 40);
            let mut bytes =
                jpeg_with_tags(&image, 90, &PhotoTags::default()).expect("a sound picture encodes");
            match (place, i) {
                (0, 1) => bytes.truncate(bytes.len() / 2),
                (2, 2) => bytes.clear(),
                _ => {}
            }
            std::fs::write(folder.join(format!("{i}.jpg")), bytes).expect("temporary folders can be written");
        }
    }
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let (before, _) = text.split_once("[[data]]").expect("data at its end");
    let data = "[[data]]\nkind = \"folders\"\npath = \"places\"\n";
    std::fs::write(&file, format!("{before}{data}")).expect("temporary folders can be written");
    file
}

/// Entries of the log for photographs that were left out.
fn left_out(log: &[serde_json::Value]) -> Vec<String> {
    let paths = log.iter().filter(|entry| entry["event"] == "left_out");
    paths.map(|entry| entry["path"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn broken_photographs_are_left_out_named_once_and_resumed_over() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = broken_photographs(home.path());
    let (whole, _) = whole_and_killed(&["end-to-end"], &file, home.path(), 3);
    let found = left_out(&log(&whole));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with("places/2/2.jpg") && found[1].ends_with("places/0/1.jpg"), "{found:?}");

    let out = home.path().join("cached");
    let mut command = r2former();
    command.arg("train").args(CACHED).arg("--config").arg(&file).arg("--out").arg(&out);
    let said = fails(&mut command, 3);
    assert_eq!(
        (said.matches("places/0/1.jpg").count(), said.matches("left out: ").count()),
        (1, 2),
        "{said}"
    );
    assert_eq!(left_out(&log(&out)).len(), 2);
}

#[test]
fn a_run_reports_its_data_its_start_its_duration_and_its_best() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let town = home.path().join("town");
    let mut command = r2former();
    command.arg("town").arg(&town).args(["--blocks", "2x2", "--size", "48x48", "--queries", "6"]);
    command.assert().success();
    let mut text = std::fs::read_to_string(&file).expect("a configuration");
    text +=
        "[validation]\nkind = \"photos\"\ndatabase = \"town/database.csv\"\nqueries = \"town/queries.csv\"\n";
    text += "candidates = 3\nbest_by = 1\n";
    std::fs::write(&file, text).expect("temporary folders can be written");
    let mut command = r2former();
    command.args(["train", "end-to-end", "--config"]).arg(&file).arg("--out").arg(home.path().join("run"));
    command.args(["--set", "schedule.steps=3"]);
    let output = command.assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let place = |part: &str| said.find(part).unwrap_or_else(|| panic!("no '{part}' in: {said}"));
    // All of it before the first step.
    let order = [
        "start.safetensors",
        "data source 1",
        "start model  global R@1/5/10",
        "estimated duration: about",
        "step 1/6",
    ];
    assert!(order.map(place).is_sorted(), "{said}");
    let result = String::from_utf8_lossy(&output.stdout).into_owned();
    names(
        &result,
        &[
            "6 steps",
            "best: recall@1 reranked ",
            "% (best_by = 1) after epoch ",
            "; start model ",
            "best.safetensors",
        ],
    );
    let entries = log(&home.path().join("run"));
    assert_eq!((&entries[0]["event"], &entries[0]["step"]), (&"baseline".into(), &0.into()));
    let table = std::fs::read_to_string(home.path().join("run/curves.csv")).expect("a table");
    assert!(
        table.starts_with("step,epoch,lr,loss,global_loss,rerank_loss,rerank_accuracy,gradient_norm,"),
        "{table}"
    );
}

#[test]
fn a_preset_is_commented_and_needs_only_data() {
    let home = tempfile::tempdir().expect("temporary folder");
    let output =
        r2former().args(["train", "preset", "finetune"]).assert().success().get_output().stdout.clone();
    let preset = String::from_utf8(output).expect("text");
    names(&preset, &["start = \"r2former-tiny\"", "heading_deg = 30.0", "# "]);
    let file = home.path().join("run.toml");
    let data = "[[data]]\nkind = \"town\"\nblocks = 2\n";
    std::fs::write(&file, format!("{preset}\n{data}")).expect("temporary folders can be written");
    let picture = home.path().join("batch.png");
    let mut command = r2former();
    command.args(["train", "preview", "finetune", "--config"]).arg(&file).arg("--out").arg(&picture);
    command.args(["--set", "batch.size=2"]).assert().success();
    assert!(picture.is_file());
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_work() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = run_in(home.path());
    let mut command = r2former();
    // A file stands where the folder should be.
    command.args(["train", "end-to-end", "--config"]).arg(&file).arg("--out").arg(&file);
    let said = fails(&mut command, 1);
    assert_eq!(said.matches("run.toml").count(), 1, "{said}");
    let mut command = r2former();
    let out = home.path().join("no/folder/batch.png");
    command.args(["train", "preview", "end-to-end", "--config"]).arg(&file).arg("--out").arg(&out);
    names(&fails(&mut command, 1), &["no/folder/batch.png"]);
}
