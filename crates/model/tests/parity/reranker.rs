//! Rerankers of other sizes and inputs than the published one, against PyTorch.

use crate::common::{Outputs, close, host};
use crate::data;
use burn::tensor::Device;
use r2former_model::weights::{RawTensor, TensorReader, Tensors};
use r2former_model::{Reranker, RerankerConfig};
use std::collections::BTreeMap;

/// The configuration of each case of `reranker.py`.
fn cases() -> BTreeMap<String, RerankerConfig> {
    let text = std::fs::read_to_string(data("reranker.json")).expect("test data");
    serde_json::from_str(&text).expect("configurations in r2former's format")
}

#[test]
fn every_configuration_equals_pytorch() {
    let outputs = Outputs::open(&data("reranker.safetensors"));
    let cases = cases();
    assert_eq!(cases.len(), 15);
    for (name, config) in cases {
        let stem = format!("{name}.weights.");
        let tensors: Tensors = outputs
            .names()
            .into_iter()
            .filter_map(|full| {
                let (shape, data) = outputs.view(&full);
                Some((full.strip_prefix(&stem)?.to_string(), RawTensor { shape, data }))
            })
            .collect();
        let mut reader = TensorReader::from_tensors(tensors, &Device::flex());
        let reranker = Reranker::load(&mut reader, "reranker", &config);
        reader.finish().unwrap_or_else(|e| panic!("{name}: {e}"));
        let (query, reference) =
            (outputs.tensor(&format!("{name}.query")), outputs.tensor(&format!("{name}.reference")));
        let logits = reranker.forward(query, reference).expect("shapes belong together");
        close(&host(logits), &outputs.values(&format!("{name}.logits")), 1e-5, &name);
    }
}
