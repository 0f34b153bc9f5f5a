//! The published-format fixture from the command line: imported, extracted and matched, with the numbers
//! of the published code, on every level of vector instructions of this machine.

mod common;

use common::{Command, r2former};
use r2former_kernels::Level;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden").join(name)
}

fn values(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(bytes).expect("whole");
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    (view.shape().to_vec(), view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "value {i}: {a}, expected {b}");
    }
}

/// The program, forced to a level of vector instructions.
fn forced(level: Level) -> Command {
    let mut command = r2former();
    command.env("R2FORMER_SIMD", level.name());
    command
}

#[test]
fn import_extract_match() {
    let home = tempfile::tempdir().expect("temporary folder");
    let model = home.path().join("tiny.safetensors");
    let mut command = r2former();
    command.args(["model", "import"]).arg(golden("tiny.pth")).arg(&model).arg("--json");
    let output = command.assert().success().get_output().clone();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["model"]["config"]["local"]["count"], 20);
    assert_eq!(report["leftovers"], serde_json::json!(["Reranker.decoder_pos_embed", "Reranker.ratio"]));

    let outputs = golden("tiny.outputs.safetensors");
    let expected = std::fs::read(&outputs).expect("test data is there");
    for level in Level::available() {
        for size in ["96x128", "64x96", "96x64", "160x128", "112x192"] {
            let image = format!("{}:{size}.image", outputs.display());
            let out = home.path().join("out.safetensors");
            let mut command = forced(level);
            command
                .arg("extract")
                .arg(&image)
                .arg("--model")
                .arg(&model)
                .arg("--out")
                .arg(&out)
                .assert()
                .success();
            let bytes = std::fs::read(&out).expect("was written");
            for (name, tolerance) in [("global", 1e-5), ("local", 1e-4)] {
                let (shape, found) = values(&bytes, name);
                let (wanted_shape, wanted) = values(&expected, &format!("{size}.{name}"));
                assert_eq!(shape, wanted_shape);
                close(&found, &wanted, tolerance);
            }

            let (_, logits) = values(&expected, &format!("{size}.rerank_logits"));
            let (_, global) = values(&expected, &format!("{size}.global"));
            let (_, global2) = values(&expected, &format!("{size}.global2"));
            for i in 0..2 {
                let mut command = forced(level);
                command.arg("match").arg(format!("{image}:{i}")).arg(format!("{image}2:{i}"));
                let output =
                    command.arg("--model").arg(&model).arg("--json").assert().success().get_output().clone();
                let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
                let number = |value: &serde_json::Value| value.as_f64().expect("a number") as f32;
                let pair = [number(&said["logits"][0]), number(&said["logits"][1])];
                close(&pair, &logits[2 * i..2 * i + 2], 1e-4);
                let same = 1.0 / (1.0 + (logits[2 * i] - logits[2 * i + 1]).exp());
                close(&[number(&said["score"])], &[same], 1e-4);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
                let rows = 32 * i..32 * (i + 1);
                close(&[number(&said["similarity"])], &[dot(&global[rows.clone()], &global2[rows])], 1e-5);
            }
        }
    }
}
