//! The second stage of models that were published without one: local features at import, other ones by `model copy`, and
//! RANSAC and mutual matches over both.

mod common;

use common::{fails, names, photo_folder, r2former};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn parity(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity").join(name)
}

/// A published R2Former without its second stage.
fn global_only() -> PathBuf {
    parity("global_only.pth")
}

fn report(command: &mut common::Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Indexes photographs with a model and asks for one of them by each method.
fn asked(home: &Path, name: &str, model: &Path) {
    let photos = photo_folder();
    let index = home.join(format!("index-{name}"));
    r2former().args(["index", "create"]).arg(&index).arg("--model").arg(model).assert().success();
    r2former().args(["index", "add"]).arg(&index).arg(photos.path()).assert().success();
    for (method, kind) in [("ransac", "ransac_inliers"), ("mutual", "mutual_matches")] {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("1.jpg")).args(["--rerank", method]);
        let first = report(&mut command)["answers"][0]["matches"][0].clone();
        assert!(first["path"].as_str().is_some_and(|path| path.ends_with("1.jpg")), "{name}: {first}");
        assert_eq!(first["score_kind"], kind);
        assert!(first["score"].as_f64().is_some_and(|score| score > 4.0), "{name}: {first}");
    }
}

#[test]
fn an_imported_model_reranks_without_options() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str| home.path().join(name);
    let said = report(r2former().args(["model", "import"]).arg(global_only()).arg(file("plain")));
    let config = &said["model"]["config"];
    assert_eq!((&config["reranker"], &config["trained"]["local"]), (&Value::Null, &false.into()));
    let notes = said["notes"].to_string();
    assert!(notes.contains("--rerank ransac") && !notes.contains("global-only"), "{notes}");
    asked(home.path(), "projected", &file("plain"));

    // Values as they are, all of them but the weakest.
    let mut copy = r2former();
    copy.args(["model", "copy"]).arg(file("plain")).arg(file("values"));
    copy.args([
        "--local-facet",
        "value",
        "--local-dim",
        "all",
        "--num-local",
        "30",
        "--local-min-similarity",
        "0.3",
    ]);
    let local = report(&mut copy)["model"]["config"]["local"].clone();
    assert_eq!(
        (&local["facet"], &local["projected"], &local["count"]),
        (&"value".into(), &false.into(), &30.into())
    );
    asked(home.path(), "values", &file("values"));

    // Without any, the error says where to get some.
    let mut without = r2former();
    without.args(["model", "import"]).arg(global_only()).arg(file("none")).args(["--local", "none"]);
    assert_eq!(report(&mut without)["model"]["config"]["local"], Value::Null);
    let index = file("without");
    r2former().args(["index", "create"]).arg(&index).arg("--model").arg(file("none")).assert().success();
    let photos = photo_folder();
    r2former().args(["index", "add"]).arg(&index).arg(photos.path()).assert().success();
    let mut query = r2former();
    query.arg("query").arg(&index).arg(photos.path().join("1.jpg")).args(["--rerank", "mutual"]);
    names(&fails(&mut query, 1), &["no local features", "model copy --local patches"]);
}

/// AnyLoc's are the values that its descriptor is made of, unless others are asked for.
#[test]
fn anyloc_reranks_by_its_own_values() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str| home.path().join(name);
    let mut import = r2former();
    import.args(["model", "import"]).arg(parity("dinov2.pth")).arg(file("plain"));
    import.arg("--vocabulary").arg(parity("dinov2_small_l2_value_c6_urban_c_centers.pt"));
    import.args(["--image-size", "112x140"]);
    let said = report(&mut import);
    let local = &said["model"]["config"]["local"];
    assert_eq!((&local["facet"], &local["layer"]), (&"value".into(), &Value::Null), "{said}");
    asked(home.path(), "values", &file("plain"));

    let mut copy = r2former();
    copy.args(["model", "copy"]).arg(file("plain")).arg(file("keys"));
    copy.args(["--local-facet", "key", "--local-layer", "1", "--local-dim", "all", "--num-local", "40"]);
    let local = report(&mut copy)["model"]["config"]["local"].clone();
    assert_eq!((&local["layer"], &local["dim"], &local["geometry"]), (&1.into(), &48.into(), &Value::Null));
    asked(home.path(), "keys", &file("keys"));

    // What RANSAC fits stays what it is where nothing is said of it.
    let mut copy = r2former();
    copy.args(["model", "copy"])
        .arg(file("keys"))
        .arg(file("similar"))
        .args(["--local-geometry", "similarity"]);
    report(&mut copy);
    let mut copy = r2former();
    copy.args(["model", "copy"]).arg(file("similar")).arg(file("fewer")).args([
        "--local",
        "patches",
        "--num-local",
        "30",
    ]);
    let local = report(&mut copy)["model"]["config"]["local"].clone();
    assert_eq!((&local["geometry"], &local["count"]), (&"similarity".into(), &30.into()));
    asked(home.path(), "fewer", &file("fewer"));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let home = tempfile::tempdir().expect("temporary folder");
    let refused = |options: &[&str], code: i32| {
        let mut command = r2former();
        command.args(["model", "import"]).arg(global_only()).arg(home.path().join("model")).args(options);
        fails(&mut command, code)
    };
    for (options, code, parts) in [
        (&["--local-select", "aggregation"][..], 1, &["SALAD or BoQ", "global_only.pth"][..]),
        (&["--local-layer", "40"], 1, &["local.layer 40", "outside 1 to"]),
        (&["--local-facet", "colour"], 2, &["'colour'", "tokens, query, key, value"]),
        (&["--local-geometry", "plane"], 2, &["'plane'", "homography, similarity"]),
        (&["--local-dim", "0"], 2, &["'0'", "1 to 4096, or all"]),
        (&["--local", "some"], 2, &["patches, effovpr or none"]),
        (&["--local-min-similarity", "1.5"], 1, &["local.min_similarity"]),
    ] {
        names(&refused(options, code), parts);
    }
    // The built-in model's local features were trained.
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/r2former-tiny.safetensors");
    let mut copy = r2former();
    copy.args(["model", "copy"]).arg(built_in).arg(home.path().join("copy")).args(["--local-dim", "all"]);
    names(&fails(&mut copy, 1), &["was trained", "r2former-tiny"]);
}

