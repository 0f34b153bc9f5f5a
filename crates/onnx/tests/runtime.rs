//! What ONNX Runtime computes, beside what the model computes. Needs a Python with numpy, onnx and onnxruntime; without one
//! the comparison is left out, and says so.

mod common;
#[path = "common/python.rs"]
mod python;

use burn::tensor::{Tensor, TensorData};
use common::{Case, cases, checkpoint, uniform};
use r2former_model::{
    BackboneConfig, Checkpoint, Device, ModelConfig, PositionMode, R2Former, RerankerConfig,
};
use r2former_onnx::{ExportOptions, InputRange, Saved, export, export_reranker};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The largest difference of a value.
const TOLERANCE: f64 = 1e-4;

fn python() -> Option<PathBuf> {
    python::python("numpy, onnx, onnxruntime", "with ONNX Runtime", "onnx onnxruntime")
}

/// The files of a comparison.
struct Comparison {
    folder: tempfile::TempDir,
    cases: Vec<Value>,
    files: usize,
}

impl Comparison {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temporary folder"), cases: Vec::new(), files: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a tensor; what the manifest says of it.
    fn tensor<const D: usize>(&mut self, tensor: Tensor<D>) -> Value {
        let shape = tensor.dims().to_vec();
        let values = tensor.try_into_vec_as::<f32>().expect("host tensors read");
        let file = format!("{}.f32", self.files);
        self.files += 1;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(self.path(&file), bytes).expect("temporary folders can be written");
        json!({ "file": file, "shape": shape })
    }

    /// What a network makes of one image of this size, and of three.
    fn runs(&mut self, network: &R2Former, size: [usize; 2], options: &ExportOptions) -> [Value; 2] {
        [1, 3].map(|batch| {
            let images = images(batch, size);
            let features = network.extract(images.clone()).expect("it takes this size");
            let mut outputs = json!({ "descriptor": self.tensor(features.global) });
            if let Some(local) = features.local.filter(|_| options.local) {
                outputs["local"] = self.tensor(local);
            }
            let image = self.tensor(input(network.config(), images, options.input));
            json!({ "inputs": { "image": image }, "outputs": outputs })
        })
    }

    fn case(&mut self, name: &str, runs: Vec<Value>) {
        self.cases.push(json!({ "name": name, "model": format!("{name}.onnx"), "runs": runs }));
    }

    /// Runs all cases and checks the differences.
    fn run(self, python: &Path) {
        let manifest = self.path("manifest.json");
        std::fs::write(&manifest, serde_json::to_vec(&self.cases).expect("JSON")).expect("writes");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime.py");
        let output = Command::new(python).arg(script).arg(&manifest).output().expect("it ran before");
        let said = String::from_utf8_lossy(&output.stdout);
        eprintln!("{said}");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let reports: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(reports.len(), self.cases.len());
        for report in reports {
            for (output, worst) in report["worst"].as_object().expect("an object") {
                let worst = worst.as_f64().expect("a number");
                assert!(worst <= TOLERANCE, "{}: {output} differs by {worst}", report["name"]);
            }
        }
    }
}

/// Images of a case, normalised, with structure at several scales.
fn images(count: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let mut out = vec![0.0f32; count * 3 * height * width];
    for (cell, low) in [(32usize, -1.2), (8, -0.6), (2, -0.3), (1, -0.1)] {
        let [rows, columns] = [height.div_ceil(cell), width.div_ceil(cell)];
        let coarse =
            uniform(&format!("image {height}x{width} {cell}"), count * 3 * rows * columns, low, -low);
        for (i, value) in out.iter_mut().enumerate() {
            let [channel, y, x] = [i / (height * width), i / width % height, i % width];
            *value += coarse[(channel * rows + y / cell) * columns + x / cell];
        }
    }
    Tensor::from_data(TensorData::new(out, [count, 3, height, width]), &Device::flex())
}

fn network(model: &Checkpoint) -> R2Former {
    R2Former::from_tensors(&model.config, model.tensors.clone(), &Device::flex()).expect("it fits")
}

/// Images as the graph expects them.
fn input(config: &ModelConfig, images: Tensor<4>, range: InputRange) -> Tensor<4> {
    let channels = |values: [f32; 3]| Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 3, 1, 1]);
    match range {
        InputRange::Normalised => images,
        InputRange::Pixels => (images * channels(config.input.std) + channels(config.input.mean)) * 255.0,
    }
}

#[test]
fn every_model_gives_the_same_descriptors_and_local_features() {
    let Some(python) = python() else { return };
    let mut comparison = Comparison::new();
    for Case { name, config, sizes } in cases() {
        let (model, local) = (checkpoint(&config), config.local.is_some());
        let network = network(&model);
        // Any size, and one.
        for (name, image_size, range) in [
            (name.to_string(), None, InputRange::Normalised),
            (format!("{name}_fixed"), sizes.last().copied(), InputRange::Pixels),
        ] {
            let options = ExportOptions { image_size, local, input: range };
            let exported = export(&model, &options).expect(&name);
            exported.save(&comparison.path(&format!("{name}.onnx")), image_size.is_some()).expect("writes");
            let sizes = sizes.iter().filter(|size| image_size.is_none_or(|fixed| fixed == **size));
            let runs = sizes.flat_map(|size| comparison.runs(&network, *size, &options)).collect();
            comparison.case(&name, runs);
        }
    }
    comparison.run(&python);
}

