//! `model export`: what it says, what it refuses, and the program of docs/onnx.md on photographs, beside `extract` and `match`.
//! The latter needs a Python with numpy, PIL, onnx and onnxruntime; without one it is left out, and says so.

mod common;
#[path = "../../model/tests/parity/generate.rs"]
#[allow(dead_code, reason = "shared with the parity tests")]
mod generate;
#[path = "../../onnx/tests/common/python.rs"]
mod python;

use common::{fails, names, r2former};
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The largest difference of a value.
const TOLERANCE: f64 = 1e-4;

fn parity(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity").join(name)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden").join(name)
}

fn report(command: &mut common::Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn python() -> Option<PathBuf> {
    python::python("numpy, PIL, onnx, onnxruntime", "on photographs", "pillow onnx onnxruntime")
}

/// Photographs of the rendered town without compression, which every decoder reads alike, and wide: where the width grows and the
/// height shrinks, Pillow 13 resizes down before across, which other versions and this program do not, and rounds otherwise.
fn photos(folder: &Path) -> Vec<PathBuf> {
    let town = Town::new(&TownConfig { seed: 11, blocks: (1, 1), ..TownConfig::default() }).expect("a town");
    let places = town.street_positions(15.0);
    let views = [
        (0, Condition::Day, [200, 150]),
        (0, Condition::Dusk, [140, 90]),
        (places.len() / 2, Condition::Rain, [320, 240]),
    ];
    let write = |(i, (place, condition, [width, height])): (usize, (usize, Condition, [usize; 2]))| {
        let place = places[place];
        let camera = Camera { x: place.x, y: place.y, heading: place.heading, ..Camera::default() };
        let picture =
            town.render(&View { camera, condition, visit: 1 }, width, height).expect("a free place");
        let path = folder.join(format!("{i}.ppm"));
        let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
        bytes.extend(picture.pixels);
        std::fs::write(&path, bytes).expect("temporary folders can be written");
        path
    };
    views.into_iter().enumerate().map(write).collect()
}

/// The program of docs/onnx.md.
fn program(folder: &Path) -> PathBuf {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/onnx.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let (_, rest) = text.split_once("```python\n").expect("it has a program");
    let (program, _) = rest.split_once("```").expect("which ends");
    let path = folder.join("places.py");
    std::fs::write(&path, program).expect("temporary folders can be written");
    path
}

/// A file of generated weights in a published layout, whose shapes the header of a file of outputs lists.
fn published(folder: &Path, outputs: &str, case: &str, rename: impl Fn(&str) -> String) -> PathBuf {
    let bytes = std::fs::read(parity(outputs)).expect("test data");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("test data is whole");
    let text = header.metadata().as_ref().and_then(|m| m.get(case)).expect("the case has shapes");
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(text).expect("JSON");
    let family = outputs.split('.').next().unwrap_or_default();
    let path = folder.join(match case {
        "s" | "splus" | "dinov2" => format!("{family}-{case}.safetensors"),
        _ => format!("{case}.safetensors"),
    });
    generate::write(&path, &shapes.into_iter().collect::<Vec<_>>(), rename);
    path
}

/// Files in every published layout, and what `model import` needs to know beside them.
fn layouts(folder: &Path) -> Vec<(String, PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    let mut add = |path: PathBuf, options: &[&str]| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        found.push((name, path, options.iter().map(ToString::to_string).collect::<Vec<_>>()));
    };
    add(golden("tiny.pth"), &[]);
    for name in [
        "global_only.pth",
        "deit.pth",
        "timm_vit.safetensors",
        "timm_dinov2.safetensors",
        "timm_dinov2_reg.safetensors",
    ] {
        add(parity(name), &["--pooling", "cls"]);
    }
    add(parity("dinov2.pth"), &["--pooling", "gem", "--image-size", "98x126"]);
    add(parity("dinov2_reg.pth"), &["--pooling", "mean", "--image-size", "98x126"]);
    let plain = str::to_string;
    for case in ["s", "splus"] {
        add(published(folder, "dinov3.outputs.safetensors", case, plain), &["--heads", "2"]);
    }
    for case in ["megaloc", "salad", "boq"] {
        add(published(folder, "aggregations.outputs.safetensors", case, plain), &[]);
    }
    for case in ["cricavpr", "selavpr", "selavpr_reg", "selavprplusplus_base", "selavprplusplus_large_rerank"]
    {
        add(published(folder, "adapters.outputs.safetensors", case, |name| format!("module.{name}")), &[]);
    }
    for case in [
        "ResNet18_512",
        "ResNet50_2048",
        "VGG16_512",
        "MixVPR_512",
        "NetVLAD_8_128",
        "NetVLAD_2_None",
        "BoQ_512",
    ] {
        let size: &[&str] = if case.starts_with("MixVPR") { &[] } else { &["--image-size", "160x208"] };
        add(published(folder, "cnns.outputs.safetensors", case, plain), size);
    }
    let vocabulary = parity("dinov2_small_l2_value_c6_urban_c_centers.pt");
    let vocabulary = vocabulary.to_string_lossy();
    add(
        published(folder, "anyloc.outputs.safetensors", "dinov2", plain),
        &["--vocabulary", &vocabulary, "--image-size", "126x84"],
    );
    found
}