#[test]
fn local_features_become_a_global_descriptor() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str| home.path().join(name);
    let mut import = r2former();
    import.args(["model", "import"]).arg(global_only()).arg(file("plain")).args(["--local-layer", "1"]);
    report(&mut import);
    let photos = home.path().join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    for seed in 0..12 {
        common::write_photo(&photos.join(format!("{seed}.jpg")), seed, None);
    }
    std::fs::write(photos.join("broken.jpg"), b"\xff\xd8\xff no picture").expect("a file");
    let vlad = |options: &[&str]| {
        let mut command = r2former();
        command.args(["model", "vlad"]).arg(file("plain")).arg(file("vlad")).arg("--images").arg(&photos);
        command.args(options);
        command
    };
    // A photograph that cannot be read is named, and the exit code says that it was left out.
    let mut fitted = vlad(&["--clusters", "4", "--dim", "8", "--json"]);
    let output = fitted.assert().code(3).get_output().clone();
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&said["photographs"], &said["left_out"]), (&12.into(), &1.into()), "{said}");
    names(&String::from_utf8_lossy(&output.stderr), &["broken.jpg"]);
    let mut info = r2former();
    let about = info.args(["model", "info"]).arg(file("vlad")).assert().success().get_output().stdout.clone();
    names(&String::from_utf8_lossy(&about), &["8 dimensions, VLAD of 4 clusters"]);
    asked(home.path(), "vlad", &file("vlad"));
    // Blocks after those of the local features only rank patches.
    let short = |blocks: &str| {
        let mut copy = r2former();
        copy.args(["model", "copy"]).arg(file("vlad")).arg(file("short")).args(["--blocks", blocks]);
        copy
    };
    names(&fails(&mut short("1"), 1), &["vlad", "1 blocks", "can be kept"]);
    let depth = report(&mut short("2"))["model"]["config"]["backbone"]["depth"].clone();
    assert_eq!(depth, 2);
    asked(home.path(), "short", &file("short"));
    // Fewer dimensions of a local feature; the descriptor that is made of them is fitted again.
    let pca = |of: &str, dim: &str| {
        let mut command = r2former();
        command.args(["model", "pca"]).arg(file(of)).arg(file("narrow")).arg("--images").arg(&photos);
        command.args(["--dim", dim]);
        command
    };
    for of in ["plain", "short"] {
        let output = pca(of, "16").arg("--json").assert().code(3).get_output().clone();
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&said["photographs"], &said["left_out"]), (&12.into(), &1.into()), "{said}");
        let mut info = r2former();
        let about =
            info.args(["model", "info"]).arg(file("narrow")).assert().success().get_output().stdout.clone();
        let about = String::from_utf8_lossy(&about).into_owned();
        names(&about, &["projected to 16 dimensions"]);
        assert_eq!(about.contains("8 dimensions, VLAD of 4 clusters"), of == "short", "{about}");
        asked(home.path(), &format!("narrow-{of}"), &file("narrow"));
    }
    names(&fails(&mut pca("plain", "4000"), 1), &["global_only", "4000 dimensions"]);
    names(&fails(&mut pca("plain", "0"), 2), &["--dim"]);
    let mut none = r2former();
    none.args(["model", "import"]).arg(global_only()).arg(file("none")).args(["--local", "none"]);
    report(&mut none);
    names(&fails(&mut pca("none", "16"), 1), &["no local features"]);
    // What cannot be fitted.
    names(&fails(&mut vlad(&["--dim", "12", "--clusters", "4"]), 1), &["12 photographs", "12 dimensions"]);
    names(&fails(&mut vlad(&["--dim", "600", "--clusters", "2"]), 1), &["dimensions", "clusters"]);
}
