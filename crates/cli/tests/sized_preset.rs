//! `train preset STAGE --config FILE`: a configuration that is sized to data and machine, and runs as printed. Also training
//! on listed pairs.

mod common;

use common::{fails, names, picture, r2former};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_model::checkpoint::{Storage, save};
use r2former_model::{
    BackboneConfig, Device, GlobalConfig, LocalConfig, ModelConfig, Pooling, R2Former, RerankerConfig,
    VitConfig,
};
use std::path::Path;

/// A small model whose local features are those of its first block but one.
fn start_in(home: &Path) {
    let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        *vit = VitConfig { dim: 24, depth: 4, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
    }
    config.global = GlobalConfig::Linear { dim: 16, pooling: Pooling::Gem };
    config.local = Some(LocalConfig {
        dim: 16,
        count: 12,
        official_gather: false,
        layer: Some(2),
        ..Default::default()
    });
    config.reranker =
        Some(RerankerConfig { dim: 16, heads: 2, pair_depth: 1, depth: 2, ..Default::default() });
    [config.input.height, config.input.width] = [32, 32];
    (config.trained.local, config.trained.reranker) = (true, true);
    let tensors =
        R2Former::random(&config, 1, &Device::flex()).and_then(|m| m.to_tensors()).expect("a model");
    save(&home.join("start.safetensors"), &config, &tensors, Storage::F32).expect("can be written");
}

/// Writes a file below a folder.
fn write(home: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("temporary folders can be written");
    std::fs::write(path, content).expect("temporary folders can be written");
}

#[test]
fn a_sized_preset_runs_as_printed() {
    let home = tempfile::tempdir().expect("temporary folder");
    start_in(home.path());
    let mut command = r2former();
    command.arg("town").arg(home.path().join("town"));
    command.args(["--blocks", "2x2", "--size", "48x48", "--queries", "6"]).assert().success();
    // An unreadable photograph is left out, in timing and in training.
    write(home.path(), "bad/broken.jpg", "no photograph");
    let table = std::fs::read_to_string(home.path().join("town/database.csv")).expect("a table");
    let header = table.lines().next().expect("a header").split(',').collect::<Vec<_>>();
    let first = table.lines().nth(1).expect("a row").split(',').collect::<Vec<_>>();
    let broken = header.iter().zip(&first).map(|(name, cell)| match *name {
        "path" => "../bad/broken.jpg",
        _ => *cell,
    });
    let broken = broken.collect::<Vec<_>>().join(",");
    write(home.path(), "town/train.csv", format!("{}\n{broken}\n", table.trim_end()));
    let text = "name = \"small\"\nstart = \"start.safetensors\"\n[places]\npositive_m = 14.0\n\
                [optimizer]\nlr = 1e-3\n[[data]]\nkind = \"photos\"\npath = \"town/train.csv\"\n\
                [validation]\nkind = \"photos\"\ndatabase = \"town/database.csv\"\n\
                queries = \"town/queries.csv\"\ncandidates = 3\nbest_by = 1\n";
    write(home.path(), "tune.toml", text);
    let file = home.path().join("tune.toml");
    let mut command = r2former();
    command.args(["train", "preset", "finetune", "--minutes", "0.05", "--config"]).arg(&file);
    let output = command.assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "", "progress is for a terminal");
    let sized = String::from_utf8(output.stdout).expect("text");
    names(
        &sized,
        &[
            "# Stage finetune with the keys of ",
            "sized to about 0.05 min",
            "of them with another of the same place",
            "# A step takes ",
            ", a validation ",
            "(24 queries, ",
            ", a mining pass ",
            "# Estimated duration: about ",
            "# Chosen by data and machine: ",
            "name = \"small\"",
            "lr = 0.001",
            "positive_m = 14.0",
            "freeze_blocks = 2",
            "freeze_local_head = true",
            "heading_deg = 30.0",
            "best_by = 1",
        ],
    );
    // In another folder.
    write(home.path(), "elsewhere/sized.toml", &sized);
    let mut command = r2former();
    command.args(["train", "finetune", "--config"]).arg(home.path().join("elsewhere/sized.toml"));
    command.arg("--out").arg(home.path().join("run")).args(["--set", "schedule.steps=3"]);
    let ended = command.assert();
    let output = ended.get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!([0, 3].contains(&output.status.code().expect("it ended")), "{said}");
    names(&said, &["start model  global R@1/5/10", "estimated duration: about"]);
    names(&String::from_utf8_lossy(&output.stdout), &["best: recall@1 reranked ", "(best_by = 1)"]);

    // A schedule of the file is kept, and its time reported.
    write(home.path(), "fixed.toml", format!("{text}[schedule]\nepochs = 3\nsteps = 400\n"));
    let mut command = r2former();
    command.args(["train", "preset", "finetune", "--config"]).arg(home.path().join("fixed.toml"));
    let output = command.assert().success().get_output().clone();
    let kept = String::from_utf8_lossy(&output.stdout).into_owned();
    names(
        &kept,
        &["whose schedule is kept", "(1200 steps of ", "4 validations of ", "steps = 400", "epochs = 3"],
    );

    let mut command = r2former();
    names(&fails(command.args(["train", "preset", "finetune", "--minutes", "5"]), 2), &["--config"]);
    let mut command = r2former();
    command.args(["train", "preset", "finetune", "--minutes", "0", "--config"]).arg(&file);
    names(&fails(&mut command, 2), &["a duration in minutes"]);
}