/// Loads photographs as docs/onnx.md does. For each line with a model and the file that `extract` wrote it runs the model on one
/// photograph and on all, and prints the largest differences.
const COMPARE: &str = r#"
import json, sys
import numpy as np, onnx, onnxruntime
import places

def tensors(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return {
        name: np.frombuffer(data[8 + size :][slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items() if name != "__metadata__"
    }

def compare(model, expected, photos):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    images = np.stack([places.load(photo, meta) for photo in photos])
    expected = tensors(expected)
    worst = {}
    for batch in (slice(0, 1), slice(None)):
        for output, found in zip(session.get_outputs(), session.run(None, {"image": images[batch]})):
            wanted = expected["global" if output.name == "descriptor" else "local"][batch]
            assert found.shape == wanted.shape, (found.shape, wanted.shape)
            if output.name == "local":
                # Patches of nearly equal attention may change places: rows are compared by x and y.
                rows = lambda side: {(round(float(r[0]), 4), round(float(r[1]), 4)): r for r in side}
                pairs = [(a[k], b[k]) for a, b in zip(map(rows, found), map(rows, wanted)) for k in a.keys() & b.keys()]
                assert len(pairs) > 0.97 * found.shape[0] * found.shape[1], (len(pairs), found.shape)
                found, wanted = map(np.stack, zip(*pairs))
            worst[output.name] = max(worst.get(output.name, 0.0), float(np.abs(found - wanted).max()))
    return worst

for line in sys.stdin:
    model, expected = json.loads(line)
    print(json.dumps(compare(model, expected, sys.argv[1:])), flush=True)
"#;

#[test]
fn photographs_give_the_same_descriptors_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    program(home.path());
    std::fs::write(at("compare.py"), COMPARE).expect("temporary folders can be written");
    let photos = photos(home.path());
    let mut run = Command::new(&python);
    run.arg(at("compare.py")).args(&photos).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = run.spawn().expect("it ran before");
    let mut asked = child.stdin.take().expect("is piped");
    let mut answers = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let mut failures = Vec::new();
    let mut compare = |name: &str, model: Option<&Path>| {
        let (features, graph) = (at("features.safetensors"), at("model.onnx"));
        let mut extract = r2former();
        extract.arg("extract").args(&photos).args(["--precision", "f32", "--out"]).arg(&features);
        if let Some(model) = model {
            extract.arg("--model").arg(model);
        }
        let local = report(&mut extract)["tensors"]["local"].is_array();
        // Each resize mode in both ranges, other models in one.
        let both = ["built-in", "tiny.pth", "megaloc.safetensors", "boq.safetensors"].contains(&name);
        for range in ["normalised", "pixels"].into_iter().take(1 + usize::from(both)) {
            let mut export = r2former();
            export.args(["model", "export", "--onnx"]).arg(&graph).args(["--input", range]);
            export.args(model).args(local.then_some("--local"));
            report(&mut export);
            writeln!(asked, "{}", serde_json::json!([graph, features])).expect("it waits");
            // What went wrong is on standard error.
            let answer = answers.next().unwrap_or_else(|| panic!("{name}: no answer")).expect("text");
            let worst: Value = serde_json::from_str(&answer).expect("JSON");
            eprintln!("{name} {range}: {worst}");
            for (output, worst) in worst.as_object().expect("an object") {
                if worst.as_f64().expect("a number") > TOLERANCE {
                    failures.push(format!("{name} {range}: {output} differs by {worst}"));
                }
            }
        }
    };
    compare("built-in", None);
    for (name, file, options) in layouts(home.path()) {
        let model = at("model.safetensors");
        r2former().args(["model", "import"]).arg(&file).arg(&model).args(&options).assert().success();
        compare(&name, Some(&model));
    }
    drop(asked);
    assert!(child.wait().expect("it ran").success());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The program of docs/onnx.md prints the similarity of `match`, and the softmax of its logits.
#[test]
fn the_documented_program_reranks() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = photos(home.path());
    let [model, reranker] = ["tiny.onnx", "reranker.onnx"].map(|name| home.path().join(name));
    let mut export = r2former();
    export.args(["model", "export", "--local", "--onnx"]).arg(&model).arg("--reranker").arg(&reranker);
    let said = report(&mut export);
    assert_eq!(said["files"][1]["inputs"][0]["shape"], serde_json::json!(["query_features", 67]));
    let mut run = Command::new(python);
    let output = run
        .arg(program(home.path()))
        .args([&model, &reranker])
        .args(&photos)
        .output()
        .expect("it ran before");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for photo in &photos[1..] {
        let mut command = r2former();
        let expected = report(command.arg("match").arg(&photos[0]).arg(photo).args(["--precision", "f32"]));
        let line = text
            .lines()
            .find(|line| line.starts_with(&*photo.to_string_lossy()))
            .expect("a line per photograph");
        let words: Vec<&str> = line.split_whitespace().collect();
        let logit = |i: usize| expected["logits"][i].as_f64().expect("a number");
        let score = 1.0 / (1.0 + (logit(0) - logit(1)).exp());
        for (key, wanted) in
            [("similarity", expected["similarity"].as_f64().expect("a number")), ("score", score)]
        {
            let at = words.iter().position(|word| *word == key).expect("is named");
            let found: f64 = words[at + 1].parse().expect("a number");
            assert!((found - wanted).abs() < 2e-4, "{key}: {found}, but match says {wanted}");
        }
    }
}

#[test]
fn what_is_written_is_reported() {
    let home = tempfile::tempdir().expect("temporary folder");
    let graph = home.path().join("model.onnx");
    let mut command = r2former();
    command.args(["model", "export", "--image-size", "224x160", "--local", "--external-data", "--onnx"]);
    let said = report(command.arg(&graph));
    let file = &said["files"][0];
    assert_eq!((&said["model"], &said["opset"]), (&"r2former-tiny".into(), &17.into()));
    assert_eq!(file["inputs"][0]["shape"], serde_json::json!(["batch", 3, 224, 160]));
    assert_eq!(file["outputs"][0]["shape"], serde_json::json!(["batch", 256]));
    assert_eq!(file["outputs"][1]["shape"], serde_json::json!(["batch", 140, 67]));
    assert_eq!(
        (&file["metadata"]["image_size"], &file["metadata"]["resize"]),
        (&"224x160".into(), &"antialias".into())
    );
    assert_eq!(
        std::fs::metadata(&graph).expect("was written").len(),
        file["bytes"].as_u64().expect("a number")
    );
    let data = file["data"]["path"].as_str().expect("a second file");
    assert_eq!(
        std::fs::metadata(data).expect("was written").len(),
        file["data"]["bytes"].as_u64().expect("a number")
    );
    let mut text = r2former();
    text.args(["model", "export", "--onnx"]).arg(&graph);
    let output = text.assert().success().get_output().clone();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    names(
        &printed,
        &[
            "image [batch, 3, height, width]",
            "descriptor [batch, 256]",
            "antialiasing on 8-bit pixels (PIL's BILINEAR)",
        ],
    );
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    let model = at("global.safetensors");
    r2former()
        .args(["model", "import", "--local", "none"])
        .arg(parity("global_only.pth"))
        .arg(&model)
        .assert()
        .success();
    let export = |options: &[&str]| {
        let mut command = r2former();
        command.args(["model", "export"]).arg(&model).args(["--onnx"]).arg(at("out.onnx")).args(options);
        command
    };
    names(&fails(&mut export(&["--local"]), 1), &["no local features", "model copy --local patches"]);
    names(&fails(&mut export(&["--image-size", "90x80"]), 1), &["90x80", "multiples of 16"]);
    let mut reranker = r2former();
    reranker.args(["model", "export"]).arg(&model).arg("--reranker").arg(at("out.onnx"));
    names(&fails(&mut reranker, 1), &["no reranker"]);
    names(&fails(&mut export(&["--input", "bgr"]), 2), &["normalised or pixels"]);
    names(&fails(r2former().args(["model", "export"]).arg(&model), 2), &["--onnx"]);
    let same = at("same.onnx");
    let mut command = r2former();
    command.args(["model", "export", "--onnx"]).arg(&same).arg("--reranker").arg(&same);
    names(&fails(&mut command, 2), &["same file"]);
    assert!(!same.exists() && !at("out.onnx").exists());
    let mut nowhere = r2former();
    nowhere.args(["model", "export", "--onnx"]).arg(at("no/such/folder.onnx"));
    names(&fails(&mut nowhere, 1), &["does not exist"]);
}

/// A folder for a hub has the model's file as it is, and comes back as it was.
#[test]
fn a_folder_for_a_hub_is_taken_back() {
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    let bytes = |path: PathBuf| std::fs::read(path).expect("was written");
    let mut import = r2former();
    import.args(["model", "import", "--half"]).arg(golden("tiny.pth")).arg(at("model.safetensors"));
    import.assert().success();
    let mut copy = r2former();
    copy.args(["model", "copy", "--half", "--license", "MIT"])
        .arg(at("model.safetensors"))
        .arg(at("own.safetensors"));
    copy.assert().success();
    let mut export = r2former();
    let said = report(export.args(["model", "export"]).arg(at("own.safetensors")).arg("--hf").arg(at("hub")));
    assert_eq!((&said["files"], said["folder"].is_string()), (&serde_json::json!([]), true));
    assert!(bytes(at("hub/model.safetensors")) == bytes(at("own.safetensors")));
    let config: Value = serde_json::from_slice(&bytes(at("hub/config.json"))).expect("JSON");
    assert_eq!((&config["model_type"], &config["local"]["count"]), (&"r2former".into(), &20.into()));
    let page = String::from_utf8(bytes(at("hub/README.md"))).expect("text");
    assert!(page.starts_with("---\nlicense: mit\nlibrary_name: r2former\n"), "{page}");

    let mut back = r2former();
    let said = report(back.args(["model", "import"]).arg(at("hub")).arg(at("back.safetensors")));
    assert!(said["notes"].to_string().contains("copied as it is"));
    assert!(bytes(at("back.safetensors")) == bytes(at("own.safetensors")));
    let mut changed = r2former();
    changed.args(["model", "import", "--name", "other"]).arg(at("hub")).arg(at("no.safetensors"));
    names(&fails(&mut changed, 1), &["hub", "model copy"]);

    // The built-in model, too.
    r2former().args(["model", "export", "--hf"]).arg(at("tiny")).assert().success();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/r2former-tiny.safetensors");
    assert!(bytes(at("tiny/model.safetensors")) == bytes(built_in));
}
