//! Files are decoded again: what a checker of ONNX would find, without one.

mod common;

use common::{Case, cases, checkpoint};
use prost::Message;
use r2former_model::{Checkpoint, ModelConfig, ModelError};
use r2former_onnx::proto::{DimensionValue, GraphProto, ModelProto, ValueInfoProto};
use r2former_onnx::{ExportOptions, Exported, InputRange, OnnxError, export, export_reranker};
use std::collections::{BTreeMap, BTreeSet};

fn decoded(exported: &Exported<'_>) -> ModelProto {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("model.onnx");
    let saved = exported.save(&path, false).expect("writes");
    let bytes = std::fs::read(&path).expect("was written");
    assert_eq!((saved.bytes, saved.data), (bytes.len() as u64, None));
    ModelProto::decode(&*bytes).expect("a message")
}

fn shape(port: &ValueInfoProto) -> Vec<String> {
    let tensor = port.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref()).expect("a tensor");
    let dims = &tensor.shape.as_ref().expect("a shape").dim;
    let text = |value: &DimensionValue| match value {
        DimensionValue::Value(size) => size.to_string(),
        DimensionValue::Param(name) => name.clone(),
    };
    dims.iter().map(|dim| text(dim.value.as_ref().expect("a size"))).collect()
}

/// Every tensor is defined once, before it is used, and every initializer is used and as large as its shape says.
fn check(graph: &GraphProto, name: &str) {
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    let mut unused: BTreeSet<&str> = BTreeSet::new();
    for tensor in &graph.initializer {
        let tensor_name = tensor.name.as_deref().expect("a name");
        assert!(defined.insert(tensor_name), "{name}: {tensor_name} twice");
        unused.insert(tensor_name);
        let bytes = if tensor.data_type == Some(1) { 4 } else { 8 };
        let expected = bytes * tensor.dims.iter().product::<i64>() as usize;
        assert_eq!(tensor.raw_data.as_ref().map(Vec::len), Some(expected), "{name}: {tensor_name}");
    }
    defined.extend(graph.input.iter().filter_map(|port| port.name.as_deref()));
    let mut nodes = BTreeSet::new();
    for node in &graph.node {
        assert!(nodes.insert(node.name.as_deref().expect("a name")), "{name}: {:?} twice", node.name);
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(defined.contains(input.as_str()), "{name}: {input} is used before it is there");
            unused.remove(input.as_str());
        }
        for output in &node.output {
            assert!(defined.insert(output), "{name}: {output} twice");
        }
    }
    assert!(unused.is_empty(), "{name}: not used: {unused:?}");
    assert!(
        graph.output.iter().all(|port| defined.contains(port.name.as_deref().expect("a name"))),
        "{name}"
    );
}

#[test]
fn every_model_is_a_sound_graph() {
    for Case { name, config, sizes } in cases() {
        let model = checkpoint(&config);
        for image_size in [None, Some(sizes[0])] {
            let options =
                ExportOptions { image_size, local: config.local.is_some(), input: InputRange::Pixels };
            let exported = export(&model, &options).expect(name);
            // A graph that left out a layer would leave its tensors.
            let left: Vec<&String> =
                model.tensors.keys().filter(|key| !exported.tensors().contains(*key)).collect();
            let power = matches!(config.global, r2former_model::GlobalConfig::Pooled { .. });
            assert!(left.iter().all(|key| power && *key == "gem.p"), "{name}: not exported: {left:?}");
            let file = decoded(&exported);
            assert_eq!((file.ir_version, file.opset_import[0].version), (Some(8), Some(17)));
            let graph = file.graph.expect("a graph");
            check(&graph, name);
            let metadata: BTreeMap<_, _> = file
                .metadata_props
                .into_iter()
                .map(|entry| (entry.key.expect("a key"), entry.value.expect("a value")))
                .collect();
            assert_eq!(metadata["input"], "pixels");
            let stored: ModelConfig = serde_json::from_str(&metadata["r2former"]).expect("a configuration");
            assert_eq!(stored, config);
            let expected = !metadata.contains_key("image_size_multiple_of");
            let input = shape(&graph.input[0]);
            assert_eq!(input[2].parse::<usize>().is_ok(), expected, "{name}: {input:?}");
            assert_eq!((input[0].as_str(), input[1].as_str()), ("batch", "3"));
            assert_eq!(shape(&graph.output[0]), ["batch".to_string(), config.global_dim().to_string()]);
            assert_eq!(graph.output.len(), 1 + usize::from(config.local.is_some()));
        }
    }
}

#[test]
fn a_reranker_is_a_graph_of_its_own() {
    let config = ModelConfig::preset("vit-tiny").expect("a preset");
    let model = checkpoint(&config);
    let exported = export_reranker(&model).expect("it has one");
    let own: BTreeSet<&String> = model.tensors.keys().filter(|key| key.starts_with("reranker.")).collect();
    assert_eq!(exported.tensors().iter().collect::<BTreeSet<_>>(), own);
    let graph = decoded(&exported).graph.expect("a graph");
    check(&graph, "reranker");
    assert_eq!(shape(&graph.input[0]), ["query_features", "131"]);
    assert_eq!(shape(&graph.input[1]), ["references", "reference_features", "131"]);
    assert_eq!(shape(&graph.output[0]), ["references", "2"]);
    assert_eq!(shape(&graph.output[1]), ["references"]);
}

#[test]
fn what_cannot_be_exported_says_why() {
    let case = cases().swap_remove(0);
    let mut model = checkpoint(&case.config);
    let error = |model: &Checkpoint, options: ExportOptions| {
        export(model, &options).map(|_| ()).expect_err("refused")
    };
    let size = ExportOptions { image_size: Some([90, 80]), ..Default::default() };
    assert!(error(&model, size).to_string().contains("try 96x80"));
    let local = ExportOptions { local: true, ..Default::default() };
    assert!(error(&model, local).to_string().contains("model copy --local patches"));
    assert!(matches!(export_reranker(&model), Err(OnnxError::Request(text)) if text.contains("no reranker")));
    model.tensors.remove("backbone.norm.weight");
    let missing = error(&model, ExportOptions::default());
    assert!(matches!(missing, OnnxError::Model(ModelError::Tensors(_))), "{missing}");
}

#[test]
fn weights_in_a_second_file() {
    let model = checkpoint(&cases().swap_remove(0).config);
    let exported = export(&model, &ExportOptions::default()).expect("valid");
    let folder = tempfile::tempdir().expect("temporary folder");
    let saved = exported.save(&folder.path().join("model.onnx"), true).expect("writes");
    let (data, bytes) = saved.data.expect("a second file");
    assert_eq!(data, folder.path().join("model.onnx.data"));
    assert_eq!(std::fs::metadata(&data).expect("was written").len(), bytes);
    let file = std::fs::read(folder.path().join("model.onnx")).expect("was written");
    assert_eq!(file.len() as u64, saved.bytes);
    let graph = ModelProto::decode(&*file).expect("a message").graph.expect("a graph");
    let outside = graph.initializer.iter().filter(|tensor| !tensor.external_data.is_empty()).count();
    assert!(
        outside > 10 && graph.initializer.iter().all(|t| t.raw_data.is_some() == t.external_data.is_empty())
    );
}