/// Compares a model at its own size, one image and three.
fn compare_at_own_size(python: &Path, config: &ModelConfig, local: bool) -> Saved {
    let (mut comparison, name) = (Comparison::new(), config.name.as_str());
    let size = [config.input.height, config.input.width];
    let model = checkpoint(config);
    let options = ExportOptions { image_size: None, local, input: InputRange::Normalised };
    let saved = {
        let exported = export(&model, &options).expect(name);
        exported.save(&comparison.path(&format!("{name}.onnx")), false).expect("writes")
    };
    let network = R2Former::from_tensors(config, model.tensors, &Device::flex()).expect("it fits");
    let runs = comparison.runs(&network, size, &options);
    drop(network);
    comparison.case(name, runs.into());
    comparison.run(python);
    saved
}

/// The figures of docs/onnx.md:
/// `cargo test --release -p r2former-onnx --test runtime -- --ignored --nocapture` (minutes, and 8 GB).
#[test]
#[ignore = "published sizes take minutes"]
fn published_sizes() {
    let python = python().expect("a Python with numpy, onnx and onnxruntime");
    for (name, local) in [
        ("deit-s", true),
        ("vit-b", false),
        ("dinov2-s", true),
        ("dinov2-l", false),
        ("dinov3-s", true),
        ("dinov3-s-plus", false),
        ("megaloc", false),
        ("salad", false),
        ("boq-dinov2", false),
        ("cosplace-r50", false),
        ("cosplace-vgg16", false),
        ("mixvpr", false),
    ] {
        compare_at_own_size(&python, &ModelConfig::preset(name).expect("a preset"), local);
    }
}

/// Half of DINOv2-g's blocks exceed what one file can hold.
#[test]
#[ignore = "takes 8 GB"]
fn more_than_two_gigabytes() {
    let python = python().expect("a Python with numpy, onnx and onnxruntime");
    let mut config = ModelConfig::preset("dinov2-g").expect("a preset");
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        (vit.depth, vit.position) = (20, PositionMode::Dinov2);
    }
    (config.input.height, config.input.width) = (224, 224);
    let saved = compare_at_own_size(&python, &config, false);
    let (_, bytes) = saved.data.expect("a second file");
    assert!(bytes > i32::MAX as u64 && saved.bytes < 1_000_000, "{bytes} bytes beside {}", saved.bytes);
}

#[test]
fn rerankers_give_the_same_logits() {
    let Some(python) = python() else { return };
    let mut comparison = Comparison::new();
    let all = RerankerConfig::default;
    let rerankers = [
        ("published", all()),
        ("one_neighbour", RerankerConfig { neighbours: 1, use_attention: false, ..all() }),
        ("correlation_alone", RerankerConfig { use_xy: false, use_attention: false, depth: 1, ..all() }),
        ("no_blocks", RerankerConfig { pair_depth: 0, depth: 0, use_position_embedding: false, ..all() }),
        ("wide", RerankerConfig { dim: 48, heads: 3, neighbours: 9, use_correlation: false, ..all() }),
    ];
    for (name, reranker) in rerankers {
        let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
        config.local.as_mut().expect("it has local features").dim = 16;
        config.reranker = Some(reranker);
        let model = checkpoint(&config);
        let network = network(&model);
        let reranker = network.reranker.as_ref().expect("it has one");
        export_reranker(&model)
            .expect(name)
            .save(&comparison.path(&format!("{name}.onnx")), false)
            .expect("writes");
        let mut runs = Vec::new();
        // Fewer features than neighbours, too.
        for [pairs, nq, nr] in [[1, 40, 40], [3, 25, 40], [2, 3, 7]] {
            let rows = |what: &str, count: usize, n: usize| {
                let values = uniform(&format!("{what} {count} {n}"), count * n * 19, -0.2, 1.0);
                Tensor::<3>::from_data(TensorData::new(values, [count, n, 19]), &Device::flex())
            };
            let (query, references) = (rows("query", 1, nq), rows("reference", pairs, nr));
            let logits = reranker
                .forward(query.clone().repeat_dim(0, pairs), references.clone())
                .expect("rows of the model");
            let scores = r2former_model::Reranker::score(logits.clone());
            let inputs = json!({
                "query": comparison.tensor(query.reshape([nq, 19])),
                "references": comparison.tensor(references),
            });
            let outputs = json!({ "logits": comparison.tensor(logits), "scores": comparison.tensor(scores) });
            runs.push(json!({ "inputs": inputs, "outputs": outputs }));
        }
        comparison.case(name, runs);
    }
    comparison.run(&python);
}