/// Six queries and six references of six places, each listed with its own and the next, and a run over them.
fn pairs_in(home: &Path, part: &str) {
    start_in(home);
    let mut rows = String::from("query,reference\n");
    for place in 0..6u32 {
        for side in ["q", "db"] {
            let bytes = jpeg_with_tags(&picture(place, 48, 40), 90, &PhotoTags::default());
            write(home, &format!("{side}/{place}.jpg"), bytes.expect("a sound picture encodes"));
        }
        rows += &format!("{place}.jpg,{place}.jpg\n{place}.jpg,{}.jpg\n", (place + 1).min(5));
    }
    write(home, "positives.csv", rows);
    let set = "kind = \"pairs\"\ndatabase = \"db\"\nqueries = \"q\"\npositives = \"positives.csv\"\n";
    let text = format!(
        "name = \"small\"\nstart = \"start.safetensors\"\n[batch]\nsize = 2\nnegatives = 1\n\
         [schedule]\nepochs = 1\nsteps = 2\n[[data]]\n{set}{part}\n\
         [validation]\n{set}part = [0.5, 1.0]\ncandidates = 3\n"
    );
    write(home, "run.toml", text);
}

#[test]
fn listed_pairs_train_every_stage() {
    let home = tempfile::tempdir().expect("temporary folder");
    pairs_in(home.path(), "part = [0.0, 0.5]");
    for stage in ["global", "local", "rerank", "joint", "end-to-end", "finetune"] {
        let mut command = r2former();
        command.args(["train", stage, "--config"]).arg(home.path().join("run.toml"));
        command.arg("--out").arg(home.path().join(stage));
        if stage == "rerank" {
            command.args(["--set", "mining.positive=\"any\"", "--set", "batch.cached_views=1"]);
        }
        let output = command.assert().success().get_output().clone();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        names(&said, &["9 training images, 7 of them with another", "3 queries, 6 references", "step 2/2"]);
    }
    let picture = home.path().join("batch.png");
    let mut command = r2former();
    command.args(["train", "preview", "joint", "--config"]).arg(home.path().join("run.toml"));
    command.arg("--out").arg(&picture).assert().success();
    assert!(picture.is_file());
}

#[test]
fn pairs_that_cannot_be_used_say_what_to_do() {
    let home = tempfile::tempdir().expect("temporary folder");
    let error = |part: &str, change: &[&str]| {
        pairs_in(home.path(), part);
        let mut command = r2former();
        command.args(["train", "joint", "--config"]).arg(home.path().join("run.toml"));
        command.arg("--out").arg(home.path().join("out"));
        fails(command.args(change), 1)
    };
    names(&error("part = [0.5, 0.2]", &[]), &["data.part = [0.5, 0.2]", "0 <= from < to <= 1"]);
    names(&error("part = [0.0, 0.01]", &[]), &["data.part = [0, 0.01]", "enlarge the part"]);
    names(&error("halves = 2", &[]), &["halves"]);
    names(&error("", &["--set", "validation.part=[0.9, 0.91]"]), &["validation.part", "enlarge"]);
    names(&error("", &["--set", "validation.part=[0.5, 2]"]), &["validation.part", "such as"]);
}
