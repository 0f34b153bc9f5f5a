//! Imports and forward passes against timm, torchvision and PyTorch (`parity/README.md` describes the data).

#[path = "parity/adapters_code.rs"]
mod adapters_code;
#[path = "parity/aggregations.rs"]
mod aggregations;
#[path = "parity/anyloc_code.rs"]
mod anyloc_code;
#[path = "parity/cnns.rs"]
mod cnns;
mod common;
#[path = "parity/dinov2_code.rs"]
mod dinov2_code;
#[path = "parity/dinov3_code.rs"]
mod dinov3_code;
#[path = "parity/generate.rs"]
mod generate;
#[path = "parity/hloc_code.rs"]
mod hloc_code;
#[path = "parity/local.rs"]
mod local;
#[path = "parity/published.rs"]
mod published;
#[path = "parity/reranker.rs"]
mod reranker;
#[path = "parity/resnet.rs"]
mod resnet;
#[path = "parity/transformers.rs"]
mod transformers;

use std::path::PathBuf;

/// A file written by the Python scripts.
fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity")).join(name)
}

/// A file written by the published code.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}
