//! Image sizes by a rule through the program: remembered by model and index, refused where they do not fit, and photographs
//! of every shape.

mod common;

use common::{fails, names, picture, r2former};
use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A published R2Former without its second stage, of patches of 16 pixels.
fn global_only() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity/global_only.pth")
}

fn report(command: &mut common::Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn said(command: &mut common::Command) -> String {
    String::from_utf8_lossy(&command.assert().success().get_output().stdout).into_owned()
}

/// Landscape, portrait, square, tiny, huge and a strip.
const SHAPES: [(&str, usize, usize); 6] = [
    ("landscape.jpg", 200, 150),
    ("portrait.jpg", 150, 200),
    ("square.jpg", 97, 97),
    ("tiny.jpg", 9, 7),
    ("huge.jpg", 2400, 1800),
    ("strip.jpg", 900, 40),
];

fn shapes(dir: &Path) {
    for (i, (name, width, height)) in (0u32..).zip(SHAPES) {
        let position = Some(LatLon { lat: 52.2 + 0.001 * f64::from(i), lon: 0.12 });
        let tags = PhotoTags { position, ..Default::default() };
        let bytes = jpeg_with_tags(&picture(i, width, height), 90, &tags).expect("encodes");
        std::fs::write(dir.join(name), bytes).expect("can be written");
    }
}

#[test]
fn every_shape_is_found_under_every_rule() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = home.path().join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    shapes(&photos);
    let model = home.path().join("model");
    let mut import = r2former();
    import.args(["model", "import"]).arg(global_only()).arg(&model).args(["--image-size", "longest:160"]);
    let config = report(&mut import)["model"].clone();
    assert_eq!(
        (&config["image_size"], &config["config"]["input"]["rule"]),
        (&"longest:160".into(), &"longest:160".into())
    );

    for (i, rule) in ["", "native", "shorter:64", "native:crop", "96x64"].into_iter().enumerate() {
        let index = home.path().join(format!("index{i}"));
        let mut create = r2former();
        create.args(["index", "create"]).arg(&index).arg("--model").arg(&model);
        if !rule.is_empty() {
            create.args(["--image-size", rule]);
        }
        let rule = if rule.is_empty() { "longest:160" } else { rule };
        assert!(said(&mut create).contains(&format!("at {rule}")), "{rule}");
        let mut add = r2former();
        add.args(["index", "add"]).arg(&index).arg(&photos);
        // Cut to multiples of the patch, nothing is left of the tiny one.
        if rule == "native:crop" {
            names(&fails(&mut add, 3), &["tiny.jpg", "9 x 7 pixels", "native:crop"]);
        } else {
            add.assert().success();
        }
        // The index remembers.
        assert!(
            said(r2former().args(["index", "info"]).arg(&index))
                .contains(&format!("input       {rule}, f32"))
        );
        let info = report(r2former().args(["index", "info"]).arg(&index));
        assert_eq!((info["input"].as_str(), info["precision"].as_str()), (Some(rule), Some("f32")), "{info}");
        for (name, ..) in SHAPES {
            let mut query = r2former();
            query.arg("query").arg(&index).arg(photos.join(name)).args(["--rerank", "none"]);
            if rule == "native:crop" && name == "tiny.jpg" {
                names(&fails(&mut query, 1), &["tiny.jpg", "9 x 7 pixels"]);
                continue;
            }
            let first = report(&mut query)["answers"][0]["matches"][0].clone();
            let found = first["path"].as_str().is_some_and(|path| path.ends_with(name));
            assert!(
                found && first["similarity"].as_f64().is_some_and(|s| s > 0.9999),
                "{rule} {name}: {first}"
            );
        }
    }

    // Reranked: local features of photographs of different sizes, in the index and in the query.
    for method in ["ransac", "mutual"] {
        let mut query = r2former();
        query
            .arg("query")
            .arg(home.path().join("index1"))
            .arg(photos.join("portrait.jpg"))
            .args(["--rerank", method]);
        let first = report(&mut query)["answers"][0]["matches"][0].clone();
        assert!(
            first["path"].as_str().is_some_and(|path| path.ends_with("portrait.jpg")),
            "{method}: {first}"
        );
    }
    let pictures = home.path().join("matches.svg");
    let mut show = r2former();
    show.args(["show", "matches"]).arg(photos.join("portrait.jpg")).arg(photos.join("landscape.jpg"));
    show.arg("--model").arg(&model).arg("--out").arg(&pictures).assert().success();
    let svg = std::fs::read_to_string(pictures).expect("a picture");
    assert!(svg.contains("RANSAC"));
    // Fewer patches than another photograph has: rows of zeros.
    let out = home.path().join("features.safetensors");
    let mut extract = r2former();
    extract.arg("extract").args([photos.join("landscape.jpg"), photos.join("tiny.jpg")]);
    extract.arg("--model").arg(&model).arg("--out").arg(&out);
    let tensors = report(&mut extract)["tensors"].clone();
    // 160 x 120 becomes 160 x 128: 10 x 8 patches.
    assert_eq!((&tensors["local"][0], &tensors["local"][1]), (&2.into(), &80.into()));
}

#[test]
fn a_model_keeps_its_rule_or_takes_another() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str| home.path().join(name);
    let mut import = r2former();
    import
        .args(["model", "import"])
        .arg(global_only())
        .arg(file("a"))
        .args(["--image-size", "longest:640:crop"]);
    report(&mut import);
    let info = said(r2former().args(["model", "info"]).arg(file("a")));
    names(&info, &["longest:640:crop (own shape, longer side at most 640 pixels, cut", "at 480x640"]);
    let mut copy = r2former();
    copy.args(["model", "copy"]).arg(file("a")).arg(file("b")).args(["--image-size", "48x64"]);
    let config = report(&mut copy)["model"].clone();
    assert_eq!(config["image_size"], serde_json::json!([48, 64]));
    assert!(config["config"]["input"].get("rule").is_none(), "as files were before rules");

    for (size, parts) in [
        ("longest:9", &["longest:9", "HEIGHTxWIDTH", "native"][..]),
        ("480", &["480", "HEIGHTxWIDTH"]),
        ("longest:4000", &["3000x4000", "1048576"]),
        ("47x64", &["multiples of 16"]),
    ] {
        let mut copy = r2former();
        copy.args(["model", "copy"]).arg(file("a")).arg(file("c")).args(["--image-size", size]);
        let code = if size == "longest:9" || size == "480" { 2 } else { 1 };
        names(&fails(&mut copy, code), parts);
    }
    // Queries that are cropped need one size.
    let photos = file("photos");
    std::fs::create_dir(&photos).expect("a folder");
    shapes(&photos);
    let mut eval = r2former();
    eval.args(["eval", "photos"])
        .arg("--database")
        .arg(&photos)
        .arg("--queries")
        .arg(&photos)
        .arg("--model")
        .arg(file("a"));
    eval.args(["--query-preprocessing", "five_crops"]);
    names(&fails(&mut eval, 1), &["longest:640:crop", "five_crops", "--image-size HxW"]);
}
